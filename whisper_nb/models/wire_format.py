"""Read replies in OpenAI's chat format: https://platform.openai.com/docs/api-reference/chat-streaming."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ..core.messages import Delta, ReasoningDelta, TextDelta
from .reading import EVENT_LIMIT, NOT_A_STREAM, NOT_CHAT, REPLY_LIMIT, TOO_LARGE, InvalidReply, ReplyReader, text_of
from .sse import Events
from .words import error_in, said


class ProviderError(Exception):
    """The provider reported a failure within a reply."""

    def __init__(self, error: Any) -> None:
        answer = said(error)
        self.text = answer.text
        code = answer.codes.partition(" ")[0]
        self.code: int | str = int(code) if code.isascii() and code.isdigit() else code or "error"


# The parts of a chunk that are read. Any value is allowed where providers differ; `null` and a missing field are alike.


class _Part(Struct, gc=False):
    """A message, or the piece of it that a chunk adds."""

    content: Any = None
    refusal: Any = None
    reasoning: Any = None
    reasoning_content: Any = None
    reasoning_details: Any = None
    tool_calls: Any = None


class _Choice(Struct, gc=False):
    index: Any = None
    delta: _Part | None = None
    finish_reason: Any = None
    usage: Any = None
    error: Any = None
    message: Any = None
    text: Any = None


class _Chunk(Struct, gc=False):
    choices: list[_Choice] | None = None
    usage: Any = None
    x_groq: Any = None
    service_tier: Any = None
    object: Any = None
    error: Any = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class WireReader(ReplyReader):
    """One reply, from its chunks."""

    __slots__ = ("_has_text",)

    def __init__(self, field: str = "") -> None:
        super().__init__(field)
        self._has_text = False

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
        subject = "it" if whole else "a piece of it"
        try:
            chunk = _lenient(data, whole) if whole else _chunk(data)
            if chunk.usage is not None or chunk.x_groq is not None:
                self._count(chunk.usage or (chunk.x_groq or {}).get("usage"))
                if chunk.x_groq and chunk.x_groq.get("error"):
                    raise ProviderError(chunk.x_groq["error"])
            if chunk.service_tier:
                self.usage["service_tier"] = chunk.service_tier
            for choice in chunk.choices or ():
                if not choice.index:
                    self._add_choice(choice, deltas)
                    if choice.message or choice.text:
                        self._check_rest(choice)
        except (AttributeError, TypeError, KeyError):
            raise InvalidReply(f"{subject} is not in OpenAI's format") from None
        except (json.JSONDecodeError, RecursionError):
            raise InvalidReply(f"{subject} is not JSON") from None

    def _add_choice(self, choice: _Choice, deltas: list[Delta]) -> None:
        if choice.usage is not None:
            self._count(choice.usage)
        if choice.error:
            raise ProviderError(choice.error)
        if choice.finish_reason:
            self._end(choice.finish_reason)
        part = choice.delta
        if part is None:
            return
        if thought := part.reasoning_content or part.reasoning:
            deltas.append(ReasoningDelta(str(thought)))
        if self._field and (piece := getattr(part, self._field)):
            self._keep(piece)
        if part.content:
            self._has_text = True
            deltas.append(TextDelta(text_of(part.content)))
        if part.refusal:
            self._has_text = True
            deltas.append(TextDelta(str(part.refusal)))
        for call in part.tool_calls or ():
            function = call.get("function") or {}
            id_, name = call.get("id") or "", function.get("name") or ""
            deltas.append(self._call(call.get("index"), id_, name, function.get("arguments")))

    def _check_rest(self, choice: _Choice) -> None:
        """Check that what a choice of a stream has besides its delta repeats deltas, as with MiniMax and Perplexity.

        Raises:
            InvalidReply: its content came in no delta, and would be lost.
        """
        if choice.text and not self._has_text:
            raise InvalidReply(NOT_CHAT)
        message = choice.message or {}
        has_text = message.get("content") or message.get("refusal")
        if (has_text and not self._has_text) or (message.get("tool_calls") and not self._calls):
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
                return self._reader.read(b"".join(self._pieces).decode(), whole=True)
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
            for data in self._events.feed(received):
                if data.strip() == "[DONE]":
                    self.done = True
                    break
                self._reader.add(data, deltas)
        except (ValueError, ProviderError) as error:
            self.done, self.failure = True, error
        if len(deltas) > 1 and all(type(delta) is TextDelta for delta in deltas):
            return [TextDelta("".join([delta.text for delta in deltas if isinstance(delta, TextDelta)]))]
        return deltas


def _chunk(data: str) -> _Chunk:
    try:
        chunk = _decode_chunk(data)
    except (msgspec.DecodeError, RecursionError):
        return _lenient(data, whole=False)
    if chunk.error or chunk.choices is None:
        return _lenient(data, whole=False)
    return chunk


def _lenient(data: str, whole: bool) -> _Chunk:
    """Read what msgspec refuses and `json` accepts: lone surrogates, NaN, large numbers, other types of fields.

    Raises:
        ProviderError: it is an error.
        AttributeError, KeyError, TypeError, ValueError, RecursionError: it is not in OpenAI's format.
    """
    read = json.loads(data)
    if error := error_in(read):
        raise ProviderError(error)
    choices = [*_choices(read.get("choices") or (), whole)]
    return _Chunk(choices, read.get("usage"), read.get("x_groq"), read.get("service_tier"))


def _choices(read: Any, whole: bool) -> Iterator[_Choice]:
    for choice in read:
        if choice.get("index"):
            continue
        given = _Choice(None, None, choice.get("finish_reason"), choice.get("usage"), choice.get("error"))
        if whole:
            given.delta = _part(choice["message"])
        else:
            given.delta = _part(choice.get("delta") or {})
            given.message, given.text = choice.get("message"), choice.get("text")
        yield given


def _part(read: Mapping[str, Any]) -> _Part:
    return _Part(*(read.get(field) for field in _Part.__struct_fields__))
