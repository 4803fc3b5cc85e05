"""Bars: what a run did and for how long, folded from its records; runs too short to be told apart are joined."""

from __future__ import annotations

import random

import pytest

from support.doubles import HeldModel, hire, settled
from whisper_nb import Rule, Runtime, ScriptedModel, Session
from whisper_nb.config.aiconfig import AIConfig
from whisper_nb.core.events import (
    CallHeld,
    Event,
    ModelReplied,
    Record,
    RunFinished,
    RunStarted,
    StateChanged,
    ToolFinished,
)
from whisper_nb.core.limits import NO_LIMITS
from whisper_nb.core.messages import AssistantMessage, ToolCall, ToolMessage, Usage
from whisper_nb.core.states import Outcome, State
from whisper_nb.engine.runs import Run
from whisper_nb.notebook.panel.bars import PARTS, bar_of, bars, parts_of

WAITS, PROCEEDS = StateChanged(State("waiting")), StateChanged(State("running"))
CALLS = ModelReplied(
    AssistantMessage("", (ToolCall("a", "look", "{}"), ToolCall("b", "look", "{}"))), Usage(10, 2), 0.5
)
RESULTS = [ToolFinished(ToolMessage(call, "look", "12 rows")) for call in "ab"]
REPLIES = ModelReplied(AssistantMessage("twelve"), Usage(20, 3), 0.25)


@pytest.fixture
def bob(runtime: Runtime) -> Session:
    return hire(runtime, ScriptedModel([Rule(reply="fine")]))


def run_of(bob: Session, *events: tuple[float, Event], number: int = 1, prompt: str = "count the rows") -> Run:
    """A run with these records, each with its time."""
    run = Run(bob, number, [prompt], priority="normal", limits=NO_LIMITS, config=AIConfig(), fresh=False)
    for seq, (at, event) in enumerate(events):
        run._apply(Record(seq, at, "bob", run.id, event))
    return run


def short(bob: Session, number: int, since: float, seconds: float, outcome: Outcome = "succeeded") -> Run:
    started = RunStarted("", "offline/bob")
    return run_of(bob, (since, started), (since + seconds, RunFinished(outcome)), number=number)


START = (100.0, RunStarted("count the rows", "m"))
TOOLS = [START, (102, CALLS), (103, RESULTS[0]), (105, RESULTS[1])]


@pytest.mark.parametrize(
    ("events", "parts"),
    [
        pytest.param([START], [], id="thinks from its start"),
        pytest.param([START, (104, RunFinished("succeeded"))], [], id="all thinking"),
        pytest.param([START, (102, CALLS)], [("thinking", 2), ("tool", 8)], id="at a tool now"),
        pytest.param(TOOLS[:3], [("thinking", 2), ("tool", 8)], id="one of two tools is left"),
        pytest.param(TOOLS, [("thinking", 2), ("tool", 3), ("thinking", 5)], id="thinks again"),
        pytest.param(
            [*TOOLS, (107, REPLIES), (107, RunFinished("succeeded"))],
            [("thinking", 2), ("tool", 3), ("thinking", 2)],
            id="a tool in between",
        ),
        pytest.param([START, (100, WAITS)], [("waiting", 10)], id="waits from its start"),
        pytest.param(
            [START, (101, WAITS), (104, PROCEEDS), (109, RunFinished("failed", "no more"))],
            [("thinking", 1), ("waiting", 3), ("thinking", 5)],
            id="a retry",
        ),
        pytest.param(
            [START, (101, WAITS), (101.5, CallHeld("no room", 0.0, "budget")), (104, PROCEEDS), (105, WAITS)],
            [("thinking", 1), ("waiting for the budget", 3), ("thinking", 1), ("waiting", 5)],
            id="a wait for the budget",
        ),
        pytest.param(
            [START, (101, WAITS), (101, CallHeld("429", 3.0))],
            [("thinking", 1), ("waiting for the rate limit", 9)],
            id="a rate limit",
        ),
        pytest.param([START, (101, WAITS), (99, PROCEEDS)], [("thinking", 9)], id="the clock goes back"),
    ],
)
async def test_thinking_tools_and_waiting_are_told_apart(
    bob: Session, events: list[tuple[float, Event]], parts: list[tuple[str, float]]
) -> None:
    found = parts_of(run_of(bob, *events), 110.0)
    if [kind for kind, _ in parts] == ["thinking"]:
        assert found == ()
    else:
        assert [*found] == parts


