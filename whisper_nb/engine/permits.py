"""Permits: how many model calls may be in flight, over all agents and for each provider and key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from ..config.aiconfig import AIConfig
from ..core.errors import ModelError

#: Whom a call goes to, with which key: providers count calls by these.
Lane = tuple[str, str | None, str | None]
#: Hears why a call waits for its provider, and for how many seconds at least.
Held = Callable[[str, float], object]
#: How long a provider that said "too many" is left alone where it does not say itself; and at most.
PAUSE_S, PAUSE_MOST_S = 1.0, 60.0


def lane_of(config: AIConfig) -> Lane:
    """Whom the calls of a config go to."""
    return config.provider, config.api_base, config.api_key


@dataclass(slots=True)
class _Traffic:
    """The calls of one lane."""

    in_flight: int = 0
    limit: float = float("inf")
    """Falls by half when the provider says "too many", and grows by one with each round of calls that succeed."""
    cuts: int = 0
    """How often it fell: calls that were in flight together count once."""
    closed_until: float = 0.0


class Permits:
    """Lets model calls go out, first come, first served.

    A provider that answers 429 gets half as many calls at once, and none until the time that it names; calls to others
    pass meanwhile. A permit covers one call: whoever waits for a tool, a person or another agent holds none.

    Args:
        limit: calls in flight over all agents; may be changed at any time, and holds for calls to come.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._in_flight = 0
        self._lanes: dict[Lane, _Traffic] = {}
        self._waiting: dict[asyncio.Future[None], Lane] = {}  # in the order of coming
        self._untold: dict[asyncio.Future[None], Held] = {}  # of these, who has not heard why
        self._timer: asyncio.TimerHandle | None = None

    @property
    def limit(self) -> int:
        """Calls in flight over all agents, at most."""
        return self._limit

    @limit.setter
    def limit(self, limit: int) -> None:
        self._limit = limit
        if self._waiting:
            self._let_go()

    def free(self, lane: Lane) -> bool:
        """Whether a call to this lane would go out at once."""
        return not self._waiting and self._open(lane)

    def at_once(self, lane: Lane) -> int | None:
        """How many calls this lane takes at once at present; None where only the limit over all holds."""
        traffic = self._lanes.get(lane)
        return None if traffic is None or traffic.limit == float("inf") else int(traffic.limit)

    @asynccontextmanager
    async def hold(self, lane: Lane, held: Held = lambda *_: None) -> AsyncGenerator[None, None]:
        """One permit, for the time of one call. What the call raises says how the provider copes.

        Cancelling the wait gives up the place in line.

        Args:
            lane: whom the call goes to.
            held: called, once, where the call has to wait for its provider; not where it waits for calls to others.
        """
        await self._acquire(lane, held)
        traffic = self._lanes[lane]
        cuts = traffic.cuts
        try:
            yield
        except ModelError as error:
            if error.status == 429 and error.retryable:  # else it is the money
                self._slow_down(traffic, cuts, error.retry_after_s)
            raise
        else:
            self._speed_up(traffic)
        finally:
            traffic.in_flight -= 1
            self._in_flight -= 1
            if not traffic.in_flight and traffic.limit == float("inf") and not self._pause(traffic):
                self._lanes.pop(lane, None)
            self._let_go()

    def _open(self, lane: Lane) -> bool:
        traffic = self._lanes.get(lane)
        if self._in_flight >= self.limit:
            return False
        if traffic is None:
            return True
        # At least one at a time, or nobody would ever find out that the provider copes again.
        return traffic.in_flight < max(1, int(min(traffic.limit, self.limit))) and not self._pause(traffic)

    async def _acquire(self, lane: Lane, held: Held) -> None:
        if self.free(lane):
            self._take(lane)
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting[turn] = lane
        self._untold[turn] = held
        self._let_go()  # those before it may all wait for another provider
        try:
            await turn
        except asyncio.CancelledError:
            if self._waiting.pop(turn, None) is None:  # it had just been given
                self._lanes[lane].in_flight -= 1
                self._in_flight -= 1
            self._let_go()
            raise
        finally:
            self._untold.pop(turn, None)

    def _tell(self, turn: asyncio.Future[None], lane: Lane) -> None:
        """Say why it waits to one that waits for its provider, and has not heard."""
        if (held := self._untold.pop(turn, None)) is None:
            return
        traffic = self._lanes[lane]
        pause, most = self._pause(traffic), max(1, int(min(traffic.limit, self.limit)))
        sent = "no more calls for now" if pause else f"{most} call{'s' * (most > 1)} at a time"
        held(f"{lane[0]} answered 429 (too many requests) and is sent {sent}", pause)

    def _take(self, lane: Lane) -> None:
        self._lanes.setdefault(lane, _Traffic()).in_flight += 1
        self._in_flight += 1

    def _let_go(self) -> None:
        """Let out whoever may go by now, in the order of coming."""
        shut: set[Lane] = set()
        for turn, lane in list(self._waiting.items()):
            if self._in_flight >= self.limit:
                break
            if turn.cancelled():  # who waited, and will leave the line by itself
                continue
            if lane in shut or not self._open(lane):
                shut.add(lane)
                self._tell(turn, lane)
                continue
            del self._waiting[turn]
            self._take(lane)
            turn.set_result(None)
        self._wake_later()

    def _wake_later(self) -> None:
        """One timer, for the pause that ends first among those that somebody waits for."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        pauses = [
            pause
            for lane in set(self._waiting.values())
            if (one := self._lanes.get(lane)) and (pause := self._pause(one))
        ]
        if pauses:
            self._timer = asyncio.get_running_loop().call_later(min(pauses), self._let_go)

    def _pause(self, traffic: _Traffic) -> float:
        """Seconds that nothing goes out; 0 for none."""
        return max(0.0, traffic.closed_until - asyncio.get_running_loop().time()) if traffic.closed_until else 0.0

    def _slow_down(self, traffic: _Traffic, cuts: int, after_s: float | None) -> None:
        if traffic.cuts == cuts:
            traffic.cuts += 1
            traffic.limit = max(1.0, min(traffic.limit, traffic.in_flight) / 2)
        pause = min(PAUSE_S if after_s is None else after_s, PAUSE_MOST_S)
        traffic.closed_until = max(traffic.closed_until, asyncio.get_running_loop().time() + pause)

    def _speed_up(self, traffic: _Traffic) -> None:
        traffic.limit += 1 / traffic.limit
        if traffic.limit >= self.limit:
            traffic.limit = float("inf")
