from __future__ import annotations

import asyncio
import gc
import logging
import re
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from support.doubles import FunctionModel, HeldModel, HeldStore, hire, kinds_of, observed_by, published, quiet, settled
from whisper_nb import Agent, AIConfig, ConfigError, Rule, RunCancelled, RunFailed, Runtime, ScriptedModel, Session
from whisper_nb.core.errors import EmptyReply, SessionClosed
from whisper_nb.core.events import AgentRevised, Record, RunFinished, RunQueued, ToolStarted
from whisper_nb.core.messages import Delta, Finish, TextDelta, Usage
from whisper_nb.models.model import Request
from whisper_nb.models.offline import EchoModel
from whisper_nb.store.memory import MemoryStore
from whisper_nb.team import runtimes

SAY = ScriptedModel([Rule(match="(?s)(.*)", reply=r"\1!")])
TALK = [Rule(role="tool", reply="done"), Rule(match="use (.*)", calls=[{"name": r"\1"}]), Rule(reply="ok")]


# Sessions


async def test_creating_the_same_spec_gives_the_same_session(runtime: Runtime) -> None:
    heard = observed_by(runtime)
    bob = runtime.create(Agent(name="bob"))
    assert runtime.create(Agent(name="bob")) is bob
    assert (bob.revision, runtime.sessions) == (1, (bob,))
    await quiet()
    assert heard == []


