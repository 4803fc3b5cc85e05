"""Show runs in the cells that launched them: streaming while they run, and their final state in every front end.

All of it happens on the agents' loop, in the context of the cell that the output belongs to, in any thread.
"""

from __future__ import annotations

import contextvars
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from uuid import uuid4

from ...core.events import Record
from ...core.text import printable
from ...engine.home import Home
from ...engine.runs import Run
from .render import run_bundle, run_text, status_line

_log = logging.getLogger("whisper_nb")

#: Seconds between repaints of a run, and the most runs that are painted at once: Jupyter drops messages above 1,000 a
#: second.
TICK_S = 0.1
PAINTED_AT_ONCE = 20
#: Seconds that a cell waits for its output while a tool blocks the agents' loop.
SETTLE_S = 1.0


@dataclass(slots=True, eq=False)
class View:
    """The output of one run in one cell."""

    run: Run
    display_id: str = field(default_factory=lambda: uuid4().hex)
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

    def show(self, run: Run) -> None:
        """Show the run in the current cell until it is finished. A terminal cannot repaint: show its current state."""
        self._home.do_within(SETTLE_S, partial(self._show, run))

    def _show(self, run: Run) -> None:
        view = View(run)
        if not run.done:
            self._views.setdefault(run.id, []).append(view)
        if self._live:
            _display(view)
        else:
            print(printable(run_text(run) if run.done else status_line(run)))  # noqa: T201

    def answer(self, run: Run) -> None:
        """Print a finished run that its cell waited for, in a terminal."""
        if not self._live:
            self._home.do(self._views.pop, run.id, None)
            self.show(run)

    def observe(self, record: Record) -> None:
        """Mark a run's views as changed. A runtime calls it with each record."""
        for view in self._views.get(record.run or "", ()):
            self._dirty[view] = None
        if self._dirty and self._live and self._timer is None:
            self._timer = self._home.later(TICK_S, self._tick)

    def settle(self, *_: object) -> None:
        """Show again, from the cell that has just run, what changed since the last cell.

        nbclient, papermill and nbval save only what the running cell sends. In a terminal, print which runs finished.
        """
        self._home.do_within(SETTLE_S, self._settle)

    def _settle(self) -> None:
        changed = {**self._stale, **self._dirty}
        self._stale.clear()
        self._dirty.clear()
        for view in changed:
            if self._live:
                _display(view, update=True)
            elif view.run.done and view.run.id in self._views:
                print(status_line(view.run))  # noqa: T201
            if view.run.done:
                self._views.pop(view.run.id, None)

    def _tick(self) -> None:
        self._timer = None
        for view in list(self._dirty)[:PAINTED_AT_ONCE]:
            del self._dirty[view]
            self._stale[view] = None
            view.context.run(_display, view, update=True)
        if self._dirty:
            self._timer = self._home.later(TICK_S, self._tick)


def _display(view: View, update: bool = False) -> None:
    from IPython.display import display

    show: Callable[..., Any] = display
    try:
        bundle = run_bundle(view.run)
    except Exception:  # a model's text may break rendering: the other runs must still be shown
        _log.exception("%s cannot be shown", view.run.id)
        bundle = {"text/plain": f"{status_line(view.run)}\n(it cannot be shown: see run.text)"}
    show(bundle, raw=True, display_id=view.display_id, update=update)
