"""An OpenAI-compatible server in a process and on a core of its own, quick enough never to be what is measured.

It looks at a request's path only: below `/plain` the reply comes whole, below `/paced` at PACE tokens a second.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from .measure import pin

PACE = 50
#: Tokens of one reply.
PLAIN, PACED = 8, 100


@contextmanager
def serving() -> Iterator[str]:
    """Run the server; its address."""
    spawn = get_context("spawn")
    here, there = spawn.Pipe()
    process = spawn.Process(target=_main, args=(there,), daemon=True)
    process.start()
    try:
        yield f"http://127.0.0.1:{here.recv()}"
    finally:
        process.terminate()
        process.join()


def _main(parent: Connection) -> None:
    pin(-1)
    asyncio.run(_serve(parent))


async def _serve(parent: Connection) -> None:
    server = await asyncio.get_running_loop().create_server(_Answers, "127.0.0.1", 0)
    parent.send(server.sockets[0].getsockname()[1])
    await server.serve_forever()


class _Answers(asyncio.Protocol):
    """One connection, kept alive; one request at a time."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, blank, body = self.received.partition(b"\r\n\r\n")
        length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
        if not blank or len(body) < int(length):
            return
        self.received = b""
        if b"/paced/" in head.split(b"\r\n")[0]:
            self.task = asyncio.create_task(self.answer_slowly())
        else:
            self.transport.write(_HEAD + _TOKEN * PLAIN + _end(PLAIN))

    async def answer_slowly(self) -> None:
        loop = asyncio.get_running_loop()
        start = loop.time()
        self.transport.write(_HEAD)
        for number in range(PACED):
            await asyncio.sleep(start + number / PACE - loop.time())
            self.transport.write(_TOKEN)
        self.transport.write(_end(PACED))


def _event(**fields: Any) -> bytes:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-mini"}
    return _http_chunk(b"data: " + json.dumps(head | fields).encode() + b"\n\n")


def _http_chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


def _end(tokens: int) -> bytes:
    stop = _event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
    usage = _event(choices=[], usage={"prompt_tokens": 9, "completion_tokens": tokens, "total_tokens": 9 + tokens})
    return stop + usage + _http_chunk(b"data: [DONE]\n\n") + _http_chunk(b"")


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
_TOKEN = _event(choices=[{"index": 0, "delta": {"role": "assistant", "content": "word "}, "finish_reason": None}])
