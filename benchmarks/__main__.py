"""`make bench`: measure what whisper_nb promises to cost, and print one table. Reported, never a gate.

Each round takes every measurement once, each in a fresh process; a row shows the median of the rounds.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from importlib.metadata import version

from . import calls, clients, engine, kernels, panels
from .measure import Figure, fresh, line

ROUNDS = 5
MEASUREMENTS = (
    kernels.loading, kernels.asking, kernels.wire, engine.idle, engine.memory, engine.busy, calls.turns, calls.streams,
    clients.cost, clients.busy, clients.streams, panels.wire, panels.boxes, panels.page,
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


if __name__ == "__main__":
    main()
