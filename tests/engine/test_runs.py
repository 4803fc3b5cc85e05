from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import copy
import gc
import pickle
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from support.doubles import FunctionModel, HeldModel, hire, kinds_of, published, quiet, settled
from whisper_nb import Rule, Run, RunCancelled, RunFailed, Runtime, ScriptedModel
from whisper_nb.core.errors import ConfigError, SessionError
from whisper_nb.core.events import Record, RunFinished, RunMoved, RunQueued
from whisper_nb.core.messages import CallDelta, Delta, Finish, Spent, TextDelta, Usage
from whisper_nb.engine.home import Home
from whisper_nb.models.model import Request
from whisper_nb.store.observers import Observers

SAY = ScriptedModel([Rule(match="(?s)(.*)", reply=r"\1!")])
#: "use TOOL" calls that tool; its result is the answer.
TOOLS = ScriptedModel(
    [Rule(role="tool", match="(?s)(.*)", reply=r"\1"), Rule(match="use (.*)", calls=[{"name": r"\1"}])]
)


# A run's values


async def test_str_of_a_run_is_its_output_or_its_id_and_status(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    run = bob.submit("hello")
    assert str(run) == "⟨bob#1 submitted⟩"
    await run
    assert f"{run}" == "hello!"
    bob.pause()
    cancelled = bob.submit("never")
    cancelled.cancel()
    await settled(cancelled)
    assert str(cancelled) == "⟨bob#2 cancelled⟩"


async def test_the_str_of_a_run_that_has_not_succeeded_is_not_sent(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    bob.pause()
    run = bob.submit("hello")
    for prompt in (f"Compare {run} please", ["Compare ", str(run)], f"id,answer\n1,{run}\n"):
        with pytest.raises(
            ConfigError, match=r"contains ⟨bob#1 \w+⟩, the text of a run that has not succeeded. Nothing"
        ):
            bob.submit(prompt)
    later = bob.submit(["Compare ", run, f" ⟨image 1⟩ {run.id} {run!r}"])
    bob.resume()
    await later
    assert later.prompt.startswith("Compare hello!")
    again = bob.submit(f"Compare {run} please")
    assert await again == "Compare hello! please!"


async def test_the_repr_of_a_run_is_one_short_line(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    assert repr(bob.submit("hello")) == "<Run bob#1 submitted: hello>"
    run = bob.submit("one\n  two\tthree " + "x" * 100)
    await run
    assert repr(run) == "<Run bob#2 succeeded: one two three " + "x" * 33 + "…>"
    assert run.session is bob


async def test_a_run_has_the_times_of_its_start_and_end(runtime: Runtime) -> None:
    model = HeldModel()
    run = hire(runtime, model).submit("hello")
    assert (run.started_at, run.finished_at, run.seconds) == (None, None, None)
    call = await model.arrived()
    assert run.started_at is not None
    assert run.started_at >= run.submitted_at
    assert run.seconds is not None
    assert run.seconds >= 0
    call.release()
    await run
    assert run.finished_at is not None
    assert run.seconds == run.finished_at - run.started_at


async def test_a_clock_that_goes_back_shows_no_negative_time(runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    model, real = HeldModel(), time.time
    run = hire(runtime, model).submit("hello")
    call = await model.arrived()
    monkeypatch.setattr(time, "time", lambda: real() - 3_600)
    assert run.seconds == 0
    call.release()
    await run
    assert run.seconds == 0


async def test_text_grows_as_it_streams_and_belongs_to_the_last_turn(runtime: Runtime) -> None:
    said: list[str] = []
    rules = [Rule(role="tool", reply="it is noon"), Rule(reply="let me see", calls=[{"name": "now"}])]

    def now() -> str:
        said.append(run.text)
        return "noon"

    run = hire(runtime, ScriptedModel(rules), tools=(now,)).submit("hello")
    runtime.observe(lambda _: said.append(run.text))
    assert run.text == ""
    await run
    assert list(dict.fromkeys(said)) == ["", "let", "let me", "let me see", "it", "it is", "it is noon"]


async def test_usage_and_cost_add_up_over_turns(runtime: Runtime) -> None:
    run = hire(runtime, replies((Usage(5, 1), 0.25), (Usage(7, 2), 0.5)), tools=(noop,)).submit("hello")
    assert (run.usage, run.cost, run.model) == (None, None, None)
    await run
    assert (run.usage, run.cost, run.model) == (Usage(12, 3), 0.75, "offline/bob")


@pytest.mark.parametrize("parts", [((None, None), (Usage(7, 2), 0.5)), ((Usage(5, 1), 0.25), (None, None))])
async def test_an_unknown_usage_or_cost_makes_the_sum_unknown(
    runtime: Runtime, parts: tuple[tuple[Usage | None, float | None], ...]
) -> None:
    run = hire(runtime, replies(*parts), tools=(noop,)).submit("hello")
    await run
    assert (run.usage, run.cost) == (None, None)


def noop() -> None: ...


def replies(*ends: tuple[Usage | None, float | None]) -> FunctionModel:
    """A model that calls a tool in every reply but the last, and says these tokens and costs."""
    left = list(ends)

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        usage, cost = left.pop(0)
        yield CallDelta(0, "c", "noop", "{}") if left else TextDelta("done")
        yield Finish("stop", usage, cost)

    return FunctionModel(stream)


async def test_an_aborted_call_makes_the_cost_unknown(runtime: Runtime) -> None:
    """The provider may bill the part that it produced: neither the run nor the session shows less than the cost."""
    model = HeldModel()
    runtime.models["openai/held"] = model
    runtime.configure("openai/held")
    bob = hire(runtime, SAY)
    whole, broken, unstarted = (bob.submit(text) for text in ("one", "two", "three"))
    (await model.arrived()).release()
    await whole
    assert (whole.usage, whole.cost) == (Usage(1, 2), 0.5)
    assert bob.spent == Spent(1, Usage(1, 2), 0.5)
    await model.arrived()
    unstarted.cancel()
    await settled(unstarted)
    assert bob.spent == Spent(2, Usage(1, 2), 0.5)
    broken.cancel()
    await settled(broken)
    assert (broken.usage, broken.cost) == (None, None)
    assert bob.spent == Spent(3, Usage(1, 2), 0.5, unpriced=1, uncounted=1)
    assert bob.spent.cost is None


async def test_an_aborted_second_call_makes_usage_and_cost_unknown(runtime: Runtime) -> None:
    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        if len(request.messages) > 2:
            raise ZeroDivisionError
        yield CallDelta(0, "c", "noop", "{}")
        yield Finish("stop", Usage(5, 1), 0.25)

    runtime.models["openai/mine"] = FunctionModel(stream)
    bob = hire(runtime, SAY, tools=(noop,))
    run = bob.submit("hello", config="openai/mine")
    await settled(run)
    assert (run.usage, run.cost, bob.spent.cost) == (None, None, None)


async def test_a_call_that_was_never_sent_costs_nothing(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(error="no luck")]))
    run = bob.submit("hello")
    await settled(run)
    assert (run.cost, bob.spent) == (0.0, Spent(1, Usage(), 0.0))


# Waiting for a run


async def test_a_run_can_be_awaited_repeatedly(runtime: Runtime) -> None:
    run = hire(runtime, SAY).submit("hello")
    assert [*await asyncio.gather(run, run)] == ["hello!", "hello!"]
    assert await run == "hello!"
    assert run.result() == "hello!"
    run.wait()


async def test_every_await_of_a_failed_or_cancelled_run_raises(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(error="no luck")]))
    failed, cancelled = bob.submit("one"), bob.submit("two")
    cancelled.cancel()
    for _ in range(2):
        with pytest.raises(RunFailed, match="bob#1 failed: no luck"):
            await failed
        with pytest.raises(RunCancelled, match="bob#2 was cancelled"):
            await cancelled
    with pytest.raises(RunFailed):
        failed.result()
    failed.wait()
    cancelled.wait()


