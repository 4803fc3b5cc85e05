"""A provider on 127.0.0.1 that speaks the wire formats of OpenAI and Anthropic and answers as the test says.

    async with Provider() as provider:
        provider.answers.append([*text("Hel", "lo"), finish("stop"), usage(3, 2), DONE])
        ...                                   # a call to provider.url
        request = await provider.arrived()    # its headers and JSON body

An answer is a list of steps, taken in order. Where the list ends the reply ends, whether or not a finish reason and
DONE were among the steps. Steps are in OpenAI's words, chunk by chunk; who asks for the reply in one JSON, or at
Anthropic's
address (`/messages`), hears the same in that form. With raw bytes as steps it speaks any other format, too: every path
is answered. A `Reply` is steps with a status and headers, a `Refusal` an HTTP error, a `Raw` whatever no decent server
would send. `default` answers what `answers` has nothing for.
"""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True)
class Pause:
    """Wait before the next step."""

    seconds: float


@dataclass(frozen=True)
class Many:
    """The same bytes many times: a reply of any size that needs no memory here."""

    piece: bytes
    times: int


@dataclass(frozen=True)
class Refusal:
    """An HTTP error instead of a reply."""

    status: int
    message: str = "the test says no"
    echo: bool = False
    """Repeat the received key in the message, as some gateways do."""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Reply:
    """Steps under a status and headers of their own."""

    steps: Iterable[Step]
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    """By default, `Content-Type` is text/event-stream, or application/json for a complete reply."""


@dataclass(frozen=True)
class Raw:
    """Bytes that are sent unchanged, with the status line; after the last step the connection is closed."""

    steps: Sequence[bytes | Many | Pause | object]


DONE = b"data: [DONE]\n\n"
HANG = Pause(3600)
#: Break the connection: no more bytes and no proper end.
CUT = object()

#: A chunk's JSON, raw bytes, a pause, CUT, or an event to wait for.
Step = dict[str, Any] | bytes | Many | Pause | asyncio.Event | object
Answer = Iterable[Step] | Reply | Refusal | Raw


