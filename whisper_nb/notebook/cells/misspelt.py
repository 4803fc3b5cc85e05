"""Braces that were probably meant as an expression but do not contain one: `{{ df.head( }}`, `{df}`, `{{ len(df) }`.

Most braces in a prompt are no expressions and are not meant as such: JSON, LaTeX, templates, code. Those are balanced.
So an open bracket or quote after a name is a misspelt expression. So is text that begins with a variable's name, and a
variable in single braces between words. Lines with characters of code are left alone.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Any

from ...core.errors import ConfigError
from ...core.text import clip, mask_keys
from .interpolate import expressions

#: One line of text in double braces, without characters of LaTeX, JSON, templates and other languages.
_BRACES = re.compile(r"(?<!\$)\{\{(?P<source>[^{}\\\n;|?$`]{1,200})\}\}")
#: The name that it begins with, and whether it is called or indexed. With a colon, it would be a key.
_START = re.compile(r"(?P<name>[^\W\d]\w*)(?!\w*\s*:)(?:\.\w+)*(?P<opens>[(\[])?")
#: What Python says of a bracket or a quote without its counterpart.
_UNBALANCED = re.compile("never closed|unmatched|does not match|unterminated")
#: Text in single braces, between words.
_SINGLE = re.compile(r"(?<![^\s(])\{(?P<source>[^{}\n]{1,200})\}(?![^\s.,:!?)])")
#: Braces of which one is missing, between words: `{{ f(x) }`, `{ f(x) }}`, and `{{ f(x)` at the end of a line.
_UNEVEN = re.compile(
    r"(?<![^\s(])(?:\{\{(?P<one>[^{}\n]{1,200})(?:\}(?!\s?\})|(?P<open>$))|\{(?P<two>[^{}\n]{1,200})\}\})", re.MULTILINE
)
_CALL = re.compile(r"(?P<function>[^\W\d]\w*)(?:\(| )\s*(?P<argument>[^\W\d]\w*)")
#: Characters of LaTeX, shells, JavaScript and HTML, and f-strings.
_CODE = re.compile(r"""[\\$;`<]|=>|\b[rRbB]?[fF]["']|\.format\(""")
_SHOWN, _MOST = 60, 3


def misspelt(text: str, variables: Mapping[str, Any]) -> list[str]:
    """Return a line about braces in a text that are probably a misspelt expression, and about three at most.

    Args:
        text: a prompt.
        variables: the user's variables.
    """
    spans = [(start, stop) for start, stop, _, _ in expressions(text)]
    evaluated = {start for start, _ in spans}
    found: dict[str, str] = {}
    for braces in _BRACES.finditer(text):
        source = braces["source"]
        if braces.start() not in evaluated and (why := problem(source)) and _is_meant(source, why, variables):
            found[source.strip()] = why
    lines = [
        f"{{{{ {clip(mask_keys(source), _SHOWN)} }}}} is not an expression ({why}): sent as it is"
        for source, why in found.items()
    ]
    lines += dict.fromkeys(_uneven(_without(text, spans), variables))
    if len(lines) > _MOST:
        lines[_MOST:] = [f"and {len(lines) - _MOST} more in braces"]
    return lines


def problem(source: str) -> str:
    """Return the reason why a text is not a Python expression; empty if it is one."""
    try:
        ast.parse(source.strip(), mode="eval")
    except SyntaxError as error:
        return error.msg.partition(" (")[0]
    except (ValueError, MemoryError, RecursionError):
        return "invalid syntax"
    return ""


def check_words(words: Sequence[str]) -> None:
    """Check that no braces are left in a magic's line: they are not of a name.

    Raises:
        ConfigError: there are some, such as those of a misspelt expression.
    """
    if "{{" not in words:
        return
    start = words.index("{{") + 1
    if "}}" not in words[start:]:
        raise ConfigError(f"{{{{ {clip(mask_keys(' '.join(words[start:])), _SHOWN)} has no }}}} behind it")
    source = " ".join(words[start : words.index("}}", start)])
    why = problem(source) or "it is empty"
    raise ConfigError(f"{{{{ {clip(mask_keys(source), _SHOWN)} }}}} is not an expression: {why}")


def _without(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Return a text with a space in the place of each span."""
    starts, stops = [0, *(stop for _, stop in spans)], [*(start for start, _ in spans), len(text)]
    return " ".join(text[start:stop] for start, stop in zip(starts, stops, strict=True))


def _uneven(text: str, variables: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line about each variable in single braces, and about each expression that lacks a brace."""
    for line in text.split("\n"):
        if "{" not in line or _CODE.search(line):
            continue
        for found in _SINGLE.finditer(line):
            if _is_value(source := found["source"], variables):
                source = clip(mask_keys(source), _SHOWN)
                yield f"{{{source}}} is sent as it is: {{{{ {source} }}}} inserts the value"
        for found in _UNEVEN.finditer(line):
            source = found["one"] or found["two"] or ""
            if _is_expression(source, variables):
                yield f"{clip(mask_keys(found[0]), _SHOWN)} lacks a brace: sent as it is"


def _is_value(source: str, variables: Mapping[str, Any]) -> bool:
    """Whether a text is a variable, other than a function or a module, or an expression that begins with one."""
    if source.isidentifier():
        value = variables.get(source, len)
        return not (callable(value) or isinstance(value, ModuleType))
    return _is_expression(source.strip(), variables) and not problem(source)


def _is_expression(source: str, variables: Mapping[str, Any]) -> bool:
    """Whether a text begins with a variable that is used or spaced, or with a function of Python and a variable."""
    start, call = _START.match(source.strip()), _CALL.match(source.strip())
    if start and start["name"] in variables:
        return source[:1] == " " or start["opens"] is not None or "." in start[0]
    return bool(call and hasattr(builtins, call["function"]) and call["argument"] in variables)


def _is_meant(source: str, why: str, names: Mapping[str, Any]) -> bool:
    start = _START.match(source.strip())
    if start is None:
        return False
    is_spaced, is_known = source[0] == " ", start["name"] in names
    if (call := _CALL.fullmatch(source.strip())) and hasattr(builtins, call["function"]):  # `len df`
        return call["argument"] in names
    if start["opens"] and _UNBALANCED.search(why):
        return is_spaced or is_known
    return is_spaced and is_known
