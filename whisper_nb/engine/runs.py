"""Run: one queued prompt and its outcome. Awaitable; the handle that a magic returns; a value in later prompts."""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import AsyncGenerator, Callable, Generator, Sequence
from typing import Any, Generic

from ..config.aiconfig import UNSET, AIConfig, plain
from ..core.errors import ConfigError, RunCancelled, RunFailed, SessionError
from ..core.events import Charge, Priority, Record, RunFinished, RunQueued, RunReference
from ..core.limits import RunLimits
from ..core.messages import Image
from ..core.queues import checked_priority
from ..core.text import error_text, shortened
from ..store.observers import Observers
from ..tools.outputs import OutputType, T_co
from .projection import RunState
from .prompts import mark, prompt_text
from .streams import records_of, texts_of
from .waits import Owner, WaitedRun, waiting_run


class Run(WaitedRun, Generic[T_co]):
    """One prompt on its way through an agent. Created by `Session.submit`.

    `await run` and `run.result()` return its output and never own it: interrupting or cancelling them leaves the
    agent at work. The output of a `Run[Verdict]` is an instance of `Verdict`; by default it is the text. `str(run)` is
    its text, or `⟨bob#1 running⟩` until it has succeeded: prompts with that are refused.
    """

    __slots__ = (
        "__weakref__", "_answer", "_charge", "_config", "_context", "_observers", "_reason", "_turns", "by_tool",
        "error", "limits", "output_type", "submitted_at",
    )  # fmt: skip

    def __init__(
        self,
        session: Owner,
        number: int,
        parts: Sequence[str | Image | RunState],
        *,
        priority: Priority,
        limits: RunLimits,
        config: AIConfig,
        fresh: bool,
        output_type: OutputType | None = None,
    ) -> None:
        super().__init__(f"{session.name}#{number}", session, parts)
        self.number = self.place = number
        self.priority = priority
        self.fresh = bool(fresh)
        self.limits = limits
        """Its own limits; the agent's hold where it has none."""
        self.output_type = output_type
        """The type of its output. None: that of its agent, until the run has started; then text."""
        self.submitted_at = time.time()
        """Seconds since the epoch."""
        self.error: BaseException | None = None
        """The exception that made it fail, or that ended its event loop."""
        self.by_tool = waiting_run() is not None
        """Whether an agent's tool submitted it, and not a person."""
        self._config = config
        self._answer: Any = None  # the instance
        # The submitting cell's context: output belongs there. Dropped at the end.
        self._context: contextvars.Context | None = contextvars.copy_context()
        self._reason = ""  # why
        self._turns = 0  # model calls that were begun
        self._charge: Charge | None = None  # of a call that is in flight or failed, and that no record has yet
        self._observers: Observers[Record] | None = None

    # Its state

    @property
    def session(self) -> Owner:
        """The session that it belongs to."""
        return self._session

    @property
    def parts(self) -> tuple[str | Image | RunState, ...]:
        """The prompt: text, images, and runs whose answer will stand in their place."""
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
        """The prompt as text: images as `⟨image 1⟩`, runs by their answer, or by their id while unfinished."""
        return prompt_text(self._parts)

    @property
    def images(self) -> tuple[Image, ...]:
        """The images of the prompt."""
        return tuple(part for part in self._parts if isinstance(part, Image))

    @property
    def needs(self) -> tuple[Run[Any], ...]:
        """The runs that it depends on."""
        return tuple(part for part in self._parts if isinstance(part, Run))

    @property
    def turn(self) -> int:
        """The number of model calls that were begun; `text` belongs to the last of them."""
        return self._turns

    @property
    def output(self) -> T_co | None:
        """The instance of its output type, or its text if it has none. None until the run has succeeded."""
        if self._outcome != "succeeded":
            return None
        answer: Any = self.text if self.output_type is None else self._answer
        return answer  # type: ignore[no-any-return]

    @property
    def answer_text(self) -> str:
        """The text that stands for it in other prompts: that of a list or a number is `[1, 2]`, and not an object."""
        if self._outcome != "succeeded" or self.output_type is None:
            return self.text
        return self.output_type.bare(self.text)

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

    def __await__(self) -> Generator[Any, None, T_co]:
        return self._wait().__await__()

    async def _wait(self) -> T_co:
        if not self.done:
            if waiting_run() is None:
                self._check_await()
            with self._awaited():
                await self._end()
        return self._received_output()

    def result(self, timeout: float | None = None) -> T_co:
        """Return the output, from synchronous code: blocks the calling thread or cell, while agents go on.

        Raises:
            RunFailed, RunCancelled: as `await run` does.
            TimeoutError, KeyboardInterrupt, SessionError: as `wait` does.
        """
        self.wait(timeout)
        return self._received_output()

    def cancel(self) -> None:
        """Cancel it, queued or running. Thread-safe; no effect once it is done. Its partial text stays in `text`."""
        if not self.done:
            self._session.home.call(self._session._cancel_run, self)

    def move(self, *, priority: Priority | None = None, before: Run[Any] | None = None) -> None:
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
        that happens. Leaving the iteration early leaves the run alone. Works on any event loop. Reasoning is not part
        of the text: see `thoughts`.

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

    def _subscribe(self, listen: Callable[[Record], None]) -> tuple[tuple[Record, ...], str, Callable[[], None]]:
        """Return the stored records, the text of an incomplete reply, and a function that ends this subscription."""
        self._observers = self._observers or Observers()
        drop = self._observers.add(listen)  # first: a record that comes between the two is in both, not in neither
        text = self.text
        if self._complete:
            text = ""
        return tuple(self.events), text, drop

    def _received_output(self) -> T_co:
        self._receive()
        if self._outcome == "failed":
            raise RunFailed.of(self.error, self.id)
        if self._outcome == "cancelled":
            if self.error is not None and not isinstance(self.error, Exception | asyncio.CancelledError):
                raise self.error
            raise RunCancelled(": ".join(filter(None, (f"{self.id} was cancelled", self.failure))))
        return self.output  # type: ignore[return-value]

    # For its session

    def _as_queued(self) -> RunQueued:
        """Return the event of its acceptance."""
        parts: tuple[str | Image | RunReference, ...] = ()
        if not (len(self._parts) == 1 and isinstance(self._parts[0], str)):
            parts = tuple(RunReference(part.id) if isinstance(part, RunState) else part for part in self._parts)
        config = {} if self._config is UNSET else plain(self._config)
        prompt, since = self.prompt, self.submitted_at
        output = None if self.output_type is None else self.output_type.reference
        return RunQueued(prompt, self.priority, self.number, parts, config, self.limits, since, self.fresh, output)

    def _ended_by(self, error: BaseException | None) -> RunFinished:
        """Keep the error, if it is a failure, and return the event of its end; None means that it succeeded."""
        charge = self._charge
        if error is None:
            return RunFinished("succeeded", charge=charge)
        if self._cancelling or not isinstance(error, Exception):  # an error during cancellation is not a failure
            return RunFinished("cancelled", self._reason or None, charge)
        self.error = error
        return RunFinished("failed", error_text(error), charge)

    def _begin_call(self, reserved: float | None = None) -> None:
        """Note that a model call is sent. Until it is answered or refused, its cost is unknown.

        Args:
            reserved: US dollars that the budget has reserved for it.
        """
        self._turns += 1
        self._chunks = []
        if not (self.model or "").startswith("offline/"):
            self._charge = Charge(estimated_usd=reserved)

    def _seal(self) -> None:
        self._context = None
        super()._seal()

    def _notify(self, record: Record) -> None:
        """Notify the observers of this run."""
        if self._observers is not None:
            self._observers.notify(record)
