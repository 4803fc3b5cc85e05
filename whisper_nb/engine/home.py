"""The event loop that agents run on, the thread that runs it, and calls to both from other threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import os
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future, wait
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, get_args

from ..core.errors import ConfigError, SessionError
from ..core.threads import OwnLoop, answer
from .visits import Visits, await_watched, wait_watched

P = ParamSpec("P")
T = TypeVar("T")

#: Runs an event loop from inside a cell until the future is done; `notebook/` provides it (nest-asyncio).
#: Raises TimeoutError after `timeout` seconds, and KeyboardInterrupt when the user interrupts; the work goes on.
Block = Callable[[asyncio.AbstractEventLoop, "Future[Any]", float | None], None]
#: `notebook`: the main loop, which is that of the notebook or script. `thread`: a loop in a thread of its own.
Where = Literal["notebook", "thread"]

#: Sessions that may start a step in one iteration of the loop.
SLOTS = 8
#: Seconds without a new iteration after which the main loop counts as blocked by a cell.
BLOCKED_S = 0.2
#: Seconds without a new iteration after which a wait in another thread ends with an error: it may be the reason.
STUCK_S = 5.0
#: Seconds to wait for the end of the loop's thread.
JOIN_TIMEOUT_S = 1.0


class Home:
    """The event loop of the agents, and the thread that runs it.

    Its users do not depend on which loop that is: the main loop of a kernel or a script, or a loop in a thread, which
    runs while the main loop is blocked. Agents may move from one to the other; the Home object stays the same.

    Args:
        main: the event loop of this thread. It need not run yet.
        block: waits inside a cell; None outside a notebook.
        guard: a context manager, entered around each function that the main thread runs for an agent.
        stuck_s: seconds that a wait in another thread lasts while nothing runs the main loop.
    """

    __slots__ = (
        "_block",
        "_early",
        "_lock",
        "_main_thread",
        "_own",
        "_process",
        "_readers",
        "_slots",
        "_thread",
        "_timers",
        "loop",
        "main",
        "stuck_s",
        "visits",
        "waiters",
    )

    def __init__(
        self,
        main: asyncio.AbstractEventLoop,
        block: Block | None = None,
        guard: Callable[[], AbstractContextManager[object]] = nullcontext,
        stuck_s: float = STUCK_S,
    ) -> None:
        self.stuck_s = stuck_s
        self._process = os.getpid()
        self.main = self.loop = main
        self._block = block
        self._main_thread = self._thread = threading.get_ident()
        self._own: OwnLoop | None = None
        self._lock = threading.RLock()  # orders a change of loops and calls from other threads
        self._early: dict[Callable[[], object], None] = {}  # to be called once the loop runs
        self._slots = asyncio.Semaphore(SLOTS)
        self._timers: dict[object, tuple[asyncio.TimerHandle, Callable[[], object]]] = {}
        self._readers: dict[socket.socket, Callable[[], object]] = {}
        self.visits = Visits(main, guard)
        """Runs functions on the main loop, for agents that run in a thread."""
        self.waiters: list[Any] = []
        """The runs that the main thread waits for. Waits are nested: the last one ends first."""

    @property
    def where(self) -> Where:
        """The name of the agents' event loop."""
        return "thread" if self._own else "notebook"

    @property
    def here(self) -> bool:
        """Whether the caller is on the thread of the agents' loop."""
        return threading.get_ident() == self._thread

    @property
    def on_main(self) -> bool:
        """Whether the caller is on the main loop's thread."""
        return threading.get_ident() == self._main_thread

    @property
    def forked(self) -> bool:
        """Whether this process is a fork of the one that runs the loop."""
        return os.getpid() != self._process

    @property
    def in_task(self) -> bool:
        """Whether the caller's thread is running a step of an agent, or a coroutine for one."""
        return self.here or (self.on_main and asyncio.current_task(self.main) in self.visits)

    @property
    def visits_main(self) -> bool:
        """Whether functions that use a notebook's variables must be sent to the main thread, by `visits`."""
        return self._own is not None and self._block is not None

    # Calls from other threads

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call on the thread of the agents' loop: at once from that thread, else in the loop's next iteration.

        Raises:
            SessionError: the loop is closed.
        """
        if self.here:
            self.check_open()
            function(*args)
            return
        with self._lock:
            self.check_open()
            self.loop.call_soon_threadsafe(self._arrive, function, *args)

    def _arrive(self, function: Callable[..., object], *args: Any) -> None:
        if self.here:
            function(*args)  # also while the loop ends: the call was accepted before
        else:
            self.call(function, *args)  # agents have moved to another loop

    def do(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call on the thread of the agents' loop, in the caller's context. Return the result or raise the exception.

        The main loop may be blocked, for example by a cell that waits for this caller. If agents live there and the
        call has not begun after 0.2 s, it happens in the calling thread: meanwhile the loop changes nothing. So it does
        when the loop is closed or does not run.
        """
        own = self._own
        if self.here or (own.ended if own else not self.main.is_running()):
            return function(*args, **kwargs)
        done = self._submit(function, *args, **kwargs)
        if own is None:
            wait((done,), BLOCKED_S)
            if done.cancel():
                with self._lock:
                    found = function(*args, **kwargs)
                self.main.call_soon_threadsafe(_nothing)  # wakes the loop for what the function has scheduled
                return found
        return done.result()

    def do_within(self, timeout_s: float, function: Callable[[], object]) -> None:
        """Do as `do`, but wait at most `timeout_s` seconds. If the loop is busy, the call happens later."""
        if self.here or self._own is None or self._own.ended:
            function()
            return
        with suppress(FutureTimeout):
            self._submit(function).result(timeout_s)

    def _submit(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        context = contextvars.copy_context()

        def begin() -> None:
            if done.set_running_or_notify_cancel():
                answer(done, context.run, function, *args, **kwargs)

        self.call(begin)
        return done

    def call_main(self, function: Callable[..., object], *args: Any) -> None:
        """Call on the main thread: at once from that thread, else in the main loop's next iteration.

        Raises:
            SessionError: the main loop is closed.
        """
        if self.main.is_closed():
            raise _closed()
        if self.on_main:
            function(*args)
        else:
            self.main.call_soon_threadsafe(function, *args)

    @property
    def nests(self) -> bool:
        """Whether the main loop can run inside of a cell. Only asyncio's own can, by nest-asyncio; uvloop's cannot."""
        return isinstance(self.main, asyncio.BaseEventLoop)

    @property
    def turns(self) -> bool:
        """Whether the agents' loop runs. One in a thread of its own does, but for moments."""
        return self._own is not None or self.main.is_running()

    def once_running(self, function: Callable[[], object]) -> bool:
        """Return whether the agents' loop runs. If it does not, call the function once it does.

        A kernel loads extensions and startup files before its loop runs, and may then run another one; see `follow`. A
        task that was created before would stay on a loop that nothing runs.
        """
        if self.turns:
            return True
        self._early[function] = None
        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(self._begin)
        return False

    def _begin(self) -> None:
        early, self._early = self._early, {}
        for function in early:
            function()

    async def slot(self) -> None:
        """Wait for a slot in an iteration of the loop, first come, first served; each iteration has a few.

        Without this limit, a thousand ready sessions would run in one iteration and block the notebook.
        """
        slots = self._slots
        await slots.acquire()
        self.loop.call_soon(slots.release)

    def finish(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop and return its future. Cancelling the future cancels the coroutine."""
        self.check_open()
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, block until it is done, and return its result.

        Raises:
            SessionError: this thread runs the loop, and a nested loop is possible in a notebook only.
        """
        if self.here and self._block is None:
            work.close()
            raise SessionError(
                "cannot close connections from inside this event loop. Choose the loop at the start: Runtime(loop=…)"
            )
        done = self.finish(work)
        self.wait(done, None)
        return done.result()

    def wait(
        self, done: Future[Any], timeout: float | None, what: str | None = None, calls_tool: Callable[[], bool] = bool
    ) -> None:
        """Block the calling thread until `done`. An interrupt or a timeout does not cancel the work.

        Args:
            done: the work.
            timeout: the most seconds to wait.
            what: the work, in the error if the main thread blocks what it needs; None to wait nevertheless.
            calls_tool: returns whether the work calls tools now, which may need the main thread.

        Raises:
            TimeoutError: after `timeout` seconds.
            SessionError: the loop is closed; or this thread runs it, and a nested loop is possible in a notebook only;
                or the main thread blocks what the work needs, perhaps because it waits for this thread.
        """
        if done.done():
            return
        self.check_open()
        if self.on_main and self._block is not None and self.nests:
            self._block(self.main, done, timeout)  # also for agents in a thread: their tools may need this thread
        elif self.here and self._block is not None:
            raise SessionError(
                f"a cell cannot wait on the event loop of {type(self.main).__module__}, only on asyncio's own: "
                "write `await run`, or move the agents first: %agent loop thread"
            )
        elif self.here:
            raise SessionError("result() would block the event loop that runs this agent: write `await run` instead")
        else:
            watch = partial(self._watch, what, calls_tool) if what else None
            wait_watched(done, timeout, self.stuck_s, watch)

    async def outlast(self, work: Callable[[], Awaitable[T]], what: str, calls_tool: Callable[[], bool]) -> T:
        """Await on the event loop of another thread; see `wait`. Each step calls `work` again."""
        return await await_watched(work, self.stuck_s, partial(self._watch, what, calls_tool))

    def _watch(self, what: str, calls_tool: Callable[[], bool]) -> Callable[[], None]:
        """Return a function that raises SessionError if the work needs the main loop, and that has not run since."""
        turned = self.visits.ping()
        blocked = f"cannot go on: nothing has run the main thread's event loop for {self.stuck_s:g} s"

        def check() -> None:
            if turned():
                return
            if self._own is None:
                remedy = "%agent loop thread" if self._block else 'Runtime(loop="thread")'
                raise SessionError(
                    f"{what} {blocked}, perhaps because the main thread waits for this one. The run stays as it is. "
                    f"{remedy} lets agents run while the main thread is blocked; or wait in the main thread itself"
                )
            if self.visits.pending and calls_tool():
                raise SessionError(
                    f"{what} {blocked}, perhaps because the main thread waits for this one, and a tool needs that. "
                    "The run stays as it is. Write `await run` in the main thread itself"
                )

        return check

    # On the agents' loop: timers and sockets move with it

    def later(self, delay_s: float, function: Callable[[], object]) -> Callable[[], None]:
        """Call after a delay, or at once when agents move to another loop. On the thread of the agents' loop.

        The function gets an empty context: a cell's context cannot be entered while the cell runs.

        Returns:
            A function that cancels the call. It has no effect once the function was called.
        """
        key = object()

        def due() -> None:
            del self._timers[key]
            function()

        def cancel() -> None:
            if timer := self._timers.pop(key, None):
                timer[0].cancel()

        self._timers[key] = self.loop.call_later(delay_s, due, context=contextvars.Context()), function
        return cancel

    def listen(self, end: socket.socket, function: Callable[[], object]) -> None:
        """Call whenever the socket has data to read. On the thread of the agents' loop."""
        self._readers[end] = function
        self.loop.add_reader(end, function)

    def unlisten(self, end: socket.socket) -> None:
        """Undo `listen`."""
        if self._readers.pop(end, None):
            self.loop.remove_reader(end)

    # Changing the loop

    def move(self, where: Where, leave: Callable[[], None] = lambda: None) -> None:
        """Run agents on another loop from now on. On the main thread, while no agent has a task.

        Args:
            where: the name of the loop.
            leave: called on the old loop's thread just before the change. Its exception prevents the change.

        Raises:
            SessionError: this is not the main thread.
        """
        if where == self.where:
            return
        if not self.on_main:
            raise SessionError(
                "agents can be moved to another loop only by the main thread, not by a tool or another thread"
            )
        old = self._own
        new = OwnLoop() if where == "thread" else None
        unused = new  # its thread must end even if the change fails
        try:
            self.do(self._switch, new, leave)
            unused = old
        finally:
            if unused is not None:
                unused.end()
                unused.join(JOIN_TIMEOUT_S)

    def follow(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take another loop for the main one, which does not run. On the main thread, while no agent has a task."""
        with self._lock:
            self.main = self.visits.main = loop
        if self._own is None:
            self._switch(None)
        if self._early:
            self.loop.call_soon_threadsafe(self._begin)

    async def close(self, last: Coroutine[Any, Any, None], timeout_s: float) -> None:
        """Run a last coroutine on the loop; then end the loop's thread, if it has its own.

        A loop that is blocked for longer than `timeout_s` seconds is abandoned.
        """
        if self._own is None or self.here or self._own.ended:
            await last
            return
        ended, _ = await asyncio.wait({asyncio.wrap_future(self.finish(last))}, timeout=timeout_s)
        for one in ended:
            one.result()
        await self.visits.wait_until_ended(JOIN_TIMEOUT_S)
        self.end(JOIN_TIMEOUT_S if ended else 0.0)

    def end(self, timeout_s: float = JOIN_TIMEOUT_S) -> None:
        """End the loop's thread, if it has its own, and cancel its tasks; wait at most `timeout_s` seconds for that."""
        with self._lock:  # calls accepted before this still happen; later ones are refused
            own = self._own
            if own is not None:
                own.end()
        if own is not None:
            own.join(timeout_s)

    def check_open(self) -> None:
        """Raise SessionError if the loop is closed, or this process is a fork of the one that runs it."""
        if self.forked:
            raise SessionError(
                f"this process is a fork of process {self._process}, and agents run in that one alone. Use them there, "
                "or create a Runtime here"
            )
        if self.loop.is_closed() or (self._own and self._own.ended):
            raise _closed()

    def _switch(self, own: OwnLoop | None, leave: Callable[[], None] = lambda: None) -> None:
        leave()
        loop, thread = self.main, self._main_thread
        if own:
            loop, thread = own.loop, own.thread
        with self._lock:  # calls accepted before this arrive on the old loop, which forwards them
            old, self.loop, self._thread, self._own = self.loop, loop, thread, own
            self._slots = asyncio.Semaphore(SLOTS)
        timers, self._timers = self._timers, {}
        for handle, function in timers.values():
            handle.cancel()
            loop.call_soon_threadsafe(function, context=contextvars.Context())
        for end, function in self._readers.items():
            if not old.is_closed():
                old.remove_reader(end)
            loop.call_soon_threadsafe(loop.add_reader, end, function)


def _nothing() -> None:
    """Do nothing."""


def _closed() -> SessionError:
    return SessionError("the event loop of these agents is closed. Create a new Runtime")


class Housed(Protocol):
    """An object whose methods run on the agents' loop."""

    @property
    def home(self) -> Home:
        """The Home of that loop."""


H = TypeVar("H", bound=Housed)


def at_home(method: Callable[Concatenate[H, P], T]) -> Callable[Concatenate[H, P], T]:
    """Decorate a method so that it runs on the thread of the agents' loop; see `Home.do`."""

    @functools.wraps(method)
    def call(self: H, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.home.do(method, self, *args, **kwargs)

    return call


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the event loop that is running in this thread.

    Raises:
        ConfigError: no loop is running.
    """
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigError(
            "a Runtime needs a running event loop: use `async with Runtime() as rt` inside a coroutine"
        ) from None


def checked_where(where: str) -> Where:
    """Return the name if it is a loop's. ConfigError: it is not."""
    for one in get_args(Where):
        if one == where:
            return one  # type: ignore[no-any-return]
    raise ConfigError(f"unknown loop {where!r}. Allowed: {', '.join(get_args(Where))}")
