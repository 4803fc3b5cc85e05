r"""Rules for markdown-it that recognize math: `$…$`, `$$…$$`, `\(…\)`, `\[…\]` and environments of amsmath.

Their time is linear in the text: the positions of all delimiters are found once.
"""

from __future__ import annotations

import html
import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from .formulas import MATRICES, OUTER, formula

#: MathJax shall look for math in marked elements only: version 3 in JupyterLab, version 2 in nbconvert's output.
NO_MATH, _MATH_HERE = 'class="mathjax_ignore tex2jax_ignore"', 'class="mathjax_process tex2jax_process"'
#: The most math, in bytes of UTF-8, that are typeset in one text. MathJax takes about a second for them.
TYPESET = 10_000

_CLOSES = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_ENVIRONMENT = re.compile(rf"\\begin(\{{(?:{'|'.join((*OUTER, *MATRICES))})\*?\}})")
#: Delimiters, and pairs of a backslash and another character that could look like one.
_DELIMITERS = re.compile(r"\\end(?P<end>\{[a-zA-Z]+\*?\})|\\.|\$", re.DOTALL)
_SIGN = re.compile(r"[\\^_={}+<>]")
#: The rules that a rule for blocks may interrupt.
ALTERNATIVES = {"alt": ["paragraph", "reference", "blockquote", "list"]}


def math_rules(parser: Any) -> None:
    """Add the rules to a parser. They keep what they know of a text in its `env`."""
    parser.inline.ruler.before("escape", "math", _inline)
    parser.block.ruler.before("fence", "math", _block, ALTERNATIVES)
    parser.add_render_rule("math_inline", _render)
    parser.add_render_rule("math_block", _render)


def _inline(state: Any, silent: bool) -> bool:
    start, src = state.pos, state.src
    opens = src[start : start + 2]
    if opens[:1] == "$" and opens != "$$":
        opens = "$"
    if opens not in _CLOSES:
        return False
    inside = start + len(opens)
    at = _next(state, _CLOSES[opens], inside)
    if at < 0 or at == inside or (end := at + len(opens)) > state.posMax:
        return False
    content = src[inside:at]
    if opens[0] == "$" and (src[end : end + 1].isdigit() or _is_money(opens, content)):
        return False
    if not silent:
        _push(state, "math_inline", opens, content, _CLOSES[opens])
    state.pos = end
    return True


def _is_money(opens: str, content: str) -> bool:
    """Tell amounts from math, as Pandoc does: no space inside next to a single dollar sign, no digit after the last.

    `$5 or $6` is not math. Text that starts with a number is math only if it has a mathematical sign: `From $20k to
    $30k in US$` is not.
    """
    if opens == "$" and (content[0].isspace() or content[-1].isspace()):
        return True
    return content[:1].isdigit() and not _SIGN.search(content)


def _block(state: Any, first: int, last: int, silent: bool) -> bool:
    """Parse math that begins a line and ends one."""
    start = state.bMarks[first] + state.tShift[first]
    opens = state.src[start : start + 2]
    if opens == "\\b":
        environment = _ENVIRONMENT.match(state.src, start)
        opens = environment[0] if environment else ""
        closes = f"\\end{environment[1]}" if environment else ""
    else:
        closes = _CLOSES.get(opens, "")
    if not closes or opens == "\\(" or state.is_code_block(first):
        return False
    at = _next(state, closes, start + len(opens))
    end = at + len(closes)
    line = bisect_left(state.eMarks, end, first)
    if at < 0 or line >= last or state.src[end : state.eMarks[line]].strip():
        return False
    state.env["work"].spend((line - first) // 8)
    if any(state.sCount[one] < state.blkIndent and not state.isEmpty(one) for one in range(first, line + 1)):
        return False
    state.line = line + 1
    if not silent:
        content = state.getLines(first, line + 1, state.sCount[first], False).strip()
        _push(state, "math_block", opens, content[len(opens) : len(content) - len(closes)], closes)
    return True


def _push(state: Any, kind: str, opens: str, content: str, closes: str) -> None:
    token = state.push(kind, "math", 0)
    token.content, token.markup, token.info = content, opens, closes


def _next(state: Any, delimiter: str, start: int) -> int:
    """Return where the next delimiter is in the text, or -1."""
    known = state.env.setdefault("delimiters", {})
    if state.src not in known:
        known[state.src] = _delimiters(state.src)
    places = known[state.src].get(delimiter, ())
    number = bisect_left(places, start)
    return places[number] if number < len(places) else -1


def _delimiters(text: str) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in _DELIMITERS.finditer(text):
        found.setdefault(one[0], []).append(one.start())
    single = found.get("$", [])
    found["$$"] = [one for one, following in pairwise(single) if following == one + 1]
    return found


def _render(_: Any, tokens: Sequence[Any], index: int, __: Any, env: Any) -> str:
    """Return math for MathJax, or its source as code if MathJax may not have it."""
    token = tokens[index]
    source = f"{token.markup}{token.content}{token.info}"
    tex, around = token.content, "$" if token.markup in ("$", "\\(") else "$$"
    if token.markup not in _CLOSES:
        tex, around = source, "\n"
    size = len(tex.encode())
    typeset = formula(tex) if size <= env.setdefault("typeset", TYPESET) else None
    if typeset is None:
        code = f"<code>{html.escape(source, quote=False)}</code>"
        return code if token.type == "math_inline" else f"<pre>{code}</pre>\n"
    env["typeset"] -= size
    return f"<span {_MATH_HERE}>{html.escape(f'{around}{typeset}{around}', quote=False)}</span>"
