"""A session's two axes of state and the table of legal transitions. Pure: tested without a loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

from .errors import SessionClosed, SessionError

Activity = Literal["idle", "running", "waiting"]
Gate = Literal["open", "paused", "sleeping", "stopped", "removed"]
Outcome = Literal["succeeded", "failed", "cancelled"]
Trigger = Literal["start", "wait", "proceed", "finish", "pause", "resume", "sleep", "wake", "stop", "remove"]

_ACTIVITY: dict[Trigger, dict[Activity, Activity]] = {
    "start": {"idle": "running"},
    "wait": {"running": "waiting"},
    "proceed": {"waiting": "running"},
    "finish": {"running": "idle", "waiting": "idle"},
}
# Pausing or stopping twice is legal and changes nothing: people repeat a command to be sure.
_GATE: dict[Trigger, dict[Gate, Gate]] = {
    "pause": {"open": "paused", "sleeping": "paused", "paused": "paused"},
    "resume": {"paused": "open", "sleeping": "open", "stopped": "open", "open": "open"},
    "sleep": {"open": "sleeping", "sleeping": "sleeping"},
    "wake": {"sleeping": "open", "open": "open"},
    "stop": {"open": "stopped", "paused": "stopped", "sleeping": "stopped", "stopped": "stopped", "removed": "removed"},
    "remove": dict.fromkeys(get_args(Gate), "removed"),  # final: a later session of this name is another one
}
_TRAIL = 8


@dataclass(frozen=True, slots=True)
class State:
    """The activity of a session, and whether it may start runs."""

    activity: Activity = "idle"
    gate: Gate = "open"
    trail: tuple[Trigger, ...] = field(default=(), compare=False, repr=False)
    """The last transitions, oldest first, for the error of an illegal one."""

    def is_open(self) -> bool:
        """Whether runs may start."""
        return self.gate == "open"

    def is_shut(self) -> bool:
        """Whether it accepts no runs."""
        return self.gate in ("stopped", "removed")

    def check_kept(self, name: str) -> None:
        """Raise SessionClosed if the agent was removed. A later agent of this name is another one."""
        if self.gate == "removed":
            raise SessionClosed(
                f"{name} was removed. Create it again with `%agent new {name}`; "
                f"if that was done, use the new session: rt[{name!r}]"
            )

    def check_takes_work(self, name: str) -> None:
        """Raise SessionClosed if the agent was stopped or removed."""
        self.check_kept(name)
        if self.is_shut():
            raise SessionClosed(f"{name} was stopped; `%agent resume {name}` lets it work again")

    @property
    def label(self) -> str:
        """The state as displayed, in one or two words."""
        if self.is_open():
            return self.activity
        if self.activity == "idle":
            return self.gate
        return f"{self.gate} ({self.activity})"


def transition(state: State, trigger: Trigger) -> State:
    """Return the state after `trigger`.

    Raises:
        SessionError: the trigger is illegal in this state. The message lists the transitions that led to it.
    """
    trail = (*state.trail, trigger)[-_TRAIL:]
    if (gate := _GATE.get(trigger, {}).get(state.gate)) is not None:
        return State(state.activity, gate, trail)
    if (activity := _ACTIVITY.get(trigger, {}).get(state.activity)) is not None:
        return State(activity, state.gate, trail)
    raise SessionError(
        f"{trigger!r} is illegal while {state.activity}/{state.gate} (after: {' → '.join(state.trail) or 'nothing'})"
    )
