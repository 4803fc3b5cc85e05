"""Server-sent events, parsed as their bytes come: https://html.spec.whatwg.org/multipage/server-sent-events.html."""

from __future__ import annotations

from collections.abc import Iterator

from .reading import Distrusted

#: Of the fields besides `data` and `event`; a comment has none.
_FIELDS = (b"", b"id", b"retry")
_BOM = b"\xef\xbb\xbf"


class Events:
    """The events of one stream so far.

    Args:
        limit: the most bytes until an event is complete, comments and all that says nothing included.
        lines: whether it may be JSON lines, too: each line an event, and nothing before it. The first says which it is.
    """

    __slots__ = ("_data", "_failed", "_limit", "_pieces", "_size", "_started", "bare")

    def __init__(self, limit: int, *, lines: bool = False) -> None:
        self._limit = limit
        self.bare: bool | None = None if lines else False
        """Whether it is JSON lines; None while nobody knows."""
        self._started = False
        self._pieces: list[bytes] = []  # of a line that is not complete
        self._data: list[bytes] = []  # of an event that is not complete
        self._failed = False  # whether it calls itself an error
        self._size = 0  # since the last event

    def feed(self, received: bytes) -> Iterator[str]:
        """The data of each event that is complete now, to be taken before the next feeding.

        Comments, and fields other than data, say nothing; an event that is an error is none.

        Raises:
            UnicodeDecodeError: an event is not UTF-8. The specification would put � there, and nobody would know.
            Distrusted: more than the limit, and no event; JSON that is in no event, which would be lost; or the provider
                says that it failed.
        """
        if not self._started:
            received = b"".join([*self._pieces, received])
            if len(received) < len(_BOM) and _BOM.startswith(received):
                self._pieces = [received]
                return
            self._started, self._pieces = True, []
            received = received.removeprefix(_BOM)
        if self._quick(received):
            self.bare = False
            yield received[6:-2].decode()
            return
        self._size += len(received)
        if self._size > self._limit:
            raise Distrusted(f"{self._limit:,} bytes came and no event was complete")
        if b"\n" not in received and b"\r" not in received and not self._ends_in_cr:
            self._pieces.append(received)  # put together once: a line may come in thousands of pieces
            return
        received = b"".join([*self._pieces, received])
        lines = received.splitlines(keepends=True)
        # A \r at the end may be the first half of a \r\n.
        self._pieces = [lines.pop()] if lines and not lines[-1].endswith(b"\n") else []
        for line in lines:
            if (event := self._take(line.rstrip(b"\r\n"))) is not None:
                yield event

    @property
    def _ends_in_cr(self) -> bool:
        return bool(self._pieces) and self._pieces[-1].endswith(b"\r")

    def _quick(self, received: bytes) -> bool:
        """Whether just one event has arrived, as it mostly does."""
        return (
            received.startswith(b"data: ")
            and len(received) > len(b"data: \n\n")
            and received.endswith(b"\n\n")
            and received.count(b"\n") == 2
            and b"\r" not in received
            and not self._size
            and not self._data
            and not self.bare
        )

    def _take(self, line: bytes) -> str | None:
        """One line; the event that it completes."""
        if not line:
            if not self._data:
                return None
            data, self._data = b"\n".join(self._data).decode(), []
            self._size = sum(map(len, self._pieces))
            failed, self._failed = self._failed, False
            if failed and '"error"' not in data:  # else whoever knows the format reads what it says
                raise Distrusted(f"the provider broke it off: {data}")
            return data or None  # one without data is none, by the specification
        name, _, value = line.partition(b":")
        bare = line.lstrip()[:1] in (b"{", b"[")
        if not bare and name != b"data":
            if name == b"event":
                self._failed = value.strip() == b"error"
            elif self.bare or (name not in _FIELDS and b'"' in line):
                raise Distrusted("a line of it is damaged")
            return None
        if self.bare is None:
            self.bare = bare
        if self.bare is not bare:
            raise Distrusted("a piece of it is in another form than the rest")
        if bare:
            self._size = sum(map(len, self._pieces))
            return line.decode()
        self._data.append(value.removeprefix(b" "))
        return None
