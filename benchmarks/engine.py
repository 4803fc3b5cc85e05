"""The engine without a notebook or a network, beside asyncio by hand: agents at rest, and a thousand at work."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from collections.abc import Awaitable, Callable

from whisper_nb import Agent, Rule, Runtime, ScriptedModel, Session

from .measure import Figure, lags_ms, p99, pin, ticking
from .workers import Worker, at_work

IDLE_S = 1.0
AGENTS = 1_000
RUNS_EACH = 20
RESTING = 10_000


def idle() -> list[Figure]:
    """A thousand agents that have each worked once, and now rest."""
    return asyncio.run(_idle())


def memory() -> list[Figure]:
    """A session with its Agent, and a worker with its queue, made and never used."""
    return asyncio.run(_memory())


def busy() -> list[Figure]:
    """A thousand agents at work, on one core, for a model that answers one word at once."""
    pin(0)
    return asyncio.run(_busy())


async def _idle() -> list[Figure]:
    bare_cpu, bare_turns = await _at_rest()
    async with Runtime(environ={}) as rt:
        for run in [session.submit("hello") for session in _team(rt, AGENTS)]:
            await run
        me = {asyncio.current_task()}
        await asyncio.gather(*(asyncio.all_tasks() - me))  # the workers see that nothing is left
        tasks = len(asyncio.all_tasks() - me)
        timers = [timer for timer in _timers() if not timer.cancelled()]
        cpu, turns = await _at_rest()
    name = f"{AGENTS:,} idle agents: "
    return [
        Figure(name + "tasks", tasks, at_most=0),
        Figure(name + "timers", len(timers), at_most=0),
        Figure(name + "turns of the loop a second, over a bare loop", (turns - bare_turns) / IDLE_S, at_most=0),
        Figure(name + "CPU a second", cpu * 1000, " ms"),
        Figure("a bare idle loop: CPU a second", bare_cpu * 1000, " ms"),
    ]


async def _memory() -> list[Figure]:
    async with Runtime(environ={}) as rt:
        rt.create(Agent(name="first", system_prompt="You are the first."))

        def session(number: int) -> Session:
            return rt.create(Agent(name=f"agent-{number}", system_prompt=f"You are number {number} of a team."))

        ours = await _bytes_each(session)

    def worker(number: int) -> Worker:
        made = Worker(history=[f"You are number {number} of a team."])
        made.start()
        return made

    bare = await _bytes_each(worker)
    name = f"an idle session and its Agent, of {RESTING:,}: "
    return [
        Figure(name + "memory, over an asyncio task with a queue", ours / bare, "×", at_most=0.5),
        Figure(name + "memory", ours, " B"),
        Figure("an asyncio task with a queue: memory", bare, " B"),
    ]


async def _busy() -> list[Figure]:
    async with Runtime(environ={}, offline="offline/word") as rt:
        rt.models["offline/word"] = ScriptedModel([Rule(reply="done")])
        ours = await _pace(*[session.submit for session in _team(rt, AGENTS)])
    async with at_work(AGENTS) as workers:
        bare = await _pace(*[worker.submit for worker in workers])
    name = f"{AGENTS:,} agents × {RUNS_EACH} runs: "
    return [
        Figure(name + "CPU of a run, over asyncio by hand", ours["run"] / bare["run"], "×", at_most=15),
        Figure(name + "CPU of a submit(), over putting into a queue", ours["submit"] / bare["submit"], "×", at_most=6),
        Figure(name + "loop lag p99, over asyncio by hand", ours["lag p99"] / bare["lag p99"], "×", at_most=1),
        Figure(name + "runs/s", ours["runs/s"]),
        Figure(name + "runs/s, asyncio by hand", bare["runs/s"]),
        Figure(name + "CPU of a run", ours["run"], " µs"),
        Figure(name + "CPU of a run, asyncio by hand", bare["run"], " µs"),
        Figure(name + "CPU of a submit()", ours["submit"], " µs"),
        Figure(name + "CPU of putting into a queue", bare["submit"], " µs"),
        Figure(name + "loop lag p99", ours["lag p99"], " ms"),
        Figure(name + "loop lag p99, asyncio by hand", bare["lag p99"], " ms"),
        Figure(name + "loop lag, the longest", ours["lag"], " ms"),
        Figure(name + "loop lag, the longest, asyncio by hand", bare["lag"], " ms"),
    ]


async def _pace(*submits: Callable[[str], Awaitable[str]]) -> dict[str, float]:
    """Give each agent its runs, all at once, and wait for them: CPU in µs, lags in ms."""
    gc.collect()
    count, loop = len(submits) * RUNS_EACH, asyncio.get_running_loop()
    async with ticking() as ticks:
        start, used = loop.time(), time.process_time()
        runs = [submit("hello") for _ in range(RUNS_EACH) for submit in submits]
        submitted, used_to_submit = loop.time(), time.process_time() - used
        # Here the user's cell ends, and the loop is free.
        texts = [await run for run in runs]
        seconds, used = loop.time() - start, time.process_time() - used
    assert texts == ["done"] * count
    late = lags_ms(ticks, submitted)
    return {
        "runs/s": count / seconds,
        "run": used / count * 1e6,
        "submit": used_to_submit / count * 1e6,
        "lag p99": p99(late),
        "lag": max(late),
    }


async def _bytes_each(make: Callable[[int], object]) -> float:
    """The memory of each of many objects by tracemalloc, after an iteration of the loop."""
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = [make(number) for number in range(RESTING)]
    await asyncio.sleep(0.01)
    gc.collect()
    size = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    await asyncio.sleep(0)
    return size / len(kept)


def _team(rt: Runtime, size: int) -> list[Session]:
    return [rt.create(Agent(name=f"agent-{number}")) for number in range(size)]


async def _at_rest() -> tuple[float, int]:
    """CPU a second, and how often the loop turned, in a second of rest."""
    selector = asyncio.get_running_loop()._selector  # type: ignore[attr-defined]
    select, turns = selector.select, 0

    def counted(timeout: float | None) -> object:
        nonlocal turns
        turns += 1
        return select(timeout)

    gc.collect()
    selector.select = counted
    start = time.process_time()
    await asyncio.sleep(IDLE_S)
    used = time.process_time() - start
    selector.select = select
    return used / IDLE_S, turns


def _timers() -> list[asyncio.TimerHandle]:
    timers: list[asyncio.TimerHandle] = asyncio.get_running_loop()._scheduled  # type: ignore[attr-defined]
    return timers