async def test_cancelling_a_waiter_does_not_cancel_the_run(runtime: Runtime) -> None:
    model = HeldModel()
    run = hire(runtime, model).submit("hello")
    call = await model.arrived()
    waiter = asyncio.ensure_future(run)
    await asyncio.sleep(0)
    waiter.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run, 0.01)
    assert run.status == "running"
    call.release()
    assert await run == "partial and done"


async def test_result_works_in_another_thread(runtime: Runtime) -> None:
    model = HeldModel()
    run = hire(runtime, model).submit("hello")
    result = asyncio.ensure_future(asyncio.to_thread(run.result))
    (await model.arrived()).release()
    assert await result == "partial and done"


async def test_a_wait_in_another_thread_times_out_and_the_run_continues(runtime: Runtime) -> None:
    model = HeldModel()
    run = hire(runtime, model).submit("hello")
    call = await model.arrived()
    for wait in (run.wait, run.result):
        with pytest.raises(TimeoutError, match=r"bob#1 is running after 0\.01 s, and goes on"):
            await asyncio.to_thread(wait, 0.01)
    assert run.status == "running"
    call.release()
    await run


async def test_the_events_of_a_run_are_complete_when_its_result_is_available(runtime: Runtime) -> None:
    """Another thread that is woken by the end of the run finds its last event and its status."""
    bob = hire(runtime, SAY)
    found: list[tuple[str, str]] = []
    for _ in range(20):
        run = bob.submit("hello")
        run.on_done(lambda run=run: found.append((run.status, kinds_of(run.events)[-1])))  # type: ignore[misc]
        await run
    assert set(found) == {("succeeded", "RunFinished")}


