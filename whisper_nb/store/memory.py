"""Where records go: into the store first, then to whoever observes."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import Generic, Protocol, TypeVar

from ..core.events import Record

T = TypeVar("T")
Observer = Callable[[Record], None]
_changing = threading.RLock()  # a garbage collection may come here in the midst of it
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
            for record in tuple(self._records)  # which another thread may add to
            if (agent is None or record.agent == agent) and (run is None or record.run == run)
        ]

    async def aclose(self) -> None:
        """Nothing to let go of."""


class Observers(Generic[T]):
    """Who hears of records, or of whatever else. One that fails is logged and dropped: it never harms an agent."""

    __slots__ = ("_observers",)

    def __init__(self) -> None:
        self._observers: dict[object, Callable[[T], None]] = {}  # another one after each change: threads may look

    def add(self, observer: Callable[[T], None]) -> Callable[[], None]:
        """Call `observer` with everything from now on, on the agents' loop; it must not block. From any thread.

        Returns:
            A function that takes it off again; calling it twice does no harm.
        """
        place = object()
        with _changing:
            self._observers = {**self._observers, place: observer}
        return partial(self._drop, place)

    def notify(self, what: T) -> None:
        """Tell everybody."""
        for place, observer in self._observers.items():
            try:
                observer(what)
            except BaseException:  # even sys.exit(): this is called from a task, and would end the loop
                event = getattr(what, "event", what)
                _log.exception("observer %r failed and was dropped, at %s", observer, type(event).__name__)
                self._drop(place)

    def _drop(self, place: object) -> None:
        with _changing:
            self._observers = {one: observer for one, observer in self._observers.items() if one is not place}
