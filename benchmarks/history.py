"""The cost of a long conversation: CPU of a turn, the longest step on the loop, and memory of a message.

Histories are made by turns of a quick model, and the turn before a measurement may encode what it finds: measured is
what each later turn costs.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import statistics
import time
import tracemalloc
from asyncio import events
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from contextvars import Context
from dataclasses import dataclass
from typing import Any

from whisper_nb import Agent, AIConfig, Runtime, Session
from whisper_nb.core.messages import Delta, Finish, Message, TextDelta, ToolSchema, Usage
from whisper_nb.models.model import Request
from whisper_nb.store.memory import MemoryStore

from .measure import Figure, pin
from .server import serving

#: Its context holds the longest history.
MODEL = "openai/gpt-4.1-mini"
#: Messages of a history → conversations of that length, and the turns of each that are measured.
SIZES = {10: (40, 5), 100: (10, 5), 1_000: (2, 20), 5_000: (1, 20)}
SHORT, LONG, LONGEST = 10, 1_000, 5_000
#: The runs of one agent that are compared, and how many around each are measured.
EARLY, LATE, AROUND = 10, 500, 10
LIVES = 3
#: Memories that leave out nearly all of the long history, and a little of it.
MEMORIES = ("last:2", "tokens:30000")
#: Characters of a message.
LENGTH = 100
KEPT, KEPT_LENGTH = 2_000, 400
FILLER = "experimental observations notwithstanding, " * 20


@dataclass
class Quick:
    """Answers any prompt at once with a text of the same length, which no two replies share."""

    context_tokens: int | None = None
    replies: int = 0

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        return 0

    async def prepare(self) -> None:
        pass

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        await asyncio.sleep(0)
        self.replies += 1
        yield TextDelta(text_of(f"Answer {self.replies}", len(request.messages[-1].text)))
        yield Finish("stop", Usage(1, 1), 0.0)

    async def aclose(self) -> None:
        pass


def echo() -> list[Figure]:
    """A turn of the offline model, at each length of history."""
    return asyncio.run(_echo())


def memories() -> list[Figure]:
    """A turn of an agent whose memory leaves out a part of its history."""
    return asyncio.run(_memories())


def wire() -> list[Figure]:
    """A turn over the wire, beside a raw client that sends the same bytes."""
    pin(0)
    with serving() as url:
        return asyncio.run(_wire(url + "/plain"))


def runs() -> list[Figure]:
    """The 500th run of an agent over the wire, and its 10th."""
    pin(0)
    with serving() as url:
        return asyncio.run(_runs(url + "/plain"))


def steps() -> list[Figure]:
    """How long a turn holds the loop at most, with a long history."""
    pin(0)
    with serving() as url:
        return asyncio.run(_steps(url + "/plain"))


def memory() -> list[Figure]:
    """The memory of a kept message, after a turn over the wire has sent it."""
    with serving() as url:
        return asyncio.run(_memory(url + "/plain"))


async def _echo() -> list[Figure]:
    cost = {}
    async with _runtime() as rt:
        for size in SIZES:
            cost[size] = await _turn_cost(rt, size, AIConfig(model="offline/echo"))
    name = "a turn of offline/echo: "
    return [
        Figure(f"{name}CPU with {LONG:,} messages, over {SHORT}", cost[LONG] / cost[SHORT], "×", at_most=1.5),
        Figure(f"{name}CPU with {LONGEST:,} messages, over {SHORT}", cost[LONGEST] / cost[SHORT], "×"),
        *[Figure(f"{name}CPU with {size:,} messages", cost[size], " µs") for size in SIZES],
    ]


async def _memories() -> list[Figure]:
    figures = []
    for memory in MEMORIES:
        async with _runtime() as rt:
            config = AIConfig(model="offline/echo")
            cost = {size: await _turn_cost(rt, size, config, memory) for size in (SHORT, LONG)}
        name = f"a turn of offline/echo with memory {memory}: "
        figures += [
            Figure(f"{name}CPU with {LONG:,} messages, over {SHORT}", cost[LONG] / cost[SHORT], "×", at_most=1.5),
            Figure(f"{name}CPU with {LONG:,} messages", cost[LONG], " µs"),
        ]
    return figures


async def _wire(api_base: str) -> list[Figure]:
    cost, sent = {}, {}
    async with _runtime() as rt:
        for size in SIZES:
            cost[size] = await _turn_cost(rt, size, AIConfig(model=MODEL, api_base=api_base))
            sent[size] = await _sending_cost(api_base, size)
    apart = {size: cost[size] - sent[size] + sent[SHORT] for size in SIZES}
    name, without = "a turn over the wire: ", f"over {SHORT}, without sending the bytes"
    return [
        Figure(f"{name}CPU with {LONG:,} messages, {without}", apart[LONG] / cost[SHORT], "×", at_most=1.5),
        Figure(f"{name}CPU with {LONGEST:,} messages, {without}", apart[LONGEST] / cost[SHORT], "×"),
        *[Figure(f"{name}CPU with {size:,} messages", cost[size], " µs") for size in SIZES],
        *[
            Figure(f"raw aiohttp, sending the same bytes: CPU with {size:,} messages", sent[size], " µs")
            for size in SIZES
        ],
    ]


async def _runs(api_base: str) -> list[Figure]:
    early, late = [], []
    async with _runtime() as rt:
        for life in range(LIVES):
            session = rt.create(Agent(name=f"agent-{life}", config=AIConfig(model=MODEL, api_base=api_base)))
            await _talk(session, EARLY - AROUND // 2)
            early.append(await _talk(session, AROUND))
            await _talk(session, LATE - EARLY - AROUND)
            late.append(await _talk(session, AROUND))
    first, last = statistics.mean(early), statistics.mean(late)
    more = await _sending_cost(api_base, 2 * LATE) - await _sending_cost(api_base, 2 * EARLY)
    name = f"one agent over the wire: CPU of run {LATE}"
    return [
        Figure(f"{name}, over run {EARLY}, without sending the bytes", (last - more) / first, "×", at_most=1.5),
        Figure(name, last, " µs"),
        Figure(f"one agent over the wire: CPU of run {EARLY}", first, " µs"),
    ]


async def _steps(api_base: str) -> list[Figure]:
    configs = {
        "offline/echo": AIConfig(model="offline/echo"),
        "over the wire": AIConfig(model=MODEL, api_base=api_base),
    }
    longest: dict[str, list[float]] = {}
    async with _runtime() as rt:
        session = await _with_history(rt, "talker", LONGEST)
        for way, config in configs.items():
            await session.submit("What came of it?", config=config)
            longest[way] = [await _longest_step(session, config) for _ in range(SIZES[LONGEST][1])]
    encoding = _encoding_cost(LONGEST)
    figures = [Figure(f"json.dumps of {LONGEST:,} messages: CPU", encoding, " ms")]
    for way, times in longest.items():
        name, median = f"{LONGEST:,} messages, the longest step of a turn {way}: CPU", statistics.median(times)
        figures += [
            Figure(f"{name}, over json.dumps of them", median / encoding, "×", at_most=1),
            Figure(name, median, " ms"),
            Figure(f"{name}, in the worst turn", max(times), " ms"),
        ]
    return figures


async def _memory(api_base: str) -> list[Figure]:
    config = AIConfig(model=MODEL, api_base=api_base)
    async with _runtime(MemoryStore(capacity=0)) as rt:
        warm = await _with_history(rt, "warm", SHORT)
        await warm.submit("What came of it?", config=config)
        before = await _traced()
        session = await _with_history(rt, "talker", KEPT, KEPT_LENGTH)
        with_runs = await _traced() - before
        # A fork has the history without the runs. They go with the session that they belong to.
        fork = session.fork("fork")
        del session
        rt.remove("talker")
        await fork.submit("What came of it?", config=config)
        history = await _traced() - before
        tracemalloc.stop()
        text = sum(len(message.text) for message in fork.history)
        count = len(fork.history)
    name, allowed = f"a message of {KEPT_LENGTH} characters, kept", 1.3 * text + 300 * count
    return [
        Figure(f"{name}: memory, over 1.3 × its text + 300 B", history / allowed, "×", at_most=1),
        Figure(f"{name}: memory", history / count, " B"),
        Figure(f"{name} with its runs: memory", with_runs / count, " B"),
    ]


async def _traced() -> int:
    """Bytes that tracemalloc counts once workers have ended, and the loop has let go of cancelled timers."""
    loop = asyncio.get_running_loop()
    for _ in range(200):  # asyncio lets go of them, and of the runs in their contexts, when there are more than 100
        loop.call_later(3_600, int, context=Context()).cancel()
    await asyncio.sleep(0.1)
    gc.collect()
    if not tracemalloc.is_tracing():
        tracemalloc.start()
    return tracemalloc.get_traced_memory()[0]


@asynccontextmanager
async def _runtime(store: MemoryStore | None = None) -> AsyncIterator[Runtime]:
    os.environ["NO_PROXY"] = "*"
    async with Runtime(environ={}, store=store) as rt:
        rt.models["offline/quick"] = Quick()
        yield rt


async def _with_history(rt: Runtime, name: str, messages: int, length: int = LENGTH, memory: str = "all") -> Session:
    session = rt.create(Agent(name=name, memory=memory))
    for number in range(messages // 2):
        await session.submit(text_of(f"Question {number} of {name}", length), config="offline/quick")
    assert len(session.history) == messages
    return session


def text_of(start: str, length: int) -> str:
    """A text of that length."""
    return f"{start}: {FILLER}"[:length]


async def _turn_cost(rt: Runtime, size: int, config: AIConfig, memory: str = "all") -> float:
    """CPU in µs of a turn with so many messages of history."""
    conversations, turns = SIZES[size]
    sessions = [await _with_history(rt, f"of-{size}-{number}", size, memory=memory) for number in range(conversations)]
    used = 0.0
    for session in sessions:
        await _talk(session, 1, config)
        used += await _talk(session, turns, config)
    for session in sessions:
        rt.remove(session.name)
    return used / conversations


async def _talk(session: Session, turns: int, config: AIConfig | None = None) -> float:
    """CPU in µs of each of these turns."""
    gc.collect()
    start = time.process_time()
    for number in range(turns):
        await session.submit(text_of(f"And number {number}", LENGTH), config=config)
    return (time.process_time() - start) / turns * 1e6


async def _sending_cost(api_base: str, messages: int) -> float:
    """CPU in µs of a turn of raw aiohttp that sends the bytes of so many messages, encoded beforehand."""
    import aiohttp

    body = json.dumps({"model": MODEL, "messages": conversation(messages), "stream": True}).encode()
    conversations, turns = SIZES.get(messages, (2, 20))
    async with aiohttp.ClientSession() as http:
        for number in range(conversations * turns + 1):
            if number == 1:  # the first one has connected
                gc.collect()
                start = time.process_time()
            async with http.post(api_base + "/chat/completions", data=body) as response:
                lines = [json.loads(line[6:]) async for line in response.content if line.startswith(b"data: {")]
                assert lines
        return (time.process_time() - start) / conversations / turns * 1e6


def conversation(messages: int) -> list[dict[str, Any]]:
    """A history as the wire has it."""
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": text_of(f"Message {number}", LENGTH)} for number in range(messages)]


def _encoding_cost(messages: int) -> float:
    """CPU in ms of encoding a history: the median of a few times."""
    history, times = conversation(messages), []
    for _ in range(9):
        start = time.thread_time()
        json.dumps(history)
        times.append(time.thread_time() - start)
    return statistics.median(times) * 1000


async def _longest_step(session: Session, config: AIConfig) -> float:
    """CPU in ms of the longest step that the loop makes during a turn: nothing else runs meanwhile."""
    plain, longest = events.Handle._run, 0.0

    def timed(handle: events.Handle) -> None:
        nonlocal longest
        start = time.thread_time()
        plain(handle)
        longest = max(longest, time.thread_time() - start)

    events.Handle._run = timed  # type: ignore[method-assign]
    try:
        await session.submit("And then?", config=config)
    finally:
        events.Handle._run = plain  # type: ignore[method-assign]
    return longest * 1000