async def test_a_run_can_be_awaited_on_another_loop(runtime: Runtime) -> None:
    model = HeldModel()
    run = hire(runtime, model).submit("hello")

    async def elsewhere() -> str:
        return await run

    result = asyncio.ensure_future(asyncio.to_thread(lambda: asyncio.run(elsewhere())))
    (await model.arrived()).release()
    assert await result == "partial and done"


async def test_blocking_the_loop_that_runs_the_agent_is_refused(runtime: Runtime) -> None:
    run = hire(runtime, SAY).submit("hello")
    with pytest.raises(SessionError, match=r"write `await run` instead"):
        run.result()
    await run


async def test_blocking_inside_an_agents_task_is_refused(runtime: Runtime) -> None:
    eve = hire(runtime, SAY, "eve")

    async def ask() -> str:
        return eve.submit("hello").result()

    text = await hire(runtime, TOOLS, tools=(ask,)).submit("use ask")
    assert "would block every agent: write `await run` for eve#1" in text
    await quiet()


async def test_a_plain_tool_in_its_thread_may_block(runtime: Runtime) -> None:
    eve = hire(runtime, SAY, "eve")

    def ask() -> str:
        return eve.submit("hello").result()

    assert await hire(runtime, TOOLS, tools=(ask,)).submit("use ask") == "hello!"


async def test_any_number_of_plain_tools_may_block_at_once(runtime: Runtime) -> None:
    """There are more than a pool has threads, and the runs that they wait for need threads for their tools, too."""
    helpers = [hire(runtime, TOOLS, f"helper{number}", tools=(noon,)) for number in range(40)]

    def boss(number: int) -> Run:
        def ask() -> str:
            return helpers[number].submit("use noon").result()

        return hire(runtime, TOOLS, f"boss{number}", tools=(ask,)).submit("use ask")

    assert await asyncio.gather(*map(boss, range(40))) == ["noon"] * 40


def noon() -> str:
    return "noon"


async def test_a_plain_tool_that_outlives_its_cancelled_run_delays_nothing(complaints: list[str]) -> None:
    """Its thread ends long after the run was cancelled and the loop was closed."""
    started, go = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def slow() -> str:
        loop.call_soon_threadsafe(started.set)
        go.wait()
        return "too late"

    async with Runtime(environ={}) as runtime:
        run = hire(runtime, TOOLS, tools=(slow,)).submit("use slow")
        await started.wait()
        run.cancel()
        await settled(run)
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "whisper_nb tool")
    assert thread.daemon
    go.set()
    await asyncio.to_thread(thread.join)


