"""Journal: every event of a session on its way: stamped, stored, applied, and then given to the observers."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from ..core.events import (
    Event,
    HistoryCopied,
    HistoryReset,
    Record,
    RunFinished,
    RunStarted,
    StateChanged,
    TextStreamed,
)
from ..core.messages import Message
from ..core.states import Gate, State, Trigger, transition
from ..models.transcript import Transcript
from .fitting import Counted
from .ports import Ports
from .projection import Projection
from .runs import Run

#: An event, or the trigger of a gate, whose new state is known when its turn comes.
Posted = Event | Trigger


class Journal:
    """Publishes the events of one session, one at a time and in order, and keeps the state that follows from them.

    Everything here happens on the event loop's thread.
    """

    __slots__ = ("_gate", "_name", "_opened", "_outbox", "_ports", "_publishing", "_wake", "counted", "projection")

    def __init__(self, name: str, ports: Ports, wake: Callable[[], object]) -> None:
        self._name = name
        self._ports = ports
        self._wake = wake
        self.projection: Projection[Run] = Projection()
        """The state that the published records give."""
        self.counted: Counted | None = None
        """The tokens of the last model call that had to be counted."""
        self._outbox: deque[tuple[Posted, Run | None]] | None = None  # posted, not yet published
        self._gate: Gate | None = None  # after all posted triggers; None without any
        self._publishing: asyncio.Lock | None = None
        self._opened: asyncio.Event | None = None

    @property
    def state(self) -> State:
        """Activity and gate. A gate holds from the moment of the request, before its record is published."""
        if self._gate is None:
            return self.projection.state
        return replace(self.projection.state, gate=self._gate)

    @property
    def posted(self) -> deque[tuple[Posted, Run | None]] | tuple[()]:
        """The events that wait to be published, oldest first, each with its run."""
        return self._outbox or ()

    @property
    def history(self) -> Transcript:
        """The history. A reset holds from the moment of the request, before its record is published."""
        if self._outbox and any(type(event) is HistoryReset for event, _ in self._outbox):
            return Transcript()
        return self.projection.history

    def begin_with(self, history: Sequence[Message]) -> None:
        """Begin with a copy of another session's history, which holds at once; publish that soon."""
        self.projection.history = Transcript(history)
        self.post(HistoryCopied(tuple(history)))

    # Posting

    def post(self, event: Posted, run: Run | None = None) -> None:
        """Publish an event soon, after those posted before it."""
        self._outbox = self._outbox or deque()
        self._outbox.append((event, run))
        self._wake()

    def move_gate(self, trigger: Trigger) -> None:
        """Move the gate now, and publish that soon.

        Raises:
            SessionError: the trigger is illegal in this state.
        """
        before, after = self.state, transition(self.state, trigger)
        if after != before:
            self._gate = after.gate
            self.post(trigger)
        if self._opened is not None:
            self._opened.set()

    async def publish_posted(self) -> None:
        """Publish the posted events, in order. An entry stays in the outbox until its record is published."""
        while self._outbox:
            event, run = self._outbox[0]
            if isinstance(event, str):
                await self.shift(event)
            elif run is None or not run.done:
                await self.publish(event, run)
            self._outbox.popleft()
            if self._gate is not None and not any(isinstance(event, str) for event, _ in self._outbox):
                self._gate = None

    # Publishing

    async def publish(self, event: Event, run: Run | None) -> None:
        """Store the event, apply it, then notify the observers. One at a time, in the order of the calls.

        Nothing more is published of a run that was given up: a task that tries, although cancelled, is cancelled again.
        """
        if type(event) is TextStreamed and (self._publishing is None or not self._publishing.locked()):
            self._apply_and_notify(self._stamped(event, run), run)  # is not stored, and overtakes nothing
            return
        async with self._lock():
            await self._commit(event, run)

    async def shift(self, trigger: Trigger, run: Run | None = None) -> None:
        """Publish the state after a trigger."""
        async with self._lock():
            state = transition(self.projection.state, trigger)
            if state != self.projection.state:
                await self._commit(StateChanged(state), run)

    async def wait_open(self, run: Run) -> None:
        """Wait, before a turn of this run, while the gate is not open."""
        if self.state.is_open():
            return
        await self.shift("wait", run)
        while not self.state.is_open():
            self._opened = asyncio.Event()
            await self._opened.wait()
        await self.shift("proceed", run)

    def apply_unstored(self, event: RunFinished, run: Run) -> None:
        """Apply and publish an end that cannot be stored: the store is lost, or the event loop ends."""
        self._apply_and_notify(self._stamped(event, run), run)

    def abandon(self) -> None:
        """Apply the gates and resets that were requested, which hold already and can no longer be stored."""
        for event, _ in self.posted:
            if isinstance(event, str):
                state = transition(self.projection.state, event)
                self._apply_and_notify(self._stamped(StateChanged(state), None), None)
            elif type(event) is HistoryReset:
                self._apply_and_notify(self._stamped(event, None), None)
        self._gate = None

    def rest(self) -> None:
        """Drop what belongs to the event loop. The session has nothing to do, or was given up."""
        self._outbox = self._publishing = self._opened = self._gate = None

    def _lock(self) -> asyncio.Lock:
        self._publishing = self._publishing or asyncio.Lock()
        return self._publishing

    async def _commit(self, event: Event, run: Run | None) -> None:
        record = self._stamped(event, run)
        if type(event) is not TextStreamed:
            await self._ports.store.append(record)
            if run is not None and run.done:  # given up while a store ignored its cancellation
                raise asyncio.CancelledError
        self._apply_and_notify(record, run)

    def _stamped(self, event: Event, run: Run | None) -> Record:
        if run is not None and run.done:
            raise asyncio.CancelledError
        return Record(next(self._ports.seq), time.time(), self._name, run.id if run else None, event)

    def _apply_and_notify(self, record: Record, run: Run | None) -> None:
        event = record.event
        self.projection.apply(record, run)
        if run is None:
            self._ports.observers.notify(record)
            return
        if type(event) is RunStarted or (type(event) is RunFinished and run.started_at is None):
            self._ports.admission.leave(self._name)
        try:
            run._notify(record)
            self._ports.observers.notify(record)
        finally:  # an observer may raise the outcome of a test runner
            if run.done:
                run._seal()
