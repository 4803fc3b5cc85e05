"""A provider on 127.0.0.1 that speaks OpenAI's chat-completions wire format and does what the test says.

    async with Provider() as provider:
        provider.answers.append([*text("Hel", "lo"), finish("stop"), usage(3, 2), DONE])
        ...                                   # a call to provider.url
        request = await provider.arrived()    # its headers and JSON body

An answer is a list of steps, taken in order, or a `Refusal`. Where the list ends the reply ends, whether or not a
finish reason and DONE were among the steps. `default` answers what `answers` has nothing for. With raw bytes as steps
it speaks any other format, too: every path is answered.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True)
class Pause:
    """Wait before the next step."""

    seconds: float


@dataclass(frozen=True)
class Refusal:
    """An HTTP error instead of a reply."""

    status: int
    message: str = "the test says no"
    echo: bool = False
    """Say the Authorization header in the message, as some gateways do."""


DONE = b"data: [DONE]\n\n"
HANG = Pause(3600)
#: Break the connection: no more bytes and no proper end.
CUT = object()

#: A chunk's JSON, raw bytes, a pause, CUT, or an event to wait for.
Step = dict[str, Any] | bytes | Pause | asyncio.Event | object
Answer = Iterable[Step] | Refusal


def chunk(delta: dict[str, Any] | None = None, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a stream; without a delta it has no choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "test-model"}
    return {**head, "choices": choices, **more}


def text(*pieces: str) -> list[dict[str, Any]]:
    """A chunk for each piece of text."""
    return [chunk({"role": "assistant", "content": piece}) for piece in pieces]


def call(index: int, name: str, *arguments: str, id: str | None = None) -> list[dict[str, Any]]:
    """A tool call: a chunk with its id and name, then one for each piece of its arguments."""
    start = {"index": index, "id": id or f"call_{index}", "type": "function"}
    first = chunk({"tool_calls": [{**start, "function": {"name": name, "arguments": ""}}]})
    rest = [chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}) for piece in arguments]
    return [first, *rest]


def finish(reason: str = "stop") -> dict[str, Any]:
    """The chunk that says why the reply ended."""
    return chunk({}, reason)


def usage(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    """The chunk without choices that says what was used; `more` as `cost=0.01`."""
    tokens = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return chunk(usage={**tokens, **more})


def says(*pieces: str) -> list[Step]:
    """A whole reply of text."""
    return [*text(*pieces), finish("stop"), usage(7, len(pieces)), DONE]


@dataclass(eq=False)
class Request:
    """What a client sent."""

    path: str
    headers: dict[str, str] = field(repr=False)
    body: dict[str, Any]
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client closed the connection before the reply was over."""

    @property
    def key(self) -> str:
        """The bearer token."""
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    @property
    def prompt(self) -> str:
        """The text of the last message."""
        return str(self.body["messages"][-1]["content"])


class Provider:
    """The server: `async with Provider() as provider`."""

    def __init__(self, default: Callable[[Request], Answer] = lambda _: says("Hello", " world")) -> None:
        self.default = default
        self.answers: deque[Answer] = deque()
        """Taken from the left, one for each request."""
        self.requests: list[Request] = []
        self.url = ""
        """The `api_base`."""
        self._arrivals: asyncio.Queue[Request] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_post("/{path:.*}", self._answer)
        # With handler cancellation a client that leaves is noticed at once, not at the next write.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def arrived(self) -> Request:
        """The next request, as soon as it is here."""
        return await self._arrivals.get()

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        request = Request(http.path, dict(http.headers), await http.json())
        self.requests.append(request)
        self._arrivals.put_nowait(request)
        answer = self.answers.popleft() if self.answers else self.default(request)
        if isinstance(answer, Refusal):
            said = f"{answer.message}: {http.headers.get('Authorization')}" if answer.echo else answer.message
            return web.json_response({"error": {"message": said, "type": "test"}}, status=answer.status)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        try:
            for step in answer:
                await self._take(step, http, response)
            await response.prepare(http)
        except ConnectionError:
            request.gone.set()
        except asyncio.CancelledError:
            request.gone.set()
            raise
        return response

    async def _take(self, step: Step, http: web.Request, response: web.StreamResponse) -> None:
        match step:
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case asyncio.Event():
                await step.wait()
            case bytes() | dict():
                await response.prepare(http)  # not before: a reply may hang without headers; once is enough
                line = step if isinstance(step, bytes) else b"data: " + json.dumps(step).encode() + b"\n\n"
                await response.write(line)
            case _:
                assert http.transport is not None
                http.transport.abort()
