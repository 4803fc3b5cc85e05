"""Bill: what one run's model calls cost, never understated. Pure."""

from __future__ import annotations

from typing import TypeVar

from .messages import Usage

T = TypeVar("T", Usage, float)


class Bill:
    """Adds up the calls of a run, as each goes out and comes back."""

    __slots__ = ("_lost", "_out", "_paid", "cost", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        """Tokens; None while, or where, nobody said."""
        self.cost: float | None = None
        """US dollars; None is unknown, never zero."""
        self._paid = 0  # calls that were answered
        self._out = False  # a call is out, and nobody has told its cost yet
        self._lost = False  # of a call before, nobody ever will

    def open(self) -> None:
        """A call goes out."""
        self._lost = self._lost or self._out
        self._out = True

    def spare(self) -> None:
        """The call that is out was refused, or reached nobody: it cost nothing."""
        self._out = False

    def pay(self, usage: Usage | None, cost: float | None) -> None:
        """A call was answered; None for what nobody told."""
        self._out = False
        self._paid += 1
        self.usage = None if self._lost else _total(self.usage, usage, self._paid == 1)
        self.cost = None if self._lost else _total(self.cost, cost, self._paid == 1)

    def close(self) -> None:
        """The run is over: what was begun the provider may bill, and nobody will say how much."""
        if self._lost or self._out:
            self.usage = self.cost = None
        elif not self._paid:
            self.usage, self.cost = Usage(), 0.0


def _total(so_far: T | None, more: T | None, first: bool) -> T | None:
    # One unknown part makes the sum unknown.
    if first:
        return more
    return None if so_far is None or more is None else so_far + more
