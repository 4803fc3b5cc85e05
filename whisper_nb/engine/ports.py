"""What a session works with, and who lets work in."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config.agents import Agent
from ..config.aiconfig import AIConfig
from ..core.errors import ConfigError, SessionError
from ..core.events import Record
from ..core.messages import Image
from ..core.queues import checked_priority
from ..models.model import Model
from ..store.observers import Observers
from ..store.store import Store
from .home import Home
from .images import image_of
from .permits import Permits
from .runs import Run

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


def checked_parts(prompt: object, priority: str, timeout_s: float | None) -> list[str | Image | Run]:
    """The pieces of a prompt that may be submitted, what is drawn as an image.

    Raises:
        ConfigError: there is something else among them, or nothing to send; or a bad priority or timeout.
    """
    checked_priority(priority)
    if timeout_s is not None and not timeout_s > 0:
        raise ConfigError(f"timeout {timeout_s!r} is not more than 0 seconds")
    pieces = (
        list(prompt) if isinstance(prompt, Sequence) and not isinstance(prompt, str | bytes | bytearray) else [prompt]
    )
    parts: list[str | Image | Run] = []
    for piece in pieces:
        part = piece if isinstance(piece, str | Run) else image_of(piece)
        if part is None:
            raise ConfigError(f"a prompt is text, or pieces of text, images and runs, not {type(piece).__name__}")
        parts.append(part)
    if not any(part.strip() if isinstance(part, str) else part for part in parts):
        raise ConfigError("an empty prompt: nothing to send")
    return parts


@dataclass(slots=True)
class Ports:
    """What a session works with: given by the runtime, the same for all its sessions."""

    home: Home
    store: Store
    observers: Observers[Record]
    permits: Permits
    """One per model call in flight. A session asks for one at a time: fair."""
    open_model: Callable[[AIConfig], Model]
    renew: Callable[[Session], Sequence[str]]
    """Take up what files say by now, before a run; what people should be told, a line each."""
    resolve: Callable[[Agent, AIConfig | None, AIConfig | None], AIConfig]
    """The config of one run: of its agent, what the call sets and what its session does, with every other layer."""
    fork: Callable[[Session, str], Session]
    seq: itertools.count[int]
    """Numbers records."""
    admission: Admission
