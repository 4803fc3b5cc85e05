"""whisper_nb: a session each."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from whisper_nb import Agent, AIConfig, Runtime, Session
from whisper_nb.core.events import TextStreamed

from . import LITELLM_MODEL, MODEL, PROMPT, Tools


@dataclass(frozen=True)
class Conversation:
    session: Session

    async def ask(self, text: str) -> str:
        return await self.session.submit(text)

    async def stream(self, text: str) -> AsyncGenerator[str, None]:
        async for record in self.session.submit(text, config=AIConfig(stream=True)).stream():
            if isinstance(record.event, TextStreamed):
                yield record.event.text


@asynccontextmanager
async def over_wire(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    async with _team(AIConfig(model=f"openai/{MODEL}", api_base=api_base), size, tools) as team:
        yield team


@asynccontextmanager
async def over_litellm(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    config = AIConfig(model=LITELLM_MODEL, api_base=api_base, transport="litellm", stream=False)
    async with _team(config, size, tools) as team:
        yield team


@asynccontextmanager
async def _team(config: AIConfig, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    async with Runtime(config=config, max_concurrent_calls=size, environ={}) as rt:
        agents = [Agent(name=f"agent-{number}", system_prompt=PROMPT, tools=tuple(tools)) for number in range(size)]
        yield [Conversation(rt.create(agent)) for agent in agents]
