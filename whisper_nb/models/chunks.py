"""Reads a reply from the chunks that litellm's stream holds.

litellm's own reading of them makes up a "stop" for a stream that was cut off, and token counts for a provider that
gave none (https://github.com/BerriAI/litellm/issues/40260), at several times the cost. So the provider's chunks are read
as they are; only those in a form that litellm alone knows are read through it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping
from typing import Any, Self

from ..core.messages import Delta, ReasoningDelta, TextDelta
from .reading import InvalidReply, ReplyReader, text_of


async def provider_chunks(stream: Any) -> AsyncGenerator[Any, None]:
    """What the provider said, chunk by chunk. Closing the generator closes the connection.

    Args:
        stream: litellm's CustomStreamWrapper; or the plain generator that it gives for text completions, which has to
            be believed.
    """
    if not hasattr(stream, "aclose"):  # it came in one: a chunk whose message is its delta
        yield stream
        return
    try:
        source = await _opened(stream)
        if source is not None and _is_readable(await source.peek()):
            async for chunk in source:
                if chunk is not None:
                    yield chunk
        else:
            async for chunk in stream:
                if not _is_made_up(chunk, stream):
                    yield chunk
    finally:
        await stream.aclose()


async def _opened(stream: Any) -> _Source | None:
    """The provider's own stream in litellm's; None where it is not to be had."""
    if isinstance(stream, AsyncGenerator):
        return _Source(stream)
    if stream.completion_stream is None:
        await stream.fetch_stream()  # Gemini's request is sent only now
    if not isinstance(stream.completion_stream, AsyncIterable):
        return None
    source = stream.completion_stream = _Source(stream.completion_stream)
    return source


class LiteLLMReader(ReplyReader):
    """One reply, from litellm's chunks."""

    __slots__ = ("_over", "_speaks")

    def __init__(self, field: str = "") -> None:
        super().__init__(field or "thinking_blocks")  # litellm's own, whoever's thoughts they are
        self._speaks = False  # in litellm's generic form
        self._over = False

    def read(self, chunk: Any) -> Iterator[Delta]:
        """What one chunk adds. Many say nothing."""
        return self._read_generic(chunk) if isinstance(chunk, Mapping) else self._read_openai(chunk)

    def _read_openai(self, chunk: Any) -> Iterator[Delta]:
        self._count(getattr(chunk, "usage", None))
        for choice in chunk.choices or ():
            index = getattr(choice, "index", 0)
            if isinstance(index, int) and index:
                continue  # another reply to the same prompt
            if self._over:
                raise InvalidReply(
                    "LiteLLM took a piece of text with [DONE] in it for the end of the reply, and lost it"
                )
            self._end(choice.finish_reason)
            delta = getattr(choice, "delta", None) or choice.message
            if thought := getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None):
                yield ReasoningDelta(str(thought))
            own = getattr(delta, "provider_specific_fields", None) or {}
            if piece := getattr(delta, self._field, None) or own.get(self._field):
                self._keep(piece)
            if delta.content:
                yield TextDelta(text_of(delta.content))
            for call in delta.tool_calls or ():
                function = call.function
                yield self._call(getattr(call, "index", None), call.id or "", function.name or "", function.arguments)

    def _read_generic(self, chunk: Mapping[str, Any]) -> Iterator[Delta]:
        """The form of litellm's own: of a few providers, and what litellm makes of `[DONE]` from all others."""
        self._count(chunk.get("usage"))
        if text := chunk.get("text"):
            yield TextDelta(text)
        if call := chunk.get("tool_use"):
            function = call["function"]
            yield self._call(call["index"], call["id"] or "", function["name"] or "", function["arguments"])
        self._speaks = self._speaks or bool(text or call)
        if chunk["is_finished"] and self._speaks:
            self._end(chunk["finish_reason"] or "stop")
        elif chunk["is_finished"]:
            self._over = True  # `[DONE]`: the end of the stream, and no reason


class _Source:
    """A provider's chunks, the first of which can be looked at beforehand."""

    __slots__ = ("_chunks", "_first", "_next")

    def __init__(self, chunks: AsyncIterable[Any]) -> None:
        self._chunks = chunks
        self._next = aiter(chunks).__anext__
        self._first: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chunks, name)  # litellm closes it by aclose() or by close(), whichever there is

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return self._first.pop() if self._first else await self._next()

    async def peek(self) -> Any:
        """The first chunk, which stays; None when there is none."""
        async for chunk in self:
            self._first.append(chunk)
            return chunk
        return None


def _is_readable(chunk: Any) -> bool:
    if chunk is None:
        return True
    if isinstance(chunk, Mapping):
        return "is_finished" in chunk
    choices = getattr(chunk, "choices", None)
    return choices is not None and all(getattr(choice, "delta", None) is not None for choice in choices)


def _is_made_up(chunk: Any, stream: Any) -> bool:
    """Whether litellm says this, and not the provider."""
    if getattr(chunk, "usage", None) is not None:
        return not any(getattr(received, "usage", None) for received in stream.chunks)
    reason = stream.received_finish_reason or stream.intermittent_finish_reason
    return reason is None and any(choice.finish_reason for choice in chunk.choices)
