from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import suppress
from typing import Any

import pytest

from support.clock import forward
from support.doubles import FunctionModel, HeldModel, hire, kinds_of, observed_by, published, quiet, settled
from whisper_nb import Agent, AIConfig, ModelError, Rule, RunCancelled, RunFailed, Runtime, ScriptedModel
from whisper_nb.core.errors import LimitExceeded, TurnLimitExceeded
from whisper_nb.core.events import HistoryTrimmed, RunFinished, RunStarted, StateChanged, ToolFinished, ToolStarted
from whisper_nb.core.messages import (
    AssistantMessage,
    CallDelta,
    Delta,
    Finish,
    Message,
    SystemMessage,
    TextDelta,
    ToolMessage,
    ToolSchema,
    UserMessage,
)
from whisper_nb.models.model import Request
from whisper_nb.models.offline import EchoModel

#: "use A B" calls the tools A and B concurrently; after their results the reply is "all done".
TALK = [
    Rule(role="tool", reply="all done"),
    Rule(match=r"use (\w+) (\w+)", calls=[{"name": r"\1"}, {"name": r"\2"}]),
    Rule(match=r"use (\w+)", calls=[{"name": r"\1"}]),
    Rule(reply="ok"),
]


def now() -> str:
    """The time."""
    return "noon"


# A turn


async def test_a_request_has_messages_tools_and_config(runtime: Runtime) -> None:
    model = ScriptedModel(TALK)
    bob = hire(runtime, model, system_prompt="be brief", tools=(now,))
    run = bob.submit("use now", config=AIConfig(temperature=0.5))
    await run
    first, second = model.requests
    assert first.messages == [SystemMessage("be brief"), UserMessage("use now")]
    assert first.tools == [ToolSchema("now", "The time.", first.tools[0].parameters)]
    assert first.config.temperature == 0.5
    assert first.config.model == "offline/bob"
    reply, result = second.messages[2:]
    assert isinstance(reply, AssistantMessage)
    assert result == ToolMessage(reply.tool_calls[0].id, "now", "noon")
    assert bob.history == (*second.messages[1:], AssistantMessage("all done"))


async def test_the_events_of_a_run_with_tools(runtime: Runtime) -> None:
    run = hire(runtime, ScriptedModel(TALK), tools=(now,)).submit("use now")
    await run
    assert kinds_of(run.events) == [
        "RunQueued", "RunStarted", "ModelReplied", "ToolStarted", "ToolFinished", "ModelReplied", "RunFinished",
    ]  # fmt: skip
    assert run.events[1].event == RunStarted("use now", "offline/bob")


async def test_tool_calls_of_one_turn_run_concurrently(runtime: Runtime) -> None:
    both = asyncio.Barrier(2)

    async def ping() -> str:
        await both.wait()
        return "ping"

    async def pong() -> str:
        await both.wait()
        return "pong"

    run = hire(runtime, ScriptedModel(TALK), tools=(ping, pong)).submit("use ping pong")
    assert await run == "all done"


async def test_results_are_published_as_they_come_and_sent_in_call_order(runtime: Runtime) -> None:
    quick_done = asyncio.Event()

    async def slow() -> str:
        await quick_done.wait()
        return "slow"

    async def quick() -> str:
        quick_done.set()
        return "quick"

    model = ScriptedModel(TALK)
    bob = hire(runtime, model, tools=(slow, quick))
    heard = observed_by(runtime)
    await bob.submit("use slow quick")
    told = [record.event.message.text for record in heard if isinstance(record.event, ToolFinished)]
    assert told == ["quick", "slow"]
    for messages in (model.requests[-1].messages[1:], bob.history):
        assert [message.text for message in messages if isinstance(message, ToolMessage)] == ["slow", "quick"]


async def test_an_error_of_a_tool_is_its_result_and_the_run_continues(runtime: Runtime) -> None:
    def broken() -> None:
        raise ValueError("no such table")

    model = ScriptedModel([Rule(role="tool", match="(.*)", reply=r"sorry: \1"), *TALK])
    bob = hire(runtime, model, tools=(broken,))
    assert (await bob.submit("use broken")).startswith("sorry: error: ValueError: no such table (test_execution.py:")
    assert await bob.submit("use nothing") == "sorry: error: no tool named 'nothing'; there are: broken"


