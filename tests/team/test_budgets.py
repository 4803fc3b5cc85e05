"""Budgets: reserved before a call, given back after it, never overspent by concurrency, never stuck."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from support.doubles import FunctionModel
from whisper_nb import Agent, Budget, BudgetExceeded, ConfigError, LimitExceeded, Run, RunFailed, Runtime, Session
from whisper_nb.core.errors import LengthExceeded, ModelError, RunCancelled
from whisper_nb.core.events import CallHeld, CallRetried, ModelReplied, Noticed, Record, RunFinished
from whisper_nb.core.messages import Delta, Finish, TextDelta, Usage
from whisper_nb.models.model import Request

ONE = Usage(10, 1)
#: A token of the reply costs a cent; the prompt is free.
CENT = {"input": 0, "output": 10_000}


class Meted:
    """A model whose calls go on until the test lets them."""

    def __init__(self, usage: Usage | None = ONE, cost: float | None = None) -> None:
        self.usage, self.cost = usage, cost
        self.calls: asyncio.Queue[asyncio.Event] = asyncio.Queue()
        self.in_flight = self.most_in_flight = 0

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            go = asyncio.Event()
            self.calls.put_nowait(go)
            await go.wait()
            yield TextDelta("ok")
            yield Finish("stop", self.usage, self.cost)
        finally:
            self.in_flight -= 1

    async def end(self) -> None:
        """End the call that began first."""
        (await self.begun()).set()

    async def begun(self) -> asyncio.Event:
        """The event that ends the next call, once that has begun."""
        async with asyncio.timeout(5):
            return await self.calls.get()


def replies(*ends: Finish | Exception) -> Callable[[Request], AsyncGenerator[Delta, None]]:
    """The calls end like this, one after the other; all others like the last."""
    left = list(ends)

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        end = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(end, Exception):
            raise end
        yield TextDelta("ok")
        yield end

    return stream


def hire(
    rt: Runtime,
    stream: Callable[[Request], AsyncGenerator[Delta, None]],
    name: str = "bob",
    max_tokens: int | None = 1,
    **config: Any,
) -> Session:
    """An agent whose calls cost `max_tokens` cents at most."""
    rt.models[f"acme/{name}"] = FunctionModel(stream)
    if max_tokens:
        config["max_tokens"] = max_tokens
    return rt.create(Agent(name=name, model=f"acme/{name}", config={"price": CENT, "retries": 0, **config}))


def budget_of(rt: Runtime) -> Budget:
    assert rt.budget is not None
    return rt.budget


def amounts(rt: Runtime) -> tuple[float, float, float]:
    budget = budget_of(rt)
    return budget.spent, budget.reserved, budget.left


def events(run: Run[Any], kind: type) -> list[Any]:
    return [record.event for record in run.events if isinstance(record.event, kind)]


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until the condition holds; within 10,000 iterations."""
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    pytest.fail("it does not happen")


async def failure(run: Run[Any]) -> BudgetExceeded:
    with pytest.raises(BudgetExceeded) as caught:
        await run
    return caught.value


# Setting it


def test_a_budget_has_a_limit_and_what_is_left_of_it() -> None:
    budget = Budget(2.0)
    assert (budget.limit_usd, budget.spent, budget.reserved, budget.left) == (2.0, 0.0, 0.0, 2.0)
    assert repr(budget) == "<Budget of $2.0000, $0 spent, $0 reserved>"
    assert repr(Budget()) == "<Budget no limit, $0 spent, $0 reserved>"
    assert Budget().left == Budget().limit_usd == math.inf


@pytest.mark.parametrize("usd", [-1, -0.01, 1_000_001, math.nan, math.inf, "2", True, [2]])
async def test_a_limit_that_is_no_amount_is_an_error_and_changes_nothing(runtime: Runtime, usd: Any) -> None:
    runtime.set_budget(usd=1.0)
    for make in (lambda: Budget(usd), lambda: runtime.set_budget(usd=usd), lambda: Runtime(environ={}, budget=usd)):
        with pytest.raises(ConfigError, match="is not a number of US dollars from 0 to 1,000,000"):
            make()
    assert budget_of(runtime).limit_usd == 1.0


