"""The sum of usage and cost over one run's model calls, and costs as text. Pure."""

from __future__ import annotations

import math
from typing import TypeVar

from .messages import Usage

T = TypeVar("T", Usage, float)


class CostSum:
    """Adds up usage and cost of a run's model calls. A sum with an unknown part is unknown, never too low."""

    __slots__ = ("_calls", "cost", "estimated", "usage")

    def __init__(self) -> None:
        self.usage: Usage | None = None
        """Tokens. None: unknown."""
        self.cost: float | None = None
        """US dollars. None: unknown, never zero."""
        self.estimated: float | None = None
        """US dollars, with estimates for calls whose cost is unknown. None: one of them has none."""
        self._calls = 0

    def add(self, usage: Usage | None, cost: float | None, estimated: float | None = None) -> None:
        """Add a call. None means that the provider did not report the value, or that there is no estimate of it."""
        first = not self._calls
        self._calls += 1
        self.usage = _total(self.usage, usage, first)
        self.cost = _total(self.cost, cost, first)
        self.estimated = _total(self.estimated, estimated if cost is None else cost, first)

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


def as_price(usd: float) -> str:
    """Return an amount that a person has set as text: `$2.00`, and `$0.0125` where cents are too coarse."""
    if round(usd * 100, 9) == round(usd * 100):
        return f"${usd:.2f}"
    return dollars(usd)


def dollars(cost: float | None) -> str:
    """Return a cost as text: `$0.0021`; `unknown`, never `$0`, for a cost that is not known."""
    if cost is None or not math.isfinite(cost):
        return "unknown"
    if cost == 0:
        return "$0"
    # Four decimals, and more where a small amount would have less than three digits.
    more = max(4, 2 - math.floor(math.log10(abs(cost))))
    whole, _, decimals = f"{cost:.{more}f}".partition(".")
    return f"${whole}.{decimals[:4]}{decimals[4:].rstrip('0')}"
