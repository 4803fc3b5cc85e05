"""Pure functions of a run: the next step, given the history; assembling a reply from deltas; closing a turn.

Nothing here awaits or knows a session, so a run can stop for a person, be replayed, or go on after a restart,
and the tests compare lists.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import assert_never

from msgspec import Struct

from .channels import Channel, TagReader
from .costs import plausible
from .errors import ContentFiltered, EmptyReply, LengthExceeded, ModelError
from .events import TextStreamed
from .messages import (
    AssistantMessage,
    CallDelta,
    Delta,
    Finish,
    Message,
    OutputSchema,
    ReasoningDelta,
    SystemMessage,
    TextDelta,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
    replace,
)
from .text import valid_unicode


class CallModel(Struct, frozen=True):
    """Call the model with the history."""


class CallTools(Struct, frozen=True):
    """Run these tool calls, which have no results yet."""

    pending: tuple[ToolCall, ...]


class Done(Struct, frozen=True):
    """The run is complete."""

    output: str


Step = CallModel | CallTools | Done


def next_step(history: Sequence[Message]) -> Step:
    """Return the next step of a run: a pure function of the messages so far, with the run's prompt.

    Raises:
        ValueError: the history has no prompt.
    """
    answered: set[str] = set()
    for message in reversed(history):
        match message:
            case ToolMessage(call_id):
                answered.add(call_id)
            case AssistantMessage(text, calls):
                pending = tuple(call for call in calls if call.id not in answered)
                if pending:
                    return CallTools(pending)
                if calls:
                    return CallModel()
                return Done(text)
            case UserMessage():
                return CallModel()
            case SystemMessage():
                break
            case _:
                assert_never(message)
    raise ValueError("no prompt in the history: nothing to do next")


#: The most characters of a reply's reasoning that are kept for people.
THOUGHTS = 8_000


class Limits(Struct, frozen=True):
    """The limits of one agent's reply, in tokens; None where they are not set, or not known."""

    agent: str
    max_tokens: int | None
    context_tokens: int | None
    with_history: bool
    """Whether messages of earlier runs were sent, which a reset would leave out."""

    def remedy(self, finish: Finish) -> str:
        """Return what reached its limit, with the next step, for a reply that ended for its length."""
        usage = finish.usage
        if self.max_tokens and (usage is None or usage.output_tokens >= self.max_tokens):
            command = f"%agent config {self.agent} max_tokens=…"
            return f"raise max_tokens, which is {self.max_tokens:,} ({command}), or ask for less."
        reset = f"drop the history with %agent reset {self.agent}"
        if self.context_tokens and (usage is None or _nearly(usage) >= self.context_tokens):
            less = f"ask for less, {reset}," if self.with_history else "ask for less,"
            return (
                f"the model's context of {self.context_tokens:,} tokens is full: {less} "
                "or choose a model with a larger context."
            )
        remedy = f"ask for less, or {reset}." if self.with_history else "ask for less."
        if not self.max_tokens:
            remedy = f"set max_tokens if the model allows more, {remedy}"
        return f"the limit of the server, or the model's context, was reached: {remedy}"


def _nearly(usage: Usage) -> float:
    """Return the tokens of a call and some more: servers keep a few tokens of the context free."""
    return (usage.input_tokens + usage.output_tokens) * 1.02 + 8


