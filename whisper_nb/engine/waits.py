"""Waiting for a run: by `await`, in a cell, in a thread and in an agent's tool, with what can never end found first."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from ..core.errors import SessionError, as_ours
from ..core.events import Priority, ToolFinished, ToolStarted
from ..core.handles import AwaitableHandle
from ..core.messages import Image
from ..core.queues import held_back_by, leads_to
from ..core.states import State
from .home import Home
from .projection import RunState

T = TypeVar("T")

#: The run whose task is executing: it distinguishes a blocking wait inside an agent's task from one in a cell.
current_run: contextvars.ContextVar[WaitedRun | None] = contextvars.ContextVar("whisper_nb_current_run", default=None)

#: Shared by all finished runs.
_FINISHED: Future[None] = Future()
_FINISHED.set_result(None)
#: Orders the creation of a run's future, by any thread that waits, and the run's end. Reentrant: a garbage collection
#: may come in between.
_ENDS = threading.RLock()


class Owner(Protocol):
    """The session that a run belongs to, as far as the run needs it."""

    @property
    def name(self) -> str:
        """The agent's name."""

    @property
    def home(self) -> Home:
        """The event loop that the session lives on."""

    @property
    def state(self) -> State:
        """Activity and gate."""

    @property
    def current(self) -> WaitedRun | None:
        """The run in progress."""

    @property
    def queue(self) -> tuple[WaitedRun, ...]:
        """The runs that wait, in the order in which they will start."""

    @property
    def _posted(self) -> tuple[WaitedRun, ...]:
        """The submitted runs that are not in the queue yet."""

    def _cancel_run(self, run: Any) -> None:
        """Cancel one of its runs."""

    def _move_run(self, run: Any, priority: Priority, before: str | None) -> None:
        """Give one of its queued runs another position."""


