"""LiteLLM without whisper_nb, called with the arguments and settings that whisper_nb calls it with."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from . import LITELLM_MODEL, PROMPT, Tools
from .raw import answer, schemas

SETTINGS = {"no-log": True, "timeout": 86_400.0, "num_retries": 0, "max_retries": 0, "_skip_mcp_handler": True}


@dataclass
class Conversation:
    litellm: Any
    arguments: dict[str, Any]
    tools: Tools
    messages: list[dict[str, Any]] = field(default_factory=lambda: [{"role": "system", "content": PROMPT}])

    async def ask(self, text: str) -> str:
        message = {"role": "user", "content": text}
        while True:
            self.messages.append(message)
            reply = await self._reply()
            self.messages.append(reply)
            if not reply.get("tool_calls"):
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

    async def _reply(self) -> dict[str, Any]:
        reply = await self.litellm.acompletion(messages=self.messages, **self.arguments)
        message: dict[str, Any] = reply.choices[0].message.model_dump(exclude_none=True)
        return message

    async def _deltas(self) -> AsyncGenerator[Any, None]:
        stream = await self.litellm.acompletion(
            messages=self.messages, stream=True, stream_options={"include_usage": True}, **self.arguments
        )
        async for chunk in stream:
            for choice in chunk.choices:
                yield choice.delta


@asynccontextmanager
async def team(api_base: str, size: int, tools: Tools) -> AsyncGenerator[Sequence[Conversation], None]:
    os.environ |= {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    import litellm

    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.disable_streaming_logging = True
    arguments = {"model": LITELLM_MODEL, "api_base": api_base, "api_key": "none", **SETTINGS, **schemas(tools)}
    yield [Conversation(litellm, arguments, tools) for _ in range(size)]
    await litellm.close_litellm_async_clients()
    litellm.in_memory_llm_clients_cache.flush_cache()
