"""Usage and cost of runs, by agent, with those of removed agents. An unreported cost is counted as unknown."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from ..core.messages import Spent, Usage, replace
from ..engine.runs import Run
from ..engine.session import Session


def spent_on(run: Run) -> Spent:
    """Return the usage and cost of a run; so far, if it is running."""
    if run.done and run.started_at is None:  # a run that never started cost nothing
        return Spent().plus(Usage(), 0.0)
    spent = Spent().plus(run.usage, run.cost)
    if run.done:
        return spent
    return replace(spent, runs=0, at_work=1)


def spent_by(session: Session) -> Spent:
    """Return the usage and cost of a session's runs; so far, if one is running."""
    if session.current is None:
        return session.spent
    return session.spent + spent_on(session.current)


class Ledger:
    """Usage and cost by name of the agent. They go on if an agent is removed and created again."""

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed: dict[str, Spent] = {}

    def close(self, session: Session) -> None:
        """Keep the costs of a session that is about to be removed, and those of its unfinished runs when they end."""
        if session.spent.runs:
            self._add(session.name, session.spent)
        for run in session.unfinished:
            run.on_done(partial(self._end, run))

    def by_agent(self, sessions: Sequence[Session], removed: Sequence[Session]) -> dict[str, Spent]:
        """Return the cost of each agent, so far if it is running. Removed agents come last."""
        spent = {session.name: spent_by(session) for session in sessions}
        at_work = [(one.name, one.current) for one in removed]
        for name, more in (*self._closed.items(), *((name, spent_on(run)) for name, run in at_work if run)):
            spent[name] = spent.get(name, Spent()) + more
        return spent

    def _end(self, run: Run) -> None:
        self._add(run.session.name, spent_on(run))

    def _add(self, name: str, spent: Spent) -> None:
        self._closed[name] = self._closed.get(name, Spent()) + spent
