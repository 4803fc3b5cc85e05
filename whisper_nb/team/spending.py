"""The ledger: usage and cost of runs by agent, model and day, with those of removed agents.

An unreported cost is counted as unknown.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Literal, Self, get_args

from ..core.errors import ConfigError
from ..core.events import Record
from ..core.messages import Spent
from ..core.text import short_repr
from ..engine.projection import LedgerKey, RunState, entry_of
from ..engine.runs import Run
from ..engine.session import Session

#: What the spending of a team can be grouped by. Days are those of local time, as `2026-11-30`.
Group = Literal["agent", "model", "day"]
#: Agent, model and day.
Key = tuple[str, str, str]


def spent_by(session: Session[Any]) -> Spent:
    """Return the usage and cost of a session's runs; so far, if one is running."""
    if session.current is None:
        return session.spent
    return session.spent + session.current.spent


class Ledger:
    """Usage and cost by agent, model and day. Those of an agent go on if it is removed and created again.

    It holds the runs of removed agents; those of others are in their sessions. A run counts on the day when it starts.
    """

    __slots__ = ("_closed",)

    def __init__(self) -> None:
        self._closed: dict[Key, Spent] = {}

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """Return the ledger that records give, of any number of agents: as if all of them had been removed.

        Its memory is that of the unfinished runs, and of an entry for each agent, model and day.
        """
        ledger = cls()
        runs: dict[str, RunState] = {}
        for record in records:
            if record.run is None:
                continue
            run = runs.setdefault(record.run, RunState(record.run))
            run._apply(record)
            if run.done:
                ledger._end(record.agent, runs.pop(record.run))
        return ledger

    def close(self, session: Session[Any]) -> None:
        """Keep the costs of a session that is about to be removed, and those of its unfinished runs when they end."""
        for entry, spent in session.ledger.items():
            self._add(session.name, entry, spent)
        for run in session.unfinished:
            run.on_done(partial(self._end, session.name, run))

    def by_agent(self, sessions: Sequence[Session[Any]] = (), removed: Sequence[Session[Any]] = ()) -> dict[str, Spent]:
        """Return the cost of each agent, so far if it is running. Removed agents come last."""
        spent = {session.name: spent_by(session) for session in sessions}
        for (name, _, _), more in self._of_removed(removed):
            spent[name] = spent.get(name, Spent()) + more
        return spent

    def grouped(
        self,
        group: Group,
        sessions: Sequence[Session[Any]] = (),
        removed: Sequence[Session[Any]] = (),
        agents: Container[str] | None = None,
    ) -> dict[str, Spent]:
        """Return the cost of each agent, model or day, so far where runs are running. Models and days are sorted.

        Args:
            group: what they are grouped by.
            sessions: of the team.
            removed: sessions that were removed.
            agents: the names of the agents that count. None: all.

        Raises:
            ConfigError: there is no such group.
        """
        if group not in get_args(Group):
            raise ConfigError(f"spending by {short_repr(group)}: there are {', '.join(get_args(Group))}")
        if group == "agent":
            spent = self.by_agent(sessions, removed)
            return {name: one for name, one in spent.items() if agents is None or name in agents}
        position = get_args(Group).index(group)
        sums: dict[str, Spent] = {}
        for key, one in (*self._of_sessions(sessions), *self._of_removed(removed)):
            if key[1] and (agents is None or key[0] in agents):  # a run that never started has no model
                sums[key[position]] = sums.get(key[position], Spent()) + one
        return dict(sorted(sums.items()))

    def _of_removed(self, removed: Sequence[Session[Any]]) -> Iterator[tuple[Key, Spent]]:
        yield from self._closed.items()
        for session in removed:
            if run := session.current:
                yield (session.name, *entry_of(run)), run.spent

    def _of_sessions(self, sessions: Sequence[Session[Any]]) -> Iterator[tuple[Key, Spent]]:
        for session in sessions:
            for entry, spent in session.ledger.items():
                yield (session.name, *entry), spent
            if run := session.current:
                yield (session.name, *entry_of(run)), run.spent

    def _end(self, name: str, run: Run[Any] | RunState) -> None:
        self._add(name, entry_of(run), run.spent)

    def _add(self, name: str, entry: LedgerKey, spent: Spent) -> None:
        key = (name, *entry)
        self._closed[key] = self._closed.get(key, Spent()) + spent
