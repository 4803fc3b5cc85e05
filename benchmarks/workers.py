"""The baseline of the engine: asyncio by hand. A worker with a queue for each agent, and a task for each run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

#: How often a run waits for the event loop: as often as a run of the engine did when this baseline was written.
#: Fixed, so that an engine which waits less often shows as a gain.
WAITS = 4
#: Awaits of a run that do not wait: the records that a session stores.
STORED = 4


@dataclass
class Work:
    """One prompt and its outcome."""

    prompt: str
    done: asyncio.Future[str]


@dataclass
class Worker:
    """Takes prompts, one at a time, and answers each in a task of its own."""

    queue: asyncio.Queue[Work] = field(default_factory=asyncio.Queue)
    stored: list[tuple[int, str]] = field(default_factory=list)
    history: list[str] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.work())

    def submit(self, prompt: str) -> asyncio.Future[str]:
        work = Work(prompt, asyncio.get_running_loop().create_future())
        self.queue.put_nowait(work)
        return work.done

    async def work(self) -> None:
        while True:
            work = await self.queue.get()
            work.done.set_result(await asyncio.create_task(self.answer(work.prompt)))

    async def answer(self, prompt: str) -> str:
        for _ in range(WAITS):
            await asyncio.sleep(0)
        for number in range(STORED):
            await self.append(number, prompt)
        self.history += prompt, "done"
        return "done"

    async def append(self, number: int, text: str) -> None:
        self.stored.append((number, text))


@asynccontextmanager
async def at_work(count: int) -> AsyncIterator[Sequence[Worker]]:
    """So many workers, for as long as the context lasts."""
    workers = [Worker() for _ in range(count)]
    for worker in workers:
        worker.start()
    try:
        yield workers
    finally:
        for worker in workers:
            if worker.task is not None:
                worker.task.cancel()
