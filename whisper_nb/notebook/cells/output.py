"""Show runs in the cells that launched them: streaming while they run, and their final state in every front end.

All of it happens on the agents' loop, in the context of the cell that the output belongs to, in any thread.
"""

from __future__ import annotations

import contextvars
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from ...core.events import Record
from ...engine.home import Home
from ...engine.runs import Run
from .places import Place, place_of

#: Seconds between repaints of a run, and the most runs that are painted at once: Jupyter drops messages above 1,000 a
#: second.
TICK_S = 0.1
PAINTED_AT_ONCE = 20
#: CPU seconds after which no other run is painted at once: a long reply can take a few tenths of one.
PAINTING_S = 0.05
#: Seconds that a cell waits for its output while a tool blocks the agents' loop.
SETTLE_S = 1.0


@dataclass(slots=True, eq=False)
class View:
    """The output of one run in one cell."""

    run: Run
    place: Place
    context: contextvars.Context = field(default_factory=contextvars.copy_context)
    """The context of the launching cell: Jupyter shows output from this context in that cell."""


class Outputs:
    """The views of all unfinished runs. Repaints those that changed, at most ten times a second each."""

    def __init__(self, home: Home, live: bool) -> None:
        self._home = home
        self._live = live
        self._views: dict[str, list[View]] = {}  # run id → its views
        self._dirty: dict[View, None] = {}  # to be painted, in order of their first change
        self._stale: dict[View, None] = {}  # painted between cells: headless front ends dropped that
        self._timer: Callable[[], None] | None = None

    def show(self, run: Run, *, raw: bool = False) -> None:
        """Show the run in the current cell until it is finished.

        Args:
            run: the run.
            raw: whether its answer is shown as the text that the model wrote.
        """
        self._home.do_within(SETTLE_S, partial(self._show, run, place_of(self._live, raw=raw)))

    def _show(self, run: Run, place: Place) -> None:
        view = View(run, place)
        if not run.done:
            self._views.setdefault(run.id, []).append(view)
        place.show(run)

    def answer(self, run: Run) -> None:
        """Show a finished run that its cell waited for, where that is not repainted."""
        self._home.do(self._answer, run)

    def _answer(self, run: Run) -> None:
        for view in self._views.get(run.id, ()):
            view.place.finish(run)

    def observe(self, record: Record) -> None:
        """Mark a run's views as changed. A runtime calls it with each record."""
        for view in self._views.get(record.run or "", ()):
            self._dirty[view] = None
        if self._dirty and self._timer is None:
            self._timer = self._home.later(TICK_S, self._tick)

    def settle(self, *_: object) -> None:
        """Show again, from the cell that has just run, what changed since the last cell.

        nbclient, papermill and nbval save only what the running cell sends.
        """
        self._home.do_within(SETTLE_S, self._settle)

    def _settle(self) -> None:
        changed = {**self._stale, **self._dirty}
        self._stale.clear()
        self._dirty.clear()
        for view in changed:
            view.place.settle(view.run)
            if view.run.done:
                self._views.pop(view.run.id, None)

    def _tick(self) -> None:
        self._timer = None
        end = time.thread_time() + PAINTING_S
        for view in list(self._dirty)[:PAINTED_AT_ONCE]:
            if time.thread_time() > end:
                break
            del self._dirty[view]
            self._stale[view] = None
            view.context.run(view.place.repaint, view.run)
        if self._dirty:
            self._timer = self._home.later(TICK_S, self._tick)
