"""Projection: the state of one session, folded from its records.

The fold is pure: the same records give the same state, in a live session, after a restart and in a second kernel.
"""

from __future__ import annotations

import time
from bisect import insort
from collections.abc import Iterable
from datetime import date
from typing import Generic, TypeVar

from ..core.continuing import without_mark
from ..core.costs import CostSum
from ..core.events import (
    CallRetried,
    Charge,
    Event,
    HistoryCopied,
    HistoryReset,
    ModelReplied,
    Priority,
    Record,
    RunContinued,
    RunFinished,
    RunMoved,
    RunQueued,
    RunStarted,
    StateChanged,
    TextStreamed,
    ToolFinished,
)
from ..core.messages import AssistantMessage, Message, Spent, Usage, UserMessage, replace, without_reasoning
from ..core.queues import move, start_order
from ..core.states import Outcome, State, transition
from ..core.turns import close_turn, in_call_order
from ..models.transcript import Transcript

#: Finished runs that a session keeps; the oldest are dropped first.
RUNS_KEPT = 1000
#: Messages that a session's history keeps. When there are more, the oldest exchanges are dropped, a tenth at a time.
HISTORY_KEPT = 10_000


#: A model, empty for runs that never started; and a day in local time, as `2026-11-30`.
LedgerKey = tuple[str, str]


class RunState:
    """One run, as its records describe it."""

    __slots__ = (
        "_chunks", "_complete", "_cost", "_outcome", "_thinking", "_until", "events", "failure", "finished_at",
        "fresh", "id", "model", "number", "place", "priority", "queued", "started_at",
    )  # fmt: skip

    def __init__(self, id_: str) -> None:
        self.id = id_
        """`agent#number`, unique within a runtime."""
        self.queued: RunQueued | None = None
        """The record of its acceptance. None until the store has it."""
        self.number = 0
        """Grows with each submission to the session, from 1."""
        self.place = 0
        """The position among queued runs of its priority; see `Run.move`."""
        self.priority: Priority = "normal"
        self.fresh = False
        """Whether it gets no history, and leaves nothing in it."""
        self.model: str | None = None
        """The model that answers. Known once the run has started."""
        self.started_at: float | None = None
        self.finished_at: float | None = None
        self.failure: str | None = None
        """The error message of a failed run."""
        self.events: list[Record] = []
        """All stored records of this run, in order."""
        self._chunks: list[str] = []
        self._complete = False  # the chunks are a complete reply
        self._thinking = ""  # the reasoning of an incomplete reply
        self._until = ""  # says that the agent's work is done; see `RunStarted`
        self._cost = CostSum()
        self._outcome: Outcome | None = None

    @property
    def ready(self) -> bool:
        """Whether every run that this one depends on is done. Known for live runs alone."""
        return True

    @property
    def done(self) -> bool:
        """Whether the run has an outcome."""
        return self._outcome is not None

    @property
    def outcome(self) -> str | None:  # not a Literal: jedi, which completes `ans.` in a notebook, fails on one
        """succeeded, failed or cancelled; None while the run is not done."""
        return self._outcome

    @property
    def text(self) -> str:
        """The text of the last turn, as far as it has arrived. Kept when the run fails or is cancelled.

        Once it succeeded, without the line that says that an agent which goes on by itself is done; if that line is all
        of the last reply, it is the text of the reply before.
        """
        text = "".join(self._chunks)
        if self._until and self._outcome == "succeeded":
            return without_mark(text, self._until) or self._text_before
        return text

    @property
    def answer_text(self) -> str:
        """The text that stands for it in other prompts."""
        return self.text

    @property
    def _text_before(self) -> str:
        """The last text in which the run answered, apart from a line that says that it is done."""
        replies = [record.event.message for record in self.events if isinstance(record.event, ModelReplied)]
        texts = (without_mark(reply.text, self._until) for reply in reversed(replies) if not reply.tool_calls)
        return next(filter(None, texts), "")

    @property
    def thinking(self) -> str:
        """The reasoning of the reply in progress, as far as it has arrived."""
        return self._thinking

    @property
    def thoughts(self) -> str:
        """The reasoning of all its turns, as far as it has arrived, with an empty line between two.

        Of each turn the first 8,000 characters. It is for people: no model gets it.
        """
        turns = [record.event.thoughts for record in self.events if isinstance(record.event, ModelReplied)]
        return "\n\n".join(filter(None, [*turns, self._thinking]))

    @property
    def usage(self) -> Usage | None:
        """Tokens of all its model calls. None: unknown."""
        return self._cost.usage

    @property
    def cost(self) -> float | None:
        """US dollars. None: unknown, never zero."""
        return self._cost.cost

    @property
    def spent(self) -> Spent:
        """Its usage and cost, as a part of a sum; so far, if it is running."""
        spent = self.added_to(Spent())
        return spent if self.done else replace(spent, runs=0, at_work=1)

    def added_to(self, spent: Spent) -> Spent:
        """Return a sum with its usage and cost, as those of a finished run."""
        if self.done and self.started_at is None:  # a run that never started cost nothing
            return spent.plus(Usage(), 0.0)
        return spent.plus(self._cost.usage, self._cost.cost, self._cost.estimated)

    def _apply(self, record: Record) -> None:
        """Fold one record of this run."""
        event = record.event
        if type(event) is TextStreamed:
            if event.channel == "analysis":
                self._thinking += event.text
                return
            self._chunks.append(event.text)
            self._complete = False
            return
        self.events.append(record)
        match event:
            case RunQueued(_, priority, number):
                self.queued = event
                self.priority = priority
                self.fresh = event.fresh
                self.number = self.place = number
            case RunStarted(_, model, until=until):
                self.model = model
                self._until = until
                self.started_at = record.time
                if model.startswith("offline/"):
                    self._cost.cost = 0.0
            case ModelReplied(message, usage, cost, estimated_usd=estimated):
                self._chunks = [message.text]
                self._complete = True
                self._thinking = ""
                self._cost.add(usage, cost, estimated)
            case CallRetried(charge=Charge(usage, cost, estimated)):
                self._cost.add(usage, cost, estimated)
            case RunFinished(outcome, failure, charge):
                if charge is not None:
                    self._cost.add(charge.usage, charge.cost_usd, charge.estimated_usd)
                self._cost.close()
                self._outcome = outcome
                self.failure = failure
                self.finished_at = record.time


