"""Doubles for the engine: models and stores that wait or fail when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import suppress
from typing import Any

from whisper_nb import Agent, AIConfig, FunctionModel, Run, RunCancelled, RunFailed, Runtime, Session
from whisper_nb.core.events import Event, Record
from whisper_nb.core.messages import Delta, Finish, TextDelta, Usage
from whisper_nb.models.model import Model, Request
from whisper_nb.store.memory import MemoryStore


class Call:
    """One call that a HeldModel has received."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.prompt = request.messages[-1].text
        self.released = asyncio.Event()
        self.closed = asyncio.Event()

    def release(self) -> None:
        """Let the reply finish."""
        self.released.set()


class HeldModel(FunctionModel):
    """Streams "partial", waits until the test releases the call, then streams " and done" and finishes."""

    def __init__(self) -> None:
        super().__init__(self._stream)
        self.calls: list[Call] = []
        self._arrivals: asyncio.Queue[Call] = asyncio.Queue()

    async def arrived(self) -> Call:
        """The next call, as soon as its first token was taken."""
        return await self._arrivals.get()

    @property
    def in_flight(self) -> int:
        """Calls whose stream is open."""
        return sum(not call.closed.is_set() for call in self.calls)

    async def _stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        call = Call(request)
        self.calls.append(call)
        try:
            yield TextDelta("partial")
            self._arrivals.put_nowait(call)
            await call.released.wait()
            yield TextDelta(" and done")
            yield Finish("stop", Usage(1, 2), 0.5)
        finally:
            call.closed.set()


class HeldStore(MemoryStore):
    """Holds back, while `held`, the records whose event is of one of `kinds`."""

    def __init__(self, *kinds: type[Event]) -> None:
        super().__init__()
        self.kinds = kinds
        self.arrived = asyncio.Event()
        self.released = asyncio.Event()

    async def append(self, record: Record) -> None:
        if isinstance(record.event, self.kinds):
            self.arrived.set()
            await self.released.wait()
        await super().append(record)


class DiskFull(Exception):
    """The error of a FailingStore."""


class FailingStore(MemoryStore):
    """Fails for the records for which `fails` is true."""

    def __init__(self, fails: Callable[[Record], bool]) -> None:
        super().__init__()
        self.fails = fails

    async def append(self, record: Record) -> None:
        if self.fails(record):
            raise DiskFull("no space left")
        await super().append(record)


def hire(runtime: Runtime, model: Model, name: str = "bob", **fields: Any) -> Session:
    """Create an agent with this model. Return its session."""
    runtime.models[f"offline/{name}"] = model
    return runtime.create(Agent(name=name, config=AIConfig(model=f"offline/{name}"), **fields))


def observed_by(runtime: Runtime) -> list[Record]:
    """A list of all records that observers receive from now on."""
    heard: list[Record] = []
    runtime.observe(heard.append)
    return heard


async def published(runtime: Runtime, *kinds: type[Event], run: Run | None = None) -> Record:
    """The next record of these kinds, of this run if one is given. Await it before the record can be published."""
    record: asyncio.Future[Record] = asyncio.get_running_loop().create_future()

    def watch(one: Record) -> None:
        if isinstance(one.event, kinds) and (run is None or one.run == run.id) and not record.done():
            record.set_result(one)

    drop = runtime.observe(watch)
    try:
        return await record
    finally:
        drop()


async def settled(*runs: Run) -> None:
    """Wait until each run has finished, in any way."""
    for run in runs:
        with suppress(RunFailed, RunCancelled):
            await run


async def quiet() -> None:
    """Wait until no task but this one is left: everything that was posted is published."""
    while tasks := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(tasks)


def kinds_of(records: Iterable[Record]) -> list[str]:
    """The names of the events, in order."""
    return [type(record.event).__name__ for record in records]
