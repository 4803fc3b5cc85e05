"""The lanes of a panel's views: whole when a view asks for them, then what changes, within the budget of bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any

import pytest

from support.doubles import HeldModel, hire, published, quiet, settled
from support.panels import QUICK, Clock, Said, Watched, own_clock
from whisper_nb import ScriptedModel
from whisper_nb.core.events import RunQueued
from whisper_nb.notebook.panel import lanes as lanes_module
from whisper_nb.notebook.panel import panel as panel_module
from whisper_nb.notebook.panel.panel import BYTES_PER_S
from whisper_nb.notebook.runtime import NotebookRuntime

NUMBER, SECONDS, OUTCOME, COUNTS, NEEDS, LINE = 0, 2, 3, 4, 6, 7


@pytest.fixture
def clock(runtime: NotebookRuntime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The simulated time of the panel. The real time of an update is left out."""
    monkeypatch.setattr(panel_module, "SHARE", math.inf)
    with own_clock(runtime) as clock:
        yield clock


@pytest.fixture
def panel(runtime: NotebookRuntime, clock: Clock) -> Iterator[Watched]:
    """A panel of bob and amy, with one view that has received all rows."""
    for name in ("bob", "amy"):
        hire(runtime, ScriptedModel(QUICK), name)
    panel = Watched(runtime)
    panel.ask("hello")
    clock.advance(1)
    panel.sent.clear()
    yield panel
    panel.close()


def look(panel: Watched, names: str, whole: str, since: int = 0, step: int = 0, view: str = "view1") -> None:
    assert panel.ask("lanes", view=view, names=names, whole=whole, since=since, step=step) is None


def lanes_in(said: list[Said]) -> list[tuple[str, str, list[Any]]]:
    """The whole lanes that were sent: the view, the agent and the bars."""
    return [(view, name, bars) for one in said for view, name, _, _, bars in one.get("lanes", ())]


def changes_in(said: list[Said], name: str) -> list[list[Any]]:
    """The bars of an agent that were sent as changes."""
    return [bar for one in said for bar in one.get("bars", {}).get(name, ())]


async def test_no_bars_are_sent_to_a_view_that_shows_no_picture(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    await settled(runtime["bob"].submit("count"))
    clock.advance(1)
    said = panel.told()
    assert said
    assert all("bars" not in one and "lanes" not in one for one in said)


async def test_a_lane_comes_whole_and_then_its_changes(runtime: NotebookRuntime, panel: Watched, clock: Clock) -> None:
    held = HeldModel()
    zoe = hire(runtime, held, "zoe")
    await settled(runtime["bob"].submit("count"), runtime["bob"].submit("fail"))
    run = zoe.submit("count the rows")
    call = await held.arrived()
    look(panel, "bob zoe", "bob zoe")
    clock.advance(1)
    (bob, zoe_lane) = lanes_in(panel.told())
    assert bob[:2] == ("view1", "bob")
    assert [(bar[NUMBER], bar[OUTCOME]) for bar in bob[2]] == [(1, "succeeded"), (2, "failed")]
    assert [(bar[OUTCOME], bar[SECONDS], bar[LINE]) for bar in zoe_lane[2]] == [("running", None, "count the rows")]
    call.released.set()
    await settled(run)
    await settled(runtime["amy"].submit("out of view"))
    clock.advance(1)
    said = panel.told()
    assert lanes_in(said) == []
    assert changes_in(said, "amy") == []
    assert changes_in(said, "zoe")[-1][OUTCOME] == "succeeded"


async def test_a_waiting_run_is_shown_and_vanishes_if_it_never_starts(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    held = HeldModel()
    first = hire(runtime, held, "zoe").submit("count")
    call = await held.arrived()
    look(panel, "bob", "bob")
    clock.advance(1)
    waiting = runtime["bob"].submit(["sum up ", first])
    await published(runtime, RunQueued, run=waiting)
    clock.advance(1)
    (bar,) = changes_in(panel.told(), "bob")
    assert (bar[OUTCOME], bar[NEEDS]) == ("queued", ["zoe#1"])
    waiting.cancel()
    await settled(waiting)
    clock.advance(1)
    assert changes_in(panel.told(), "bob") == [[waiting.number]]
    call.released.set()
    await settled(first)


async def test_each_view_gets_its_lanes_and_all_get_the_changes(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    panel.ask("hello", view="view2")
    clock.advance(1)
    look(panel, "bob", "bob")
    look(panel, "amy bob", "amy bob", view="view2")
    clock.advance(1)
    assert [lane[:2] for lane in lanes_in(panel.told())] == [("view1", "bob"), ("view2", "amy"), ("view2", "bob")]
    look(panel, "", "", view="view2")
    await settled(runtime["bob"].submit("count"), runtime["amy"].submit("count"))
    clock.advance(1)
    said = panel.told()
    assert changes_in(said, "amy") == []
    assert changes_in(said, "bob")[-1][OUTCOME] == "succeeded"
    look(panel, "", "")
    await settled(runtime["bob"].submit("count"))
    clock.advance(1)
    assert changes_in(panel.told(), "bob") == []


async def test_a_view_that_was_never_heard_of_and_agents_that_are_gone(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    look(panel, "bob", "bob", view="stranger")
    look(panel, "amy bob nobody", "nobody bob")
    runtime.remove("amy")
    await quiet()
    clock.advance(1)
    assert [lane[:2] for lane in lanes_in(panel.told())] == [("view1", "bob")]


async def test_lanes_stay_within_the_budget_and_all_arrive(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    names = [f"agent-{number}" for number in range(30)]
    prompt = "a prompt of which the beginning is shown " * 3
    runs = [hire(runtime, ScriptedModel(QUICK), name).submit(prompt) for name in names for _ in range(1)]
    for name in names:
        runs += [runtime[name].submit(prompt) for _ in range(40)]
    await settled(*runs)
    clock.advance(60)
    panel.sent.clear()
    look(panel, " ".join(names), " ".join(names))
    start = clock.now
    clock.advance(10)
    sent = [(at, one) for at, one in panel.sent if one.get("lanes")]
    assert [name for _, name, _ in lanes_in([one for _, one in sent])] == names
    size = sum(len(json.dumps(one, ensure_ascii=False).encode()) for _, one in sent)
    assert size > 100_000
    assert size / max(1.0, sent[-1][0] - start) < BYTES_PER_S * 1.2


async def test_an_update_reads_a_bounded_number_of_runs(
    runtime: NotebookRuntime, panel: Watched, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lanes_module, "RUNS", 2)
    for name in ("bob", "amy"):
        await settled(*(runtime[name].submit("x") for _ in range(3)))
    clock.advance(1)
    panel.told()
    look(panel, "bob amy", "bob amy", step=10**6)
    clock.advance(1)
    assert [len(one.get("lanes", ())) for one in panel.told()] == [1, 1]


async def test_short_runs_of_a_wide_window_take_few_bytes(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    await settled(*[runtime["bob"].submit("count") for _ in range(200)])
    look(panel, "bob", "bob", step=60_000)
    clock.advance(1)
    ((_, _, bars),) = lanes_in(panel.told())
    assert [bar[COUNTS] for bar in bars] == [{"succeeded": 200}]
