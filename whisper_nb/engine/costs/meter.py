"""Meter: what one run has used of its limits of tokens and cost. It refuses calls that surely exceed one."""

from __future__ import annotations

import math

from ...config.kinds import Price
from ...core.costs import dollars
from ...core.errors import LimitExceeded
from ...core.events import Charge
from ...core.limits import RunLimits
from ...core.messages import CallDelta, Delta, Finish, Usage
from ...models.tokens import MOST_PER_BYTE, estimate
from ..runs import Run


def named(limit: str, run: Run) -> str:
    """Return a limit of a run with the one who sets it: `max_turns of bob`, or `max_turns of this run`."""
    owner = run.session.name if getattr(run.limits, limit) is None else "this run"
    return f"{limit} of {owner}"


class Meter:
    """The tokens and the cost of a run's model calls, with its limits of them.

    They count what a provider reports. Where it reports nothing, as for a call that broke off, they count the tokens
    that were sent and that arrived, as estimated, at the model's price: more is not known, and none would be too few.

    Args:
        run: whose calls are counted.
        limits: in force. At least one of `max_total_tokens` and `max_cost_usd` is set.
    """

    __slots__ = ("_arrived", "_bytes", "_check_at", "_cost", "_limits", "_price", "_room", "_run", "_sent", "_tokens")

    def __init__(self, run: Run, limits: RunLimits) -> None:
        self._run = run
        self._limits = limits
        self._tokens = 0
        self._cost = 0.0
        # Of the call in flight:
        self._price: Price | None = None
        self._sent = 0
        self._room = 0.0  # tokens that may arrive
        self._arrived: list[str] = []
        self._bytes = 0  # of what arrived
        self._check_at = 0.0  # so many bytes may exceed the room

    @classmethod
    def of(cls, run: Run, limits: RunLimits) -> Meter | None:
        """Return the meter of a run; None if it has no limits of tokens and cost."""
        if limits.max_total_tokens is None and limits.max_cost_usd is None:
            return None
        return cls(run, limits)

    def is_near(self, tokens: int, price: Price | None) -> bool:
        """Whether a call of about so many tokens must be counted, because it may exceed a limit."""
        return self._room_after(tokens * 2, price) <= 0

    def begin(self, tokens: int, price: Price | None) -> None:
        """Begin a call.

        Args:
            tokens: that it sends.
            price: of the model; None if it is unknown.

        Raises:
            LimitExceeded: it surely exceeds a limit, even with the shortest reply; or the cost is limited and the
                price is unknown. It must not be sent.
        """
        if self._limits.max_cost_usd is not None and price is None:
            raise self._unpriced(self._limits.max_cost_usd)
        self._room = self._room_after(tokens, price)
        if self._room < 1:
            raise self._exceeded(tokens, 1, price, unsent=True)
        self._price, self._sent = price, tokens
        self._arrived, self._bytes = [], 0
        self._check_at = self._room / MOST_PER_BYTE

    def add(self, delta: Delta) -> None:
        """Count a piece of the reply.

        Raises:
            LimitExceeded: the reply has passed a limit, as far as it can be estimated. It must be stopped.
        """
        if isinstance(delta, Finish):
            return
        text = delta.arguments if isinstance(delta, CallDelta) else delta.text
        self._arrived.append(text)
        self._bytes += len(text) if text.isascii() else len(text.encode(errors="replace"))
        if self._bytes <= self._check_at:
            return
        arrived = self._received
        if arrived > self._room:
            raise self._exceeded(self._sent, arrived, self._price)
        self._check_at = self._bytes + (self._room - arrived + 1) / MOST_PER_BYTE

    def end(self, charge: Charge | None) -> None:
        """Count the call that has ended. None: it was free."""
        if charge is None:
            return
        usage = charge.usage or Usage(self._sent, self._received)
        self._tokens += usage.input_tokens + usage.output_tokens
        if charge.cost_usd is not None:
            self._cost += charge.cost_usd
        elif self._price is not None:
            self._cost += self._price.of(usage)

    @property
    def _received(self) -> int:
        """About as many tokens as have arrived."""
        return estimate("".join(self._arrived).encode(errors="replace"))

    def _room_after(self, tokens: int, price: Price | None) -> float:
        """Return how many tokens may be received after so many were sent."""
        room = math.inf
        if self._limits.max_total_tokens is not None:
            room = self._limits.max_total_tokens - self._tokens - tokens
        if self._limits.max_cost_usd is not None and price is not None:
            left = self._limits.max_cost_usd - self._cost - price.of(Usage(tokens))
            if left < 0:
                return -1.0
            if price.output:
                room = min(room, left * 1e6 / price.output)
        return room

    def _exceeded(self, sent: int, received: int, price: Price | None, *, unsent: bool = False) -> LimitExceeded:
        """Return the error of a call that exceeds a limit: one that is not sent, or one whose reply is stopped."""
        limit, tokens = self._limits.max_total_tokens, self._tokens + sent + received
        what = "its reply was stopped; its text so far is in run.text"
        if unsent:
            what = f"its next call, of {sent:,} tokens, was not sent"
        if limit is not None and tokens > limit:
            used = f"{self._tokens:,}" if unsent else f"about {tokens:,}"
            return LimitExceeded(
                f"{named('max_total_tokens', self._run)} allows {limit:,}, and it has used {used}: "
                f"{what}. Raise max_total_tokens, or ask for less in one run",
                reason="tokens",
                limit=limit,
                used=tokens,
            )
        assert price is not None
        most = self._limits.max_cost_usd or 0.0
        cost = self._cost + price.of(Usage(sent, received))
        spent = dollars(self._cost) if unsent else f"about {dollars(cost)}"
        return LimitExceeded(
            f"{named('max_cost_usd', self._run)} allows {dollars(most)}, and it has cost {spent}: "
            f"{what}. Raise max_cost_usd, ask for less in one run, or choose a cheaper model",
            reason="cost",
            limit=most,
            used=cost,
        )

    def _unpriced(self, most: float) -> LimitExceeded:
        return LimitExceeded(
            f"{named('max_cost_usd', self._run)} cannot be kept, since the price of {self._run.model} is unknown. "
            "Nothing was sent: set price in the config, in US dollars per million tokens ({input: 0.15, output: 0.6}) "
            "or free, or drop max_cost_usd",
            reason="cost",
            limit=most,
            used=None,
        )
