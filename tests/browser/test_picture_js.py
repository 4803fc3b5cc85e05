"""The pure part of the picture's script, in a Chromium: bars, the axis, and what a pointer finds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from support.labs import PROJECT
from whisper_nb.notebook.panel.script import script

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

SCRIPT = script(PROJECT / "whisper_nb" / "notebook" / "panel" / "view" / "bars.js")
Bar = list[Any]
LANE = "const lane = emptyLane(0, 1); takeBars(lane, bars);"


@pytest.fixture(scope="module")
def js(browser: Browser) -> Iterator[Callable[..., Any]]:
    """Evaluates the body of a function in which the module's names and these values are known."""
    page = browser.new_context(timezone_id="Asia/Kolkata").new_page()  # half an hour off
    names = page.evaluate(
        """async (source) => {
            window.bars = await import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
            return Object.keys(window.bars);
        }""",
        SCRIPT,
    )

    def evaluate(body: str, **values: Any) -> Any:
        given = ", ".join(values)
        return page.evaluate(f"({{{given}}}) => {{ const {{{', '.join(names)}}} = window.bars; {body} }}", values)

    yield evaluate
    page.context.close()


def bar(number: int, since: float, seconds: float | None, outcome: str = "succeeded", **facts: Any) -> Bar:
    more = {"counts": None, "parts": [], "needs": [], "line": "count", "input": 9, "output": 3, "cost": 0.5} | facts
    return [number, since, seconds, outcome, *more.values()]


def test_a_bar_replaces_the_one_of_its_number_and_a_number_alone_removes_it(js: Callable[..., Any]) -> None:
    bars = [bar(2, 20, None, "running"), bar(1, 10, 5), bar(3, 30, None, "queued")]
    later = [bar(2, 20, 4, "failed"), [3]]
    found = js(f"{LANE} takeBars(lane, later); return sortedBars(lane)", bars=bars, later=later)
    assert [(one["number"], one["outcome"], one["seconds"]) for one in found] == [(1, "succeeded", 5), (2, "failed", 4)]


@pytest.mark.parametrize(
    ("time", "number"),
    [
        pytest.param(12, 1, id="in a bar"),
        pytest.param(16.5, 1, id="just after a bar"),
        pytest.param(18.9, 2, id="nearer to the next"),
        pytest.param(28, None, id="between bars"),
        pytest.param(90, 4, id="in one that goes on"),
        pytest.param(61, 4, id="a run before a queued one"),
        pytest.param(101, 4, id="just after the present"),
        pytest.param(110, None, id="in the future"),
    ],
)
def test_the_bar_at_a_time_is_found(js: Callable[..., Any], time: float, number: int | None) -> None:
    bars = [bar(1, 10, 5), bar(2, 20, 5), bar(3, 58, None, "queued"), bar(4, 60, None, "running")]
    assert js(f"{LANE} return barAt(lane, time, 2, 100)?.number ?? null", bars=bars, time=time) == number


def test_the_last_part_of_a_bar_lasts_until_its_end(js: Callable[..., Any]) -> None:
    body = f"{LANE} return partsOf(sortedBars(lane)[0], 100).map(({{kind, from, to}}) => [kind, from, to])"
    parts = [2, 0, 3, 1, 1, 2]
    found = [["thinking", 10, 12], ["tool", 12, 15]]
    assert js(body, bars=[bar(1, 10, None, parts=parts)]) == [*found, ["waiting", 15, 100]]
    assert js(body, bars=[bar(1, 10, 7, parts=parts)]) == [*found, ["waiting", 15, 17]]
    assert js(body, bars=[bar(1, 10, 7)]) == [["thinking", 10, 17]]
    assert js(body, bars=[bar(1, 10, None, "queued")]) == [["waiting", 10, 100]]