async def test_a_wait_that_only_a_user_could_end_is_refused() -> None:
    blocked: list[object] = []
    home = Home(asyncio.get_running_loop(), lambda *args: blocked.append(args))
    async with Runtime(environ={}, home=home) as runtime:
        bob, eve = hire(runtime, SAY), hire(runtime, SAY, "eve")
        bob.pause()
        first = bob.submit("one")
        second = eve.submit([first])
        with pytest.raises(
            SessionError, match=r"waiting for bob#1 would never end: bob is paused \(%agent resume bob\)"
        ):
            first.result()
        with pytest.raises(SessionError, match=r"waiting for eve#1 would never end: it needs bob#1, and bob is paused"):
            second.wait()
        for run in (first, second):
            with pytest.raises(SessionError, match=f"waiting for {run.id} would never end: .*bob is paused"):
                await run
            with pytest.raises(SessionError, match=f"waiting for {run.id} would never end: .*bob is paused"):
                async for _ in run.stream():
                    pass
        assert not blocked
        bob.resume()
        assert first.blocked is None
        second.wait(3.0)
        assert len(blocked) == 1
        await second
        assert second.blocked is None


async def test_a_callback_is_called_when_the_run_is_done(runtime: Runtime) -> None:
    called: list[str] = []
    run = hire(runtime, SAY).submit("hello")
    run.on_done(lambda: called.append(run.status))
    await run
    run.on_done(lambda: called.append("at once"))
    assert called == ["succeeded", "at once"]


# Deadlocks


async def test_a_tool_that_awaits_a_run_of_its_own_session_gets_an_error(runtime: Runtime) -> None:
    async def again() -> str:
        return await bob.submit("hello")

    bob = hire(runtime, TOOLS, tools=(again,))
    text = await bob.submit("use again")
    assert "bob#1 would wait for itself: bob#2 cannot start or end before it does" in text
    await settled(*bob.unfinished)


async def test_a_tool_that_awaits_its_own_run_gets_an_error(runtime: Runtime) -> None:
    async def me() -> str:
        return await run

    run = hire(runtime, TOOLS, tools=(me,)).submit("use me")
    assert "bob#1 would wait for itself" in await run


async def test_two_agents_that_wait_for_each_other_get_an_error(runtime: Runtime) -> None:
    async def ask_eve() -> str:
        return await eve.submit("use ask_bob")

    async def ask_bob() -> str:
        return await bob.submit("hello")

    bob, eve = hire(runtime, TOOLS, tools=(ask_eve,)), hire(runtime, TOOLS, "eve", tools=(ask_bob,))
    text = await bob.submit("use ask_eve")
    assert "eve#1 would wait for itself: bob#2" in text
    await settled(*bob.unfinished)


async def test_two_agents_whose_plain_tools_wait_for_each_other_get_an_error(runtime: Runtime) -> None:
    def ask_eve() -> str:
        return eve.submit("use ask_bob").result()

    def ask_bob() -> str:
        return bob.submit("hello").result()

    bob, eve = hire(runtime, TOOLS, tools=(ask_eve,)), hire(runtime, TOOLS, "eve", tools=(ask_bob,))
    text = await bob.submit("use ask_eve")
    assert "eve#1 would wait for itself: bob#2" in text
    await settled(*bob.unfinished)


async def test_a_cycle_through_one_of_several_concurrent_waits_is_refused(runtime: Runtime) -> None:
    """The wait that ends first does not hide the other."""
    asked = asyncio.Event()

    async def ask_both() -> str:
        slow = asyncio.ensure_future(eve.submit("use ask_bob")._wait())
        await ann.submit("hello")
        asked.set()
        return await slow

    async def ask_bob() -> str:
        await asked.wait()
        return await bob.submit("hello")

    ann = hire(runtime, SAY, "ann")
    bob, eve = hire(runtime, TOOLS, tools=(ask_both,)), hire(runtime, TOOLS, "eve", tools=(ask_bob,))
    assert "eve#1 would wait for itself: bob#2" in await bob.submit("use ask_both")
    await settled(*bob.unfinished)


async def test_a_cycle_of_a_wait_and_a_needed_run_is_refused(runtime: Runtime) -> None:
    """bob's tool awaits eve's run, which needs a run that is queued behind bob's own."""

    async def ask() -> str:
        return await eve.submit(["see: ", bob.submit("later")])

    bob, eve = hire(runtime, TOOLS, tools=(ask,)), hire(runtime, SAY, "eve")
    assert "bob#1 would wait for itself: eve#1" in await bob.submit("use ask")
    await settled(*bob.unfinished, *eve.unfinished)


