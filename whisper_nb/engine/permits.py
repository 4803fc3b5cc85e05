"""Limits for model calls: of those at once, over all agents; and of the rate, for each provider and key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..config.aiconfig import AIConfig
from ..config.providers import is_own
from ..core.errors import ModelError
from ..core.rates import Rate, Sent, Window

#: Provider, address and key of a call, and the model where a proxy has many behind one address. Rate limits apply to
#: each of these.
Endpoint = tuple[str, str | None, str | None, str]
#: Called with the reason why a call waits for its provider, and the seconds that it waits at least.
OnWait = Callable[[str, float], object]
#: Seconds without calls after a 429 that names no time; and at most.
PAUSE_S, PAUSE_MOST_S = 1.0, 60.0


#: Providers whose models are those of other providers, each with a limit of its own.
_PROXIES = ("openrouter", "litellm_proxy")


def endpoint_of(config: AIConfig, address: str = "") -> Endpoint:
    """Return the endpoint of a config's calls.

    Args:
        config: of the calls.
        address: of the server that is called, if it is not the provider's own.
    """
    provider, model = config.provider, ""
    if is_own(address) or provider in _PROXIES:
        model = config.model or ""
    return provider, address or config.api_base, config.api_key, model


@dataclass(slots=True)
class _Traffic:
    """The calls to one endpoint."""

    in_flight: int = 0
    limit: float = float("inf")
    """The concurrency limit. Halved after a 429; grows by one with each round of calls that succeed."""
    cuts: int = 0
    """The number of times that it was halved. Calls that were in flight together count once."""
    paused_until: float = 0.0


class Held:
    """The permit of one call."""

    __slots__ = ("_sent", "_window")

    def __init__(self, window: Window | None, sent: Sent | None) -> None:
        self._window = window
        self._sent = sent

    def took(self, tokens: int) -> None:
        """Count the call with the tokens that it took, in the place of the estimate."""
        if self._window is not None and self._sent is not None:
            self._window.correct(self._sent, tokens, asyncio.get_running_loop().time())

    def give_back(self) -> None:
        """Do not count the call: it is not sent."""
        if self._window is not None and self._sent is not None:
            self._window.remove(self._sent, asyncio.get_running_loop().time())


#: Of a call to an endpoint whose rate is not limited.
_UNCOUNTED = Held(None, None)


@dataclass(slots=True)
class _Waiter:
    """A call that waits for its permit."""

    endpoint: Endpoint
    rate: Rate | None
    on_wait: OnWait | None
    """None once it was called."""
    held: Held | None = None
    """The permit, once it is given."""


class Permits:
    """Permits for model calls, first come, first served.

    After a 429, an endpoint gets half as many calls at once, and none until the time that its answer names. A call with
    a rate waits until its endpoint has room in the last minute, and so do later calls to it. Calls to other endpoints
    go on. A permit covers one call: none is held during a wait for a tool, a person or another agent.

    Args:
        limit: the most calls in flight over all agents. It can be changed at any time, for calls that start later.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_flight = 0
        self._traffic: dict[Endpoint, _Traffic] = {}
        self._windows: dict[Endpoint, Window] = {}  # of the endpoints whose rate is limited
        self._waiting: dict[asyncio.Future[None], _Waiter] = {}  # in the order of arrival
        self._timer: asyncio.TimerHandle | None = None

    @property
    def limit(self) -> int:
        """The most calls in flight over all agents."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        if self._waiting:
            self._admit()

    def free(self, endpoint: Endpoint, rate: Rate | None = None) -> bool:
        """Whether a call to this endpoint, at this rate, would start at once."""
        return not self._waiting and self._open(endpoint, rate)

    def at_once(self, endpoint: Endpoint) -> int | None:
        """Return the concurrency limit of this endpoint; None if only the limit over all agents applies."""
        traffic = self._traffic.get(endpoint)
        if traffic is None or traffic.limit == float("inf"):
            return None
        return int(traffic.limit)

    @asynccontextmanager
    async def hold(
        self, endpoint: Endpoint, on_wait: OnWait = lambda *_: None, rate: Rate | None = None
    ) -> AsyncGenerator[Held, None]:
        """Acquire a permit for one call, and release it at the end. The call's ModelError adjusts the endpoint's limit.

        Cancelling the wait removes the call from the queue.

        Args:
            endpoint: the endpoint of the call.
            on_wait: called once if the call waits for its provider; not if it waits for the limit over all agents.
            rate: the rate that the call keeps to. None: it waits for no rate.
        """
        held = await self._acquire(endpoint, on_wait, rate)
        traffic = self._traffic[endpoint]
        cuts = traffic.cuts
        try:
            yield held
        except ModelError as error:
            if error.status == 429 and error.retryable:  # one that is not retryable means that no credit is left
                self._slow_down(traffic, cuts, error.retry_after_s)
            raise
        else:
            self._speed_up(traffic)
        finally:
            traffic.in_flight -= 1
            self._in_flight -= 1
            if not traffic.in_flight and traffic.limit == float("inf") and not self._pause(traffic):
                self._traffic.pop(endpoint, None)
            self._admit()

    def _open(self, endpoint: Endpoint, rate: Rate | None) -> bool:
        if self._in_flight >= self.limit or not self._accepts(endpoint):
            return False
        return rate is None or not self._wait(endpoint, rate)[0]

    def _accepts(self, endpoint: Endpoint) -> bool:
        """Whether the endpoint accepts a call, by the 429s that it has answered."""
        traffic = self._traffic.get(endpoint)
        if traffic is None:
            return True
        # At least one call at a time, or no call could find out that the provider accepts calls again.
        return traffic.in_flight < max(1, int(min(traffic.limit, self.limit))) and not self._pause(traffic)

    def _wait(self, endpoint: Endpoint, rate: Rate) -> tuple[float, str]:
        """Return the seconds that a call waits for its rate, and the limit that it waits for."""
        window = self._windows.setdefault(endpoint, Window())
        return window.wait(rate, asyncio.get_running_loop().time())

    async def _acquire(self, endpoint: Endpoint, on_wait: OnWait, rate: Rate | None) -> Held:
        if self.free(endpoint, rate):
            return self._take(endpoint, rate)
        future = asyncio.get_running_loop().create_future()
        waiter = self._waiting[future] = _Waiter(endpoint, rate, on_wait)
        self._admit()  # all earlier calls may be waiting for another provider
        try:
            await future
        except asyncio.CancelledError:
            if self._waiting.pop(future, None) is None:  # the permit was already given
                assert waiter.held is not None
                waiter.held.give_back()
                self._traffic[endpoint].in_flight -= 1
                self._in_flight -= 1
            self._admit()
            raise
        assert waiter.held is not None
        return waiter.held

    def _obstacle(self, endpoint: Endpoint, rate: Rate | None) -> tuple[str, float]:
        """Return why a call that waits for its provider is not sent, and the seconds that it waits at least."""
        name = endpoint[3] or endpoint[0]
        if rate is not None and self._accepts(endpoint):
            after_s, limit = self._wait(endpoint, rate)
            return f"{name} is limited to {limit}", after_s
        traffic = self._traffic[endpoint]
        pause = self._pause(traffic)
        most = max(1, int(min(traffic.limit, self.limit)))
        sent = f"{most} call{'s' * (most > 1)} at a time"
        if pause:
            sent = "no more calls for now"
        return f"{name} answered 429 (too many requests) and is sent {sent}", pause

    def _take(self, endpoint: Endpoint, rate: Rate | None) -> Held:
        self._traffic.setdefault(endpoint, _Traffic()).in_flight += 1
        self._in_flight += 1
        window = self._windows.get(endpoint) if self._windows else None
        if window is None:
            return _UNCOUNTED
        # Also a call without a rate counts: the provider counts it.
        return Held(window, window.add(rate.tokens if rate else 0, asyncio.get_running_loop().time()))

    def _admit(self) -> None:
        """Give permits to the waiting calls that may start now, in the order of arrival. Set one timer for the next."""
        if not self._waiting and self._timer is None:  # most calls
            return
        shut: dict[Endpoint, tuple[str, float]] = {}
        for future, waiter in list(self._waiting.items()):
            if self._in_flight >= self.limit:
                break
            if future.cancelled():  # its task will remove it from the queue
                continue
            endpoint = waiter.endpoint
            if endpoint not in shut and self._open(endpoint, waiter.rate):
                del self._waiting[future]
                waiter.held = self._take(endpoint, waiter.rate)
                future.set_result(None)
                continue
            if endpoint not in shut:
                shut[endpoint] = self._obstacle(endpoint, waiter.rate)
            on_wait, waiter.on_wait = waiter.on_wait, None
            if on_wait is not None:
                on_wait(*shut[endpoint])
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        delays = [after_s for _, after_s in shut.values() if after_s]
        if delays:
            self._timer = asyncio.get_running_loop().call_later(min(delays), self._admit)

    def _pause(self, traffic: _Traffic) -> float:
        """Return the seconds until calls may start again; 0 if they may now."""
        if not traffic.paused_until:
            return 0.0
        return max(0.0, traffic.paused_until - asyncio.get_running_loop().time())

    def _slow_down(self, traffic: _Traffic, cuts: int, after_s: float | None) -> None:
        if traffic.cuts == cuts:
            traffic.cuts += 1
            traffic.limit = max(1.0, min(traffic.limit, traffic.in_flight) / 2)
        if after_s is None:
            after_s = PAUSE_S
        pause = min(after_s, PAUSE_MOST_S)
        traffic.paused_until = max(traffic.paused_until, asyncio.get_running_loop().time() + pause)

    def _speed_up(self, traffic: _Traffic) -> None:
        traffic.limit += 1 / traffic.limit
        if traffic.limit >= self.limit:
            traffic.limit = float("inf")