class Reply:
    """A model's reply, assembled from deltas.

    Args:
        model: its name, for errors.
        output: the form that was asked for. In the mode `tool`, the call of the answer's tool becomes the text.
    """

    __slots__ = (
        "_answer", "_answer_index", "_calls", "_finish", "_half", "_has_reasoning", "_model", "_plain", "_tags",
        "_text", "_thoughts", "_thoughts_left",
    )  # fmt: skip

    def __init__(self, model: str, output: OutputSchema | None = None) -> None:
        self._model = model
        self._answer = output.name if output and output.mode == "tool" else ""
        """The name of the answer's tool; empty if there is none."""
        self._answer_index: int | None = None  # of the call whose arguments are streamed as text
        self._text: list[str] = []
        self._half = ""  # half of a character; the next delta may complete it
        self._plain = False  # whether the rest of the text has no tags
        self._tags: TagReader | None = None  # of a text that may begin with a tag
        self._calls: dict[int, list[CallDelta]] = {}  # joined once: there may be thousands of pieces
        self._has_reasoning = False
        self._thoughts: list[str] = []
        self._thoughts_left = THOUGHTS
        self._finish: Finish | None = None

    @property
    def begun(self) -> bool:
        """Whether a token has arrived: of text, reasoning or a tool call."""
        held = self._tags is not None and self._tags.holds
        return held or self._has_reasoning or bool(self._calls) or any(self._text)

    @property
    def too_long(self) -> bool:
        """Whether it ended because it reached a limit of tokens."""
        return self._finish is not None and self._finish.reason == "length"

    def add(self, delta: Delta) -> Sequence[TextStreamed]:
        """Add the next delta, in the order of the stream.

        Returns:
            The pieces that it adds to the reply's text and, as far as it is kept, to its reasoning; to be shown at
            once. The arguments of the answer's call are text; if calls of other tools follow, that was in vain.
        """
        match delta:
            case TextDelta(text):
                if self._half or not text.isascii():
                    text = self._valid(text)
                if not text:
                    return ()
                if not self._plain:
                    return self._untagged(text)
                self._text.append(text)
                return (TextStreamed(text),)
            case CallDelta(index, _, name, arguments):
                if self._answer and name == self._answer and not self._calls:
                    self._answer_index = index
                self._calls.setdefault(index, []).append(delta)
                if index == self._answer_index and (text := self._valid(arguments)):
                    return (TextStreamed(text),)
            case ReasoningDelta(text):
                self._has_reasoning = True
                return self._think(text) if self._thoughts_left > 0 else ()
            case Finish():
                self._finish = plausible(delta)
                if self._tags is not None and self._tags.holds:
                    return self._added(self._tags.rest())
            case _:
                assert_never(delta)
        return ()

    def _untagged(self, text: str) -> Sequence[TextStreamed]:
        """Add text that may have tags around its reasoning."""
        if self._tags is None:
            if text.lstrip()[:1] not in ("", "<"):  # most replies
                self._plain = True
                self._text.append(text)
                return (TextStreamed(text),)
            self._tags = TagReader()
        found = self._tags.read(text)
        self._plain = self._tags.done
        return self._added(found)

    def _added(self, found: Sequence[tuple[Channel, str]]) -> Sequence[TextStreamed]:
        pieces: list[TextStreamed] = []
        for channel, text in found:
            if channel == "analysis":
                self._has_reasoning = True
                pieces += self._think(text)
            else:
                self._text.append(text)
                pieces.append(TextStreamed(text, channel))
        return pieces

    def _think(self, text: str) -> Sequence[TextStreamed]:
        """Add reasoning, and return the part of it that is kept."""
        if self._thoughts_left <= 0 or not text:
            return ()
        kept = text[: self._thoughts_left]
        self._thoughts.append(kept)
        self._thoughts_left -= len(text)
        return (TextStreamed(valid_unicode(kept), "analysis"),)

    def _valid(self, text: str) -> str:
        """Return the next text, without half a character at its end."""
        text, self._half = self._half + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._half = text[:-1], text[-1]
        return valid_unicode(text)

    def complete(self, *, allow_empty: bool = False, limits: Limits | None = None) -> tuple[AssistantMessage, Finish]:
        """Return the complete message and how it ended.

        In the mode `tool`, the arguments of the answer's call are the message's text, and text before it counts as
        thoughts. If it stands beside calls of other tools, it is dropped: the answer was early.

        Args:
            allow_empty: whether a reply with nothing in it is an answer.
            limits: of its tokens, for the error of a reply that reached one.

        Raises:
            LengthExceeded, ContentFiltered: it ended early, for this reason.
            EmptyReply: it has no text, tool call or reasoning.
            ModelError: the stream ended without a finish reason (cut off), with one that means that the
                reply is incomplete, or with tool calls announced and none there. An incomplete tool call is never
                returned.
        """
        finish = self._ended(limits)
        calls, served = self._unique_calls(served=False), self._unique_calls(served=True)
        text = "".join(self._text)
        if self._answer_index is None:
            text += valid_unicode(self._half)
        answers = [call for call in calls if call.name == self._answer] if self._answer else []
        if answers and len(answers) == len(calls):
            self._think(text)
            text, calls, finish = answers[0].arguments or "{}", (), replace(finish, reason="stop")
        elif answers:
            calls = tuple(call for call in calls if call.name != self._answer)
        if not calls and not served:
            self._check_content(text, finish, allow_empty)
        reasoning = finish.reasoning if calls else None
        if self._thoughts:
            finish = replace(finish, thoughts=valid_unicode("".join(self._thoughts)).strip())
        return AssistantMessage(text, calls, reasoning, served), finish

    def _ended(self, limits: Limits | None) -> Finish:
        """Return how the reply ended; see `complete`.

        Raises:
            ModelError: it is incomplete.
        """
        finish = self._finish
        if finish is None:
            what = f"{self._model}: the reply was cut off (the stream ended without a finish reason)."
            remedy = "Submit the prompt again."
            if any(self._text):
                remedy = "The text so far is in run.text; submit the prompt again."
            raise ModelError(f"{what} {remedy}", what=what, model=self._model, retryable=True)
        if finish.reason == "length":
            remedy = limits.remedy(finish) if limits else "raise max_tokens, or ask for less."
            raise LengthExceeded(
                f"{self._model}: the reply hit the token limit and is incomplete (finish_reason=length). "
                f"The text so far is in run.text; {remedy}",
                model=self._model,
                finish=finish,
            )
        if finish.reason == "content_filter":
            raise ContentFiltered(
                f"{self._model}: the provider's content filter stopped the reply. "
                "The text so far is in run.text; ask in other words.",
                model=self._model,
                finish=finish,
            )
        if finish.reason not in ("stop", "tool_calls"):
            raise ModelError(
                f"{self._model}: the reply ended for an unknown reason ({finish.reason!r}) and may be incomplete. "
                "The text so far is in run.text; submit the prompt again.",
                model=self._model,
                retryable=True,
                finish=finish,
            )
        return finish

    def _check_content(self, text: str, finish: Finish, allow_empty: bool) -> None:
        """Check a reply without tool calls.

        Raises:
            EmptyReply, ModelError: it is empty, or announces tool calls.
        """
        kind, what = ModelError, ""
        if finish.reason == "tool_calls":
            what = "the reply announces tool calls, and there are none in it (finish_reason=tool_calls)."
            remedy = "Submit the prompt again."
        elif not (text or self._has_reasoning or allow_empty):
            kind, what = EmptyReply, "the reply is empty: it has no text and no tool call."
            remedy = "Submit the prompt again; allow_empty: true accepts empty replies."
        if what:
            what = f"{self._model}: {what}"
            raise kind(f"{what} {remedy}", what=what, model=self._model, retryable=True, finish=finish)

    def _unique_calls(self, *, served: bool) -> tuple[ToolCall, ...]:
        # Some providers send no ids, or the same one twice; a result must name its call.
        if not self._calls:
            return ()
        joined = [_joined(pieces) for _, pieces in sorted(self._calls.items()) if pieces[0].served is served]
        taken = {call.id for call in joined}
        fresh = (id_ for n in itertools.count() if (id_ := f"call_{n}") not in taken)
        seen = {""}
        calls: list[ToolCall] = []
        for call in joined:
            id_ = next(fresh) if call.id in seen else call.id
            calls.append(ToolCall(id_, valid_unicode(call.name), valid_unicode(call.arguments)))
            seen.add(id_)
        return tuple(calls)


