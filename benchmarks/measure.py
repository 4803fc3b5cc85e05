"""Shared by all benchmarks: figures and their table, new processes, a core per process, the lag of an event loop."""

from __future__ import annotations

import asyncio
import os
import statistics
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TypeVar

T = TypeVar("T")
TICK_S = 0.001
HEADER = "| what | median | min–max | goal | |\n|---|---|---|---|---|"
#: When a task was due, and when it ran.
Tick = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """One number of one round. The figures of one name, one from each round, make a row of the table.

    Only ratios and counts have goals: milliseconds depend on the machine and on the day.
    """

    what: str
    value: float
    unit: str = ""
    at_most: float | None = None
    at_least: float | None = None

    @property
    def has_goal(self) -> bool:
        """Whether the figure can miss something."""
        return self.at_most is not None or self.at_least is not None

    @property
    def goal(self) -> str:
        """The goal as the table shows it; empty without one."""
        if self.at_most is not None:
            return f"≤ {number(self.at_most)}{self.unit}"
        if self.at_least is not None:
            return f"≥ {number(self.at_least)}{self.unit}"
        return ""

    def verdict(self, median: float) -> str:
        """Whether a median meets the goal; empty without one."""
        if self.at_most is not None:
            return "met" if median <= self.at_most else "missed"
        if self.at_least is not None:
            return "met" if median >= self.at_least else "missed"
        return ""


def fresh(function: Callable[[], T]) -> T:
    """Call a module's function in a new process, free of the heap, imports and affinity of other measurements."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function).result()


def pin(core: int) -> None:
    """Keep this process on one core: 0 the first, -1 the last. Only Linux offers this."""
    if sys.platform == "linux":
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})


@asynccontextmanager
async def ticking() -> AsyncIterator[list[Tick]]:
    """Run a task that is due every millisecond beside the block, and collect its ticks."""
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
    """How late each tick was, without what held the loop before `since`."""
    return [(ran - max(due, since)) * 1000 for due, ran in ticks if ran > since]


def p99(values: Sequence[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(values, n=100)[-1]


def table(rows: Iterable[Sequence[Figure]]) -> str:
    """The rows, each from one figure of each round, under a header."""
    return "\n".join([HEADER, *map(line, rows)])


def line(figures: Sequence[Figure]) -> str:
    """A row of the table, from one figure of each round."""
    values, figure = [figure.value for figure in figures], figures[0]
    median = statistics.median(values)
    spread = f"{number(min(values))}–{number(max(values))}"
    cells = [figure.what, number(median) + figure.unit, spread, figure.goal, figure.verdict(median)]
    return f"| {' | '.join(cells)} |"


def number(value: float) -> str:
    """A number with three significant digits, or all digits before the point."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
