"""Turns under a budget, beside the same turns without one."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import AsyncGenerator

from whisper_nb import Agent, FunctionModel, Runtime, Session
from whisper_nb.core.messages import Delta, Finish, TextDelta, Usage
from whisper_nb.models.model import Request

from .measure import Figure, pin

#: Agents at work at once, runs of each in one timing, and timings of each side, which take turns.
AGENTS, RUNS, SLICES = 20, 10, 60
#: A model in the price list, which answers in this process.
MODEL = "openai/gpt-4o-mini"
WORDS = 20
GOAL = 1.05


def budget() -> list[Figure]:
    """Turns of a model that answers twenty words at once, with reported usage."""
    pin(0)
    return asyncio.run(_budget())


async def _answer(request: Request) -> AsyncGenerator[Delta, None]:
    for _ in range(WORDS):
        yield TextDelta("word")
    yield Finish("stop", Usage(20, WORDS), 15e-6)


async def _budget() -> list[Figure]:
    async with Runtime(environ={}) as off, Runtime(environ={}, budget=1_000.0) as on:
        sides: dict[str, tuple[Runtime, list[float]]] = {"off": (off, []), "on": (on, [])}
        teams = {name: _team(rt) for name, (rt, _) in sides.items()}
        for number in range(SLICES + 5):
            for name in list(sides)[:: 1 if number % 2 else -1]:
                each = await _seconds_each(teams[name])
                if number >= 5:
                    sides[name][1].append(each)
        assert on.budget is not None
        assert on.budget.spent > on.budget.reserved == 0
    before, after = (statistics.median(found) for _, found in sides.values())
    return [
        Figure("budget on: CPU per turn, over off", after / before, "×", at_most=GOAL),
        Figure("budget on: CPU per turn", after * 1e6, " µs"),
        Figure("budget off: CPU per turn", before * 1e6, " µs"),
    ]


def _team(rt: Runtime) -> list[Session]:
    rt.models[MODEL] = FunctionModel(_answer)
    return [rt.create(Agent(name=f"a{number}", model=MODEL)) for number in range(AGENTS)]


async def _seconds_each(team: list[Session]) -> float:
    start = time.process_time()
    await asyncio.gather(*(one.submit("hello", fresh=True) for one in team for _ in range(RUNS)))
    return (time.process_time() - start) / (AGENTS * RUNS)