async def test_an_object_with_the_tool_protocol_can_be_called(runtime: Runtime) -> None:
    class Clock:
        name = "clock"
        schema = ToolSchema("clock", "The time.")

        async def __call__(self, arguments: dict[str, Any]) -> str:
            return "noon"

    model = ScriptedModel([Rule(role="tool", match="(.*)", reply=r"\1"), *TALK])
    assert await hire(runtime, model, tools=(Clock(),)).submit("use clock") == "noon"


async def test_a_tool_without_a_valid_schema_fails_the_run(runtime: Runtime) -> None:
    def strange(event: asyncio.Event) -> None: ...

    with pytest.raises(RunFailed, match=r"tool strange: .*asyncio\.locks\.Event"):
        await hire(runtime, EchoModel(), tools=(strange,)).submit("hello")


async def test_a_run_fails_after_max_turns(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(calls=[{"name": "now"}])])
    bob = hire(runtime, model, tools=(now,), max_turns=3)
    run = bob.submit("hello")
    with pytest.raises(
        TurnLimitExceeded, match="bob#1 failed: it wants more than 3 turns; raise max_turns of bob to allow it"
    ) as caught:
        await run
    assert (caught.value.reason, caught.value.limit, caught.value.used) == ("turns", 3, 3)
    assert caught.value.__cause__ is run.error is not caught.value
    assert len(model.requests) == 3
    # The completed turns stay in the history.
    assert [type(message).__name__ for message in bob.history[-2:]] == ["AssistantMessage", "ToolMessage"]


async def test_a_run_may_answer_in_its_last_allowed_turn(runtime: Runtime) -> None:
    assert await hire(runtime, ScriptedModel(TALK), tools=(now,), max_turns=2).submit("use now") == "all done"


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (Rule(reply="one two three", truncate=2), "the reply was cut off"),
        (Rule(reply="one two", finish="length"), "hit the token limit"),
        (Rule(reply="one two", finish="content_filter"), "content filter"),
    ],
)
async def test_an_incomplete_reply_fails_the_run_and_keeps_its_text(runtime: Runtime, rule: Rule, said: str) -> None:
    bob = hire(runtime, ScriptedModel([rule]))
    run = bob.submit("hello")
    with pytest.raises(RunFailed, match=said):
        await run
    assert run.text == "one two"
    assert bob.history == ()


async def test_half_a_tool_call_is_not_executed(runtime: Runtime) -> None:
    called: list[str] = []

    async def cut_off(request: Request) -> AsyncGenerator[Delta, None]:
        yield CallDelta(0, "c", "delete", '{"path": "/"}')

    def delete(path: str) -> None:
        called.append(path)

    with pytest.raises(RunFailed, match="cut off"):
        await hire(runtime, FunctionModel(cut_off), tools=(delete,)).submit("hello")
    assert called == []


# A full context


async def test_the_oldest_exchanges_are_left_out_visibly_and_stay_in_the_history(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="noted")], context_tokens=20)
    bob = hire(runtime, model, system_prompt="be brief")
    for number in range(4):
        await bob.submit(f"question {number} " + "word " * 5)
    run = bob.runs[-1]
    assert [record.event for record in run.events if isinstance(record.event, HistoryTrimmed)] == [HistoryTrimmed(4)]
    sent = model.requests[-1].messages
    assert [message.text.split()[1] for message in sent if isinstance(message, UserMessage)] == ["2", "3"]
    assert sent[0] == SystemMessage("be brief")
    assert len(bob.history) == 8


async def test_a_prompt_that_cannot_fit_is_refused_before_the_call(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="noted")], context_tokens=20)
    bob = hire(runtime, model, system_prompt="be brief")
    await bob.submit("hello")
    with pytest.raises(RunFailed, match=r"the prompt has 32 tokens and only 20 fit.*Nothing was sent") as caught:
        await bob.submit("word " * 30)
    assert isinstance(caught.value.__cause__, ModelError)
    assert not caught.value.__cause__.retryable
    assert len(model.requests) == 1
    assert await bob.submit("short again") == "noted"


