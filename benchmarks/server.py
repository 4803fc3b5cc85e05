"""An OpenAI-compatible server in a process and on a core of its own, much faster than the clients that are measured.

It reads three things of a request: the first segment of the path, which is one of WAYS; whether a stream is requested;
and, where tools are called, the role of the last message. Every reply is prepared, except for its number.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from .measure import pin

PACE = 50
#: Tokens of one reply.
PLAIN, PACED = 8, 100
LATENCY_S = 0.05
#: The tool that is called, and its arguments.
TOOL, ARGUMENTS = "add", '{"a": 1, "b": 2}'


@dataclass(frozen=True)
class Way:
    """How a request is answered."""

    after_s: float = 0.0
    pace: int = 0
    """Tokens a second; 0: all at once. The last token is the time at which it is sent (time.monotonic, the same clock
    for all processes), so that a client can tell its delay."""
    calls_tool: bool = False
    """Whether a message that is not a tool's result is answered by a call of the tool."""


WAYS = {
    b"plain": Way(),
    b"late": Way(after_s=LATENCY_S),
    b"paced": Way(pace=PACE),
    b"tools": Way(calls_tool=True),
}


@contextmanager
def serving() -> Iterator[str]:
    """Run the server, and give its address."""
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_main, args=(there,), daemon=True)
    process.start()
    there.close()  # so that a server that does not start is an error here
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


def _main(parent: Connection) -> None:
    pin(-1)
    asyncio.run(_serve(parent))


async def _serve(parent: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(_Answers, "127.0.0.1", 0, backlog=1_000)
    parent.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _Answers(asyncio.Protocol):
    """One connection, kept alive; one request at a time."""

    transport: asyncio.Transport
    pending: asyncio.Task[None] | asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def connection_lost(self, _: Exception | None) -> None:
        if self.pending:
            self.pending.cancel()

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, blank, body = self.received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if not blank or len(body) < int(length):
            return
        self.received = b""
        way = WAYS[head.split(b"/", 2)[1]]
        number = b"%08d" % next(_numbers)
        if way.pace:
            self.pending = asyncio.create_task(self.answer_slowly(way.pace, number))
            return
        streamed = b'"stream":true' in body or b'"stream": true' in body
        reply = _REPLIES[way.calls_tool and not _tool_spoke_last(body), streamed].replace(_NUMBER, number)
        if way.after_s:
            loop = asyncio.get_running_loop()
            self.pending = loop.call_later(way.after_s, self.transport.write, reply)
        else:
            self.transport.write(reply)

    async def answer_slowly(self, pace: int, number: bytes) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        token = _WORD.replace(_NUMBER, number)
        self.transport.write(_STREAM)
        for sent in range(PACED - 1):
            await asyncio.sleep(start + sent / pace - loop.time())
            self.transport.write(token)
        await asyncio.sleep(start + (PACED - 1) / pace - loop.time())
        last = _delta({"content": f"{time.monotonic():.6f}"}) + _end("stop", PACED)
        self.transport.write(last.replace(_NUMBER, number))


def _tool_spoke_last(body: bytes) -> bool:
    """Whether the last message is a tool's result, by the last `"role"` of the body."""
    return body[body.rfind(b'"role"') + 6 :][:8].lstrip(b": ").startswith(b'"tool"')


def _http_chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _json(kind: str, **fields: Any) -> bytes:
    head = {"id": f"chatcmpl-{_NUMBER.decode()}", "object": kind, "created": 1, "model": "gpt-4o-mini-2024-07-18"}
    return json.dumps(head | fields).encode()


def _event(**fields: Any) -> bytes:
    return _http_chunk(b"data: " + _json("chat.completion.chunk", **fields) + b"\n\n")


def _delta(delta: dict[str, Any], reason: str | None = None) -> bytes:
    return _event(choices=[{"index": 0, "delta": delta, "finish_reason": reason}])


def _usage(tokens: int) -> dict[str, int]:
    return {"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens}


def _end(reason: str, tokens: int) -> bytes:
    usage = _event(choices=[], usage=_usage(tokens))
    return _delta({}, reason) + usage + _http_chunk(b"data: [DONE]\n\n") + _http_chunk(b"")


def _whole(reason: str, **message: Any) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": reason}
    body = _json("chat.completion", choices=[choice], usage=_usage(PLAIN))
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body


_numbers = itertools.count()
_NUMBER = b"########"
_STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_WORD = _delta({"role": "assistant", "content": "word "})
_CALL = {"id": f"call_{_NUMBER.decode()}", "type": "function", "function": {"name": TOOL, "arguments": ARGUMENTS}}
_HALVES = [ARGUMENTS[:8], ARGUMENTS[8:]]
_CALL_STARTS = {"index": 0, **_CALL, "function": {"name": TOOL, "arguments": ""}}
_TOOL_STREAM = [
    _STREAM,
    _delta({"role": "assistant", "tool_calls": [_CALL_STARTS]}),
    *[_delta({"tool_calls": [{"index": 0, "function": {"arguments": half}}]}) for half in _HALVES],
    _end("tool_calls", PLAIN),
]
#: (whether a tool is called, whether it is streamed) → the reply.
_REPLIES = {
    (False, False): _whole("stop", content="word " * PLAIN),
    (False, True): _STREAM + _WORD * PLAIN + _end("stop", PLAIN),
    (True, False): _whole("tool_calls", tool_calls=[_CALL]),
    (True, True): b"".join(_TOOL_STREAM),
}