async def test_without_a_budget_there_is_none(runtime: Runtime) -> None:
    assert runtime.budget is None
    runtime.set_budget(usd=2)
    assert budget_of(runtime).limit_usd == 2.0
    runtime.set_budget(None)
    assert runtime.budget is None


async def test_what_was_spent_before_counts_and_the_same_limit_again_refills_nothing(runtime: Runtime) -> None:
    bob = hire(runtime, replies(Finish("stop", Usage(1, 1))))
    await bob.submit("without a limit")
    for _ in range(2):  # the cell is run again
        runtime.set_budget(usd=0.05)
        assert amounts(runtime) == (0.01, 0.0, 0.04)
    runtime.set_budget(None)
    await bob.submit("without a limit")
    runtime.set_budget(usd=0.05)
    assert amounts(runtime) == (0.02, 0.0, 0.03)


async def test_a_restart_keeps_what_the_caller_hands_over() -> None:
    budget = Budget(0.02)
    async with Runtime(environ={}, budget=budget) as rt:
        await hire(rt, replies(Finish("stop", Usage(1, 1)))).submit("first")
    async with Runtime(environ={}, budget=budget) as rt:
        assert amounts(rt) == (0.01, 0.0, 0.01)
        bob = hire(rt, replies(Finish("stop", Usage(1, 1))))
        await bob.submit("second")
        assert (await failure(bob.submit("third"))).spent_by_agent == {"bob": 0.02}
    assert Budget.of(rt.store.records(), 0.02).spent == 0.01  # of the second runtime alone


async def test_the_file_of_a_project_sets_a_budget_that_code_overrides(tmp_path: Path) -> None:
    main = tmp_path / "config" / "main.yaml"
    main.parent.mkdir()
    main.write_text("budget_usd: 2.5\nallow_unpriced: true\n")
    async with Runtime(environ={}, project=tmp_path) as rt:
        assert (budget_of(rt).limit_usd, budget_of(rt).allow_unpriced) == (2.5, True)
        rt.set_budget(usd=1.0)
        main.write_text("budget_usd: 1000\n")
        rt.refresh()
        assert budget_of(rt).limit_usd == 1.0
    async with Runtime(environ={}, project=tmp_path, budget=0.5) as rt:
        assert budget_of(rt).limit_usd == 0.5


# Reserving


async def test_a_call_reserves_what_it_may_cost_and_spends_what_it_cost(runtime: Runtime) -> None:
    runtime.set_budget(usd=1.0)
    model = Meted(Usage(10, 2))
    run = hire(runtime, model.stream, max_tokens=5).submit("hello")
    go = await model.begun()
    assert amounts(runtime) == (0.0, 0.05, 0.95)
    go.set()
    await run
    assert (run.cost, amounts(runtime)) == (0.02, (0.02, 0.0, 0.98))


async def test_the_prompt_is_reserved_too(runtime: Runtime) -> None:
    runtime.set_budget(usd=1.0)
    model = Meted(Usage(1000, 0))
    run = hire(runtime, model.stream, price={"input": 100, "output": 0}).submit("word " * 1000)
    go = await model.begun()
    assert 0.1 <= budget_of(runtime).reserved <= 0.16
    go.set()
    await run
    assert amounts(runtime) == (0.1, 0.0, 0.9)


async def test_a_call_that_does_not_fit_waits_without_a_permit_and_says_so(runtime: Runtime) -> None:
    runtime.set_budget(usd=0.01)
    model = Meted(Usage(10, 0))
    first = hire(runtime, model.stream).submit("first")
    go = await model.begun()
    other = hire(runtime, model.stream, "eve")
    second = other.submit("second")
    await until(lambda: bool(events(second, CallHeld)))
    assert second.status == "waiting"
    assert events(second, CallHeld) == [
        CallHeld(
            "the budget of $0.0100 has $0 left, and the call may cost $0.0100: it waits for what other calls give back",
            0.0,
            "budget",
        )
    ]
    assert runtime._ports.permits._in_flight == 1
    go.set()
    await first
    await model.end()
    await second
    assert (model.most_in_flight, amounts(runtime)) == (1, (0.0, 0.0, 0.01))


