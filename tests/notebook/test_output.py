from __future__ import annotations

import asyncio
import contextvars
import gc
import heapq
import itertools
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from support.doubles import HeldModel
from whisper_nb import Agent, Runtime
from whisper_nb.core.events import Record, TextStreamed
from whisper_nb.engine.home import Home
from whisper_nb.engine.runs import Run
from whisper_nb.notebook.cells.output import PAINTED_AT_ONCE, PAINTING_S, TICK_S, Outputs

CELL: contextvars.ContextVar[str] = contextvars.ContextVar("CELL", default="no cell")


class Clock:
    """The part of a loop that Outputs needs; the test advances its time."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[tuple[float, int, Callable[[], object], contextvars.Context]] = []
        self._numbers = itertools.count()

    def call_later(self, delay_s: float, call: Callable[[], object], *, context: contextvars.Context) -> object:
        heapq.heappush(self.timers, (self.now + delay_s, next(self._numbers), call, context))
        return object()

    def advance(self, seconds: float) -> None:
        """Advance the time, and make the calls that are due."""
        end = self.now + seconds
        while self.timers and self.timers[0][0] <= end:
            self.now, _, call, context = heapq.heappop(self.timers)
            context.run(call)
        self.now = end


class Screen:
    """Outputs on a clock, and what they painted: (time, run, cell)."""

    def __init__(self, shell: InteractiveShell, runtime: Runtime, live: bool = True) -> None:
        self.clock = Clock()
        self.outputs = Outputs(Home(self.clock), live)  # type: ignore[arg-type]
        runtime.observe(self.outputs.observe)
        self.painted: list[tuple[float, str, str]] = []
        self.shown = shell.display_pub.outputs
        publish = shell.display_pub.publish

        def watch(data: dict[str, Any], **more: Any) -> None:
            self.painted.append((self.clock.now, data["text/plain"].split(" ")[0], CELL.get()))
            publish(data, **more)

        shell.display_pub.publish = watch

    def show(self, run: Run, cell: str = "cell 1") -> None:
        """Show a run in a new cell."""

        def launch() -> None:
            CELL.set(cell)
            self.outputs.show(run)

        contextvars.copy_context().run(launch)

    def stream(self, *runs: Run) -> None:
        """Publish some text of each run."""
        for run in runs:
            self.outputs.observe(Record(1, time.time(), run.session.name, run.id, TextStreamed("x")))


@pytest.fixture
def screen(shell: InteractiveShell, runtime: Runtime) -> Screen:
    return Screen(shell, runtime)


@pytest.fixture
def held(runtime: Runtime) -> HeldModel:
    """The model of all agents, which answers when the test says so."""
    model = runtime.models["offline/held"] = HeldModel()
    runtime.configure("offline/held")
    return model


def team(runtime: Runtime, size: int) -> list[Run]:
    """A run for each of this number of agents."""
    return [runtime.create(Agent(name=f"a{number}")).submit("go") for number in range(size)]


async def release(held: HeldModel, runs: list[Run]) -> None:
    """Let all runs finish."""
    for _ in runs:
        (await held.arrived()).release()
    await asyncio.gather(*runs)


async def test_one_run_is_repainted_ten_times_a_second_at_most(
    screen: Screen, runtime: Runtime, held: HeldModel
) -> None:
    runs = team(runtime, 1)
    screen.show(runs[0])
    for _ in range(5_000):
        screen.stream(runs[0])
        screen.clock.advance(0.001)
    times = [when for when, *_ in screen.painted]
    assert 45 <= len(times) <= 1 + 5 / TICK_S
    assert min(later - earlier for earlier, later in itertools.pairwise(times)) >= TICK_S - 1e-9
    await release(held, runs)


async def test_many_runs_share_a_limit_of_repaints_fairly(screen: Screen, runtime: Runtime, held: HeldModel) -> None:
    runs = team(runtime, 50)
    for run in runs:
        screen.show(run)
    screen.painted.clear()
    for _ in range(300):
        screen.stream(*runs)
        screen.clock.advance(0.01)
    per_moment = Counter(when for when, *_ in screen.painted)
    assert max(per_moment.values()) <= PAINTED_AT_ONCE
    for run in runs:
        times = [when for when, name, _ in screen.painted if name == run.id]
        assert max(later - earlier for earlier, later in itertools.pairwise([0.0, *times, 3.0])) < 0.5
    await release(held, runs)


async def test_background_output_goes_to_the_launching_cell(screen: Screen, runtime: Runtime, held: HeldModel) -> None:
    one, two = team(runtime, 2)
    screen.show(one, "cell 1")
    screen.show(two, "cell 2")
    CELL.set("another cell")
    screen.stream(one, two)
    screen.clock.advance(TICK_S)
    assert [(run, cell) for _, run, cell in screen.painted[2:]] == [("a0#1", "cell 1"), ("a1#1", "cell 2")]
    assert [output.get("update", False) for output in screen.shown] == [False, False, True, True]
    ids = [output["transient"]["display_id"] for output in screen.shown]
    assert ids[2:] == ids[:2]
    assert len(set(ids)) == 2
    await release(held, [one, two])


async def test_the_next_cell_shows_the_final_state_again_once(
    screen: Screen, runtime: Runtime, held: HeldModel
) -> None:
    runs = team(runtime, 1)
    screen.show(runs[0])
    await release(held, runs)
    screen.clock.advance(1)
    screen.painted.clear()
    CELL.set("a later cell")
    screen.outputs.settle()
    assert [cell for *_, cell in screen.painted] == ["a later cell"]
    assert "partial and done" in screen.shown[-1]["data"]["text/plain"]
    screen.outputs.settle()
    assert len(screen.painted) == 1


async def test_a_cell_that_ends_before_a_repaint_shows_the_new_state(
    screen: Screen, runtime: Runtime, held: HeldModel
) -> None:
    runs = team(runtime, 1)
    screen.show(runs[0])
    await release(held, runs)
    screen.painted.clear()
    screen.outputs.settle()
    screen.clock.advance(1)
    assert len(screen.painted) == 1, "and the timer has nothing left to do"


async def test_finished_runs_are_not_kept(screen: Screen, runtime: Runtime, held: HeldModel) -> None:
    runs = team(runtime, 30)
    for run in runs:
        screen.show(run)
        screen.show(run, "a second cell")
    await release(held, runs)
    screen.clock.advance(1)
    screen.outputs.settle()
    assert screen.clock.timers == []
    gone = [weakref.ref(run) for run in runs]
    for run in runs:
        runtime.remove(run.session.name)
    held.calls.clear()
    del run, runs
    if ending := asyncio.all_tasks() - {asyncio.current_task()}:
        await asyncio.wait(ending)
    gc.collect()
    assert [ref() for ref in gone] == [None] * 30


async def test_a_finished_run_is_shown_and_not_observed(screen: Screen, runtime: Runtime, held: HeldModel) -> None:
    runs = team(runtime, 1)
    await release(held, runs)
    screen.show(runs[0])
    assert "succeeded" in screen.shown[0]["data"]["text/plain"]
    screen.stream(runs[0])
    assert screen.clock.timers == []


async def test_nothing_is_painted_while_nothing_changes(screen: Screen, runtime: Runtime, held: HeldModel) -> None:
    runs = team(runtime, 1)
    screen.show(runs[0])
    await held.arrived()
    screen.clock.advance(1)
    screen.painted.clear()
    screen.clock.advance(3600)
    assert screen.painted == []
    assert screen.clock.timers == []
    held.calls[0].release()
    await runs[0]


async def test_a_terminal_gets_one_line_and_no_repaints(
    shell: InteractiveShell, runtime: Runtime, held: HeldModel, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen(shell, runtime, live=False)
    runs = team(runtime, 1)
    screen.show(runs[0])
    await release(held, runs)
    screen.clock.advance(1)
    screen.outputs.settle()
    assert screen.painted == []
    assert capsys.readouterr().out.startswith("a0#1 · submitted · as of ")


async def test_a_terminal_prints_the_end_of_a_run_once_and_an_awaited_answer(
    shell: InteractiveShell, runtime: Runtime, held: HeldModel, capsys: pytest.CaptureFixture[str]
) -> None:
    screen = Screen(shell, runtime, live=False)
    runs = team(runtime, 2)
    for run in runs:
        screen.show(run)
    await release(held, runs)
    capsys.readouterr()
    screen.outputs.answer(runs[0])
    assert capsys.readouterr().out.endswith(f"\n\n{runs[0].text}\n")
    for expected in ("a1#1 · succeeded", ""):
        screen.outputs.settle()
        assert capsys.readouterr().out.partition(" · 1")[0].startswith(expected)


async def test_long_replies_are_painted_in_several_turns_of_the_event_loop(
    screen: Screen, runtime: Runtime, held: HeldModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = team(runtime, 5)
    for run in runs:
        screen.show(run)
    await release(held, runs)
    screen.painted.clear()
    ticks = itertools.count()
    monkeypatch.setattr(time, "thread_time", lambda: next(ticks) * PAINTING_S * 0.9)  # each painting takes as long
    screen.clock.advance(TICK_S)
    assert len(screen.painted) == 1
    screen.clock.advance(10 * TICK_S)
    assert len(screen.painted) == 5
