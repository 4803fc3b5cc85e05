"""What every benchmark shares: figures, a fresh process for each measurement, a core of its own, the lag of a loop."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
TICK_S = 0.001
#: When a task wanted to go on, and when it did.
Tick = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """One number of one round; the rounds' figures of the same name make a row of the table."""

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None


def fresh(function: Callable[[], T]) -> T:
    """Call a module's function in a new process: no heap, no import and no affinity of another measurement."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function).result()


def pin(core: int) -> None:
    """Keep this process on one core: 0 the first, -1 the last. Only Linux lets a process choose."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})


@asynccontextmanager
async def ticking() -> AsyncIterator[list[Tick]]:
    """Run a task that wants to go on every millisecond, beside what the block does on this loop."""
    ticks: list[Tick] = []

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK_S
            await asyncio.sleep(TICK_S)
            ticks.append((due, loop.time()))

    task = asyncio.create_task(tick())
    await asyncio.sleep(TICK_S)
    try:
        yield ticks
    finally:
        task.cancel()


def lags_ms(ticks: Sequence[Tick], since: float = 0.0) -> list[float]:
    """How late the ticks were, not counting what held the loop before `since`."""
    return [(ran - max(due, since)) * 1000 for due, ran in ticks if ran > since]


def p99(values: Sequence[float]) -> float:
    return statistics.quantiles(values, n=100)[-1]


def line(figures: Sequence[Figure]) -> str:
    """A row of the table, from one figure of each round."""
    values = [figure.value for figure in figures]
    median, figure = statistics.median(values), figures[0]
    unit = f" {figure.unit}" if figure.unit else ""
    goal = met = ""
    if figure.at_most is not None:
        goal, met = f"≤ {say(figure.at_most)}{unit}", "met" if median <= figure.at_most else "missed"
    elif figure.at_least is not None:
        goal, met = f"≥ {say(figure.at_least)}{unit}", "met" if median >= figure.at_least else "missed"
    return f"| {figure.what} | {say(median)}{unit} | {say(min(values))}–{say(max(values))} | {goal} | {met} |"


def say(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
