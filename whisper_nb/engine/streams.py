"""Streams: the records and the text of one run, as they come."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from typing import Protocol, TypeVar

from ..core.events import ModelReplied, Record, RunFinished, TextStreamed
from .home import Housed

T = TypeVar("T")

#: Stands between the texts of two turns.
_BETWEEN = "\n\n"


class Source(Protocol):
    """A run, as far as a stream needs it."""

    @property
    def session(self) -> Housed:
        """The session that it belongs to."""

    def _subscribe(self, listen: Callable[[Record], None]) -> tuple[tuple[Record, ...], str, Callable[[], None]]:
        """Return the stored records, the text of an incomplete reply, and a function that ends this subscription."""

    def _check_more(self) -> None:
        """Raise SessionError if further records would never come."""

    async def _elsewhere(self, work: Callable[[], Awaitable[T]]) -> T:
        """Await on another event loop than the agents'."""

    def _receive(self) -> None:
        """Note that its outcome was received."""

    def _received_output(self) -> object:
        """Return its output, or raise its failure."""


async def records_of(run: Source) -> AsyncGenerator[Record, None]:
    """Yield a run's records, as `Run.stream`."""
    async with aclosing(_followed(run)) as found:
        async for record, _ in found:
            if record is not None and isinstance(record.event, RunFinished):
                run._receive()
            if record is not None:
                yield record


async def texts_of(run: Source) -> AsyncGenerator[str, None]:
    """Yield the pieces of a run's text, as `Run.stream_text`."""
    between, begun = "", False  # a turn's text: whether a part of it was yielded
    async with aclosing(_followed(run)) as found:
        async for record, text in found:
            event = record and record.event
            piece = text
            if isinstance(event, TextStreamed):
                piece = "" if event.channel == "analysis" else event.text
            elif isinstance(event, ModelReplied) and not begun:
                piece = event.message.text
            if piece:
                yield f"{between}{piece}"
                between, begun = "", True
            if isinstance(event, ModelReplied) and begun:
                between, begun = _BETWEEN, False
    run._received_output()


async def _followed(run: Source) -> AsyncGenerator[tuple[Record | None, str], None]:
    """Yield the records; behind the first ones, None with the text of an incomplete reply, which no record has."""
    queue: asyncio.Queue[Record] = asyncio.Queue()
    loop, home = asyncio.get_running_loop(), run.session.home

    def listen(record: Record) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, record)

    past, text, drop = home.do(run._subscribe, listen)
    accepted = bool(past)  # the record of that comes in any case
    try:
        for record in past:
            if text and isinstance(record.event, RunFinished):
                yield None, text
                text = ""
            yield record, ""
            if isinstance(record.event, RunFinished):
                return
        if text:
            yield None, text
        while True:
            if accepted and queue.empty():
                run._check_more()
            record = await (queue.get() if loop is home.loop else run._elsewhere(queue.get))
            accepted = True
            if past and record.seq <= past[-1].seq:
                continue
            yield record, ""
            if isinstance(record.event, RunFinished):
                return
    finally:
        drop()
