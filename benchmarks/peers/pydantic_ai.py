"""pydantic-ai: one model object for all, an Agent each, the history passed back as its documentation shows."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from . import MODEL, PROMPT, Tools
from .openai_sdk import client


@dataclass
class Conversation:
    agent: Any
    history: list[Any] = field(default_factory=list)

    async def ask(self, text: str) -> str:
        result = await self.agent.run(text, message_history=self.history)
        self.history = result.all_messages()
        return str(result.output)

    async def stream(self, text: str) -> AsyncGenerator[str, None]:
        async with self.agent.run_stream(text, message_history=self.history) as result:
            async for piece in result.stream_text(delta=True, debounce_by=None):
                yield piece
            self.history = result.all_messages()


@asynccontextmanager
async def team(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    from pydantic_ai import Agent
    from pydantic_ai.models.openai import OpenAIChatModel
    from pydantic_ai.providers.openai import OpenAIProvider

    async with client(api_base) as openai:
        model = OpenAIChatModel(MODEL, provider=OpenAIProvider(openai_client=openai))
        yield [
            Conversation(Agent(model, name=f"agent-{number}", instructions=PROMPT, tools=list(tools)))
            for number in range(size)
        ]
