"""whisper_nb's turns, tool turns and streams, over the wire and through LiteLLM, beside the same done by hand.

The peers are compared by `make bench-peers`, on the same work; see `benchmarks/peers`.
"""

from __future__ import annotations

from .measure import Figure
from .peers import BARE, OURS, OURS_OVER_LITELLM, RAW, Client
from .peers.work import LATE_MS, MANY, STREAMS, TURNS, Figures, run
from .server import LATENCY_S, PACE, serving


def cost() -> list[Figure]:
    """CPU of a turn by itself."""
    found = _run("cost", OURS, RAW, OURS_OVER_LITELLM, BARE)
    return [
        Figure("a first turn: CPU, whisper_nb over the wire", found[OURS]["µs/turn"], "µs", at_most=600),
        Figure("a first turn: CPU, raw aiohttp", found[RAW]["µs/turn"], "µs"),
        Figure("a first turn: CPU, whisper_nb over LiteLLM", found[OURS_OVER_LITELLM]["µs/turn"], "µs"),
        Figure("a first turn: CPU, bare LiteLLM", found[BARE]["µs/turn"], "µs"),
        Figure("a tool turn: CPU, whisper_nb over the wire", found[OURS]["µs/tool turn"], "µs", at_most=1_300),
        Figure("a tool turn: CPU, raw aiohttp", found[RAW]["µs/tool turn"], "µs"),
        Figure("a tool turn: CPU, whisper_nb over LiteLLM", found[OURS_OVER_LITELLM]["µs/tool turn"], "µs"),
        Figure("a tool turn: CPU, bare LiteLLM", found[BARE]["µs/tool turn"], "µs"),
    ]


def busy() -> list[Figure]:
    """Many agents with long conversations, against latency."""
    found = _run("busy", OURS, RAW, OURS_OVER_LITELLM, BARE)
    rate = {client: figures["turns/s"] for client, figures in found.items()}
    name = f"{MANY} agents × {TURNS} turns at {LATENCY_S * 1000:.0f} ms: "
    return [
        Figure(name + "turns/s, whisper_nb over the wire", rate[OURS], "", at_least=1_500),
        Figure(name + "turns/s, raw aiohttp", rate[RAW]),
        Figure(name + "CPU, whisper_nb over the wire", found[OURS]["µs/long turn"], "µs/turn"),
        Figure(name + "CPU, raw aiohttp", found[RAW]["µs/long turn"], "µs/turn"),
        Figure(name + "turns/s, whisper_nb over LiteLLM", rate[OURS_OVER_LITELLM], "", at_least=260),
        Figure(name + "turns/s, bare LiteLLM", rate[BARE]),
        Figure(name + "whisper_nb over bare LiteLLM", rate[OURS_OVER_LITELLM] / rate[BARE], "×", at_least=0.9),
    ]


def streams() -> list[Figure]:
    """Many slow replies at once; through LiteLLM they are in `calls`."""
    found = _run("streams", OURS, RAW)
    name = f"{STREAMS} streams × {PACE} tokens/s, each token read: "
    return [
        Figure(name + "CPU, whisper_nb over the wire", found[OURS]["µs/token"], "µs/token", at_most=110),
        Figure(name + "CPU, raw aiohttp", found[RAW]["µs/token"], "µs/token"),
        Figure(name + "loop lag p99, whisper_nb over the wire", found[OURS]["lag p99 ms"], "ms", at_most=20),
        Figure(name + "loop lag p99, raw aiohttp", found[RAW]["lag p99 ms"], "ms"),
        Figure(
            name + "the last token late by, whisper_nb over the wire", found[OURS]["late ms"], "ms", at_most=LATE_MS
        ),
        Figure(name + "the last token late by, raw aiohttp", found[RAW]["late ms"], "ms"),
    ]


def _run(work: str, *clients: Client) -> dict[Client, Figures]:
    with serving() as url:
        return {client: run(client, work, url) for client in clients}
