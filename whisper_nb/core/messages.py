"""What travels between a session and a model: messages, images, the deltas of a reply, token usage. Plain data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import replace as replace


class Data(Struct, frozen=True, gc=False):
    """An immutable value. Its instances refer to no mutable objects, so the garbage collector need not visit them."""


class Image(Data, frozen=True, tag=True):
    """A picture as a model is given it; `images.as_image` makes one. Its data is in no repr, so that no log holds it."""

    media_type: str
    """`image/png`, `image/jpeg`, `image/gif` or `image/webp`."""
    data: str
    """The file, in base64."""

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return len(self.data) * 3 // 4 - self.data[-2:].count("=")

    def __str__(self) -> str:
        size = f"{self.size} B"
        if self.size >= 1e6:
            size = f"{self.size / 1e6:.1f} MB"
        elif self.size >= 1_000:
            size = f"{self.size / 1e3:.0f} kB"
        return f"{self.media_type} {size}"

    def __repr__(self) -> str:
        return f"<Image {self}>"


class ToolCall(Data, frozen=True):
    """A model's request to run one tool."""

    id: str
    """Unique within its message; the result names it."""
    name: str
    arguments: str
    """A JSON object as text, just as the model wrote it."""


class SystemMessage(Data, frozen=True, tag=True):
    """What an agent is; always first, never trimmed."""

    text: str


class UserMessage(Data, frozen=True, tag=True):
    """A run's prompt."""

    text: str
    """Where it says `⟨image 1⟩`, the first of the images is meant."""
    images: tuple[Image, ...] = ()


class AssistantMessage(Data, frozen=True, tag=True):
    """A complete reply of a model."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: Mapping[str, Any] | None = None
    """The reasoning before tool calls, in the provider's own fields: some refuse the tools' results without it. Not in the repr."""

    def __hash__(self) -> int:
        return hash((self.text, self.tool_calls))

    def __repr__(self) -> str:
        return f"AssistantMessage(text={self.text!r}, tool_calls={self.tool_calls!r})"


class ToolMessage(Data, frozen=True, tag=True):
    """The outcome of one tool call, as the model will read it."""

    call_id: str
    name: str
    text: str
    is_error: bool = False


Message = SystemMessage | UserMessage | AssistantMessage | ToolMessage


class Usage(Data, frozen=True):
    """Tokens of one or more model calls."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


class Spent(Data, frozen=True):
    """What runs have cost together."""

    runs: int = 0
    """That have ended."""
    usage: Usage = Usage()
    """Of the runs whose tokens somebody told."""
    known: float = 0.0
    """US dollars, of the runs whose cost is known."""
    unpriced: int = 0
    """Runs whose cost nobody knows."""
    uncounted: int = 0
    """Runs whose tokens nobody told."""
    at_work: int = 0
    """Runs that go on: in the sums is what they have cost so far."""

    @property
    def cost(self) -> float | None:
        """US dollars; None as soon as that of one run is unknown: never understated."""
        return None if self.unpriced else self.known

    def plus(self, usage: Usage | None, cost: float | None) -> Spent:
        """With one run more, that has ended."""
        return Spent(
            self.runs + 1,
            self.usage if usage is None else self.usage + usage,
            self.known + (cost or 0.0),
            self.unpriced + (cost is None),
            self.uncounted + (usage is None),
            self.at_work,
        )

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.runs + other.runs,
            self.usage + other.usage,
            self.known + other.known,
            self.unpriced + other.unpriced,
            self.uncounted + other.uncounted,
            self.at_work + other.at_work,
        )


class TextDelta(Data, frozen=True):
    """The next piece of a reply's text."""

    text: str


class ReasoningDelta(Data, frozen=True):
    """The next piece of what the model thinks before it replies: a sign of life, and no part of the reply."""

    text: str


class CallDelta(Data, frozen=True):
    """The next piece of a tool call: pieces of one `index` are joined."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""


class Finish(Data, frozen=True):
    """The provider said that the reply is complete. A stream that ends without one was cut off."""

    reason: str
    """`stop`, `tool_calls`, `length`, `content_filter`, or the provider's own word."""
    usage: Usage | None = None
    """None when the provider did not say: unknown, not zero."""
    cost_usd: float | None = None
    """None when nobody knows the price: unknown, not zero."""
    reasoning: Mapping[str, Any] | None = None
    """The model's reasoning, in the form in which its provider wants it back; None where it does not. Not in the repr."""

    def __hash__(self) -> int:
        return hash((self.reason, self.usage, self.cost_usd))

    def __repr__(self) -> str:
        return f"Finish(reason={self.reason!r}, usage={self.usage!r}, cost_usd={self.cost_usd!r})"


Delta = TextDelta | ReasoningDelta | CallDelta | Finish


class ToolSchema(Data, frozen=True):
    """What a model is told of a tool."""

    name: str
    description: str
    parameters: Mapping[str, Any] = {}
    """JSON Schema of the arguments, an object."""


def without_images(messages: Sequence[Message]) -> list[Message]:
    """The messages with their text alone."""
    return [UserMessage(message.text) if isinstance(message, UserMessage) else message for message in messages]


def without_reasoning(message: Message) -> Message:
    """The message as history keeps it: only the run that thought wants its thoughts back, and another model refuses them."""
    if isinstance(message, AssistantMessage) and message.reasoning:
        return replace(message, reasoning=None)
    return message
