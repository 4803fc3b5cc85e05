"""The sessions of a runtime, by name: who is there, who is at work, and their end."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Iterable, Iterator
from weakref import WeakSet

from ..core.errors import SessionError
from ..store.observers import Observers
from .session import Session


class Roster:
    """Sessions in the order of their making. Changed on the agents' loop; looked at from anywhere."""

    __slots__ = ("_removed", "_sessions", "observers")

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}
        self._removed: WeakSet[Session] = WeakSet()
        self.observers = Observers[Session]()
        """Told of each that was added or removed."""

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._sessions.values()))

    def __contains__(self, name: str) -> bool:
        return name in self._sessions

    def get(self, name: str) -> Session | None:
        """The session of that name, or None."""
        return self._sessions.get(name)

    @property
    def removed(self) -> tuple[Session, ...]:
        """Sessions that were removed, and may still be at their end."""
        return tuple(self._removed)

    def add(self, session: Session) -> Session:
        """Take a session in."""
        self._sessions[session.name] = session
        self.observers.notify(session, in_cell=True)
        return session

    def remove(self, session: Session) -> None:
        """End a session's work, and forget it."""
        session.remove()
        self._removed = WeakSet(
            [*self._removed, self._sessions.pop(session.name)]
        )  # another thread may look at the old
        self.observers.notify(session, in_cell=True)

    async def aclose(self, grace_s: float) -> None:
        """Stop all of them.

        Whoever does not end within about that many seconds is named in a RuntimeWarning and abandoned.
        """
        sessions = [*self, *self._removed]
        ended = await asyncio.gather(*(_end(session, grace_s) for session in sessions))
        for session, in_time in zip(sessions, ended, strict=True):
            if not in_time:
                warnings.warn(
                    f"{session.name} did not end within {grace_s:g} s of being cancelled", RuntimeWarning, stacklevel=3
                )

    # Before they move to another loop

    def check_idle(self) -> None:
        """SessionError: some are at work, or soon will be."""
        _refuse(one for one in self if one.current or (one.state.is_open() and any(r.ready for r in one.unfinished)))

    def check_at_rest(self) -> None:
        """SessionError: some have a task."""
        _refuse(one for one in (*self, *self._removed) if one._worker)

    @property
    def at_rest(self) -> bool:
        """Whether none has a task."""
        return not any(one._worker for one in (*self, *self._removed))

    async def rest(self, patience_s: float) -> None:
        """Wait until records are published that are on their way."""
        if workers := {one._worker for one in (*self, *self._removed) if one._worker}:
            await asyncio.wait(workers, timeout=patience_s)


async def _end(session: Session, grace_s: float) -> bool:
    """Stop, and wait about `grace_s` seconds at most until nothing of it runs. True where everything ended in time.

    What did not is abandoned, and its runs count as cancelled.
    """
    session.stop()
    worker = session._worker
    if worker is None or (await asyncio.wait({worker}, timeout=grace_s))[0]:
        return True
    worker.cancel()
    await asyncio.wait({worker}, timeout=grace_s)  # at once, unless the store does not let itself be cancelled
    return False


def _refuse(sessions: Iterable[Session]) -> None:
    if names := ", ".join(one.name for one in sessions):
        raise SessionError(
            f"{names} {'are' if ',' in names else 'is'} at work, and agents move to another loop at rest: "
            "wait for their runs (%agent wait), or end them (%agent cancel NAME)"
        )
