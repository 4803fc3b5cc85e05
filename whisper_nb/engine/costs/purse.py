"""Purse: reserves in the budget what a model call may cost, before it, and spends what it has cost, after it."""

from __future__ import annotations

import math
from typing import Protocol

from msgspec import Struct

from ...config.aiconfig import AIConfig
from ...config.kinds import Price
from ...core.costs import dollars
from ...core.errors import BudgetExceeded, LimitExceeded
from ...core.events import Charge
from ...core.messages import CallDelta, Delta, ReasoningDelta, TextDelta, Usage
from .outputs import Learned, Lengths

#: Tokens that are reserved at once when a reply is longer than what was reserved for it.
STEP = 64
#: Bytes of a reply that are counted as one token, while it arrives.
BYTES_PER_TOKEN = 4
#: Bytes of a reply for each token of `max_tokens`, beyond which the provider obviously does not keep to that.
MOST_BYTES = 16


class Reservation(Protocol):
    """The part of a budget that is reserved for one model call."""

    @property
    def usd(self) -> float:
        """US dollars."""

    def grow(self, usd: float) -> bool:
        """Reserve so many more dollars, if they are left. Return whether they were. Never waits."""

    def settle(self, usd: float) -> None:
        """Spend so many dollars, and give all of the reservation back."""

    def refusal(self, usd: float) -> BudgetExceeded:
        """Return the error of a call whose reply needs so many more dollars."""


class Budget(Protocol):
    """The amount that all calls may spend."""

    allow_unpriced: bool
    """Whether models without a known price may be called."""

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""

    @property
    def limit_usd(self) -> float:
        """The limit."""

    @property
    def spent(self) -> float:
        """US dollars that are spent."""

    def charge(self, agent: str, usd: float) -> None:
        """Spend the cost of a call for which nothing was reserved."""

    @property
    def left(self) -> float:
        """US dollars that are neither spent nor reserved."""

    def take(self, agent: str, usd: float) -> Reservation | None:
        """Reserve at once; return None if a call must wait for it. BudgetExceeded: it would wait in vain."""

    async def reserve(self, agent: str, usd: float) -> Reservation:
        """Reserve; wait until it fits. BudgetExceeded: it would wait in vain."""

    def warn_once(self) -> str:
        """Return a line that most of the limit is spent, once for each limit; else an empty text."""


class Quote(Struct, frozen=True):
    """The amounts that one model call must reserve."""

    budget: Budget
    agent: str
    usd: float
    """US dollars."""
    price: Price
    """Of the model."""
    lengths: Lengths
    """Of the model's replies; they learn from the call."""
    estimated: int
    """Tokens of the prompt, if they are estimated; else 0."""
    output: int
    """Tokens of the reply."""
    most: int | None
    """Tokens of the reply that the call allows. None: it sets no limit."""

    def take(self) -> Hold | None:
        """Reserve at once; return None if the call must wait. BudgetExceeded: it would wait in vain."""
        reservation = self.budget.take(self.agent, self.usd)
        return None if reservation is None else Hold(self, reservation)

    async def wait(self) -> Hold:
        """Reserve; wait until it fits. Cancelling reserves nothing. BudgetExceeded: it would wait in vain."""
        return Hold(self, await self.budget.reserve(self.agent, self.usd))

    def __str__(self) -> str:
        left, limit = dollars(self.budget.left), dollars(self.budget.limit_usd)
        return f"the budget of {limit} has {left} left, and the call may cost {dollars(self.usd)}"


