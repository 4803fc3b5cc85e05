"""The loop that agents live on, and the one door to it from other threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any

from .errors import ConfigError, SessionError

#: Runs the loop from inside a cell until the future is done; the notebook floor provides it (nest-asyncio).
#: Raises TimeoutError after `timeout` seconds, KeyboardInterrupt when the user interrupts; the work goes on in both.
Block = Callable[[asyncio.AbstractEventLoop, "Future[None]", float | None], None]

#: Sessions that may take something up before the loop has turned again.
TURNS = 8


class Home:
    """An event loop and the thread that runs it.

    Nothing above assumes which loop or thread that is: a kernel's main loop, a script's, or one in a thread.
    """

    __slots__ = ("_block", "_thread", "_turns", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, block: Block | None = None) -> None:
        self.loop = loop
        self._block = block
        self._thread = threading.get_ident()
        self._turns = asyncio.Semaphore(TURNS)

    @property
    def here(self) -> bool:
        """Whether the caller is on the loop's thread."""
        return threading.get_ident() == self._thread

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call on the loop's thread: at once if that is this one, else as soon as the loop turns.

        Raises:
            SessionError: the loop is closed, so nothing can reach its agents any more.
        """
        self._check_open()
        if self.here:
            function(*args)
        else:
            self.loop.call_soon_threadsafe(function, *args)

    async def turn(self) -> None:
        """Wait for a turn on the loop: a few sessions at a time, first come, first served.

        What is ready at once runs at once, before anything else: a thousand sessions would hold up the notebook.
        """
        await self._turns.acquire()
        self.loop.call_soon(self._turns.release)

    def wait(self, done: Future[None], timeout: float | None) -> None:
        """Block the calling thread until `done`. Interrupting or timing out leaves the work alone.

        Raises:
            TimeoutError: after `timeout` seconds.
            SessionError: this thread runs the loop, and nothing here can run it from inside; or the loop is closed.
        """
        if done.done():
            return
        self._check_open()
        if not self.here:
            try:
                done.result(timeout)
            except FutureTimeout:
                raise TimeoutError from None
        elif self._block is not None:
            self._block(self.loop, done, timeout)
        else:
            raise SessionError("result() would block the loop that runs this agent: write `await run` instead")

    def _check_open(self) -> None:
        if self.loop.is_closed():
            raise SessionError("the loop of these agents is closed; make a new Runtime")


def running_loop() -> asyncio.AbstractEventLoop:
    """The loop that runs now.

    Raises:
        ConfigError: none does.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigError(
            "a Runtime lives on a running loop: `async with Runtime() as rt` inside a coroutine"
        ) from None
