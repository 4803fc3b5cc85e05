"""A loop in a thread of its own, for agents that go on while a notebook's cell blocks."""

from __future__ import annotations

import asyncio
import logging
import threading

#: Seconds that what is left on the loop has to end.
GRACE_S = 0.5
_log = logging.getLogger("whisper_nb")


class OwnLoop:
    """A loop in a daemon thread, which begins at once. Whoever makes it ends it."""

    __slots__ = ("_thread", "ended", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.ended = False
        """Whether it was told to end."""
        self._thread = threading.Thread(target=self._run, name="whisper_nb agents", daemon=True)
        self._thread.start()

    @property
    def thread(self) -> int:
        """The thread's identity."""
        return self._thread.ident or 0

    def end(self) -> None:
        """Have it end once it has done what it was called for before; from any thread."""
        if not self.ended:
            self.ended = True
            self.loop.call_soon_threadsafe(self.loop.stop)

    def join(self, patience_s: float) -> None:
        """Wait so many seconds at most until the thread has ended."""
        if threading.current_thread() is not self._thread:
            self._thread.join(patience_s)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self.ended:
            try:
                self.loop.run_forever()
            except BaseException:  # a sys.exit() in some task: the other agents live on
                _log.exception("the agents' loop was left by an error, and goes on")
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=GRACE_S))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.loop.close()
