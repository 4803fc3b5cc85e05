"""Typed answers, beside pydantic by hand: from the text that a model wrote to an instance."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import BaseModel, TypeAdapter

from whisper_nb.config.agents import Agent
from whisper_nb.config.aiconfig import UNSET
from whisper_nb.engine.answers import Answers
from whisper_nb.engine.ports import Start
from whisper_nb.tools.outputs import OutputType

from .measure import Figure, pin

#: Seconds for one timing. The two sides take turns, and the least time of each counts.
SLICE_S, SLICES = 0.02, 25
GOAL = 1.2


class Item(BaseModel):
    """A line of an order."""

    name: str
    count: int
    price: float
    tags: list[str]


class Order(BaseModel):
    """An answer as agents often give it: some fields and a list of some more."""

    customer: str
    status: Literal["open", "paid", "sent"]
    note: str | None
    items: list[Item]


def _order(items: int) -> str:
    item = {"name": "a steel bolt, 10 mm", "count": 3, "price": 0.25, "tags": ["steel", "bolts"]}
    order = {"customer": "Ada", "status": "paid", "note": None, "items": [item] * items}
    return json.dumps(order, indent=1)


def validation() -> list[Figure]:
    """Answers of several sizes, and one with the object around it. The longest keeps the event loop free."""
    pin(0)
    rows = json.loads(_order(20))["items"]
    return [
        *asyncio.run(_compared("of 200 bytes", Order, _order(1))),
        *asyncio.run(_compared("of 3 kB", Order, _order(20))),
        *asyncio.run(_compared("of 150 kB", Order, _order(1_000))),
        *asyncio.run(_compared("of 450 kB, in a thread", Order, _order(3_000), goal=None)),
        *asyncio.run(_compared("of 3 kB, a list", list[Item], json.dumps({"answer": rows}), json.dumps(rows))),
    ]


class _Run:
    """Keeps the instance, as a run does."""

    _answer: object = None


async def _compared(what: str, source: Any, text: str, bare: str = "", goal: float | None = GOAL) -> list[Figure]:
    start = Start(Agent("judge"), UNSET, OutputType.of(source))
    answers = Answers(_Run(), start)  # type: ignore[arg-type]
    adapter: TypeAdapter[Any] = TypeAdapter(source)
    assert await answers.check(text) == ""

    async def ours() -> None:
        await answers.check(text)

    kept = _Run()  # both sides keep the last instance

    async def theirs() -> None:
        kept._answer = adapter.validate_json(bare or text)

    times = {ours: [float("inf")], theirs: [float("inf")]}
    for _ in range(SLICES):
        for side, found in times.items():
            found.append(await _seconds_each(side))
    name = f"checking an answer {what}"
    return [
        Figure(f"{name}, over validate_json", min(times[ours]) / min(times[theirs]), "×", at_most=goal),
        Figure(f"{name}: CPU", min(times[ours]) * 1e6, " µs"),
    ]


async def _seconds_each(work: Callable[[], Awaitable[None]]) -> float:
    count, start = 0, time.process_time()
    while (spent := time.process_time() - start) < SLICE_S or not count:
        for _ in range(10):
            await work()
        count += 10
    return spent / count
