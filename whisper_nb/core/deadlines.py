"""Timeouts of model calls: for the whole reply, and between two pieces of it."""

from __future__ import annotations

import asyncio
from types import TracebackType

#: Seconds. A timer that is later than this was delayed by a blocked event loop, not by the provider.
LATE_S = 0.1
#: Seconds that are then granted, once, to read data that had already arrived.
GRACE_S = 0.25


class Deadline:
    """`async with Deadline(total_s, idle_s) as d`, and `d.touch()` at each piece of data.

    Raises TimeoutError inside the block's task when `total_s` seconds have passed since the start, or `idle_s`
    since the last touch; None means no limit. A cell that blocks the loop delays timers, so a deadline that fires
    late first grants one read of the data that had already arrived.
    Cancelling the task from outside ends the block with CancelledError, as usual.
    """

    __slots__ = ("_granted", "_handle", "_idle_s", "_last", "_loop", "_scope", "_start", "_total_s", "expired", "idle")

    def __init__(self, total_s: float | None, idle_s: float | None = None) -> None:
        self._total_s = total_s
        self._idle_s = idle_s
        self._scope = asyncio.timeout(None)
        self._handle: asyncio.TimerHandle | None = None
        self._granted = False
        self.expired: str | None = None
        """The limit that was exceeded, as text; None if none was."""
        self.idle = False
        """Whether the limit between two pieces of data was exceeded."""

    async def __aenter__(self) -> Deadline:
        self._loop = asyncio.get_running_loop()
        self._start = self._last = self._loop.time()
        await self._scope.__aenter__()
        self._arm()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        await self._scope.__aexit__(kind, error, trace)

    def touch(self) -> None:
        """Record that data arrived. Cheap: it reads the clock, and the timer compares times only when it fires."""
        self._last = self._loop.time()

    def _due(self) -> tuple[float, str] | None:
        total = self._total_s and (self._start + self._total_s, f"not complete after {self._total_s:g} s")
        idle = self._idle_s and (self._last + self._idle_s, f"nothing arrived for {self._idle_s:g} s")
        return min((bound for bound in (total, idle) if bound), default=None)

    def _arm(self) -> None:
        due = self._due()
        if due is not None:
            self._handle = self._loop.call_at(due[0], self._fire, due[0])

    def _fire(self, when: float) -> None:
        now = self._loop.time()
        due = self._due()
        assert due is not None
        if due[0] > now:
            self._arm()  # data arrived: the limit is later now
        elif now - when > LATE_S and due[0] != self._start + (self._total_s or 0.0):
            self.touch()  # the loop was blocked: count the idle time from now
            self._arm()
        elif now - when > LATE_S and not self._granted:
            self._granted = True
            self._handle = self._loop.call_at(now + GRACE_S, self._fire, now + GRACE_S)
        else:
            self.expired = due[1]
            self.idle = due[0] != self._start + (self._total_s or 0.0)
            self._scope.reschedule(now)
