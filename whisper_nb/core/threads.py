"""Threads for work that would block an event loop: blocking calls, slow imports, and a loop of their own for agents."""

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

#: Seconds that the remaining tasks of a loop get to end.
GRACE_S = 0.5
_log = logging.getLogger("whisper_nb")

_loading = threading.Lock()
_loaded: set[str] = set()


async def in_thread(function: Callable[..., T], *args: object, work: str = "") -> T:
    """Call in a new thread, in a copy of this context. Cancelling ends the wait; the thread runs to its end.

    The thread has the name of its work, by default that of the function.

    asyncio's pool has few threads. Functions that wait for other agents, whose tools need threads too, would fill it
    and deadlock.
    """
    done: Future[T] = Future()
    done.set_running_or_notify_cancel()
    context = contextvars.copy_context()
    name = f"whisper_nb {work or function.__name__.strip('_')}"
    threading.Thread(target=answer, args=(done, context.run, function, *args), name=name, daemon=True).start()
    return await asyncio.wrap_future(done)


def answer(done: Future[T], function: Callable[..., T], *args: Any, **kwargs: Any) -> None:
    """Call the function, and set its result or exception on the future."""
    try:
        done.set_result(function(*args, **kwargs))
    except StopIteration:  # before Python 3.12 an asyncio future does not accept it, and its awaiter would hang
        done.set_exception(RuntimeError("it raised StopIteration"))
    except BaseException as error:  # the thread that waits for the future must get any exception
        done.set_exception(error)


async def loaded(*modules: str) -> None:
    """Import modules in a thread. Returns at once if they are imported already."""
    if not _loaded.issuperset(modules):
        await in_thread(load, *modules)


def preload(*modules: str) -> None:
    """Start importing modules, which a call will need soon, in a thread. `load` waits for that."""
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
    """An event loop in a daemon thread, for agents that run while a cell blocks. It starts at once; `end` ends it."""

    __slots__ = ("_thread", "ended", "loop")

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.ended = False
        """Whether `end` was called."""
        self._thread = threading.Thread(target=self._run, name="whisper_nb agents", daemon=True)
        self._thread.start()

    @property
    def thread(self) -> int:
        """The thread's identifier."""
        return self._thread.ident or 0

    def end(self) -> None:
        """End the loop after the calls that were scheduled before. Thread-safe."""
        if not self.ended:
            self.ended = True
            self.loop.call_soon_threadsafe(self.loop.stop)

    def join(self, timeout_s: float) -> None:
        """Wait at most `timeout_s` seconds for the end of the thread."""
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout_s)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not self.ended:
            try:
                self.loop.run_forever()
            except BaseException:  # for example, sys.exit() in a task; the other agents go on
                _log.exception("an exception left the agents' event loop; it goes on")
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self._finish()
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        # A generator that was dropped is closed by a task, whose end may drop the next generator.
        while self._finish():
            pass
        self.loop.close()

    def _finish(self) -> bool:
        """Let the tasks end. Return whether there were any and none is left."""
        self.loop.run_until_complete(asyncio.sleep(0))  # creates tasks that were scheduled
        left = asyncio.all_tasks(self.loop)
        if not left:
            return False
        _, pending = self.loop.run_until_complete(asyncio.wait(left, timeout=GRACE_S))
        return not pending