class Hold:
    """The amount that is reserved for one model call. It grows with a reply that is longer than expected."""

    __slots__ = ("_bytes", "_full", "_most", "_output", "_quote", "_reservation")

    def __init__(self, quote: Quote, reservation: Reservation) -> None:
        self._quote = quote
        self._reservation = reservation
        self._most = quote.most or math.inf
        self._bytes = 0  # of the reply, as far as it has arrived
        self._reserve(quote.output)

    @property
    def usd(self) -> float:
        """US dollars."""
        return self._reservation.usd

    def add(self, delta: Delta) -> None:
        """Count a piece of the reply.

        Raises:
            BudgetExceeded: the reply is longer than what is reserved, and the budget has no more. It must be stopped.
        """
        if isinstance(delta, TextDelta | ReasoningDelta):
            text = delta.text
        elif isinstance(delta, CallDelta):
            text = delta.arguments
        else:
            return
        self._bytes += len(text) if text.isascii() else len(text.encode(errors="replace"))
        if self._bytes > self._full:
            self._grow()

    def settle(self, charge: Charge | None) -> Charge | None:
        """Spend what the call has cost, and give back what was reserved. None: it was free.

        Returns:
            The charge, with an estimate where the cost is unknown: by the usage that was reported, else all that was
            reserved.
        """
        if charge is None:
            self._reservation.settle(0.0)
            return None
        if usage := charge.usage:
            self._quote.lengths.add(usage.output_tokens)
            self._quote.lengths.measured(self._quote.estimated, usage.input_tokens)
        if charge.cost_usd is not None:
            self._reservation.settle(charge.cost_usd)
            return charge
        estimated = self._quote.price.of(usage) if usage else self._reservation.usd
        self._reservation.settle(estimated)
        return Charge(usage, None, estimated)

    def _reserve(self, output: int) -> None:
        self._output = output
        self._full = output * (MOST_BYTES if output >= self._most else BYTES_PER_TOKEN)

    def _grow(self) -> None:
        if self._output >= self._most:  # the provider does not keep to it
            self._most = math.inf
        received = self._bytes // BYTES_PER_TOKEN
        output = int(min(received + STEP, self._most))
        more = self._quote.price.of(Usage(0, output - self._output))
        if not self._reservation.grow(more):
            raise self._reservation.refusal(more)
        self._reserve(output)


class Purse:
    """Pays for the model calls of a runtime, from its budget.

    Args:
        budget: of all agents.
    """

    __slots__ = ("_learned", "_told", "budget")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self._learned = Learned()
        self._told: set[str | None] = set()  # the unpriced models that were mentioned

    def quote(self, agent: str, config: AIConfig, price: Price, tokens: int, per_counted: float | None) -> Quote | None:
        """Return what a call must reserve: the price of its prompt and of the reply that is expected. None: nothing.

        A model whose price is free, or unknown, may report a cost all the same. From then on, a call of it reserves as
        much as its dearest one has cost.

        Args:
            agent: the name of the call's agent.
            config: of the call.
            price: of its model; free where it is unknown.
            tokens: of its prompt.
            per_counted: the model's tokens for each counted one. None: they are estimated.
        """
        lengths, output = self._learned.of(config.model or ""), self.expected_output(config)
        if price.input or price.output:
            prompt = math.ceil(tokens * per_counted) if per_counted else lengths.prompt(tokens)
            usd = price.of(Usage(prompt, output))
        else:
            usd = lengths.dearest
        if not usd:
            return None
        estimated = 0 if per_counted else tokens
        return Quote(self.budget, agent, usd, price, lengths, estimated, output, config.max_tokens)

    def expected_output(self, config: AIConfig) -> int:
        """Return the output tokens that a call reserves: the expected ones, as far as `max_tokens` allows."""
        expected = self._learned.of(config.model or "").expected
        return min(expected, config.max_tokens or expected)

    def close(self, agent: str, config: AIConfig, hold: Hold | None, charge: Charge | None) -> Charge | None:
        """Spend what a call has cost, and give back what was reserved for it; see `Hold.settle`."""
        if charge is not None and charge.cost_usd:
            lengths = self._learned.of(config.model or "")
            lengths.dearest = max(lengths.dearest, charge.cost_usd)
        if hold is not None:
            return hold.settle(charge)
        if charge is not None and charge.cost_usd:
            self.budget.charge(agent, charge.cost_usd)
        return charge

    def unpriced(self, config: AIConfig) -> str:
        """Return a line that a model without a price was called, once for each; else an empty text.

        Raises:
            LimitExceeded: such models may not be called.
        """
        budget, model = self.budget, config.model
        if not budget.allow_unpriced:
            raise LimitExceeded(
                f"the price of {model} is unknown, so that the budget of {dollars(budget.limit_usd)} cannot be kept. "
                "Nothing was sent: set price in the config, to free or to dollars per million tokens "
                "({input: 0.15, output: 0.6}), or allow_unpriced for the budget",
                reason="budget",
                limit=budget.limit_usd,
                used=budget.spent,
            )
        if model in self._told:
            return ""
        self._told.add(model)
        return f"the price of {model} is unknown: its calls count as $0 of the budget unless their cost is reported"
