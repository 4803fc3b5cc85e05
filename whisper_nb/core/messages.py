"""The data between a session and a model: messages, images, the deltas of a reply, token usage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from msgspec import Struct
from msgspec.structs import replace as replace


class Data(Struct, frozen=True, gc=False):
    """An immutable value. Its instances are never part of a reference cycle, so the garbage collector skips them."""


class Image(Data, frozen=True, tag=True):
    """An image for a model. `engine.images.as_image` creates one.

    The repr leaves its data out, so that no log holds it.
    """

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
    """A JSON object as text, exactly as the model wrote it."""


class SystemMessage(Data, frozen=True, tag=True):
    """An agent's instructions. Always first, never trimmed."""

    text: str


class UserMessage(Data, frozen=True, tag=True):
    """A run's prompt, or what tells it to go on."""

    text: str
    """`⟨image 1⟩` in it refers to the first of the images."""
    images: tuple[Image, ...] = ()
    goes_on: bool = False
    """Whether it is of RunContinued, and begins no exchange: a memory keeps it with the run's prompt, or neither."""


class AssistantMessage(Data, frozen=True, tag=True):
    """A complete reply of a model."""

    text: str
    tool_calls: tuple[ToolCall, ...] = ()
    reasoning: Mapping[str, Any] | None = None
    """The reasoning before tool calls, in the provider's own fields: some refuse the tools' results without it.

    Not in the repr.
    """
    served: tuple[ToolCall, ...] = ()
    """Calls of the provider's own tools, such as a web search, which it has run itself. They are shown, not sent."""

    def __hash__(self) -> int:
        return hash((self.text, self.tool_calls))

    def __repr__(self) -> str:
        return f"AssistantMessage(text={self.text!r}, tool_calls={self.tool_calls!r})"


class ToolMessage(Data, frozen=True, tag=True):
    """The result of one tool call, as the model reads it."""

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
    """The usage and cost of several runs."""

    runs: int = 0
    """The number of finished runs."""
    usage: Usage = Usage()
    """Of the runs whose usage is known."""
    known: float = 0.0
    """US dollars. Of the runs whose cost is known."""
    unpriced: int = 0
    """Runs whose cost is unknown."""
    uncounted: int = 0
    """Runs whose usage is unknown."""
    at_work: int = 0
    """Runs in progress. The sums include their cost so far."""
    estimated: float = 0.0
    """US dollars. Of the runs whose cost is not known, but estimated."""
    estimates: int = 0
    """The number of those runs; `unpriced` includes it."""

    @property
    def cost(self) -> float | None:
        """US dollars. None if the cost of one run is unknown: never understated."""
        if self.unpriced:
            return None
        return self.known

    def plus(self, usage: Usage | None, cost: float | None, estimated: float | None = None) -> Spent:
        """Return the sum with one more finished run. The estimate counts where its cost is unknown."""
        estimated = estimated if cost is None else None
        return Spent(
            self.runs + 1,
            self.usage if usage is None else self.usage + usage,
            self.known + (cost or 0.0),
            self.unpriced + (cost is None),
            self.uncounted + (usage is None),
            self.at_work,
            self.estimated + (estimated or 0.0),
            self.estimates + (estimated is not None),
        )

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.runs + other.runs,
            self.usage + other.usage,
            self.known + other.known,
            self.unpriced + other.unpriced,
            self.uncounted + other.uncounted,
            self.at_work + other.at_work,
            self.estimated + other.estimated,
            self.estimates + other.estimates,
        )


class TextDelta(Data, frozen=True):
    """The next piece of a reply's text."""

    text: str


class ReasoningDelta(Data, frozen=True):
    """The next piece of the model's reasoning. It shows that the model works, and is not part of the reply."""

    text: str


class CallDelta(Data, frozen=True):
    """The next piece of a tool call. Pieces with the same `index` are joined."""

    index: int
    id: str = ""
    name: str = ""
    arguments: str = ""
    served: bool = False
    """Whether the provider runs the tool itself."""


class Finish(Data, frozen=True):
    """The provider's statement that the reply is complete. A stream without one was cut off."""

    reason: str
    """`stop`, `tool_calls`, `length`, `content_filter`, or a reason of the provider's own."""
    usage: Usage | None = None
    """None: the provider did not report it, so it is unknown, not zero."""
    cost_usd: float | None = None
    """None: the price is unknown, so the cost is unknown, not zero."""
    reasoning: Mapping[str, Any] | None = None
    """The model's reasoning, in the form in which its provider wants it back; None where it does not.

    Not in the repr.
    """
    thoughts: str = ""
    """The beginning of the reasoning as text, for people."""

    def __hash__(self) -> int:
        return hash((self.reason, self.usage, self.cost_usd))

    def __repr__(self) -> str:
        return f"Finish(reason={self.reason!r}, usage={self.usage!r}, cost_usd={self.cost_usd!r})"


Delta = TextDelta | ReasoningDelta | CallDelta | Finish


class ToolSchema(Data, frozen=True):
    """The description of a tool that a model gets."""

    name: str
    description: str
    parameters: Mapping[str, Any] = {}
    """The JSON Schema of the arguments, an object."""


OutputMode = Literal["native", "tool", "prompt"]


class OutputSchema(Data, frozen=True):
    """The form that the answer of a run must have."""

    name: str
    """The name of the type, as the model sees it: letters, digits and `_`."""
    json_schema: Mapping[str, Any]
    """The JSON Schema of the answer, always an object."""
    mode: OutputMode
    """`native`: the provider constrains the reply; `tool`: the reply is the call of a tool of this name; `prompt`: the
    system prompt asks for it."""


def without_images(messages: Sequence[Message]) -> list[Message]:
    """Return the messages without their images."""
    return [UserMessage(message.text) if isinstance(message, UserMessage) else message for message in messages]


def without_reasoning(message: Message) -> Message:
    """Return the message as history keeps it: without reasoning, which providers want back within its run alone."""
    if isinstance(message, AssistantMessage) and message.reasoning:
        return replace(message, reasoning=None)
    return message