async def test_a_call_that_can_never_fit_fails_at_once_and_says_who_spent_what(runtime: Runtime) -> None:
    runtime.set_budget(usd=0.02)
    await hire(runtime, replies(Finish("stop", Usage(1, 1))), "eve").submit("hello")
    model = Meted()
    running = hire(runtime, model.stream).submit("first")
    go = await model.begun()
    big = hire(runtime, replies(Finish("stop")), "big", max_tokens=2).submit("large")
    error = await failure(big)
    assert (error.reason, error.limit, error.used, error.needed) == ("budget", 0.02, 0.01, 0.02)
    assert error.spent_by_agent == {"eve": 0.01}
    assert str(error) == (
        "big#1 failed: the budget of $0.0200 has $0 left, and a model call may cost $0.0200: $0.0100 are spent "
        "(eve $0.0100), $0.0100 reserved. `%agent budget $0.03` raises it, and `%agent budget off` removes it; "
        "max_tokens limits what a call may cost"
    )
    go.set()
    await running


async def test_a_wait_fails_when_what_is_given_back_is_too_little(runtime: Runtime) -> None:
    runtime.set_budget(usd=0.01)
    model = Meted(Usage(10, 1))
    first = hire(runtime, model.stream).submit("first")
    go = await model.begun()
    second = hire(runtime, model.stream, "eve").submit("second")
    await until(lambda: bool(events(second, CallHeld)))
    go.set()
    await first
    error = await failure(second)
    assert (error.spent_by_agent, amounts(runtime)) == ({"bob": 0.01}, (0.01, 0.0, 0.0))


@pytest.mark.parametrize("usd", [0.02, None])
async def test_a_raised_or_removed_budget_wakes_those_who_wait(runtime: Runtime, usd: float | None) -> None:
    runtime.set_budget(usd=0.01)
    model = Meted()
    runs = [hire(runtime, model.stream, name).submit("hello") for name in ("bob", "eve")]
    await until(lambda: bool(events(runs[1], CallHeld)))
    runtime.set_budget(usd)
    for go in [await model.begun() for _ in runs]:
        go.set()
    await asyncio.gather(*runs)
    assert model.most_in_flight == 2
    assert runtime._budget.reserved == 0


async def test_a_large_call_is_not_starved_by_small_ones(runtime: Runtime) -> None:
    runtime.set_budget(usd=0.03)
    model, order = Meted(Usage(10, 0)), list[str]()
    runtime.observe(lambda record: order.append(record.agent) if isinstance(record.event, ModelReplied) else None)
    small = [hire(runtime, model.stream, f"small{number}") for number in range(6)]
    runs = [one.submit("hello") for one in small[:2]]
    await until(lambda: model.in_flight == 2)
    large = hire(runtime, model.stream, "large", max_tokens=3).submit("hello")
    await until(lambda: bool(events(large, CallHeld)))
    runs += [one.submit("hello") for one in small[2:]]  # one of them would fit
    await until(lambda: all(events(run, CallHeld) for run in runs[2:]))
    assert model.in_flight == 2
    for _ in range(7):
        await model.end()
    await asyncio.gather(large, *runs)
    assert order.index("large") == 2


# How a call ends


async def test_the_reported_cost_comes_before_the_price(runtime: Runtime) -> None:
    runtime.set_budget(usd=1.0)
    run = hire(runtime, replies(Finish("stop", Usage(5, 5), 0.25))).submit("hello")
    await run
    assert (run.cost, amounts(runtime)) == (0.25, (0.25, 0.0, 0.75))


@pytest.mark.parametrize(
    ("provider", "config"),
    [("acme", {}), ("acme", {"price": "free"}), ("offline", {})],
    ids=["unpriced", "free", "own"],
)
async def test_a_model_without_a_price_that_reports_costs_is_held_to_the_budget(
    runtime: Runtime, provider: str, config: dict[str, Any]
) -> None:
    runtime.set_budget(usd=1.0, allow_unpriced=True)
    runtime.models[f"{provider}/bob"] = FunctionModel(replies(Finish("stop", Usage(1, 2), 0.4)))
    bob = runtime.create(Agent(name="bob", model=f"{provider}/bob", config=config))
    await bob.submit("hello")
    runs = [bob.fork(f"bob_{number}").submit("hello") for number in range(4)]
    ends = await asyncio.gather(*runs, return_exceptions=True)
    assert [type(end) for end in ends] == [str, BudgetExceeded, BudgetExceeded, BudgetExceeded]
    assert amounts(runtime) == (0.8, 0.0, 0.2)


