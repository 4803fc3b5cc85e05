"""JSON values in a text that a model wrote: in a fence of Markdown, or with other text before or behind."""

from __future__ import annotations

import json
import re
from collections import deque

#: The most values of one text that are tried. The last ones, because a model answers at the end.
VALUES = 16
#: The most failures in one text, and the most characters that they read, as a multiple of its length. A text may have
#: a million brackets, each of which opens nothing.
FAILURES, READ = 500, 4
#: Characters that may be read in any case, and those that a value which is nested too deeply is taken to cost.
_FREE, _DEEP = 200_000, 50_000
_OPENING = re.compile(r'\{\s*["}]|\[\s*[\[\]{"\-0-9tfnNI]')
_FENCE = "```"
_DECODER = json.JSONDecoder(strict=False)  # line breaks in strings, which models write


def without_fence(text: str) -> str:
    """Return the content of a text that is one fenced block of Markdown; other texts as they are, without outer space.

    The line that opens the fence may name a language.
    """
    text = text.strip()
    first, newline, rest = text.partition("\n")
    if newline and first.startswith(_FENCE) and rest.endswith(_FENCE):
        return rest.removesuffix(_FENCE).strip()
    return text


def values_in(text: str) -> list[str]:
    """Return the objects and arrays in a text, as JSON, the last one first. Those inside of others are not among them.

    Numbers and words alone are not found: prose has too many. The work is at most proportional to the length.
    """
    found: deque[tuple[int, int, object]] = deque(maxlen=VALUES)
    failures, left, at = 0, READ * len(text) + _FREE, 0
    while failures < FAILURES and left > 0 and (opening := _OPENING.search(text, at)):
        at = opening.start()
        try:
            value, end = _DECODER.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            failures += 1
            left -= error.pos - at if isinstance(error, json.JSONDecodeError) else _DEEP
            at += 1
        else:
            found.append((at, end, value))
            at = end
    return [_plain(text[start:end], value) for start, end, value in reversed(found)]


def _plain(text: str, value: object) -> str:
    """Return the JSON of a value as it stands in the text; written anew if its strings have line breaks."""
    try:
        json.loads(text)
    except ValueError:
        return json.dumps(value)
    return text