async def test_a_bar_has_the_facts_of_its_run(bob: Session) -> None:
    run = run_of(
        bob, *TOOLS, (107, REPLIES), (108, RunFinished("failed", "no")), prompt="count\nthe <b>rows</b>\x1b[0m"
    )
    bar = bar_of(run, 110.0)
    assert bar is not None
    assert (bar.number, bar.since, bar.seconds, bar.end, bar.outcome) == (1, 100, 8, 108, "failed")
    assert (bar.input, bar.output, bar.cost) == (30, 5, 0.75)
    assert bar.line == "count the <b>rows</b>\N{REPLACEMENT CHARACTER}[0m"
    assert bar.facts == [1, 100, 8, "failed", None, [2, 0, 3, 1, 3, 0], [], bar.line, 30, 5, 0.75]


async def test_unknown_tokens_and_costs_stay_unknown(bob: Session) -> None:
    bar = bar_of(run_of(bob, (100, RunStarted("", "m")), (101, ModelReplied(AssistantMessage("x"), None, None))), 102)
    assert bar is not None
    assert (bar.outcome, bar.seconds, bar.input, bar.output, bar.cost) == ("running", None, None, None, None)


async def test_a_queued_run_has_a_bar_while_it_waits_for_another(runtime: Runtime) -> None:
    held = HeldModel()
    bob, amy = hire(runtime, held), hire(runtime, ScriptedModel([Rule(reply="fine")]), "amy")
    first = bob.submit("count")
    plain, second = bob.submit("another"), amy.submit(["sum up ", first])
    call = await held.arrived()
    bar = bar_of(second, second.submitted_at + 5)
    assert bar is not None
    assert (bar.outcome, bar.since, bar.seconds, bar.needs) == ("queued", second.submitted_at, None, (first.id,))
    assert bar_of(plain, second.submitted_at + 5) is None
    call.released.set()
    await settled(second)
    after = bar_of(second, second.submitted_at + 5)
    assert after is not None
    assert (after.outcome, after.needs) == ("succeeded", (first.id,))
    plain.cancel()


# Many


async def test_runs_of_a_pixel_are_joined_and_longer_ones_are_not(bob: Session) -> None:
    runs = [short(bob, number, 100 + number, 0.9) for number in range(1, 61)]
    runs.append(short(bob, 61, 170, 30))
    apart = bars(runs, 0, 210, step=0.1)
    assert [bar.runs for bar in apart] == [1] * 61
    block, long = bars(runs, 0, 210, step=1.0)
    assert (block.number, block.runs, block.outcome, block.line) == (1, 60, "succeeded", "60 succeeded")
    assert (block.since, block.end) == (101, pytest.approx(160.9))
    assert (long.number, long.runs) == (61, 1)


async def test_a_failure_among_short_runs_shows_near_its_place(bob: Session) -> None:
    runs = [short(bob, number, 100 + number, 0.9, "failed" if number == 30 else "succeeded") for number in range(60)]
    found = bars(runs, 0, 200, step=1.0)
    assert [bar.outcome for bar in found] == ["succeeded", "failed", "succeeded"]
    assert 128 <= found[1].since <= 130
    assert (found[1].end or 0) < 136
    assert "1 failed" in found[1].line
    assert sum(bar.runs for bar in found) == 60


async def test_runs_before_the_window_and_runs_in_progress(bob: Session) -> None:
    old, new = short(bob, 1, 100, 5), short(bob, 2, 110, 5)
    now = run_of(bob, (116, RunStarted("", "m")), number=3)
    assert [bar.number for bar in bars([now, new, old], 108, 120, step=0.1)] == [2, 3]
    assert [bar.runs for bar in bars([now, new, old], 0, 120, step=50.0)] == [2, 1]  # what goes on is never joined


@pytest.mark.parametrize("finished", [True, False])
async def test_a_long_run_has_few_parts_that_last_as_long_as_it(bob: Session, finished: bool) -> None:
    chance = random.Random(7)
    events: list[tuple[float, Event]] = [START]
    for _ in range(3000):
        at = events[-1][0] + chance.expovariate(1)
        events.append((at, chance.choice([WAITS, PROCEEDS, CALLS, RESULTS[0]])))
    end = events[-1][0] + 1
    if finished:
        events.append((end, RunFinished("succeeded")))
    parts = parts_of(run_of(bob, *events), end)
    assert len(parts) <= PARTS + 2
    assert {kind for kind, _ in parts} == {"thinking", "tool", "waiting"}
    assert sum(seconds for _, seconds in parts) == pytest.approx(end - 100)
