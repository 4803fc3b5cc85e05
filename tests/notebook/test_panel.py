"""The panel: the messages to its views, their times, and its end."""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Iterator
from itertools import pairwise

import pytest

from support.doubles import FunctionModel, hire, quiet
from support.panels import QUICK, Clock, Watched, own_clock, rows_of
from whisper_nb import ScriptedModel
from whisper_nb.core.events import TextStreamed
from whisper_nb.core.messages import Delta, Finish, TextDelta
from whisper_nb.models.model import Request
from whisper_nb.notebook.panel import panel as panel_module
from whisper_nb.notebook.panel.board import spent_facts
from whisper_nb.notebook.panel.panel import BURST, BYTES_PER_S, SLOWEST_S, TICK_S, UNSEEN, VIEWS
from whisper_nb.notebook.runtime import NotebookRuntime


@pytest.fixture
def clock(runtime: NotebookRuntime, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """The simulated time of the panel. The real time of an update is left out."""
    monkeypatch.setattr(panel_module, "SHARE", math.inf)
    with own_clock(runtime) as clock:
        yield clock


@pytest.fixture
def panel(runtime: NotebookRuntime, clock: Clock) -> Iterator[Watched]:
    """A panel of bob and amy without a view."""
    for name in ("bob", "amy"):
        hire(runtime, ScriptedModel(QUICK), name)
    panel = Watched(runtime)
    yield panel
    if panel.comm is not None:
        panel.close()


@pytest.fixture
def seen(panel: Watched, clock: Clock) -> Watched:
    """The panel, with one view that has received everything."""
    panel.ask("hello")
    panel.ask("look", names="bob amy", open="")
    clock.advance(1)
    panel.sent.clear()
    return panel


async def change(runtime: NotebookRuntime, *names: str) -> None:
    """Change each of these agents."""
    for name in names:
        session = runtime[name]
        (session.pause if session.state.is_open() else session.resume)()
    await quiet()


def written(panel: Watched) -> int:
    """The bytes of all that was sent."""
    return sum(len(json.dumps(one, ensure_ascii=False).encode()) for _, one in panel.sent)


# Messages and their times


async def test_nothing_is_sent_without_a_view(runtime: NotebookRuntime, panel: Watched, clock: Clock) -> None:
    await change(runtime, "bob")
    clock.advance(10)
    assert (panel.sent, clock.pending) == ([], [])


async def test_a_new_view_receives_everything(runtime: NotebookRuntime, panel: Watched, clock: Clock) -> None:
    assert panel.ask("hello") is None
    clock.advance(0)
    (whole,) = panel.told("all")
    assert list(rows_of(whole["rows"])) == ["bob", "amy"]
    assert {"alice", "tessa"} <= {one["name"] for one in whole["team"]}
    assert whole["number"] == 1


async def test_nothing_is_sent_while_nothing_changes(seen: Watched, clock: Clock) -> None:
    clock.advance(600)
    assert (seen.sent, clock.pending) == ([], [])


async def test_a_change_after_a_quiet_time_is_sent_at_once(
    runtime: NotebookRuntime, seen: Watched, clock: Clock
) -> None:
    await change(runtime, "bob")
    clock.advance(0)
    (update,) = seen.told()
    assert rows_of(update["rows"])["bob"]["state"] == "paused"
    assert update["details"] == {}


async def test_changes_are_sent_at_most_ten_times_a_second(
    runtime: NotebookRuntime, seen: Watched, clock: Clock
) -> None:
    for _ in range(100):
        await change(runtime, "bob")
        clock.advance(0.01)
        seen.ask("seen", number=seen._number)
    times = [at for at, one in seen.sent if one["kind"] == "update"]
    assert 9 <= len(times) <= 11
    assert min(later - sooner for sooner, later in pairwise(times)) >= TICK_S - 1e-9
    clock.advance(1)
    assert not seen.board.dirty


async def test_no_update_is_sent_directly_after_everything(seen: Watched, clock: Clock) -> None:
    seen.ask("look", names="bob amy", open="bob")
    clock.advance(1)
    seen.sent.clear()
    seen.ask("hello")
    clock.advance(TICK_S / 2)
    assert [one["kind"] for _, one in seen.sent] == ["all"]


async def test_the_spending_of_removed_agents_is_sent_when_it_changes(
    runtime: NotebookRuntime, panel: Watched, clock: Clock
) -> None:
    panel.ask("hello")
    clock.advance(1)
    (whole,) = panel.told("all")
    assert whole["gone"]["runs"] == 0
    await runtime["bob"].submit("hello")
    spent = spent_facts(runtime.spent)
    runtime.remove("bob")
    await quiet()
    clock.advance(1)
    (update,) = panel.told()
    assert (rows_of(update["rows"]), update["gone"], spent["runs"]) == ({"bob": None}, spent, 1)
    await change(runtime, "amy")
    clock.advance(1)
    assert ["gone" in one for one in panel.told()] == [False]


async def test_rows_in_view_are_sent_first(runtime: NotebookRuntime, seen: Watched, clock: Clock) -> None:
    names = [f"a{number}" for number in range(300)]
    for name in names:
        hire(runtime, ScriptedModel(QUICK), name)
    seen.ask("look", names="a299 a150", open="")
    clock.advance(0)
    first = rows_of(seen.told()[0]["rows"])
    assert list(first)[:2] == ["a299", "a150"]
    assert len(first) < 300, "the rest comes later"
    clock.advance(10)
    assert {name for update in seen.told() for name in rows_of(update["rows"])} | set(first) >= set(names)


async def test_updates_of_a_thousand_busy_agents_stay_within_the_budget(
    runtime: NotebookRuntime, seen: Watched, clock: Clock
) -> None:
    names = [f"a{number}" for number in range(1000)]
    for name in names:
        hire(runtime, ScriptedModel(QUICK), name)
    seen.ask("hello")
    clock.advance(0)
    seen.sent.clear()
    for _ in range(10):
        await change(runtime, *names)
        for _ in range(10):
            clock.advance(0.1)
            seen.ask("seen", number=seen._number)
    assert 10 * BYTES_PER_S / 4 < written(seen) < 10 * 100_000 + BURST, "it is used and kept"
    told = {name for update in seen.told() for name in rows_of(update["rows"])}
    assert told >= set(names), "nobody starves"


async def test_the_details_of_an_open_agent_stay_within_the_budget(
    runtime: NotebookRuntime, seen: Watched, clock: Clock
) -> None:
    bob = runtime["bob"]
    bob.pause()
    runs = [bob.submit(f"{number}: {'x' * 400}") for number in range(99)]
    await quiet()
    seen.ask("look", names="bob", open="bob")
    clock.advance(10)
    seen.sent.clear()
    for number in range(100):
        runs[number % 90].move(priority="high" if number % 2 else "low")
        await quiet()
        clock.advance(0.1)
        seen.ask("seen", number=seen._number)
    assert written(seen) < 11 * BYTES_PER_S


async def test_unacknowledged_updates_slow_down_and_never_stop(
    runtime: NotebookRuntime, seen: Watched, clock: Clock
) -> None:
    for _ in range(600):
        await change(runtime, "bob")
        clock.advance(0.1)
    times = [at for at, one in seen.sent if one["kind"] == "update"]
    gaps = [later - sooner for sooner, later in pairwise(times)]
    assert gaps[: UNSEEN // 2] == pytest.approx([TICK_S] * (UNSEEN // 2))
    assert all(sooner <= later + 0.11 for sooner, later in pairwise(gaps)), "slower and slower"
    assert SLOWEST_S > max(gaps) - 0.11 > TICK_S
    assert clock.now - times[-1] <= SLOWEST_S
    seen.ask("seen", number=seen._number)
    clock.advance(SLOWEST_S)
    seen.sent.clear()
    for _ in range(10):
        await change(runtime, "bob")
        clock.advance(0.1)
    assert len(seen.told()) >= 9, "and come as before once somebody does"


async def test_an_acknowledgement_of_an_unsent_update_is_ignored(
    runtime: NotebookRuntime, seen: Watched, clock: Clock
) -> None:
    seen.ask("seen", number=2**53)
    for _ in range(600):
        await change(runtime, "bob")
        clock.advance(0.1)
    assert UNSEEN < len(seen.told()) < 400


async def test_the_oldest_of_nine_views_is_forgotten(runtime: NotebookRuntime, panel: Watched, clock: Clock) -> None:
    for number in range(VIEWS + 1):
        panel.ask("hello", view=f"view{number}")
    clock.advance(1)
    assert len(panel.told("all")) == 1, "it is told to all of them at once"
    panel.ask("look", view=f"view{VIEWS}", names="bob", open="")
    clock.advance(1)
    assert panel.told("all") == []
    panel.ask("look", view="view0", names="bob", open="")
    clock.advance(1)
    assert len(panel.told("all")) == 1, "who was forgotten is told everything"
    assert len(panel._views) == VIEWS


async def test_the_details_of_an_opened_agent_are_sent(runtime: NotebookRuntime, seen: Watched, clock: Clock) -> None:
    seen.ask("look", names="bob", open="bob")
    clock.advance(1)
    assert seen.told()[0]["details"]["bob"]["spec"]["revision"] == 1
    seen.ask("look", names="bob", open="")
    clock.advance(1)
    seen.sent.clear()
    await runtime["bob"].submit("hello")
    clock.advance(1)
    assert all(update["details"] == {} for update in seen.told())


async def test_a_view_that_asks_for_everything_again_receives_the_details_of_its_open_agent(
    seen: Watched, clock: Clock
) -> None:
    seen.ask("look", names="bob", open="bob")
    seen.ask("hello")
    clock.advance(1)
    assert seen.told("all")[-1]["details"]["bob"]["spec"]["revision"] == 1


async def test_opening_an_agent_in_one_view_does_not_send_those_of_other_views_again(
    seen: Watched, clock: Clock
) -> None:
    seen.ask("hello", view="view2")
    seen.ask("look", names="bob", open="bob")
    clock.advance(5)
    seen.sent.clear()
    seen.ask("look", view="view2", names="amy", open="amy")
    clock.advance(1)
    assert [list(update["details"]) for update in seen.told()] == [["amy"]]
    seen.ask("look", view="view2", names="amy", open="bob")
    clock.advance(1)
    assert "spec" in seen.told()[-1]["details"]["bob"], "the second view receives them in full"


async def test_the_details_of_an_open_agent_that_is_created_again_are_sent(
    runtime: NotebookRuntime, seen: Watched, clock: Clock
) -> None:
    seen.ask("look", names="bob", open="bob")
    runtime.remove("bob")
    hire(runtime, ScriptedModel(QUICK), "bob")
    clock.advance(1)
    seen.sent.clear()
    await runtime["bob"].submit("hello")
    seen.ask("look", names="bob", open="bob")
    clock.advance(1)
    assert any("bob" in update["details"] for update in seen.told())


async def test_a_changed_config_is_sent_for_all_agents(runtime: NotebookRuntime, seen: Watched, clock: Clock) -> None:
    runtime.configure("offline/other")
    runtime.create("alice")
    runtime.create("tessa")
    seen.recheck()
    clock.advance(1)
    seen.ask("look", names="alice", open="")
    clock.advance(1)
    seen.sent.clear()
    seen.recheck()
    clock.advance(1)
    assert seen.told() == []
    runtime.configure("offline/held")
    seen.recheck()
    clock.advance(1)
    (update,) = seen.told()
    assert rows_of(update["rows"]) == {name: {"model": "offline/held"} for name in ("alice", "bob", "amy", "tessa")}


async def test_streaming_text_is_sent_ten_times_a_second_and_each_piece_once(
    runtime: NotebookRuntime, seen: Watched, clock: Clock
) -> None:
    """An open agent streams a thousand tokens in ten seconds."""

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        for number in range(1000):
            yield TextDelta(f"{number} ")
        yield Finish("stop")

    hire(runtime, FunctionModel(stream), "cat")
    seen.ask("look", names="cat", open="cat")
    clock.advance(1)
    seen.sent.clear()
    runtime.observe(lambda record: clock.advance(0.01) if isinstance(record.event, TextStreamed) else None)
    run = runtime["cat"].submit("go")
    await run
    clock.advance(1)
    updates = seen.told()
    assert 90 <= len(updates) <= 110
    pieces = [one["details"]["cat"]["text"]["text"] for one in updates if "text" in one["details"].get("cat", {})]
    assert "".join(pieces) == run.text
    assert sum(len(rows_of(one["rows"])) for one in updates) < 10, "a token is no news of the row"


# Its end


async def test_a_closed_panel_does_not_observe_and_leaves_no_timer(
    runtime: NotebookRuntime, seen: Watched, clock: Clock
) -> None:
    await change(runtime, "bob")
    assert clock.pending
    seen.close()
    assert clock.pending == []
    await change(runtime, "bob")
    assert (clock.pending, seen.sent) == ([], [])


async def test_a_closed_panel_stays_closed_after_the_next_cell(seen: Watched, clock: Clock) -> None:
    seen.close()
    seen.recheck()
    assert clock.pending == []


async def test_a_panel_can_be_closed_twice(panel: Watched) -> None:
    panel.close()
    panel.close()


async def test_a_new_panel_is_made_after_one_was_closed(runtime: NotebookRuntime) -> None:
    first = runtime.panel()
    assert runtime.panel() is first
    first.close()
    second = runtime.panel()
    assert second is not first
    assert repr(second) == "The team's live panel needs a running kernel. Its last state is below."
    second.close()


async def test_closing_a_runtime_closes_its_panel(runtime: NotebookRuntime) -> None:
    panel = runtime.panel()
    await runtime.aclose()
    assert panel.comm is None


async def test_an_error_in_an_update_is_logged_and_the_next_change_is_sent(
    runtime: NotebookRuntime, seen: Watched, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    changes = seen.board.changes
    seen.board.changes = lambda *_: 1 / 0  # type: ignore[method-assign, assignment]
    await change(runtime, "bob")
    clock.advance(1)
    assert "the panel cannot send an update" in caplog.text
    seen.board.changes = changes  # type: ignore[method-assign]
    await change(runtime, "amy")
    clock.advance(1)
    assert rows_of(seen.told()[-1]["rows"])["amy"]["state"] == "paused"
