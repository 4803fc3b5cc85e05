"""The sessions of a runtime, by name."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterable, Iterator
from weakref import WeakSet

from ..core.errors import SessionError
from ..engine.session import Session
from ..store.observers import Observers

#: The most agents, or runs, that a line names.
NAMED = 10


class Roster:
    """Sessions in the order of their creation. Changed on the agents' loop; can be read from any thread."""

    __slots__ = ("_removed", "_sessions", "observers")

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._removed: WeakSet[Session] = WeakSet()
        self.observers = Observers[Session]()
        """Called with each session that was added or removed."""

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._sessions.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._sessions

    def get(self, name: str) -> Session | None:
        """Return the session of that name, or None."""
        return self._sessions.get(name)

    def names(self) -> str:
        """Return the number of sessions, with the names of the first ones."""
        names = [session.name for session in self]
        team = "1 agent" if len(names) == 1 else f"{len(names)} agents"
        if names:
            team += f" ({', '.join(names[:NAMED])}{', …' if len(names) > NAMED else ''})"
        return team

    def work(self) -> str:
        """Return the numbers of runs in progress and in queues."""
        running = sum(session.current is not None for session in self)
        return f"{running} running, {sum(len(session.unfinished) for session in self) - running} queued"

    def unawaited(self) -> str:
        """Return the ids of unfinished runs that nobody waits for; of many, the first ones."""
        left = [run.id for session in self for run in session.unfinished if not run.awaited]
        return ", ".join(left[:NAMED]) + (f" and {len(left) - NAMED} more" if len(left) > NAMED else "")

    @property
    def removed(self) -> tuple[Session, ...]:
        """Sessions that were removed; some of their tasks may not have ended."""
        return tuple(self._removed)

    def add(self, session: Session) -> Session:
        """Add a session."""
        self._sessions[session.name] = session
        self.observers.notify(session, in_cell=True)
        return session

    def remove(self, session: Session) -> None:
        """Stop a session and remove it."""
        session.remove()
        self._removed = WeakSet(
            [*self._removed, self._sessions.pop(session.name)]
        )  # a new set, for another thread may be reading the old one
        self.observers.notify(session, in_cell=True)

    async def aclose(self, grace_s: float) -> None:
        """Stop all sessions.

        A session that does not end within about `grace_s` seconds is named in a RuntimeWarning and abandoned.
        """
        sessions = [*self, *self._removed]
        ended = await asyncio.gather(*(_end(session, grace_s) for session in sessions))
        for session, in_time in zip(sessions, ended, strict=True):
            if not in_time:
                warnings.warn(
                    f"{session.name} did not end within {grace_s:g} s of being cancelled", RuntimeWarning, stacklevel=3
                )

    # Before a change to another loop

    def check_idle(self) -> None:
        """Raise SessionError if a session is running, or has a run that can start."""
        _refuse(one for one in self if one.current or (one.state.is_open() and any(r.ready for r in one.unfinished)))

    def check_at_rest(self) -> None:
        """Raise SessionError if a session has a task."""
        _refuse(one for one in (*self, *self._removed) if one._worker)

    @property
    def at_rest(self) -> bool:
        """Whether no session has a task."""
        return not any(one._worker for one in (*self, *self._removed))

    async def rest(self, timeout_s: float) -> None:
        """Wait until the sessions' tasks have ended and published their records."""
        if workers := {one._worker for one in (*self, *self._removed) if one._worker}:
            await asyncio.wait(workers, timeout=timeout_s)


async def _end(session: Session, grace_s: float) -> bool:
    """Stop a session, and wait about `grace_s` seconds for its task. Return whether that ended in time.

    Otherwise the task is abandoned, and its runs count as cancelled.
    """
    session.stop()
    worker = session._worker
    if worker is None or (await asyncio.wait({worker}, timeout=grace_s))[0]:
        return True
    worker.cancel()
    await asyncio.wait({worker}, timeout=grace_s)  # ends at once, unless the store ignores cancellation
    return False


def _refuse(sessions: Iterable[Session]) -> None:
    if names := ", ".join(one.name for one in sessions):
        raise SessionError(
            f"{names} {'are' if ',' in names else 'is'} at work, and agents move to another loop at rest: "
            "wait for their runs (%agent wait), or end them (%agent cancel NAME)"
        )
