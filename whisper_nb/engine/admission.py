"""Admission: bounds each agent's queue and numbers its runs. `Session.submit` uses it in its caller's thread."""

from __future__ import annotations

import threading
from collections import Counter

from ..core.errors import SessionError


class Admission:
    """Counts and numbers the runs of each agent, by its name. Thread-safe.

    It outlives a session, so that the id of a run stays unique when an agent is removed and created again.
    """

    __slots__ = ("_lock", "_numbers", "_waiting", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        """The most runs that may wait for one agent."""
        self._waiting: Counter[str] = Counter()  # runs submitted or queued
        self._numbers: Counter[str] = Counter()
        self._lock = threading.Lock()

    def enter(self, name: str) -> int:
        """Admit a new run of this agent and return its number, from 1.

        Raises:
            SessionError: the queue is full.
        """
        with self._lock:
            if self._waiting[name] >= self.limit:
                raise SessionError(f"the queue of {name} is full ({self.limit:,} runs): wait for some, or cancel some")
            self._waiting[name] += 1
            self._numbers[name] += 1
            return self._numbers[name]

    def leave(self, name: str) -> None:
        """Count out a run of this agent that starts, or that ended without a start."""
        with self._lock:
            self._waiting[name] -= 1
