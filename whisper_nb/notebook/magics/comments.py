"""Comments at the end of a magic's line, which are dropped before it is parsed."""

from __future__ import annotations

import re

#: What a comment cannot be in: an expression, and quoted text. An apostrophe within a word opens no quote.
_WHOLE = r"""\{\{.{,2000}?\}\} | (?<!\w)"(?:\\.|[^"\\])*" | (?<!\w)'[^']*'(?!\w)"""
#: In a line of words: from a word that begins with `#`. In a prompt, which may say `issue #12` and `# heading`: from
#: two spaces and a `#` that stands alone.
_AFTER_WORDS = re.compile(rf"{_WHOLE} | (?P<comment>(?<!\S)\#.*)", re.VERBOSE)
_AFTER_PROMPT = re.compile(rf"{_WHOLE} | (?P<comment>\s{{2,}}\#(?:\s.*)?$)", re.VERBOSE)


def without_comment(line: str, *, has_prompt: bool = False) -> str:
    """Return the line without the comment at its end.

    Args:
        line: the text after the magic's name.
        has_prompt: whether it ends in a prompt, in which a single space before `#` begins no comment.
    """
    pattern = _AFTER_PROMPT if has_prompt else _AFTER_WORDS
    for found in pattern.finditer(line):
        if found["comment"]:
            return line[: found.start()].rstrip()
    return line
