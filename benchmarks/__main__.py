"""`make bench`: measure what whisper_nb promises to cost, and print one table. Reported, never a gate.

Each round takes every measurement once, each in a fresh process; a row shows the median of the rounds.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version

from . import calls, engine, kernels, panels
from .measure import Figure, fresh

ROUNDS = 5
MEASUREMENTS = (
    kernels.loading, kernels.asking, engine.idle, engine.memory, engine.busy, calls.turns, calls.streams,
    panels.wire, panels.boxes, panels.page,
)  # fmt: skip


def main() -> None:
    rows: dict[str, list[Figure]] = {}
    start = time.monotonic()
    for number in range(1, ROUNDS + 1):
        for measurement in MEASUREMENTS:
            for figure in fresh(measurement):
                rows.setdefault(figure.what, []).append(figure)
        print(f"round {number} of {ROUNDS}, {time.monotonic() - start:.0f} s", file=sys.stderr)
    versions = ", ".join(f"{name} {version(name)}" for name in ("ipykernel", "litellm"))
    print(f"\nPython {platform.python_version()} on {platform.system()}, {os.cpu_count()} cores; {versions}. "
          f"Medians of {ROUNDS} interleaved rounds.\n")  # fmt: skip
    print("| what | median | min–max | goal | |\n|---|---|---|---|---|")
    for figures in rows.values():
        print(line(figures))


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


if __name__ == "__main__":
    main()