@pytest.mark.parametrize("cost", [-1.0, float("nan"), float("inf"), 1e300, 10**400, "5", True])
@pytest.mark.parametrize("usage", [Usage(-5, -5), Usage(10**18, 1), None])
async def test_impossible_costs_and_usages_count_as_unknown(runtime: Runtime, cost: Any, usage: Usage | None) -> None:
    runtime.set_budget(usd=1.0)
    run = hire(runtime, replies(Finish("stop", usage, cost)), max_tokens=3).submit("hello")
    await run
    assert (run.usage, run.cost, amounts(runtime)) == (None, None, (0.03, 0.0, 0.97))
    assert Budget.of(runtime.store.records()).spent == 0.03


async def test_unknown_usage_is_charged_as_it_was_reserved_and_marked_as_estimated(runtime: Runtime) -> None:
    runtime.set_budget(usd=1.0)
    run = hire(runtime, replies(Finish("stop")), max_tokens=3).submit("hello")
    await run
    assert run.cost is None  # never made up
    (replied,) = events(run, ModelReplied)
    assert (replied.cost_usd, replied.estimated_usd, amounts(runtime)) == (None, 0.03, (0.03, 0.0, 0.97))


async def test_a_cancelled_call_is_charged_as_it_was_reserved(runtime: Runtime) -> None:
    runtime.set_budget(usd=1.0)
    model = Meted()
    run = hire(runtime, model.stream, max_tokens=3).submit("hello")
    await model.begun()
    run.cancel()
    with pytest.raises(RunCancelled):
        await run
    (finished,) = events(run, RunFinished)
    assert finished.charge.estimated_usd == 0.03
    assert amounts(runtime) == (0.03, 0.0, 0.97)
    assert Budget.of(runtime.store.records()).spent == 0.03


FREE_FAILURES = [
    ModelError("429", model="acme/bob", status=429),
    ModelError("refused", model="acme/bob", unsent=True),
    ConfigError("no key"),
]


@pytest.mark.parametrize("error", FREE_FAILURES, ids=str)
async def test_a_free_failure_gives_all_back(runtime: Runtime, error: Exception) -> None:
    runtime.set_budget(usd=0.01)
    run = hire(runtime, replies(error)).submit("hello")
    with pytest.raises(RunFailed):
        await run
    assert (run.status, amounts(runtime)) == ("failed", (0.0, 0.0, 0.01))


