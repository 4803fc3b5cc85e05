"""The engine without a notebook and without a network: idle agents, their memory, a thousand busy ones."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc

from whisper_nb import Agent, Rule, Runtime, ScriptedModel, Session

from .measure import Figure, lags_ms, p99, pin, ticking

IDLE_S = 1.0
AGENTS = 1_000
RUNS_EACH = 20
RESTING = 10_000


def idle() -> list[Figure]:
    """A thousand agents that have each worked once, and now rest."""
    return asyncio.run(_idle())


def memory() -> list[Figure]:
    """What tracemalloc counts for a session with its Agent, made and never used."""
    return asyncio.run(_memory())


def busy() -> list[Figure]:
    """A thousand agents at work, on one core, for a model that answers one word at once."""
    pin(0)
    return asyncio.run(_busy())


async def _idle() -> list[Figure]:
    bare = await _cpu_at_rest()
    async with Runtime(environ={}) as rt:
        for run in [session.submit("hello") for session in _team(rt, AGENTS)]:
            await run
        me = {asyncio.current_task()}
        await asyncio.gather(*(asyncio.all_tasks() - me))  # the workers see that nothing is left
        tasks = len(asyncio.all_tasks() - me)
        timers = [timer for timer in _timers() if not timer.cancelled()]
        with_agents = await _cpu_at_rest()
    name = f"{AGENTS:,} idle agents: "
    return [
        Figure(name + "tasks", tasks, at_most=0),
        Figure(name + "timers", len(timers), at_most=0),
        Figure(name + "CPU per second, over a bare idle loop", (with_agents - bare) * 1000, "ms/s", at_most=1),
        Figure("bare idle loop: CPU per second", bare * 1000, "ms/s"),
    ]


async def _memory() -> list[Figure]:
    async with Runtime(environ={}) as rt:
        rt.create(Agent(name="first", system_prompt="You are the first."))
        gc.collect()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        for number in range(RESTING):
            rt.create(Agent(name=f"agent-{number}", system_prompt=f"You are number {number} of a team."))
        gc.collect()
        size = tracemalloc.get_traced_memory()[0] - before
        tracemalloc.stop()
    return [Figure(f"idle session and its Agent, of {RESTING:,} (tracemalloc)", size / RESTING, "bytes", at_most=5_000)]


async def _busy() -> list[Figure]:
    count = AGENTS * RUNS_EACH
    async with Runtime(environ={}, offline="offline/word") as rt:
        rt.models["offline/word"] = ScriptedModel([Rule(reply="done")])
        team = _team(rt, AGENTS)
        loop = asyncio.get_running_loop()
        async with ticking() as ticks:
            start = loop.time()
            runs = [session.submit("hello") for _ in range(RUNS_EACH) for session in team]
            submitted = loop.time()  # here the user's cell ends, and the loop is free
            for run in runs:
                await run
            end = loop.time()
    assert all(run.text == "done" for run in runs)
    late = lags_ms(ticks, submitted)
    name = f"{AGENTS:,} agents × {RUNS_EACH} runs: "
    return [
        Figure(name + "runs/s", count / (end - start), "", at_least=3_000),
        Figure(name + "loop lag p99", p99(late), "ms", at_most=20),
        Figure(name + "loop lag, the worst", max(late), "ms"),
        Figure(name + "one submit()", (submitted - start) / count * 1e6, "µs"),
    ]


def _team(rt: Runtime, size: int) -> list[Session]:
    return [rt.create(Agent(name=f"agent-{number}")) for number in range(size)]


async def _cpu_at_rest() -> float:
    start = time.process_time()
    await asyncio.sleep(IDLE_S)
    return (time.process_time() - start) / IDLE_S


def _timers() -> list[asyncio.TimerHandle]:
    timers: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return timers
