"""Read replies in OpenAI's chat format: https://platform.openai.com/docs/api-reference/chat-streaming."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..core.messages import Delta, ReasoningDelta, TextDelta
from .http.sse import BOM, Events
from .reading import (
    ANOTHER,
    EVENT_LIMIT,
    NOT_A_STREAM,
    NOT_CHAT,
    REPLY_LIMIT,
    TOO_LARGE,
    InvalidReply,
    ReplyReader,
    reason_of,
    text_of,
    thought_of,
)
from .words import error_in, said


class ProviderError(Exception):
    """The provider reported a failure within a reply."""

    def __init__(self, error: Any) -> None:
        answer = said(error)
        self.text = answer.text
        code = answer.codes.partition(" ")[0]
        self.code: int | str = int(code) if code.isascii() and code.isdigit() else code or "error"


#: What a reply is that cannot be read.
NOT_OPENAI = "a piece of it is not in OpenAI's format"


# The parts of a chunk that are read, in the types of the format: what has others is read by `_lenient`. `null` and a
# missing field are alike.


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _CallPart(Struct, gc=False):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Part(Struct, gc=False):
    """A message, or the piece of it that a chunk adds."""

    content: str | None = None
    refusal: str | None = None
    reasoning: Any = None
    reasoning_content: Any = None
    reasoning_details: Any = None
    tool_calls: list[_CallPart] | None = None
    function_call: None = None
    role: str | None = None


class _Choice(Struct, gc=False):
    index: int | None = None
    delta: _Part | None = None
    finish_reason: str | None = None
    usage: Any = None
    error: Any = None
    message: Any = None
    text: Any = None


class Chunk(Struct, gc=False):
    """A piece of a stream, or a complete reply, whose choices have deltas in place of messages."""

    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    service_tier: Any = None
    object: Any = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(Chunk).decode
_NO_FUNCTION = _Function()
#: The fields of a message with its reasoning, of which a provider has one.
_THOUGHTS = (
    "reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "provider_specific_fields"
)  # fmt: skip


class WireReader(ReplyReader):
    """One reply, from its chunks."""

    __slots__ = ("_first", "_last", "_other")

    def __init__(self, field: str = "") -> None:
        super().__init__(field)
        self._first: str | None = None  # the first chunk; empty where ids and roles do not tell replies apart
        self._last = ""
        self._other = ""  # the id of another reply that may have begun

    def read(self, data: str, *, whole: bool = False) -> list[Delta]:
        """Return the deltas of one chunk, or of a complete reply. Many chunks have none.

        Raises:
            InvalidReply: it is not in OpenAI's format.
            ProviderError: it is an error.
        """
        deltas: list[Delta] = []
        self.add(data, deltas, whole=whole)
        return deltas

    def add(self, data: str, deltas: list[Delta], *, whole: bool = False) -> None:
        """Append the deltas of one chunk: see `read`."""
        chunk = parsed(data, whole=True) if whole else _chunk(data)
        try:
            if chunk.usage is not None or chunk.x_groq is not None:
                self._add_extras(chunk)
            if chunk.service_tier:
                self.usage["service_tier"] = chunk.service_tier
            for choice in chunk.choices or ():
                if not choice.index:
                    self._add_choice(choice, deltas, data)
                    if choice.message or choice.text:
                        self._check_rest(choice)
        except (AttributeError, TypeError, KeyError):
            raise InvalidReply(NOT_OPENAI) from None
        self._last = data
        if self._first is None:
            self._first = data

    def _add_extras(self, chunk: Chunk) -> None:
        groq = chunk.x_groq or {}
        if groq.get("error"):
            raise ProviderError(groq["error"])
        self._count(chunk.usage or groq.get("usage"))

    def _add_choice(self, choice: _Choice, deltas: list[Delta], data: str) -> None:
        if choice.usage is not None:
            self._count(choice.usage)
        if choice.error:
            raise ProviderError(choice.error)
        if choice.finish_reason:
            self._end(choice.finish_reason)
        part = choice.delta
        if part is None:
            return
        if part.role and self._has_text and not choice.finish_reason:
            self._note_role(data)
        if thought := part.reasoning_content or part.reasoning:
            deltas.append(ReasoningDelta(str(thought)))
        if self._field and (piece := getattr(part, self._field)):
            self._keep(piece)
        if part.content:
            if self._other:
                self._check_id(data)
            self._has_text = True
            deltas.append(TextDelta(part.content))
        if part.refusal:
            self._has_text = True
            deltas.append(TextDelta(part.refusal))
        if part.tool_calls:
            self._add_calls(part.tool_calls, deltas)

    def _add_calls(self, calls: Sequence[_CallPart], deltas: list[Delta]) -> None:
        for call in calls:
            function = call.function or _NO_FUNCTION
            if call.id or function.name or function.arguments:  # some servers send empty ones
                deltas.append(self._call(call.index, call.id or "", function.name or "", function.arguments))

    def _note_role(self, data: str) -> None:
        """Note that another reply may begin: a chunk after text has a role, and an id unlike that of all before it."""
        if not self._first:
            return
        (first, _), (last, before), (id_, _) = map(_id_and_role, (self._first, self._last, data))
        if before or id_ == first:
            self._first = ""  # each chunk has a role
        elif first == last and id_:
            self._other = id_

    def _check_id(self, data: str) -> None:
        """Check that text belongs to the reply that began.

        Raises:
            InvalidReply: it belongs to another one. A gateway has tried again, and joined half a reply and a whole one.
        """
        if _id_and_role(data)[0] == self._other:
            raise InvalidReply(ANOTHER)
        self._other = self._first = ""  # it was a chunk of a proxy

    def _check_rest(self, choice: _Choice) -> None:
        """Check that what a choice of a stream has besides its delta repeats deltas, as with MiniMax and Perplexity.

        Raises:
            InvalidReply: its content came in no delta, and would be lost.
        """
        if choice.text and not self._has_text:
            raise InvalidReply(NOT_CHAT)
        message = choice.message or {}
        has_text = message.get("content") or message.get("refusal")
        has_calls = message.get("tool_calls") or message.get("function_call")
        if (has_text and not self._has_text) or (has_calls and not self._calls):
            raise InvalidReply(NOT_A_STREAM)


class WholeReply:
    """A reply in one piece, from its bytes."""

    __slots__ = ("_pieces", "_reader", "_size", "done", "failure")

    def __init__(self, reader: WireReader) -> None:
        self._reader = reader
        self._pieces: list[bytes] = []
        self._size = 0
        self.done = False
        """Whether nothing more is to be read."""
        self.failure: Exception | None = None
        """The error that ended it."""

    def feed(self, received: bytes) -> list[Delta]:
        """Take in some bytes, none at the end. Return the deltas that they complete."""
        self._pieces.append(received)
        self._size += len(received)
        self.done = not received or self._size > REPLY_LIMIT
        try:
            if self._size > REPLY_LIMIT:
                raise InvalidReply(TOO_LARGE)
            if self.done:
                body = b"".join(self._pieces).removeprefix(BOM).decode()
                return self._reader.read(body.rstrip().removesuffix("data: [DONE]"), whole=True)
        except (ValueError, ProviderError) as error:
            self.failure = error
        return []


class ReplyStream:
    """A streamed reply, from its bytes."""

    __slots__ = ("_events", "_reader", "_size", "done", "failure")

    def __init__(self, reader: WireReader) -> None:
        self._reader = reader
        self._events = Events(EVENT_LIMIT)
        self._size = 0
        self.done = False
        """Whether nothing more is to be read."""
        self.failure: Exception | None = None
        """The error that ended it, after the deltas that came before."""

    def feed(self, received: bytes) -> list[Delta]:
        """Take in some bytes, none at the end. Return the deltas that they complete.

        Text that arrives together is one delta, since each one is published.
        """
        self._size += len(received)
        self.done = not received
        deltas: list[Delta] = []
        try:
            if self._size > REPLY_LIMIT:
                raise InvalidReply(TOO_LARGE)
            # The end of the body completes the last event, too.
            for data in self._events.feed(received or b"\n\n"):
                if data.strip() == "[DONE]":
                    self.done = True
                    break
                self._reader.add(data, deltas)
        except ProviderError as error:
            self.done, self.failure = True, error
        except ValueError as error:
            self.done = True
            if received or not self._reader.ended:  # half an event at the end of a complete reply is no loss
                self.failure = error
        if len(deltas) > 1 and all(type(delta) is TextDelta for delta in deltas):
            return [TextDelta("".join([delta.text for delta in deltas if isinstance(delta, TextDelta)]))]
        return deltas


def _chunk(data: str) -> Chunk:
    try:
        chunk = _decode_chunk(data)
    except (msgspec.DecodeError, RecursionError):
        return parsed(data, whole=False)
    if chunk.error or chunk.choices is None:  # without choices, it may be an error in any form
        return parsed(data, whole=False)
    return chunk


def parsed(data: str, *, whole: bool) -> Chunk:
    """Read a chunk, or a complete reply, in any form of the format that a server is known to send.

    Raises:
        ProviderError: it is an error.
        InvalidReply: it is not in OpenAI's format.
    """
    subject = "it" if whole else "a piece of it"
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):  # also for a number of too many digits
        raise InvalidReply(f"{subject} is not JSON") from None
    if error := error_in(read):
        raise ProviderError(error)
    try:
        return msgspec.convert(normal_form(read, whole), Chunk)
    except (AttributeError, TypeError, KeyError, msgspec.ValidationError):
        raise InvalidReply(f"{subject} is not in OpenAI's format") from None


def normal_form(read: Mapping[str, Any], whole: bool) -> dict[str, Any]:
    """Return a chunk, or a complete reply, with the fields that are read, in the types of the format."""
    choices = [*_choices(read.get("choices") or (), whole)]
    fields = {name: read.get(name) for name in ("usage", "x_groq", "service_tier")}
    return fields | {"choices": choices}


def _choices(read: Any, whole: bool) -> Iterator[dict[str, Any]]:
    choices = [choice for choice in read if str(choice.get("index") or 0) == "0"]
    if not whole:
        for choice in choices:
            delta = _part(choice.get("delta") or {})
            yield _choice(choice) | {"delta": delta, "message": choice.get("message"), "text": choice.get("text")}
        return
    announced = any(reason_of(choice.get("finish_reason")) == "tool_calls" for choice in choices)
    if announced and not any((choice.get("message") or {}).get("tool_calls") for choice in choices):
        # Copilot has the text in one choice, and the calls in another.
        choices += [choice for choice in read if choice not in choices]
    if choices:
        yield _choice(choices[0]) | {"delta": _joined([_part(choice.get("message") or {}) for choice in choices])}


def _choice(read: Mapping[str, Any]) -> dict[str, Any]:
    reason = read.get("finish_reason")
    return {
        "finish_reason": None if reason is None else reason_of(reason),
        "usage": read.get("usage"),
        "error": read.get("error"),
    }


def _joined(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the message of several choices without an index, or of such that belong together."""
    joined = dict(parts[0])
    for part in parts[1:]:
        for name in ("content", "refusal", "reasoning_content"):
            joined[name] = "".join(filter(None, (joined[name], part[name]))) or None
        joined["tool_calls"] = joined["tool_calls"] + part["tool_calls"]
    return joined


