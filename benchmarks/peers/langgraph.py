"""langgraph: one chat model for all, the graph of `create_agent` each, its messages handed back to it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from . import MODEL, PROMPT, Tools


@dataclass
class Conversation:
    graph: Any
    messages: list[Any] = field(default_factory=list)

    async def ask(self, text: str) -> str:
        message = {"role": "user", "content": text}
        self.messages = (await self.graph.ainvoke({"messages": [*self.messages, message]}))["messages"]
        return str(self.messages[-1].content)

    async def stream(self, text: str) -> AsyncGenerator[str, None]:
        message = {"role": "user", "content": text}
        async for chunk, _ in self.graph.astream({"messages": [*self.messages, message]}, stream_mode="messages"):
            yield chunk.content


@asynccontextmanager
async def team(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    from langchain.agents import create_agent
    from langchain_openai import ChatOpenAI
    from openai import DefaultAioHttpClient

    async with DefaultAioHttpClient() as http:
        model = ChatOpenAI(
            model=MODEL, base_url=api_base, api_key="none", http_async_client=http, http_socket_options=()
        )
        yield [
            Conversation(create_agent(model, list(tools), system_prompt=PROMPT, name=f"agent-{number}"))
            for number in range(size)
        ]
