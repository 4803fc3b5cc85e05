"""aiohttp by hand: the least that the same work takes."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from . import MODEL, PROMPT, Tools

ADD = {
    "name": "add",
    "description": "Add two whole numbers.",
    "parameters": {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}


@dataclass
class Conversation:
    http: Any
    address: str
    tools: Tools
    messages: list[dict[str, Any]] = field(default_factory=lambda: [{"role": "system", "content": PROMPT}])

    async def ask(self, text: str) -> str:
        message = {"role": "user", "content": text}
        while True:
            self.messages.append(message)
            reply = await reply_of(self._deltas())
            self.messages.append(reply)
            if "tool_calls" not in reply:
                return str(reply["content"])
            message = await answer(reply, self.tools)

    async def stream(self, text: str) -> AsyncGenerator[str, None]:
        self.messages.append({"role": "user", "content": text})
        pieces = []
        async for delta in self._deltas():
            if content := delta.get("content"):
                pieces.append(content)
                yield content
        self.messages.append({"role": "assistant", "content": "".join(pieces)})

    async def _deltas(self) -> AsyncGenerator[dict[str, Any], None]:
        body = {
            "model": MODEL,
            "messages": self.messages,
            "stream": True,
            "stream_options": {"include_usage": True},
            **schemas(self.tools),
        }
        async with self.http.post(self.address, json=body) as response:
            async for line in response.content:
                if line.startswith(b"data: {"):
                    for choice in json.loads(line[6:])["choices"]:
                        yield choice["delta"]


def schemas(tools: Tools) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": ADD}]} if tools else {}


async def reply_of(deltas: AsyncGenerator[Any, None]) -> dict[str, Any]:
    """Return the complete message: its text, and the tool call that the server may request."""
    pieces, arguments, call = [], [], None
    async for delta in deltas:
        if content := delta.get("content"):
            pieces.append(content)
        for part in delta.get("tool_calls") or ():
            call = call or part["id"]
            arguments.append(part["function"]["arguments"])
    reply: dict[str, Any] = {"role": "assistant", "content": "".join(pieces)}
    if call:
        function = {"name": "add", "arguments": "".join(arguments)}
        reply["tool_calls"] = [{"id": call, "type": "function", "function": function}]
    return reply


async def answer(reply: dict[str, Any], tools: Tools) -> dict[str, Any]:
    """Call the tool. Return the message with its result."""
    (call,) = reply["tool_calls"]
    result = await tools[0](**json.loads(call["function"]["arguments"]))
    return {"role": "tool", "tool_call_id": call["id"], "content": result}


@asynccontextmanager
async def team(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    import aiohttp

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        yield [Conversation(http, api_base + "/chat/completions", tools) for _ in range(size)]