async def test_creating_another_spec_revises_the_agent_and_keeps_its_history(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    await bob.submit("hello")
    heard = observed_by(runtime)
    again = runtime.create(Agent(name="bob", system_prompt="other"))
    assert again is bob
    assert (bob.revision, len(bob.history)) == (2, 2)
    await quiet()
    assert [record.event for record in heard] == [AgentRevised(2)]


async def test_creating_a_stopped_agent_again_resumes_it(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    bob.stop()
    runtime.create(bob.agent)
    assert await bob.submit("hello") == "hello!"


async def test_creating_a_paused_agent_again_leaves_it_paused(runtime: Runtime) -> None:
    bob = hire(runtime, SAY)
    bob.pause()
    runtime.create(bob.agent)
    assert bob.state.label == "paused"


async def test_a_session_is_found_by_name(runtime: Runtime) -> None:
    with pytest.raises(
        ConfigError,
        match=r"no agent named 'bob'; known are alice, debbie, eamonn, patricia, tessa "
        r"\(make one with `%agent new bob`\)",
    ):
        runtime["bob"]
    bob, eve = runtime.create(Agent(name="bob")), runtime.create(Agent(name="eve"))
    assert runtime["bob"] is bob
    assert runtime.get("eve") is eve
    assert runtime.get("joe") is None
    assert runtime.sessions == (bob, eve)
    with pytest.raises(ConfigError, match="did you mean 'bob'"):
        runtime["bo"]
    with pytest.raises(ConfigError, match="known are bob, eve, alice"):
        runtime["zzz"]


@pytest.mark.parametrize("name", ["bob amy", "bob#9", "bob\n--all", ""])
async def test_a_name_that_no_agent_can_have_is_not_offered_to_be_made(runtime: Runtime, name: str) -> None:
    with pytest.raises(ConfigError) as told:
        runtime[name]
    assert "make one" not in str(told.value)
    assert "\n" not in str(told.value)


async def test_removing_an_agent_stops_and_forgets_it(runtime: Runtime) -> None:
    model = HeldModel()
    bob = hire(runtime, model)
    run = bob.submit("hello")
    await model.arrived()
    runtime.remove("bob")
    assert runtime.sessions == ()
    await settled(run)
    assert run.status == "cancelled"
    with pytest.raises(SessionClosed):
        bob.submit("hello")
    with pytest.raises(ConfigError, match="no agent named 'bob'"):
        runtime.remove("bob")


async def test_a_run_id_is_never_reused(runtime: Runtime) -> None:
    first = hire(runtime, SAY).submit("one")
    await first
    runtime.remove("bob")
    second = hire(runtime, SAY).submit("two")
    await second
    assert (first.id, second.id) == ("bob#1", "bob#2")
    assert [record.run for record in runtime.store.records(run="bob#2")] == ["bob#2"] * 4


async def test_stopping_all_agents_ends_every_run(runtime: Runtime) -> None:
    model = HeldModel()
    runs = [hire(runtime, model, f"a{number}").submit("go") for number in range(50)]
    for _ in runs:
        await model.arrived()
    await asyncio.to_thread(runtime.stop)
    await settled(*runs)
    assert model.in_flight == 0
    assert {session.state.label for session in runtime.sessions} == {"stopped"}


# Observers


async def test_observers_receive_all_sessions_records_each_in_order(runtime: Runtime) -> None:
    heard = observed_by(runtime)
    runs = [hire(runtime, EchoModel(), f"a{number}").submit(f"{turn}") for number in range(3) for turn in range(2)]
    await settled(*runs)
    assert [record.seq for record in heard] == list(range(1, len(heard) + 1))
    for run in runs:
        assert [one for one in heard if one.run == run.id and one in run.events] == run.events


async def test_an_observer_can_be_removed(runtime: Runtime) -> None:
    heard: list[Record] = []
    drop = runtime.observe(heard.append)
    bob = hire(runtime, SAY)
    await bob.submit("one")
    count = len(heard)
    drop()
    drop()
    await bob.submit("two")
    assert len(heard) == count


async def test_an_observer_may_submit_work(runtime: Runtime) -> None:
    """In the notification: a chain of agents without a tool."""
    bob, eve = hire(runtime, SAY), hire(runtime, SAY, "eve")

    def chain(record: Record) -> None:
        if isinstance(record.event, RunFinished) and record.agent == "bob":
            eve.submit(["checked: ", bob.runs[-1]])

    runtime.observe(chain)
    await bob.submit("hello")
    assert await eve.runs[-1] == "checked: hello!!"


# Config


async def test_each_layer_of_config_overrides_those_below(complaints: list[str]) -> None:
    environ: dict[str, str] = {}
    async with Runtime(environ=environ, config={"temperature": 1.0}) as runtime:
        agent = Agent(name="bob", config=AIConfig(max_tokens=5, temperature=0.2))
        assert runtime.resolve().model == "offline/echo"
        environ["OPENAI_API_KEY"] = "k"
        assert runtime.resolve(agent) == AIConfig(
            model="openai/gpt-4o-mini",
            max_tokens=5,
            temperature=1.0,
            timeout_s=600.0,
            token_timeout_s=120.0,
            retries=2,
            output_retries=2,
        )
        environ["WHISPER_MODEL"] = "groq/x"
        assert runtime.resolve(agent).model == "groq/x"
        agent = Agent(name="bob", config=AIConfig(model="mistral/y"))
        assert runtime.resolve(agent).model == "mistral/y"
        runtime.configure("openai/z")
        assert runtime.resolve(agent).model == "openai/z"
        assert runtime.resolve(agent).temperature is None
        call = AIConfig(model="gemini/v", timeout_s=3.0)
        assert runtime.resolve(agent, call).model == "gemini/v"
        assert runtime.resolve(agent, call).timeout_s == 3.0


async def test_configuring_adds_values_or_replaces_all(runtime: Runtime) -> None:
    runtime.configure(temperature=0.5)
    runtime.configure(max_tokens=7)
    assert (runtime.resolve().temperature, runtime.resolve().max_tokens) == (0.5, 7)
    runtime.configure({"max_tokens": 8}, timeout_s=2.0)
    assert (runtime.resolve().temperature, runtime.resolve().max_tokens, runtime.resolve().timeout_s) == (None, 8, 2.0)
    runtime.configure(offline="offline/other")
    assert (runtime.resolve().model, runtime.resolve().max_tokens) == ("offline/other", 8)
    runtime.configure(AIConfig())
    assert (runtime.resolve().model, runtime.resolve().max_tokens) == ("offline/other", None)


async def test_a_bad_config_changes_nothing(runtime: Runtime) -> None:
    before = runtime.resolve()
    for bad in ({"offline": "nonsense", "max_tokens": 1}, {"offline": "offline/x", "max_tokens": 0}):
        with pytest.raises(ConfigError):
            runtime.configure(**bad)  # type: ignore[arg-type]
    assert runtime.resolve() == before


@pytest.mark.parametrize(
    ("model", "says"),
    [
        ("nonsense/foo", "unknown provider 'nonsense'; docs.litellm.ai/docs/providers lists them"),
        ("bedrok/foo", "unknown provider 'bedrok'; did you mean 'bedrock'?"),
    ],
)
async def test_an_unknown_provider_is_told_when_an_agent_is_created(runtime: Runtime, model: str, says: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(says)):
        runtime.create(Agent("bob", model=model))
    assert runtime.sessions == ()
    with pytest.raises(RunFailed, match=re.escape(says)):
        await runtime.create(Agent("amy")).submit("hello", model=model)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        ("- match: '('\n  reply: x\n", "rules.yaml: rule 1: match '(' is not a regular expression"),
        ("- mtch: a\n", "rules.yaml: rule 1: unknown mtch"),
        (None, "rules.yaml: No such file"),
    ],
)
async def test_rules_that_are_wrong_are_told_when_an_agent_is_created(
    runtime: Runtime, tmp_path: Path, rules: str | None, says: str
) -> None:
    file = tmp_path / "rules.yaml"
    if rules is not None:
        file.write_text(rules)
    with pytest.raises(ConfigError, match=re.escape(says)):
        runtime.create(Agent("bob", model=f"offline/script:{file}"))
    assert runtime.sessions == ()
    file.write_text("- reply: x\n")
    assert await runtime.create(Agent("bob", model=f"offline/script:{file}")).submit("hello") == "x"