@pytest.mark.parametrize(
    ("seconds", "width", "labels"),
    [
        pytest.param(60, 400, ["05:30:00", "05:30:15", "05:30:30", "05:30:45", "05:31:00"], id="a minute"),
        pytest.param(300, 500, ["05:30", "05:31", "05:32", "05:33", "05:34", "05:35"], id="five minutes"),
        pytest.param(21_600, 600, ["06:00", "07:00", "08:00", "09:00", "10:00", "11:00"], id="six hours"),
    ],
)
def test_the_axis_has_clock_times(js: Callable[..., Any], seconds: int, width: int, labels: list[str]) -> None:
    found = js("return ticks(0, seconds, width)", seconds=seconds, width=width)
    assert [one["label"] for one in found] == labels
    assert all(0 <= one["x"] <= width for one in found)
    assert min(b["x"] - a["x"] for a, b in pairwise(found)) >= 76


@pytest.mark.parametrize(
    ("seconds", "levels", "after"),
    [(300, 1, 900), (300, -1, 120), (60, -1, 60), (21_600, 1, 21_600), (60, 9, 21_600), (21_600, -9, 60)],
)
def test_windows_are_zoomed_in_levels(js: Callable[..., Any], seconds: int, levels: int, after: int) -> None:
    assert js("return zoomed(seconds, levels)", seconds=seconds, levels=levels) == after


@pytest.mark.parametrize(
    ("one", "said"),
    [
        pytest.param(
            bar(4, 0, 65, parts=[60, 0, 5, 1]),
            ["ann#4 · succeeded", "count", "05:30:00 · 1 min 5 s", "thinking 1 min 0 s · tool 5.0 s",
             "9 + 3 tokens · $0.5000"],
            id="a run with a tool",
        ),
        pytest.param(
            bar(4, 0, 65, parts=[60, 4, 5, 0]),
            ["ann#4 · succeeded", "count", "05:30:00 · 1 min 5 s", "thinking 5.0 s · waiting for the budget 1 min 0 s",
             "9 + 3 tokens · $0.5000"],
            id="a run that waited for the budget",
        ),
        pytest.param(
            bar(4, 0, None, "running", input=None, output=None, cost=None, needs=["bob#1"]),
            ["ann#4 · running", "count", "05:30:00 · 1 min 40 s so far", "has the text of bob#1",
             "tokens and cost: at its end"],
            id="a run that goes on",
        ),
        pytest.param(
            bar(4, 90, None, "queued", needs=["bob#1", "amy#2"]),
            ["ann#4 · queued", "count", "05:31:30 · 10 s so far", "waits for bob#1, amy#2"],
            id="a queued run",
        ),
        pytest.param(
            bar(4, 0, 5, "failed", input=None, cost=None),
            ["ann#4 · failed", "count", "05:30:00 · 5.0 s", "tokens unknown · cost unknown"],
            id="unknown costs",
        ),
        pytest.param(
            bar(4, 0, 5, counts={"succeeded": 11, "failed": 1}, line="11 succeeded, 1 failed"),
            ["12 runs of ann from #4", "11 succeeded, 1 failed", "05:30:00 · 5.0 s", "9 + 3 tokens · $0.5000",
             "click to tell them apart"],
            id="joined runs",
        ),
    ],
)  # fmt: skip
def test_a_bar_is_described(js: Callable[..., Any], one: Bar, said: list[str]) -> None:
    describe = (
        "const {title, line, facts} = description('ann', sortedBars(lane)[0], 100); return [title, line, ...facts]"
    )
    assert js(LANE + describe, bars=[one]) == said


def test_an_arrow_points_into_the_run_that_is_waited_for(js: Callable[..., Any]) -> None:
    body = """
        const lanes = new Map(Object.entries(bars).map(([name, found]) => {
            const lane = emptyLane(0, 1);
            takeBars(lane, found);
            return [name, lane];
        }));
        const found = arrows(Object.keys(bars), lanes, 0, 200, 100);
        return found.map(({agent, target, from, to}) => [agent, target, from, to]);
    """
    bars = {
        "ann": [bar(1, 10, 20), bar(2, 50, None, "running")],
        "bob": [bar(1, 30, 5, needs=["ann#1"]), bar(2, 40, None, "queued", needs=["ann#2", "gone#7"])],
    }
    assert js(body, bars=bars) == [["bob", "ann", 30, 30], ["bob", "ann", 40, 50], ["bob", "gone", 40, 40]]
