"""The board: an agent's row in each state, and changes that add up to the same rows as a new board's."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from support.doubles import FunctionModel, HeldModel, hire, published, quiet, settled
from support.panels import QUICK, Page, calling, row_when, rows_of, states
from whisper_nb import Agent, ModelError, Rule, Runtime, ScriptedModel, Session
from whisper_nb.core.events import CallHeld, CallRetried, Record, RunFinished, RunStarted, StateChanged
from whisper_nb.core.messages import Delta, Finish, TextDelta, Usage
from whisper_nb.core.states import State
from whisper_nb.models.model import Request
from whisper_nb.notebook.cells.render import log_line, run_text
from whisper_nb.notebook.panel.board import CHIPS, Board
from whisper_nb.notebook.panel.timeline import FRESH, TIMELINE_S, Timeline
from whisper_nb.notebook.runtime import NotebookRuntime
from whisper_nb.store.memory import MemoryStore

CLOCK = r"\d\d:\d\d:\d\d"


async def failed(session: Session) -> None:
    await settled(session.submit("fail"))


# A row


async def test_an_idle_agents_row_has_its_identity(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK), title="Bob", description="counts", icon="🐧", color="teal")
    expected = {
        "title": "Bob",
        "about": "counts",
        "icon": "🐧",
        "color": "teal",
        "state": "idle",
        "now": "",
        "queue": [],
    }
    expected |= {
        "queued": 0,
        "runs": 0,
        "input": 0,
        "output": 0,
        "cost": 0.0,
        "unpriced": 0,
        "uncounted": 0,
        "at_work": 0,
        "estimated": 0.0,
        "estimates": 0,
        "model": "offline/bob",
        "error": "",
        "memory": 0,
    }
    assert Board(runtime).row(bob) | {"since": None} == expected | {"since": None}


async def test_a_running_agents_row_has_its_prompt_and_its_queue_in_order(runtime: Runtime) -> None:
    held = HeldModel()
    bob = hire(runtime, held)
    bob.submit("count\nthe  rows")
    await held.arrived()
    for number in range(2, 11):
        bob.submit(f"job {number}", priority="urgent" if number == 10 else "low" if number == 2 else "normal")
    bob.pause()
    row = await row_when(bob, runtime, queued=9)
    assert (row["state"], row["now"], row["queued"]) == ("paused (running)", "count the rows", 9)
    assert row["queue"][:2] == [["bob#10", "urgent", "job 10"], ["bob#3", "normal", "job 3"]]
    assert len(row["queue"]) == CHIPS == 8, "the rest is a number"
    assert row["since"] == pytest.approx(time.time(), abs=60)


async def test_a_row_says_whether_the_agent_waits_for_a_permit_or_a_run() -> None:
    async with NotebookRuntime(environ={}, max_concurrent_calls=1) as runtime:
        held = HeldModel()
        amy, bob, cat = (hire(runtime, held, name) for name in ("amy", "bob", "cat"))
        first = amy.submit("first")
        await held.arrived()
        bob.submit("second")
        cat.submit([first, " and more"])
        await row_when(bob, runtime, state="waiting for a free call", now="second")
        await row_when(cat, runtime, state="waiting for amy#1", now="", queued=1)


async def test_a_row_says_which_run_a_tool_awaits(runtime: Runtime) -> None:
    held = HeldModel()
    amy = hire(runtime, held, "amy")

    async def delegate(task: str) -> str:
        """Delegate."""
        return await amy.submit(task)

    calls = [Rule("^go", calls=[{"name": "delegate", "arguments": {"task": "count"}}]), Rule(reply="done")]
    bob = hire(runtime, ScriptedModel(calls), tools=(delegate,))
    page = Page(Board(runtime))
    run = bob.submit("go")
    call = await held.arrived()
    page.take()
    assert (page.rows["bob"]["state"], page.rows["bob"]["now"]) == ("waiting for amy#1", "go")
    assert page.rows["amy"]["state"] == "running"
    call.released.set()
    await run
    page.take()
    assert page.rows["bob"]["state"] == "idle"


async def test_a_row_names_the_first_of_the_runs_that_it_waits_for(runtime: Runtime) -> None:
    held = HeldModel()
    runs = [hire(runtime, held, name).submit("first") for name in ("amy", "eve")]
    bob = hire(runtime, ScriptedModel(QUICK))
    bob.submit([*runs, " and more"])
    row = await row_when(bob, runtime, state="waiting for amy#1 and 1 more")
    assert row["since"] == pytest.approx(time.time(), abs=60)
    bob.pause()
    assert (await row_when(bob, runtime, state="paused"))["queued"] == 1


async def test_the_gate_is_the_state_while_nothing_runs(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    board = Board(runtime)
    for act, state in ((bob.pause, "paused"), (bob.resume, "idle"), (bob.stop, "stopped")):
        act()
        await quiet()
        assert board.row(bob)["state"] == state
    assert states(rows_of(board.all_rows())["bob"]) == ["paused", "idle", "stopped"]


async def test_an_error_stays_until_a_run_succeeds(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    board = Board(runtime)
    await failed(bob)
    assert board.row(bob)["error"] == "bob#1: no more"
    run = bob.submit("never")
    run.cancel()
    await settled(run)
    assert board.row(bob)["error"] == "bob#1: no more", "a cancelled run says nothing of it"
    await bob.submit("well")
    assert board.row(bob)["error"] == ""


async def test_tokens_and_cost_include_all_runs_and_the_current_one(runtime: Runtime) -> None:
    answers = [Finish("tool_calls", Usage(10, 1), 0.25), Finish("stop", Usage(20, 2), 0.5)]
    bob, reached, go_on = calling(runtime, answers)
    board = Board(runtime)
    run = bob.submit("go")
    await reached.wait()
    assert [board.row(bob)[fact] for fact in ("runs", "input", "output", "cost")] == [0, 10, 1, 0.25]
    go_on.set()
    await run
    assert [board.row(bob)[fact] for fact in ("runs", "input", "output", "cost")] == [1, 30, 3, 0.75]


async def test_a_cost_that_was_not_reported_is_unknown(runtime: Runtime) -> None:
    bob, _, go_on = calling(runtime, [Finish("tool_calls"), Finish("stop")])
    go_on.set()
    await bob.submit("go")
    row = Board(runtime).row(bob)
    assert (row["cost"], row["unpriced"]) == (0.0, 1)


async def test_a_cost_is_unknown_as_soon_as_a_reply_came_without_one(runtime: Runtime) -> None:
    bob, reached, _ = calling(runtime, [Finish("tool_calls"), Finish("stop")])
    bob.submit("go")
    await reached.wait()
    row = Board(runtime).row(bob)
    assert (row["cost"], row["unpriced"]) == (0.0, 1)


async def test_the_cost_of_a_run_is_unknown_before_its_first_reply(runtime: Runtime) -> None:
    runtime.models["openai/bob"] = held = HeldModel()
    bob = runtime.create(Agent(name="bob", config="openai/bob"))
    bob.submit("go")
    await held.arrived()
    row = Board(runtime).row(bob)
    assert [row[fact] for fact in ("runs", "input", "cost", "unpriced", "uncounted", "at_work")] == [0, 0, 0.0, 1, 1, 1]


async def test_the_known_part_of_a_cost_is_sent_with_the_number_of_unknown_runs(runtime: Runtime) -> None:
    bob, _, go_on = calling(runtime, [Finish("stop", Usage(1, 1), 0.25), Finish("stop")])
    go_on.set()
    for prompt in ("go", "on"):
        await bob.submit(prompt)
    row = Board(runtime).row(bob)
    assert (row["cost"], row["unpriced"]) == (0.25, 1)


async def test_a_retried_call_says_why_it_waits(runtime: Runtime) -> None:
    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        calls.append(request)
        if len(calls) == 1:
            raise ModelError("too many requests", model="offline/bob", retryable=True, retry_after_s=0.001)
        yield TextDelta("ok")
        yield Finish("stop")

    def look(record: Record) -> None:
        if isinstance(record.event, StateChanged | CallRetried):
            seen.append((board.row(bob)["state"], board.row(bob)["now"]))

    calls: list[Request] = []
    seen: list[tuple[str, str]] = []
    bob = hire(runtime, FunctionModel(stream))
    bob.configure(retries=1)
    board = Board(runtime)
    runtime.observe(look)
    await bob.submit("go")
    before, (state, now), after = seen
    assert before == ("waiting for a free call", "go")
    assert state == "waiting to retry"
    assert re.fullmatch(rf"retry at {CLOCK}: too many requests", now)
    assert after == ("running", "go")


async def test_an_agent_that_waits_for_the_429_of_another_says_so(runtime: Runtime) -> None:
    async def refuse(_: Request) -> AsyncGenerator[Delta, None]:
        raise ModelError("too many", model="offline/al", retryable=True, status=429, retry_after_s=30)
        yield Finish("stop")

    al = hire(runtime, FunctionModel(refuse), "al")
    bob = hire(runtime, ScriptedModel([Rule(reply="ok")]))
    board = Board(runtime)
    al.configure(retries=0)
    await settled(al.submit("go"))

    run = bob.submit("go")
    await published(runtime, CallHeld, run=run)
    row = board.row(bob)
    assert (row["state"], run.status) == ("waiting for the rate limit", "waiting")
    assert re.fullmatch(rf"held back until {CLOCK} or later: offline answered 429 .*", row["now"])
    assert re.search(rf"  held back until {CLOCK} or later: offline answered 429", "\n".join(map(log_line, run.events)))
    assert "held back until" in run_text(run)


def test_a_call_that_is_held_for_the_budget_says_so() -> None:
    timeline = Timeline(0.0)
    for number, event in enumerate(
        (RunStarted("go", "m"), StateChanged(State("waiting")), CallHeld("$0.01 does not fit", 0.0, "budget"))
    ):
        timeline.take(Record(number, number, "bob", "bob#1", event))
    assert (timeline.reason, timeline.waits) == ("for the budget", "held back: $0.01 does not fit")
    timeline.take(Record(3, 3.0, "bob", "bob#1", StateChanged(State("running"))))
    assert (timeline.reason, timeline.waits) == ("", "")


async def test_hostile_text_is_a_short_printable_line(runtime: Runtime) -> None:
    hostile = "<b>\ud800\x1b[31m\x00\u2028" * 400
    bob = hire(runtime, ScriptedModel([Rule(error=hostile)]), description="d" * 999)
    await settled(bob.submit(hostile))
    bob.pause()
    bob.submit(hostile)
    await quiet()
    row = Board(runtime).row(bob)
    sent = json.dumps(row, ensure_ascii=False).encode()  # can be said
    assert len(sent) < 3_000
    assert not any(text in sent.decode() for text in ("\x1b", "\n", "\\u0000"))


async def test_an_invalid_config_does_not_break_the_panel() -> None:
    async with NotebookRuntime(environ={"WHISPER_MODEL": "nonsense"}) as runtime:
        runtime.create(Agent(name="bob"))
        board = Board(runtime)
        board.open(["bob"])
        assert rows_of(board.all_rows())["bob"]["model"] == "config is wrong"
        assert "'nonsense' is not provider/model" in board.details()["bob"]["config"][0]["from"]


async def test_a_changed_model_is_sent_after_a_recheck(runtime: Runtime) -> None:
    amy = runtime.create(Agent(name="amy"))
    page = Page(Board(runtime))
    runtime.configure("offline/other")
    page.board.recheck()
    page.take()
    assert (page.rows["amy"]["model"], amy.config.model) == ("offline/other", "offline/other")


async def test_a_revision_is_sent(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    page = Page(Board(runtime))
    runtime.create(replace(bob.agent, title="Robert", config={"model": "offline/other"}))
    await quiet()
    page.take()
    assert (page.rows["bob"]["title"], page.rows["bob"]["model"]) == ("Robert", "offline/other")


# Changes


async def test_unchanged_facts_are_not_sent(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    bob.created_at -= 1  # or it would be paused in the hundredth of a second in which it was made
    board = Board(runtime)
    board.all_rows()
    bob.pause()
    await quiet()
    assert set(rows_of(board.changes([], 1e9)[0])["bob"] or ()) == {"state", "since", "spans"}
    bob.reset()
    await quiet()
    assert board.changes([], 1e9) == ({}, 0)
    assert not board.dirty


async def test_rows_in_view_are_sent_first_and_then_those_that_waited_longest(runtime: Runtime) -> None:
    sessions = [hire(runtime, ScriptedModel(QUICK), f"a{number}") for number in range(6)]
    board = Board(runtime)
    board.all_rows()
    for session in sessions:
        session.pause()
    await quiet()
    told: list[str] = []
    while board.dirty:
        rows, _ = board.changes(["a4", "nobody"], 1)
        told += rows_of(rows)
    assert told == ["a4", "a0", "a1", "a2", "a3", "a5"]


async def test_a_removed_agent_disappears_and_a_new_one_of_its_name_has_no_past(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    page = Page(Board(runtime))
    await failed(bob)
    page.take()
    runtime.remove("bob")
    await quiet()
    page.take()
    assert page.rows == {}
    assert page.board.spent_on_removed()["runs"] == 1, "what it has spent is still in the sum"
    hire(runtime, ScriptedModel(QUICK))
    page.take()
    assert [page.rows["bob"][fact] for fact in ("runs", "error", "spans")] == [0, "", []]


@pytest.mark.parametrize("late", [False, True])
async def test_a_new_agent_of_a_removed_ones_name_has_no_past(runtime: Runtime, late: bool) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    board = Board(runtime)
    await failed(bob)
    runtime.remove("bob")
    await quiet()
    again = hire(runtime, ScriptedModel(QUICK))
    row = rows_of((Board(runtime) if late else board).all_rows())["bob"]
    assert (row["error"], row["spans"], row["since"]) == ("", [], round(again.created_at, 2))


@pytest.mark.parametrize("late", [False, True])
async def test_a_new_agent_that_takes_a_name_at_once_has_no_past(runtime: Runtime, late: bool) -> None:
    hire(runtime, ScriptedModel(QUICK))
    board = Board(runtime)
    runtime.remove("bob")
    again = hire(runtime, ScriptedModel(QUICK))
    await quiet()
    row = rows_of((Board(runtime) if late else board).all_rows())["bob"]
    assert (row["state"], row["spans"], row["since"]) == ("idle", [], round(again.created_at, 2))


async def test_a_page_that_missed_a_removal_keeps_no_facts_of_the_removed_agent(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    await bob.submit("hello")
    page = Page(Board(runtime), "bob")
    runtime.remove("bob")
    await quiet()
    hire(runtime, ScriptedModel(QUICK))
    page.take()
    late = Page(Board(runtime), "bob")
    assert page.rows == late.rows
    for fact in ("queue", "runs", "run", "text"):
        assert page.details["bob"].get(fact) == late.details["bob"].get(fact)


async def test_an_open_agent_that_is_removed_leaves_no_pending_change(runtime: Runtime) -> None:
    hire(runtime, ScriptedModel(QUICK))
    page = Page(Board(runtime), "bob")
    runtime.remove("bob")
    await quiet()
    page.take()
    assert (page.rows, page.details, page.board.dirty) == ({}, {}, False)


async def test_the_remaining_need_is_sent_when_one_of_two_is_done(runtime: Runtime) -> None:
    held = HeldModel()
    amy, bob, cat = (hire(runtime, held, name) for name in ("amy", "bob", "cat"))
    first, second = amy.submit("first"), bob.submit("second")
    cat.submit([first, " and ", second])
    call, _ = await held.arrived(), await held.arrived()
    page = Page(Board(runtime))
    call.release()
    await first
    page.take()
    assert page.rows["cat"]["state"] == "waiting for bob#1"


async def test_a_timeline_has_five_minutes_and_the_state_before_them() -> None:
    store, now = MemoryStore(), time.time()
    for number, age in enumerate((900, 800, 700, TIMELINE_S + 20, 200, 100)):
        event = RunFinished("succeeded") if number % 2 else RunStarted("x", "offline/bob")
        await store.append(Record(number, now - age, "bob", f"bob#{number // 2}", event))
    async with NotebookRuntime(environ={}, store=store) as runtime:
        hire(runtime, ScriptedModel(QUICK)).created_at = now - 850  # what came before was of another one
        row = rows_of(Board(runtime).all_rows())["bob"]
    assert row["spans"] == [
        (round(now - age, 2), state) for age, state in ((320, "idle"), (200, "running"), (100, "idle"))
    ]
    assert row["since"] == pytest.approx(now - 100, abs=0.01)


async def test_the_newest_of_many_changes_are_sent(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    page = Page(Board(runtime))
    for _ in range(FRESH):
        await bob.submit("hello")
    page.take()
    assert states(page.rows["bob"]) == ["running", "idle"] * (FRESH // 2)
    assert len(rows_of(page.board.all_rows())["bob"]["spans"]) == 2 * FRESH


async def test_changes_during_a_pause_are_in_the_timeline(runtime: Runtime) -> None:
    """The timeline follows from records alone: those of the gate contain the activity at their time."""
    held = HeldModel()
    bob = hire(runtime, held)
    early = Board(runtime)
    run = bob.submit("go")
    call = await held.arrived()
    bob.pause()
    call.release()
    await run
    await quiet()
    for board in (early, Board(runtime)):
        assert board.row(bob)["state"] == "paused"
        assert states(rows_of(board.all_rows())["bob"]) == ["running", "running", "paused"]


async def test_an_agent_without_runs_is_idle_since_its_creation(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    bob.created_at -= 100
    assert Board(runtime).row(bob)["since"] == round(bob.created_at, 2)


async def test_a_closed_board_does_not_observe(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    board = Board(runtime)
    board.all_rows()
    board.close()
    board.close()
    hire(runtime, ScriptedModel(QUICK), "amy")
    await bob.submit("hello")
    assert (board.dirty, board.version) == (False, 0)
