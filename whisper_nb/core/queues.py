"""The order of runs in one session: by priority, then first in, first out. Pure."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from .errors import ConfigError
from .events import Priority

#: Priorities, the first to start first.
PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")


class Queued(Protocol):
    """The attributes of a run that its order depends on."""

    priority: Priority
    place: int
    """Its position among runs of its priority: its number, unless it was moved."""

    @property
    def id(self) -> str:
        """Its identifier."""

    @property
    def number(self) -> int:
        """The count of submissions to the session, this one included."""

    @property
    def ready(self) -> bool:
        """Whether every run that it needs is done."""


R = TypeVar("R", bound=Queued)
T = TypeVar("T")


def start_order(run: Queued) -> tuple[int, int]:
    """Return the sort key of a run in a queue."""
    return PRIORITIES.index(run.priority), run.place


def held_back_by(queue: Iterable[R], run: Queued) -> list[R]:
    """Return the runs that must start before this one, because they wait for other runs; see `next_to_start`."""
    order = start_order(run)
    return [one for one in queue if not one.ready and one.number < run.number and start_order(one) < order]


def next_to_start(queue: Iterable[R]) -> R | None:
    """Return the first run of a sorted queue that may start: it is ready, and no run before it blocks it.

    A run that waits for another blocks only runs that were submitted after it. So every run waits only for earlier
    ones, over all sessions, and no order of priorities can cause a deadlock.
    """
    held = math.inf
    for run in queue:
        if run.ready and run.number < held:
            return run
        if not run.ready:
            held = min(held, run.number)
    return None


def leads_to(first: T, last: T, onward: Callable[[T], Iterable[T]]) -> bool:
    """Whether `last` can be reached from `first`; `onward` returns the items that an item waits for."""
    seen: set[T] = set()
    ahead = [first]
    while ahead:
        one = ahead.pop()
        if one is last:
            return True
        if one not in seen:
            seen.add(one)
            ahead += onward(one)
    return False


def move(queue: list[R], run: R, priority: Priority, before: str | None) -> None:
    """Move a run of a sorted queue: before the run of that id, or behind all others of its priority.

    Runs of one priority exchange their positions, so that runs submitted later still come later.
    """
    queue.remove(run)
    run.priority = priority
    peers = [one for one in queue if one.priority == priority]
    places = sorted(one.place for one in [*peers, run])
    at = next((index for index, one in enumerate(peers) if one.id == before), len(peers))
    for one, place in zip([*peers[:at], run, *peers[at:]], places, strict=True):
        one.place = place
    insort(queue, run, key=start_order)


def checked_priority(priority: str | None) -> Priority:
    """Return the priority. ConfigError: the name is unknown."""
    if priority not in PRIORITIES:
        raise ConfigError(f"unknown priority {priority!r}; allowed are {', '.join(PRIORITIES)}")
    return priority