async def test_each_retry_is_reserved_and_charged(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_nb.engine.calls.RETRY_S", 0.0)
    runtime.set_budget(usd=0.03)
    broken = ModelError("500", model="acme/bob", status=500, retryable=True)
    run = hire(runtime, replies(broken, broken, Finish("stop", Usage(1, 1))), retries=2).submit("hello")
    await run
    assert [one.charge.estimated_usd for one in events(run, CallRetried)] == [0.01, 0.01]
    assert amounts(runtime) == (0.03, 0.0, 0.0)
    assert Budget.of(runtime.store.records()).spent_by_agent == {"bob": 0.03}


async def test_a_prompt_that_is_refused_and_made_shorter_is_charged_twice(runtime: Runtime) -> None:
    """Where the refusal comes within the reply, it may be billed."""
    runtime.set_budget(usd=1.0)
    refused = LengthExceeded("too long", model="acme/bob")
    refused.context_tokens, refused.prompt_tokens = 26, 30
    good = Finish("stop", Usage(5, 2))
    bob = hire(runtime, replies(good, good, refused, good), max_tokens=3)
    for _ in range(3):
        run = bob.submit("hi you")
        await run
    assert [one.charge.estimated_usd for one in events(run, CallRetried)] == [0.03]
    assert amounts(runtime) == (0.09, 0.0, 0.91)
    assert Budget.of(runtime.store.records()).spent == 0.09


async def test_a_retry_that_does_not_fit_fails(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("whisper_nb.engine.calls.RETRY_S", 0.0)
    runtime.set_budget(usd=0.015)
    broken = ModelError("500", model="acme/bob", status=500, retryable=True)
    run = hire(runtime, replies(broken), retries=5).submit("hello")
    await failure(run)
    assert len(events(run, CallRetried)) == 1
    assert budget_of(runtime).reserved == 0


# While it streams


async def test_a_reply_that_is_longer_than_expected_reserves_more(runtime: Runtime) -> None:
    """Without max_tokens, 1,000 tokens are reserved at first."""
    runtime.set_budget(usd=11.0)
    go = asyncio.Event()

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("x" * 4 * 1_000)
        yield TextDelta("yyyy")
        await go.wait()
        yield Finish("stop", Usage(1, 1_001))

    run = hire(runtime, stream, max_tokens=None).submit("hello")
    await until(lambda: run.text.endswith("yyyy"))
    await until(lambda: budget_of(runtime).reserved > 10.0)
    assert budget_of(runtime).reserved == 10.65
    go.set()
    await run
    assert amounts(runtime) == (10.01, 0.0, 0.99)


async def test_a_reply_that_passes_the_budget_is_stopped_and_its_text_kept(runtime: Runtime) -> None:
    runtime.set_budget(usd=10.5)
    closed = asyncio.Event()

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        try:
            for _ in range(10_000):
                yield TextDelta("abcd" * 100)
        finally:
            closed.set()

    run = hire(runtime, stream, max_tokens=None).submit("hello")
    error = await failure(run)
    assert "has $0.5000 left, and the reply is longer than expected and was stopped: it may cost $1.6400 more" in str(
        error
    )
    assert closed.is_set()
    assert run.text == "abcd" * 1_100
    assert amounts(runtime) == (10.0, 0.0, 0.5)


@pytest.mark.parametrize(("word", "outcome"), [("abcdefghijklmnop", "succeeded"), ("abcdefghijklmnop" * 3, "failed")])
async def test_a_provider_that_does_not_keep_to_max_tokens_is_stopped(
    runtime: Runtime, word: str, outcome: str
) -> None:
    """Words of 16 characters may be a token each; three times as many characters are not."""
    runtime.set_budget(usd=0.5)

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        for _ in range(50):
            yield TextDelta(word)
        yield Finish("stop")

    run = hire(runtime, stream, max_tokens=50).submit("hello")
    await asyncio.gather(run, return_exceptions=True)
    assert (run.status, amounts(runtime)) == (outcome, (0.5, 0.0, 0.0))


async def test_what_is_reserved_for_a_reply_is_learned(runtime: Runtime) -> None:
    runtime.set_budget(usd=1_000)
    model = Meted(Usage(10, 20))
    bob = hire(runtime, model.stream, max_tokens=None)
    for expected in [10.0] * 8 + [0.2]:
        run = bob.submit("hello")
        go = await model.begun()
        assert budget_of(runtime).reserved == expected
        go.set()
        await run


# Prices


async def test_a_model_without_a_price_is_refused_before_anything_is_sent(runtime: Runtime) -> None:
    runtime.set_budget(usd=1.0)
    model = Meted()
    run = hire(runtime, model.stream, price=None).submit("hello")
    with pytest.raises(
        LimitExceeded, match=r"price of acme/bob is unknown.*Nothing was sent.*price.*allow_unpriced"
    ) as e:
        await run
    assert (e.value.reason, model.calls.empty()) == ("budget", True)


async def test_allow_unpriced_calls_them_and_says_so_once(runtime: Runtime) -> None:
    runtime.set_budget(usd=1.0, allow_unpriced=True)
    bob = hire(runtime, replies(Finish("stop", Usage(5, 5)), Finish("stop", Usage(5, 5), 0.25)), price=None)
    runs = [bob.submit("hello"), bob.submit("again")]
    await asyncio.gather(*runs)
    assert [one.text for run in runs for one in events(run, Noticed)] == [
        "the price of acme/bob is unknown: its calls count as $0 of the budget unless their cost is reported"
    ]
    assert ([run.cost for run in runs], amounts(runtime)) == ([None, 0.25], (0.25, 0.0, 0.75))


@pytest.mark.parametrize("model", ["offline/echo", "acme/free"])
async def test_what_is_free_runs_also_with_nothing_left(runtime: Runtime, model: str) -> None:
    """The scar of others: free models that are blocked once the limit is reached."""
    runtime.set_budget(usd=0)
    runtime.models["acme/free"] = FunctionModel(replies(Finish("stop", Usage(5, 5))))
    config = {"price": "free"} if model == "acme/free" else {}
    run = runtime.create(Agent(name="bob", model=model, config=config)).submit("hello")
    await run
    assert (run.cost, amounts(runtime)) == (0.0, (0.0, 0.0, 0.0))


async def test_another_model_does_not_inherit_that_one_is_free(runtime: Runtime) -> None:
    runtime.set_budget(usd=0)
    bob = hire(runtime, replies(Finish("stop")), price="free")
    runtime.models["acme/paid"] = FunctionModel(replies(Finish("stop")))
    with pytest.raises(LimitExceeded, match="price of acme/paid is unknown"):
        await bob.submit("hello", model="acme/paid")


# Notices, observers


async def test_at_80_percent_one_line_says_so_once_per_limit(runtime: Runtime) -> None:
    runtime.set_budget(usd=0.05)
    bob = hire(runtime, replies(Finish("stop", Usage(1, 1))))
    told: list[Record] = []
    runtime.observe(lambda record: told.append(record) if isinstance(record.event, Noticed) else None)
    for count in (0, 0, 0, 1, 1):
        await bob.submit("hello")
        assert len(told) == count
    assert told[0].event == Noticed(
        "80 % of the budget of $0.0500 are spent ($0.0400); `%agent budget $0.08` raises it"
    )
    runtime.set_budget(usd=0.03)
    assert "`%agent budget $0.08`" in budget_of(runtime).warning  # more than is spent, or it would not help
    runtime.set_budget(usd=0.06)
    await bob.submit("hello")
    assert len(told) == 2


async def test_observers_are_told_of_each_change_until_they_end(runtime: Runtime) -> None:
    told: list[float] = []
    end = runtime.observe_budget(lambda: told.append(runtime._budget.reserved))
    runtime.set_budget(usd=1.0)
    bob = hire(runtime, replies(Finish("stop", Usage(1, 1))))
    await bob.submit("hello")
    assert told == [0.0, 0.01, 0.0]
    end()
    end()
    await bob.submit("hello")
    assert len(told) == 3


# Stops, pauses, removals


async def test_what_is_stopped_while_it_waits_reserves_nothing_and_lets_others_go(runtime: Runtime) -> None:
    runtime.set_budget(usd=0.02)
    model = Meted(Usage(10, 0))
    first = hire(runtime, model.stream).submit("hello")
    go = await model.begun()
    large = hire(runtime, model.stream, "large", max_tokens=2)
    stuck = large.submit("hello")
    await until(lambda: bool(events(stuck, CallHeld)))
    small = hire(runtime, model.stream, "small").submit("hello")
    await until(lambda: bool(events(small, CallHeld)))
    runtime.remove("large")
    await model.end()
    await small
    assert stuck.status == "cancelled"
    go.set()
    await first
    assert amounts(runtime) == (0.0, 0.0, 0.02)


async def test_a_paused_agent_holds_nothing(runtime: Runtime) -> None:
    runtime.set_budget(usd=0.01)
    bob = hire(runtime, replies(Finish("stop", Usage(1, 0))))
    bob.pause()
    run = bob.submit("hello")
    await hire(runtime, replies(Finish("stop", Usage(1, 0))), "eve").submit("hello")
    bob.resume()
    await run
    assert amounts(runtime) == (0.0, 0.0, 0.01)


async def test_a_deadline_ends_a_wait_for_the_budget(runtime: Runtime) -> None:
    runtime.set_budget(usd=0.01)
    model = Meted(Usage(10, 0))
    first = hire(runtime, model.stream).submit("hello")
    go = await model.begun()
    late = hire(runtime, model.stream, "eve").submit("hello", timeout_s=0.05)
    with pytest.raises(LimitExceeded, match="took too long"):
        await late
    go.set()
    await first
    assert amounts(runtime) == (0.0, 0.0, 0.01)


# The ledger is in the records


async def test_the_records_give_what_is_spent(runtime: Runtime) -> None:
    runtime.set_budget(usd=1.0)
    bob = hire(runtime, replies(Finish("stop", Usage(1, 1)), Finish("stop"), Finish("stop", None, 1 / 3)))
    for _ in range(3):
        await bob.submit("hello")
    folded = Budget.of(runtime.store.records(), 1.0)
    assert folded.spent_by_agent == budget_of(runtime).spent_by_agent
    assert folded.spent == budget_of(runtime).spent == 0.353333333333