def _joined(pieces: Sequence[CallDelta]) -> ToolCall:
    """Return the call of these pieces: the first id and name, and all of the arguments."""
    id_, name = (next(filter(None, values), "") for values in zip(*((one.id, one.name) for one in pieces), strict=True))
    return ToolCall(id_, name, "".join(one.arguments for one in pieces))


def close_turn(draft: Sequence[Message]) -> list[Message]:
    """Return the messages of an unfinished turn as history may keep them: complete, or none.

    A draft without a reply is dropped. Unanswered tool calls get a synthetic "cancelled" result.
    """
    if not any(isinstance(message, AssistantMessage) for message in draft):
        return []
    closed = list(draft)
    step = next_step(draft)
    if isinstance(step, CallTools):
        missing = "cancelled before it finished; it may or may not have taken effect"
        closed += [ToolMessage(call.id, call.name, missing, True) for call in step.pending]
    return in_call_order(closed)


def in_call_order(messages: Sequence[Message]) -> list[Message]:
    """Return the messages with each turn's results in the order of its calls, not of completion.

    Some providers tell two calls of one tool apart only by their order.
    """
    if not any(type(message) is ToolMessage for message in messages):
        return list(messages)
    ranks: dict[str, int] = {}
    turn, keys = 0, list[tuple[int, int]]()
    for message in messages:
        if isinstance(message, ToolMessage):
            keys.append((turn, ranks.get(message.call_id, 0)))
        else:
            turn += 1
            keys.append((turn, 0))
            calls = message.tool_calls if isinstance(message, AssistantMessage) else ()
            ranks = {call.id: rank for rank, call in enumerate(calls, 1)}
    return [messages[i] for i in sorted(range(len(messages)), key=keys.__getitem__)]
