"""Markdown of a model as safe HTML, in bounded time: parsed without raw HTML and images, then sanitized.

Math is recognized so that Markdown leaves it unchanged; JupyterLab's MathJax typesets it.
"""

from __future__ import annotations

import functools
import html
from types import SimpleNamespace
from typing import Any

from ...core.logs import quiet
from ...core.text import printable
from .math_rules import ALTERNATIVES, NO_MATH, math_rules

__all__ = ["LEFT", "NO_MATH", "PLAIN", "safe_markdown"]

#: JupyterLab aligns table cells to the right, which suits numbers only.
LEFT = 'style="text-align:left"'
#: An element with text as it is.
PLAIN = 'style="white-space:pre-wrap"'
#: The most steps of the parser in one text. Ordinary text of 50,000 characters takes about 8,000.
STEPS = 45_000
#: The steps of a link, and the characters of one that take another.
_LINK, _IN_A_STEP = 15, 20

_TAGS = {
    "a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


class _TooMuchWorkError(Exception):
    """The parser's budget of steps is spent."""


class Work:
    """The steps that the parser may still take in a text: some texts of a model would take it minutes."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Take steps.

        Raises:
            _TooMuchWorkError: there are not as many left.
        """
        self.left -= steps
        if self.left < 0:
            raise _TooMuchWorkError


@functools.lru_cache(maxsize=20)  # a finished run is painted again after the next cell
def safe_markdown(text: str) -> str:
    """Return the Markdown text as HTML that can neither run nor load anything; as plain text if it takes too long.

    Put it into an element with `NO_MATH`: only the math in it is marked for MathJax.
    """
    import nh3

    shown = printable(text)
    try:
        markup = _parser().render(shown, {"work": Work(STEPS)})
    except _TooMuchWorkError:
        return f"<pre {PLAIN}>{html.escape(shown)}</pre>"
    clean = nh3.clean(
        markup,
        tags=_TAGS,
        attributes={"a": {"href"}, "ol": {"start"}, "span": {"class"}, "*": set()},
        url_schemes={"http", "https", "mailto"},
        url_relative="deny",  # the browser would resolve it against the Jupyter server
        link_rel="noopener noreferrer",
    )
    # After sanitizing, `<td>` can only be a tag.
    return clean.replace("<td>", f"<td {LEFT}>").replace("<th>", f"<th {LEFT}>")


@functools.cache
def _parser() -> Any:
    quiet("markdown_it")
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    math_rules(parser)
    _count_steps(parser)
    return parser


class _Tokens(list[Any]):
    """Tokens of the parser. Each is a step."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self._work = work

    def append(self, token: Any) -> None:
        self._work.spend(1)
        super().append(token)


def _count_steps(parser: Any) -> None:
    """Have the parser take a step for each token, for each attempt at one, and for a part of each link's text."""
    from markdown_it import helpers

    def attempt(state: Any, *_: Any) -> bool:
        state.env["work"].spend(1)
        return False

    def count_blocks(state: Any) -> None:
        state.tokens = _Tokens(state.env["work"])

    def count_inlines(state: Any) -> None:
        for token in state.tokens:
            if token.type == "inline":
                token.children = _Tokens(state.env["work"])

    def parse_link_label(state: Any, start: int, *disable_nested: bool) -> int:
        end = helpers.parseLinkLabel(state, start, *disable_nested)
        state.env["work"].spend(((state.posMax if end < 0 else end) - start) // _IN_A_STEP)
        return end

    def count_links(state: Any) -> None:
        for block in state.tokens:
            for token in block.children or ():
                # A reference repeats its address each time.
                state.env["work"].spend(_LINK + len("".join(token.attrs.values())) // _IN_A_STEP if token.attrs else 0)

    blocks, inlines = parser.block.ruler, parser.inline.ruler
    blocks.before(blocks.get_all_rules()[0], "attempt", attempt, ALTERNATIVES)
    inlines.before(inlines.get_all_rules()[0], "attempt", attempt)
    parser.core.ruler.before("block", "count_blocks", count_blocks)
    parser.core.ruler.after("block", "count_inlines", count_inlines)
    parser.core.ruler.after("inline", "count_links", count_links)
    parser.helpers = SimpleNamespace(
        parseLinkLabel=parse_link_label,
        parseLinkDestination=helpers.parseLinkDestination,
        parseLinkTitle=helpers.parseLinkTitle,
    )
