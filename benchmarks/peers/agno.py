"""agno: one model object for all, an Agent each, its sessions in memory."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from . import MODEL, PROMPT, Tools
from .openai_sdk import client


@dataclass(frozen=True)
class Conversation:
    agent: Any

    async def ask(self, text: str) -> str:
        return str((await self.agent.arun(text)).content)

    async def stream(self, text: str) -> AsyncGenerator[str, None]:
        async for event in self.agent.arun(text, stream=True):
            if event.event == "RunContent":
                yield event.content


@asynccontextmanager
async def team(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    from agno.agent import Agent
    from agno.db.in_memory import InMemoryDb
    from agno.models.openai import OpenAIChat

    async with client(api_base) as openai:
        model = OpenAIChat(id=MODEL, api_key="none", async_client=openai)

        def agent(number: int) -> Agent:
            return Agent(
                model=model,
                name=f"agent-{number}",
                system_message=PROMPT,
                tools=list(tools),
                db=InMemoryDb(),
                session_id=f"session-{number}",
                add_history_to_context=True,
                telemetry=False,
                cache_session=True,
            )

        yield [Conversation(agent(number)) for number in range(size)]
