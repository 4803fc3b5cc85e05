"""What happened, as data. Observers (panel, cell output, your callbacks) and the store see nothing else."""

from __future__ import annotations

from typing import ClassVar, Literal

from .messages import AssistantMessage, Data, Image, ToolCall, ToolMessage, Usage
from .states import Outcome, State

Priority = Literal["low", "normal", "high", "urgent"]


class RunQueued(Data, frozen=True, tag=True):
    """The store has accepted the run."""

    prompt: str
    priority: Priority


class RunMoved(Data, frozen=True, tag=True):
    """A run that waits has another place in the queue; without effect where it has started meanwhile."""

    priority: Priority
    before: str | None
    """The id of the run that it comes before; None: it comes behind all others of its priority."""


class RunStarted(Data, frozen=True, tag=True):
    """The run was claimed; `prompt` has the outcomes of the runs it depends on filled in."""

    prompt: str
    model: str
    images: tuple[Image, ...] = ()


class TextStreamed(Data, frozen=True, tag=True):
    """A piece of the current turn's text. Not stored: the complete reply is."""

    stored: ClassVar[bool] = False
    text: str


class ModelReplied(Data, frozen=True, tag=True):
    """A model call is complete."""

    message: AssistantMessage
    usage: Usage | None
    cost_usd: float | None


class CallRetried(Data, frozen=True, tag=True):
    """A model call failed for a passing reason, before a token came, and will be made again."""

    reason: str
    after_s: float
    """Seconds until then."""


class CallHeld(Data, frozen=True, tag=True):
    """A model call waits, since its provider lets no more calls with this key through at present. Told once a call."""

    reason: str
    after_s: float
    """Seconds until it may go out, at the earliest; 0 where it waits for the calls before it."""


class ToolStarted(Data, frozen=True, tag=True):
    """A tool is about to be called."""

    call: ToolCall


class ToolFinished(Data, frozen=True, tag=True):
    """A tool call has its result, which may be an error."""

    message: ToolMessage


class RunFinished(Data, frozen=True, tag=True):
    """The run's fate. Final; published once."""

    outcome: Outcome
    error: str | None = None


class StateChanged(Data, frozen=True, tag=True):
    """The session began or ceased to wait, or its gate moved."""

    state: State


class Noticed(Data, frozen=True, tag=True):
    """Something that people should know: an edited file that was not taken up, say."""

    text: str


class HistoryTrimmed(Data, frozen=True, tag=True):
    """The oldest messages were left out of a model call, because the context is full."""

    dropped: int
    """Messages left out; the history itself keeps them."""


class HistoryReset(Data, frozen=True, tag=True):
    """The session forgot its history."""


class AgentRevised(Data, frozen=True, tag=True):
    """The session goes on with another spec of its agent."""

    revision: int


Event = (
    RunQueued
    | RunMoved
    | RunStarted
    | TextStreamed
    | ModelReplied
    | CallRetried
    | CallHeld
    | ToolStarted
    | ToolFinished
    | RunFinished
    | StateChanged
    | Noticed
    | HistoryTrimmed
    | HistoryReset
    | AgentRevised
)


class Record(Data, frozen=True):
    """An event with its place: stamped once, by the session that published it."""

    seq: int
    """Grows within a runtime; within one session it is the order of what happened."""
    time: float
    """Seconds since the epoch."""
    agent: str
    run: str | None
    """The run's id; None for what concerns the session."""
    event: Event
