"""The budget of a notebook: dollars that are spent, and dollars that are reserved for the model calls in flight.

Amounts are whole numbers of pico-dollars inside, so that what was reserved is given back exactly. One budget may serve
several runtimes, also in several threads.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, Self

from ..config.kinds import Number, problem_with
from ..core.costs import MOST_USD, dollars
from ..core.errors import BudgetExceeded, ConfigError, SessionError
from ..core.events import CallRetried, ModelReplied, Record, RunFinished
from ..engine.home import Home

#: The limit of a budget.
LIMIT = Number(0, MOST_USD, unit="US dollars")
#: The share of the limit at which a line tells that most of it is spent.
WARN_AT = 0.8
#: Agents that the message of an error names.
NAMED = 5
_PICO = 10**12


class Reservation:
    """The part of a budget that is reserved for one model call. It ends with `settle`."""

    __slots__ = ("_budget", "agent", "amount")

    def __init__(self, budget: Budget, agent: str, amount: int) -> None:
        self._budget = budget
        self.agent = agent
        self.amount = amount
        """Pico-dollars."""

    @property
    def usd(self) -> float:
        """US dollars."""
        return self.amount / _PICO

    def grow(self, usd: float) -> bool:
        """Reserve so many more dollars, if they are left. Return whether they were. Never waits."""
        return self._budget._grow(self, _up(usd))

    def settle(self, usd: float) -> None:
        """Spend so many dollars, which may be more or less than are reserved, and give all of the reservation back."""
        self._budget._settle(self, _near(usd))

    def refusal(self, usd: float) -> BudgetExceeded:
        """Return the error of a call that needs so many more dollars than the budget has."""
        return self._budget._refusal(_up(usd), "the reply is longer than expected and was stopped: it may cost {} more")


class _Waiting(Reservation):
    """A reservation that has no room yet."""

    __slots__ = ("done", "loop")

    def __init__(self, budget: Budget, agent: str, amount: int) -> None:
        super().__init__(budget, agent, amount)
        self.loop = asyncio.get_running_loop()
        self.done: asyncio.Future[None] = self.loop.create_future()


class Budget:
    """The most that agents may spend on model calls, and what they have spent. Thread-safe.

    Before each call, what it may cost is reserved; after it, the reservation is given back and its cost is spent. A
    call that does not fit waits, in the order of arrival, while others may give back.

    Args:
        limit_usd: the limit in US dollars. None: there is none; what is spent is counted all the same.
        allow_unpriced: whether models without a known price may be called. Their calls count as $0, unless the provider
            reports a cost.

    Raises:
        ConfigError: the limit is not a number from 0 to 1,000,000.
    """

    def __init__(self, limit_usd: float | None = None, *, allow_unpriced: bool = False) -> None:
        self._lock = threading.Lock()
        self._limit = _limit(limit_usd)
        self._spent = 0
        self._reserved = 0
        self._by_agent: dict[str, int] = {}
        self._waiting: dict[_Waiting, None] = {}  # in the order of arrival
        self._observers: dict[object, Callable[[], object]] = {}  # replaced at each change
        self._warned = False
        self.allow_unpriced = allow_unpriced
        """Whether models without a known price may be called."""

    @classmethod
    def of(cls, records: Iterable[Record], limit_usd: float | None = None) -> Self:
        """Return a budget of which as much is spent as the records tell: the same as in the runtime that has them."""
        budget = cls(limit_usd)
        for record in records:
            if usd := charged(record):
                budget.charge(record.agent, usd)
        return budget

    def __repr__(self) -> str:
        limit = "no limit" if self._limit is None else f"of {dollars(self.limit_usd)}"
        return f"<Budget {limit}, {dollars(self.spent)} spent, {dollars(self.reserved)} reserved>"

    # For its user

    @property
    def limit_usd(self) -> float:
        """US dollars. Infinite without a limit."""
        limit = self._limit
        return math.inf if limit is None else limit / _PICO

    @property
    def limited(self) -> bool:
        """Whether there is a limit."""
        return self._limit is not None

    @property
    def spent(self) -> float:
        """US dollars of all calls that have ended, with estimates for those whose cost is not known."""
        return self._spent / _PICO

    @property
    def reserved(self) -> float:
        """US dollars that the calls in flight may cost."""
        return self._reserved / _PICO

    @property
    def left(self) -> float:
        """US dollars that are neither spent nor reserved; never below 0."""
        limit = self._limit
        return math.inf if limit is None else max(0, limit - self._spent - self._reserved) / _PICO

    @property
    def spent_by_agent(self) -> dict[str, float]:
        """US dollars that each agent has spent, the most first."""
        with self._lock:
            ranked = sorted(self._by_agent.items(), key=lambda item: -item[1])
        return {agent: amount / _PICO for agent, amount in ranked}

    def set_limit(self, usd: float | None, allow_unpriced: bool | None = None) -> None:
        """Set another limit, or None for no limit. What is spent stays spent. Calls that fit now go on.

        Args:
            usd: the limit in US dollars.
            allow_unpriced: whether models without a known price may be called. None: as before, and, without a limit,
                not under the next one.

        Raises:
            ConfigError: the limit is not a number from 0 to 1,000,000. Nothing is changed.
        """
        limit = _limit(usd)
        if limit is None:
            allow_unpriced = bool(allow_unpriced)
        with self._lock:
            if allow_unpriced is not None:
                self.allow_unpriced = allow_unpriced
            if limit != self._limit:
                self._limit = limit
                self._warned = False
            self._admit()
        self._notify()

    def observe(self, observer: Callable[[], object], home: Home) -> Callable[[], None]:
        """Call `observer()` after each change. It must not block, nor raise.

        Args:
            observer: takes no argument.
            home: where it is called.

        Returns:
            A function that ends this; calling it twice does no harm.
        """
        key = object()

        def tell() -> None:
            with suppress(SessionError):  # the event loop is closed: nobody looks any more
                home.call(observer)

        with self._lock:
            self._observers = {**self._observers, key: tell}

        def end() -> None:
            with self._lock:
                self._observers = {one: other for one, other in self._observers.items() if one is not key}

        return end

    @property
    def warning(self) -> str:
        """A line that 80 % of the limit are spent; else an empty text."""
        if not self._limit or self._spent < WARN_AT * self._limit:
            return ""
        share = self._spent * 100 // self._limit
        return (
            f"{share} % of the budget of {dollars(self.limit_usd)} are spent ({dollars(self.spent)}); "
            f"`%agent budget {_higher(self.limit_usd, self.spent * 1.5)}` raises it"
        )

    def warn_once(self) -> str:
        """Return the warning, once for each limit; else an empty text."""
        if not self._limit or self._warned or not (warning := self.warning):
            return ""
        self._warned = True
        return warning

    # For model calls

    def charge(self, agent: str, usd: float) -> None:
        """Spend the cost of a call for which nothing was reserved."""
        with self._lock:
            self._spend(agent, _near(usd))
            self._admit()
        if self._limit is not None:
            self._notify()

    def take(self, agent: str, usd: float) -> Reservation | None:
        """Reserve what a call may cost; return None if it must wait: it has no room now, or others wait already.

        Raises:
            BudgetExceeded: it does not fit, also if all calls in flight give back what is reserved for them.
        """
        amount = _up(usd)
        with self._lock:
            reservation = self._taken(agent, amount)
        if reservation is not None:
            self._notify()
        return reservation

    async def reserve(self, agent: str, usd: float) -> Reservation:
        """Reserve what a call may cost; wait until it fits. Cancelling ends the wait, and reserves nothing.

        Args:
            agent: the name of the call's agent.
            usd: US dollars.

        Raises:
            BudgetExceeded: it does not fit, also if all calls in flight give back what is reserved for them.
        """
        amount = _up(usd)
        with self._lock:
            reservation = self._taken(agent, amount)
            if reservation is None:
                waiting = _Waiting(self, agent, amount)
                self._waiting[waiting] = None
        if reservation is None:
            reservation = waiting
            try:
                await waiting.done
            except (asyncio.CancelledError, GeneratorExit):  # the latter at the end of its event loop
                self._abandon(waiting)
                raise
        self._notify()
        return reservation

    def _taken(self, agent: str, amount: int) -> Reservation | None:
        if self._never_fits(amount):
            raise self._refusal(amount)
        if self._waiting or not self._fits(amount):
            return None
        self._reserved += amount
        return Reservation(self, agent, amount)

    def _fits(self, amount: int) -> bool:
        return self._limit is None or self._spent + self._reserved + amount <= self._limit

    def _never_fits(self, amount: int) -> bool:
        return self._limit is not None and self._spent + amount > self._limit

    def _grow(self, reservation: Reservation, amount: int) -> bool:
        with self._lock:
            if not self._fits(amount):
                return False
            self._reserved += amount
            reservation.amount += amount
        self._notify()
        return True

    def _settle(self, reservation: Reservation, amount: int) -> None:
        with self._lock:
            self._reserved -= reservation.amount
            reservation.amount = 0
            self._spend(reservation.agent, amount)
            self._admit()
        self._notify()

    def _spend(self, agent: str, amount: int) -> None:
        if amount:
            self._spent += amount
            self._by_agent[agent] = self._by_agent.get(agent, 0) + amount

    def _abandon(self, waiting: _Waiting) -> None:
        """Take a wait that was cancelled out of the queue; or give its reservation back, if it was made already."""
        with self._lock:
            if waiting in self._waiting:
                del self._waiting[waiting]
            else:
                self._reserved -= waiting.amount
                waiting.amount = 0
            self._admit()
        self._notify()

    def _admit(self) -> None:
        """Let the calls go on that fit now, in the order of arrival, and let those fail that never will.

        A call that has to wait lets none pass: small ones would starve it.
        """
        while self._waiting:
            first = next(iter(self._waiting))
            error = None
            if self._never_fits(first.amount):
                error = self._refusal(first.amount)
                amount = 0
            elif self._fits(first.amount):
                amount = first.amount
            else:
                return
            del self._waiting[first]
            first.amount = amount
            self._reserved += amount
            try:
                first.loop.call_soon_threadsafe(_end, first.done, error)
            except RuntimeError:  # its event loop is closed: nobody waits any more
                self._reserved -= amount
                first.amount = 0

    def _refusal(self, amount: int, what: str = "a model call may cost {}") -> BudgetExceeded:
        limit, spent, reserved = self.limit_usd, self.spent, self.reserved
        ranked = sorted(self._by_agent.items(), key=lambda item: -item[1])
        by_agent = {agent: some / _PICO for agent, some in ranked}
        told = ", ".join(f"{agent} {dollars(usd)}" for agent, usd in [*by_agent.items()][:NAMED])
        if len(by_agent) > NAMED:
            told += f" and {len(by_agent) - NAMED} more"
        needed = amount / _PICO
        message = f"the budget of {dollars(limit)} has {dollars(self.left)} left, and {what.format(dollars(needed))}: "
        message += f"{dollars(spent)} are spent" + (f" ({told})" if told else "")
        if reserved:
            message += f", {dollars(reserved)} reserved"
        message += f". `%agent budget {_higher(limit, spent + needed)}` raises it, and `%agent budget off` removes it; "
        message += "max_tokens limits what a call may cost"
        return BudgetExceeded(message, limit=limit, used=spent, needed=needed, spent_by_agent=by_agent)

    def _notify(self) -> None:
        for observer in self._observers.values():
            observer()


def charged(record: Record) -> float:
    """Return what the call of a record has cost, in US dollars: estimated where it is not known; 0 without a call."""
    match record.event:
        case ModelReplied(cost_usd=known, estimated_usd=estimated):
            pass
        case CallRetried(charge=charge) | RunFinished(charge=charge) if charge is not None:
            known, estimated = charge.cost_usd, charge.estimated_usd
        case _:
            return 0.0
    return known if known is not None else estimated or 0.0


def as_budget(value: Any) -> Budget:
    """Return the budget that an argument names: a Budget, or dollars.

    Raises:
        ConfigError: it is neither.
    """
    if isinstance(value, Budget):
        return value
    return Budget(value)


def _limit(usd: Any) -> int | None:
    if usd is None:
        return None
    if problem := problem_with(LIMIT, "budget", usd):
        raise ConfigError(problem)
    return _near(LIMIT.read(usd))


def _up(usd: float) -> int:
    return math.ceil(usd * _PICO)


def _near(usd: float) -> int:
    return max(0, round(usd * _PICO))


def _higher(limit: float, needed: float = 0.0) -> str:
    """Return a higher limit, in whole dollars where it can be, as an example."""
    target = max(limit * 1.5, needed)
    if target > 1:
        return f"${math.ceil(target)}"
    return f"${math.ceil(target * 100) / 100:g}"


def _end(done: asyncio.Future[None], error: BaseException | None) -> None:
    if done.done():  # cancelled meanwhile: its task gives the reservation back
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
