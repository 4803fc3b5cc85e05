"""`make bench-peers`: whisper_nb and its peers, on the same work. Reported, never a gate.

Each round takes one kind of work after the other, and for each of them every client in a fresh process.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.measure import Figure, number, table
from benchmarks.server import LATENCY_S, PACE, PLAIN, serving

from . import CLIENTS, OURS, PEERS, Client
from .work import LATE_MS, MANY, PEERS_PYTHON, STREAMS, TURNS, Figures, run

ROUNDS = 3
COLUMNS = ("µs/turn", "µs/tool turn", "turns/s", "µs/long turn", "µs/token", "lag p99 ms", "late ms")
#: One round: client → its figures.
Round = dict[Client, Figures]


def main() -> None:
    rounds: list[Round] = []
    start = time.monotonic()
    with serving() as url:
        for done in range(1, ROUNDS + 1):
            rounds.append(measure(url))
            print(f"round {done} of {ROUNDS}, {time.monotonic() - start:.0f} s", file=sys.stderr)
    machine = f"Python {platform.python_version()} on {platform.system()}, {os.cpu_count()} cores"
    print(f"\n{machine}. Medians of {ROUNDS} interleaved rounds, with the least and the greatest.\n")
    print(f"| client | {' | '.join(COLUMNS)} | how |\n|---|{'---|' * len(COLUMNS)}---|")
    for client in CLIENTS:
        print(row(client, [one[client] for one in rounds]))
    many, many_streams = f"{MANY} agents × {TURNS} turns", f"{STREAMS} streams × {PACE} tokens/s"
    print(
        f"\nCPU of a first turn of {PLAIN} tokens, and of one with a tool call; turns/s, and CPU of a turn, of {many} "
        f"at {LATENCY_S * 1000:.0f} ms; CPU of a token, loop lag, and delay of the last token, of {many_streams} "
        f"(up to {LATE_MS} ms: the client keeps up). {versions()}\n"
    )
    print(table(zip(*map(ratios, rounds), strict=True)))


def measure(url: str) -> Round:
    found: Round = {client: {} for client in CLIENTS}
    for work in ("cost", "busy", "streams"):
        for client in CLIENTS:
            try:
                found[client] |= run(client, work, url)
            except subprocess.CalledProcessError as error:
                print(f"{client.name} failed at {work}: {error}", file=sys.stderr)
    return found


def row(client: Client, rounds: Sequence[Figures]) -> str:
    cells = [spread([one[column] for one in rounds if column in one]) for column in COLUMNS]
    return f"| {client.name} | {' | '.join(cells)} | {client.notes} |"


def spread(values: Sequence[float]) -> str:
    if not values:
        return "failed"
    return f"{number(statistics.median(values))} ({number(min(values))}–{number(max(values))})"


def ratios(one: Round) -> list[Figure]:
    """Compare whisper_nb to the best peer of the round."""
    peers = [one[peer] for peer in PEERS]

    def all_of(name: str) -> list[float]:
        return [figures[name] for figures in peers if name in figures]

    ours = one[OURS]
    return [
        Figure("turns/s, over the best peer", ours["turns/s"] / max(all_of("turns/s")), "×", at_least=8),
        Figure("CPU of a first turn, the best peer over ours", min(all_of("µs/turn")) / ours["µs/turn"], "×"),
        Figure("CPU of a tool turn, the best peer over ours", min(all_of("µs/tool turn")) / ours["µs/tool turn"], "×"),
        Figure("CPU of a long turn, the best peer over ours", min(all_of("µs/long turn")) / ours["µs/long turn"], "×"),
        Figure("CPU of a token, the best peer over ours", min(all_of("µs/token")) / ours["µs/token"], "×"),
    ]


def versions() -> str:
    """Return the versions in the peers' environment."""
    code = "import sys; from importlib.metadata import version; print(*(n + ' ' + version(n) for n in sys.argv[1:]))"
    names = [*(peer.name.replace("pydantic-ai", "pydantic-ai-slim") for peer in PEERS), "openai"]
    return subprocess.run([PEERS_PYTHON, "-c", code, *names], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
