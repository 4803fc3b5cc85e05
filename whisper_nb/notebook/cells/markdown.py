"""Markdown of a model as safe HTML: parsed without raw HTML and images, then sanitized.

Math is recognized so that Markdown leaves it unchanged; JupyterLab's MathJax typesets it.
"""

from __future__ import annotations

import functools
import html
import re
from collections.abc import Callable, Sequence
from typing import Any

from ...core.logs import quiet
from ...core.text import printable

#: MathJax shall look for math in marked elements only: version 3 in JupyterLab, version 2 in nbconvert's output.
NO_MATH, _MATH_HERE = 'class="mathjax_ignore tex2jax_ignore"', 'class="mathjax_process tex2jax_process"'
#: JupyterLab aligns table cells to the right, which suits numbers only.
LEFT = 'style="text-align:left"'

#: Kind of token → its content as MathJax recognizes it.
_MATH = {"math_inline": "${}$", "math_inline_double": "$${}$$", "math_block": "\n$${}$$\n", "amsmath": "\n{}\n"}
_BRACKETS = re.compile(r"\\\[(.+?)\\\]", re.DOTALL)
_SIGN = re.compile(r"[\\^_={}+<>]")
_TAGS = {
    "a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip


def safe_markdown(text: str) -> str:
    """Return the Markdown text as HTML that can neither run nor load anything.

    Put it into an element with `NO_MATH`: only the math in it is marked for MathJax.
    """
    import nh3

    clean = nh3.clean(
        _parser().render(printable(text)),
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
    from mdit_py_plugins.amsmath import amsmath_plugin
    from mdit_py_plugins.dollarmath import dollarmath_plugin
    from mdit_py_plugins.dollarmath.index import math_inline_dollar
    from mdit_py_plugins.texmath import texmath_plugin

    parser = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
    parser.use(dollarmath_plugin, allow_labels=False)
    parser.inline.ruler.at("math_inline", _unless_money(math_inline_dollar(allow_space=False, allow_double=True)))
    parser.use(texmath_plugin, delimiters="brackets").use(amsmath_plugin)
    parser.inline.ruler.before("escape", "math_in_brackets", _math_in_brackets)
    for kind in _MATH:
        parser.add_render_rule(kind, _render_math)
    return parser


def _unless_money(between_dollars: Callable[[Any, bool], bool]) -> Callable[[Any, bool], bool]:
    """Return the rule, restricted as in Pandoc: no space inside next to a dollar sign, no digit after the last.

    `$5 or $6` is not math. Text that starts with a number is math only if it has a mathematical sign: `From $20k to
    $30k in US$` is not.
    """

    def rule(state: Any, silent: bool) -> bool:
        start = state.pos
        is_math = between_dollars(state, True) and not state.src[state.pos : state.pos + 1].isdigit()
        inside, state.pos = state.src[start : state.pos].strip("$"), start
        is_math = is_math and (not inside[:1].isdigit() or _SIGN.search(inside) is not None)
        return is_math and between_dollars(state, silent)

    return rule


def _math_in_brackets(state: Any, silent: bool) -> bool:
    r"""Parse `\[…\]` within a paragraph as display math. The plugin recognizes it only on lines of its own."""
    found = _BRACKETS.match(state.src, state.pos)
    if found and not silent:
        state.push("math_inline_double", "math", 0).content = found[1]
    if found:
        state.pos = found.end()
    return found is not None


def _render_math(_: Any, tokens: Sequence[Any], index: int, *__: Any) -> str:
    token = tokens[index]
    return f"<span {_MATH_HERE}>{html.escape(_MATH[token.type].format(token.content), quote=False)}</span>"
