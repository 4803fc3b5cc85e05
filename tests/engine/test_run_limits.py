"""Limits of tokens, cost and turns of one run."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence

import pytest

from support.doubles import FunctionModel, hire, settled
from whisper_nb import Agent, AIConfig, LimitExceeded, ModelError, Rule, Run, Runtime, ScriptedModel, Session
from whisper_nb.core.events import RunQueued
from whisper_nb.core.limits import RunLimits
from whisper_nb.core.messages import CallDelta, Delta, Finish, ReasoningDelta, TextDelta, Usage
from whisper_nb.models.model import Request

PRICED = "openai/gpt-4o-mini"
#: US dollars for each token.
SENT, RECEIVED = 0.15e-6, 0.6e-6


def model_of(*replies: Sequence[Delta | Exception]) -> tuple[FunctionModel, list[Request]]:
    """A model that gives these replies, one after another, and the requests that it has received."""
    requests: list[Request] = []
    left = list(replies)

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        requests.append(request)
        for delta in left.pop(0):
            if isinstance(delta, Exception):
                raise delta
            yield delta

    return FunctionModel(stream), requests


def call(usage: Usage | None = None, cost: float | None = None) -> list[Delta | Exception]:
    """A reply that calls the tool `look`."""
    return [CallDelta(0, "1", "look", "{}"), Finish("tool_calls", usage, cost)]


def text(*pieces: str, usage: Usage | None = None, cost: float | None = None) -> list[Delta | Exception]:
    return [*map(TextDelta, pieces), Finish("stop", usage, cost)]


def look() -> str:
    """Look."""
    return "seen"


def priced(runtime: Runtime, model: FunctionModel, name: str = PRICED, **fields: object) -> Session:
    runtime.models[name] = model
    return runtime.create(Agent("bob", config=AIConfig(model=name, retries=1), tools=(look,), **fields))  # type: ignore[arg-type]


async def refused(run: Run, reason: str) -> LimitExceeded:
    """The error with which a limit ends the run."""
    with pytest.raises(LimitExceeded) as failure:
        await run
    assert failure.value.reason == reason
    return failure.value


# Tokens


async def test_a_call_that_surely_exceeds_the_tokens_is_not_sent(runtime: Runtime) -> None:
    model, requests = model_of(call(Usage(80, 15)))
    bob = hire(runtime, model, tools=(look,), max_total_tokens=100)
    error = await refused(bob.submit("hello"), "tokens")
    assert len(requests) == 1
    assert "bob#1 failed: max_total_tokens of bob allows 100, and it has used 95: its next call" in str(error)
    assert "was not sent" in str(error)
    assert error.limit == 100
    assert error.used is not None
    assert error.used > 100


async def test_a_run_within_its_tokens_is_not_disturbed(runtime: Runtime) -> None:
    model, requests = model_of(call(Usage(40, 5)), text("done", usage=Usage(45, 5)))
    bob = hire(runtime, model, tools=(look,), max_total_tokens=100)
    assert await bob.submit("hello") == "done"
    assert len(requests) == 2


async def test_the_answer_that_passes_the_limit_when_it_is_complete_is_kept(runtime: Runtime) -> None:
    """Nothing more would be spent: an answer that was paid for is not thrown away."""
    model, _ = model_of(text("done", usage=Usage(90, 50)))
    assert await hire(runtime, model, max_total_tokens=100).submit("hello") == "done"


async def test_a_limit_of_the_run_takes_precedence_over_that_of_its_agent(runtime: Runtime) -> None:
    model, requests = model_of(call(Usage(500, 5)), text("done"), call(Usage(500, 5)))
    bob = hire(runtime, model, tools=(look,), max_total_tokens=100)
    assert await bob.submit("hello", max_total_tokens=10_000) == "done"
    error = await refused(bob.submit("hello", max_total_tokens=400), "tokens")
    assert "max_total_tokens of this run allows 400" in str(error)
    assert len(requests) == 3


@pytest.mark.parametrize("kind", [TextDelta, ReasoningDelta, lambda piece: CallDelta(0, "1", "look", piece)])
async def test_a_reply_that_passes_the_tokens_is_stopped(runtime: Runtime, kind: Callable[[str], Delta]) -> None:
    pieces = ["beginning "] + ["and so on "] * 1_000
    closed = []

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        try:
            for piece in pieces:
                yield kind(piece)
        finally:
            closed.append(len(pieces))
        yield Finish("stop", Usage(1, 1), 0.0)

    run = hire(runtime, FunctionModel(stream), max_total_tokens=300).submit("hello")
    error = await refused(run, "tokens")
    assert f"allows 300, and it has used about {error.used}: its reply was stopped; its text so far is in" in str(error)
    assert error.used is not None
    assert 300 < error.used < 330
    assert closed == [len(pieces)]
    if kind is TextDelta:
        assert run.text.startswith("beginning and so on")
        assert 500 < len(run.text) < 1_600


async def test_the_text_of_any_language_counts(runtime: Runtime) -> None:
    model, _ = model_of(text(*["数を数える"] * 1_000))
    run = hire(runtime, model, max_total_tokens=300).submit("hello")
    await refused(run, "tokens")
    assert len(run.text) < 600


async def test_tokens_that_are_not_reported_count_as_estimated(runtime: Runtime) -> None:
    model, requests = model_of(*[[TextDelta("word " * 60), *call()] for _ in range(9)])
    bob = hire(runtime, model, tools=(look,), max_total_tokens=700)
    await refused(bob.submit("hello"), "tokens")
    assert 1 < len(requests) < 6


async def test_failed_calls_count_too(runtime: Runtime) -> None:
    """A provider may bill what it has sent before a call broke off."""
    lost = ModelError("lost", model="x", retryable=True)
    model, requests = model_of([lost], text("done"))
    bob = priced(runtime, model)
    error = await refused(bob.submit("word " * 400, max_total_tokens=600), "tokens")
    assert "was not sent" in str(error)
    assert len(requests) == 1


async def test_a_call_that_was_free_does_not_count(runtime: Runtime) -> None:
    busy = ModelError("busy", model="x", retryable=True, status=503)
    model, requests = model_of([busy], text("done"))
    assert await priced(runtime, model).submit("word " * 400, max_total_tokens=600) == "done"
    assert len(requests) == 2


async def test_a_failed_call_counts_by_the_usage_that_it_reports(runtime: Runtime) -> None:
    model, requests = model_of([Finish("odd", Usage(5_000, 1), 0.0)], text("done"))
    error = await refused(priced(runtime, model).submit("hello", max_total_tokens=1_000), "tokens")
    assert "it has used 5,001: " in str(error)
    assert len(requests) == 1


async def test_tokens_are_limited_without_a_price(runtime: Runtime) -> None:
    model, requests = model_of(call(Usage(80, 15)))
    bob = priced(runtime, model, "openai/nobody-lists-this", max_total_tokens=100)
    await refused(bob.submit("hello"), "tokens")
    assert len(requests) == 1


# Cost


async def test_a_call_that_surely_costs_too_much_is_not_sent(runtime: Runtime) -> None:
    model, requests = model_of(call(Usage(1_000, 100), 0.0099))
    bob = priced(runtime, model, max_cost_usd=0.0099)
    error = await refused(bob.submit("hello"), "cost")
    assert "max_cost_usd of bob allows $0.0099, and it has cost $0.0099: its next call" in str(error)
    assert "was not sent" in str(error)
    assert error.limit == 0.0099
    assert error.used is not None
    assert error.used > 0.0099
    assert len(requests) == 1


async def test_a_prompt_that_costs_too_much_alone_is_not_sent(runtime: Runtime) -> None:
    model, requests = model_of()
    await refused(priced(runtime, model).submit("word " * 1_000, max_cost_usd=0.0001), "cost")
    assert requests == []


async def test_a_reply_that_costs_too_much_is_stopped(runtime: Runtime) -> None:
    model, _ = model_of(text(*["and so on "] * 10_000))
    run = priced(runtime, model).submit("hello", max_cost_usd=0.001)
    error = await refused(run, "cost")
    assert "allows $0.0010, and it has cost about $0.0010: its reply was stopped" in str(error)
    assert error.used is not None
    assert 0.001 < error.used < 0.0011
    assert run.text.startswith("and so on")
    assert run.cost is None  # the provider will bill what it has sent, and has not said how much


async def test_usage_without_a_cost_counts_by_the_price_list(runtime: Runtime) -> None:
    usage = Usage(1_000, 1_000)
    model, requests = model_of(call(usage), text("done", usage=usage))
    await refused(priced(runtime, model).submit("hello", max_cost_usd=1_000 * (SENT + RECEIVED)), "cost")
    assert len(requests) == 1


async def test_a_model_without_a_price_is_refused_under_a_limit_of_cost(runtime: Runtime) -> None:
    model, requests = model_of(text("done"))
    bob = priced(runtime, model, "openai/nobody-lists-this", max_cost_usd=5)
    error = await refused(bob.submit("hello"), "cost")
    assert "the price of openai/nobody-lists-this is unknown" in str(error)
    assert "Nothing was sent: set price" in str(error)
    assert (error.limit, error.used) == (5, None)
    assert requests == []


async def test_offline_models_cost_nothing(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(reply="done " * 5_000)]), max_cost_usd=0.000001)
    assert (await bob.submit("hello")).startswith("done")


async def test_both_limits_hold(runtime: Runtime) -> None:
    model, _ = model_of(text(*["and so on "] * 1_000))
    run = priced(runtime, model).submit("hello", max_cost_usd=5, max_total_tokens=500)
    await refused(run, "tokens")


# Turns and records


async def test_a_run_has_its_own_limit_of_turns(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(calls=[{"name": "look"}])]), tools=(look,), max_turns=9)
    error = await refused(bob.submit("hello", max_turns=2), "turns")
    assert "it wants more than 2 turns; raise max_turns of this run to allow it" in str(error)
    assert error.limit == 2


async def test_the_record_of_a_queued_run_has_its_limits(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(reply="ok")]), max_turns=9)
    run = bob.submit("hello", max_turns=2, max_total_tokens=1_000, max_cost_usd=0.5, timeout_s=60)
    other = bob.submit("hello")
    await settled(run, other)
    events = [one.events[0].event for one in (run, other)]
    assert [event.limits for event in events if isinstance(event, RunQueued)] == [
        RunLimits(2, 1_000, 0.5, 60),
        RunLimits(),
    ]
