"""The state of an agent in words: what it waits for, or since when it is in that state."""

from __future__ import annotations

from collections.abc import Sequence

from ...engine.session import Session
from ...engine.waits import WaitedRun
from .timeline import Timeline


def standing(session: Session, timeline: Timeline) -> tuple[str, float]:
    """Return the state of an agent as a panel shows it, and the time at which it began.

    The first word is a state of `State.label`; where the agent waits, the others say for which run, or why.
    """
    run, state = session.current, session.state
    if run is None:
        queue = session.queue
        if queue and state.is_open() and (needs := unfinished(queue[0].needs)):
            return f"waiting for {needs}", round(queue[0].submitted_at, 2)
        return state.label, timeline.since
    if not state.is_open():
        return state.label, timeline.since
    if state.activity == "waiting":
        return f"waiting {timeline.reason or 'for a free call'}", timeline.since
    if awaited := unfinished(run.waits_for()):
        return f"waiting for {awaited}", timeline.since
    return state.label, timeline.since


def unfinished(runs: Sequence[WaitedRun]) -> str:
    """Return the first of the runs that are not done, and the number of further ones."""
    left = [run.id for run in runs if not run.done]
    if len(left) < 2:
        return "".join(left)
    return f"{left[0]} and {len(left) - 1} more"


def first_word(state: str) -> str:
    """Return the state without what it waits for."""
    if state.startswith("waiting"):
        return "waiting"
    return state