@pytest.mark.parametrize("name", ["bedrock/x", "veniceai/x", "offline/x", "mine/x", "openai/x"])
async def test_every_other_provider_is_accepted_when_an_agent_is_created(runtime: Runtime, name: str) -> None:
    runtime.models["mine/x"] = ScriptedModel([])
    assert runtime.create(Agent("bob", model=name)).agent.config.model == name


async def test_a_server_of_ones_own_may_have_any_provider(runtime: Runtime) -> None:
    runtime.configure(transport="wire", api_base="http://localhost:1/v1")
    assert runtime.create(Agent("bob", model="lab/x")).config.model == "lab/x"


async def test_only_an_agent_or_a_name_creates_a_session(runtime: Runtime) -> None:
    with pytest.raises(ConfigError, match=r"create\(\) takes an Agent, or the name of one: not 3"):
        runtime.create(3)  # type: ignore[arg-type]


async def test_the_repr_of_a_runtime_has_its_agents_runs_and_loop() -> None:
    async with Runtime(environ={}) as runtime:
        assert repr(runtime) == "<Runtime 0 agents, 0 running, 0 queued, loop notebook>"
        model = HeldModel()
        bob = hire(runtime, model)
        runs = [bob.submit("hello") for _ in range(3)]
        call = await model.arrived()
        assert repr(runtime) == "<Runtime 1 agent (bob), 1 running, 2 queued, loop notebook>"
        for number in range(12):
            runtime.create(Agent(f"agent{number}"))
        assert repr(runtime).startswith("<Runtime 13 agents (bob, agent0, ")
        assert "agent8, …), 1 running" in repr(runtime)
        bob.cancel()
        call.release()
        await settled(*runs)
    assert repr(runtime).startswith("<Runtime closed, 13 agents (bob, ")


async def test_handles_list_their_public_names_alone(runtime: Runtime) -> None:
    bob = hire(runtime, HeldModel())
    for handle, some in ((runtime, "create"), (bob, "submit"), (bob.submit("hello"), "stream_text")):
        assert some in dir(handle)
        assert [name for name in dir(handle) if name.startswith("_")] == []


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({}, r"configure\(\) sets nothing: give a model string, a dict, or fields"),
        ({"model": None}, r"configure\(model=None\) sets nothing: configure\({}\) ends .* drops the agents' own model"),
    ],
)
async def test_configure_of_nothing_is_an_error(runtime: Runtime, values: dict[str, Any], says: str) -> None:
    for configure in (runtime.configure, runtime.create(Agent("bob")).configure):
        with pytest.raises(ConfigError, match=says):
            configure(**values)


