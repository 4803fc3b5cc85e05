"""Server-sent events, parsed as their bytes arrive: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from ..reading import InvalidReply
from ..words import error_in, words

#: The letters of `data`: a line that begins with some of them alone is a damaged one.
_DATA = frozenset(b"data")
#: The name of a field.
_NAME = re.compile(rb"[A-Za-z][\w-]*")
BOM = b"\xef\xbb\xbf"
OTHER_FORM = "a piece of it is in another form than the rest"
BROKEN_OFF = "the provider broke it off: "


class Events:
    """The events of one stream.

    Args:
        limit: the most bytes until an event is complete, with comments and everything else that is not data.
        lines: whether the stream may also be JSON lines, where each line is an event. The first line decides.
    """

    __slots__ = ("_data", "_failed", "_limit", "_pieces", "_size", "_started", "bare")

    def __init__(self, limit: int, *, lines: bool = False) -> None:
        self._limit = limit
        self.bare: bool | None = None if lines else False
        """Whether it is JSON lines; None while unknown."""
        self._started = False
        self._pieces: list[bytes] = []  # of an incomplete line
        self._data: list[bytes] = []  # of an incomplete event
        self._failed = False  # whether the current event is named `error`
        self._size = 0  # since the last event

    def feed(self, received: bytes) -> Iterable[str]:
        """Return the data of each event that is complete now. Iterate over it before the next call.

        Comments and fields other than data are skipped.

        Raises:
            UnicodeDecodeError: an event is not UTF-8. The specification replaces it by �, which would hide the damage.
            InvalidReply: the limit is exceeded; there is JSON outside of events, which would be lost; or the event is
                an error.
        """
        text = self._text_of_plain_events(received)
        if text is None:
            return self._parsed(received)
        self._started, self.bare = True, False
        return filter(None, text[len("data: ") : -len("\n\n")].split("\n\ndata: "))

    def _text_of_plain_events(self, received: bytes) -> str | None:
        """Return the text where it is nothing but complete events of one `data` line each, as it usually is."""
        if (
            self._size
            or self._pieces
            or self._data
            or self.bare
            or not (received.startswith(b"data: ") and received.endswith(b"\n\n"))
            or b"\r" in received
            or received.count(b"\n") != 2 * received.count(b"\n\ndata: ") + 2
        ):
            return None
        try:
            return received.decode()
        except UnicodeDecodeError:  # the events before it are valid
            return None

    def _parsed(self, received: bytes) -> Iterator[str]:
        if not self._started:
            received = b"".join([*self._pieces, received])
            if len(received) < len(BOM) and BOM.startswith(received):
                self._pieces = [received]
                return
            self._started, self._pieces = True, []
            received = received.removeprefix(BOM)
        self._size += len(received)
        if self._size > self._limit:
            raise InvalidReply(f"{self._limit:,} bytes came and no event was complete")
        if b"\n" not in received and b"\r" not in received and not self._ends_in_cr:
            self._pieces.append(received)  # joined once: a line may arrive in thousands of pieces
            return
        received = b"".join([*self._pieces, received])
        lines = received.splitlines(keepends=True)
        # A \r at the end may be the first half of a \r\n.
        self._pieces = []
        if lines and not lines[-1].endswith(b"\n"):
            self._pieces.append(lines.pop())
        for line in lines:
            if (event := self._take(line.rstrip(b"\r\n"))) is not None:
                yield event

    @property
    def _ends_in_cr(self) -> bool:
        return bool(self._pieces) and self._pieces[-1].endswith(b"\r")

    def _take(self, line: bytes) -> str | None:
        """Take in one line. Return the event that it completes."""
        if not line:
            return self._complete()
        name, _, value = line.partition(b":")
        bare = line.lstrip()[:1] in (b"{", b"[")
        if not bare and name == b"error" and not self.bare:  # of llama.cpp and GPUStack
            self._data, self._failed = [value.removeprefix(b" ")], True
            return self._complete()
        if not bare and name != b"data":
            self._take_field(name, value)
            return None
        if self.bare is None:
            self.bare = bare
        if self.bare is not bare:
            if error_in(_read(line)):  # the reader of the format reports it
                return line.decode()
            raise InvalidReply(OTHER_FORM)
        if bare:
            self._size = sum(map(len, self._pieces))
            return line.decode()
        self._data.append(value.removeprefix(b" "))
        return None

    def _take_field(self, name: bytes, value: bytes) -> None:
        """Take in a field other than data. A comment has an empty name.

        Raises:
            InvalidReply: it is no field, so that it may be a part of the data.
        """
        if name == b"event":
            self._failed = value.strip().lower() == b"error"
        elif self.bare or (name and b'"' in name + value and (not _NAME.fullmatch(name) or _DATA.issuperset(name))):
            raise InvalidReply("a line of it is damaged")

    def _complete(self) -> str | None:
        failed, self._failed = self._failed, False
        if not self._data:
            if failed:
                raise InvalidReply(BROKEN_OFF + "no reason given")
            return None
        data, self._data = b"\n".join(self._data), []
        self._size = sum(map(len, self._pieces))
        text = data.decode()
        if failed and not error_in(read := _read(data)):  # which the reader of the format reports
            raise InvalidReply(BROKEN_OFF + words(read))
        return text or None  # an event without data is ignored, by the specification


def _read(data: bytes) -> Any:
    """Return the value of JSON; otherwise the text."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return data.decode(errors="replace")
