from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.doubles import FunctionModel, HeldModel, hire, quiet, settled
from whisper_nb import Agent, ConfigError, Rule, Run, Runtime, ScriptedModel, Session
from whisper_nb.core.costs import CostSum
from whisper_nb.core.errors import SessionClosed, SessionError
from whisper_nb.core.events import Charge, Event, ModelReplied, Record, RunFinished, RunQueued, RunStarted, StateChanged
from whisper_nb.core.messages import AssistantMessage, Delta, Finish, Spent, TextDelta, ToolCall, Usage
from whisper_nb.core.states import State
from whisper_nb.engine.projection import fold
from whisper_nb.models.model import Request
from whisper_nb.notebook.cells.costs import cost_line
from whisper_nb.team.spending import Ledger

USAGE = Usage(10, 5)
COSTS = st.none() | st.integers(0, 5).map(float)
USAGES = st.none() | st.builds(Usage, st.integers(0, 9), st.integers(0, 9))
RUNS = st.lists(st.tuples(USAGES, COSTS))


def priced(cost: float | None, usage: Usage | None = USAGE) -> FunctionModel:
    """A model each of whose calls has this cost."""

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("ok")
        yield Finish("stop", usage, cost)

    return FunctionModel(stream)


def at(runtime: Runtime, name: str, model: FunctionModel) -> Session:
    """An agent with a model that is not offline, since offline runs cost nothing."""
    runtime.models[f"openai/{name}"] = model
    return runtime.create(Agent(name=name, config=f"openai/{name}"))


def total(runs: list[tuple[Usage | None, float | None]]) -> Spent:
    spent = Spent()
    for usage, cost in runs:
        spent = spent.plus(usage, cost)
    return spent


@given(RUNS, RUNS)
def test_a_sum_of_spending_equals_its_parts_and_is_never_less(
    some: list[tuple[Usage | None, float | None]], more: list[tuple[Usage | None, float | None]]
) -> None:
    spent = total([*some, *more])
    assert total(some) + total(more) == spent
    assert spent.runs == len(some) + len(more)
    costs = [cost for _, cost in (*some, *more)]
    assert spent.cost == (None if None in costs else sum(cost or 0.0 for cost in costs))
    assert spent.known == sum(cost or 0.0 for cost in costs)
    assert spent.unpriced == costs.count(None)


async def test_runs_sessions_and_the_runtime_have_their_spending(runtime: Runtime) -> None:
    bob, amy = at(runtime, "bob", priced(0.25)), at(runtime, "amy", priced(None))
    free = hire(runtime, ScriptedModel([Rule(reply="ok")]), "eve")
    runs = [bob.submit("1"), bob.submit("2"), amy.submit("3"), free.submit("4")]
    await settled(*runs)
    assert runs[0].spent == Spent(1, Usage(10, 5), 0.25)
    assert bob.spent == Spent(2, Usage(20, 10), 0.5)
    assert (free.spent.cost, amy.spent.cost) == (0.0, None)
    assert runtime.spent_by_agent() == {"bob": bob.spent, "amy": amy.spent, "eve": free.spent}
    assert runtime.spent == Spent(4, Usage(30, 15) + free.spent.usage, 0.5, unpriced=1)
    assert runtime.spent.cost is None


async def test_an_agent_without_runs_has_spent_zero(runtime: Runtime) -> None:
    at(runtime, "bob", priced(0.25))
    assert runtime.spent_by_agent() == {"bob": Spent()}
    assert runtime.spent == Spent()


async def test_an_unfinished_run_is_included_with_its_known_spending(runtime: Runtime) -> None:
    model = HeldModel()
    bob = at(runtime, "bob", model)
    whole, going = bob.submit("1"), bob.submit("2")
    (await model.arrived()).release()
    await whole
    call = await model.arrived()
    assert bob.spent == Spent(1, Usage(1, 2), 0.5)
    assert runtime.spent == Spent(1, Usage(1, 2), 0.5, unpriced=1, uncounted=1, at_work=1)
    call.release()
    await going
    assert runtime.spent == Spent(2, Usage(2, 4), 1.0)


