"""Calls to the main thread, for agents whose event loop runs in a thread of its own; waits that watch its loop."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, TypeVar

from ..core.threads import answer

T = TypeVar("T")

#: What runs an event loop, and refuses to while another one runs in the thread.
_RUNS_A_LOOP: tuple[tuple[Any, str], ...] = (
    (asyncio, "run"),
    (asyncio.Runner, "run"),
    (asyncio.BaseEventLoop, "run_until_complete"),
    (asyncio.BaseEventLoop, "run_forever"),
)


class Visits:
    """Runs functions and coroutines on the main loop between cells. Implements `tools.tool.MainThread`.

    Args:
        main: the main thread's event loop.
        guard: a context manager, entered around each function that the main thread runs.
    """

    __slots__ = ("_guard", "_tasks", "main", "pending")

    def __init__(self, main: asyncio.AbstractEventLoop, guard: Callable[[], AbstractContextManager[object]]) -> None:
        self.main = main
        self._guard = guard
        self._tasks: set[asyncio.Task[Any]] = set()
        self.pending = 0
        """The calls that wait for the main thread, on the agents' loop."""

    def __contains__(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether this task of the main loop runs a coroutine for an agent."""
        return task in self._tasks

    async def ask_main(self, function: Callable[..., T], *args: Any) -> T:
        """Call on the main thread, between cells, in the caller's context, and return the result.

        Cancelling ends the wait at once. A call that has not begun is dropped; one that has begun runs to its end.
        """
        done: Future[T] = Future()

        def begin() -> None:
            if done.set_running_or_notify_cancel():
                answer(done, self._guarded, function, *args)

        self.main.call_soon_threadsafe(begin)
        return await self._answered(done)

    async def await_main(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the main loop, in the caller's context, and return its result.

        Cancelling ends the wait at once and cancels the coroutine. A coroutine that has not begun is closed.
        """
        wanted = threading.Event()
        wanted.set()
        try:
            done = asyncio.run_coroutine_threadsafe(self._run(work, wanted), self.main)
            value, error = await self._answered(done)
        except asyncio.CancelledError:
            wanted.clear()
            raise
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    async def wait_until_ended(self, timeout_s: float) -> None:
        """Wait until no coroutine is left on the main loop, or until the timeout. On the main loop."""
        # A task that was cancelled before it began ends with its first step.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)

    def ping(self) -> Callable[[], bool]:
        """Return a function that returns whether the main loop has run since."""
        turned = threading.Event()
        with suppress(RuntimeError):  # it is closed
            self.main.call_soon_threadsafe(turned.set)
        return turned.is_set

    async def _answered(self, done: Future[T]) -> T:
        self.pending += 1
        try:
            return await asyncio.wrap_future(done)
        finally:
            self.pending -= 1

    def _guarded(self, function: Callable[..., T], *args: Any) -> T:
        with self._guard(), self._loops_beside():
            return function(*args)

    @contextmanager
    def _loops_beside(self) -> Iterator[None]:
        """Let a plain function run an event loop of its own beside the main one, as it may in a thread."""
        originals = [(owner, name, getattr(owner, name)) for owner, name in _RUNS_A_LOOP]
        used: list[bool] = []

        def beside(original: Callable[..., Any]) -> Callable[..., Any]:
            def run(*args: Any, **options: Any) -> Any:
                running = asyncio._get_running_loop()
                if running is not self.main or self.main in args[:1]:
                    return original(*args, **options)
                used.append(True)
                asyncio._set_running_loop(None)
                try:
                    return original(*args, **options)
                finally:
                    asyncio._set_running_loop(running)

            return run

        for owner, name, original in originals:
            setattr(owner, name, beside(original))
        try:
            yield
        finally:
            for owner, name, original in originals:
                setattr(owner, name, original)
            if used:
                asyncio.set_event_loop(self.main)  # `asyncio.run` leaves none

    async def _run(
        self, work: Coroutine[Any, Any, T], wanted: threading.Event
    ) -> tuple[T | None, BaseException | None]:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if not wanted.is_set():
                work.close()
                return None, None
            return await work, None
        except (KeyboardInterrupt, SystemExit, GeneratorExit) as error:  # raised in a task, it would end the main loop
            return None, error


#: Begins to watch, and returns a function that raises if the work cannot go on.
Watch = Callable[[], Callable[[], None]]


def wait_watched(done: Future[Any], timeout: float | None, step_s: float, watch: Watch | None) -> None:
    """Block this thread until `done`. With `watch`, check every `step_s` seconds whether that can still come.

    Raises:
        TimeoutError: after `timeout` seconds.
    """
    end = math.inf if timeout is None else time.monotonic() + timeout
    while True:
        check = watch() if watch else None
        left_s = end - time.monotonic()
        step = min(left_s, step_s) if check else left_s
        with suppress(FutureTimeout):
            done.exception(None if step == math.inf else step)
            return
        if check is None or left_s <= step_s:
            raise TimeoutError
        check()


async def await_watched(work: Callable[[], Awaitable[T]], step_s: float, watch: Watch) -> T:
    """Await, and check every `step_s` seconds whether the end can still come: each time `work` is called again."""
    while True:
        check = watch()
        step = asyncio.timeout(step_s)
        try:
            async with step:
                return await work()
        except TimeoutError:
            if not step.expired():
                raise
        check()
