"""Where records go: into the store first, then to whoever observes."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Protocol

from .events import Record

Observer = Callable[[Record], None]
_log = logging.getLogger("whisper_nb")


class Store(Protocol):
    """Keeps records. A record is safe once `append` returns; only then do observers see it."""

    async def append(self, record: Record) -> None:
        """Keep the record. Cancellation may come before or after it is kept."""

    def records(self, agent: str | None = None, run: str | None = None) -> Iterable[Record]:
        """What is kept, oldest first, of one agent or one run."""

    async def aclose(self) -> None:
        """Let go of what the store holds."""


class MemoryStore:
    """A Store that lives as long as its process and keeps the newest `capacity` records."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._records: deque[Record] = deque(maxlen=capacity)

    async def append(self, record: Record) -> None:
        """Keep the record; the oldest goes when the store is full."""
        self._records.append(record)

    def records(self, agent: str | None = None, run: str | None = None) -> list[Record]:
        """What is kept, oldest first, of one agent or one run."""
        return [
            record
            for record in self._records
            if (agent is None or record.agent == agent) and (run is None or record.run == run)
        ]

    async def aclose(self) -> None:
        """Nothing to let go of."""


class Observers:
    """Who hears of records. An observer that fails is logged and dropped: it never harms an agent."""

    __slots__ = ("_observers",)

    def __init__(self) -> None:
        self._observers: dict[object, Observer] = {}

    def add(self, observer: Observer) -> Callable[[], None]:
        """Call `observer` with every record from now on, on the agents' loop; it must not block.

        Returns:
            A function that takes it off again; calling it twice does no harm.
        """
        place = object()
        self._observers[place] = observer

        def drop() -> None:
            self._observers.pop(place, None)

        return drop

    def notify(self, record: Record) -> None:
        """Tell everybody."""
        for place, observer in tuple(self._observers.items()):
            try:
                observer(record)
            except BaseException:  # even sys.exit(): this is called from a task, and would end the loop
                _log.exception("observer %r failed and was dropped, at %s", observer, type(record.event).__name__)
                self._observers.pop(place, None)