@pytest.mark.parametrize("are_queued", [True, False])
async def test_a_cycle_of_a_wait_and_a_held_back_run_is_refused(runtime: Runtime, are_queued: bool) -> None:
    """The run that bob awaits is queued, or will be, behind one of eve's that needs a later run of bob's."""

    async def ask() -> str:
        held = eve.submit(["see: ", bob.submit("later")])
        if are_queued:
            await published(runtime, RunQueued, run=held)
        return await eve.submit("hello")

    bob, eve = hire(runtime, TOOLS, tools=(ask,)), hire(runtime, SAY, "eve")
    assert "bob#1 would wait for itself: eve#2" in await bob.submit("use ask")
    await settled(*bob.unfinished, *eve.unfinished)


async def test_agents_may_ask_each_other_one_after_the_other(runtime: Runtime) -> None:
    """No false alarm: two agents await the same third, and one awaits a chain."""

    async def ask() -> str:
        shared = ann.submit("hello")
        return " ".join(await asyncio.gather(shared, shared, eve.submit([shared, shared])))

    ann, eve = hire(runtime, SAY, "ann"), hire(runtime, SAY, "eve")
    bob, joe = hire(runtime, TOOLS, tools=(ask,)), hire(runtime, TOOLS, "joe", tools=(ask,))
    texts = await asyncio.gather(bob.submit("use ask"), joe.submit("use ask"))
    assert [*texts] == ["hello! hello! hello!hello!!"] * 2


async def test_a_task_that_a_tool_left_behind_may_wait_for_any_run_after_its_own_is_done(runtime: Runtime) -> None:
    left: list[asyncio.Task[str]] = []

    async def leave() -> str:
        async def later() -> str:
            await run
            following = bob.submit("hello")
            assert not following.done
            with pytest.raises(SessionError, match="write `await run` instead"):
                following.result()
            return await following

        left.append(asyncio.ensure_future(later()))
        return "left"

    bob = hire(runtime, ScriptedModel([*TOOLS.rules, Rule(reply="fine")]), tools=(leave,))
    run = bob.submit("use leave")
    with pytest.raises(SessionError):
        # `later` awaits its own run while that is at work: refused, as ever
        await run and await left[0]
    following = bob.submit("hello")
    assert await following == "fine"


# A run's records


async def test_the_stream_of_a_run_has_all_its_records_and_ends(runtime: Runtime) -> None:
    run = hire(runtime, ScriptedModel([Rule(reply="one two")])).submit("hello")
    records = [record async for record in run.stream()]
    assert kinds_of(records) == [
        "RunQueued", "RunStarted", "TextStreamed", "TextStreamed", "ModelReplied", "RunFinished",
    ]  # fmt: skip


async def test_a_late_stream_begins_with_the_stored_records_and_continues(runtime: Runtime) -> None:
    model = HeldModel()
    run = hire(runtime, model).submit("hello")
    call = await model.arrived()
    records: list[Record] = []
    async for record in run.stream():
        records.append(record)
        call.release()
    assert kinds_of(records) == ["RunQueued", "RunStarted", "TextStreamed", "ModelReplied", "RunFinished"]
    assert [record async for record in run.stream()] == run.events


