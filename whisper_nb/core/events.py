"""Events: all that observers (panel, cell output, your callbacks) and the store see."""

# Annotations are evaluated: msgspec decodes by them, and Record names `whisper_nb` as its module.
from collections.abc import Mapping
from typing import Any, Literal

from .channels import Channel
from .limits import NO_LIMITS, RunLimits
from .messages import AssistantMessage, Data, Image, Message, ToolCall, ToolMessage, Usage
from .states import Outcome, State

Priority = Literal["low", "normal", "high", "urgent"]


class RunReference(Data, frozen=True, tag=True):
    """A run whose text stands in the prompt of another, by its id."""

    id: str


class OutputReference(Data, frozen=True):
    """The type of a run's output. The type itself cannot be stored: after a restart, a type of this name is needed."""

    name: str
    """As people write it: `list[Verdict]`. `str` means text."""
    json_schema: Mapping[str, Any] = {}
    """To see whether a type of this name is still the same."""


class RunQueued(Data, frozen=True, tag=True):
    """The store has accepted the run. Holds all that is needed to run it after a restart."""

    prompt: str
    """The prompt as text: images by number, unfinished runs by id."""
    priority: Priority
    number: int = 0
    """Grows with each submission to the agent, from 1."""
    parts: tuple[str | Image | RunReference, ...] = ()
    """The pieces of a prompt with images or runs; empty for text alone."""
    config: Mapping[str, Any] = {}
    """The fields of AIConfig that this run sets; without keys that were written out."""
    limits: RunLimits = NO_LIMITS
    """The limits that this run sets."""
    submitted_at: float = 0.0
    """Seconds since the epoch."""
    fresh: bool = False
    """Whether the run gets no history, and leaves nothing in it."""
    output: OutputReference | None = None
    """The type of its output, if the run itself sets one."""


class RunMoved(Data, frozen=True, tag=True):
    """A queued run got another position. Without effect if it has started meanwhile."""

    priority: Priority
    before: str | None
    """The id of the run that it now precedes; None: last of its priority."""


class RunStarted(Data, frozen=True, tag=True):
    """The run was claimed: it left the queue. In `prompt`, the texts of the runs that it depends on are filled in."""

    prompt: str
    model: str
    images: tuple[Image, ...] = ()
    until: str = ""
    """The text in a reply's last line that says that the agent's work is done, if it goes on by itself."""


class TextStreamed(Data, frozen=True, tag=True):
    """A piece of the current turn's text, or of its reasoning. Not stored; the complete reply is."""

    text: str
    channel: Channel = "final"
    """`analysis`: reasoning, as far as it is kept. Other text is `final`, as the tool calls after it are not known yet;
    `ModelReplied.channel` tells. Models that name its channel themselves have `commentary`."""


class ModelReplied(Data, frozen=True, tag=True):
    """A model call is complete."""

    message: AssistantMessage
    usage: Usage | None
    cost_usd: float | None
    thoughts: str = ""
    """The beginning of the model's reasoning, for people. It is never sent."""
    fingerprint: str = ""
    """That of the request: SHA-256 of what was sent, as 64 hexadecimal digits. Empty in records of older versions."""
    estimated_usd: float | None = None
    """US dollars that the budget was charged where the cost is unknown. None: nothing."""

    @property
    def channel(self) -> Channel:
        """The channel of the message's text: `commentary` beside tool calls, otherwise `final`."""
        return "commentary" if self.message.tool_calls else "final"


class Charge(Data, frozen=True):
    """The cost of a model call that failed, as far as it is known."""

    usage: Usage | None = None
    """None: unknown."""
    cost_usd: float | None = None
    """US dollars. None: unknown."""
    estimated_usd: float | None = None
    """US dollars that the budget was charged where the cost is unknown. None: nothing."""


class CallRetried(Data, frozen=True, tag=True):
    """A model call failed for a transient reason, before its first token, and will be retried."""

    reason: str
    after_s: float
    """Seconds until the retry."""
    charge: Charge | None = None
    """The cost of the failed call. None: it was free."""


class CallHeld(Data, frozen=True, tag=True):
    """A model call waits: for its rate limit, or for the budget. Published once for each such wait."""

    reason: str
    after_s: float
    """Seconds until it may be sent, at the earliest. 0: it waits for the calls before it."""
    cause: Literal["rate", "budget"] = "rate"
    """Whether the rate of calls is limited, by the provider or by the config; or the budget has no room now."""


class RunContinued(Data, frozen=True, tag=True):
    """The run goes on by itself, with one more user message and without a new prompt of a person."""

    prompt: str
    """The message: for example, the problems with the answer."""
    reason: Literal["invalid", "continuation"]
    """`invalid`: the answer does not fit the output type; `continuation`: the agent's own `continuation`."""


class ToolStarted(Data, frozen=True, tag=True):
    """A tool is about to be called."""

    call: ToolCall


class ToolFinished(Data, frozen=True, tag=True):
    """A tool call has a result, which may be an error."""

    message: ToolMessage


class RunFinished(Data, frozen=True, tag=True):
    """The run's outcome. Final; published once."""

    outcome: Outcome
    error: str | None = None
    """Why it failed; or why it was cancelled, if that needs an explanation."""
    charge: Charge | None = None
    """The cost of a model call that the end of the run interrupted. None: there was none, or it was free."""


class StateChanged(Data, frozen=True, tag=True):
    """The session began or stopped waiting, or its gate changed."""

    state: State


class Noticed(Data, frozen=True, tag=True):
    """A notice for people: for example, an edited file that could not be used."""

    text: str


class HistoryTrimmed(Data, frozen=True, tag=True):
    """The oldest messages were left out of a model call, because they exceed the context, or the agent's memory."""

    dropped: int
    """Messages left out; the history itself keeps them."""
    memory: str = ""
    """The memory that leaves them out of all calls of the run, such as `last:2`; empty: they exceed the context."""


class HistoryCopied(Data, frozen=True, tag=True):
    """The session begins with a copy of another session's history."""

    messages: tuple[Message, ...]


class HistoryReset(Data, frozen=True, tag=True):
    """The session's history was cleared."""


class AgentRevised(Data, frozen=True, tag=True):
    """The session has another spec of its agent."""

    revision: int


Event = (
    RunQueued
    | RunMoved
    | RunStarted
    | TextStreamed
    | ModelReplied
    | CallRetried
    | CallHeld
    | RunContinued
    | ToolStarted
    | ToolFinished
    | RunFinished
    | StateChanged
    | Noticed
    | HistoryTrimmed
    | HistoryCopied
    | HistoryReset
    | AgentRevised
)


class Record(Data, frozen=True):
    """An event with its time and its origin. Stamped once, by the session that publishes it."""

    seq: int
    """Increases within a runtime; within one session it is the order of events."""
    time: float
    """Seconds since the epoch."""
    agent: str
    run: str | None
    """The run's id. None: the event concerns the session."""
    event: Event
