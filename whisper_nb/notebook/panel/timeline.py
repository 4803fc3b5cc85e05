"""Timeline: one agent's changes of state over the last minutes, folded from its records. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from functools import cache
from itertools import islice

from ...core.events import CallHeld, CallRetried, Record, RunFinished, RunStarted, StateChanged
from ...core.states import Activity, Gate, State
from ...core.text import clip, printable
from ..cells.render import record_text
from .bars import HELD
from .details import LINE, RESULT

#: Seconds that a timeline covers, spans that it keeps, and of these the newest that one update sends.
TIMELINE_S, SPANS, FRESH = 300.0, 120, 40

#: The time at which a state began, and the state: `running`, `waiting`, `idle`, `paused`, `sleeping`, `stopped`.
Span = tuple[float, str]


@cache
def _state(activity: Activity, gate: Gate) -> State:
    """Return the state without a trail. There are a dozen, and thousands are needed a second."""
    return State(activity, gate)


@dataclass(slots=True)
class Timeline:
    """A fold of one agent's records: a panel that opens late knows as much as one that was there from the start."""

    since: float
    """The time at which the current state began."""
    state: State = field(default_factory=lambda: _state("idle", "open"))
    spans: deque[Span] = field(default_factory=lambda: deque(maxlen=SPANS))
    fresh: deque[Span] = field(default_factory=lambda: deque(maxlen=FRESH))
    """The spans that were not sent yet."""
    error: str = ""
    """The error of the newest run, if it failed."""
    run: str | None = None
    """The id of the current run."""
    waits: str = ""
    """The record of the reason for which a model call waits, in words."""
    reason: str = ""
    """The same in two words or three, as they follow "waiting": a retry, a rate limit, or the budget."""

    def take(self, record: Record) -> None:
        """Apply a record of this agent."""
        match record.event:
            case RunStarted():
                self.run = record.run
                self._enter("running", self.state.gate, record.time)
            case CallRetried() | CallHeld() if self.state.activity == "waiting":  # the record may arrive late
                self.waits = clip(record_text(record), LINE)
                self.reason = "to retry"
                if isinstance(record.event, CallHeld):
                    self.reason = HELD[record.event.cause].removeprefix("waiting ")
            case RunFinished(outcome, error):
                if record.run == self.run:
                    self.run, self.waits, self.reason = None, "", ""
                    self._enter("idle", self.state.gate, record.time)
                if outcome == "failed":
                    self.error = printable(f"{record.run}: {clip(error or '', RESULT)}")
                elif outcome == "succeeded":
                    self.error = ""
            case StateChanged(state) if state.gate == "removed":
                pass  # of the session that had this name before
            case StateChanged(state):
                if state.activity != "waiting":
                    self.waits = self.reason = ""
                # A run that ends before its RunStarted was published leaves no RunFinished that would end its state.
                self._enter(state.activity if self.run else "idle", state.gate, record.time)

    def recent(self, since: float, most: int) -> list[Span]:
        """Return the newest spans: those that end after `since`, at most `most` of them."""
        first = next((at for at, (when, _) in enumerate(self.spans) if when > since), len(self.spans))
        return list(islice(self.spans, max(0, first - 1, len(self.spans) - most), None))

    def _enter(self, activity: Activity, gate: Gate, when: float) -> None:
        state = _state(activity, gate)
        if state is self.state:
            return
        self.state, self.since = state, round(when, 2)
        label: str = activity
        if activity == "idle" and gate != "open":
            label = gate
        span = (self.since, label)
        self.spans.append(span)
        self.fresh.append(span)