async def test_an_end_that_comes_while_a_thread_subscribes_is_not_lost(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended, add = threading.Event(), Observers.add
    model = HeldModel()
    run = hire(runtime, model).submit("hello")
    call = await model.arrived()

    def late(self: Observers[Record], listen: Callable[[Record], object]) -> Callable[[], None]:
        ended.wait()
        return add(self, listen)

    monkeypatch.setattr(Observers, "add", late)
    subscribing = asyncio.create_task(asyncio.to_thread(run._subscribe, lambda _: None))
    call.release()
    await run
    ended.set()
    past, _, _ = await subscribing
    assert kinds_of(past)[-1] == "RunFinished"


async def test_a_record_that_is_delivered_twice_is_streamed_once(runtime: Runtime) -> None:
    """As may happen to a reader on another thread: once among the stored records and once among the new ones."""
    model = HeldModel()
    run = hire(runtime, model).submit("hello")
    call = await model.arrived()
    records: list[Record] = []
    async for record in run.stream():
        if not records:
            assert run._observers is not None
            run._observers.notify(run.events[0])
            call.release()
        records.append(record)
    assert len({record.seq for record in records}) == len(records) == 5


# A run's text


TURNS = ScriptedModel([
    Rule(role="tool", reply="Two rows."),
    Rule("table", reply="I look.", calls=[{"name": "rows"}]),
    Rule("fail", reply="So far and more", truncate=2),
    Rule("(.*)", reply=r"I heard: \1"),
])  # fmt: skip


def rows() -> int:
    """The number of rows."""
    return 2


@pytest.mark.parametrize("late", [False, True], ids=["at once", "late"])
@pytest.mark.parametrize(("prompt", "text"), [("hello", "I heard: hello"), ("a table", "I look.\n\nTwo rows.")])
async def test_a_stream_of_text_has_the_text_of_every_turn(
    runtime: Runtime, prompt: str, text: str, late: bool
) -> None:
    run = hire(runtime, TURNS, tools=(rows,)).submit(prompt)
    if late:
        await run
    pieces = [piece async for piece in run.stream_text()]
    assert "".join(pieces) == text
    assert (len(pieces) > 2) == (not late)
    assert [piece async for piece in run] == [piece async for piece in run.stream_text()]
    assert run.received


async def test_a_stream_of_text_that_begins_in_a_reply_has_all_of_it(runtime: Runtime) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("one ")
        yield TextDelta("two ")
        begun.set()
        await go.wait()
        yield TextDelta("three")
        yield Finish("stop")

    run = hire(runtime, FunctionModel(stream)).submit("count")
    await begun.wait()
    pieces = []
    async for piece in run:
        pieces.append(piece)
        go.set()
    assert pieces == ["one two ", "three"]


async def test_a_stream_of_a_failed_run_ends_with_its_text_and_its_failure(runtime: Runtime) -> None:
    run = hire(runtime, TURNS).submit("fail")
    for _ in ("while it runs", "later"):
        pieces: list[str] = []
        with pytest.raises(RunFailed, match="bob#1 failed: "):
            await append(pieces, run)
        assert "".join(pieces) == run.text != ""
    assert run.received


async def append(pieces: list[str], run: Run) -> None:
    async for piece in run:
        pieces.append(piece)  # noqa: PERF401 - those before an error count


async def test_a_stream_of_records_receives_a_failure_and_a_part_of_it_does_not(runtime: Runtime) -> None:
    run = hire(runtime, TURNS).submit("fail")
    async with aclosing(run.stream()) as stream:
        async for _ in stream:
            break
    assert not run.received
    assert isinstance((await collect(run))[-1].event, RunFinished)
    assert run.received


async def test_two_streams_of_a_run_are_independent(runtime: Runtime) -> None:
    model = HeldModel()
    run = hire(runtime, model).submit("hello")
    async with aclosing(run.stream()) as stream:
        async for record in stream:
            assert isinstance(record.event, RunQueued)
            break
    rest = asyncio.ensure_future(collect(run))
    (await model.arrived()).release()
    assert isinstance((await rest)[-1].event, RunFinished)


async def collect(run: Run) -> list[Record]:
    return [record async for record in run.stream()]


async def test_a_stream_can_be_read_on_another_loop(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(reply="one two three")]))
    for _ in range(5):
        run = bob.submit("hello")
        records = await asyncio.to_thread(lambda run=run: asyncio.run(collect(run)))  # type: ignore[misc]
        seqs = [record.seq for record in records]
        assert seqs == sorted(set(seqs))
        assert [record for record in records if record in run.events] == run.events


async def test_a_cancelled_run_ends_its_stream(runtime: Runtime) -> None:
    model = HeldModel()
    run = hire(runtime, model).submit("hello")
    await model.arrived()
    following = asyncio.ensure_future(collect(run))
    run.cancel()
    assert (await following)[-1].event == RunFinished("cancelled")