async def test_configure_takes_effect_from_the_next_run(runtime: Runtime) -> None:
    model = HeldModel()
    runtime.models["offline/held"] = model
    bob = runtime.create(Agent(name="bob"))
    runtime.configure("offline/held")
    run, following = bob.submit("one"), bob.submit("two")
    call = await model.arrived()
    runtime.configure("offline/echo")
    call.release()
    assert await run == "partial and done"
    assert (await following).startswith("You said: two")
    assert (run.model, following.model) == ("offline/held", "offline/echo")


async def test_configure_with_an_empty_config_ends_what_was_configured(runtime: Runtime) -> None:
    runtime.configure("openai/x", seed=7)
    runtime.configure({})
    assert (runtime.resolve().model, runtime.resolve().seed) == ("offline/echo", None)


async def test_an_invalid_model_in_the_environment_fails_only_agents_that_use_it(complaints: list[str]) -> None:
    async with Runtime(environ={"WHISPER_MODEL": "nonsense"}) as runtime:
        assert runtime.resolve(call=AIConfig(model="offline/echo")).model == "offline/echo"
        with pytest.raises(ConfigError, match="'nonsense'"):
            runtime.resolve()


def test_a_runtime_needs_a_running_loop() -> None:
    with pytest.raises(ConfigError, match="a Runtime needs a running event loop"):
        Runtime()


@pytest.mark.parametrize(
    "options", [{"max_concurrent_calls": 0}, {"config": "nonsense"}, {"offline": "nonsense"}, {"config": 5}]
)
async def test_invalid_options_of_a_runtime_are_an_error(options: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        Runtime(**options)  # type: ignore[arg-type]


# Closing


class Ledger(MemoryStore):
    """Records that it was closed, and refuses records after that."""

    closed = 0

    async def append(self, record: Record) -> None:
        assert not self.closed
        await super().append(record)

    async def aclose(self) -> None:
        self.closed += 1


async def test_closing_leaves_no_task_and_settles_every_run(complaints: list[str]) -> None:
    store = Ledger()
    async with aclosing(Runtime(environ={}, store=store)) as runtime:
        model = HeldModel()
        runs = [hire(runtime, model, f"a{number}").submit("go") for number in range(20) for _ in range(3)]
        for _ in range(20):
            await model.arrived()
        runs.append(runtime["a1"].submit("late"))
        echo = runtime.create(Agent(name="echo"))
        await echo.submit("hello")
    assert {run.status for run in runs} == {"cancelled"}
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert (model.in_flight, store.closed) == (0, 1)
    with pytest.raises(SessionClosed):
        runtime["a1"].submit("too late")
    await runtime.aclose()


async def test_a_run_that_nobody_awaited_is_named_by_a_warning_when_its_runtime_ends() -> None:
    waits: set[asyncio.Future[object]] = set()

    async def leave() -> None:
        async with Runtime(environ={}) as runtime:
            model = HeldModel()
            runs = [hire(runtime, model, name).submit("go") for name in ("bob", "amy", "eve", "joe")]
            runs[1].cancel()
            waits.update({asyncio.ensure_future(runs[2]), asyncio.ensure_future(anext(runs[3].stream()))})
            await hire(runtime, ScriptedModel([Rule(reply="fine")]), "ann").submit("hello")

    why = "bob#1 ended with the Runtime, unfinished, and nobody awaited it: write `await run` inside of `async with"
    with pytest.warns(RuntimeWarning, match=why) as warned:
        await leave()
    assert [one.filename for one in warned] == [__file__]
    await asyncio.wait(waits)
    assert [type(one.exception()) for one in waits if one.exception()] == [RunCancelled]


async def test_an_error_that_ends_a_runtime_is_not_joined_by_a_warning() -> None:
    async def leave() -> None:
        async with Runtime(environ={}) as runtime:
            hire(runtime, HeldModel()).submit("go")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await leave()


async def test_an_unused_runtime_can_be_closed(complaints: list[str]) -> None:
    await Runtime(environ={}).aclose()


@pytest.mark.parametrize(
    "change",
    [
        lambda old: old.submit("hello"),
        lambda old: old.reset(),
        lambda old: old.revise(Agent(name="bob", system_prompt="another")),
        lambda old: old.pause(),
        lambda old: old.resume(),
        lambda old: old.configure(temperature=1),
    ],
)
async def test_a_removed_session_refuses_every_change(runtime: Runtime, change: Callable[[Session], object]) -> None:
    old = hire(runtime, SAY)
    await old.submit("hello")
    runtime.remove("bob")
    new = hire(runtime, SAY)
    heard, before = observed_by(runtime), (old.agent, old.configured, old.revision, old.history)
    with pytest.raises(SessionClosed, match=r"bob was removed\. Create it again with `%agent new bob`; .* rt\['bob'\]"):
        change(old)
    assert (old.agent, old.configured, old.revision, old.history) == before
    await new.submit("again")
    assert {record.run for record in heard if record.agent == "bob"} - {None} == {"bob#2"}
    assert not {"HistoryReset", "AgentRevised"} & set(kinds_of(heard))


async def test_closing_waits_for_removed_sessions_too(complaints: list[str]) -> None:
    ended: list[bool] = []

    async def stubborn(request: Request) -> AsyncGenerator[Delta, None]:
        try:
            yield TextDelta("partial")
            started.set()
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.02)  # a connection that takes its time to close
            ended.append(True)

    started = asyncio.Event()
    async with Runtime(environ={}) as runtime:
        hire(runtime, FunctionModel(stubborn)).submit("hello")
        await started.wait()
        runtime.remove("bob")
    assert ended == [True]
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_closing_names_a_tool_that_ignores_cancellation_and_does_not_wait_for_it(
    complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "GRACE_S", 0.05)
    go, calls = asyncio.Event(), list[str]()

    async def stubborn() -> str:
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                calls.append("ignored")
        return "too late"

    store, model = Ledger(), ScriptedModel(TALK)
    runtime = Runtime(environ={}, store=store)
    run = hire(runtime, model, tools=(stubborn,)).submit("use stubborn")
    queued = runtime["bob"].submit("next")
    eve = hire(runtime, EchoModel(), "eve")
    await published(runtime, ToolStarted)
    await asyncio.sleep(0)
    with pytest.warns(RuntimeWarning, match=r"bob did not end within 0\.05 s of being cancelled") as warned:
        await runtime.aclose()
    assert len(warned) == 1
    assert "ignored" in calls
    assert (run.status, queued.status, eve.state.label) == ("cancelled", "cancelled", "stopped")
    assert store.closed == 1
    go.set()
    await quiet()
    assert len(model.requests) == 1
    gc.collect()  # would tell of exceptions that nobody retrieved


