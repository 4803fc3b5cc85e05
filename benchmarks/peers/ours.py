"""whisper_nb: a session each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, fields
from typing import Any

from whisper_nb import Agent, AIConfig, Runtime, Session
from whisper_nb.events import TextStreamed

from . import MODEL, PROMPT, Tools


@dataclass(frozen=True)
class Conversation:
    session: Session

    async def ask(self, text: str) -> str:
        return await self.session.submit(text)

    async def stream(self, text: str) -> AsyncGenerator[str, None]:
        async for record in self.session.submit(text).stream():
            if isinstance(record.event, TextStreamed):
                yield record.event.text


@asynccontextmanager
async def over_wire(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    async with _team(api_base, size, tools) as team:
        yield team


@asynccontextmanager
async def over_litellm(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    known = "transport" in {field.name for field in fields(AIConfig)}
    async with _team(api_base, size, tools, **({"transport": "litellm"} if known else {})) as team:
        yield team


@asynccontextmanager
async def _team(api_base: str, size: int, tools: Tools, **more: Any) -> AsyncGenerator[Sequence[Conversation], None]:
    config = AIConfig(model=f"openai/{MODEL}", api_base=api_base, **more)
    async with Runtime(config=config, max_concurrent_calls=size, environ={}) as rt:
        agents = [Agent(name=f"agent-{number}", system_prompt=PROMPT, tools=tuple(tools)) for number in range(size)]
        yield [Conversation(rt.create(agent)) for agent in agents]
