"""Turns over the wire under a budget, beside the same turns without one. The server has a process of its own."""

from __future__ import annotations

import asyncio
import os
import statistics
import time

from whisper_nb import Agent, Runtime, Session

from .measure import Figure, pin
from .server import serving

#: Agents at work at once, runs of each in one timing, and timings of each side, which take turns.
AGENTS, RUNS, SLICES = 10, 10, 40
#: Timings before the first one that counts.
WARM = 4
#: A model in the price list.
MODEL = "openai/gpt-4o-mini"
GOAL = 1.05


def budget() -> list[Figure]:
    """Turns of an agent whose model answers eight words at once."""
    pin(0)
    os.environ["NO_PROXY"] = "*"
    with serving() as url:
        return asyncio.run(_budget(url + "/plain"))


async def _budget(url: str) -> list[Figure]:
    environ = {"OPENAI_API_KEY": "k"}
    async with Runtime(environ=environ) as off, Runtime(environ=environ, budget=1_000.0) as on:
        times: dict[Runtime, list[float]] = {off: [], on: []}
        teams = {rt: _team(rt, url) for rt in times}
        for number in range(WARM + SLICES):
            for rt in list(times)[:: 1 if number % 2 else -1]:
                each = await _seconds_each(teams[rt])
                if number >= WARM:
                    times[rt].append(each)
        assert on.budget is not None
        assert on.budget.spent > on.budget.reserved == 0
    before, after = (statistics.median(found) for found in times.values())
    return [
        Figure("budget on: CPU per turn, over off", after / before, "×", at_most=GOAL),
        Figure("budget on: CPU per turn", after * 1e6, " µs"),
        Figure("budget off: CPU per turn", before * 1e6, " µs"),
    ]


def _team(rt: Runtime, url: str) -> list[Session]:
    config = {"api_base": url}
    return [rt.create(Agent(name=f"a{number}", model=MODEL, config=config)) for number in range(AGENTS)]


async def _seconds_each(team: list[Session]) -> float:
    start = time.process_time()
    await asyncio.gather(*(one.submit("hello", fresh=True) for one in team for _ in range(RUNS)))
    return (time.process_time() - start) / (AGENTS * RUNS)