async def test_room_for_the_reply_is_kept_free(runtime: Runtime) -> None:
    """The prompt fits alone, but not together with `max_tokens` of reply."""
    model = ScriptedModel([Rule(reply="noted")], context_tokens=500)
    bob = hire(runtime, model, system_prompt="be brief")
    await bob.submit("a b c d e f g h")
    run = bob.submit("one two", config=AIConfig(max_tokens=490))
    await run
    assert HistoryTrimmed(2) in [record.event for record in run.events]


@pytest.mark.parametrize(
    ("max_tokens", "words", "said"),
    [
        (490, 30, "the prompt has 32 tokens and only 10 fit beside max_tokens=490.*: lower max_tokens, shorten the"),
        (500, 3, "the prompt has 5 tokens and only 0 fit beside max_tokens=500.*: lower max_tokens"),
        (900, 3, "the prompt has 5 tokens and only 0 fit beside max_tokens=900.*: lower max_tokens"),
        (490, 600, "the prompt has 602 tokens and only 10 fit beside max_tokens=490.*: shorten the prompt"),
    ],
)
async def test_a_prompt_without_room_beside_the_reply_is_refused_for_max_tokens(
    runtime: Runtime, max_tokens: int, words: int, said: str
) -> None:
    model = ScriptedModel([Rule(reply="noted")], context_tokens=500)
    bob = hire(runtime, model, system_prompt="be brief")
    with pytest.raises(RunFailed, match=said):
        await bob.submit("word " * words, config=AIConfig(max_tokens=max_tokens))
    assert model.requests == []


async def test_the_arguments_of_calls_take_room_too(runtime: Runtime) -> None:
    async def write(request: Request) -> AsyncGenerator[Delta, None]:
        if isinstance(request.messages[-1], UserMessage) and request.messages[-1].text == "write":
            yield CallDelta(0, "c", "now", '{"text": "' + "word " * 600 + '"}')
        yield Finish("stop")

    bob = hire(runtime, FunctionModel(write, context_tokens=500), system_prompt="be brief", tools=(now,))
    run = bob.submit("write")
    with pytest.raises(RunFailed, match=r"the run, with its tool calls.*only 500 fit.*have its tools return less"):
        await run


async def test_one_character_may_be_several_tokens(runtime: Runtime) -> None:
    class Bytes(ScriptedModel):
        def count_tokens(self, messages: Any, tools: Any = ()) -> int:
            return sum(len(message.text.encode()) for message in messages)

    model = Bytes([Rule(reply="noted")], context_tokens=300)
    with pytest.raises(RunFailed, match="only 300 fit"):
        await hire(runtime, model, system_prompt="be brief").submit("🤯" * 100)


async def test_a_request_that_certainly_fits_is_not_counted(runtime: Runtime) -> None:
    class Uncounted(ScriptedModel):
        def count_tokens(self, messages: Any, tools: Any = ()) -> int:
            raise AssertionError("counting is slow")

    await hire(runtime, Uncounted([Rule(reply="ok")], context_tokens=100_000)).submit("hello")
    await hire(runtime, Uncounted([Rule(reply="ok")]), "eve").submit("word " * 100_000)


# Time limits


async def hang(request: Request) -> AsyncGenerator[Delta, None]:
    yield TextDelta("partial")
    await asyncio.Event().wait()


async def test_a_run_that_takes_too_long_fails_and_keeps_its_text(runtime: Runtime) -> None:
    run = hire(runtime, FunctionModel(hang)).submit("hello", timeout_s=0.05)
    with pytest.raises(
        LimitExceeded, match=r"bob#1 failed: it took too long: not complete after 0\.05 s; its text so far is in run\."
    ) as caught:
        await run
    assert (caught.value.reason, caught.value.limit) == ("time", 0.05)
    assert caught.value.used is not None
    assert run.text == "partial"


