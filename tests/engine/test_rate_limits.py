"""Rates of a config: runs wait for them visibly, and go on by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from support.clock import forward
from support.doubles import FunctionModel, HeldModel, hire, published, settled
from whisper_nb import ModelError, Rule, Runtime, ScriptedModel
from whisper_nb.core.events import CallHeld
from whisper_nb.core.messages import Delta, Finish, TextDelta, Usage
from whisper_nb.models.model import Request


async def test_a_run_over_the_rate_waits_visibly_and_goes_on(runtime: Runtime) -> None:
    runtime.configure(requests_per_minute=1)
    bob, amy = (hire(runtime, ScriptedModel([Rule(reply="ok")]), name) for name in ("bob", "amy"))
    assert await bob.submit("hello") == "ok"
    held = asyncio.ensure_future(published(runtime, CallHeld))
    run = amy.submit("hello")
    event = (await held).event
    assert isinstance(event, CallHeld)
    assert (event.reason, event.cause) == ("offline is limited to 1 request per minute", "rate")
    assert 59 < event.after_s <= 60
    assert run.status == "waiting"
    forward(60)
    assert await run == "ok"


async def test_a_run_that_is_cancelled_while_it_waits_leaves_the_line(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(reply="ok")]))
    bob.configure(requests_per_minute=1)
    await bob.submit("hello")
    held = asyncio.ensure_future(published(runtime, CallHeld))
    run = bob.submit("hello")
    await held
    run.cancel()
    await settled(run)
    assert (run.status, run.cost) == ("cancelled", 0.0)
    assert await bob.submit("hello", config={"requests_per_minute": 60}) == "ok"


async def test_the_tokens_of_a_call_count_as_it_took_them(runtime: Runtime) -> None:
    """A call counts with `max_tokens` while it is in flight, and with its usage from its end on."""
    model = HeldModel()
    config = {"tokens_per_minute": 1_000, "max_tokens": 900}
    bob, amy = hire(runtime, model), hire(runtime, model, "amy")
    first = bob.submit("hello", config=config)
    call = await model.arrived()
    held = asyncio.ensure_future(published(runtime, CallHeld))
    second = amy.submit("hello", config=config)
    event = (await held).event
    assert isinstance(event, CallHeld)
    assert event.reason == "offline is limited to 1,000 tokens per minute"
    call.release()  # it took 3
    (await model.arrived()).release()
    assert await first == await second == "partial and done"


async def test_a_retry_counts_as_a_request_and_a_refused_call_takes_no_tokens(runtime: Runtime) -> None:
    replies = iter([ModelError("busy", model="x", retryable=True, status=503, retry_after_s=0.0), None])

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        if error := next(replies):
            raise error
        yield TextDelta("ok")
        yield Finish("stop", Usage(1, 1), 0.0)

    bob = hire(runtime, FunctionModel(stream))
    config = {"requests_per_minute": 2, "tokens_per_minute": 1_000, "max_tokens": 900, "retries": 1}
    assert await bob.submit("hello", config=config) == "ok"
    held = asyncio.ensure_future(published(runtime, CallHeld))
    run = bob.submit("hello", config={"requests_per_minute": 2})
    event = (await held).event
    assert isinstance(event, CallHeld)
    assert event.reason == "offline is limited to 2 requests per minute"
    run.cancel()
    await settled(run)
