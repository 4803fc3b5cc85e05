"""`make soak`: many runs of one agent, and the memory of the process meanwhile. It is flat unless something leaks.

    python -m benchmarks.soak [RUNS]

The goal is a ratio: resident memory at the end over that after the warm-up, in which what is kept fills up.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
from dataclasses import dataclass

import psutil

from whisper_nb import Agent, Runtime, Session

from .history import LENGTH, Quick, text_of
from .measure import Figure, table

RUNS = 200_000
#: Measurements, and how many of them are warm-up: a store in memory keeps 100,000 records, which 25,000 runs fill.
POINTS, WARM_UP = 20, 4
AT_ONCE = 100


@dataclass(frozen=True)
class Point:
    """The state after this number of runs."""

    runs: int
    rss: int
    objects: int
    cpu_us: float
    """Of each run since the point before."""


async def soak(runs: int) -> list[Point]:
    """Run one agent so many times, and look at the process at regular points."""
    points = []
    async with Runtime(environ={}, offline="offline/quick") as rt:
        rt.models["offline/quick"] = Quick()
        session = rt.create(Agent(name="bob"))
        each = runs // POINTS
        for number in range(POINTS):
            start = time.process_time()
            await work(session, number * each, each)
            used = (time.process_time() - start) / each * 1e6
            gc.collect()
            rss = psutil.Process().memory_info().rss
            points.append(Point((number + 1) * each, rss, len(gc.get_objects()), used))
            print(f"{points[-1].runs:,} runs, {rss / 1e6:.0f} MB", file=sys.stderr)
    return points


async def work(session: Session, first: int, count: int) -> None:
    """Do so many runs, some of them queued at once, no two of one text."""
    for start in range(first, first + count, AT_ONCE):
        texts = [text_of(f"Question {number}", LENGTH) for number in range(start, min(start + AT_ONCE, first + count))]
        for run in [session.submit(text) for text in texts]:
            await run


def main(runs: int) -> None:
    points = asyncio.run(soak(runs))
    warm, last = points[WARM_UP - 1], points[-1]
    print("| runs | RSS | objects | CPU of a run |\n|---|---|---|---|")
    for point in points:
        print(f"| {point.runs:,} | {point.rss / 1e6:.1f} MB | {point.objects:,} | {point.cpu_us:.0f} µs |")
    name = f"{last.runs:,} runs of one agent, over {warm.runs:,}: "
    figures = [
        Figure(name + "RSS", last.rss / warm.rss, "×", at_most=1.05),
        Figure(name + "objects", last.objects / warm.objects, "×", at_most=1.05),
        Figure(name + "CPU of a run", last.cpu_us / warm.cpu_us, "×", at_most=1.5),
    ]
    print("\n" + table([figure] for figure in figures))


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else RUNS)
