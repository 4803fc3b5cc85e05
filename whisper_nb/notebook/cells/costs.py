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
    if spent.unpriced:
        runs = f"{spent.unpriced} run{'s' * (spent.unpriced > 1)}"
        text = f"at least {text}, {runs} unknown" if spent.known else "unknown"
    return f"{text} so far" if spent.at_work else text


def tokens_line(spent: Spent) -> str:
    """Return input and output tokens: `1,200 + 45`; `at least 1,200 + 45`; `unknown`."""
    usage = spent.usage
    text = f"{usage.input_tokens:,} + {usage.output_tokens:,}"
    if spent.uncounted:
        text = f"at least {text}" if usage.input_tokens or usage.output_tokens else "unknown"
    return text


def usage_facts(usage: Usage | None, cost: float | None) -> list[str]:
    """Return `120 + 45 tokens` and `$0.0021`, or that one of them is unknown."""
    tokens = "tokens unknown" if usage is None else f"{usage.input_tokens} + {usage.output_tokens} tokens"
    return [tokens, "cost unknown" if cost is None else dollars(cost)]
