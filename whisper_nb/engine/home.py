"""Where agents live: the loop, the thread that runs it, and the one door to both from other threads."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import socket
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, get_args

from ..core.errors import ConfigError, SessionError
from ..core.threads import OwnLoop, answer

P = ParamSpec("P")
T = TypeVar("T")

#: Runs a loop from inside a cell until the future is done; the notebook floor provides it (nest-asyncio).
#: Raises TimeoutError after `timeout` seconds, KeyboardInterrupt when the user interrupts; the work goes on in both.
Block = Callable[[asyncio.AbstractEventLoop, "Future[Any]", float | None], None]
#: `notebook`: the main loop, that of the notebook or script itself. `thread`: one in a thread of its own.
Where = Literal["notebook", "thread"]

#: Sessions that may take something up before the loop has turned again.
TURNS = 8
#: Seconds that a thread which is told to end may take.
PATIENCE_S = 1.0


class Home:
    """An event loop and the thread that runs it.

    Nothing above assumes which loop or thread that is: a kernel's main loop, a script's, or one in a thread, which goes
    on while the main one blocks. Agents may move from one to the other; the Home stays the same.

    Args:
        main: the loop of this thread.
        block: waits inside a cell; None where this is no notebook.
        guard: entered around what the main thread runs for an agent between cells.
    """

    __slots__ = (
        "_block", "_guard", "_guests", "_lock", "_main_thread", "_own", "_readers", "_thread", "_timers", "_turns",
        "loop", "main", "waiters",
    )  # fmt: skip

    def __init__(
        self,
        main: asyncio.AbstractEventLoop,
        block: Block | None = None,
        guard: Callable[[], AbstractContextManager[object]] = nullcontext,
    ) -> None:
        self.main = self.loop = main
        self._block = block
        self._guard = guard
        self._main_thread = self._thread = threading.get_ident()
        self._own: OwnLoop | None = None
        self._lock = threading.RLock()  # between a move, and those who call from other threads
        self._turns = asyncio.Semaphore(TURNS)
        self._timers: dict[object, tuple[asyncio.TimerHandle, Callable[[], object]]] = {}
        self._readers: dict[socket.socket, Callable[[], object]] = {}
        self._guests: set[asyncio.Task[Any]] = set()  # on the main loop, for agents that live in a thread
        self.waiters: list[Any] = []
        """The runs for which the main thread waits, each within the wait before it: the inner ends first."""

    @property
    def where(self) -> Where:
        """Which loop this is."""
        return "thread" if self._own else "notebook"

    @property
    def here(self) -> bool:
        """Whether the caller is on the loop's thread."""
        return threading.get_ident() == self._thread

    @property
    def on_main(self) -> bool:
        """Whether the caller is on the main loop's thread."""
        return threading.get_ident() == self._main_thread

    @property
    def in_task(self) -> bool:
        """Whether the caller is on a loop that agents need, in the middle of what it does for one of them."""
        return self.here or (self.on_main and asyncio.current_task(self.main) in self._guests)

    @property
    def visits_main(self) -> bool:
        """Whether what touches a notebook's variables has to go elsewhere for it: to the main thread, between cells."""
        return self._own is not None and self._block is not None

    # The door

    def call(self, function: Callable[..., object], *args: Any) -> None:
        """Call on the loop's thread: at once if that is this one, else as soon as the loop turns.

        Raises:
            SessionError: the loop is closed, so nothing can reach its agents any more.
        """
        if self.here:
            self._check_open()
            function(*args)
            return
        with self._lock:
            self._check_open()
            self.loop.call_soon_threadsafe(self._arrive, function, *args)

    def _arrive(self, function: Callable[..., object], *args: Any) -> None:
        if self.here:
            function(*args)  # also where the loop was told to end meanwhile: it was let in before
        else:
            self.call(function, *args)  # agents have moved meanwhile

    def do(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> T:
        """Call on the loop's thread, in the caller's context, and return or raise what the function does.

        Only a loop in a thread of its own is waited for: nothing on it waits for another thread, while the main loop
        may be blocked, by a cell that waits for just this caller, say. What changes agents that live there belongs to
        its thread, and is done at once, wherever it is asked for. So is what a closed loop can no longer do.
        """
        if self.here or self._own is None or self._own.ended:
            return function(*args, **kwargs)
        return self._asked(function, *args, **kwargs).result()

    def do_within(self, patience_s: float, function: Callable[[], object]) -> None:
        """As `do`, but wait so many seconds at most: what the loop is too busy for happens later."""
        if self.here or self._own is None or self._own.ended:
            function()
            return
        with suppress(FutureTimeout):
            self._asked(function).result(patience_s)

    def _asked(self, function: Callable[..., T], *args: Any, **kwargs: Any) -> Future[T]:
        done: Future[T] = Future()
        context = contextvars.copy_context()
        self.call(lambda: answer(done, context.run, function, *args, **kwargs))
        return done

    def call_main(self, function: Callable[..., object], *args: Any) -> None:
        """Call on the main loop's thread: at once if that is this one, else as soon as the main loop turns.

        Raises:
            SessionError: the main loop is closed.
        """
        if self.main.is_closed():
            raise _closed()
        if self.on_main:
            function(*args)
        else:
            self.main.call_soon_threadsafe(function, *args)

    async def turn(self) -> None:
        """Wait for a turn on the loop: a few sessions at a time, first come, first served.

        What is ready at once runs at once, before anything else: a thousand sessions would hold up the notebook.
        """
        turns = self._turns
        await turns.acquire()
        self.loop.call_soon(turns.release)

    def finish(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Run a coroutine on the loop; what it gives.

        Whoever is given the future owns the work: cancelling it ends that.
        """
        self._check_open()
        return asyncio.run_coroutine_threadsafe(work, self.loop)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop, and wait for it here; what it gives.

        Raises:
            SessionError: this thread runs the loop, and nothing here can run it from inside.
        """
        if self.here and self._block is None:
            work.close()
            raise SessionError("this cannot wait here for what is open on this loop: say Runtime(loop=…) at the start")
        done = self.finish(work)
        self.wait(done, None)
        return done.result()

    def wait(self, done: Future[Any], timeout: float | None) -> None:
        """Block the calling thread until `done`. Interrupting or timing out leaves the work alone.

        Raises:
            TimeoutError: after `timeout` seconds.
            SessionError: this thread runs the loop, and nothing here can run it from inside; or the loop is closed.
        """
        if done.done():
            return
        self._check_open()
        if self.on_main and self._block is not None:
            self._block(self.main, done, timeout)  # also for agents elsewhere: their tools may need this thread
        elif self.here:
            raise SessionError("result() would block the loop that runs this agent: write `await run` instead")
        else:
            try:
                done.exception(timeout)
            except FutureTimeout:
                raise TimeoutError from None

    # On the loop, wherever that is

    def later(self, delay_s: float, function: Callable[[], object]) -> asyncio.TimerHandle:
        """Call in a while, or at once when agents move. On the loop's thread.

        In a context of its own: that of a cell is busy as long as the cell is.
        """
        place = object()

        def due() -> None:
            del self._timers[place]
            function()

        handle = self.loop.call_later(delay_s, due, context=contextvars.Context())
        self._timers[place] = handle, function
        return handle

    def listen(self, end: socket.socket, function: Callable[[], object]) -> None:
        """Call whenever there is something to read. On the loop's thread."""
        self._readers[end] = function
        self.loop.add_reader(end, function)

    def unlisten(self, end: socket.socket) -> None:
        """Do so no more."""
        if self._readers.pop(end, None):
            self.loop.remove_reader(end)

    # On the main loop, for an agent that lives in a thread

    async def ask_main(self, function: Callable[..., T], *args: Any) -> T:
        """Call on the main thread, between cells, in this context; what the function gives.

        Cancelling ends the wait at once. What has not begun by then never does; what has goes on to its end, unawaited.
        """
        done: Future[T] = Future()

        def begin() -> None:
            if done.set_running_or_notify_cancel():
                answer(done, self._guarded, function, *args)

        self.main.call_soon_threadsafe(begin)
        return await asyncio.wrap_future(done)

    async def await_main(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the main loop, in this context; what it gives.

        Cancelling ends the wait at once, and cancels the work; what has not begun by then never does.
        """
        wanted = threading.Event()
        wanted.set()
        try:
            done = asyncio.run_coroutine_threadsafe(self._host(work, wanted), self.main)
            value, error = await asyncio.wrap_future(done)
        except asyncio.CancelledError:
            wanted.clear()
            raise
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    def _guarded(self, function: Callable[..., T], *args: Any) -> T:
        with self._guard():
            return function(*args)

    async def _host(
        self, work: Coroutine[Any, Any, T], wanted: threading.Event
    ) -> tuple[T | None, BaseException | None]:
        task = asyncio.current_task()
        assert task is not None
        self._guests.add(task)
        task.add_done_callback(self._guests.discard)
        try:
            if not wanted.is_set():
                work.close()
                return None, None
            return await work, None
        except (KeyboardInterrupt, SystemExit, GeneratorExit) as error:  # it would end the loop of the notebook
            return None, error

    # Moving

    def move(self, where: Where, leave: Callable[[], None] = lambda: None) -> None:
        """Have agents live there from now on. On the main thread, and while nothing runs where they are.

        Args:
            where: which loop.
            leave: called on the old loop's thread at the last moment; what it raises keeps them there.

        Raises:
            SessionError: this is not the main thread.
        """
        if where == self.where:
            return
        if not self.on_main:
            raise SessionError("only the main thread moves agents to another loop, not a tool or another thread")
        old, new = self._own, OwnLoop() if where == "thread" else None
        try:
            self.do(self._change, new, leave)
        except BaseException:
            old = new
            raise
        finally:
            if old is not None:
                old.end()
                old.join(PATIENCE_S)

    async def close(self, last: Coroutine[Any, Any, None], patience_s: float) -> None:
        """Run what is the last on the loop; then end the thread, if there is one.

        A loop that something blocks longer than that many seconds is left alone.
        """
        if self._own is None or self.here or self._own.ended:
            await last
            return
        ended, _ = await asyncio.wait({asyncio.wrap_future(self.finish(last))}, timeout=patience_s)
        for one in ended:
            one.result()
        await asyncio.sleep(0)  # what was cancelled on the main loop before it began ends with its first step
        await asyncio.sleep(0)
        if self._guests:
            await asyncio.wait(self._guests, timeout=PATIENCE_S)
        self.end(PATIENCE_S if ended else 0.0)

    def end(self, patience_s: float = PATIENCE_S) -> None:
        """End the thread, if there is one, and whatever is left on its loop; wait so many seconds for that at most."""
        with self._lock:  # what was called before still happens, and nothing more is
            own = self._own
            if own is not None:
                own.end()
        if own is not None:
            own.join(patience_s)

    def _check_open(self) -> None:
        if self.loop.is_closed() or (self._own and self._own.ended):
            raise _closed()

    def _change(self, own: OwnLoop | None, leave: Callable[[], None]) -> None:
        leave()
        loop, thread = (own.loop, own.thread) if own else (self.main, self._main_thread)
        with self._lock:  # what was called before arrives on the old loop, and is sent on from there
            old, self.loop, self._thread, self._own = self.loop, loop, thread, own
            self._turns = asyncio.Semaphore(TURNS)
        timers, self._timers = self._timers, {}
        for handle, function in timers.values():
            if not handle.cancelled():
                handle.cancel()
                loop.call_soon_threadsafe(function, context=contextvars.Context())
        for end, function in self._readers.items():
            old.remove_reader(end)
            loop.call_soon_threadsafe(loop.add_reader, end, function)


def _closed() -> SessionError:
    return SessionError("the loop of these agents is closed; make a new Runtime")


class Housed(Protocol):
    """What lives somewhere."""

    @property
    def home(self) -> Home:
        """Where."""


H = TypeVar("H", bound=Housed)


def at_home(method: Callable[Concatenate[H, P], T]) -> Callable[Concatenate[H, P], T]:
    """Have a method always run on the thread of the loop where its object lives; see `Home.do`."""

    @functools.wraps(method)
    def call(self: H, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.home.do(method, self, *args, **kwargs)

    return call


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


def checked_where(where: str) -> Where:
    """The loop of that name. ConfigError: there is none."""
    for one in get_args(Where):
        if one == where:
            return one  # type: ignore[no-any-return]
    raise ConfigError(f"unknown loop {where!r}; allowed are {' and '.join(get_args(Where))}")
