"""Deadlines that hold: over the whole of a block and from one sign of life to the next."""

from __future__ import annotations

import asyncio
from types import TracebackType

#: A timer later than this was held up by a blocked loop, not by the provider.
LATE_S = 0.1
#: How long what had already arrived may then take to be read, once.
GRACE_S = 0.25


class Deadline:
    """`async with Deadline(total_s, idle_s) as d`, and `d.touch()` at each sign of life.

    Raises TimeoutError inside the block's task when `total_s` seconds have passed since the start, or `idle_s`
    since the last touch; None means no bound. A cell that blocks the loop makes timers late; a deadline that fires
    late grants one read of what already arrived before it counts (design, contract 11).
    Cancelling the task from outside ends the block with CancelledError, as ever.
    """

    __slots__ = ("_granted", "_handle", "_idle_s", "_last", "_loop", "_scope", "_start", "_total_s", "expired", "idle")

    def __init__(self, total_s: float | None, idle_s: float | None = None) -> None:
        self._total_s = total_s
        self._idle_s = idle_s
        self._scope = asyncio.timeout(None)
        self._handle: asyncio.TimerHandle | None = None
        self._granted = False
        self.expired: str | None = None
        """Which bound was crossed, in words; None while none was."""
        self.idle = False
        """Whether it was that from one sign of life to the next."""

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
        """Something arrived. Costs a clock read: the timer looks at the time only when it fires."""
        self._last = self._loop.time()

    def _due(self) -> tuple[float, str] | None:
        total = self._total_s and (self._start + self._total_s, f"not complete after {self._total_s:g} s")
        idle = self._idle_s and (self._last + self._idle_s, f"nothing arrived for {self._idle_s:g} s")
        return min((bound for bound in (total, idle) if bound), default=None)

    def _arm(self) -> None:
        due = self._due()
        self._handle = self._loop.call_at(due[0], self._fire, due[0]) if due else None

    def _fire(self, when: float) -> None:
        now = self._loop.time()
        due = self._due()
        assert due is not None
        if due[0] > now:
            self._arm()  # touched since: the bound has moved
        elif now - when > LATE_S and due[0] != self._start + (self._total_s or 0.0):
            self.touch()  # nobody listened: the silence begins now
            self._arm()
        elif now - when > LATE_S and not self._granted:
            self._granted = True
            self._handle = self._loop.call_at(now + GRACE_S, self._fire, now + GRACE_S)
        else:
            self.expired, self.idle = due[1], due[0] != self._start + (self._total_s or 0.0)
            self._scope.reschedule(now)
