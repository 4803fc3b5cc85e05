"""Lanes: the agents whose bars a view of the panel shows, and what of them was not sent yet."""

from __future__ import annotations

import time
from collections.abc import Iterable

from ...core.events import CallRetried, Record, TextStreamed, ToolStarted
from ...team.runtimes import Runtime
from .bars import Bar, bar_of, bars
from .details import Facts

#: The share of the allowance that lanes leave to the rows.
_REST = 0.25
#: The most runs, about, that one update reads for whole lanes: 1,000 take milliseconds.
RUNS = 4_000
#: Events that change no bar.
_SAME = frozenset({TextStreamed, ToolStarted, CallRetried})


class Lanes:
    """The lanes of all views. A view asks for a lane as a whole; from then on it gets the bars that change.

    Args:
        runtime: owns the agents.
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._shown: dict[str, frozenset[str]] = {}  # by view, the agents whose lanes it shows
        self._all: frozenset[str] = frozenset()  # the agents of all views
        self._steps: dict[str, float] = {}  # by view, the seconds that a pixel shows
        self._wanted: dict[tuple[str, str], float] = {}  # by view and agent, the time from which on it is sent whole
        self._changed: dict[str, set[str]] = {}  # by agent, the runs that have changed
        self.close = runtime.observe(self._observe)

    @property
    def dirty(self) -> bool:
        """Whether something is new."""
        return bool(self._wanted or self._changed)

    def show(
        self, view: str, names: Iterable[str], whole: Iterable[str] = (), since: float = 0.0, step: float = 0.0
    ) -> None:
        """Send changes of these agents' bars from now on, and of no others for this view.

        Args:
            view: the view that asks.
            names: the agents whose lanes it shows; none where it shows no picture.
            whole: those of which it has no bars yet.
            since: the time from which on it shows them.
            step: the seconds that a pixel shows.
        """
        shown = frozenset(names)
        self._wanted = {key: at for key, at in self._wanted.items() if key[0] != view or key[1] in shown}
        self._wanted.update(((view, name), since) for name in whole if name in shown)
        self._shown[view], self._steps[view] = shown, step
        if not shown:
            del self._shown[view], self._steps[view]
        self._all = frozenset().union(*self._shown.values())
        self._changed = {name: runs for name, runs in self._changed.items() if name in self._all}

    def changes(self, allowance: float) -> tuple[Facts, int]:
        """Return what is new, and its size in bytes. What is beyond the allowance comes next time.

        Returns:
            `bars`: the bars that have changed, by agent; and `lanes`: those that a view gets as a whole.
        """
        found: Facts = {}
        size, most, now = 0, allowance * (1 - _REST), time.time()
        step = min(self._steps.values(), default=0.0)
        while self._changed and size < most:
            name = next(iter(self._changed))
            runs = self._changed.pop(name)
            if (session := self._runtime.get(name)) is not None:
                changed = {run.number: bar_of(run, now, step) for run in session.runs if run.id in runs}
                new = [bar.facts if bar else [number] for number, bar in changed.items()]  # alone: it has none now
                found.setdefault("bars", {})[name] = new
                size += sum(_size(bar) for bar in changed.values() if bar)
        walked = 0
        while self._wanted and size < most and walked < RUNS:
            view, name = next(iter(self._wanted))
            since = self._wanted.pop((view, name))
            if (session := self._runtime.get(name)) is not None:
                whole = bars(session.runs, since, now, self._steps[view])
                walked += len(session.runs)
                lane = [view, name, since, self._steps[view], [bar.facts for bar in whole]]
                found.setdefault("lanes", []).append(lane)
                size += 80 + sum(map(_size, whole))
        return found, size

    def _observe(self, record: Record) -> None:
        if record.agent in self._all and record.run is not None and type(record.event) not in _SAME:
            self._changed.setdefault(record.agent, set()).add(record.run)


def _size(bar: Bar) -> int:
    """Return about how many bytes a bar takes as JSON; encoding it twice would double the cost."""
    line = len(bar.line) if bar.line.isascii() else 3 * len(bar.line)
    return 70 + 8 * len(bar.parts) + 20 * len(bar.needs) + line
