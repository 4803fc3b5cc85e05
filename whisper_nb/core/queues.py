"""The order of work in one session: by priority, first in first out among equals. Pure."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Iterable
from typing import Protocol, TypeVar

from .errors import ConfigError
from .events import Priority

#: In the order of starting.
PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")


class Queued(Protocol):
    """What the order depends on."""

    priority: Priority
    place: int
    """Among those of its priority: the number that it was submitted under, unless it was moved."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def number(self) -> int:
        """Grows with every submission to the session."""

    @property
    def ready(self) -> bool:
        """Whether every run that it needs is done."""


R = TypeVar("R", bound=Queued)
T = TypeVar("T")


def start_order(run: Queued) -> tuple[int, int]:
    """The sort key of a queue."""
    return PRIORITIES.index(run.priority), run.place


def held_back_by(queue: Iterable[R], run: Queued) -> list[R]:
    """The runs of a queue that must start before this one may, although its turn would come: see `next_to_start`."""
    order = start_order(run)
    return [one for one in queue if not one.ready and one.number < run.number and start_order(one) < order]


def next_to_start(queue: Iterable[R]) -> R | None:
    """The first run of a sorted queue that may start: it is ready, and no earlier one that is not holds it back.

    A run that still needs another holds back only those submitted after it. So every run waits for earlier ones
    alone, over all sessions, and no order of priorities can make two wait for each other.
    """
    held: int | None = None
    for run in queue:
        if run.ready and (held is None or run.number < held):
            return run
        if not run.ready:
            held = run.number if held is None else min(held, run.number)
    return None


def leads_to(first: T, last: T, onward: Callable[[T], Iterable[T]]) -> bool:
    """Whether one comes to `last` from `first`, going onward from each to those that it waits for."""
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
    """Put a run of a sorted queue elsewhere: before the one of that id, or behind all others of its priority.

    Those of one priority exchange their places, so that whoever is submitted later still comes later.
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
    """The priority. ConfigError: there is none of that name."""
    if priority not in PRIORITIES:
        raise ConfigError(f"unknown priority {priority!r}; allowed are {', '.join(PRIORITIES)}")
    return priority
