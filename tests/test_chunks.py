"""What is not seen over a real provider in test_lite: litellm's generic form, and streams that only litellm can read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from types import SimpleNamespace
from typing import Any

import pytest

from whisper_nb.messages import CallDelta, Delta, Finish, TextDelta, Usage
from whisper_nb.models.chunks import LiteReading, provider_chunks


def generic(text: str = "", finished: bool = False, **more: Any) -> dict[str, Any]:
    """A GenericStreamingChunk."""
    return {"text": text, "is_finished": finished, "finish_reason": "stop" if finished else "", "usage": None, **more}


def openai(text: str = "", reason: str | None = None) -> Any:
    delta = SimpleNamespace(content=text, tool_calls=None)
    return SimpleNamespace(choices=[SimpleNamespace(delta=delta, finish_reason=reason)])


def read(chunks: Iterable[Any]) -> tuple[list[Delta], Finish | None]:
    reading = LiteReading()
    return [delta for chunk in chunks for delta in reading.read(chunk)], reading.finish()


def test_the_generic_form() -> None:
    call = {"index": 1, "id": "call_1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    used = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    deltas, finish = read([generic("Hel"), generic("lo"), generic(tool_use=call), generic(finished=True, usage=used)])
    assert deltas == [TextDelta("Hel"), TextDelta("lo"), CallDelta(0, "call_1", "add", "{}")]
    assert finish == Finish("stop", Usage(3, 2))


def test_the_end_of_a_stream_is_no_reason() -> None:
    done = generic(finished=True)
    assert read([done])[1] is None
    assert read([openai("Hello"), done])[1] is None
    assert read([openai("Hello"), openai(reason="stop"), done])[1] == Finish("stop")
    with pytest.raises(ValueError, match="lost it"):
        read([openai("Hello"), done, openai("!")])


def test_tokens_may_be_told_in_parts() -> None:
    reading = LiteReading()
    for used in ({"prompt_tokens": 7, "completion_tokens": 0}, {"prompt_tokens": 0, "completion_tokens": 2, "cost": 0}):
        assert list(reading.read(generic(usage=used))) == []
    assert reading.spent == {"prompt_tokens": 7, "completion_tokens": 2, "cost": 0}


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
async def test_what_litellm_makes_up_is_left_out(reason: str | None) -> None:
    counted = SimpleNamespace(choices=[], usage={"prompt_tokens": 7, "completion_tokens": 2})
    wrapper = Wrapper(openai("Hello"), openai(reason="stop"), counted, reason=reason, heard=[openai("Hello")])
    deltas, finish = read([chunk async for chunk in provider_chunks(wrapper)])
    assert deltas == [TextDelta("Hello")]
    assert finish == (Finish("stop") if reason else None)
    assert wrapper.closed
