"""What happened, as data. Observers (panel, cell output, your callbacks) and the store see nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from .messages import AssistantMessage, Image, ToolCall, ToolMessage, Usage
from .states import Outcome, State

Priority = Literal["low", "normal", "high", "urgent"]


@dataclass(frozen=True, slots=True)
class RunQueued:
    """The store has accepted the run."""

    prompt: str
    priority: Priority


@dataclass(frozen=True, slots=True)
class RunMoved:
    """A run that waits has another place in the queue; without effect where it has started meanwhile."""

    priority: Priority
    before: str | None
    """The id of the run that it comes before; None: it comes behind all others of its priority."""


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The run was claimed; `prompt` has the outcomes of the runs it depends on filled in."""

    prompt: str
    model: str
    images: tuple[Image, ...] = ()


@dataclass(frozen=True, slots=True)
class TextStreamed:
    """A piece of the current turn's text. Not stored: the complete reply is."""

    stored: ClassVar[bool] = False
    text: str


@dataclass(frozen=True, slots=True)
class ModelReplied:
    """A model call is complete."""

    message: AssistantMessage
    usage: Usage | None
    cost_usd: float | None


@dataclass(frozen=True, slots=True)
class CallRetried:
    """A model call failed for a passing reason, before a token came, and will be made again."""

    reason: str
    after_s: float
    """Seconds until then."""


@dataclass(frozen=True, slots=True)
class CallHeld:
    """A model call waits, since its provider lets no more calls with this key through at present. Told once a call."""

    reason: str
    after_s: float
    """Seconds until it may go out, at the earliest; 0 where it waits for the calls before it."""


@dataclass(frozen=True, slots=True)
class ToolStarted:
    """A tool is about to be called."""

    call: ToolCall


@dataclass(frozen=True, slots=True)
class ToolFinished:
    """A tool call has its result, which may be an error."""

    message: ToolMessage


@dataclass(frozen=True, slots=True)
class RunFinished:
    """The run's fate. Final; published once."""

    outcome: Outcome
    error: str | None = None


@dataclass(frozen=True, slots=True)
class StateChanged:
    """The session began or ceased to wait, or its gate moved."""

    state: State


@dataclass(frozen=True, slots=True)
class Noticed:
    """Something that people should know: an edited file that was not taken up, say."""

    text: str


@dataclass(frozen=True, slots=True)
class HistoryTrimmed:
    """The oldest messages were left out of a model call, because the context is full."""

    dropped: int
    """Messages left out; the history itself keeps them."""


@dataclass(frozen=True, slots=True)
class HistoryReset:
    """The session forgot its history."""


@dataclass(frozen=True, slots=True)
class AgentRevised:
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


@dataclass(frozen=True, slots=True)
class Record:
    """An event with its place: stamped once, by the session that published it."""

    seq: int
    """Grows within a runtime; within one session it is the order of what happened."""
    time: float
    """Seconds since the epoch."""
    agent: str
    run: str | None
    """The run's id; None for what concerns the session."""
    event: Event