def entry_of(run: RunState) -> LedgerKey:
    """Return the entry of a ledger in which a run counts: its model, and the day on which it started, or else ended."""
    since = run.started_at or run.finished_at or time.time()
    return run.model or "", date.fromtimestamp(since).isoformat()


R = TypeVar("R", bound=RunState)

#: Shared by all sessions without a finished run. Never changed.
_NO_ENTRIES: dict[LedgerKey, Spent] = {}

#: Shared by all sessions that have no history. Never changed.
_EMPTY = Transcript()


class Projection(Generic[R]):
    """A session's state: its activity and gate, queue, runs, history and cost. Changed by `apply` alone."""

    __slots__ = (
        "_reasoned",
        "_turn",
        "current",
        "draft",
        "dropped",
        "history",
        "ledger",
        "queue",
        "runs",
        "spent",
        "state",
    )

    def __init__(self) -> None:
        self.state = State()
        self.queue: list[R] = []
        """The runs that wait, in the order in which they will start."""
        self.current: R | None = None
        """The run that is in progress."""
        self.runs: dict[str, R] = {}
        """The unfinished runs and the newest finished ones, by id, in the order of acceptance."""
        self.history = _EMPTY
        """Whole turns of finished runs, without the system prompt."""
        self.dropped = 0
        """Messages that left the history because it was full."""
        self.draft = _EMPTY
        """The prompt and the replies of the current run, each reply followed by the results of its calls once all have
        one."""
        self.spent = Spent()
        """The cost of all finished runs."""
        self.ledger = _NO_ENTRIES
        """The same, by model and day."""
        self._turn: list[Message] = []  # of the draft: a prompt; or a reply and the results of its calls so far
        self._reasoned = False  # whether a reply of the draft holds reasoning

    @property
    def turn(self) -> list[Message]:
        """The current turn: the prompt; or a reply and, as they came, the results of its tool calls."""
        return self._turn

    @property
    def draft_messages(self) -> list[Message]:
        """The current run's messages so far, those of an incomplete turn included."""
        if self._turn_is_whole:
            return [*self.draft]
        return [*self.draft, *in_call_order(self._turn)[1:]]

    def apply(self, record: Record, run: R | None) -> None:
        """Fold one record. `run` is the run that the record names; None if it names none."""
        event = record.event
        if run is not None:
            if type(event) is RunStarted:
                self._claim(run, event)
            run._apply(record)
        match event:
            case TextStreamed():
                pass  # first, because it is the most frequent
            case ModelReplied(message) if run is self.current and run is not None:
                self._turn = [message]
                self._reasoned = self._reasoned or message.reasoning is not None
                self.draft.append(message)
            case ToolFinished(message) if run is self.current and run is not None:
                self._turn.append(message)
                if self._turn_is_whole:
                    self.draft.extend(in_call_order(self._turn)[1:])
            case RunContinued(prompt) if run is self.current and run is not None:
                self._turn = [UserMessage(prompt, goes_on=True)]
                self.draft.append(self._turn[0])
            case StateChanged(state):
                self.state = state
            case HistoryReset():
                self.history = _EMPTY
            case HistoryCopied(messages):
                self.history = Transcript(messages)
            case _ if run is not None:
                self._apply_to_queue(event, run)

    def _apply_to_queue(self, event: Event, run: R) -> None:
        match event:
            case RunQueued():
                self._enqueue(run)
            case RunMoved(priority, before) if run in self.queue:  # it may have started meanwhile
                move(self.queue, run, priority, before)
            case RunFinished():
                self._finish(run)

    def _enqueue(self, run: R) -> None:
        insort(self.queue, run, key=start_order)
        self.runs[run.id] = run
        if len(self.runs) <= RUNS_KEPT:
            return
        if oldest := next((one for one in self.runs.values() if one.done), None):
            del self.runs[oldest.id]

    def _claim(self, run: R, event: RunStarted) -> None:
        if run in self.queue:  # not in a fold of the newest records alone
            self.queue.remove(run)
        self.current = run
        self.state = transition(self.state, "start")
        self._turn = [UserMessage(event.prompt, event.images)]
        self._reasoned = False
        self.draft = Transcript(self._turn)

    def _finish(self, run: R) -> None:
        if run is self.current:
            self._keep_draft(run.fresh)
            self.state = transition(self.state, "finish")
            self.current = None
        elif run in self.queue:
            self.queue.remove(run)
        self.spent = run.added_to(self.spent)
        self.ledger = self.ledger or {}
        entry = entry_of(run)
        self.ledger[entry] = run.added_to(self.ledger.get(entry, Spent()))

    @property
    def _turn_is_whole(self) -> bool:
        match self._turn:
            case [AssistantMessage(_, calls), *results]:
                return len(results) == len(calls)
        return True

    def _keep_draft(self, fresh: bool) -> None:
        """Move the draft's whole turns into the history. A draft without a reply, or of a fresh run, is dropped."""
        whole, turn = self._turn_is_whole, self._turn
        draft, self.draft, self._turn = self.draft, _EMPTY, []
        if fresh or len(draft) < 2:
            return
        if not whole:
            draft.extend(close_turn(turn)[1:])
        elif isinstance(turn[0], UserMessage):  # of RunContinued, and no reply came
            draft = Transcript(draft[:-1])  # a copy: a slice refers to the whole
        if self._reasoned:
            draft = Transcript(map(without_reasoning, draft))
        if self.history is _EMPTY:
            self.history = draft
        else:
            self.history.extend(draft)
        if len(self.history) > HISTORY_KEPT:
            least = len(self.history) - HISTORY_KEPT * 9 // 10
            cut = next((start for start in self.history.starts if start >= least), len(self.history))
            self.history = Transcript(self.history[cut:])  # a copy: a slice refers to the whole
            self.dropped += cut


def fold(records: Iterable[Record]) -> Projection[RunState]:
    """Return the state that the records of one session give.

    Args:
        records: of one session, in order, from its first.
    """
    projection = Projection[RunState]()
    runs: dict[str, RunState] = {}
    for record in records:
        run = None
        if record.run is not None:
            run = runs.setdefault(record.run, RunState(record.run))
        projection.apply(record, run)
        if run is not None and run.done:
            del runs[run.id]
    return projection