# References that a finished run keeps


class Output:
    """A large object that is reachable from the submitting cell's context."""


CELL: contextvars.ContextVar[Output | None] = contextvars.ContextVar("cell", default=None)


async def test_a_finished_run_keeps_no_reference_to_its_context(runtime: Runtime) -> None:
    """Runs are kept, but not the contexts of their cells, however the runs ended."""
    rules = [Rule(match="bad", error="no luck"), Rule(match="lag", delay_s=60), Rule(match="hello", reply="ok")]
    bob = hire(runtime, ScriptedModel([*rules, *TOOLS.rules]), tools=(noop,), max_turns=2)
    gone: dict[str, list[weakref.ref[Output]]] = {}

    async def cell(prompt: str, options: dict[str, Any]) -> Run:
        output = Output()
        gone.setdefault(f"{prompt} {options}", []).append(weakref.ref(output))
        CELL.set(output)
        run = bob.submit(prompt, **options)
        if prompt == "cancel":
            run.cancel()
        await settled(run)
        return run

    every: list[tuple[str, dict[str, Any]]] = [
        ("lag", {"timeout_s": 0.01}),
        ("lag", {"config": {"timeout_s": 0.01}}),
        ("lag", {"config": {"token_timeout_s": 0.01}}),
        ("hello", {"config": "offline/nobody"}),
        *(("hello", {}), ("use noop", {}), ("use nothing", {}), ("bad", {}), ("cancel", {})) * 9,
    ]
    runs: list[Run] = []
    for prompt, options in every:
        # In a context of its own, as ipykernel does.
        runs.append(await asyncio.create_task(cell(prompt, options), context=contextvars.Context()))
    await quiet()
    await asyncio.sleep(0)
    gc.collect()
    assert {run.status for run in runs} == {"succeeded", "failed", "cancelled"}
    assert all(run.context is None for run in runs)
    assert [kind for kind, outputs in gone.items() for output in outputs if output() is not None] == []


async def test_a_tool_runs_in_the_submitters_context(runtime: Runtime) -> None:
    cell: contextvars.ContextVar[str] = contextvars.ContextVar("cell")
    seen: list[tuple[str, str, bool]] = []

    def sync() -> None:
        seen.append(("sync", cell.get(), threading.current_thread() is threading.main_thread()))

    async def coroutine() -> None:
        seen.append(("coroutine", cell.get(), threading.current_thread() is threading.main_thread()))
        cell.set("changed by the tool")

    bob = hire(runtime, TOOLS, tools=(sync, coroutine))
    for number, name in enumerate(("sync", "coroutine", "sync")):
        cell.set(f"In[{number}]")
        run = bob.submit(f"use {name}")
        cell.set("meanwhile another")
        await run
    assert seen == [("sync", "In[0]", False), ("coroutine", "In[1]", True), ("sync", "In[2]", False)]
    assert cell.get() == "meanwhile another"


async def test_text_read_in_a_thread_loses_nothing(runtime: Runtime) -> None:
    pieces = [f"{number} " for number in range(2000)]

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        for piece in pieces:
            yield TextDelta(piece)
        await read.wait()
        raise ZeroDivisionError

    read = asyncio.Event()
    run = hire(runtime, FunctionModel(stream)).submit("hello")

    def reader() -> None:
        while len(run.text) < len("".join(pieces)):
            pass

    await asyncio.to_thread(reader)
    read.set()
    await settled(run)
    assert run.text == "".join(pieces)


async def test_a_queue_can_be_reordered(runtime: Runtime) -> None:
    bob = hire(runtime, model := HeldModel())
    bob.submit("first")
    call = await model.arrived()
    runs = [bob.submit(f"{number}") for number in range(3)]
    await published(runtime, RunQueued, run=runs[2])

    runs[2].move(before=runs[0])
    await published(runtime, RunMoved)
    assert bob.queue == (runs[2], runs[0], runs[1])
    runs[1].move(priority="urgent")
    await published(runtime, RunMoved)
    assert (bob.queue, runs[1].priority) == ((runs[1], runs[2], runs[0]), "urgent")
    runs[0].move(before=runs[1])
    await published(runtime, RunMoved)
    assert (bob.queue, runs[0].priority) == ((runs[0], runs[1], runs[2]), "urgent")

    call.release()
    for run in (runs[0], runs[1], runs[2]):
        call = await model.arrived()
        assert call.prompt == run.prompt
        call.release()
    await settled(*runs)


