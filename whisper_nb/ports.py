"""What a session works with, and who lets work in."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .agents import Agent
from .config import AIConfig
from .errors import SessionError
from .home import Home
from .models import Model
from .store import Observers, Store

if TYPE_CHECKING:
    from .session import Session


QUEUE_LIMIT = 100


class Admission:
    """Lets runs in and numbers them, by the name of their agent: the one thing that threads share.

    It outlives a session, so that the id of a run stays its own when an agent is removed and made again.
    """

    __slots__ = ("_inside", "_lock", "_numbers")

    def __init__(self) -> None:
        self._inside: Counter[str] = Counter()  # runs submitted or queued
        self._numbers: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, name: str) -> int:
        """The number of a new run, from 1.

        Raises:
            SessionError: 100 runs wait already.
        """
        with self._lock:
            if self._inside[name] >= QUEUE_LIMIT:
                raise SessionError(f"the queue of {name} is full ({QUEUE_LIMIT} runs): wait for some, or cancel some")
            self._inside[name] += 1
            self._numbers[name] += 1
            return self._numbers[name]

    def leave(self, name: str) -> None:
        """A run starts, or will never start."""
        with self._lock:
            self._inside[name] -= 1


@dataclass(frozen=True, slots=True)
class Ports:
    """What a session works with: given by the runtime, the same for all its sessions."""

    home: Home
    store: Store
    observers: Observers
    permits: asyncio.Semaphore
    """One per model call in flight. First come, first served, and a session asks for one at a time: fair."""
    open_model: Callable[[AIConfig], Model]
    resolve: Callable[[Agent, AIConfig | None], AIConfig]
    """The config of one run: of its agent and what the call sets, with every other layer in its order."""
    fork: Callable[[Session, str], Session]
    seq: itertools.count[int]
    """Numbers records."""
    admission: Admission