async def test_closing_does_not_wait_for_a_store_that_hangs(
    complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runtimes, "GRACE_S", 0.05)
    store = HeldStore(RunQueued)
    runtime = Runtime(environ={}, store=store)
    run = hire(runtime, SAY).submit("hello")
    await store.arrived.wait()
    with pytest.warns(RuntimeWarning, match="bob did not end within"):
        await runtime.aclose()
    assert run.status == "cancelled"
    assert asyncio.all_tasks() == {asyncio.current_task()}


def test_a_script_that_does_not_close_its_runtime_ends_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """asyncio.run cancels the remaining tasks: every run that was running, or waited for one, is finished."""

    async def script() -> list[object]:
        runtime, model = Runtime(environ={}), HeldModel()
        bob, eve = hire(runtime, model), hire(runtime, SAY, "eve")
        ann, joe = hire(runtime, SAY, "ann"), hire(runtime, SAY, "joe")
        first = bob.submit("hello")
        chain = [first, bob.submit("more"), eve.submit([first])]
        for session in (ann, joe, ann):
            chain.append(session.submit([chain[-1], "?"]))
        await model.arrived()
        return [runtime, *chain]

    with caplog.at_level(logging.DEBUG, "asyncio"):
        _, *runs = asyncio.run(script())
        gc.collect()
    assert [run.done for run in runs] == [True] * len(runs)  # type: ignore[attr-defined]
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_runs_that_nobody_awaits_fail_without_a_log_message(
    runtime: Runtime, complaints: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """These runs are not awaited: they fail and are cancelled without a message."""
    bob = hire(runtime, ScriptedModel([Rule(match="bad", error="no luck"), *TALK]), tools=(fails,))
    for _ in range(20):
        bob.submit("bad")
        bob.submit("use fails").cancel()
        bob.submit("use fails", timeout_s=0.001)
        await settled(*bob.unfinished)
    await quiet()
    del bob
    gc.collect()
    await asyncio.sleep(0)
    assert complaints == []
    assert caplog.records == []


async def fails() -> None:
    raise ZeroDivisionError


async def test_three_hundred_agents_work_concurrently(runtime: Runtime) -> None:
    sessions = [hire(runtime, EchoModel(), f"a{number}") for number in range(300)]
    runs = [session.submit("hello") for session in sessions]
    await settled(*runs)
    assert {run.status for run in runs} == {"succeeded"}
    await quiet()


async def test_a_runtime_works_on_an_event_loop_in_another_thread() -> None:
    """Nothing assumes which thread the loop runs in: work is submitted, streamed and cancelled from this one."""
    loop, model = asyncio.new_event_loop(), HeldModel()
    made: list[Session] = []

    async def live() -> Runtime:
        runtime = Runtime(environ={})
        made.extend([hire(runtime, SAY), hire(runtime, model, "eve")])
        return runtime

    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        runtime = asyncio.run_coroutine_threadsafe(live(), loop).result(5)
        bob, eve = made
        assert await asyncio.to_thread(bob.submit("hello").result, 5) == "hello!"
        assert await bob.submit("again") == "again!"
        run = eve.submit("hello")
        asyncio.run_coroutine_threadsafe(model.arrived(), loop).result(5)
        run.cancel()
        records = [record async for record in run.stream()]
        assert records[-1].event == RunFinished("cancelled")
        asyncio.run_coroutine_threadsafe(runtime.aclose(), loop).result(5)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def test_a_complete_script_works() -> None:
    """The README's script, in its own interpreter, with warnings as errors."""
    script = """
import asyncio
import whisper_nb as wnb

async def main():
    async with wnb.Runtime(environ={}) as rt:
        bob = rt.create(wnb.Agent(name="bob"))
        first = bob.submit("hello", priority="high")
        print((await bob.submit(["again: ", first])).split(chr(10))[0])

asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-W", "error", "-X", "dev", "-c", script], capture_output=True, text=True)
    slow = "Executing <"  # what asyncio says of a step that took long, on a machine that does much else
    assert [line for line in done.stderr.splitlines() if not line.startswith(slow)] == []
    assert done.stdout == "You said: again: You said: hello\n"


async def test_a_failing_run_does_not_end_the_block_of_its_runtime() -> None:
    with pytest.raises(RunFailed):
        async with Runtime(environ={}) as runtime:
            await hire(runtime, ScriptedModel([Rule(error="no")])).submit("hello")
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_reply_without_text_succeeds_with_an_empty_output(runtime: Runtime) -> None:
    async def silent(request: Request) -> AsyncGenerator[Delta, None]:
        yield Finish("stop")

    heard = observed_by(runtime)
    assert await hire(runtime, FunctionModel(silent)).submit("hello", config={"allow_empty": True}) == ""
    assert kinds_of(heard) == ["RunQueued", "RunStarted", "ModelReplied", "RunFinished"]


async def test_an_empty_reply_is_retried_and_then_fails_the_run(runtime: Runtime) -> None:
    replies: list[str] = ["", "Hello", "", ""]

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta(replies.pop(0))
        yield Finish("stop", Usage(7, 0), 0.25)

    heard = observed_by(runtime)
    runtime.models["openai/mine"] = FunctionModel(stream)
    bob = runtime.create(Agent(name="bob", config=AIConfig(model="openai/mine", retries=1)))
    run = bob.submit("hello")
    assert await run == "Hello"
    assert "CallRetried" in kinds_of(heard)
    assert (run.usage, run.cost) == (Usage(14, 0), 0.5)  # an empty reply is billed, too
    run = bob.submit("hello")
    await settled(run)
    assert isinstance(run.error, EmptyReply)
    assert (run.cost, replies, len(bob.history)) == (0.5, [], 2)


async def test_a_closed_runtime_creates_no_sessions() -> None:
    async with Runtime(environ={}) as runtime:
        runtime.create(Agent(name="bob"))
    with pytest.raises(SessionClosed, match="closed: create a new one"):
        runtime.create(Agent(name="bob"))
