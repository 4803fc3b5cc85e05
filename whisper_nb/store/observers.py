"""Observers: callbacks that receive every record."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from ..core.events import Record

T = TypeVar("T")
Observer = Callable[[Record], None]
_changing = threading.RLock()  # a garbage collection may come here in the midst of it
_log = logging.getLogger("whisper_nb")


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
