"""`make bench-peers`: whisper_nb beside its peers, on the same work, and one table. Reported, never a gate.

Each round takes one kind of work after the other, and for each of them every client, each in a fresh process.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence

from benchmarks.measure import Figure, line, say
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
        for number in range(1, ROUNDS + 1):
            rounds.append(measure(url))
            print(f"round {number} of {ROUNDS}, {time.monotonic() - start:.0f} s", file=sys.stderr)
    print(f"\nPython {platform.python_version()} on {platform.system()}, {os.cpu_count()} cores. Medians of {ROUNDS} "
          "interleaved rounds, and what lies between the least and the most.\n")  # fmt: skip
    print(f"| client | {' | '.join(COLUMNS)} | how |\n|---|{'---|' * len(COLUMNS)}---|")
    for client in CLIENTS:
        print(row(client, [one[client] for one in rounds]))
    print(f"\nµs of CPU of a first turn of {PLAIN} tokens, and of one with a tool call; turns/s, and µs of CPU of a turn, of "
          f"{MANY} agents × {TURNS} turns at {LATENCY_S * 1000:.0f} ms; CPU per token, loop lag, and how late the last token came, of {STREAMS} "
          f"streams × {PACE} tokens/s (up to {LATE_MS} ms: it keeps up). {versions()}\n")  # fmt: skip
    print("| what | median | min–max | goal | |\n|---|---|---|---|---|")
    for figures in zip(*(ratios(one) for one in rounds), strict=True):
        print(line(figures))


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
    cells = []
    for column in COLUMNS:
        values = [one[column] for one in rounds if column in one]
        spread = f"{say(statistics.median(values))} ({say(min(values))}–{say(max(values))})" if values else "failed"
        cells.append(spread)
    return f"| {client.name} | {' | '.join(cells)} | {client.notes} |"


def ratios(one: Round) -> list[Figure]:
    """whisper_nb against whichever peer was best in that round."""
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
    """What the peers' environment has of them."""
    code = "from importlib.metadata import version; import sys; print(*(f'{n} {version(n)}' for n in sys.argv[1:]), sep=', ')"
    names = [*(peer.name.replace("pydantic-ai", "pydantic-ai-slim") for peer in PEERS), "openai"]
    return subprocess.run([PEERS_PYTHON, "-c", code, *names], capture_output=True, text=True, check=True).stdout.strip()


if __name__ == "__main__":
    main()