class WaitedRun(AwaitableHandle, RunState):
    """A run, as far as waiting for it goes. `Run` is the only class of them."""

    __slots__ = ("_awaiting", "_cancelling", "_done", "_parts", "_session", "received")

    def __init__(self, id_: str, session: Owner, parts: Sequence[str | Image | RunState]) -> None:
        super().__init__(id_)
        self._session = session
        self._parts = tuple(parts)
        self.received = False
        """Whether `await`, `result` or a stream has given somebody its outcome, other than an agent's tool."""
        self._cancelling = False  # its cancellation was requested
        self._awaiting: list[WaitedRun] = []  # runs that its task and tools await, to find deadlocks
        self._done: Future[None] | None = None  # see `_future`

    @property
    def needs(self) -> tuple[WaitedRun, ...]:
        """The runs that it depends on."""
        raise NotImplementedError

    @property
    def ready(self) -> bool:
        """Whether every run that it depends on is done."""
        return all(part.done for part in self._parts if isinstance(part, WaitedRun))

    @property
    def status(self) -> str:  # not a Literal: jedi, which completes `ans.` in a notebook, fails on one
        """Submitted → queued → running ⇄ waiting → succeeded | failed | cancelled."""
        if self._outcome is not None:
            return self._outcome
        if self.started_at is None:
            return "submitted" if self.queued is None else "queued"
        if self._session.state.activity == "waiting":
            return "waiting"
        return "running"

    @property
    def blocked(self) -> str | None:
        """The reason why it can continue only by a person's action; None while it can end by itself."""
        if self.done or self._cancelling:
            return None
        for need in self.needs:
            if reason := need.blocked:
                return f"it needs {need.id}, and {reason}"
        gate = self._session.state.gate
        if gate in ("paused", "sleeping"):
            return f"{self._session.name} is {gate} (%agent resume {self._session.name})"
        return None

    def wait(self, timeout: float | None = None) -> None:
        """Block the calling thread or cell until it is done, with any outcome. The run goes on if the wait ends early.

        Raises:
            TimeoutError: after `timeout` seconds.
            KeyboardInterrupt: the user interrupted the cell.
            SessionError: called inside an agent's own task (write `await run` there); or the wait would never end,
                for example because its agent is paused, or because the main thread blocks the agents' event loop while
                another thread waits.
        """
        if self.done:
            return
        home = self._session.home
        if home.in_task and waiting_run() is not None:
            raise SessionError(
                f"waiting inside an agent's task would block every agent: write `await run` for {self.id}"
            )
        self._check_blocked()
        with self._awaited(home.waiters if home.on_main else None):
            # An agent's tool waits as long as it takes: no cell waits for its thread.
            what = f"waiting for {self.id}" if waiting_run() is None else None
            try:
                home.wait(self._future, timeout, what, self._calls_tool)
            except TimeoutError:
                raise as_ours(TimeoutError(f"{self.id} is {self.status} after {timeout} s, and goes on")) from None

    async def _elsewhere(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await on another event loop than the agents'."""
        home = self._session.home
        if home.on_main or waiting_run() is not None:
            return await work()
        return await home.outlast(work, f"waiting for {self.id}", self._calls_tool)

    def _calls_tool(self) -> bool:
        kinds = [type(record.event) for record in self.events]
        return kinds.count(ToolStarted) > kinds.count(ToolFinished)

    def _check_await(self) -> None:
        """Raise SessionError if `await` would never end, as far as it is known."""
        home = self._session.home
        home.check_open()
        if home.on_main and not home.turns:
            raise SessionError(
                f"waiting for {self.id} would never end: its event loop cannot run before this one ends. "
                "Write run.result() instead, or await it in a later cell"
            )
        if self.status != "running":  # it may be in its last turn
            self._check_blocked()

    def _check_blocked(self) -> None:
        """Raise SessionError if it can continue only by a person's action, and this thread may be the one to help."""
        home = self._session.home
        if (home.here or home.on_main) and (reason := self.blocked):
            raise SessionError(f"waiting for {self.id} would never end: {reason}")

    async def _end(self) -> None:
        """Wait until it is done, with any outcome. On its own event loop this needs no call between threads."""
        loop = asyncio.get_running_loop()
        home = self._session.home
        if loop is not home.loop:
            done = asyncio.wrap_future(self._future)
            await self._elsewhere(lambda: asyncio.shield(done))
            return
        end = asyncio.Event()

        def wake() -> None:
            if home.loop is loop:
                end.set()
            else:  # its agent has moved to another loop meanwhile, for example while it was paused
                loop.call_soon_threadsafe(end.set)

        self.on_done(wake)
        await end.wait()

    def on_done(self, call: Callable[[], object]) -> None:
        """Call when the outcome is final, on the thread that sets it; at once if it is final already."""
        self._future.add_done_callback(lambda _: call())

    @property
    def _future(self) -> Future[None]:
        """The future of its end. Created for the first waiter, because one has 15 objects; finished runs share one."""
        done = self._done
        if done is None:
            new: Future[None] = Future()
            new.set_running_or_notify_cancel()  # a waiter cannot cancel it: waiting never owns the work
            with _ENDS:
                done = self._done = self._done or new
        return done

    def _seal(self) -> None:
        """Wake all waiters. The last step of a run: all observers have been notified."""
        with _ENDS:
            done, self._done = self._done, _FINISHED
        if done is not None:
            done.set_result(None)

    def _receive(self) -> None:
        """Note that its outcome was received, unless by an agent's tool."""
        self.received = self.received or waiting_run() is None

    def _check_more(self) -> None:
        """Raise SessionError if further records would never come."""
        if not self.done and waiting_run() is None:
            self._check_await()

    @contextmanager
    def _awaited(self, beneath: list[WaitedRun] | None = None) -> Iterator[None]:
        """Mark the run whose task is executing, if any, as waiting for this one.

        Args:
            beneath: runs that wait on this thread already, and cannot go on before this wait ends.

        Raises:
            SessionError: this run cannot be done before one of those is.
        """
        waiter = waiting_run()
        waiting = [*((waiter,) if waiter else ()), *(beneath or ())]
        if not waiting:
            yield
            return
        for one in waiting:
            one._awaiting.append(self)
        if beneath is not None and waiter is not None:
            beneath.append(waiter)
        try:
            for one in waiting:
                if leads_to(self, one, WaitedRun.waits_for):
                    if waiter is None:
                        raise SessionError(
                            f"waiting for {self.id} would never end: a tool of {one.id} waits on this thread, and "
                            "cannot go on before this wait ends. Write `await`, or wait later"
                        )
                    raise SessionError(f"{one.id} would wait for itself: {self.id} cannot start or end before it does")
            yield
        finally:
            if beneath is not None and waiter is not None:
                beneath.pop()
            for one in waiting:
                one._awaiting.remove(self)

    def waits_for(self) -> tuple[WaitedRun, ...]:
        """Return the runs that must be done before it can be, as far as it is known."""
        if self.done:
            return ()
        current = self._session.current
        if current is self:
            return tuple(self._awaiting)
        before = held_back_by((*self._session.queue, *self._session._posted), self)
        if current is not None:
            before.append(current)
        return (*self.needs, *before)


def waiting_run() -> WaitedRun | None:
    """Return the run whose task, or tool, this code belongs to; None outside of a run."""
    # A task that a tool leaves in the background keeps the run's context after the run is done.
    run = current_run.get()
    if run is None or run.done:
        return None
    return run
