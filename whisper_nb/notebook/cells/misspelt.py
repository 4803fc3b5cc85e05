"""`{{ … }}` that was probably meant as an expression, and is none: `{{ df.head( }}`.

Most braces in a prompt are no expressions and are not meant as such: JSON, LaTeX, templates, code. Those are balanced.
So an open bracket or quote after a name is a misspelt expression. So is text that begins with a variable's name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Container, Sequence

from ...core.errors import ConfigError
from ...core.text import clip, mask_keys
from .interpolate import expressions

#: One line of text in double braces, without characters of LaTeX, JSON, templates and other languages.
_BRACES = re.compile(r"(?<!\$)\{\{(?P<source>[^{}\\\n;|?$`]{1,200})\}\}")
#: The name that it begins with, and whether it is called or indexed. With a colon, it would be a key.
_START = re.compile(r"(?P<name>[^\W\d]\w*)(?!\w*\s*:)(?:\.\w+)*(?P<opens>[(\[])?")
#: What Python says of a bracket or a quote without its counterpart.
_UNBALANCED = re.compile("never closed|unmatched|does not match|unterminated")
_SHOWN, _MOST = 60, 3


def misspelt(text: str, names: Container[str]) -> list[str]:
    """Return a line about each `{{ … }}` in a text that is probably a misspelt expression, and about three at most.

    Args:
        text: a prompt.
        names: the user's variables.
    """
    evaluated = {start for start, _, _, _ in expressions(text)}
    found: dict[str, str] = {}
    for braces in _BRACES.finditer(text):
        source = braces["source"]
        if braces.start() not in evaluated and (why := problem(source)) and _is_meant(source, why, names):
            found[source.strip()] = why
    lines = [
        f"{{{{ {clip(mask_keys(source), _SHOWN)} }}}} is not an expression ({why}): sent as it is"
        for source, why in found.items()
    ]
    if len(lines) > _MOST:
        lines[_MOST:] = [f"and {len(lines) - _MOST} more in double braces"]
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


def _is_meant(source: str, why: str, names: Container[str]) -> bool:
    start = _START.match(source.strip())
    if start is None:
        return False
    is_spaced, is_known = source[0] == " ", start["name"] in names
    if start["opens"] and _UNBALANCED.search(why):
        return is_spaced or is_known
    return is_spaced and is_known