async def test_a_run_that_never_started_costs_nothing(runtime: Runtime) -> None:
    bob = at(runtime, "bob", priced(0.25))
    bob.pause()
    run = bob.submit("1")
    run.cancel()
    await settled(run)
    assert run.spent == Spent(1) == runtime.spent


async def test_the_spending_of_a_removed_agent_is_kept(runtime: Runtime) -> None:
    bob = at(runtime, "bob", priced(0.25))
    await bob.submit("1")
    runtime.remove("bob")
    await quiet()
    del bob
    assert runtime.spent_by_agent() == {"bob": Spent(1, Usage(10, 5), 0.25)}

    again = at(runtime, "bob", priced(0.5))
    await again.submit("2")
    assert again.spent == Spent(1, Usage(10, 5), 0.5)
    assert runtime.spent_by_agent() == {"bob": Spent(2, Usage(20, 10), 0.75)}


async def test_the_last_runs_of_a_removed_agent_are_counted_when_they_end_and_once(runtime: Runtime) -> None:
    model = HeldModel()
    bob = at(runtime, "bob", model)
    whole, going, queued = (bob.submit(text) for text in "123")
    (await model.arrived()).release()
    await whole
    await model.arrived()
    runtime.remove("bob")
    assert runtime.spent == Spent(1, Usage(1, 2), 0.5, unpriced=1, uncounted=1, at_work=1)
    await settled(going, queued)
    await quiet()
    assert runtime.spent == Spent(3, Usage(1, 2), 0.5, unpriced=1, uncounted=1)
    assert runtime.spent == bob.spent


def test_an_unknown_cost_makes_the_sum_unknown() -> None:
    total = CostSum()
    total.add(None, None)  # it broke off
    total.add(USAGE, 0.25)
    assert (total.usage, total.cost) == (None, None)


async def test_a_removed_agent_cannot_be_used_again(runtime: Runtime) -> None:
    """Its spending would not be counted."""
    bob = at(runtime, "bob", priced(0.25))
    runtime.remove("bob")
    with pytest.raises(SessionError, match="removed"):
        bob.resume()
    with pytest.raises(SessionClosed, match="bob was removed"):
        bob.submit("1")
    assert repr(bob) == "<Session bob removed, 0 queued>"
    assert await at(runtime, "bob", priced(0.25)).submit("1")


@pytest.mark.parametrize("ended", [True, False])
async def test_the_spending_of_a_fork_is_separate(runtime: Runtime, ended: bool) -> None:
    bob = at(runtime, "bob", priced(0.25))
    run: Run = bob.submit("1")
    if ended:
        await run
    fork = bob.fork("amy")
    await settled(run, fork.submit("2"))
    assert {name: spent.known for name, spent in runtime.spent_by_agent().items()} == {"bob": 0.25, "amy": 0.25}


# By agent, model and day


async def test_spending_by_agent_model_and_day(runtime: Runtime) -> None:
    bob, amy = at(runtime, "bob", priced(0.25)), at(runtime, "amy", priced(0.5))
    await settled(bob.submit("1"), bob.submit("2", model="openai/amy"), amy.submit("3"))
    one, other = Spent(1, USAGE, 0.25), Spent(1, USAGE, 0.5)
    assert runtime.spent_by("model") == {"openai/amy": other + other, "openai/bob": one}
    assert runtime.spent_by("model", ["bob"]) == {"openai/amy": other, "openai/bob": one}
    assert runtime.spent_by("agent") == runtime.spent_by_agent() == {"bob": one + other, "amy": other}
    assert runtime.spent_by("agent", ["amy"]) == {"amy": other}
    assert runtime.spent_by("day") == {date.today().isoformat(): runtime.spent}
    with pytest.raises(ConfigError, match="spending by 'week': there are agent, model, day"):
        runtime.spent_by("week")  # type: ignore[arg-type]


