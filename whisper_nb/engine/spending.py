"""What runs have cost, by agent. What nobody knows is counted as unknown, and no removed agent takes its cost along."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..core.messages import Spent, Usage, replace
from .runs import Run
from .session import Session


def spent_on(run: Run) -> Spent:
    """What a run has cost; so far, while it is at work."""
    # One that never began cost nothing.
    usage, cost = (Usage(), 0.0) if run.done and run.started_at is None else (run.usage, run.cost)
    spent = Spent().plus(usage, cost)
    return spent if run.done else replace(spent, runs=0, at_work=1)


def spent_by(session: Session) -> Spent:
    """What the runs of a session have cost; so far, where one is at work."""
    return session.spent + spent_on(session.current) if session.current else session.spent


class Ledger:
    """What has been spent, by the name of the agent: it goes on where an agent is removed and made again."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed: dict[str, Spent] = {}

    def close(self, session: Session) -> None:
        """The session is about to be removed: remember what it has spent, and what its last runs will have."""
        if session.spent.runs:
            self._add(session.name, session.spent)
        for run in session.unfinished:
            run.on_done(partial(self._end, run))

    def by_agent(self, sessions: Sequence[Session], removed: Sequence[Session]) -> dict[str, Spent]:
        """Return the cost of each agent, so far where it is at work. Removed agents come last."""
        spent = {session.name: spent_by(session) for session in sessions}
        at_work = [(one.name, one.current) for one in removed]
        for name, more in (*self._closed.items(), *((name, spent_on(run)) for name, run in at_work if run)):
            spent[name] = spent.get(name, Spent()) + more
        return spent

    def _end(self, run: Run) -> None:
        self._add(run.session.name, spent_on(run))

    def _add(self, name: str, spent: Spent) -> None:
        self._closed[name] = self._closed.get(name, Spent()) + spent
