"""An event loop's clock that a test advances, so that it need not sleep."""

from __future__ import annotations

import asyncio


def forward(seconds: float) -> None:
    """Advance the running loop's clock: timers that are due by then fire in its next iteration."""
    loop = asyncio.get_running_loop()
    time = loop.time
    loop.time = lambda: time() + seconds  # type: ignore[method-assign]
