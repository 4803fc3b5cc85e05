"""autogen-agentchat: one model client for all, an AssistantAgent each, which keeps its own context."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from . import MODEL, PROMPT, Tools


@dataclass(frozen=True)
class Conversation:
    """An agent either streams or not, so there are two with one context."""

    whole: Any
    streaming: Any

    async def ask(self, text: str) -> str:
        return str((await self.whole.run(task=text)).messages[-1].content)

    async def stream(self, text: str) -> AsyncGenerator[str, None]:
        async for message in self.streaming.run_stream(task=text):
            if getattr(message, "type", "") == "ModelClientStreamingChunkEvent":
                yield message.content


@asynccontextmanager
async def team(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    from autogen_agentchat.agents import AssistantAgent
    from autogen_core.model_context import UnboundedChatCompletionContext
    from autogen_ext.models.openai import OpenAIChatCompletionClient
    from openai import DefaultAioHttpClient

    async with DefaultAioHttpClient() as http:
        model = OpenAIChatCompletionClient(model=MODEL, base_url=api_base, api_key="none", http_client=http)

        def conversation(number: int) -> Conversation:
            context = UnboundedChatCompletionContext()
            whole, streaming = (
                AssistantAgent(
                    f"agent_{number}",
                    model,
                    tools=list(tools),
                    system_message=PROMPT,
                    model_context=context,
                    model_client_stream=streams,
                    reflect_on_tool_use=True,  # else a tool's result is the reply
                )
                for streams in (False, True)
            )
            return Conversation(whole, streaming)

        yield [conversation(number) for number in range(size)]
