"""Threads for what would hold up a loop: calls that block, imports that take their time, and a loop of its own."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from importlib import import_module
from typing import Any, TypeVar

T = TypeVar("T")

#: Seconds that what is left on a loop has to end.
GRACE_S = 0.5
_log = logging.getLogger("whisper_nb")

_loading = threading.Lock()
_loaded: set[str] = set()


async def in_thread(function: Callable[..., T], *args: object) -> T:
    """Call in a thread of its own, in a copy of this context. Cancelling leaves the thread to its end, unawaited.

    Not in asyncio's pool, which has few threads: functions that wait for other agents, whose tools need a thread in
    their turn, would fill it for ever.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()
    context = contextvars.copy_context()
    threading.Thread(
        target=answer, args=(done, context.run, function, *args), name="whisper_nb tool", daemon=True
    ).start()
    return await asyncio.wrap_future(done)


def answer(done: Future[T], function: Callable[..., T], *args: Any, **kwargs: Any) -> None:
    """Call, and have the future say what came of it."""
    try:
        done.set_result(function(*args, **kwargs))
    except StopIteration:  # before Python 3.12 no future of asyncio takes it, and its awaiter waits for ever
        done.set_exception(RuntimeError("it raised StopIteration"))
    except BaseException as error:
        done.set_exception(error)


async def loaded(*modules: str) -> None:
    """Have modules imported, in a thread. Quick when they are."""
    if not _loaded.issuperset(modules):
        await in_thread(load, *modules)


def preload(*modules: str) -> None:
    """Begin to import modules that a call will need soon, in a thread. `load` waits for it."""
    if not _loaded.issuperset(modules):
        threading.Thread(target=load, args=modules, name="whisper_nb import", daemon=True).start()


def load(*modules: str) -> None:
    """Import modules, one thread at a time: another thread would see a module that is half imported."""
    if not _loaded.issuperset(modules):
        with _loading:
            for name in modules:
                import_module(name)
        _loaded.update(modules)


class OwnLoop:
    """A loop in a daemon thread, which begins at once, for agents that go on while a cell blocks.

    Whoever makes it ends it.
    """

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
