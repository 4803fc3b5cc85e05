"""What a run shows, in the cell that launched it: streaming while it works, its final state whatever front end saves."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from ..events import Record
from ..home import Home
from ..runs import Run
from .render import run_bundle, status_line

#: Seconds between repaints of one run, and the most runs painted at once: Jupyter drops what is above 1,000 a second.
TICK_S = 0.1
PAINTED_AT_ONCE = 20


@dataclass(slots=True, eq=False)
class View:
    """One run's place in one cell."""

    run: Run
    display_id: str = field(default_factory=lambda: uuid4().hex)
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    """That of the launching cell: what is painted in it lands there."""


class Outputs:
    """The views of all runs that are at work. Repaints those that changed, at most ten times a second each."""

    def __init__(self, home: Home, live: bool) -> None:
        self._home = home
        self._live = live
        self._views: dict[str, list[View]] = {}  # run id → its views
        self._dirty: dict[View, None] = {}  # to be painted, the longest waiting first
        self._stale: dict[View, None] = {}  # painted from the background: a headless front end has dropped that
        self._timer: asyncio.TimerHandle | None = None

    def show(self, run: Run) -> None:
        """Show the run in the current cell, until it is done; in a terminal, which cannot repaint, as it is now."""
        if not self._live:
            print(status_line(run))  # noqa: T201
            return
        view = View(run)
        if not run.done:
            self._views.setdefault(run.id, []).append(view)
        _display(view)

    def observe(self, record: Record) -> None:
        """Take note of what happened to a run; the observer that a runtime calls."""
        for view in self._views.get(record.run or "", ()):
            self._dirty[view] = None
        if self._dirty and self._timer is None:
            # In a context of its own: that of the cell is busy as long as the cell is.
            self._timer = self._home.loop.call_later(TICK_S, self._tick, context=contextvars.Context())

    def settle(self, *_: object) -> None:
        """Show again, from the cell that has just run, what changed in the background since the last one.

        nbclient, papermill and nbval save only what the running cell sends.
        """
        for view in {**self._stale, **self._dirty}:
            _display(view, update=True)
            if view.run.done:
                self._views.pop(view.run.id, None)
        self._stale.clear()
        self._dirty.clear()

    def _tick(self) -> None:
        self._timer = None
        for view in list(self._dirty)[:PAINTED_AT_ONCE]:
            del self._dirty[view]
            view.context.run(_display, view, update=True)
            self._stale[view] = None
        if self._dirty:
            self._timer = self._home.loop.call_later(TICK_S, self._tick, context=contextvars.Context())


def _display(view: View, update: bool = False) -> None:
    from IPython.display import display

    show: Callable[..., Any] = display
    show(run_bundle(view.run), raw=True, display_id=view.display_id, update=update)
