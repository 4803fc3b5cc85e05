"""An event loop's clock that a test advances, so that it need not sleep."""

from __future__ import annotations

import asyncio


def forward(seconds: float) -> None:
    """Advance the running loop's clock: timers that are due by then fire in its next iteration."""
    loop = asyncio.get_running_loop()
    ahead_s = vars(loop).get("ahead_s", 0.0) + seconds
    vars(loop)["ahead_s"] = ahead_s
    time = vars(loop).get("stopped_s") or type(loop).time
    loop.time = lambda: (time if isinstance(time, float) else time(loop)) + ahead_s  # type: ignore[method-assign]


def stop() -> None:
    """Stop the running loop's clock: from now on, `forward` alone advances it."""
    loop = asyncio.get_running_loop()
    vars(loop)["stopped_s"] = type(loop).time(loop)
    forward(0.0)
