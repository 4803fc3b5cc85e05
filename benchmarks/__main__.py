"""`make bench`: measure what whisper_nb costs, as ratios to baselines of the same round. Reported, never a gate.

    make bench ROUNDS=2                             fewer rounds than five
    python -m benchmarks engine history.memory      only these modules or measurements

Each round takes every measurement once, each in a fresh process. A row shows the median of the rounds.
"""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version

from . import answers, budgets, calls, clients, engine, fingerprints, history, kernels, panels
from .measure import Figure, fresh, table

ROUNDS = int(os.environ.get("ROUNDS", "5"))
Measurement = Callable[[], list[Figure]]
MEASUREMENTS: tuple[Measurement, ...] = (
    kernels.loading,
    kernels.asking,
    kernels.first_call,
    engine.idle,
    engine.memory,
    engine.busy,
    answers.validation,
    budgets.budget,
    history.echo,
    history.memories,
    history.wire,
    history.runs,
    history.steps,
    history.memory,
    fingerprints.turns,
    clients.cost,
    clients.busy,
    clients.streams,
    calls.turns,
    calls.streams,
    panels.traffic,
    panels.budgets,
    panels.lanes,
    panels.boxes,
    panels.page,
)


def main(chosen: Sequence[str]) -> None:
    measurements = [one for one in MEASUREMENTS if not chosen or {*names(one)} & {*chosen}]
    if not measurements:
        sys.exit(
            f"no such measurement: {' '.join(chosen)}. There are {' '.join(names(one)[1] for one in MEASUREMENTS)}"
        )
    rows: dict[str, list[Figure]] = {}
    start = time.monotonic()
    for number in range(1, ROUNDS + 1):
        for measurement in measurements:
            for figure in fresh(measurement):
                rows.setdefault(figure.what, []).append(figure)
        print(f"round {number} of {ROUNDS}, {time.monotonic() - start:.0f} s", file=sys.stderr)
    versions = ", ".join(f"{name} {version(name)}" for name in ("ipykernel", "litellm"))
    machine = f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} cores; {versions}"
    print(f"\n{machine}. Medians of {ROUNDS} interleaved rounds.\n")
    print(table(figures for figures in rows.values() if figures[0].has_goal))
    print("\nFor information, in the units of this machine on this day:\n")
    print(table(figures for figures in rows.values() if not figures[0].has_goal))


def names(measurement: Measurement) -> tuple[str, str]:
    """The names of a measurement on the command line: its module's, or its own."""
    module = measurement.__module__.rpartition(".")[2]
    return module, f"{module}.{measurement.__name__}"


if __name__ == "__main__":
    main(sys.argv[1:])
