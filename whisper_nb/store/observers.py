"""Observers: callbacks that are called with every record, or with every session that is created or removed."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from ..core.events import Record

T = TypeVar("T")
Observer = Callable[[Record], None]
#: Reentrant: a garbage collection in the middle of a change may remove an observer.
_changing = threading.RLock()
_log = logging.getLogger("whisper_nb")


class Observers(Generic[T]):
    """Callbacks. One that fails is logged and removed: it never harms an agent."""

    __slots__ = ("_observers",)

    def __init__(self) -> None:
        self._observers: dict[object, Callable[[T], None]] = {}  # replaced at each change: other threads may iterate

    def add(self, observer: Callable[[T], None]) -> Callable[[], None]:
        """Call `observer` from now on, on the agents' event loop; it must not block. Thread-safe.

        Returns:
            A function that removes the observer; calling it twice does no harm.
        """
        key = object()
        with _changing:
            self._observers = {**self._observers, key: observer}
        return partial(self._remove, key)

    def notify(self, what: T, *, in_cell: bool = False) -> None:
        """Call every observer. One that raises, even SystemExit, is logged and removed.

        Args:
            what: the argument of each call.
            in_cell: whether this is called from a cell's own code and not from an agent's task. In a cell, a
                KeyboardInterrupt is the user's, and is raised after the other observers were called. In a task it
                would end the event loop, and is a failure like others.

        Raises:
            BaseException: the outcome of a test runner, such as pytest's `Failed`; after the other observers were
                called.
        """
        raised: BaseException | None = None
        for key, observer in self._observers.items():
            try:
                observer(what)
            except BaseException as error:  # a user's code: even SystemExit must not end an agent or the event loop
                if _is_failure(error, in_cell):
                    event = getattr(what, "event", what)
                    _log.exception("observer %r failed and was removed, at %s", observer, type(event).__name__)
                    self._remove(key)
                else:
                    raised = error
        if raised is not None:
            raise raised

    def _remove(self, key: object) -> None:
        with _changing:
            self._observers = {one: observer for one, observer in self._observers.items() if one is not key}


def _is_failure(error: BaseException, in_cell: bool) -> bool:
    if isinstance(error, KeyboardInterrupt):
        return not in_cell
    return isinstance(error, Exception | SystemExit | GeneratorExit | asyncio.CancelledError)
