"""Concurrency limits for model calls: one over all agents, and one for each provider and key that limits its rate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..config.aiconfig import AIConfig
from ..config.providers import is_own
from ..core.errors import ModelError

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
    model = ""
    if is_own(address) or config.provider in _PROXIES:
        model = config.model or ""
    return config.provider, address or config.api_base, config.api_key, model


@dataclass(slots=True)
class _Traffic:
    """The calls to one endpoint."""

    in_flight: int = 0
    limit: float = float("inf")
    """The concurrency limit. Halved after a 429; grows by one with each round of calls that succeed."""
    cuts: int = 0
    """The number of times that it was halved. Calls that were in flight together count once."""
    paused_until: float = 0.0


class Permits:
    """Permits for model calls, first come, first served.

    After a 429, an endpoint gets half as many calls at once, and none until the time that its answer names. Calls to
    other endpoints go on. A permit covers one call: none is held during a wait for a tool, a person or another agent.

    Args:
        limit: the most calls in flight over all agents. It can be changed at any time, for calls that start later.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_flight = 0
        self._traffic: dict[Endpoint, _Traffic] = {}
        self._waiting: dict[asyncio.Future[None], Endpoint] = {}  # in the order of arrival
        self._on_wait: dict[asyncio.Future[None], OnWait] = {}  # callbacks of these that were not called yet
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

    def free(self, endpoint: Endpoint) -> bool:
        """Whether a call to this endpoint would start at once."""
        return not self._waiting and self._open(endpoint)

    def at_once(self, endpoint: Endpoint) -> int | None:
        """Return the concurrency limit of this endpoint; None if only the limit over all agents applies."""
        traffic = self._traffic.get(endpoint)
        if traffic is None or traffic.limit == float("inf"):
            return None
        return int(traffic.limit)

    @asynccontextmanager
    async def hold(self, endpoint: Endpoint, on_wait: OnWait = lambda *_: None) -> AsyncGenerator[None, None]:
        """Acquire a permit for one call, and release it at the end. The call's ModelError adjusts the endpoint's limit.

        Cancelling the wait removes the call from the queue.

        Args:
            endpoint: the endpoint of the call.
            on_wait: called once if the call waits for its provider; not if it waits for the limit over all agents.
        """
        await self._acquire(endpoint, on_wait)
        traffic = self._traffic[endpoint]
        cuts = traffic.cuts
        try:
            yield
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

    def _open(self, endpoint: Endpoint) -> bool:
        traffic = self._traffic.get(endpoint)
        if self._in_flight >= self.limit:
            return False
        if traffic is None:
            return True
        # At least one call at a time, or no call could find out that the provider accepts calls again.
        return traffic.in_flight < max(1, int(min(traffic.limit, self.limit))) and not self._pause(traffic)

    async def _acquire(self, endpoint: Endpoint, on_wait: OnWait) -> None:
        if self.free(endpoint):
            self._take(endpoint)
            return
        waiter = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = endpoint
        self._on_wait[waiter] = on_wait
        self._admit()  # all earlier calls may be waiting for another provider
        try:
            await waiter
        except asyncio.CancelledError:
            if self._waiting.pop(waiter, None) is None:  # the permit was already given
                self._traffic[endpoint].in_flight -= 1
                self._in_flight -= 1
            self._admit()
            raise
        finally:
            self._on_wait.pop(waiter, None)

    def _notify(self, waiter: asyncio.Future[None], endpoint: Endpoint) -> None:
        """Call the callback of a call that waits for its provider, once."""
        if (on_wait := self._on_wait.pop(waiter, None)) is None:
            return
        traffic = self._traffic[endpoint]
        pause = self._pause(traffic)
        most = max(1, int(min(traffic.limit, self.limit)))
        sent = f"{most} call{'s' * (most > 1)} at a time"
        if pause:
            sent = "no more calls for now"
        on_wait(f"{endpoint[3] or endpoint[0]} answered 429 (too many requests) and is sent {sent}", pause)

    def _take(self, endpoint: Endpoint) -> None:
        self._traffic.setdefault(endpoint, _Traffic()).in_flight += 1
        self._in_flight += 1

    def _admit(self) -> None:
        """Give permits to the waiting calls that may start now, in the order of arrival."""
        shut: set[Endpoint] = set()
        for waiter, endpoint in list(self._waiting.items()):
            if self._in_flight >= self.limit:
                break
            if waiter.cancelled():  # its task will remove it from the queue
                continue
            if endpoint in shut or not self._open(endpoint):
                shut.add(endpoint)
                self._notify(waiter, endpoint)
                continue
            del self._waiting[waiter]
            self._take(endpoint)
            waiter.set_result(None)
        self._wake_later()

    def _wake_later(self) -> None:
        """Set one timer, for the pause that ends first among those of endpoints with waiting calls."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pauses = [
            pause
            for endpoint in set(self._waiting.values())
            if (one := self._traffic.get(endpoint)) and (pause := self._pause(one))
        ]
        if pauses:
            self._timer = asyncio.get_running_loop().call_later(min(pauses), self._admit)

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