def chunk(delta: dict[str, Any] | None = None, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    """One chunk of a stream; without a delta it has no choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish_reason}]
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "test-model"}
    return {**head, "choices": choices, **more}


def text(*pieces: str) -> list[dict[str, Any]]:
    """A chunk for each piece of text."""
    return [chunk({"role": "assistant", "content": piece}) for piece in pieces]


def thought(*pieces: str, field: str = "reasoning_content") -> list[dict[str, Any]]:
    """A chunk for each piece of reasoning."""
    return [chunk({"role": "assistant", "content": None, field: piece}) for piece in pieces]


def call(index: int, name: str, *arguments: str, id: str | None = None) -> list[dict[str, Any]]:
    """A tool call: a chunk with its id and name, then one for each piece of its arguments."""
    start = {"index": index, "id": id or f"call_{index}", "type": "function"}
    first = chunk({"tool_calls": [{**start, "function": {"name": name, "arguments": ""}}]})
    rest = [chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]}) for piece in arguments]
    return [first, *rest]


def finish(reason: str = "stop") -> dict[str, Any]:
    """The chunk with the finish reason."""
    return chunk({}, reason)


def usage(prompt: int, completion: int, **more: Any) -> dict[str, Any]:
    """The chunk without choices that has the usage; `more` is, for example, `cost=0.01`."""
    tokens = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
    return chunk(usage={**tokens, **more})


def says(*pieces: str) -> list[Step]:
    """A complete reply of text."""
    return [*text(*pieces), finish("stop"), usage(7, len(pieces)), DONE]


def data(chunk: object) -> bytes:
    """A chunk as an event of a stream."""
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


@dataclass(eq=False)
class Request:
    """A client's request."""

    path: str
    headers: dict[str, str] = field(repr=False)
    body: dict[str, Any]
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the client closed the connection before the end of the reply."""
    reused: bool = False
    """Whether its connection had a request before."""
    raw: bytes = b""
    """The body as it came."""

    @property
    def key(self) -> str:
        """The bearer token, or Anthropic's header for the key."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        return headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")

    @property
    def prompt(self) -> str:
        """The text of the last message."""
        said = self.body["messages"][-1]["content"]
        return str(said if isinstance(said, str) else said[-1].get("text"))

    @property
    def streams(self) -> bool:
        """Whether a stream is requested."""
        return bool(self.body.get("stream")) or "stream" in self.path  # Gemini says it there

    @property
    def anthropic(self) -> bool:
        """Whether it is in Anthropic's format."""
        return self.path.endswith("/messages")


class Provider:
    """The server: `async with Provider() as provider`."""

    def __init__(self, default: Callable[[Request], Answer] = lambda _: says("Hello", " world")) -> None:
        self.default = default
        self.answers: deque[Answer] = deque()
        """Taken from the left, one for each request."""
        self.requests: list[Request] = []
        self.facts: dict[str, Any] = {}
        """Path → the JSON that a GET of it gets, such as `/v1/models`; others get a 404."""
        self.looked_up: list[str] = []
        """The paths of all GETs."""
        self.url = ""
        """The `api_base`."""
        self.connections: set[asyncio.BaseTransport] = set()
        """The connections of all requests so far."""
        self._arrivals: asyncio.Queue[Request] = asyncio.Queue()

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/{path:.*}", self._answer)
        app.router.add_get("/{path:.*}", self._tell)
        # With handler cancellation, a client's disconnect is noticed at once, not at the next write.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}/v1"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def arrived(self) -> Request:
        """The next request, as soon as it arrives."""
        return await self._arrivals.get()

    async def _tell(self, http: web.Request) -> web.Response:
        self.looked_up.append(http.path)
        if http.path not in self.facts:
            return web.Response(status=404)
        return web.json_response(self.facts[http.path])

    async def _answer(self, http: web.Request) -> web.StreamResponse:
        assert http.transport is not None
        reused = http.transport in self.connections
        request = Request(http.path, dict(http.headers), await http.json(), reused=reused, raw=await http.read())
        self.requests.append(request)
        self.connections.add(http.transport)
        self._arrivals.put_nowait(request)
        answer = self.answers.popleft() if self.answers else self.default(request)
        if isinstance(answer, Refusal):
            return _refused(answer, request)
        reply = answer if isinstance(answer, Reply | Raw) else Reply(answer)
        response = web.StreamResponse(headers={"Content-Type": _type(request)})
        if isinstance(reply, Reply):
            response.set_status(reply.status)
            response.headers.update(reply.headers)
        try:
            for step in _spoken(request, reply):
                await _take(step, http, None if isinstance(reply, Raw) else response)
            if isinstance(reply, Raw):
                http.transport.close()
            else:
                await response.prepare(http)
        except ConnectionError:
            request.gone.set()
        except asyncio.CancelledError:
            request.gone.set()
            raise
        return response


def _refused(refusal: Refusal, request: Request) -> web.Response:
    said = f"{refusal.message}: Bearer {request.key}" if refusal.echo else refusal.message
    body: dict[str, Any] = {"error": {"message": said, "type": "test"}}
    if request.anthropic:
        body["type"] = "error"
    return web.json_response(body, status=refusal.status, headers=refusal.headers)


def _type(request: Request) -> str:
    return "text/event-stream" if request.streams else "application/json"


async def _take(step: Step, http: web.Request, response: web.StreamResponse | None) -> None:
    match step:
        case Pause(seconds):
            await asyncio.sleep(seconds)
        case asyncio.Event():
            await step.wait()
        case Many(piece, times):
            for _ in range(times):
                await _put(piece, http, response)
        case bytes():
            await _put(step, http, response)
        case _:
            assert http.transport is not None
            http.transport.abort()


async def _put(piece: bytes, http: web.Request, response: web.StreamResponse | None) -> None:
    if response is not None:
        await response.prepare(http)  # not before: a reply may hang without headers; once is enough
        await response.write(piece)
        return
    assert http.transport is not None
    http.transport.write(piece)
    await http.protocol._drain_helper()  # what a writer of aiohttp waits for
    if http.transport.is_closing():
        raise ConnectionResetError


# Conversion of OpenAI's chunks to the other formats


def _spoken(request: Request, reply: Reply | Raw) -> Iterator[Step]:
    """The steps in the requested format; no dict is left among them."""
    steps = list(reply.steps)
    if not any(isinstance(step, dict) for step in steps):
        return iter(steps)
    if not request.streams:
        return _in_one(steps, _message if request.anthropic else _completion)
    return _events(steps) if request.anthropic else (data(step) if isinstance(step, dict) else step for step in steps)


def _in_one(steps: Sequence[Step], made: Callable[[Folded], dict[str, Any]]) -> Iterator[Step]:
    """The reply as one JSON; half of it if the steps have no end."""
    folded = Folded(step for step in steps if isinstance(step, dict))
    body = json.dumps(made(folded)).encode()
    if folded.reason is None and DONE not in steps:
        body = body[: len(body) // 2]
    sent = False
    for step in steps:
        if isinstance(step, dict | bytes):
            continue
        if step is CUT:
            yield body
            sent = True
        yield step
    if not sent:
        yield body


class Folded:
    """The joined content of chunks."""

    def __init__(self, chunks: Iterable[dict[str, Any]]) -> None:
        self.text = ""
        self.refusal = ""
        self.thoughts: dict[str, str] = {}
        self.details: list[dict[str, Any]] = []
        self.calls: dict[int, dict[str, Any]] = {}
        self.reason: str | None = None
        self.usage: dict[str, Any] | None = None
        self.error: Any = None
        for one in chunks:
            self.usage = one.get("usage") or self.usage
            self.error = one.get("error") or self.error
            for choice in one["choices"]:
                self.reason = choice["finish_reason"] or self.reason
                self._add(choice["delta"])

    def _add(self, delta: dict[str, Any]) -> None:
        self.text += delta.get("content") or ""
        self.refusal += delta.get("refusal") or ""
        for name in ("reasoning_content", "reasoning"):
            if name in delta:
                self.thoughts[name] = self.thoughts.get(name, "") + delta[name]
        self.details += delta.get("reasoning_details", ())
        for piece in delta.get("tool_calls", ()):
            made = self.calls.setdefault(
                piece.get("index", len(self.calls)), {"function": {"name": "", "arguments": ""}}
            )
            function = piece["function"]
            made |= {name: piece[name] for name in ("id", "type") if name in piece}
            made["function"]["name"] += function.get("name") or ""
            made["function"]["arguments"] += function.get("arguments") or ""


def _completion(folded: Folded) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": folded.text or None, **folded.thoughts}
    if folded.refusal:
        message["refusal"] = folded.refusal
    if folded.details:
        message["reasoning_details"] = folded.details
    if folded.calls:
        message["tool_calls"] = list(folded.calls.values())
    body = {
        "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "test-model",
        "choices": [{"index": 0, "message": message, "finish_reason": folded.reason}],
    }  # fmt: skip
    return {
        **body,
        **({"usage": folded.usage} if folded.usage else {}),
        **({"error": folded.error} if folded.error else {}),
    }


_REASONS = {"stop": "end_turn", "tool_calls": "tool_use", "length": "max_tokens", "content_filter": "refusal"}


def _message(folded: Folded) -> dict[str, Any]:
    content: list[dict[str, Any]] = [
        {"type": "thinking", "thinking": thinks, "signature": "sig"} for thinks in folded.thoughts.values()
    ]
    content += [{"type": "text", "text": folded.text}] if folded.text else []
    for made in folded.calls.values():
        function = made["function"]
        try:
            arguments = json.loads(function["arguments"] or "{}")
        except ValueError:  # half of them
            arguments = {}
        content.append({"type": "tool_use", "id": made["id"], "name": function["name"], "input": arguments})
    return _envelope(folded.usage, content=content, stop_reason=_REASONS.get(folded.reason or "", folded.reason))


def _envelope(used: Mapping[str, Any] | None, **fields: Any) -> dict[str, Any]:
    used = used or {}
    tokens = {"input_tokens": used.get("prompt_tokens", 0), "output_tokens": used.get("completion_tokens", 0)}
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "test-model", "content": []}
    return {**head, "stop_reason": None, "stop_sequence": None, "usage": tokens, **fields}


def event(kind: str, **fields: Any) -> bytes:
    """One of Anthropic's events."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()


def _events(steps: Sequence[Step]) -> Iterator[Step]:
    """A stream in Anthropic's format: blocks one after the other, the usage with the finish reason."""
    used = Folded(step for step in steps if isinstance(step, dict)).usage
    tokens = {"input_tokens": (used or {}).get("prompt_tokens", 0), "output_tokens": 1 if used else 0}
    begun, number, kind = False, -1, ""
    for step in steps:
        if not isinstance(step, dict):
            yield event("message_stop") if step == DONE else step
            continue
        if not begun:
            yield event("message_start", message=_envelope(None, usage=tokens))
            yield event("ping")
            begun = True
        for reason, block, opening, delta in _blocks(step):
            if block != kind:
                if kind == "thinking":
                    yield event(
                        "content_block_delta", index=number, delta={"type": "signature_delta", "signature": "sig"}
                    )
                if number >= 0:
                    yield event("content_block_stop", index=number)
                kind = block
                if block:
                    number += 1
                    yield event("content_block_start", index=number, content_block=opening)
            if delta:
                yield event("content_block_delta", index=number, delta=delta)
            if reason:
                out = {"output_tokens": used["completion_tokens"]} if used else {}
                yield event("message_delta", delta={"stop_reason": _REASONS.get(reason, reason)}, usage=out)


def _blocks(chunk: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    """The additions of a chunk: a finish reason, its block, the start of the block, the delta."""
    for choice in chunk["choices"]:
        delta = choice["delta"]
        if thinks := delta.get("reasoning_content"):
            yield "", "thinking", {"type": "thinking", "thinking": ""}, {"type": "thinking_delta", "thinking": thinks}
        if piece := delta.get("content"):
            yield "", "text", {"type": "text", "text": ""}, {"type": "text_delta", "text": piece}
        for one in delta.get("tool_calls", ()):
            opening = {"type": "tool_use", "id": one.get("id"), "name": one["function"].get("name"), "input": {}}
            pieces = one["function"].get("arguments")
            said = {"type": "input_json_delta", "partial_json": pieces} if pieces else {}
            yield "", f"tool {one['index']}", opening, said
        if choice["finish_reason"]:
            yield choice["finish_reason"], "", {}, {}