def _part(read: Mapping[str, Any]) -> dict[str, Any]:
    part = {name: read.get(name) for name in _THOUGHTS}
    content, refusal = read.get("content"), read.get("refusal")
    part["content"] = text_of(content) if content else None
    part["refusal"] = str(refusal) if refusal else None
    if isinstance(role := read.get("role"), str):
        part["role"] = role
    if thought := thought_of(content):
        part["reasoning_content"] = part["reasoning_content"] or thought
    calls = read.get("tool_calls") or []
    if isinstance(calls, dict):  # one without its list
        calls = [calls]
    if (legacy := read.get("function_call")) and not any(calls):
        calls = [{"function": legacy}]
    found = [_call_part(call) for call in calls if call is not None]
    part["tool_calls"] = [call for call in found if call["id"] or any(call["function"].values())]
    return part


def _id_and_role(data: str) -> tuple[Any, Any]:
    """Return the id of a chunk, and the role in its first choice."""
    try:
        read = msgspec.json.decode(data)
    except msgspec.DecodeError:  # it has NaN or a lone surrogate, which Python reads
        read = json.loads(data)
    roles = [(choice.get("delta") or {}).get("role") for choice in read.get("choices") or ()]
    return read.get("id"), next(iter(roles), None)


def _index(value: Any) -> Any:
    """Return the index of a call, which some servers write as text."""
    if isinstance(value, str | float) and str(value).removesuffix(".0").isdecimal():
        return int(float(value))
    return value


def _call_part(read: Mapping[str, Any]) -> dict[str, Any]:
    function = read.get("function") or {}
    arguments = function.get("arguments")
    if arguments is not None and not isinstance(arguments, str):
        arguments = json.dumps(arguments) if arguments else ""
    id_ = read.get("id")
    if isinstance(id_, int) and not isinstance(id_, bool):
        id_ = str(id_)
    return {
        "index": _index(read.get("index")),
        "id": id_ or None,
        "function": {"name": function.get("name") or None, "arguments": arguments},
    }
