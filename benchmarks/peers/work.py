"""The measurements of a client, the same for all.

`python -m benchmarks.peers.work MODULE FUNCTION WORK URL` prints them as JSON. The process runs on the first core, the
server on the last one. The CPU is that of this process, with all its threads.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

from benchmarks.measure import lags_ms, p99, pin, ticking
from benchmarks.server import PACED, PLAIN

from . import Client, MakeTeam, Member, Tools

#: Agents at once, and turns of each: few for the cost of a turn by itself, many for long conversations.
FEW, MANY, TURNS = 10, 200, 20
STREAMS = 100
#: A client that reads the last token of a stream within this time keeps up.
LATE_MS = 50
ROOT = Path(__file__).parents[2]
#: The interpreter of the environment that `make bench-peers` makes.
PEERS_PYTHON = ROOT / ".venv-peers/bin/python"
#: Turns off what frameworks would send or fetch while they work.
QUIET = {
    "NO_PROXY": "*",
    "OPENAI_API_KEY": "none",
    "AGNO_TELEMETRY": "false",
    "OPENAI_AGENTS_DISABLE_TRACING": "1",
    "LANGSMITH_TRACING": "false",
    "OTEL_SDK_DISABLED": "true",
}
Figures = dict[str, float]


async def add(a: int, b: int) -> str:
    """Add two whole numbers."""
    return str(a + b)


async def cost(make: MakeTeam, url: str) -> Figures:
    """CPU in µs of a turn, and of one with a tool call, each the first of its conversation; a few agents at once."""
    return {
        "µs/turn": await _cost(make, url + "/plain", ()),
        "µs/tool turn": await _cost(make, url + "/tools", (add,)),
    }


async def busy(make: MakeTeam, url: str) -> Figures:
    """Turns a second of many agents that wait for the server's latency, and CPU in µs of a turn with its history."""
    async with make(url + "/plain", FEW, ()) as team:
        await _talk(team, 1)
    async with make(url + "/late", MANY, ()) as team:
        gc.collect()
        start, used = time.monotonic(), time.process_time()
        await _talk(team, TURNS)
        seconds, used = time.monotonic() - start, time.process_time() - used
        return {"turns/s": MANY * TURNS / seconds, "µs/long turn": used / MANY / TURNS * 1e6}


async def streams(make: MakeTeam, url: str) -> Figures:
    """Many slow replies at once: CPU in µs of a token, lag of the loop, delay of the last token."""
    async with make(url + "/plain", FEW, ()) as team:
        await asyncio.gather(*(_read(member) for member in team))
    async with make(url + "/paced", STREAMS, ()) as team:
        gc.collect()
        async with ticking() as ticks:
            start = time.process_time()
            late = await asyncio.gather(*(_read(member) for member in team))
            used = time.process_time() - start
    return {
        "µs/token": used / STREAMS / PACED * 1e6,
        "lag p99 ms": p99(lags_ms(ticks)),
        "late ms": max(late) * 1000,
    }


async def _cost(make: MakeTeam, api_base: str, tools: Tools) -> float:
    async with make(api_base, FEW * TURNS + FEW, tools) as team:
        await _talk(team[:FEW], 1)  # imports and connects
        gc.collect()
        start = time.process_time()
        await asyncio.gather(*(_in_turn(team[first::FEW][1:]) for first in range(FEW)))
        await asyncio.sleep(0.1)  # LiteLLM does some of its work after the reply
        return (time.process_time() - start) / FEW / TURNS * 1e6


async def _in_turn(team: Sequence[Member]) -> None:
    for member in team:
        await _ask(member, "What about it?")


async def _talk(team: Sequence[Member], turns: int) -> None:
    async def talk(member: Member) -> None:
        for number in range(turns):
            await _ask(member, f"What about {number}?")

    await asyncio.gather(*(talk(member) for member in team))


async def _ask(member: Member, text: str) -> None:
    reply = await member.ask(text)
    assert reply.split() == ["word"] * PLAIN, reply


async def _read(member: Member) -> float:
    """Read a reply. Return the delay of its last token where that says when it was sent."""
    pieces, came = [], 0.0
    async for piece in member.stream("Go on."):
        if piece:
            pieces.append(piece)
            came = time.monotonic()
    last = "".join(pieces).split()[-1]
    return 0.0 if last == "word" else came - float(last)


def run(client: Client, work: str, url: str) -> Figures:
    """Measure in a new process: with the interpreter of the peers for a peer, else with this one."""
    command = [
        PEERS_PYTHON if client.peer else sys.executable,
        "-m",
        __name__,
        client.module,
        client.function,
        work,
        url,
    ]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True, env=os.environ | QUIET)
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def main(module: str, function: str, work: str, url: str) -> None:
    pin(0)
    make: MakeTeam = getattr(import_module(f"benchmarks.peers.{module}"), function)
    measure = {"cost": cost, "busy": busy, "streams": streams}[work]
    print(json.dumps(asyncio.run(measure(make, url))))


if __name__ == "__main__":
    main(*sys.argv[1:])
