from __future__ import annotations

import asyncio
import logging
import random
import threading
from collections.abc import AsyncGenerator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.doubles import (
    DiskFull,
    FailingStore,
    FunctionModel,
    HeldModel,
    HeldStore,
    hire,
    kinds_of,
    observed_by,
    published,
    quiet,
    settled,
)
from whisper_nb import Agent, AIConfig, ConfigError, Rule, Run, RunCancelled, RunFailed, Runtime, ScriptedModel, Session
from whisper_nb.core.errors import SessionClosed, SessionError
from whisper_nb.core.events import (
    AgentRevised,
    Event,
    HistoryReset,
    ModelReplied,
    Priority,
    Record,
    RunContinued,
    RunFinished,
    RunMoved,
    RunQueued,
    RunStarted,
    StateChanged,
    TextStreamed,
    ToolFinished,
)
from whisper_nb.core.messages import (
    AssistantMessage,
    CallDelta,
    Delta,
    Finish,
    Message,
    SystemMessage,
    TextDelta,
    ToolMessage,
    UserMessage,
)
from whisper_nb.core.queues import PRIORITIES
from whisper_nb.core.states import State
from whisper_nb.engine.projection import RUNS_KEPT, Projection, RunState
from whisper_nb.models.model import Request
from whisper_nb.models.offline import EchoModel
from whisper_nb.store.memory import MemoryStore
from whisper_nb.team import runtimes

SAY = ScriptedModel([Rule(match="(?s)(.*)", reply=r"\1!")])
TALK = [Rule(role="tool", reply="done"), Rule(match="use (.*)", calls=[{"name": r"\1"}]), Rule(reply="ok")]
QUEUE_LIMIT = 100


