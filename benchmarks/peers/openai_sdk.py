"""The client of the peers' models: one for a team, on the faster of the SDK's two transports."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def client(api_base: str) -> AsyncGenerator[Any, None]:
    from openai import AsyncOpenAI, DefaultAioHttpClient

    async with AsyncOpenAI(base_url=api_base, api_key="none", http_client=DefaultAioHttpClient()) as openai:
        yield openai