async def test_the_time_of_a_run_counts_from_its_start(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    first, second = bob.submit("one"), bob.submit("two", timeout_s=60)
    call = await model.arrived()
    forward(90)
    for _ in range(5):
        await asyncio.sleep(0)
    assert second.status == "queued"
    call.release()
    (await model.arrived()).release()
    await first
    assert await second == "partial and done"


async def test_a_tool_counts_towards_the_time_of_a_run(runtime: Runtime) -> None:
    cancelled: list[bool] = []

    async def slow() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    bob = hire(runtime, ScriptedModel(TALK), tools=(slow,))
    with pytest.raises(RunFailed, match="took too long"):
        await bob.submit("use slow", timeout_s=0.05)
    assert cancelled == [True]
    assert isinstance(bob.history[-1], ToolMessage)


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"token_timeout_s": 0.05}, r"offline/bob: nothing arrived for 0\.05 s; the call was closed"),
        ({"timeout_s": 0.05}, r"offline/bob: not complete after 0\.05 s; the call was closed"),
        (
            {"timeout_s": 0.05, "api_base": "http://127.0.0.1:1/v1"},
            r"not complete after 0\.05 s from http://127\.0\.0\.1:1/v1; the call was closed",
        ),
    ],
)
async def test_a_call_that_takes_too_long_is_closed(runtime: Runtime, limits: dict[str, Any], said: str) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    with pytest.raises(RunFailed, match=said) as caught:
        await bob.submit("hello", config=AIConfig(**limits))
    assert isinstance(caught.value.__cause__, ModelError)
    assert caught.value.__cause__.retryable
    assert model.calls[0].closed.is_set()
    assert model.in_flight == 0


async def test_a_steady_stream_does_not_exceed_the_token_timeout(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="one two three four five six seven eight", tokens_per_second=20)])
    assert await hire(runtime, model).submit("hello", config=AIConfig(token_timeout_s=0.3)) == model.rules[0].reply


