"""openai-agents: one model object for all, an Agent each, the history passed back as its documentation shows."""

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
        from agents import Runner

        result = await Runner.run(self.agent, [*self.history, {"role": "user", "content": text}])
        self.history = result.to_input_list()
        return str(result.final_output)

    async def stream(self, text: str) -> AsyncGenerator[str, None]:
        from agents import Runner

        result = Runner.run_streamed(self.agent, [*self.history, {"role": "user", "content": text}])
        async for event in result.stream_events():
            if event.type == "raw_response_event" and event.data.type == "response.output_text.delta":
                yield event.data.delta
        self.history = result.to_input_list()


@asynccontextmanager
async def team(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    from agents import Agent, OpenAIChatCompletionsModel, function_tool, set_tracing_disabled

    set_tracing_disabled(True)
    async with client(api_base) as openai:
        model = OpenAIChatCompletionsModel(MODEL, openai)
        functions: list[Any] = [function_tool(tool) for tool in tools]
        yield [
            Conversation(Agent(name=f"agent-{number}", instructions=PROMPT, model=model, tools=functions))
            for number in range(size)
        ]
