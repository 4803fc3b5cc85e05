"""Tokens and costs as text."""

from __future__ import annotations

import math

from ...core.messages import Spent, Usage


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


def cost_line(spent: Spent) -> str:
    """Return `$0.0123`; `at least $0.0123, 2 runs unknown`; `unknown`; with `so far` while runs are running."""
    text = dollars(spent.known)
    if spent.unpriced and not spent.known:
        text = "unknown"
    elif spent.unpriced:
        text = f"at least {text}, {spent.unpriced} run{'s' * (spent.unpriced > 1)} unknown"
    if spent.at_work:
        text += " so far"
    return text


def tokens_line(spent: Spent) -> str:
    """Return input and output tokens: `1,200 + 45`; `at least 1,200 + 45`; `unknown`."""
    usage = spent.usage
    text = f"{usage.input_tokens:,} + {usage.output_tokens:,}"
    if not spent.uncounted:
        return text
    if usage.input_tokens or usage.output_tokens:
        return f"at least {text}"
    return "unknown"


def usage_facts(usage: Usage | None, cost: float | None) -> list[str]:
    """Return `120 + 45 tokens` and `$0.0021`, or that one of them is unknown."""
    tokens, price = "tokens unknown", "cost unknown"
    if usage is not None:
        tokens = f"{usage.input_tokens} + {usage.output_tokens} tokens"
    if cost is not None:
        price = dollars(cost)
    return [tokens, price]