async def test_spending_by_model_includes_removed_agents_and_runs_in_progress(runtime: Runtime) -> None:
    model = HeldModel()
    bob, amy = at(runtime, "bob", model), at(runtime, "amy", model)
    going, last = bob.submit("1"), amy.submit("2")
    calls = [await model.arrived(), await model.arrived()]
    at_work = Spent(0, unpriced=1, uncounted=1, at_work=1)
    runtime.remove("amy")
    assert runtime.spent_by("model") == {"openai/amy": at_work, "openai/bob": at_work}
    for call in calls:
        call.release()
    await settled(going, last)
    await quiet()
    assert runtime.spent_by("model") == {
        "openai/amy": Spent(1, unpriced=1, uncounted=1),
        "openai/bob": Spent(1, Usage(1, 2), 0.5),
    }


async def test_a_run_that_never_started_has_no_model(runtime: Runtime) -> None:
    bob = at(runtime, "bob", priced(0.25))
    bob.pause()
    run = bob.submit("1")
    run.cancel()
    await settled(run)
    assert runtime.spent_by("model") == runtime.spent_by("day") == {}
    assert runtime.spent_by("agent") == {"bob": Spent(1)}


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["bob", "amy"]),
        st.sampled_from(["openai/a", "openai/b", "offline/echo"]),
        st.integers(0, 3),  # days
        st.lists(st.tuples(USAGES, COSTS, COSTS), max_size=3),  # replies
        st.none() | st.builds(Charge, USAGES, COSTS, COSTS),  # of a last call that failed
        st.booleans(),  # whether it starts
    ),
    max_size=12,
)


@given(EVENTS)
def test_the_ledger_is_a_fold_of_the_records(runs: list[tuple[Any, ...]]) -> None:
    """It is that of the sessions' own folds, and its groups have one sum."""
    records: list[Record] = []

    def record(agent: str, run: str | None, day: int, event: Event) -> None:
        records.append(Record(len(records), day * 86_400 + 43_200.0, agent, run, event))

    for number, (agent, model, day, replies, charge, starts) in enumerate(runs):
        run = f"{agent}#{number}"
        record(agent, None, day, StateChanged(State()))
        record(agent, run, day, RunQueued("go", "normal", number))
        if starts:
            record(agent, run, day, RunStarted("go", model))
            for usage, cost, estimated in replies:
                message = AssistantMessage("", (ToolCall("1", "f", "{}"),))
                record(agent, run, day, ModelReplied(message, usage, cost, estimated_usd=estimated))
        record(agent, run, day + 1, RunFinished("failed", "no", charge if starts else None))
    ledger = Ledger.of(records)
    folds = {name: fold(one for one in records if one.agent == name) for name in ("bob", "amy")}
    assert ledger.by_agent() == {name: one.spent for name, one in folds.items() if one.spent.runs}
    total = sum((one.spent for one in folds.values()), Spent())
    assert sum(ledger.grouped("agent").values(), Spent()) == total
    started = sum(1 for *_, starts in runs if starts)
    for group in ("model", "day"):
        sums = sum(ledger.grouped(group).values(), Spent())
        assert (sums.runs, sums.known, sums.usage) == (started, total.known, total.usage)
    assert set(ledger.grouped("day")) == {f"1970-01-0{day + 1}" for _, _, day, *_, starts in runs if starts}


def test_an_estimate_counts_where_the_cost_is_unknown() -> None:
    total = CostSum()
    total.add(USAGE, 0.25)
    total.add(None, None, 0.5)
    assert (total.cost, total.estimated) == (None, 0.75)
    spent = Spent().plus(USAGE, 1.0, 1.0).plus(None, None, 0.75).plus(None, None)
    assert (spent.known, spent.unpriced, spent.estimated, spent.estimates) == (1.0, 2, 0.75, 1)
    assert cost_line(spent) == "at least $1.0000, 2 runs unknown"
    assert cost_line(Spent().plus(USAGE, 1.0).plus(None, None, 0.75)) == "about $1.7500"
    assert cost_line(Spent(at_work=1, unpriced=1, estimates=1, estimated=0.5)) == "about $0.5000 so far"
    assert cost_line(Spent().plus(USAGE, 1.0, 2.0)) == "$1.0000"