@pytest.fixture(autouse=True)
def short_queues(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queues that a test fills in a moment."""
    monkeypatch.setattr(runtimes, "DEFAULT_QUEUE", QUEUE_LIMIT)


# A run's life


async def test_a_run_is_submitted_queued_running_and_succeeds(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    run = bob.submit("hello")
    statuses = [run.status]
    runtime.observe(lambda _: statuses.append(run.status))
    call = await model.arrived()
    assert (bob.state.label, bob.current) == ("running", run)
    call.release()
    assert await run == "partial and done"
    assert statuses == ["submitted", "queued", "running", "running", "running", "running", "succeeded"]
    assert kinds_of(run.events) == ["RunQueued", "RunStarted", "ModelReplied", "RunFinished"]
    assert (bob.state.label, bob.current) == ("idle", None)


async def test_a_run_counts_as_queued_only_when_it_is_stored() -> None:
    store = HeldStore(RunQueued)
    async with Runtime(environ={}, store=store) as runtime:
        run = runtime.create(Agent(name="bob")).submit("hello")
        await store.arrived.wait()
        assert run.status == "submitted"
        assert runtime["bob"].queue == ()
        store.released.set()
        await run


async def test_a_run_finishes_once(runtime: Runtime) -> None:
    heard = observed_by(runtime)
    bob = hire(runtime, SAY)
    run = bob.submit("hello")
    await run
    for _ in range(2):
        run.cancel()
        bob.cancel()
    await quiet()
    assert run.status == "succeeded"
    assert kinds_of(heard).count("RunFinished") == 1


async def test_submitting_never_waits_for_the_store_or_the_loop() -> None:
    store = HeldStore(RunQueued)
    async with Runtime(environ={}, store=store) as runtime:
        bob = runtime.create(Agent(name="bob"))
        runs = [bob.submit("hello") for _ in range(QUEUE_LIMIT)]
        assert {run.status for run in runs} == {"submitted"}
        assert [run.id for run in runs] == [f"bob#{number}" for number in range(1, 101)]
        store.released.set()
        await settled(*runs)


@pytest.mark.parametrize(
    ("prompt", "options", "said"),
    [
        ("hello", {"priority": "asap"}, "unknown priority 'asap'; allowed are urgent, high, normal, low"),
        ("", {}, "an empty prompt for bob: nothing to send"),
        (" \n", {}, "an empty prompt"),
        ([], {}, "an empty prompt"),
        (["", " "], {}, "an empty prompt"),
        ("hello", {"timeout_s": 0}, "timeout_s 0 is not a number of seconds above 0"),
        ("hello", {"timeout_s": float("nan")}, "timeout_s nan"),
        ("hello", {"max_turns": 0}, "max_turns 0 is not a whole number of at least 1"),
        ("hello", {"max_total_tokens": 1.5}, "max_total_tokens 1.5 is not a whole number of tokens of at least 1"),
        (
            "hello",
            {"max_cost_usd": 0, "max_turns": True},
            "max_turns True .*\nmax_cost_usd 0 is not a number of US doll",
        ),
        (5, {}, "a prompt for bob is text, or pieces of text, images and runs, not int$"),
        (None, {}, "not NoneType: the value None is missing"),
        (float("nan"), {}, r"not float: the value nan is missing \(dropna\(\) leaves out such rows of a DataFrame\)"),
        (
            ["hello", type("NAType", (), {"__str__": lambda self: "<NA>"})()],
            {},
            "not NAType: the value <NA> is missing",
        ),
        (["hello", 5], {}, "a prompt for bob is text, or pieces of text, images and runs, not int"),
        ("hello", {"config": {"modle": "x"}}, "did you mean 'model'"),
    ],
)
async def test_an_invalid_submit_is_an_error_and_makes_no_run(
    runtime: Runtime, prompt: str, options: dict[str, str], said: str
) -> None:
    bob = runtime.create(Agent(name="bob"))
    with pytest.raises(ConfigError, match=said):
        bob.submit(prompt, **options)  # type: ignore[arg-type]
    assert bob.runs == ()


async def test_a_run_can_be_the_whole_prompt(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    assert await bob.submit(bob.submit("hello")) == "hello!!"


async def test_a_submit_can_set_the_config_of_its_run(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    runtime.models["offline/other"] = ScriptedModel([Rule(reply="other")])
    assert await bob.submit("hello", config="offline/other") == "other"
    assert await bob.submit("hello", model="offline/other", config={"model": "openai/x"}) == "other"
    assert await bob.submit("hello", config=AIConfig(model="offline/other")) == "other"
    assert bob.config.model == "offline/bob"


async def test_a_session_lists_its_runs_and_its_unfinished_runs_oldest_first(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    runs = [bob.submit("one"), bob.submit("two")]
    assert repr(bob) == "<Session bob idle, 2 queued>"
    (await model.arrived()).release()
    await runs[0]
    assert list(bob.runs) == runs
    assert bob.unfinished == (runs[1],)
    assert repr(bob) in ("<Session bob idle, 1 queued>", "<Session bob running, 0 queued>")


async def test_the_oldest_runs_are_forgotten(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(reply="ok")]))
    for _ in range(0, RUNS_KEPT + 50, 50):
        await settled(*[bob.submit("hello") for _ in range(50)])
    assert len(bob.runs) == RUNS_KEPT
    assert bob.runs[-1].number == RUNS_KEPT + 50
    assert bob.runs[0].number == 51


# The queue


async def order_of(runtime: Runtime, priorities: list[Priority]) -> list[str]:
    """The order in which runs of these priorities start, all queued behind a first one."""
    model = HeldModel()
    bob = hire(runtime, model)
    first = bob.submit("first", priority="low")
    call = await model.arrived()
    runs = [bob.submit(f"{number} {priority}", priority=priority) for number, priority in enumerate(priorities)]
    call.release()
    for run in [first, *runs]:
        if run is not first:
            (await model.arrived()).release()
    await settled(*runs)
    return [call.prompt for call in model.calls]


async def test_runs_start_by_priority_then_first_in_first_out(runtime: Runtime) -> None:
    order = await order_of(runtime, ["low", "normal", "urgent", "normal", "high", "urgent"])
    assert order == ["first", "2 urgent", "5 urgent", "4 high", "1 normal", "3 normal", "0 low"]


async def test_an_urgent_run_does_not_interrupt_the_running_one(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    low, urgent = bob.submit("low", priority="low"), None
    call = await model.arrived()
    urgent = bob.submit("urgent", priority="urgent")
    await published(runtime, RunQueued)
    assert (bob.current, bob.queue) == (low, (urgent,))
    assert not call.closed.is_set()
    call.release()
    await low
    (await model.arrived()).release()
    await urgent


async def test_a_full_queue_refuses_work_until_there_is_room(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    current = bob.submit("current")
    await model.arrived()
    queued = [bob.submit("wait") for _ in range(QUEUE_LIMIT)]
    with pytest.raises(SessionError, match=r"the queue of bob is full \(100 runs\): wait for some, or cancel some"):
        bob.submit("one too many")
    queued[50].cancel()
    queued[50].cancel()
    await settled(queued[50])
    queued.append(bob.submit("fits again"))
    with pytest.raises(SessionError, match="full"):
        bob.submit("one too many")
    assert bob.current is current
    bob.cancel()
    await settled(current, *queued)
    assert bob.queue == ()
    for _ in range(QUEUE_LIMIT):
        bob.submit("room for all")


async def test_a_run_that_leaves_the_queue_in_any_way_makes_room(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    for end in (bob.cancel, bob.stop):
        runs = [bob.submit("wait") for _ in range(QUEUE_LIMIT)]
        await model.arrived()
        end()
        await settled(*runs)
        bob.resume()
    assert len([bob.submit("wait") for _ in range(QUEUE_LIMIT)]) == QUEUE_LIMIT


async def test_one_run_at_a_time_per_session_and_many_sessions_at_once(runtime: Runtime) -> None:
    model = HeldModel()
    sessions = [hire(runtime, model, f"a{number}") for number in range(20)]
    runs = [session.submit("go") for session in sessions for _ in range(2)]
    calls = [await model.arrived() for _ in sessions]
    assert model.in_flight == len(sessions)
    for call in calls:
        call.release()
    for _ in sessions:
        (await model.arrived()).release()
    await settled(*runs)
    assert all(run.status == "succeeded" for run in runs)


# Threads


async def test_other_threads_may_submit_cancel_and_stop(runtime: Runtime) -> None:
    """Whatever they do concurrently, every run finishes, each end is published once, and the counts are right."""
    heard = observed_by(runtime)
    sessions = [hire(runtime, EchoModel(), f"a{number}") for number in range(3)]
    runs: list[Run] = []
    refused: list[SessionError] = []

    def work(seed: int) -> None:
        for step in range(40):
            session = sessions[(seed + step) % 3]
            try:
                run = session.submit(f"{seed}/{step}", priority=("low", "urgent")[step % 2])
            except SessionError as error:
                refused.append(error)
                continue
            runs.append(run)
            if step % 3 == 0:
                run.cancel()
            if step % 7 == 0:
                runs[-1].cancel()
            if (seed, step) == (0, 30):
                session.stop()

    await asyncio.gather(*(asyncio.to_thread(work, seed) for seed in range(6)))
    await settled(*runs)
    await quiet()
    assert len(runs) + len(refused) == 240
    assert len({run.id for run in runs}) == len(runs)
    assert kinds_of(heard).count("RunFinished") == len(runs)
    for session in sessions:
        session.resume()
        assert session.queue == ()
        more = [session.submit("room for all") for _ in range(QUEUE_LIMIT)]
        with pytest.raises(SessionError, match="full"):
            session.submit("but no more")
        await settled(*more)


async def test_numbers_grow_with_every_submission_from_any_thread(runtime: Runtime) -> None:
    bob = hire(runtime, EchoModel())
    numbers: list[list[int]] = [[] for _ in range(5)]

    def work(mine: list[int]) -> None:
        mine.extend(bob.submit("hello").number for _ in range(20))

    await asyncio.gather(*(asyncio.to_thread(work, mine) for mine in numbers))
    assert all(mine == sorted(mine) for mine in numbers)
    assert sorted(number for mine in numbers for number in mine) == list(range(1, 101))
    await settled(*bob.unfinished)


async def test_a_stop_between_admission_and_acceptance_cancels_the_run(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    runs: list[Run] = []
    thread = threading.Thread(target=lambda: runs.append(bob.submit("hello")))
    thread.start()
    thread.join()  # admitted; the loop has not turned since
    bob.stop()
    await settled(*runs)
    assert runs[0].status == "cancelled"


async def test_a_run_can_be_cancelled_before_it_is_accepted(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    runs: list[Run] = []
    thread = threading.Thread(target=lambda: runs.append(bob.submit("hello")))
    thread.start()
    thread.join()
    runs[0].cancel()
    await settled(*runs)
    assert runs[0].status == "cancelled"
    assert kinds_of(runs[0].events) == ["RunFinished"]
    await quiet()
    assert len([bob.submit("room for all") for _ in range(QUEUE_LIMIT)]) == QUEUE_LIMIT


# Cancel


async def test_cancelling_a_queued_run_keeps_the_other_runs(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    runs = [bob.submit(text) for text in ("one", "two", "three")]
    call = await model.arrived()
    runs[1].cancel()
    await settled(runs[1])
    assert (runs[1].status, runs[1].started_at, runs[1].seconds) == ("cancelled", None, None)
    call.release()
    (await model.arrived()).release()
    await runs[0]
    await runs[2]
    assert [call.prompt for call in model.calls] == ["one", "three"]


async def test_cancelling_the_running_run_closes_its_stream_and_keeps_its_text(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    run, following = bob.submit("one"), bob.submit("two")
    call = await model.arrived()
    run.cancel()
    await call.closed.wait()
    with pytest.raises(RunCancelled, match="bob#1 was cancelled"):
        await run
    assert run.text == "partial"
    assert bob.history == ()
    (await model.arrived()).release()
    assert await following == "partial and done"


async def test_an_error_during_the_end_of_a_cancelled_run_does_not_make_it_failed(
    runtime: Runtime,
) -> None:
    started = asyncio.Event()

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        try:
            yield TextDelta("partial")
            started.set()
            await asyncio.Event().wait()
        finally:
            raise ConnectionError("already closed")

    run = hire(runtime, FunctionModel(stream)).submit("hello")
    await started.wait()
    run.cancel()
    await settled(run)
    assert (run.status, run.error, run.text) == ("cancelled", None, "partial")


async def test_a_model_that_suppresses_cancellation_is_closed_at_its_next_delta(runtime: Runtime) -> None:
    started = asyncio.Event()

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("partial")
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            yield Finish("stop")

    run = hire(runtime, FunctionModel(stream)).submit("hello")
    await started.wait()
    run.cancel()
    await settled(run)
    assert (run.status, run.text) == ("cancelled", "partial")


async def test_a_run_can_be_cancelled_immediately_after_its_submit(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    run = bob.submit("hello")
    run.cancel()
    run.cancel()
    await settled(run)
    assert kinds_of(run.events) == ["RunQueued", "RunFinished"]


async def test_cancelling_at_any_moment_ends_a_run_once(runtime: Runtime) -> None:
    """Cancel at the n-th record that the run causes, for every n, in the observer that receives it."""
    bob = hire(runtime, ScriptedModel(TALK), tools=(now,))
    moment = 0
    while True:
        run, heard = bob.submit("use now"), list[Record]()

        def cancel_at(record: Record, run: Run = run, heard: list[Record] = heard, moment: int = moment) -> None:
            heard.append(record)
            if len(heard) == moment:
                run.cancel()

        drop = runtime.observe(cancel_at)
        await settled(run)
        drop()
        assert kinds_of(run.events).count("RunFinished") == 1
        assert (bob.state.label, bob.current, bob.queue) == ("idle", None, ())
        moment += 1
        if moment > len(heard):
            break
    assert run.status == "succeeded"
    assert moment > 8
    await bob.submit("hello")


def now() -> str:
    """The time."""
    return "noon"


async def test_cancelling_a_session_cancels_all_its_runs_and_keeps_it_usable(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    runs = [bob.submit("one"), bob.submit("two"), bob.submit("three")]
    await model.arrived()
    last = bob.submit("not even accepted yet")
    bob.cancel()
    await settled(*runs, last)
    assert {run.status for run in [*runs, last]} == {"cancelled"}
    following = bob.submit("four")
    (await model.arrived()).release()
    await following


@pytest.mark.parametrize("end", ["cancel", "stop"])
async def test_cancel_and_stop_also_cancel_a_run_that_is_being_accepted(end: str) -> None:
    store = HeldStore(RunQueued)
    async with Runtime(environ={}, store=store) as runtime:
        bob = hire(runtime, SAY)
        run = bob.submit("hello")
        await store.arrived.wait()
        getattr(bob, end)()
        store.released.set()
        await settled(run)
        assert run.status == "cancelled"


async def test_closing_cancels_a_run_that_is_being_accepted() -> None:
    store = HeldStore(RunQueued)
    async with Runtime(environ={}, store=store) as runtime:
        run = hire(runtime, SAY).submit("hello")
        await store.arrived.wait()
        store.released.set()
        await runtime.aclose()
    assert run.done


async def test_cancelling_a_tool_leaves_a_whole_turn_in_the_history(runtime: Runtime) -> None:
    started = asyncio.Event()

    async def slow() -> str:
        started.set()
        await asyncio.Event().wait()
        return "never"

    calls = [{"name": "now"}, {"name": "slow"}]
    rules = [Rule(match="both", calls=calls), Rule(match="next", reply="fine")]
    bob = hire(runtime, ScriptedModel(rules), tools=(now, slow))
    run = bob.submit("do both")
    done = asyncio.ensure_future(published(runtime, ToolFinished))
    await started.wait()
    await done
    run.cancel()
    await settled(run)
    prompt, reply, first, second = bob.history
    assert prompt == UserMessage("do both")
    assert isinstance(reply, AssistantMessage)
    ids = [call.id for call in reply.tool_calls]
    assert first == ToolMessage(ids[0], "now", "noon")
    assert isinstance(second, ToolMessage)
    assert (second.call_id, second.is_error) == (ids[1], True)
    assert "cancelled before it finished" in second.text
    assert await bob.submit("next") == "fine"


# Failing


async def test_a_run_that_fails_leaves_the_agent_alive(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(match="bad", error="no luck"), Rule(reply="ok")]))
    bad, good = bob.submit("bad"), bob.submit("good")
    with pytest.raises(RunFailed, match="bob#1 failed: no luck"):
        await bad
    assert await good == "ok"
    assert bob.history == (UserMessage("good"), AssistantMessage("ok"))
    assert bad.events[-1].event == RunFinished("failed", "no luck")


async def test_any_error_of_a_model_fails_its_run(runtime: Runtime) -> None:
    async def broken(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("half")
        raise ZeroDivisionError

    bob = hire(runtime, FunctionModel(broken))
    run = bob.submit("hello")
    with pytest.raises(RunFailed, match="ZeroDivisionError") as caught:
        await run
    assert isinstance(caught.value.__cause__, ZeroDivisionError)
    assert run.text == "half"
    assert isinstance(run.events[-1].event, RunFinished)
    assert run.events[-1].event.error == "ZeroDivisionError"


async def test_a_config_that_cannot_be_resolved_fails_its_run(complaints: list[str]) -> None:
    async with Runtime(environ={"WHISPER_MODEL": "nonsense"}) as runtime:
        run = runtime.create(Agent(name="bob")).submit("hello")
        with pytest.raises(RunFailed, match="WHISPER_MODEL 'nonsense' is not provider/model"):
            await run
        assert kinds_of(run.events) == ["RunQueued", "RunFinished"]


# Gates


async def test_pausing_lets_a_run_of_one_turn_finish(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    first, second = bob.submit("one"), bob.submit("two")
    call = await model.arrived()
    bob.pause()
    assert bob.state.label == "paused (running)"
    call.release()
    assert await first == "partial and done"
    await quiet()
    assert (bob.state.label, second.status) == ("paused", "queued")
    assert second.blocked == "bob is paused (%agent resume bob)"
    bob.resume()
    (await model.arrived()).release()
    await second


async def test_a_paused_run_finishes_its_turn_with_its_tools_and_waits_before_the_next(runtime: Runtime) -> None:
    bob = hire(runtime, model := ScriptedModel(TALK), tools=(now,))
    waits = asyncio.ensure_future(told_state(runtime, State("waiting", "paused")))

    def pause_at_reply(record: Record) -> None:
        if isinstance(record.event, ModelReplied):
            bob.pause()
            drop()

    drop = runtime.observe(pause_at_reply)
    run = bob.submit("use now")
    await waits
    assert kinds_of(run.events)[-3:] == ["ToolStarted", "ToolFinished", "StateChanged"]
    assert (run.status, len(model.requests)) == ("waiting", 1)
    bob.pause()  # to be sure
    bob.resume()
    assert await run == "done"
    assert kinds_of(run.events)[5:] == ["StateChanged", "StateChanged", "ModelReplied", "RunFinished"]


async def told_state(runtime: Runtime, state: State) -> None:
    while (await published(runtime, StateChanged)).event != StateChanged(state):
        pass


async def test_a_paused_run_can_be_cancelled(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(TALK), tools=(now,))
    bob.pause()
    run = bob.submit("use now")
    await quiet()
    assert run.status == "queued"
    waits = asyncio.ensure_future(told_state(runtime, State("waiting", "paused")))

    def pause_at_reply(record: Record) -> None:
        if isinstance(record.event, ModelReplied):
            bob.pause()

    drop = runtime.observe(pause_at_reply)
    bob.resume()
    await waits
    drop()
    run.cancel()
    await settled(run)
    assert (run.status, bob.state.label) == ("cancelled", "paused")
    assert [type(message).__name__ for message in bob.history] == ["UserMessage", "AssistantMessage", "ToolMessage"]


async def test_pause_and_resume_publish_an_event_only_if_the_gate_changes(runtime: Runtime) -> None:
    heard = observed_by(runtime)
    bob = hire(runtime, SAY)
    for move in (bob.pause, bob.pause, bob.resume, bob.resume):
        move()
    await quiet()
    assert [record.event for record in heard] == [StateChanged(State("idle", "paused")), StateChanged(State())]


async def test_stopping_cancels_everything_and_refuses_work_until_resumed(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    runs = [bob.submit("one"), bob.submit("two")]
    call = await model.arrived()
    bob.stop()
    bob.stop()
    with pytest.raises(SessionClosed, match=r"bob was stopped; `%agent resume bob` lets it work again"):
        bob.submit("three")
    await settled(*runs)
    assert call.closed.is_set()
    assert {run.status for run in runs} == {"cancelled"}
    assert bob.state.label == "stopped"
    bob.resume()
    following = bob.submit("four")
    (await model.arrived()).release()
    await following


async def test_an_illegal_pause_changes_nothing(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    bob.stop()
    with pytest.raises(SessionError, match="'pause' is illegal while idle/stopped"):
        bob.pause()
    assert bob.state.label == "stopped"


async def test_an_idle_session_has_no_task_and_no_timer(runtime: Runtime) -> None:
    sessions = [hire(runtime, EchoModel(), f"a{number}") for number in range(50)]
    await settled(*[session.submit("hello", timeout_s=60) for session in sessions])
    await quiet()
    loop = asyncio.get_running_loop()
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert all(handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]


# History


async def test_no_agent_sees_the_history_of_another(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="noted")])
    bob, eve = hire(runtime, model), hire(runtime, model, "eve")
    await bob.submit("my secret is 42")
    await eve.submit("what is it?")
    assert "42" not in str(list(model.requests[-1].messages))
    assert eve.history == (UserMessage("what is it?"), AssistantMessage("noted"))
    await bob.submit("again")
    assert "42" in str(list(model.requests[-1].messages))
    assert "what is it" not in str(model.requests[-1].messages)


async def test_a_run_after_a_reset_starts_without_history(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="noted")])
    bob = hire(runtime, model)
    await bob.submit("one")
    bob.reset()
    heard = observed_by(runtime)
    await bob.submit("two")
    assert [type(message).__name__ for message in model.requests[-1].messages] == ["SystemMessage", "UserMessage"]
    assert (heard[0].event, heard[0].run) == (HistoryReset(), None)
    assert bob.history == (UserMessage("two"), AssistantMessage("noted"))


async def test_a_reset_during_a_run_keeps_the_turns_of_that_run(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    first = bob.submit("one")
    (await model.arrived()).release()
    await first
    run = bob.submit("two")
    call = await model.arrived()
    bob.reset()
    await published(runtime, HistoryReset)
    call.release()
    await run
    assert bob.history == (UserMessage("two"), AssistantMessage("partial and done"))


async def test_a_fork_begins_with_a_copy_of_the_history_and_then_diverges(runtime: Runtime) -> None:
    bob = hire(runtime, SAY, system_prompt="be brief")
    await bob.submit("one")
    eve = bob.fork("eve")
    assert runtime["eve"] is eve
    assert (eve.agent.system_prompt, eve.history) == ("be brief", bob.history)
    await eve.submit("two")
    assert len(bob.history) == 2
    assert len(eve.history) == 4
    with pytest.raises(ConfigError, match="an agent named 'eve' exists already; fork under another name"):
        bob.fork("eve")
    with pytest.raises(ConfigError, match="agent name 'not a name' is not a letter"):
        bob.fork("not a name")


async def test_a_revision_keeps_the_history_and_the_current_run(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model, system_prompt="old")
    run = bob.submit("one")
    call = await model.arrived()
    bob.revise(Agent(name="bob", config=bob.agent.config, system_prompt="new"))
    record = await published(runtime, AgentRevised)
    assert (record.event, bob.revision) == (AgentRevised(2), 2)
    bob.revise(Agent(name="bob", config=bob.agent.config, system_prompt="new"))
    assert bob.revision == 2
    call.release()
    await run
    following = bob.submit("two")
    call = await model.arrived()
    assert call.request.messages[0].text == "new"
    assert len(call.request.messages) == 4
    call.release()
    await following


async def test_a_revision_cannot_change_the_name(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    with pytest.raises(ConfigError, match="bob cannot become eve"):
        bob.revise(Agent(name="eve"))
    assert bob.name == "bob"


# Dependencies


async def test_a_run_in_a_prompt_is_awaited_and_replaced_by_its_text(runtime: Runtime) -> None:
    model = HeldModel()
    bob, eve = hire(runtime, model), hire(runtime, SAY, "eve")
    first = bob.submit("one")
    second = eve.submit(["he said: ", first, "."])
    call = await model.arrived()
    assert second.prompt == "he said: ⟨bob#1⟩."
    await at_rest()
    assert (second.status, second.needs, second.ready) == ("queued", (first,), False)
    call.release()
    assert await second == "he said: partial and done.!"
    assert second.prompt == "he said: partial and done."
    assert isinstance(second.events[1].event, RunStarted)
    assert second.events[1].event.prompt == second.prompt


async def at_rest() -> None:
    """Let the loop run until every task waits for an action of the test."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_a_session_whose_runs_wait_for_another_session_has_no_task(runtime: Runtime) -> None:
    model = HeldModel()
    bob, eve = hire(runtime, model), hire(runtime, SAY, "eve")
    bob.pause()
    needed = bob.submit("one")
    run = eve.submit([needed])
    await quiet()
    assert run.blocked == "it needs bob#1, and bob is paused (%agent resume bob)"
    bob.resume()
    (await model.arrived()).release()
    await run


@pytest.mark.parametrize("same_session", [True, False])
async def test_a_run_fails_with_the_failed_run_that_it_needs_and_names_it(runtime: Runtime, same_session: bool) -> None:
    bob = hire(runtime, ScriptedModel([Rule(error="no luck")]))
    eve = bob if same_session else hire(runtime, SAY, "eve")
    first = bob.submit("one")
    second = eve.submit(["see: ", first])
    third = eve.submit(["and: ", second])
    with pytest.raises(RunFailed, match=f"{second.id} failed: it needs bob#1, which failed: no luck"):
        await second
    with pytest.raises(RunFailed, match=f"it needs {second.id}, which failed: it needs bob#1"):
        await third
    await settled(first)


async def test_a_run_fails_if_the_run_that_it_needs_is_cancelled_and_names_it(runtime: Runtime) -> None:
    model = HeldModel()
    bob, eve = hire(runtime, model), hire(runtime, SAY, "eve")
    first = bob.submit("one")
    second = eve.submit([first])
    await model.arrived()
    first.cancel()
    with pytest.raises(RunFailed, match="eve#1 failed: it needs bob#1, which was cancelled"):
        await second


async def test_a_run_that_waits_for_another_can_be_cancelled(runtime: Runtime) -> None:
    model = HeldModel()
    bob, eve = hire(runtime, model), hire(runtime, SAY, "eve")
    first = bob.submit("one")
    second = eve.submit([first])
    call = await model.arrived()
    second.cancel()
    await settled(second)
    call.release()
    await first
    await quiet()
    assert second.status == "cancelled"


async def test_an_urgent_run_may_need_a_normal_run_of_its_own_session(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    normal = bob.submit("one")
    low = bob.submit("low", priority="low")
    urgent = bob.submit([normal, "?"], priority="urgent")
    assert await urgent == "one!?!"
    await low


async def test_runs_of_two_sessions_may_need_each_others_runs(runtime: Runtime) -> None:
    bob, eve = hire(runtime, SAY), hire(runtime, SAY, "eve")
    one = bob.submit("a", priority="low")
    two = eve.submit([one], priority="urgent")
    three = bob.submit([two], priority="urgent")
    four = eve.submit([three, one], priority="high")
    assert await four == "a!!!a!!"


async def test_a_finished_run_in_a_prompt_is_replaced_by_its_text(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    first = bob.submit("one")
    await first
    assert await bob.submit([first, " and ", first]) == "one! and one!!"


# Store and observers


async def test_every_event_is_stored_before_observers_receive_it(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(TALK), tools=(now,))
    late: list[Event] = []

    def check(record: Record) -> None:
        if not isinstance(record.event, TextStreamed) and record not in runtime.store.records():
            late.append(record.event)

    runtime.observe(check)
    await bob.submit("use now")
    assert late == []


async def test_deltas_are_observed_in_order_and_not_stored(runtime: Runtime) -> None:
    heard = observed_by(runtime)
    run = hire(runtime, ScriptedModel([Rule(reply="one two three")])).submit("hello")
    await run
    assert kinds_of(heard) == [
        "RunQueued", "RunStarted", "TextStreamed", "TextStreamed", "TextStreamed", "ModelReplied", "RunFinished",
    ]  # fmt: skip
    assert list(runtime.store.records()) == [one for one in heard if not isinstance(one.event, TextStreamed)]
    assert [one.seq for one in heard] == sorted({one.seq for one in heard})
    assert {(one.agent, one.run) for one in heard} == {("bob", "bob#1")}


async def test_deltas_never_overtake_an_event_that_is_being_stored() -> None:
    """The events of the session and those of its run are stored one at a time, in the order of publishing."""
    store = HeldStore(StateChanged)
    async with Runtime(environ={}, store=store) as runtime:
        model = HeldModel()
        bob = hire(runtime, model)
        run = bob.submit("hello")
        call = await model.arrived()
        heard = observed_by(runtime)
        bob.pause()
        await store.arrived.wait()
        call.release()
        await at_rest()
        assert heard == []
        store.released.set()
        await run
        assert kinds_of(heard) == ["StateChanged", "TextStreamed", "ModelReplied", "RunFinished"]
        assert [one.seq for one in heard] == sorted(one.seq for one in heard)


async def test_a_failing_observer_does_not_disturb_the_run_or_other_observers(
    runtime: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(record: Record) -> None:
        raise ZeroDivisionError

    runtime.observe(broken)
    heard = observed_by(runtime)
    with caplog.at_level(logging.ERROR, "whisper_nb"):
        await hire(runtime, SAY).submit("hello")
    assert len(heard) == 5
    assert len(caplog.records) == 1


def fails_once(kind: type[Event]) -> FailingStore:
    left = [1]

    def fails(record: Record) -> bool:
        return isinstance(record.event, kind) and bool(left) and bool(left.pop())

    return FailingStore(fails)


@pytest.mark.parametrize("kind", [RunQueued, RunStarted, ModelReplied, ToolFinished, StateChanged, RunFinished])
async def test_a_failing_store_fails_the_runs_and_the_session_stays_usable(
    kind: type[Event], caplog: pytest.LogCaptureFixture, complaints: list[str]
) -> None:
    async with Runtime(environ={}, store=fails_once(kind)) as runtime:
        bob = hire(runtime, ScriptedModel(TALK), tools=(now,))
        heard = observed_by(runtime)
        run = bob.submit("use now")
        if kind is StateChanged:
            bob.pause()
            bob.resume()
        with pytest.raises(RunFailed, match="no space left") as caught:
            await run
        assert isinstance(caught.value.__cause__, DiskFull)
        assert (bob.state.label, bob.current, bob.queue) == ("idle", None, ())
        # Whoever streams the run receives its end, although it is not stored.
        assert run.events[-1].event == RunFinished("failed", "no space left")
        assert kinds_of(heard)[-1] == "RunFinished"
        assert await bob.submit("hello") == "ok"
        assert len([bob.submit("room for all") for _ in range(QUEUE_LIMIT)]) == QUEUE_LIMIT
        bob.cancel()


async def test_a_store_that_ignores_cancellation_does_not_reach_other_agents(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its record comes after the run was given up, and after its runtime was closed."""
    reached, kept = asyncio.Event(), asyncio.Event()

    class Stubborn(MemoryStore):
        async def append(self, record: Record) -> None:
            await super().append(record)
            while isinstance(record.event, ModelReplied) and not kept.is_set():
                reached.set()
                with suppress(asyncio.CancelledError):
                    await kept.wait()

    first = Runtime(environ={}, store=Stubborn())
    run = hire(first, ScriptedModel(TALK)).submit("hello")
    await reached.wait()
    monkeypatch.setattr(runtimes, "GRACE_S", 0.05)
    with pytest.warns(RuntimeWarning, match="bob did not end"):
        await first.aclose()
    kept.set()
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)
    assert run.status == "cancelled"
    async with Runtime(environ={}) as second:
        model = ScriptedModel(TALK)
        carl = hire(second, model, "carl")
        await carl.submit("hello")
        assert [type(message) for message in model.requests[0].messages] == [SystemMessage, UserMessage]


async def test_lone_surrogates_of_a_prompt_are_replaced(runtime: Runtime) -> None:
    """Names of files have them; neither UTF-8 nor a store in JSON can hold them."""
    bob = hire(runtime, ScriptedModel([Rule(reply="fine")]))
    for prompt in ("file \udcff.txt", ["see ", "file \udcff.txt"]):
        run = bob.submit(prompt)
        await run
        assert run.prompt.endswith("file \ufffd.txt")
        for record in run.events:
            msgspec.json.encode(record)


async def test_removing_an_agent_that_does_not_exist_creates_none(runtime: Runtime) -> None:
    with pytest.raises(ConfigError, match="no agent named 'alice': nothing to remove"):
        runtime.remove("alice")
    assert runtime.get("alice") is None


async def test_a_reset_that_cannot_be_stored_holds(caplog: pytest.LogCaptureFixture, complaints: list[str]) -> None:
    async with Runtime(environ={}, store=fails_once(HistoryReset)) as runtime:
        bob = hire(runtime, ScriptedModel(TALK))
        await bob.submit("hello")
        heard = observed_by(runtime)
        bob.reset()
        assert list(bob.history) == []
        with pytest.raises(RunFailed, match="no space left"):
            await bob.submit("lost with the store")
        assert list(bob.history) == []
        assert kinds_of(heard)[0] == "HistoryReset"


async def test_a_store_that_keeps_failing_fails_all_waiting_runs(
    caplog: pytest.LogCaptureFixture, complaints: list[str]
) -> None:
    broken = [False]
    async with Runtime(environ={}, store=FailingStore(lambda _: broken[0])) as runtime:
        model = HeldModel()
        bob = hire(runtime, model)
        runs = [bob.submit("one"), bob.submit("two")]
        call = await model.arrived()
        broken[0] = True
        runs.append(bob.submit("three"))
        await settled(*runs)
        assert [run.status for run in runs] == ["failed"] * 3
        await call.closed.wait()
        assert "bob lost its store; its runs have failed" in caplog.text
        broken[0] = False
        following = bob.submit("four")
        (await model.arrived()).release()
        assert await following == "partial and done"
        assert bob.history == (UserMessage("four"), AssistantMessage("partial and done"))


async def test_a_run_that_failed_with_its_store_does_not_affect_the_next_run(complaints: list[str]) -> None:
    """Its tool suppresses cancellation: its late result is dropped."""
    broken, stubborn, go = [False], asyncio.Event(), asyncio.Event()

    async def hang() -> str:
        stubborn.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                stubborn.set()
        return "too late"

    async with Runtime(environ={}, store=FailingStore(lambda _: broken[0])) as runtime:
        model = ScriptedModel(TALK)
        bob = hire(runtime, model, tools=(hang,))
        run = bob.submit("use hang")
        await stubborn.wait()
        broken[0] = True
        bob.pause()
        await settled(run)
        broken[0] = False
        stubborn.clear()
        bob.resume()
        heard = observed_by(runtime)
        following = bob.submit("hello")
        go.set()
        assert await following == "ok"
        await quiet()
        assert {one.run for one in heard} <= {None, following.id}
        assert len(model.requests) == 2
        assert bob.history[-2:] == (UserMessage("hello"), AssistantMessage("ok"))


async def test_every_run_is_settled_when_the_event_loop_is_closed() -> None:
    """Without aclose, the tasks are cancelled, as asyncio.run does."""
    model = HeldModel()
    runtime = Runtime(environ={})
    bob = hire(runtime, model)
    runs = [bob.submit("one"), bob.submit("two")]
    call = await model.arrived()
    runs += [bob.submit(["three: ", *runs]), bob.submit("four", priority="urgent")]
    await at_rest()
    runs.append(bob.submit(["not even accepted: ", *runs]))
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    assert [run.status for run in runs] == ["cancelled"] * 5
    assert call.closed.is_set()
    assert [kinds_of(run.events).count("RunFinished") for run in runs] == [1] * 5
    assert all(isinstance(run.events[-1].event, RunFinished) for run in runs)


async def test_the_stored_events_give_the_history(runtime: Runtime) -> None:
    """The history's replies and results are those of the stored events."""
    bob = hire(runtime, ScriptedModel(TALK), tools=(now,))
    await bob.submit("use now")
    await bob.submit("hello")
    said = [
        record.event.message
        for record in runtime.store.records("bob")
        if isinstance(record.event, ModelReplied | ToolFinished)
    ]
    assert said == [message for message in bob.history if not isinstance(message, UserMessage)]


async def test_a_reply_without_usage_has_unknown_usage_and_cost(runtime: Runtime) -> None:
    async def uncounted(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("Hello")
        yield Finish("stop")

    run = hire(runtime, FunctionModel(uncounted)).submit("hello")
    assert await run == "Hello"
    assert (run.usage, run.cost) == (None, None)


# Random sequences of actions


class SlowStore(FailingStore):
    """Takes zero to two turns of the loop for a record, and fails for some, according to the test's numbers."""

    def __init__(self, numbers: random.Random, failures: float) -> None:
        super().__init__(lambda _: numbers.random() < failures)
        self._numbers = numbers

    async def append(self, record: Record) -> None:
        for _ in range(self._numbers.randrange(3)):
            await asyncio.sleep(0)
        await super().append(record)


def moody(numbers: random.Random) -> FunctionModel:
    """A model that answers, calls tools, ends early or fails, after some turns of the loop."""

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        for _ in range(numbers.randrange(4)):
            yield TextDelta(numbers.choice(["word ", "1"]))
            await asyncio.sleep(0)
        match numbers.randrange(8):
            case 0:
                raise ZeroDivisionError
            case 1:
                return
            case 2 | 3 | 4:
                for index in range(numbers.randrange(1, 4)):
                    yield CallDelta(index, f"c{index}", numbers.choice(["now", "rest", "trip"]), "{}")
        yield Finish("stop")

    return FunctionModel(stream)


async def rest() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def trip() -> None:
    raise ZeroDivisionError


def meddle(numbers: random.Random, session: Session, runs: list[Run]) -> None:
    """One random action on a session, or none."""
    match numbers.choice("sssssscccpprrxRV....."):
        case "s" if session.state.gate != "stopped":
            needs = numbers.sample(runs, min(len(runs), numbers.choice([0, 0, 1, 2])))
            timeout_s = numbers.choice([None, None, 0.0001])
            priority, fresh = numbers.choice(PRIORITIES), numbers.random() < 0.2
            output_type = numbers.choice([None, int])
            options: Any = {"priority": priority, "timeout_s": timeout_s, "fresh": fresh, "output_type": output_type}
            runs.append(session.submit(["go ", *needs], **options))
        case "c" if runs:
            numbers.choice(runs).cancel()
        case "p" if session.state.gate != "stopped":
            session.pause()
        case "r":
            session.resume()
        case "x":
            numbers.choice([session.stop, session.cancel])()
        case "R":
            session.reset()
        case "V":
            session.revise(replace(session.agent, system_prompt=f"{numbers.random()}"))


class Shadow:
    """Folds the records of sessions, each encoded and decoded, and compares the states with the live ones."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._states: dict[str, Projection[RunState]] = {}
        self._runs: dict[str, RunState] = {}
        self.differences: list[str] = []

    def observe(self, record: Record) -> None:
        copy = msgspec.json.decode(msgspec.json.encode(record), type=Record)
        if copy != record:
            self.differences.append(f"{record} was decoded as {copy}")
        run = self._runs.setdefault(copy.run, RunState(copy.run)) if copy.run else None
        self._states.setdefault(copy.agent, Projection()).apply(copy, run)

    def compare(self) -> None:
        """Compare every session as far as it has published."""
        for name, state in self._states.items():
            live, folded = facts(self._runtime[name]._journal.projection), facts(state)
            self.differences += [
                f"{name}: {live[key]} is not {folded[key]}" for key in live if live[key] != folded[key]
            ]


def facts(state: Projection[Any]) -> dict[str, object]:
    """A session's whole state, as values that can be compared."""
    return {
        "state": state.state,
        "current": state.current and state.current.id,
        "queue": [(run.id, run.priority, run.place) for run in state.queue],
        "history": list(state.history),
        "draft": state.draft_messages,
        "spent": state.spent,
        "runs": {id_: run_facts(run) for id_, run in state.runs.items()},
    }


def run_facts(run: RunState) -> tuple[object, ...]:
    text = run.text if run.outcome == "succeeded" else None  # a part of a reply is not stored
    return (
        run.number,
        run.queued,
        run.fresh,
        run.model,
        run.started_at,
        run.finished_at,
        run.outcome,
        run.failure,
        run.usage,
        run.cost,
        text,
    )


async def live(numbers: random.Random, failures: float) -> None:
    """Random work for three agents and random actions; when all is idle, the invariants must hold."""
    async with Runtime(environ={}, store=SlowStore(numbers, failures), max_concurrent_calls=2) as runtime:
        heard = observed_by(runtime)
        shadow = Shadow(runtime)
        runtime.observe(shadow.observe)
        team = [hire(runtime, moody(numbers), name, tools=(rest, trip), max_turns=4) for name in ("bob", "eve", "ann")]
        runs: list[Run] = []
        for _ in range(60):
            meddle(numbers, numbers.choice(team), runs)
            for _ in range(numbers.choice([0, 1, 2, 20])):
                await asyncio.sleep(0)
            shadow.compare()
        for session in team:
            session.resume()
        await settled(*runs)
        await quiet()
        shadow.compare()
        assert shadow.differences == []
        ends = [record.run for record in heard if isinstance(record.event, RunFinished)]
        assert sorted(map(str, ends)) == sorted(run.id for run in runs)
        for session in team:
            assert (session.state, session.current, session.queue) == (State(), None, ())
            assert_whole(session.history)
            own = [record.seq for record in heard if record.agent == session.name]
            assert own == sorted(own)
            for _ in range(QUEUE_LIMIT):
                session.submit("room for all").cancel()
        for run in runs:
            assert isinstance(run.events[-1].event, RunFinished)
            assert run.events[-1].event.outcome == run.status
            assert (run.output is None) is (run.status != "succeeded")
            assert run.output is None or isinstance(run.output, str if run.output_type is None else int)
            corrections = sum(isinstance(record.event, RunContinued) for record in run.events)
            assert corrections <= (0 if run.output_type is None else 2)


def assert_whole(history: Sequence[Message]) -> None:
    """Every prompt has a reply, every call is followed by its result, in order, and there are no other results."""
    left = list(history)
    for message, following in zip(left, [*left[1:], None], strict=False):
        assert not isinstance(message, UserMessage) or isinstance(following, AssistantMessage)
    while left:
        match left.pop(0):
            case AssistantMessage(_, calls):
                results = [left.pop(0) for _ in calls]
                assert [result.call_id for result in results if isinstance(result, ToolMessage)] == [
                    call.id for call in calls
                ]
            case other:
                assert isinstance(other, UserMessage)


@given(st.randoms(use_true_random=True), st.sampled_from([0.0, 0.0, 0.02]))
@settings(max_examples=15)
def test_in_any_sequence_of_actions_every_run_finishes_once_and_histories_are_whole(
    numbers: random.Random, failures: float
) -> None:
    asyncio.run(live(numbers, failures))


# Repeated and concurrent requests


async def test_repeated_cancel_and_stop_end_each_run_once(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(TALK))
    runs = [bob.submit(f"{number}") for number in range(3)]
    for _ in range(100):
        bob.cancel()
        bob.stop()
    await settled(*runs)
    ends = [record for run in runs for record in run.events if isinstance(record.event, RunFinished)]
    assert [record.event for record in ends] == [RunFinished("cancelled")] * 3


async def test_a_reset_has_taken_effect_when_it_returns(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(TALK))
    await bob.submit("hello")
    bob.reset()
    assert bob.history == bob.fork("rob").history == ()


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, asyncio.CancelledError])
async def test_an_observer_that_raises_an_exit_is_removed(
    runtime: Runtime, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    def observer(record: Record) -> None:
        raise error

    runtime.observe(observer)
    bob = hire(runtime, ScriptedModel(TALK))
    assert await bob.submit("hello") == "ok"
    assert "was removed" in caplog.text


async def test_the_last_published_state_is_the_current_state(runtime: Runtime) -> None:
    """A pause between the start of a run and its first turn: the turn waits before the pause is published."""
    bob = hire(runtime, SAY)
    heard = observed_by(runtime)
    runtime.observe(lambda record: bob.pause() if isinstance(record.event, RunStarted) else None)
    waits = published(runtime, StateChanged)
    run = bob.submit("hello")
    await waits
    while len([record for record in heard if isinstance(record.event, StateChanged)]) < 2:
        await published(runtime, StateChanged)
    assert heard[-1].event == StateChanged(bob.state) == StateChanged(State("waiting", "paused"))
    run.cancel()
    await settled(run)


async def test_moving_a_run_that_has_just_started_does_not_move_it(runtime: Runtime) -> None:
    bob = hire(runtime, model := HeldModel())
    run = bob.submit("hello")
    call = await model.arrived()
    moved = asyncio.ensure_future(published(runtime, RunMoved))
    await asyncio.sleep(0)
    bob._move_run(run, "high", None)  # as another thread may, which saw it in the queue
    await moved
    call.release()
    assert await run == "partial and done"
    assert run.priority == "normal"
