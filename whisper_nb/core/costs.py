"""The sum of usage and cost over one run's model calls. Pure."""

from __future__ import annotations

from typing import TypeVar

from .messages import Usage

T = TypeVar("T", Usage, float)


class CostSum:
    """Adds up usage and cost of a run's model calls. A sum with an unknown part is unknown, never too low."""

    __slots__ = ("_calls", "cost", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        """Tokens. None: unknown."""
        self.cost: float | None = None
        """US dollars. None: unknown, never zero."""
        self._calls = 0

    def add(self, usage: Usage | None, cost: float | None) -> None:
        """Add a call. None means that the provider did not report the value."""
        first = not self._calls
        self._calls += 1
        self.usage = _total(self.usage, usage, first)
        self.cost = _total(self.cost, cost, first)

    def close(self) -> None:
        """End the sum. Without a call, usage and cost are zero."""
        if not self._calls:
            self.usage, self.cost = Usage(), 0.0


def _total(sum_so_far: T | None, more: T | None, first: bool) -> T | None:
    if first:
        return more
    if sum_so_far is None or more is None:
        return None
    return sum_so_far + more
