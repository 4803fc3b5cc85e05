"""Run: one queued prompt and its outcome. Awaitable; the handle that a magic returns; a value in later prompts."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..config.aiconfig import AIConfig
from ..core.bills import Bill
from ..core.errors import ConfigError, RunCancelled, RunFailed, SessionError
from ..core.events import ModelReplied, Priority, Record, RunFinished, RunStarted, TextStreamed
from ..core.messages import Finish, Image, Usage
from ..core.queues import checked_priority, held_back_by, leads_to
from ..core.states import Outcome
from ..core.text import error_text
from ..store.observers import Observers

if TYPE_CHECKING:
    from .session import Session

#: The run whose task is executing, so that a blocking wait inside an agent can be told from one in a cell.
current_run: contextvars.ContextVar[Run | None] = contextvars.ContextVar("whisper_nb_current_run", default=None)

_FINISHED: Future[None] = Future()
_FINISHED.set_result(None)


class Run:
    """One prompt on its way through an agent. Made by `Session.submit`.

    `await run` and `run.result()` give its output and never own it: interrupting or cancelling them leaves the
    agent at work. `str(run)` is its text, or its status while there is none.
    """

    __slots__ = (
        "__weakref__", "_bill", "_chunks", "_done", "_observers", "_outcome", "_session", "accepted",
        "awaiting", "cancelling", "config", "context", "error", "events", "finished_at", "id", "model",
        "number", "parts", "place", "priority", "started_at", "submitted_at", "timeout_s", "turn",
    )  # fmt: skip

    def __init__(
        self, session: Session, number: int, parts: Sequence[str | Image | Run], *,
        priority: Priority, timeout_s: float | None, config: AIConfig,
    ) -> None:  # fmt: skip
        self._session = session
        self.id = f"{session.name}#{number}"
        """`agent#number`, unique within a runtime."""
        self.number = number
        """Grows with every submission to the session, from 1."""
        self.place = number
        """Among the queued runs of its priority; see `move`."""
        self.parts = tuple(parts)
        """The prompt: text, images, and runs whose text will stand in their place."""
        self.priority = priority
        self.timeout_s = timeout_s
        self.config = config
        """What this one call sets of its config."""
        self.context: contextvars.Context | None = contextvars.copy_context()
        """Where output belongs: the cell that submitted. Let go of at the end."""
        self.accepted = self.cancelling = False  # whether its end was asked for
        self.model: str | None = None
        """The model that answers; known once the run has started."""
        self.turn = 0
        """Model calls that were begun; `text` is what the last of them said."""
        self.error: BaseException | None = None
        """Why it failed."""
        self.events: list[Record] = []
        """Everything that was stored of it, in order."""
        self.submitted_at = time.time()
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.awaiting: list[Run] = []
        """The runs that this one's task and tools await, for finding deadlocks."""
        self._chunks: list[str] = []
        self._bill = Bill()
        self._outcome: Outcome | None = None
        self._observers: Observers[Record] | None = None
        self._done: Future[None] = Future()
        # A running future cannot be cancelled by whoever waits for it: waiting never owns the work.
        self._done.set_running_or_notify_cancel()

    # What it is

    @property
    def session(self) -> Session:
        """The session that it belongs to."""
        return self._session

    @property
    def prompt(self) -> str:
        """The prompt, with the text of each run that it depends on, or that run's name while it has none.

        An image is there by its number, `⟨image 1⟩`; see `images`.
        """
        return prompt_of(self.parts)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of the prompt."""
        return tuple(part for part in self.parts if isinstance(part, Image))

    @property
    def needs(self) -> tuple[Run, ...]:
        """The runs that it depends on."""
        return tuple(part for part in self.parts if isinstance(part, Run))

    @property
    def ready(self) -> bool:
        """Whether every run that it depends on is done."""
        return all(part.done for part in self.needs)

    @property
    def status(self) -> str:  # not a Literal: jedi, which completes `ans.` in a notebook, breaks down over one
        """Where it stands: submitted → queued → running ⇄ waiting → succeeded | failed | cancelled."""
        if self._outcome is not None:
            return self._outcome
        if self.started_at is not None:
            return "waiting" if self._session.state.activity == "waiting" else "running"
        return "queued" if self.accepted else "submitted"

    @property
    def done(self) -> bool:
        """Whether its fate is final."""
        return self._outcome is not None

    @property
    def text(self) -> str:
        """The text of its last turn, as far as it has come; kept when the run fails or is cancelled."""
        return "".join(self._chunks)

    @property
    def usage(self) -> Usage | None:
        """Tokens of all its model calls; None while, or where, nobody said."""
        return self._bill.usage

    @property
    def cost(self) -> float | None:
        """US dollars; None is unknown, never zero."""
        return self._bill.cost

    @property
    def seconds(self) -> float | None:
        """From its start until its end, or until now; None before it starts."""
        return None if self.started_at is None else (self.finished_at or time.time()) - self.started_at

    def __str__(self) -> str:
        return self.text if self._outcome == "succeeded" else self.status

    def __repr__(self) -> str:
        first = " ".join(self.prompt.split())
        first = first if len(first) <= 48 else first[:47] + "…"
        return f"<Run {self.id} {self.status}: {first}>"

    # What you do with it

    def __await__(self) -> Generator[Any, None, str]:
        return self._wait().__await__()

    async def _wait(self) -> str:
        if not self.done:
            with self._awaited():
                await self._end()
        return self._output()

    async def _end(self) -> None:
        """Wait until it is done, however: on its own loop without the way that threads have to take."""
        loop = asyncio.get_running_loop()
        if loop is not self._session.home.loop:
            await asyncio.wrap_future(self._done)
            return
        end = asyncio.Event()
        home = self._session.home
        # Agents may move meanwhile, one that is paused, say.
        self.on_done(lambda: end.set() if home.loop is loop else loop.call_soon_threadsafe(end.set))
        await end.wait()

    def result(self, timeout: float | None = None) -> str:
        """The output, from sync code: blocks the calling thread or cell, while agents go on.

        Raises:
            RunFailed, RunCancelled: as `await run` does.
            TimeoutError, KeyboardInterrupt, SessionError: as `wait` does.
        """
        self.wait(timeout)
        return self._output()

    def wait(self, timeout: float | None = None) -> None:
        """Block the calling thread or cell until it is done, in any way. Never owns the work: the run goes on.

        Raises:
            TimeoutError: after `timeout` seconds.
            KeyboardInterrupt: the user interrupted the cell.
            SessionError: called inside an agent's own task (write `await run` there), or the wait would never
                end: its agent is paused, say.
        """
        if self.done:
            return
        home = self._session.home
        if home.in_task and _waiter() is not None:
            raise SessionError(
                f"waiting inside an agent's task would block every agent: write `await run` for {self.id}"
            )
        if (home.here or home.on_main) and (reason := self.blocked):  # whoever could help may be held up just here
            raise SessionError(f"waiting for {self.id} would never end: {reason}")
        with self._awaited(home.waiters if home.on_main else None):
            home.wait(self._done, timeout)

    def cancel(self) -> None:
        """End it, queued or running. Thread-safe; no effect once it is done. Its partial text stays in `text`."""
        if not self.done:
            self._session.home.call(self._session.cancel_run, self)

    def move(self, *, priority: Priority | None = None, before: Run | None = None) -> None:
        """Give it another priority, behind all others of it, or the place before another run of its agent.

        Raises:
            ConfigError: an unknown priority; or both are said, or neither.
            SessionError: one of the two is not queued (any more).
        """
        for run in (self, before or self):
            if run not in self._session.queue:
                raise SessionError(f"{run.id} is not in the queue of {self._session.name}: only what waits is moved")
        if (priority is None) == (before is None) or before is self:
            raise ConfigError(f"{self.id}: say either its priority, or which other run it comes before")
        priority = checked_priority(before.priority if before else priority)
        self._session.home.call(self._session.move_run, self, priority, before.id if before else None)

    async def stream(self) -> AsyncGenerator[Record, None]:
        """Its records as they come, what is already stored first, TextStreamed included; ends after RunFinished.

        Leaving the loop early leaves the run alone. From any loop.
        """
        queue: asyncio.Queue[Record] = asyncio.Queue()
        loop = asyncio.get_running_loop()

        def listen(record: Record) -> None:
            loop.call_soon_threadsafe(queue.put_nowait, record)

        past, drop = self._session.home.do(self._heard_by, listen)
        try:
            for record in past:
                yield record
            while not (past and isinstance(past[-1].event, RunFinished)):
                record = await queue.get()
                if past and record.seq <= past[-1].seq:
                    continue
                yield record
                if isinstance(record.event, RunFinished):
                    return
        finally:
            drop()

    @property
    def blocked(self) -> str | None:
        """Why only a person can make it go on; None while it can end by itself."""
        if self.done:
            return None
        for need in self.needs:
            if reason := need.blocked:
                return f"it needs {need.id}, and {reason}"
        gate = self._session.state.gate
        if gate in ("paused", "sleeping"):
            return f"{self._session.name} is {gate} (%agent resume {self._session.name})"
        return None

    # What its session does to it

    def observe(self, record: Record) -> None:
        """Take in a record of this run, in order, on the loop's thread."""
        if type(record.event) is not TextStreamed:
            self.events.append(record)
        match record.event:
            case TextStreamed(text):
                self._chunks.append(text)
            case RunStarted(_, model):
                self.model = model
                self.started_at = record.time
                if model.startswith("offline/"):
                    self._bill.cost = 0.0
            case ModelReplied(message, usage, cost):
                self._chunks = [message.text]
                self._bill.pay(usage, cost)
            case RunFinished(outcome):
                self._bill.close()
                self._outcome, self.finished_at, self.context = outcome, time.time(), None
            case _:
                self.accepted = True
        if self._observers is not None:
            self._observers.notify(record)

    def ended_by(self, error: BaseException | None) -> RunFinished:
        """Its fate when its task ends like this."""
        if error is None:
            return RunFinished("succeeded")
        if self.cancelling or not isinstance(error, Exception):  # what breaks while it is being closed is no failure
            return RunFinished("cancelled")
        self.error = error
        return RunFinished("failed", error_text(error))

    def seal(self) -> None:
        """Wake whoever waits for its fate: the last that happens of it, everybody has heard of it before."""
        # A future is a third of what a run costs in memory and garbage collection; the finished ones can share theirs.
        done, self._done = self._done, _FINISHED
        done.set_result(None)

    def begin_turn(self) -> None:
        """The text of the turn before gives way to that of the next."""
        self.turn += 1
        self._chunks = []
        if not (self.model or "").startswith("offline/"):
            self._bill.open()

    def call_was_free(self) -> None:
        """The model call that is out was refused, or reached nobody."""
        self._bill.spare()

    def call_was_paid(self, finish: Finish) -> None:
        """The model call that is out was answered, though its reply is not whole."""
        self._bill.pay(finish.usage, finish.cost_usd)

    def on_done(self, call: Callable[[], object]) -> None:
        """Call when its fate is final, on the thread that sealed it; at once if it is."""
        self._done.add_done_callback(lambda _: call())

    def _heard_by(self, listen: Callable[[Record], None]) -> tuple[tuple[Record, ...], Callable[[], None]]:
        """What is stored of it so far, and what takes `listen`, which hears the rest, off again."""
        self._observers = self._observers or Observers()
        return tuple(self.events), self._observers.add(listen)

    def _output(self) -> str:
        if self._outcome == "failed":
            raise RunFailed(f"{self.id} failed: {error_text(self.error)}") from self.error
        if self._outcome == "cancelled":
            raise RunCancelled(f"{self.id} was cancelled")
        return self.text

    @contextmanager
    def _awaited(self, beneath: list[Run] | None = None) -> Iterator[None]:
        """Have the run in whose task we are, if any, stand as waiting for this one.

        Args:
            beneath: the runs that wait on this thread already, and cannot go on before this wait ends.

        Raises:
            SessionError: this run cannot be done before one of those is.
        """
        waiter = _waiter()
        if waiter is None:
            yield
            return
        waiting = [waiter, *(beneath or ())]
        for one in waiting:
            one.awaiting.append(self)
        if beneath is not None:
            beneath.append(waiter)
        try:
            for one in waiting:
                if leads_to(self, one, Run._waits_for):
                    raise SessionError(f"{one.id} would wait for itself: {self.id} cannot start or end before it does")
            yield
        finally:
            if beneath is not None:
                beneath.pop()
            for one in waiting:
                one.awaiting.remove(self)

    def _waits_for(self) -> tuple[Run, ...]:
        """What must be done before it can be, as far as anybody knows."""
        if self.done:
            return ()
        if (current := self._session.current) is self:
            return tuple(self.awaiting)
        return (*self.needs, *((current,) if current else ()), *held_back_by(self._session.queue, self))


def prompt_of(parts: Sequence[str | Image | Run]) -> str:
    """The text of a prompt, as `Run.prompt`."""
    text, images = "", 0
    for part in parts:
        if isinstance(part, str):
            text += part
        elif isinstance(part, Image):
            images += 1
            text += f"{'' if text[-1:].isspace() or not text else ' '}⟨image {images}⟩"
        else:
            text += part.text if part.done else f"⟨{part.id}⟩"
    return text


def _waiter() -> Run | None:
    # What a tool leaves running in the background goes on in the run's context when that has long been done.
    run = current_run.get()
    return None if run is None or run.done else run
