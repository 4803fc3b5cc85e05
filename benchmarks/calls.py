"""Streams through LiteLLM, by whisper_nb and by `litellm.acompletion(stream=True)`.

Bare calls come in two kinds: with LiteLLM's defaults, and with the arguments and settings that whisper_nb uses.
The CPU is that of this process, on one core; the server has the other.
"""

from __future__ import annotations

import asyncio
import gc
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from whisper_nb import Agent, AIConfig, Runtime

from .measure import Figure, lags_ms, p99, pin, ticking
from .server import PACE, PACED, PLAIN, serving

MODEL = "openai/gpt-4o-mini"
TURNS, AT_ONCE = 200, 10
STREAMS = 100
#: Makes a number of calls, some of them at once, to an api_base.
Calls = Callable[[str, int, int], Awaitable[list[str]]]
AS_WHISPER_NB: dict[str, Any] = {"no-log": True, "timeout": 86_400.0, "num_retries": 0, "max_retries": 0}


@dataclass(frozen=True)
class Work:
    """The common part of all kinds of calls."""

    what: str
    unit: str
    path: str
    tokens: int
    count: int
    at_once: int
    units: int
    """The divisor of the CPU time: turns or tokens."""


def turns() -> list[Figure]:
    """Streams that come at once."""
    return _compare(Work(f"streams of {PLAIN} tokens", "turn", "/plain", PLAIN, TURNS, AT_ONCE, TURNS))


def streams() -> list[Figure]:
    """Many slow streams at once."""
    what = f"{STREAMS} streams × {PACE} tokens/s"
    return _compare(Work(what, "token", "/paced", PACED, STREAMS, STREAMS, STREAMS * PACED))


def _compare(work: Work) -> list[Figure]:
    pin(0)
    os.environ["NO_PROXY"] = "*"
    with serving() as url:
        cost, lag = asyncio.run(_measure(work, url))
    name = f"{work.what} through LiteLLM: "
    cpu = f"{name}CPU of a {work.unit}"
    return [
        Figure(f"{cpu}, over bare LiteLLM", cost[_ours] / cost[_bare], "×", at_most=1.1),
        Figure(f"{cpu}, over bare LiteLLM with our settings", cost[_ours] / cost[_bare_alike], "×", at_most=1.1),
        Figure(f"{name}loop lag p99, over bare LiteLLM", lag[_ours] / lag[_bare], "×", at_most=1),
        Figure(f"{cpu}, whisper_nb", cost[_ours], " µs"),
        Figure(f"{cpu}, bare LiteLLM", cost[_bare], " µs"),
        Figure(f"{name}loop lag p99, whisper_nb", lag[_ours], " ms"),
        Figure(f"{name}loop lag p99, bare LiteLLM", lag[_bare], " ms"),
    ]


async def _measure(work: Work, url: str) -> tuple[dict[Calls, float], dict[Calls, float]]:
    """CPU in µs and lag in ms of each kind of calls."""
    cost: dict[Calls, float] = {}
    lag: dict[Calls, float] = {}
    kinds: list[Calls] = [_ours, _bare, _bare_alike]
    for calls in kinds:
        await calls(url + "/plain", AT_ONCE, AT_ONCE)  # imports and connects
    for calls in kinds:
        gc.collect()
        async with ticking() as ticks:
            start = time.process_time()
            texts = await calls(url + work.path, work.count, work.at_once)
            await asyncio.sleep(0.1)  # LiteLLM does some of its work after the reply
            cost[calls] = (time.process_time() - start) / work.units * 1e6
        lag[calls] = p99(lags_ms(ticks))
        assert [len(text.split()) for text in texts] == [work.tokens] * work.count
    return cost, lag


async def _ours(api_base: str, count: int, at_once: int) -> list[str]:
    config = AIConfig(model=MODEL, api_base=api_base, transport="litellm")
    async with Runtime(config=config, max_concurrent_calls=at_once) as rt:
        # A session for each call: a second call of one session would send the history of the first.
        runs = [rt.create(Agent(name=f"agent-{number}")).submit("hello") for number in range(count)]
        return [await run for run in runs]


async def _bare(api_base: str, count: int, at_once: int) -> list[str]:
    import litellm

    litellm.disable_streaming_logging = False
    try:
        return await _gather(api_base, count, at_once, {})
    finally:
        litellm.disable_streaming_logging = True


async def _bare_alike(api_base: str, count: int, at_once: int) -> list[str]:
    return await _gather(api_base, count, at_once, AS_WHISPER_NB)


async def _gather(api_base: str, count: int, at_once: int, arguments: dict[str, Any]) -> list[str]:
    permits = asyncio.Semaphore(at_once)

    async def call(number: int) -> str:
        async with permits:
            return await _complete(Agent(name=f"agent-{number}"), api_base, arguments)

    return await asyncio.gather(*(call(number) for number in range(count)))


async def _complete(agent: Agent, api_base: str, arguments: dict[str, Any]) -> str:
    import litellm

    stream = await litellm.acompletion(
        model=MODEL,
        messages=[{"role": "system", "content": agent.instructions}, {"role": "user", "content": "hello"}],
        stream=True,
        stream_options={"include_usage": True},
        api_base=api_base,
        api_key="none",
        **arguments,
    )
    return "".join([choice.delta.content or "" async for chunk in stream for choice in chunk.choices])
