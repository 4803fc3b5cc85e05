"""Run: one queued prompt and its outcome. Awaitable; the handle that a magic returns; a value in later prompts."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from ..config.aiconfig import UNSET, AIConfig, plain
from ..core.errors import ConfigError, RunCancelled, RunFailed, SessionError, as_ours
from ..core.events import Charge, Priority, Record, RunFinished, RunQueued, RunReference, ToolFinished, ToolStarted
from ..core.handles import AwaitableHandle
from ..core.messages import Image
from ..core.queues import checked_priority, held_back_by, leads_to
from ..core.states import State
from ..core.text import error_text, shortened
from ..store.observers import Observers
from .home import Home
from .projection import RunState
from .prompts import mark, prompt_text
from .streams import records_of, texts_of

T = TypeVar("T")

#: The run whose task is executing: it distinguishes a blocking wait inside an agent's task from one in a cell.
current_run: contextvars.ContextVar[Run | None] = contextvars.ContextVar("whisper_nb_current_run", default=None)

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
    def current(self) -> Run | None:
        """The run in progress."""

    @property
    def queue(self) -> tuple[Run, ...]:
        """The runs that wait, in the order in which they will start."""

    @property
    def _posted(self) -> tuple[Run, ...]:
        """The submitted runs that are not in the queue yet."""

    def _cancel_run(self, run: Run) -> None:
        """Cancel one of its runs."""

    def _move_run(self, run: Run, priority: Priority, before: str | None) -> None:
        """Give one of its queued runs another position."""


class Run(AwaitableHandle, RunState):
    """One prompt on its way through an agent. Created by `Session.submit`.

    `await run` and `run.result()` return its output and never own it: interrupting or cancelling them leaves the
    agent at work. `str(run)` is its text, or `⟨bob#1 running⟩` until it has succeeded: prompts with that are refused.
    """

    __slots__ = (
        "__weakref__", "_awaiting", "_cancelling", "_charge", "_config", "_context", "_done", "_observers", "_parts",
        "_reason", "_session", "_turns", "by_tool", "error", "received", "submitted_at", "timeout_s",
    )  # fmt: skip

    def __init__(
        self,
        session: Owner,
        number: int,
        parts: Sequence[str | Image | RunState],
        *,
        priority: Priority,
        timeout_s: float | None,
        config: AIConfig,
        fresh: bool,
    ) -> None:
        super().__init__(f"{session.name}#{number}")
        self._session = session
        self.number = self.place = number
        self.priority = priority
        self.fresh = bool(fresh)
        self.timeout_s = timeout_s
        """Seconds for the whole run. None: the agent's limit applies."""
        self.submitted_at = time.time()
        """Seconds since the epoch."""
        self.error: BaseException | None = None
        """The exception that made it fail, or that ended its event loop."""
        self.received = False
        """Whether `await`, `result` or a stream has given somebody its outcome, other than an agent's tool."""
        self.by_tool = _waiter() is not None
        """Whether an agent's tool submitted it, and not a person."""
        self._parts = tuple(parts)
        self._config = config
        # The submitting cell's context: output belongs there. Dropped at the end.
        self._context: contextvars.Context | None = contextvars.copy_context()
        self._cancelling = False  # its cancellation was requested
        self._reason = ""  # why
        self._turns = 0  # model calls that were begun
        self._charge: Charge | None = None  # of a call that is in flight or failed, and that no record has yet
        self._awaiting: list[Run] = []  # runs that its task and tools await, to find deadlocks
        self._observers: Observers[Record] | None = None
        self._done: Future[None] | None = None  # see `_future`

    # Its state

    @property
    def session(self) -> Owner:
        """The session that it belongs to."""
        return self._session

    @property
    def parts(self) -> tuple[str | Image | RunState, ...]:
        """The prompt: text, images, and runs whose text will stand in their place."""
        return self._parts

    @property
    def config(self) -> AIConfig:
        """The fields of the config that this run sets."""
        return self._config

    @property
    def context(self) -> contextvars.Context | None:
        """The submitting cell's context. None once the run is done."""
        return self._context

    @property
    def prompt(self) -> str:
        """The prompt as text: images as `⟨image 1⟩`, runs by their text, or by their id while they are unfinished."""
        return prompt_text(self._parts)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of the prompt."""
        return tuple(part for part in self._parts if isinstance(part, Image))

    @property
    def needs(self) -> tuple[Run, ...]:
        """The runs that it depends on."""
        return tuple(part for part in self._parts if isinstance(part, Run))

    @property
    def ready(self) -> bool:
        """Whether every run that it depends on is done."""
        return all(part.done for part in self._parts if isinstance(part, Run))

    @property
    def turn(self) -> int:
        """The number of model calls that were begun; `text` belongs to the last of them."""
        return self._turns

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
    def seconds(self) -> float | None:
        """From its start until its end, or until now. None before the start; 0 if the clock has gone back since."""
        if self.started_at is None:
            return None
        return max(0.0, (self.finished_at or time.time()) - self.started_at)

    @property
    def awaited(self) -> bool:
        """Whether anybody has waited for it, follows it or has asked for its cancellation."""
        return self.received or self._cancelling or self._done is not None or self._observers is not None

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

    def __str__(self) -> str:
        if self._outcome == "succeeded":
            return self.text
        return mark(self.id, self.status)

    def _described(self) -> str:
        prompt = shortened(" ".join(self.prompt.split()), 48)
        return f"<Run {self.id} {self.status}: {prompt}>"

    def _instead(self) -> str:
        return f"{self!r}: it stands for work in this process. Take its text: run.text"

    # For its user

    def __await__(self) -> Generator[Any, None, str]:
        return self._wait().__await__()

    async def _wait(self) -> str:
        if not self.done:
            if _waiter() is None:
                self._check_await()
            with self._awaited():
                await self._end()
        return self._output()

    async def _elsewhere(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await on another event loop than the agents'."""
        home = self._session.home
        if home.on_main or _waiter() is not None:
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

    def result(self, timeout: float | None = None) -> str:
        """Return the output, from synchronous code: blocks the calling thread or cell, while agents go on.

        Raises:
            RunFailed, RunCancelled: as `await run` does.
            TimeoutError, KeyboardInterrupt, SessionError: as `wait` does.
        """
        self.wait(timeout)
        return self._output()

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
        if home.in_task and _waiter() is not None:
            raise SessionError(
                f"waiting inside an agent's task would block every agent: write `await run` for {self.id}"
            )
        self._check_blocked()
        with self._awaited(home.waiters if home.on_main else None):
            # An agent's tool waits as long as it takes: no cell waits for its thread.
            what = f"waiting for {self.id}" if _waiter() is None else None
            try:
                home.wait(self._future, timeout, what, self._calls_tool)
            except TimeoutError:
                raise as_ours(TimeoutError(f"{self.id} is {self.status} after {timeout} s, and goes on")) from None

    def cancel(self) -> None:
        """Cancel it, queued or running. Thread-safe; no effect once it is done. Its partial text stays in `text`."""
        if not self.done:
            self._session.home.call(self._session._cancel_run, self)

    def move(self, *, priority: Priority | None = None, before: Run | None = None) -> None:
        """Give it another priority, behind all others of it, or the position before another run of its agent.

        Raises:
            ConfigError: an unknown priority; or both arguments, or neither.
            SessionError: one of the two runs is not in the queue.
        """
        for run in (self, before or self):
            submitted = run.session is self._session and run.status == "submitted"  # soon in the queue, in this order
            if not submitted and run not in self._session.queue:
                raise SessionError(f"{run.id} is not in the queue of {self._session.name}: only queued runs are moved")
        if (priority is None) == (before is None) or before is self:
            raise ConfigError(f"{self.id}: give either its priority, or another run that it comes before")
        if before is not None:
            priority = before.priority
        self._session.home.call(self._session._move_run, self, checked_priority(priority), before and before.id)

    def stream_text(self) -> AsyncGenerator[str, None]:
        """Yield the pieces of its text: first the text so far, then new ones. `async for piece in run` does the same.

        The text of turns that call tools comes too, with an empty line between two turns. `stream` yields everything
        that happens. Leaving the iteration early leaves the run alone. Works on any event loop.

        Raises:
            RunFailed, RunCancelled, SessionError: as `await run` does, after the text.
        """
        return texts_of(self)

    def __aiter__(self) -> AsyncGenerator[str, None]:
        return texts_of(self)

    def stream(self) -> AsyncGenerator[Record, None]:
        """Yield its records: the stored ones first, then new ones, TextStreamed included, until RunFinished.

        `stream_text` yields the text alone. A failure is the last record, and is not raised. Otherwise as that.

        Raises:
            SessionError: further records would never come, as with `await run`.
        """
        return records_of(self)

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

    def _subscribe(self, listen: Callable[[Record], None]) -> tuple[tuple[Record, ...], str, Callable[[], None]]:
        """Return the stored records, the text of an incomplete reply, and a function that ends this subscription."""
        self._observers = self._observers or Observers()
        drop = self._observers.add(listen)  # first: a record that comes between the two is in both, not in neither
        text = self.text
        if self._complete:
            text = ""
        return tuple(self.events), text, drop

    def _receive(self) -> None:
        """Note that its outcome was received, unless by an agent's tool."""
        self.received = self.received or _waiter() is None

    def _check_more(self) -> None:
        """Raise SessionError if further records would never come."""
        if not self.done and _waiter() is None:
            self._check_await()

    def _output(self) -> str:
        self._receive()
        if self._outcome == "failed":
            raise RunFailed(f"{self.id} failed: {error_text(self.error)}") from self.error
        if self._outcome == "cancelled":
            if self.error is not None and not isinstance(self.error, Exception | asyncio.CancelledError):
                raise self.error
            raise RunCancelled(": ".join(filter(None, (f"{self.id} was cancelled", self.failure))))
        return self.text

    # For its session

    def _as_queued(self) -> RunQueued:
        """Return the event of its acceptance."""
        parts: tuple[str | Image | RunReference, ...] = ()
        if not (len(self._parts) == 1 and isinstance(self._parts[0], str)):
            parts = tuple(RunReference(part.id) if isinstance(part, RunState) else part for part in self._parts)
        config = {} if self._config is UNSET else plain(self._config)
        prompt, timeout_s, since = self.prompt, self.timeout_s, self.submitted_at
        return RunQueued(prompt, self.priority, self.number, parts, config, timeout_s, since, self.fresh)

    def _ended_by(self, error: BaseException | None) -> RunFinished:
        """Keep the error, if it is a failure, and return the event of its end; None means that it succeeded."""
        charge = self._charge
        if error is None:
            return RunFinished("succeeded", charge=charge)
        if self._cancelling or not isinstance(error, Exception):  # an error during cancellation is not a failure
            return RunFinished("cancelled", self._reason or None, charge)
        self.error = error
        return RunFinished("failed", error_text(error), charge)

    def _begin_call(self) -> None:
        """Note that a model call is sent. Until it is answered or refused, its cost is unknown."""
        self._turns += 1
        self._chunks = []
        if not (self.model or "").startswith("offline/"):
            self._charge = Charge()

    def _notify(self, record: Record) -> None:
        """Notify the observers of this run."""
        if self._observers is not None:
            self._observers.notify(record)

    def _seal(self) -> None:
        """Wake all waiters. The last step of a run: all observers have been notified."""
        with _ENDS:
            done, self._done = self._done, _FINISHED
        self._context = None
        if done is not None:
            done.set_result(None)

    @contextmanager
    def _awaited(self, beneath: list[Run] | None = None) -> Iterator[None]:
        """Mark the run whose task is executing, if any, as waiting for this one.

        Args:
            beneath: runs that wait on this thread already, and cannot go on before this wait ends.

        Raises:
            SessionError: this run cannot be done before one of those is.
        """
        waiter = _waiter()
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
                if leads_to(self, one, Run.waits_for):
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

    def waits_for(self) -> tuple[Run, ...]:
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


def _waiter() -> Run | None:
    # A task that a tool leaves in the background keeps the run's context after the run is done.
    run = current_run.get()
    if run is None or run.done:
        return None
    return run
