"""The sum of usage and cost over one run's model calls, and costs as text. Pure."""

from __future__ import annotations

import math
from typing import Any, TypeVar

from .messages import Finish, Usage, replace

T = TypeVar("T", Usage, float)

#: The most that one call plausibly costs, in US dollars, and the tokens that it has fewer than.
MOST_USD, MOST_TOKENS = 1_000_000, 10**12


def plausible_cost(value: Any) -> float | None:
    """Return US dollars that a call is said to have cost; None for what is no number from 0 to 1,000,000."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= MOST_USD:
        return None
    return float(value)


def token_count(value: Any) -> int | None:
    """Return a plausible count of a call's tokens; None for any other value."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < MOST_TOKENS:
        return value
    return None


def plausible(finish: Finish) -> Finish:
    """Return how a reply ended, without a cost or a usage that cannot be: sums, and a budget, would contain it."""
    usage, cost = finish.usage, plausible_cost(finish.cost_usd)
    if usage is not None and None in (token_count(usage.input_tokens), token_count(usage.output_tokens)):
        usage = None
    if usage is finish.usage and cost == finish.cost_usd:
        return finish
    return replace(finish, usage=usage, cost_usd=cost)


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
