"""The budget in the panel: sent when it changes, in the static form and the timeline, and set by a checked request."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import pytest

from support.doubles import HeldModel, hire, published, settled
from support.panels import QUICK, Clock, Watched, own_clock
from whisper_nb import LimitExceeded, ScriptedModel
from whisper_nb.core.events import CallHeld
from whisper_nb.notebook.cells.costs import budget_line
from whisper_nb.notebook.cells.render import run_text
from whisper_nb.notebook.panel import panel as panel_module
from whisper_nb.notebook.panel.bars import parts_of
from whisper_nb.notebook.panel.board import Board
from whisper_nb.notebook.panel.picture import picture
from whisper_nb.notebook.panel.snapshot import snapshot
from whisper_nb.notebook.panel.transcript import OpenRun
from whisper_nb.notebook.runtime import NotebookRuntime
from whisper_nb.team.budgets import Reservation


@pytest.fixture
def clock(runtime: NotebookRuntime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The simulated time of the panel. The real time of an update is left out."""
    monkeypatch.setattr(panel_module, "SHARE", math.inf)
    with own_clock(runtime) as clock:
        yield clock


@pytest.fixture
def panel(runtime: NotebookRuntime, clock: Clock) -> Iterator[Watched]:
    """A panel of bob with a view that has received everything."""
    hire(runtime, ScriptedModel(QUICK))
    panel = Watched(runtime)
    panel.ask("hello")
    clock.advance(1)
    yield panel
    panel.close()


async def reserved(runtime: NotebookRuntime, usd: float) -> Reservation:
    """A part of the budget that is reserved for a call of bob."""
    assert runtime.budget
    return await runtime.budget.reserve("bob", usd)


