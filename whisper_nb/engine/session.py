"""Session: one agent's live state. Admits runs, executes them one at a time, and publishes what happens.

One task, the worker, owns the session while there is work: it publishes what was posted, starts the next run in a
task of its own, and ends when nothing is left, so that an idle session costs no task and no timer. Everything but
the admission in `submit` happens on the event loop's thread; calls from other threads come through `Home`.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import time
from collections.abc import Coroutine, Mapping, Sequence
from functools import partial
from typing import Any, Generic, Literal, TypedDict, TypeVar, Unpack, overload

from ..config.agents import NO_CONTINUATION, Agent, run_limits
from ..config.aiconfig import KEYWORDS, UNSET, AIConfig, reconfigured
from ..core.errors import ConfigError, RunFailed, clear_frames, sealed, sealed_with
from ..core.events import (
    AgentRevised,
    HistoryReset,
    Noticed,
    Priority,
    RunFinished,
    RunMoved,
    RunQueued,
    RunStarted,
)
from ..core.handles import Handle
from ..core.messages import Message, Spent
from ..core.queues import next_to_start
from ..core.states import State
from ..core.text import error_text
from ..models.transcript import Transcript
from ..tools.outputs import OutputType, T_co
from .execution import Execution
from .home import Home, at_home
from .journal import Journal
from .ports import Ports, Start
from .preview import Glance, Preview
from .projection import RUNS_KEPT, LedgerKey
from .prompts import Prompt, checked_parts
from .runs import Run

_log = logging.getLogger("whisper_nb")


S = TypeVar("S")


class RunOptions(TypedDict, total=False):
    """The options of `Session.submit` besides the output type, for type checkers."""

    priority: Priority
    max_turns: int | None
    max_total_tokens: int | None
    max_cost_usd: float | None
    timeout_s: float | None
    model: str | None
    config: AIConfig | Mapping[str, Any] | str | None
    fresh: bool


class Session(Handle, Generic[T_co]):
    """One agent at work. Created by `Runtime.create`. `Session[Verdict]` answers with instances of `Verdict`.

    It keeps the newest 1,000 runs and 10,000 messages of history; older ones are dropped.

    `submit`, `cancel`, `stop` and `Run.cancel` are thread-safe; everything else belongs to the event loop's thread.
    Once it was removed, every change raises SessionClosed.
    """

    __slots__ = (
        "__weakref__", "_agent", "_bell", "_configured", "_journal", "_task", "_worker", "created_at", "ports",
        "revision",
    )  # fmt: skip

    def __init__(self, agent: Agent[T_co], ports: Ports, history: Sequence[Message] = ()) -> None:
        self.created_at = time.time()
        """Seconds since the epoch."""
        self.revision = 1
        """The number of specs that it has had."""
        self._worker: asyncio.Task[None] | None = None
        """The task that owns the session while there is work."""
        self._agent = agent
        self.ports = ports  # not for its user
        self._configured = UNSET
        self._task: asyncio.Task[None] | None = None  # executes the current run
        self._bell: asyncio.Event | None = None  # wakes the worker
        self._journal = Journal(agent.name, ports, self._wake)
        if history:
            self._journal.begin_with(history)

    def __repr__(self) -> str:
        return f"<Session {self.name} {self.state.label}, {len(self.queue) + len(self._posted)} queued>"

    def _instead(self) -> str:
        return f"{self!r}: it works in this process. Take its spec: session.agent; fork(NAME) copies its history"

    # Its state

    @property
    def name(self) -> str:
        """The agent's name."""
        return self._agent.name

    @property
    def agent(self) -> Agent[Any]:
        """The agent's spec."""
        return self._agent

    @property
    def home(self) -> Home:
        """The event loop that it lives on."""
        return self.ports.home

    @property
    def state(self) -> State:
        """Its activity and its gate."""
        return self._journal.state

    @property
    def config(self) -> AIConfig:
        """The config of its next run."""
        return self.resolved()

    @property
    def configured(self) -> AIConfig:
        """The fields that `configure` has set."""
        return self._configured

    @sealed
    def resolved(self, call: AIConfig | None = None) -> AIConfig:
        """Return the config of a run that sets `call`."""
        return self.ports.resolve(self._agent, call, self._configured)

    @property
    def current(self) -> Run[Any] | None:
        """The run in progress."""
        return self._journal.projection.current

    @property
    def queue(self) -> tuple[Run[Any], ...]:
        """The runs that wait, in the order in which they will start."""
        return tuple(self._journal.projection.queue)

    @property
    @at_home
    def runs(self) -> tuple[Run[Any], ...]:
        """The newest runs, oldest first, at most 1,000."""
        known = self._journal.projection.runs
        submitted = (run for _, run in self._journal.posted if run is not None and run.id not in known)
        return tuple(dict.fromkeys([*known.values(), *submitted]))[-RUNS_KEPT:]

    @property
    def _posted(self) -> tuple[Run, ...]:
        """The submitted runs that are not in the queue yet. From any thread."""
        return tuple(run for event, run in tuple(self._journal.posted) if run is not None and type(event) is RunQueued)

    @property
    @at_home
    def unfinished(self) -> tuple[Run[Any], ...]:
        """The runs without an outcome, in the order of submission."""
        projection = self._journal.projection
        runs = {projection.current, *projection.queue, *(run for _, run in self._journal.posted)}
        return tuple(sorted((run for run in runs if run is not None and not run.done), key=lambda run: run.number))

    @property
    def spent(self) -> Spent:
        """The cost of all finished runs."""
        return self._journal.projection.spent

    @property
    def ledger(self) -> Mapping[LedgerKey, Spent]:
        """The same, by model and by day in local time."""
        return self._journal.projection.ledger

    @property
    def history(self) -> Transcript:
        """Whole turns of the finished runs, without the system prompt: a sequence of messages, at most 10,000."""
        return self._journal.history[:]

    @property
    def history_tokens(self) -> int:
        """About as many tokens as the history has, estimated from its length."""
        return self._journal.history.estimate

    @property
    def messages(self) -> tuple[Message, ...]:
        """The history and the current run's messages so far."""
        return (*self._journal.history, *self._journal.projection.draft_messages)

    # Work

    @overload
    def submit(self, prompt: Prompt, *, output_type: None = None, **options: Unpack[RunOptions]) -> Run[T_co]: ...
    @overload
    def submit(self, prompt: Prompt, *, output_type: type[S], **options: Unpack[RunOptions]) -> Run[S]: ...
    @overload
    def submit(self, prompt: Prompt, *, output_type: object, **options: Unpack[RunOptions]) -> Run[Any]: ...
    @sealed_with(KEYWORDS)
    def submit(
        self,
        prompt: Prompt,
        *,
        priority: Priority = "normal",
        max_turns: int | None = None,
        max_total_tokens: int | None = None,
        max_cost_usd: float | None = None,
        timeout_s: float | None = None,
        model: str | None = None,
        config: AIConfig | Mapping[str, Any] | str | None = None,
        fresh: bool = False,
        output_type: object = None,
    ) -> Run[Any]:
        """Give it work. Returns at once, never blocks, thread-safe.

        Args:
            prompt: text; or pieces of text, images (figures, PIL images, paths, bytes) and runs, whose outputs will
                stand there: the new run waits for them, and fails if one fails.
            priority: urgent, high, normal or low. Equal priorities run in the order of submission; the run in progress
                is never interrupted.
            max_turns: the limit of model calls; this and the next three: by default the agent's.
            max_total_tokens: the limit of tokens of all model calls, sent and received.
            max_cost_usd: the limit of the cost of all model calls, in US dollars.
            timeout_s: seconds for the whole run, from its start.
            model: the model for this run, as `provider/model`; takes precedence over that of `config`.
            config: the fields of the config that this run sets, in any form.
            fresh: whether the run gets no history, and leaves nothing in it.
            output_type: the type of the answer; by default the agent's. `str`: text. The first one imports pydantic.

        Raises:
            ConfigError: an unknown priority, an empty prompt or one with `⟨bob#1 running⟩`, a limit that is not
                positive, a bad config, an output type without a JSON Schema, or one for an agent with a continuation.
            SessionClosed: the agent was stopped or removed.
            SessionError: the queue is full.
        """
        parts = checked_parts(self.name, prompt, priority)
        limits = run_limits(max_turns, max_total_tokens, max_cost_usd, timeout_s)
        config = AIConfig.of(config, model=model)
        output = None if output_type is None else OutputType.of(output_type)
        if output is not None and not output.is_text and self._agent.continuation is not None:
            raise ConfigError(f"{self.name}: {NO_CONTINUATION}")
        self.state.check_takes_work(self.name)
        number = self.ports.admission.enter(self.name)
        run = Run(self, number, parts, priority=priority, limits=limits, config=config, fresh=fresh, output_type=output)
        self.home.call(self._accept, run)
        return run

    @sealed_with(KEYWORDS)
    def preview(
        self,
        prompt: Prompt,
        *,
        priority: Priority = "normal",
        max_turns: int | None = None,
        max_total_tokens: int | None = None,
        max_cost_usd: float | None = None,
        timeout_s: float | None = None,
        model: str | None = None,
        config: AIConfig | Mapping[str, Any] | str | None = None,
        fresh: bool = False,
        output_type: object = None,
    ) -> Coroutine[Any, Any, Preview]:
        """Return what `submit` would send with these arguments: `await bob.preview("…")`. Nothing is sent.

        It is that of this moment, and needs no key. Files that were edited meanwhile count from the next run on.

        Raises:
            ConfigError: as `submit`; or, from the await, the call could not be made.
            LengthExceeded: from the await: the prompt does not fit into the model's context.
        """
        parts = checked_parts(self.name, prompt, priority)
        run_limits(max_turns, max_total_tokens, max_cost_usd, timeout_s)
        configs = self._configured, AIConfig.of(config, model=model)
        output = None if output_type is None else OutputType.of(output_type)
        glance = self.home.do(Glance.of, self.ports, self._journal, self._agent, configs, output)
        return glance.preview(parts, fresh, len(self.unfinished))

    def cancel(self) -> None:
        """Cancel the current run and every queued one. Thread-safe."""
        self.home.call(self._cancel_all)

    def _cancel_run(self, run: Run, reason: str = "") -> None:
        """Cancel one of its runs; `Run.cancel` is the same from any thread."""
        if run.done or run._cancelling:
            return
        run._reason = reason
        if run is self.current and self._task is not None:
            run._cancelling = self._task.cancel()
        else:
            run._cancelling = True
            self._journal.post(RunFinished("cancelled", reason or None), run)

    def _move_run(self, run: Run, priority: Priority, before: str | None) -> None:
        """Give one of its queued runs another position; see `Run.move`."""
        self._journal.post(RunMoved(priority, before), run)

    @at_home
    def pause(self) -> None:
        """Start nothing more. The current run goes on to the end of its turn, then waits."""
        self.state.check_kept(self.name)
        self._journal.move_gate("pause")

    @at_home
    def resume(self) -> None:
        """Go on after pause, sleep or stop."""
        self.state.check_kept(self.name)
        self._journal.move_gate("resume")

    def stop(self, reason: str = "") -> None:
        """Cancel everything and take no more work until `resume`. Thread-safe.

        Args:
            reason: why, for the log and for the cells of its runs; empty for a stop that needs no explanation.
        """
        if self.home.where == "notebook":
            self.home.call(self._shut, "stop", reason)
        else:
            self.home.do(self._shut, "stop", reason)

    @at_home
    def remove(self) -> None:
        """Cancel everything and take no more work, for good. `Runtime.remove` also forgets the session."""
        self._shut("remove")

    @at_home
    def reset(self) -> None:
        """Forget the history, at once. A run in progress keeps its own turns."""
        self.state.check_kept(self.name)
        self._journal.post(HistoryReset())

    @sealed
    def configure(self, config: AIConfig | Mapping[str, Any] | str | None = None, **values: Any) -> None:
        """Set config above its agent's, from its next run on.

        Args:
            config: replaces what was configured before; None keeps it.
            **values: fields of AIConfig, set on top.
        """
        self.state.check_kept(self.name)
        self._configured = reconfigured(self._configured, config, values)

    def fork(self, name: str) -> Session[T_co]:
        """Create a session of the same spec under another name, with a copy of this history.

        Raises:
            ConfigError: the name is not valid, or taken.
            SessionClosed: this session was removed.
        """
        self.state.check_kept(self.name)
        session = self.ports.fork(self.name, name)
        assert isinstance(session, Session)
        return session

    @sealed
    @at_home
    def revise(self, agent: Agent[Any]) -> None:
        """Go on with another spec of the same name, history kept. The current run ends with the old one."""
        self.state.check_kept(self.name)
        if agent.name != self.name:
            raise ConfigError(f"{self.name} cannot become {agent.name}: fork it, or create {agent.name}")
        if agent != self._agent:
            self.revision += 1
            self._journal.post(AgentRevised(self.revision))
        self._agent = agent

    # Requests, on the event loop's thread

    def _accept(self, run: Run) -> None:
        for need in run.needs:
            need.on_done(partial(self._need_done, run, need))
        self._journal.post(run._as_queued(), run)
        if self.state.is_shut():  # by another thread, since the admission
            self._cancel_run(run)

    def _need_done(self, run: Run, need: Run) -> None:
        if isinstance(need.error, asyncio.CancelledError | GeneratorExit) and need.session.home is self.home:
            self._give_up(run, need.error)  # the event loop ends: there is no time for a worker
        else:
            self.home.call(self._wake)

    def _cancel_all(self, reason: str = "") -> None:
        for run in self.unfinished:
            self._cancel_run(run, reason)

    def _shut(self, trigger: Literal["stop", "remove"], reason: str = "") -> None:
        self._journal.move_gate(trigger)
        if reason:
            self._journal.post(Noticed(reason))
        self._cancel_all(reason)

    def _wake(self) -> None:
        if self._bell is not None:
            self._bell.set()
        elif (self._journal.posted or self._journal.projection.queue) and self.home.once_running(self._wake):
            self._bell = asyncio.Event()
            # Not in the context of whoever woke it: observers would print into that cell.
            self._worker = self.home.loop.create_task(
                self._work(self._bell), name=f"whisper_nb {self.name}", context=contextvars.Context()
            )

    # The worker

    async def _work(self, bell: asyncio.Event) -> None:
        try:
            while True:
                bell.clear()
                if not self.state.is_shut():  # ending work is never delayed
                    await self.home.slot()
                if not await self._advance():
                    break
                await bell.wait()
        except BaseException as error:  # the store may raise anything; no waiter may be left behind
            self._abandon(error)
            if not isinstance(error, Exception):
                raise
            _log.exception("%s lost its store; its runs have failed", self.name)
        finally:
            self._bell = self._worker = None
            self._journal.rest()  # the next event loop may be another

    async def _advance(self) -> bool:
        """Publish the posted events, and the end of the current run if it has ended; start the next run.

        Returns:
            False if no run is in progress: the worker ends, and `_wake` starts another one.
        """
        while True:
            await self._journal.publish_posted()
            if self._task is not None:
                if not self._task.done():
                    return True
                assert self.current is not None
                await self._journal.publish(self._end_of(self.current, self._task), self.current)
                self._task = None
                continue
            if not self.state.is_open():
                return False
            run = next_to_start(self._journal.projection.queue)
            if run is None:
                return False
            await self._start(run)

    async def _start(self, run: Run) -> None:
        """Claim a run and execute it in a task of its own."""
        assert run.context is not None
        try:
            start = run.context.run(self._prepared, run)
        except Exception as error:  # the user's files and tools may raise anything: it is the run's failure
            clear_frames(error)
            await self._journal.publish(run._ended_by(error), run)
            return
        for notice in start.notices:
            await self._journal.publish(Noticed(notice), run)
        until = start.continuation.until if start.continuation else ""
        await self._journal.publish(RunStarted(run.prompt, start.config.model or "", run.images, until), run)
        if run._cancelling:  # meanwhile: its end was posted
            return
        execution = Execution(self._journal, self.ports, run, start)
        # In the submitting cell's context, so that the output of tools lands in that cell.
        self._task = self.home.loop.create_task(execution.perform(), name=f"whisper_nb {run.id}", context=run.context)
        self._task.add_done_callback(lambda _: self._wake())

    def _prepared(self, run: Run) -> Start:
        start = self.ports.prepare(self.name, run.config, run.output_type)
        for need in run.needs:
            if need.status == "failed":
                raise RunFailed(f"it needs {need.id}, which failed: {error_text(need.error)}")
            if need.status != "succeeded":
                raise RunFailed(f"it needs {need.id}, which was cancelled")
        run.output_type = start.output_type
        return start

    def _end_of(self, run: Run, task: asyncio.Task[None]) -> RunFinished:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        clear_frames(error)
        return run._ended_by(error)

    def _abandon(self, error: BaseException) -> None:
        """End all runs: the event loop ends, or the store is lost, and their waiters must not wait without end."""
        if self._task is not None:
            self._task.cancel()
        self._journal.abandon()
        for run in self.unfinished:
            self._give_up(run, error)
        self._task = None

    def _give_up(self, run: Run, error: BaseException) -> None:
        """End a run with an outcome that is stored nowhere."""
        if not run.done:  # with one that it needs
            event = run._ended_by(error)
            run.error = error
            self._journal.apply_unstored(event, run)