async def test_a_timeout_error_of_the_model_keeps_its_message(runtime: Runtime) -> None:
    async def broken(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("half")
        raise TimeoutError("the proxy gave up")

    with pytest.raises(RunFailed, match="failed: the proxy gave up"):
        await hire(runtime, FunctionModel(broken)).submit("hello", timeout_s=60)


async def test_cancelling_a_run_with_time_limits_is_not_a_timeout(runtime: Runtime) -> None:
    model = HeldModel()
    run = hire(runtime, model).submit("hello", timeout_s=60, config=AIConfig(timeout_s=60, token_timeout_s=60))
    await model.arrived()
    run.cancel()
    await settled(run)
    assert run.status == "cancelled"


# A model or tool that cancels itself


async def elsewhere_cancelled() -> None:
    task = asyncio.ensure_future(asyncio.Event().wait())
    task.cancel()
    await task


async def test_a_tool_whose_own_task_was_cancelled_has_a_result(runtime: Runtime) -> None:
    async def trip() -> None:
        await elsewhere_cancelled()

    bob = hire(runtime, ScriptedModel([Rule(role="tool", match="(.*)", reply=r"\1"), *TALK]), tools=(trip,))
    assert "was cancelled" in await bob.submit("use trip")


async def test_a_tool_that_cancels_itself_fails_the_run_and_is_not_called_again(runtime: Runtime) -> None:
    called: list[bool] = []

    async def quit_all() -> None:
        called.append(True)
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    bob = hire(runtime, ScriptedModel(TALK), tools=(quit_all,))
    with pytest.raises(RunFailed, match="cancelled from within"):
        await bob.submit("use quit_all")
    assert called == [True]
    assert isinstance(bob.history[-1], ToolMessage)


async def test_a_model_that_cancels_itself_fails_the_run(runtime: Runtime) -> None:
    async def trip(request: Request) -> AsyncGenerator[Delta, None]:
        await elsewhere_cancelled()
        yield Finish("stop")

    with pytest.raises(RunFailed, match="bob#1 failed: something that it awaited was cancelled from within"):
        await hire(runtime, FunctionModel(trip)).submit("hello")


# Permits


@pytest.fixture
async def narrow(complaints: list[str]) -> Any:
    """A runtime that makes two model calls at a time."""
    async with Runtime(environ={}, max_concurrent_calls=2) as rt:
        yield rt


async def test_the_number_of_concurrent_model_calls_is_limited(narrow: Runtime) -> None:
    model = HeldModel()
    sessions = [hire(narrow, model, f"a{number}") for number in range(6)]
    runs = [session.submit("go") for session in sessions]
    most = 0
    for _ in runs:
        call = await model.arrived()
        most = max(most, model.in_flight)
        call.release()
    await settled(*runs)
    assert most == 2


async def test_a_run_that_waits_for_a_permit_is_waiting(narrow: Runtime) -> None:
    model = HeldModel()
    sessions = [hire(narrow, model, f"a{number}") for number in range(3)]
    runs = [session.submit("go") for session in sessions]
    calls = [await model.arrived(), await model.arrived()]
    assert [run.status for run in runs] == ["running", "running", "waiting"]
    assert sessions[2].state.label == "waiting"
    calls[0].release()
    last = await model.arrived()
    assert runs[2].status == "running"
    assert kinds_of(runs[2].events) == ["RunQueued", "RunStarted", "StateChanged", "StateChanged"]
    for call in (*calls, last):
        call.release()
    await settled(*runs)


async def test_a_run_that_executes_a_tool_holds_no_permit(narrow: Runtime) -> None:
    release = asyncio.Event()

    async def slow() -> str:
        await release.wait()
        return "done"

    team = [hire(narrow, ScriptedModel(TALK), f"a{number}", tools=(slow,)) for number in range(5)]
    heard = observed_by(narrow)
    runs = [session.submit("use slow") for session in team]
    while kinds_of(heard).count("ToolStarted") < 5:
        await published(narrow, ToolStarted)
    assert await hire(narrow, ScriptedModel(TALK), "eve").submit("hello") == "ok"
    release.set()
    await settled(*runs)


async def test_a_paused_run_holds_no_permit(narrow: Runtime) -> None:
    team = [hire(narrow, ScriptedModel(TALK), f"a{number}", tools=(now,)) for number in range(2)]
    drop = narrow.observe(
        lambda record: narrow[record.agent].pause() if isinstance(record.event, ToolStarted) else None
    )
    runs = [session.submit("use now") for session in team]
    while not all(run.status == "waiting" for run in runs):
        await published(narrow, StateChanged)
    drop()
    assert await hire(narrow, ScriptedModel(TALK), "eve").submit("hello") == "ok"
    for session in team:
        session.resume()
    await settled(*runs)


async def test_permits_are_fair_among_sessions(narrow: Runtime) -> None:
    """A session with a hundred runs does not delay a session with one run."""
    model = HeldModel()
    crowds = [hire(narrow, model, f"crowd{number}") for number in range(2)]
    runs = [crowd.submit("many") for _ in range(50) for crowd in crowds]
    first = [await model.arrived(), await model.arrived()]
    single = hire(narrow, model, "eve").submit("one")
    await published(narrow, RunStarted, run=single)
    for call in first:
        call.release()
    prompts = [(await model.arrived()).prompt, (await model.arrived()).prompt]
    assert "one" in prompts
    narrow.stop()
    await settled(*runs, single)


async def test_a_run_that_is_cancelled_while_waiting_holds_no_permit(narrow: Runtime) -> None:
    model = HeldModel()
    sessions = [hire(narrow, model, f"a{number}") for number in range(4)]
    runs = [session.submit("go") for session in sessions]
    calls = [await model.arrived(), await model.arrived()]
    while runs[3].status != "waiting":
        await published(narrow, StateChanged)
    runs[2].cancel()
    runs[0].cancel()
    await settled(runs[0], runs[2])
    calls.append(await model.arrived())
    assert model.in_flight == 2
    for call in calls:
        call.release()
    await settled(*runs)
    again = [session.submit("go") for session in sessions[:2]]
    for _ in again:
        (await model.arrived()).release()
    await settled(*again)


async def test_a_failed_call_releases_its_permit(narrow: Runtime) -> None:
    bob = hire(narrow, ScriptedModel([Rule(match="bad", error="no"), Rule(reply="ok")]))
    await settled(*[bob.submit("bad") for _ in range(5)])
    assert await bob.submit("good") == "ok"


async def test_the_current_run_keeps_the_spec_that_it_began_with(runtime: Runtime) -> None:
    def revise() -> str:
        return "old"

    first: list[Callable[[], str]] = [revise]
    model = ScriptedModel(TALK)
    bob = hire(runtime, model, tools=(first[0],), system_prompt="old")
    runtime.observe(
        lambda record: (
            bob.revise(Agent(name="bob", config=bob.agent.config, system_prompt="new"))
            if isinstance(record.event, ToolStarted)
            else None
        )
    )
    await bob.submit("use revise")
    assert [request.messages[0].text for request in model.requests] == ["old", "old"]
    await bob.submit("hello")
    assert model.requests[-1].messages[0].text == "new"
    assert model.requests[-1].tools == []
    await quiet()


# Hostile models, tools and observers


class RaisingModel(ScriptedModel):
    """Raises in the middle of a stream."""

    def __init__(self, error: BaseException) -> None:
        super().__init__([])
        self.error = error

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("so far")
        raise self.error


class Wordless(Exception):
    def __str__(self) -> str:
        raise ValueError("no words")


@pytest.mark.parametrize("error", [SystemExit(), GeneratorExit(), Wordless(), OSError("\ud83d")])
async def test_any_error_of_a_model_fails_its_run_and_nothing_else(runtime: Runtime, error: BaseException) -> None:
    bob = hire(runtime, RaisingModel(error))
    runs = [bob.submit("one"), bob.submit("two")]
    for run in runs:
        with pytest.raises(RunFailed) as caught:
            await run
        str(caught.value).encode()
        assert run.text == "so far"


@pytest.mark.parametrize("error", [KeyboardInterrupt, pytest.fail.Exception])
async def test_an_interrupt_or_a_test_outcome_in_a_model_reaches_the_waiter_of_the_run(
    runtime: Runtime, error: type[BaseException]
) -> None:
    bob = hire(runtime, RaisingModel(error("enough")))
    run, after = bob.submit("one"), bob.submit("two")
    for one in (run, after):
        with pytest.raises(error, match="enough"):
            await one
        assert (one.status, one.text) == ("cancelled", "so far")
    assert bob.state.label == "idle"


@pytest.mark.parametrize("error", [KeyboardInterrupt, pytest.fail.Exception])
async def test_an_interrupt_or_a_test_outcome_in_a_tool_reaches_the_waiter_of_the_run(
    runtime: Runtime, error: type[BaseException]
) -> None:
    async def raising() -> None:
        raise error("enough")

    bob = hire(runtime, ScriptedModel(TALK), tools=(raising,))
    with pytest.raises(error, match="enough"):
        await bob.submit("use raising")
    assert await bob.submit("hello") == "ok"


async def test_a_test_outcome_in_an_observer_ends_every_wait(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(TALK))
    drop = runtime.observe(lambda record: pytest.fail("no") if isinstance(record.event, RunFinished) else None)
    run, worker = bob.submit("one"), bob._worker
    assert worker is not None
    assert await run == "ok"
    with pytest.raises(pytest.fail.Exception, match="no"):
        await worker
    drop()
    assert await bob.submit("two") == "ok"


async def test_surrogate_pairs_in_deltas_are_joined_and_lone_surrogates_replaced(runtime: Runtime) -> None:
    class Halves(ScriptedModel):
        async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
            for half in ("a\ud83d", "\ude00b", "\ud83d"):
                yield TextDelta(half)
            yield Finish("stop")

    run = hire(runtime, Halves([])).submit("hello")
    assert await run == "a😀b\N{REPLACEMENT CHARACTER}"


async def test_a_stream_that_catches_its_cancellation_is_still_cancelled(runtime: Runtime) -> None:
    started = asyncio.Event()

    class Deaf(ScriptedModel):
        async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
            while True:
                yield TextDelta("on ")
                started.set()
                with suppress(asyncio.CancelledError):
                    await asyncio.get_running_loop().create_future()

    run = hire(runtime, Deaf([])).submit("hello")
    await started.wait()
    await asyncio.sleep(0)
    run.cancel()
    with pytest.raises(RunCancelled):
        await run


async def test_a_long_history_is_counted_once_as_long_as_it_certainly_fits(runtime: Runtime) -> None:
    class Counting(FunctionModel):
        counted = 0

        def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
            self.counted += 1
            return super().count_tokens(messages, tools)

    async def reply(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("word " * 20)
        yield Finish("stop")

    model = Counting(reply, context_tokens=1_000)
    bob = hire(runtime, model)
    for number in range(
        30
    ):  # 10 calls without counting, since bytes bound the tokens; then one count for several calls
        await bob.submit(f"{number}")
    assert 0 < model.counted < 20
    assert len(bob.history) == 60