async def test_each_change_of_the_budget_is_sent_and_nothing_while_it_is_the_same(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    (whole,) = panel.told("all")
    assert "budget" not in whole
    runtime.set_budget(usd=2.0)
    clock.advance(0.5)
    reservation = await reserved(runtime, 0.5)
    clock.advance(0.5)
    reservation.settle(0.25)
    clock.advance(0.5)
    runtime.set_budget(usd=1.0)
    clock.advance(0.5)
    runtime.set_budget(usd=1.0)
    clock.advance(60)
    runtime.set_budget(usd=None)
    clock.advance(0.5)
    assert [one["budget"] for one in panel.told()] == [
        {"limit": 2.0, "spent": 0.0, "reserved": 0.0, "left": 2.0},
        {"limit": 2.0, "spent": 0.0, "reserved": 0.5, "left": 1.5},
        {"limit": 2.0, "spent": 0.25, "reserved": 0.0, "left": 1.75},
        {"limit": 1.0, "spent": 0.25, "reserved": 0.0, "left": 0.75},
        None,
    ]
    assert clock.pending == []


async def test_a_view_that_comes_late_gets_the_budget_with_everything_else(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    runtime.set_budget(usd=2.0)
    panel.ask("hello", view="late1")
    clock.advance(5)
    assert panel.told("all")[-1]["budget"]["limit"] == 2.0


async def test_many_changes_are_sent_at_most_ten_times_a_second(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    runtime.set_budget(usd=2.0)
    for _ in range(200):
        (await reserved(runtime, 0.001)).settle(0.001)
        clock.advance(0.005)
        panel.ask("seen", number=panel._number)
    clock.advance(1)
    told = panel.told()
    assert len(told) <= 12
    assert told[-1]["budget"]["spent"] == 0.2


async def test_without_a_budget_what_is_spent_changes_nothing_in_the_panel(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    runtime.set_budget(usd=2.0)
    budget = runtime.budget
    assert budget
    runtime.set_budget(usd=None)
    clock.advance(1)
    panel.sent.clear()
    before = panel.board.version
    budget.charge("bob", 1.0)
    assert (panel.board.dirty, panel.board.version, panel.sent, clock.pending) == (False, before, [], [])


async def test_a_closed_panel_follows_the_budget_no_longer(runtime: NotebookRuntime, panel: Watched) -> None:
    board = panel.board
    panel.close()
    runtime.set_budget(usd=2.0)
    assert not board.budget_changed


async def test_the_budget_is_set_from_the_header(runtime: NotebookRuntime, panel: Watched) -> None:
    assert panel.say("budget", usd=2.5) == "the budget of all agents is $2.50"
    assert runtime.budget
    assert runtime.budget.limit_usd == 2.5
    assert panel.say("budget", usd=0) == "the budget of all agents is $0.00"


@pytest.mark.parametrize("usd", [-1, 1e9, math.inf, math.nan, "2", None, True, [2]])
async def test_a_budget_that_is_not_allowed_is_dropped(runtime: NotebookRuntime, panel: Watched, usd: object) -> None:
    assert panel.ask("budget", usd=usd) is None
    assert (panel.dropped, runtime.budget) == (1, None)


async def test_the_static_forms_have_the_budget_in_words(runtime: NotebookRuntime, panel: Watched) -> None:
    assert "budget" not in snapshot(runtime, panel.board)["text/plain"]
    runtime.set_budget(usd=2.0)
    (await reserved(runtime, 0.25)).settle(0.1234)
    await reserved(runtime, 0.5)
    assert runtime.budget
    said = budget_line(runtime.budget)
    assert said == "budget $2.00: $0.1234 spent, $0.5000 reserved, $1.3766 left"
    bundle = snapshot(runtime, Board(runtime))
    assert f" · {said} · as of" in bundle["text/plain"]
    assert said in bundle["text/html"]
    still = picture(runtime)
    assert str(still).splitlines()[0].endswith(f"; {said}")
    assert f">{said}</text>" in still.svg
    assert said in still.image


async def test_a_budget_adds_a_line_below_the_legend_of_the_timeline(runtime: NotebookRuntime) -> None:
    hire(runtime, ScriptedModel(QUICK))
    before = picture(runtime).svg
    runtime.set_budget(usd=0.0125)
    after = picture(runtime).svg
    assert "budget $0.0125:" in after
    assert ("budget" in before, height_of(after) > height_of(before)) == (False, True)


def height_of(svg: str) -> int:
    return int(svg.partition(' height="')[2].partition('"')[0])


async def test_a_call_that_waits_for_the_budget_says_so_in_row_transcript_cell_and_timeline(
    runtime: NotebookRuntime,
) -> None:
    held, board = HeldModel(), Board(runtime)
    runtime.models["openai/held"] = held
    config = {"model": "openai/held", "price": {"input": 0, "output": 9000}, "max_tokens": 100}  # $0.90
    bob, amy = hire(runtime, held), hire(runtime, held, "amy")
    runtime.set_budget(usd=1.5)
    first = bob.submit("go", config=config)
    call = await held.arrived()
    second = amy.submit("go", config=config)
    await published(runtime, CallHeld, run=second)
    row = board.row(amy)
    assert row["state"] == "waiting for the budget"
    assert "held back: the budget of $1.5000 has $0.6000 left" in row["now"]
    (note,) = [item["text"] for item in OpenRun(second).change(1e9)[0]["items"] if item["kind"] == "note"]
    assert note.startswith("held back: the budget of $1.5000 has $0.6000 left")
    assert note in run_text(second)
    assert parts_of(second, time.time())[-1][0] == "waiting for the budget"
    call.released.set()
    await first
    (await held.arrived()).released.set()
    await second
    assert "waiting for the budget" in {kind for kind, _ in parts_of(second, time.time())}


async def test_a_run_that_the_budget_ended_names_it_first(runtime: NotebookRuntime) -> None:
    runtime.models["openai/priced"] = ScriptedModel(QUICK)
    runtime.set_budget(usd=0.005)
    config = {"model": "openai/priced", "price": {"input": 0, "output": 100}, "max_tokens": 100}
    bob, board = hire(runtime, ScriptedModel(QUICK)), Board(runtime)
    await settled(run := bob.submit("go", config=config))
    assert isinstance(run.error, LimitExceeded)
    assert board.row(bob)["error"].startswith("bob#1: the budget of $0.0050 has $0.0050 left")
