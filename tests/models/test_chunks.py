"""Streams that only LiteLLM can read, and its generic chunks, which no provider in test_lite sends."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from whisper_nb.core.messages import CallDelta, Delta, Finish, TextDelta, Usage
from whisper_nb.models.chunks import LiteLLMReader, provider_chunks


def generic(text: str = "", finished: bool = False, **more: Any) -> dict[str, Any]:
    """A GenericStreamingChunk."""
    return {"text": text, "is_finished": finished, "finish_reason": "stop" if finished else "", "usage": None, **more}


def openai(text: str = "", reason: str | None = None) -> Any:
    delta = SimpleNamespace(content=text, tool_calls=None)
    return SimpleNamespace(choices=[SimpleNamespace(delta=delta, finish_reason=reason)])


def read(chunks: Iterable[Any]) -> tuple[list[Delta], Finish | None]:
    reading = LiteLLMReader()
    return [delta for chunk in chunks for delta in reading.read(chunk)], reading.finish()


def test_a_generic_chunk_is_read() -> None:
    call = {"index": 1, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    used = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    deltas, finish = read([generic("Hel"), generic("lo"), generic(tool_use=call), generic(finished=True, usage=used)])
    assert deltas == [TextDelta("Hel"), TextDelta("lo"), CallDelta(0, "call_1", "add", "{}")]
    assert finish == Finish("stop", Usage(3, 2))


def test_the_end_of_a_stream_is_not_a_finish_reason() -> None:
    done = generic(finished=True)
    assert read([done])[1] is None
    assert read([openai("Hello"), done])[1] is None
    assert read([openai("Hello"), openai(reason="stop"), done])[1] == Finish("stop")
    with pytest.raises(ValueError, match=r"lost a piece of text with \[DONE\] in it"):
        read([openai("Hello"), done, openai("!")])


def test_usage_may_come_in_several_chunks() -> None:
    reading = LiteLLMReader()
    for used in ({"prompt_tokens": 7, "completion_tokens": 0}, {"prompt_tokens": 0, "completion_tokens": 2, "cost": 0}):
        assert list(reading.read(generic(usage=used))) == []
    assert reading.usage == {"prompt_tokens": 7, "completion_tokens": 2, "cost": 0}


def test_the_last_usage_counts_but_for_zeros() -> None:
    reading = LiteLLMReader()
    for used in (
        {"cost": 0.5, "prompt_tokens": 9},
        {"cost": 0.25, "prompt_tokens": 7},
        {"cost": 0, "prompt_tokens": 0},
    ):
        assert list(reading.read(generic(usage=used))) == []
    assert reading.usage == {"cost": 0.25, "prompt_tokens": 7}


def thought(*pieces: dict[str, Any]) -> Any:
    """The reasoning that is sent back for a reply whose reasoning came in these pieces."""
    reading = LiteLLMReader()
    for piece in pieces:
        delta = SimpleNamespace(content="", tool_calls=None, thinking_blocks=[piece])
        assert list(reading.read(SimpleNamespace(choices=[SimpleNamespace(delta=delta, finish_reason="stop")]))) == []
    finish = reading.finish()
    assert finish is not None
    assert finish.reasoning is not None
    return finish.reasoning["thinking_blocks"]


def test_interleaved_reasoning_blocks_are_joined_by_index() -> None:
    pieces = [
        {"type": "t", "index": n, "text": text} for n, text in ((0, "I "), (1, "You "), (0, "think."), (1, "do."))
    ]
    ends = [{"type": "t", "index": n, "signature": f"s{n}"} for n in (1, 0)]
    first, second = {"text": "I think.", "signature": "s0"}, {"text": "You do.", "signature": "s1"}
    assert thought(*pieces, *ends) == [{"type": "t", "index": n} | one for n, one in enumerate((first, second))]
    again = {"type": "t", "index": 0, "text": "More"}
    assert thought(*pieces, *ends, again)[2] == again


def test_any_reasoning_can_be_encoded() -> None:
    pieces = [{"text": "a\ud83d"}, {"text": "\ude00", "signature": "\udc00", "more": {"x": [math.nan, "\ud800"]}}]
    [block] = thought(*pieces)
    assert block == {"text": "a😀", "signature": "�", "more": {"x": [None, "�"]}}


class Wrapper:
    """litellm's stream around one that cannot be iterated here: what it says, and what it has heard itself."""

    completion_stream = object()

    def __init__(self, *said: Any, reason: str | None, heard: Iterable[Any] = ()) -> None:
        self.said = said
        self.chunks = list(heard)
        self.received_finish_reason = reason
        self.intermittent_finish_reason = None
        self.closed = False

    async def __aiter__(self) -> AsyncIterator[Any]:
        for chunk in self.said:
            yield chunk

    async def aclose(self) -> None:
        self.closed = True


@pytest.mark.parametrize("reason", ["stop", None])
async def test_chunks_that_litellm_adds_are_left_out(reason: str | None) -> None:
    counted = SimpleNamespace(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 2})
    wrapper = Wrapper(openai("Hello"), openai(reason="stop"), counted, reason=reason, heard=[openai("Hello")])
    deltas, finish = read([chunk async for chunk in provider_chunks(wrapper)])
    assert deltas == [TextDelta("Hello")]
    assert finish == (Finish("stop") if reason else None)
    assert wrapper.closed
