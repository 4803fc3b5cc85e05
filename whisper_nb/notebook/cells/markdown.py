"""Markdown of a model as safe HTML, in bounded time: parsed without raw HTML and images, then sanitized.

For a page with a script there is the same as a tree, of which the script makes elements. Math is recognized so that
Markdown leaves it unchanged; JupyterLab's MathJax typesets it.
"""

from __future__ import annotations

import functools
import html
from types import SimpleNamespace
from typing import Any

from ...core.logs import quiet
from ...core.text import printable
from .highlight import COLORS, Highlighter
from .math_rules import ALTERNATIVES, NO_MATH, math_rules

__all__ = ["CODE", "LEFT", "NO_MATH", "PLAIN", "Node", "markdown_tree", "safe_markdown"]

#: JupyterLab aligns table cells to the right, which suits numbers only.
LEFT = 'style="text-align:left"'
#: An element with text as it is. JupyterLab breaks the text of `pre` inside words.
PLAIN = 'style="white-space:pre-wrap;word-break:normal;overflow-wrap:anywhere"'
#: A block of code: a surface of its own, in any theme.
CODE = (
    'style="background:var(--jp-cell-editor-background,rgba(127,127,127,.12));'
    "border:1px solid var(--jp-border-color2,rgba(127,127,127,.3));border-radius:4px;"
    'padding:8px 10px;overflow:auto"'
)
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
        markup = _parser().render(shown, _env())
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
    # After sanitizing, `<td>` can only be a tag, and a class but that of math can only be one of `_highlight`.
    clean = clean.replace("<td>", f"<td {LEFT}>").replace("<th>", f"<th {LEFT}>").replace("<pre>", f"<pre {CODE}>")
    for style, shade in COLORS.items():
        clean = clean.replace(f'<span class="wnb-{style}">', f'<span style="color:{shade}">')
    return clean


#: A tag with its attribute, or an empty text, and its content; or a text. `["a", "https://…", "text"]`,
#: `["pre", "python", ["string", "'x'"], …]`.
Node = str | list[Any]


def markdown_tree(text: str) -> list[Node]:
    """Return the Markdown text as a tree of tags and texts, for a script that creates elements; math as its source.

    The only attributes are the address of `a`, http or https, the first number of `ol`, and the language of `pre`,
    whose children are pieces of code: a style of `highlight.COLORS`, or empty, and a text.
    """
    shown = printable(text)
    env = _env()
    try:
        tokens = _parser().parse(shown, env)
    except _TooMuchWorkError:
        return [["pre", "", ["", shown]]]
    root: list[Node] = []
    _grow([root], tokens, env)
    return root


def _grow(open_: list[list[Node]], tokens: list[Any], env: dict[str, Any]) -> None:
    """Add the nodes of tokens to the innermost of the open elements."""
    for token in tokens:
        inside = open_[-1]
        if token.type == "inline":
            _grow(open_, token.children, env)
        elif token.nesting == 1:
            node: list[Node] = [token.tag, _attribute(token)]
            if token.hidden:  # the paragraph of a tight list
                node = inside
            else:
                inside.append(node)
            open_.append(node)
        elif token.nesting == -1:
            open_.pop()
        else:
            inside += _leaf(token, env)


def _attribute(token: Any) -> str:
    """Return the address of a link, if it leads out of the notebook; the first number of a list."""
    address = str(token.attrs.get("href", ""))
    if address.lower().startswith(("http://", "https://")):
        return address
    return str(token.attrs.get("start", ""))


def _leaf(token: Any, env: dict[str, Any]) -> list[Node]:
    """Return the nodes of a token without children."""
    match token.type:
        case "softbreak":
            return ["\n"]
        case "hardbreak" | "hr":
            return [[token.tag, ""]]
        case "code_inline":
            return [["code", "", token.content]]
        case "fence" | "code_block":
            found = env["highlighter"].pieces(token.content, token.info)
            return [["pre", token.info.strip()[:20], *([style, text] for style, text in found)]]
        case "math_inline" | "math_block":
            return [["code", "", f"{token.markup}{token.content}{token.info}"]]
        case _:
            return [token.content] if token.content else []


def _env() -> dict[str, Any]:
    return {"work": Work(STEPS), "highlighter": Highlighter()}


@functools.cache
def _parser() -> Any:
    quiet("markdown_it")
    from markdown_it import MarkdownIt

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    parser.add_render_rule("fence", _fence)
    math_rules(parser)
    _count_steps(parser)
    return parser


def _fence(_: Any, tokens: Any, index: int, __: Any, env: dict[str, Any]) -> str:
    """Return a block of code with a class for each style, which the sanitizer leaves."""
    token = tokens[index]
    found = env["highlighter"].pieces(token.content, token.info)
    parts = (
        f'<span class="wnb-{style}">{html.escape(text, quote=False)}</span>'
        if style
        else html.escape(text, quote=False)
        for style, text in found
    )
    return f"<pre><code>{''.join(parts)}</code></pre>\n"


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
