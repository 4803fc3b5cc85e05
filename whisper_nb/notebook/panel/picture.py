"""The picture of the team as a still, for a saved notebook, a script or a terminal: SVG, an image in HTML, and text."""

from __future__ import annotations

import base64
import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...config.kinds import Number
from ...core.errors import ConfigError
from ...core.text import short_repr
from ...engine.session import Session
from ...team.runtimes import Runtime
from ..cells.costs import budget_line
from .bars import DRAWN, KINDS, Kind, bars, joined
from .svg import SCALE, WIDTH, Lane, Scene, escaped, lasted, parts_until

#: Lanes of a still, its bars, characters of its SVG, and the longest time that it shows if none is given.
LANES, MOST, SIZE, LONGEST_S = 30, 400, 60_000, 6 * 3600
#: Runs that a still shows if no time is given: a saved notebook's is drawn anew after each cell.
RUNS = 3_000
#: The shortest and the longest time that it can show, in minutes.
MINUTES = (0.05, 7 * 24 * 60)
#: Characters of a lane as text.
CELLS = 60
_GLYPHS: Mapping[Kind, str] = dict.fromkeys(KINDS, "─") | {"thinking": "█", "tool": "▒"}
_ENDS = {"failed": "✕", "cancelled": "◦"}


@dataclass(frozen=True, slots=True)
class TeamPicture:
    """The work of the agents over time: one lane per agent. A notebook shows it as SVG, a terminal as text."""

    scene: Scene

    @property
    def svg(self) -> str:
        """The picture as SVG without script; the pointer on a bar shows its run, where a page has it inline."""
        return "".join(self.scene.draw(titles=True))

    @property
    def image(self) -> str:
        """The picture as `<img>`, which survives where inline SVG is removed: on GitHub, in untrusted notebooks."""
        data = base64.b64encode("".join(self.scene.draw(titles=False)).encode()).decode()
        look = f'width="{WIDTH}" style="max-width:100%"'
        return f'<img alt="{escaped(self.scene.label)}" {look} src="data:image/svg+xml;base64,{data}">'

    def __str__(self) -> str:
        scene = self.scene
        wide = max((len(lane.agent) for lane in scene.lanes), default=0)
        lines = [scene.label]
        lines += [f"{lane.agent:{wide}} |{_cells(lane, scene)}| {_sums(lane, scene.now)}" for lane in scene.lanes]
        if scene.lanes:
            kinds = "".join(f" {_GLYPHS[kind]} {kind} " for kind in DRAWN)
            lines.append(f"{'':{wide}} {kinds} ✕ failed  ◦ cancelled")
        return "\n".join([*lines, *scene.rest])

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: object) -> dict[str, str]:
        # Front ends prefer HTML. Of SVG, JupyterLab and nbconvert make an image without a text, wider than the cell.
        return {"text/html": self.image, "image/svg+xml": self.svg, "text/plain": str(self)}


def picture(runtime: Runtime, minutes: float | None = None) -> TeamPicture:
    """Return the picture of a runtime's agents.

    Args:
        runtime: owns the agents.
        minutes: that it shows, until now. None: all that the agents did in the last 6 hours.

    Raises:
        ConfigError: it cannot show so many minutes.
    """
    try:
        minutes = None if minutes is None else Number(*MINUTES).read(minutes)
    except ValueError:
        shown = short_repr(minutes)
        raise ConfigError(f"a timeline of {shown} minutes: allowed are {MINUTES[0]:g} to {MINUTES[1]:,.0f}") from None
    return runtime.home.do(_picture, runtime, minutes)


def _picture(runtime: Runtime, minutes: float | None) -> TeamPicture:
    now = time.time()
    sessions = sorted(runtime.sessions, key=_last_active, reverse=True)
    shown = {session.name for session in sessions[:LANES]}
    chosen = [session for session in runtime.sessions if session.name in shown]
    since, until = _window(chosen, minutes, now)
    step = (until - since) / SCALE
    found = {one.name: bars(one.runs, since, now, step) for one in chosen}
    budget = budget_line(runtime.budget) if runtime.budget else ""
    while True:
        few = sum(map(len, found.values())) <= MOST
        lanes = tuple(Lane(name, tuple(lane)) for name, lane in found.items())
        still = TeamPicture(Scene(lanes, since, until, now, len(sessions) - len(chosen), budget))
        if (few and len(still.svg) <= SIZE) or step > until - since:
            return still
        step *= 2
        found = {name: joined(lane, step) for name, lane in found.items()}


def _last_active(session: Session) -> float:
    return max((run.finished_at or run.submitted_at for run in session.runs[-1:]), default=session.created_at)


def _window(sessions: Sequence[Session], minutes: float | None, now: float) -> tuple[float, float]:
    """Return the time to show: the last minutes; or from the first run until the last end, or now if one goes on."""
    if minutes is not None:
        return now - minutes * 60, now
    runs = [run for session in sessions for run in session.runs]
    began = [run.started_at or run.submitted_at for run in runs]
    ended = [run.finished_at or now for run in runs]
    until = max(ended, default=now)
    bound = max(_oldest(sessions), default=0.0)
    since = max(min(began, default=until), until - LONGEST_S, bound)
    margin = max((until - since) * 0.02, (3 - (until - since)) / 2)
    if since > bound:
        since -= margin
    return since, until + margin


def _oldest(sessions: Sequence[Session]) -> Iterator[float]:
    """Yield the start of the oldest run of each agent that has more runs than its share of `RUNS`."""
    share = RUNS // max(1, len(sessions))
    for session in sessions:
        runs = session.runs
        if len(runs) > share:
            yield runs[-share].started_at or runs[-share].submitted_at


def _cells(lane: Lane, scene: Scene) -> str:
    """Return a lane as text."""
    cells = [" "] * CELLS
    scale = CELLS / (scene.until - scene.since)
    for bar in lane.bars:
        last = 0
        for kind, begin, end in parts_until(bar, scene.now):
            first = min(max(0, math.floor((begin - scene.since) * scale)), CELLS - 1)
            last = min(CELLS, max(first + 1, math.ceil((end - scene.since) * scale - 0.5)))
            cells[first:last] = _GLYPHS[kind] * (last - first)
        if bar.outcome in _ENDS:
            cells[last - 1] = _ENDS[bar.outcome]
    return "".join(cells)


def _sums(lane: Lane, now: float) -> str:
    """Return the runs of a lane, and for how long each kind of part lasted."""
    runs = sum(bar.runs for bar in lane.bars)
    took: Counter[Kind] = Counter()
    for bar in lane.bars:
        for kind, begin, end in parts_until(bar, now):
            took[kind] += end - begin  # type: ignore[assignment]
    times = [f"{kind} {lasted(took[kind])}" for kind in KINDS if took[kind]]
    return ", ".join([f"{runs} run{'s' * (runs != 1)}", *times])