async def test_a_run_can_be_moved_before_it_is_accepted(runtime: Runtime) -> None:
    bob = hire(runtime, HeldModel())
    bob.pause()
    runs = [bob.submit(f"{number}") for number in range(3)]
    runs[2].move(before=runs[0])
    runs[1].move(priority="urgent")
    assert {run.status for run in runs} == {"submitted"}
    await published(runtime, RunMoved)
    assert bob.queue == (runs[1], runs[2], runs[0])
    bob.cancel()
    await settled(*runs)


async def test_only_a_queued_run_can_be_moved(runtime: Runtime) -> None:
    bob, amy = hire(runtime, model := HeldModel()), hire(runtime, HeldModel(), "amy")
    running = bob.submit("first")
    await model.arrived()
    queued, strange = bob.submit("second"), amy.submit("elsewhere")
    await published(runtime, RunQueued, run=queued)
    with pytest.raises(SessionError, match="bob#1 is not in the queue of bob"):
        running.move(priority="high")
    with pytest.raises(SessionError, match="amy#1 is not in the queue of bob"):
        queued.move(before=strange)
    for wrong in ({}, {"priority": "high", "before": queued}, {"before": queued}):
        with pytest.raises(ConfigError, match="bob#2: give either its priority, or another run"):
            queued.move(**wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="unknown priority 'first'"):
        queued.move(priority="first")  # type: ignore[arg-type]
    runtime.stop()
    await settled(running, queued, strange)


async def test_a_copy_of_a_handle_is_the_same_object(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(error="no more")]))
    run = bob.submit("hello")
    for handle in (run, bob, runtime):
        assert copy.copy(handle) is handle
    with pytest.raises(RunFailed, match="no more"):
        await copy.copy(run)


@pytest.mark.parametrize("use", [copy.deepcopy, pickle.dumps, lambda one: copy.deepcopy({"kept": [one]})])
async def test_a_handle_cannot_be_stored_or_copied_deeply(use: Callable[[object], object], runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    run = bob.submit("hello")
    await run
    with pytest.raises(TypeError, match=r"<Run bob#1 succeeded: hello>: .*run\.text"):
        use(run)
    with pytest.raises(TypeError, match=r"<Session bob .*session\.agent"):
        use(bob)
    with pytest.raises(TypeError, match="a Runtime: "):
        use(runtime)


async def test_a_task_of_a_run_says_what_to_write(runtime: Runtime) -> None:
    """`asyncio.Task`, in C, has no frame by which it can be known."""
    run = hire(runtime, SAY).submit("hello")
    with pytest.raises(TypeError, match="write `await run`"):
        asyncio.Task(run)  # type: ignore[arg-type]


async def test_asyncio_that_needs_a_task_says_what_to_write(runtime: Runtime) -> None:
    run = hire(runtime, SAY).submit("hello")
    why = r"write `await run` or asyncio.gather\(run\), or asyncio.ensure_future\(run\) where a task is needed"
    with pytest.raises(TypeError, match=rf"a coroutine was expected, got <Run bob#1 submitted: hello> \({why}"):
        await asyncio.create_task(run)  # type: ignore[arg-type]
    async with asyncio.TaskGroup() as group:
        with pytest.raises(TypeError, match=why):
            group.create_task(run)  # type: ignore[arg-type]
    with pytest.raises(AttributeError, match=f"<Run bob#1 submitted: hello> is no future: {why}"):
        await asyncio.wait([run])  # type: ignore[type-var]
    with pytest.raises(AttributeError, match=f"<Run bob#1 submitted: hello> is no future: {why}"):
        concurrent.futures.wait([run])  # type: ignore[list-item]
    assert repr(run) == "<Run bob#1 submitted: hello>"
    assert not hasattr(run, "anything")
    assert await asyncio.wait_for(asyncio.ensure_future(run), 300) == "hello!"
