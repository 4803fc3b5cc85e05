"""What a session works with, and who lets work in."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .agents import Agent
from .config import AIConfig
from .errors import SessionError
from .events import Record
from .home import Home
from .models import Model
from .store import Observers, Store

if TYPE_CHECKING:
    from .session import Session


class Admission:
    """Lets runs in and numbers them, by the name of their agent: the one thing that threads share.

    It outlives a session, so that the id of a run stays its own when an agent is removed and made again.
    """

    __slots__ = ("_inside", "_lock", "_numbers", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """Runs that may wait for one agent."""
        self._inside: Counter[str] = Counter()  # runs submitted or queued
        self._numbers: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, name: str) -> int:
        """The number of a new run, from 1.

        Raises:
            SessionError: as many runs wait already as may.
        """
        with self._lock:
            if self._inside[name] >= self.limit:
                raise SessionError(f"the queue of {name} is full ({self.limit} runs): wait for some, or cancel some")
            self._inside[name] += 1
            self._numbers[name] += 1
            return self._numbers[name]

    def leave(self, name: str) -> None:
        """A run starts, or will never start."""
        with self._lock:
            self._inside[name] -= 1


@dataclass(slots=True)
class Ports:
    """What a session works with: given by the runtime, the same for all its sessions."""

    home: Home
    store: Store
    observers: Observers[Record]
    permits: asyncio.Semaphore
    """One per model call in flight. First come, first served, and a session asks for one at a time: fair."""
    open_model: Callable[[AIConfig], Model]
    renew: Callable[[Session], Sequence[str]]
    """Take up what files say by now, before a run; what people should be told, a line each."""
    resolve: Callable[[Agent, AIConfig | None, AIConfig | None], AIConfig]
    """The config of one run: of its agent, what the call sets and what its session does, with every other layer."""
    fork: Callable[[Session, str], Session]
    seq: itertools.count[int]
    """Numbers records."""
    admission: Admission
