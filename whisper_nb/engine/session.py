"""Session: one agent's live state. Takes runs in, one at a time through its agent, and publishes what happens.

One task, the worker, owns the session while there is work: it stores what was posted, starts the next run in a
task of its own, and ends when nothing is left, so that an idle session costs no task and no timer. Everything but
the admission in `submit` happens on the loop's thread; what other threads ask for comes through `Home`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from bisect import insort
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ..config.agents import Agent
from ..config.aiconfig import UNSET, AIConfig
from ..core import events
from ..core.errors import ConfigError, clear_frames, sealed
from ..core.events import Event, Priority, Record
from ..core.messages import Image, Message, Spent, UserMessage, without_reasoning
from ..core.queues import move, next_to_start, start_order
from ..core.states import State, Trigger, transition
from ..core.turns import close_turn, in_call_order
from .execution import execute
from .home import Home, at_home
from .ports import Ports, checked_parts
from .runs import Run

RUNS_KEPT = 1000
_log = logging.getLogger("whisper_nb")


class Session:
    """One agent at work. Made by `Runtime.create`.

    Thread-safe are `submit`, `cancel`, `stop` and `Run.cancel`; everything else belongs to the loop's thread.
    Once it was removed, what would change it raises SessionClosed.
    """

    __slots__ = (
        "__weakref__", "_bell", "_draft", "_history", "_opened", "_order", "_outbox",
        "_queue", "_runs", "_task", "agent", "configured", "created_at", "current", "ports", "revision", "spent", "state", "worker",
    )  # fmt: skip

    def __init__(self, agent: Agent, ports: Ports, history: Sequence[Message] = ()) -> None:
        self.agent = agent
        self.ports = ports
        self.configured = UNSET  # by `configure`
        self.revision = 1  # how many specs it has had
        self.state = State()
        self.created_at = time.time()
        self.spent = Spent()
        """What the runs that have ended cost together."""
        self.current: Run | None = None
        """The run that is being worked on."""
        self._history = tuple(history)
        self._draft: list[Message] = []  # the current run's messages, until it ends
        self._queue: list[Run] = []  # sorted by start_order
        self._runs: deque[Run] | None = None
        self._outbox: deque[tuple[Event, Run | None]] | None = None  # posted, not yet stored
        self._order: asyncio.Lock | None = None
        self.worker: asyncio.Task[None] | None = None  # while there is work
        self._task: asyncio.Task[None] | None = None
        self._bell: asyncio.Event | None = None
        self._opened: asyncio.Event | None = None

    def __repr__(self) -> str:
        return f"<Session {self.name} {self.state.label}, {len(self._queue)} queued>"

    @property
    def name(self) -> str:
        """The agent's name."""
        return self.agent.name

    @property
    def home(self) -> Home:
        """Where it lives."""
        return self.ports.home

    @property
    def config(self) -> AIConfig:
        """The config of its next run."""
        return self.resolved()

    def resolved(self, call: AIConfig | None = None) -> AIConfig:
        """The config of a run that sets `call`."""
        return self.ports.resolve(self.agent, call, self.configured)

    @property
    def queue(self) -> tuple[Run, ...]:
        """The runs that wait, in the order of starting."""
        return tuple(self._queue)

    @property
    @at_home
    def runs(self) -> tuple[Run, ...]:
        """The newest runs, oldest first, 1,000 at most."""
        return tuple(self._runs or ())

    @property
    @at_home
    def unfinished(self) -> tuple[Run, ...]:
        """The runs whose fate is open, in the order of submission."""
        runs = {self.current, *self._queue, *(run for _, run in self._outbox or ())}
        return tuple(sorted((run for run in runs if run is not None and not run.done), key=lambda run: run.number))

    @property
    def history(self) -> tuple[Message, ...]:
        """The whole turns of the runs that have ended, without the system prompt."""
        return self._history

    @property
    def messages(self) -> tuple[Message, ...]:
        """The history and, after it, the current run's messages so far."""
        return (*self._history, *in_call_order(self._draft))

    # Work

    @sealed
    def submit(
        self,
        prompt: str | Run | Image | Sequence[object],
        *,
        priority: Priority = "normal",
        timeout_s: float | None = None,
        config: AIConfig | Mapping[str, Any] | str | None = None,
    ) -> Run:
        """Give it work. Returns at once, never blocks, thread-safe.

        Args:
            prompt: text; or pieces of text, images (figures, PIL images, paths, bytes) and runs, whose outputs will stand
                there: it waits for them, and fails if one does.
            priority: urgent, high, normal or low. First in, first out among equals; none overtakes the running one.
            timeout_s: seconds for the whole run, from its start; by default the agent's.
            config: what this one run sets of its config, in any form.

        Raises:
            ConfigError: an unknown priority, an empty prompt, a timeout that is not positive or a bad config.
            SessionClosed: it was stopped or removed.
            SessionError: as many runs wait already as may.
        """
        parts, config = checked_parts(prompt, priority, timeout_s), AIConfig.of(config)
        self.state.check_takes_work(self.name)
        number = self.ports.admission.enter(self.name)
        run = Run(self, number, parts, priority=priority, timeout_s=timeout_s, config=config)
        self.home.call(self._accept, run)
        return run

    def cancel(self) -> None:
        """Cancel the current run and every queued one. Thread-safe."""
        self.home.call(self._cancel_all)

    def cancel_run(self, run: Run) -> None:
        """Cancel one of its runs; `Run.cancel` is the same from any thread."""
        if run.done or run.cancelling:
            return
        if run is self.current and self._task is not None:
            run.cancelling = self._task.cancel()
        else:
            run.cancelling = True
            self.post(events.RunFinished("cancelled"), run)

    def move_run(self, run: Run, priority: Priority, before: str | None) -> None:
        """Give one of its runs another place in the queue; see `Run.move`."""
        self.post(events.RunMoved(priority, before), run)

    @at_home
    def pause(self) -> None:
        """Start nothing more. The current run goes on to the end of its turn, then waits."""
        self.state.check_kept(self.name)
        self._move("pause")

    @at_home
    def resume(self) -> None:
        """Go on after pause, sleep or stop."""
        self.state.check_kept(self.name)
        self._move("resume")

    def stop(self) -> None:
        """Cancel everything and take no more work until `resume`. Thread-safe."""
        (self.home.call if self.home.where == "notebook" else self.home.do)(self._stop)

    @at_home
    def reset(self) -> None:
        """Forget the history, at once. A run in progress keeps its own turns."""
        self.state.check_kept(self.name)
        self._history = ()
        self.post(events.HistoryReset())

    @sealed
    def configure(self, config: AIConfig | Mapping[str, Any] | str | None = None, **values: Any) -> None:
        """Set config above its agent's, from its next run on: `config` in place of what was set before, `values` on top of it."""
        self.state.check_kept(self.name)
        self.configured = AIConfig.of(self.configured if config is None else config, **values)

    def fork(self, name: str) -> Session:
        """A new session, of the same spec under another name (ConfigError: bad or taken), with a copy of this history."""
        return self.ports.fork(self, name)

    @at_home
    def revise(self, agent: Agent) -> None:
        """Go on with another spec of the same name, history kept; the current run ends with the old one."""
        self.state.check_kept(self.name)
        if agent.name != self.name:
            raise ConfigError(f"{self.name} cannot become {agent.name}: fork it, or create {agent.name}")
        if agent != self.agent:
            self.revision += 1
            self.post(events.AgentRevised(self.revision))
        self.agent = agent

    # For the task that executes a run

    async def publish(self, event: Event, run: Run | None) -> None:
        """Store the event, then let it take effect, then tell the observers: one at a time, in order.

        Of a run that was given up while something of it did not let itself be cancelled, nothing is published any
        more: whoever tries is cancelled again.
        """
        self._order = self._order or asyncio.Lock()
        if type(event) is events.TextStreamed and not self._order.locked():  # is not stored, and overtakes nothing
            self._apply(self._stamped(event, run), run)
            return
        async with self._order:
            if isinstance(event, events.StateChanged):  # its gate moved when it was posted; it may wait by now
                event = events.StateChanged(replace(event.state, activity=self.state.activity))
            record = self._stamped(event, run)
            if not isinstance(event, events.TextStreamed):
                await self.ports.store.append(record)
            self._apply(record, run)

    def _stamped(self, event: Event, run: Run | None) -> Record:
        if run is not None and run.done:
            raise asyncio.CancelledError
        return Record(next(self.ports.seq), time.time(), self.name, run.id if run else None, event)

    async def shift(self, trigger: Trigger, run: Run) -> None:
        """Move the axis of activity, between running and waiting."""
        self.state = transition(self.state, trigger)
        await self.publish(events.StateChanged(self.state), run)

    async def hold(self, run: Run) -> None:
        """Wait, before a turn, while the gate is not open."""
        if self.state.is_open():
            return
        await self.shift("wait", run)
        while not self.state.is_open():
            self._opened = asyncio.Event()
            await self._opened.wait()
        await self.shift("proceed", run)

    # On the loop's thread: what was asked

    def _accept(self, run: Run) -> None:
        self._runs = self._runs or deque(maxlen=RUNS_KEPT)
        self._runs.append(run)
        for need in run.needs:
            need.on_done(partial(self._need_done, run, need))
        self.post(events.RunQueued(run.prompt, run.priority), run)
        if self.state.is_shut():  # by another thread, since the admission
            self.cancel_run(run)

    def _need_done(self, run: Run, need: Run) -> None:
        if need.error is not None and not isinstance(need.error, Exception) and need.session.home is self.home:
            self._give_up(run, need.error)  # the loop goes down: there is no time for a worker
        else:
            self.home.call(self._wake)

    def _cancel_all(self) -> None:
        for run in self.unfinished:
            self.cancel_run(run)

    def _stop(self) -> None:
        self._move("stop")
        self._cancel_all()

    def _move(self, trigger: Trigger) -> None:
        before, self.state = self.state, transition(self.state, trigger)
        if self.state != before:
            self.post(events.StateChanged(self.state))
        if self._opened is not None:
            self._opened.set()

    def post(self, event: Event, run: Run | None = None) -> None:
        """Have the worker publish an event, in the order of posting."""
        self._outbox = self._outbox or deque()
        self._outbox.append((event, run))
        self._wake()

    def _wake(self) -> None:
        if self._bell is not None:
            self._bell.set()
        elif self._outbox or self._queue:
            self._bell = asyncio.Event()
            self.worker = self.home.loop.create_task(self._work(self._bell), name=f"whisper_nb {self.name}")

    # The worker

    async def _work(self, bell: asyncio.Event) -> None:
        try:
            going = True
            while going:
                bell.clear()
                if not self.state.is_shut():  # to end work is never put off
                    await self.home.turn()
                going = await self._advance() and await bell.wait()
        except BaseException as error:
            self._abandon(error)
            if not isinstance(error, Exception):
                raise
            _log.exception("%s lost its store; its runs have failed", self.name)
        finally:
            self._bell = self.worker = self._outbox = self._order = self._opened = None  # the next loop may be another

    async def _advance(self) -> bool:
        """Publish what was posted, reap what ended, start what is next. False when nothing is left to wait for."""
        while True:
            while self._outbox:
                event, run = self._outbox[0]  # and there it stays for whoever cancels or gives up meanwhile
                if run is None or not run.done:
                    await self.publish(event, run)
                self._outbox.popleft()
            if self._task is None:
                run = next_to_start(self._queue) if self.state.is_open() else None
                if run is not None:
                    self._start(run)
                return run is not None
            if not self._task.done():
                return True
            await self.publish(self._reap(self._task), self.current)

    def _start(self, run: Run) -> None:
        self._queue.remove(run)
        self.ports.admission.leave(self.name)
        self.current = run
        self.state = transition(self.state, "start")
        # In the submitting cell's context, so that what a tool prints lands in that cell.
        self._task = self.home.loop.create_task(execute(self, run), name=f"whisper_nb {run.id}", context=run.context)
        self._task.add_done_callback(lambda _: self._wake())

    def _reap(self, task: asyncio.Task[None]) -> events.RunFinished:
        assert self.current is not None
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        clear_frames(error)
        return self.current.ended_by(error)

    def _apply(self, record: Record, run: Run | None) -> None:
        """What an event changes, once it is stored. Replaying the events of a session gives its state again."""
        match record.event, run:
            case events.TextStreamed(), _:
                pass  # first, for there are most of them
            case events.RunQueued(), Run():
                insort(self._queue, run, key=start_order)
            case events.RunMoved(priority, before), Run() if run in self._queue:  # it may have started meanwhile
                move(self._queue, run, priority, before)
            case events.RunStarted(prompt, _, images), _:
                self._draft = [UserMessage(prompt, images)]
            case ((events.ModelReplied(message) | events.ToolFinished(message)), _):
                self._draft.append(message)
            case events.HistoryReset(), _:
                self._history = ()
            case events.RunFinished(), Run():
                self._let_go(run)
        if run is not None:
            run.observe(record)
            if run.done:  # one that never began cost nothing
                self.spent = self.spent.plus(run.usage, 0.0 if run.started_at is None else run.cost)
        try:
            self.ports.observers.notify(record)
        finally:  # an observer may raise the outcome of a test runner
            if run is not None and run.done:
                run.seal()

    def _let_go(self, run: Run) -> None:
        if run is self.current:
            self._history += tuple(map(without_reasoning, close_turn(self._draft)))
            self._draft = []
            self.state = transition(self.state, "finish")
            self.current = self._task = None
        else:
            self.ports.admission.leave(self.name)
            if run in self._queue:
                self._queue.remove(run)

    def _abandon(self, error: BaseException) -> None:
        """The loop goes down, or the store is lost: nobody may wait for these runs in vain."""
        if self._task is not None:
            self._task.cancel()
        for run in self.unfinished:
            self._give_up(run, error)

    def _give_up(self, run: Run, error: BaseException) -> None:
        """Seal a fate that is stored nowhere, and tell it all the same."""
        if not run.done:  # with one that it needs
            end = run.ended_by(error)
            run.error = error
            self._apply(Record(next(self.ports.seq), time.time(), self.name, run.id, end), run)
