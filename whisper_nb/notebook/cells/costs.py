"""Tokens and costs as text."""

from __future__ import annotations

from ...core.costs import as_price, dollars
from ...core.messages import Spent, Usage
from ...team.budgets import Budget


def cost_line(spent: Spent) -> str:
    """Return `$0.0123`; `about $0.0150`; `at least $0.0123, 2 runs unknown`; `unknown`.

    It is `about` where each cost that is not known is estimated. While runs are running, `so far` follows.
    """
    text = dollars(spent.known)
    if spent.unpriced and spent.estimates >= spent.unpriced:
        text = f"about {dollars(spent.known + spent.estimated)}"
    elif spent.unpriced and not spent.known:
        text = "unknown"
    elif spent.unpriced:
        text = f"at least {text}, {spent.unpriced} run{'s' * (spent.unpriced > 1)} unknown"
    if spent.at_work:
        text += " so far"
    return text


def budget_line(budget: Budget) -> str:
    """Return `budget $2.00: $0.6100 spent, $0.2200 reserved, $1.1700 left`."""
    parts = {"spent": budget.spent, "reserved": budget.reserved, "left": budget.left}
    words = ", ".join(f"{dollars(part)} {name}" for name, part in parts.items())
    unpriced = "; models without a price may be called" if budget.allow_unpriced else ""
    return f"budget {as_price(budget.limit_usd)}: {words}{unpriced}"


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
    """Return `in 1,234 · out 56 tokens` and `$0.0021`, or that one of them is unknown."""
    tokens, price = "tokens unknown", "cost unknown"
    if usage is not None:
        tokens = in_and_out(usage)
    if cost is not None:
        price = dollars(cost)
    return [tokens, price]


def in_and_out(usage: Usage) -> str:
    """Return `in 1,234 · out 56 tokens`."""
    return f"in {usage.input_tokens:,} · out {usage.output_tokens:,} tokens"


def about(tokens: int) -> str:
    """Return an estimated number of tokens: `0`, `~85`, `~1.2k`, `~3.4M`."""
    if tokens < 1_000:
        return f"~{tokens}" if tokens else "0"
    if tokens < 999_500:
        return f"~{_three_digits(tokens / 1_000)}k"
    return f"~{_three_digits(tokens / 1_000_000)}M"


def _three_digits(number: float) -> str:
    return f"{number:.1f}" if number < 99.95 else f"{number:.0f}"
