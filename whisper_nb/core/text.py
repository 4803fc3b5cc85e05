"""Text that is safe to display: valid Unicode, printable, short, and without API keys."""

from __future__ import annotations

import difflib
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable

#: The length at which `one_line` cuts a text.
LINE_LIMIT = 400
#: The length at which `paragraph` breaks a line.
PARAGRAPH = 100
_REPR_LIMIT = 60
_KEY = re.compile(r"\b(?:(?:sk|pk|gsk|xai|hf)[-_]|AIza)[A-Za-z0-9_-]{12,}")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
#: Characters that change the direction of a text, with which it could imitate other output.
_DIRECTION = re.compile("[\u202a-\u202e\u2066-\u2069]")

#: Characters that Python takes for printable, and that show nothing: fillers, blanks and selectors of variants.
_BLANK = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180f\u2800\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
#: Combining marks on one character. More of them would cover other text.
_MARKS = 4


def visible(text: str) -> str:
    r"""Return the text with each character that cannot be seen, or that hides others, as an escape: `\u200b`.

    For review by a person. A text with several lines becomes one line; it is not shortened.
    """
    if text.isascii() and text.isprintable():  # most texts
        return text
    shown: list[str] = []
    marks = 0
    for character in text:
        category = unicodedata.category(character)
        marks = marks + 1 if category in ("Mn", "Me", "Mc") else 0
        if not character.isprintable() or _BLANK.match(character) or category == "Me" or marks > _MARKS:
            shown.append(character.encode("unicode_escape").decode())
        else:
            shown.append(character)
    return "".join(shown)


def visible_lines(text: str) -> list[str]:
    """Return the lines of the text, each as by `visible`. A CR alone ends no line: it is shown."""
    return [visible(line) for line in text.replace("\r\n", "\n").split("\n")]


def valid_unicode(text: str) -> str:
    """Return the text with surrogate pairs joined and lone surrogates replaced by U+FFFD.

    Models emit lone surrogates. UTF-8 cannot encode them, so that one in a reply would keep Jupyter from answering
    the cell.
    """
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def printable(text: str) -> str:
    """Return the text as valid Unicode, with control characters that a terminal would obey replaced by U+FFFD.

    Tabs and newlines stay.
    """
    if text.isascii() and text.isprintable():  # most texts
        return text
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", valid_unicode(text).replace("\r\n", "\n"))


def one_line(text: str) -> str:
    """Return the text in one printable line of at most `LINE_LIMIT` characters, with line breaks shown as `⏎`.

    For text from files: it cannot imitate a line of output of its own.
    """
    line = _DIRECTION.sub("\N{REPLACEMENT CHARACTER}", " ⏎ ".join(printable(text).splitlines()))
    return shortened(line, LINE_LIMIT)


def paragraph(text: str) -> str:
    """Return a line of prose in lines of at most `PARAGRAPH` characters. JupyterLab breaks longer ones within words."""
    return textwrap.fill(text, PARAGRAPH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)


def clip(text: str, width: int) -> str:
    """Return the text in one printable line of at most `width` characters, with white space collapsed.

    What is beside it in a line keeps its direction.
    """
    if len(text) <= width and text.isascii() and text.isprintable() and "  " not in text:  # most texts
        return text.strip()
    line = printable(" ".join(text[: width * 16].split()))
    return shortened(_DIRECTION.sub("\N{REPLACEMENT CHARACTER}", line), width)


def shortened(text: str, width: int) -> str:
    """Return the text, cut to at most `width` characters; an ellipsis is then the last of them."""
    if len(text) <= width:
        return text
    return f"{text[: width - 1]}…"


def mask_keys(text: str) -> str:
    """Replace whatever looks like an API key: a user may have put one in the wrong place."""
    return _KEY.sub("[redacted]", text)


def short_repr(value: object) -> str:
    """Return the repr of a value for a message: short, and without anything that looks like an API key."""
    text = _text_or(f"of the type {type(value).__name__}", lambda: mask_keys(repr(value)))
    return shortened(text, _REPR_LIMIT)


def error_text(error: BaseException | None) -> str:
    """Return the message of an error, or the name of its class if it has none."""
    name = type(error).__name__
    return _text_or(name, lambda: valid_unicode(str(error)) or name)


def _text_or(default: str, convert: Callable[[], str]) -> str:
    try:
        return convert()
    except Exception:  # the value may be of a user's class, whose __repr__ or __str__ may raise anything
        return default


def suggestion(word: object, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown word: the closest known one, or else all of them."""
    words = list(known)
    found = difflib.get_close_matches(str(word), words, 1)
    if found:
        return f"did you mean {found[0]!r}?"
    return f"known are {', '.join(words) or 'none'}"
