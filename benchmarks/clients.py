"""Turns, tool turns and streams of whisper_nb, over the wire and through LiteLLM, beside the same done by hand.

The peers are compared by `make bench-peers`, on the same work; see `benchmarks/peers`.
"""

from __future__ import annotations

from .measure import Figure
from .peers import BARE, OURS, OURS_OVER_LITELLM, RAW, Client
from .peers.work import MANY, STREAMS, TURNS, Figures, run
from .server import LATENCY_S, PACE, serving

#: Whose figures are shown for information, by what they are called.
NAMES = {
    OURS: "whisper_nb over the wire",
    RAW: "raw aiohttp",
    OURS_OVER_LITELLM: "whisper_nb through LiteLLM",
    BARE: "bare LiteLLM",
}


def cost() -> list[Figure]:
    """CPU of a conversation's first turn, plain and with a tool call."""
    found = _run("cost", OURS, RAW, OURS_OVER_LITELLM, BARE)
    first, tool = "a first turn: CPU", "a tool turn: CPU"
    return [
        _ratio(first + ", over raw aiohttp", found, "µs/turn", OURS, RAW, at_most=1.4),
        _ratio(first + " through LiteLLM, over bare LiteLLM", found, "µs/turn", OURS_OVER_LITELLM, BARE, at_most=1.1),
        _ratio(tool + ", over raw aiohttp", found, "µs/tool turn", OURS, RAW, at_most=1.5),
        _ratio(
            tool + " through LiteLLM, over bare LiteLLM", found, "µs/tool turn", OURS_OVER_LITELLM, BARE, at_most=1.1
        ),
        *_each(first, found, "µs/turn", " µs"),
        *_each(tool, found, "µs/tool turn", " µs"),
    ]


def busy() -> list[Figure]:
    """Many agents with long conversations, against latency."""
    found = _run("busy", OURS, RAW, OURS_OVER_LITELLM, BARE)
    name = f"{MANY} agents × {TURNS} turns at {LATENCY_S * 1000:.0f} ms: "
    lite = " through LiteLLM, over bare LiteLLM"
    return [
        _ratio(name + "turns/s, over raw aiohttp", found, "turns/s", OURS, RAW, at_least=0.8),
        _ratio(name + "CPU of a turn, over raw aiohttp", found, "µs/long turn", OURS, RAW, at_most=1.6),
        _ratio(name + "turns/s" + lite, found, "turns/s", OURS_OVER_LITELLM, BARE, at_least=0.95),
        _ratio(name + "CPU of a turn" + lite, found, "µs/long turn", OURS_OVER_LITELLM, BARE),
        *_each(name + "turns/s", found, "turns/s", ""),
        *_each(name + "CPU of a turn", found, "µs/long turn", " µs"),
    ]


def streams() -> list[Figure]:
    """Many slow replies at once. `calls` has them through LiteLLM."""
    found = _run("streams", OURS, RAW)
    name = f"{STREAMS} streams × {PACE} tokens/s, each token read: "
    return [
        _ratio(name + "CPU of a token, over raw aiohttp", found, "µs/token", OURS, RAW, at_most=1.3),
        _ratio(name + "loop lag p99, over raw aiohttp", found, "lag p99 ms", OURS, RAW, at_most=2),
        *_each(name + "CPU of a token", found, "µs/token", " µs"),
        *_each(name + "loop lag p99", found, "lag p99 ms", " ms"),
        *_each(name + "delay of the last token", found, "late ms", " ms"),
    ]


def _run(work: str, *clients: Client) -> dict[Client, Figures]:
    with serving() as url:
        return {client: run(client, work, url) for client in clients}


def _ratio(
    what: str,
    found: dict[Client, Figures],
    of: str,
    ours: Client,
    baseline: Client,
    *,
    at_most: float | None = None,
    at_least: float | None = None,
) -> Figure:
    return Figure(what, found[ours][of] / found[baseline][of], "×", at_most, at_least)


def _each(what: str, found: dict[Client, Figures], of: str, unit: str) -> list[Figure]:
    return [Figure(f"{what}, {NAMES[client]}", figures[of], unit) for client, figures in found.items()]
