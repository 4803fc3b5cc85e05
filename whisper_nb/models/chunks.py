"""Read a reply from the provider's chunks beneath LiteLLM's stream.

LiteLLM's own reading makes up the reason "stop" for a stream that was cut off, and token counts for a provider that
reported none (https://github.com/BerriAI/litellm/issues/40260), and costs several times as much CPU. So the provider's
chunks are read directly. Only those in a format that LiteLLM alone knows are read through it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterator, Mapping
from typing import Any, Self

from ..core.messages import Delta, ReasoningDelta, TextDelta
from .reading import InvalidReply, ReplyReader, text_of


async def provider_chunks(stream: Any) -> AsyncGenerator[Any, None]:
    """Yield the provider's chunks. Closing the generator closes the connection.

    Args:
        stream: LiteLLM's CustomStreamWrapper; or its plain generator for text completions, which cannot be checked.
    """
    if not hasattr(stream, "aclose"):  # a whole reply: a chunk with a message in place of a delta
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
    """Return the provider's own stream within LiteLLM's, or None."""
    if isinstance(stream, AsyncGenerator):
        return _Source(stream)
    if stream.completion_stream is None:
        await stream.fetch_stream()  # Gemini's request is sent only then
    if not isinstance(stream.completion_stream, AsyncIterable):
        return None
    source = stream.completion_stream = _Source(stream.completion_stream)
    return source


class LiteLLMReader(ReplyReader):
    """One reply, from LiteLLM's chunks."""

    __slots__ = ("_has_content", "_over")

    def __init__(self, field: str = "") -> None:
        super().__init__(field or "thinking_blocks")  # LiteLLM's field for the reasoning of any provider
        self._has_content = False  # in LiteLLM's generic format
        self._over = False

    def read(self, chunk: Any) -> Iterator[Delta]:
        """Yield the deltas of one chunk. Many chunks have none."""
        if isinstance(chunk, Mapping):
            return self._read_generic(chunk)
        return self._read_openai(chunk)

    def _read_openai(self, chunk: Any) -> Iterator[Delta]:
        self._count(getattr(chunk, "usage", None))
        for choice in chunk.choices or ():
            index = getattr(choice, "index", 0)
            if isinstance(index, int) and index:
                continue  # another reply to the same prompt
            if self._over:
                raise InvalidReply(
                    "LiteLLM lost a piece of text with [DONE] in it, which it takes for the end of the reply"
                )
            self._end(choice.finish_reason)
            delta = getattr(choice, "delta", None) or getattr(choice, "message", None)
            if delta is None:
                continue
            if reasoning := getattr(delta, "reasoning_content", None) or getattr(delta, "reasoning", None):
                yield ReasoningDelta(str(reasoning))
            own = getattr(delta, "provider_specific_fields", None) or {}
            if piece := getattr(delta, self._field, None) or own.get(self._field):
                self._keep(piece)
            if text := text_of(delta.content or "") + (getattr(delta, "refusal", None) or ""):
                self._has_text = True
                yield TextDelta(text)
            for call in delta.tool_calls or ():
                function = call.function
                name, arguments = getattr(function, "name", None), getattr(function, "arguments", None)
                if call.id or name or arguments:
                    yield self._call(getattr(call, "index", None), call.id or "", name or "", arguments)
            for call in own.get("server_tool_calls") or ():  # of LiteLLM 1.110: calls that the provider itself served
                yield self._call(None, call["id"], call["function"]["name"], call["function"]["arguments"])

    def _read_generic(self, chunk: Mapping[str, Any]) -> Iterator[Delta]:
        """Yield the deltas of a chunk in LiteLLM's own format: of a few providers, and for `[DONE]` of all others."""
        self._count(chunk.get("usage"))
        if text := chunk.get("text"):
            self._has_text = True
            yield TextDelta(text)
        if call := chunk.get("tool_use"):
            function = call["function"]
            yield self._call(call["index"], call["id"] or "", function["name"] or "", function["arguments"])
        self._has_content = self._has_content or bool(text or call)
        if chunk["is_finished"] and self._has_content:
            self._end(chunk["finish_reason"] or "stop")
        elif chunk["is_finished"]:
            self._over = True  # `[DONE]`: the end of the stream, not a finish reason


class _Source:
    """A provider's chunks, with a look at the first one."""

    __slots__ = ("_chunks", "_first", "_next")

    def __init__(self, chunks: AsyncIterable[Any]) -> None:
        self._chunks = chunks
        self._next = aiter(chunks).__anext__
        self._first: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chunks, name)  # LiteLLM calls its aclose() or close(), whichever exists

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        if self._first:
            return self._first.pop()
        return await self._next()

    async def peek(self) -> Any:
        """Return the first chunk without removing it; None at the end."""
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
    """Whether LiteLLM made up the chunk, which the provider did not send."""
    if getattr(chunk, "usage", None) is not None:
        return not any(getattr(received, "usage", None) for received in stream.chunks)
    reason = stream.received_finish_reason or stream.intermittent_finish_reason
    return reason is None and any(choice.finish_reason for choice in chunk.choices)
