"""Agents on an event loop in a thread: the same contracts from the main thread, and moves between loops."""

from __future__ import annotations

import asyncio
import contextvars
import socket
import sys
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from support.doubles import DiskFull, FailingStore, FunctionModel, hire, kinds_of
from support.provider import Provider
from whisper_nb import (
    Agent,
    AIConfig,
    ConfigError,
    Rule,
    Run,
    RunCancelled,
    RunFailed,
    Runtime,
    ScriptedModel,
    Session,
)
from whisper_nb.core.errors import SessionClosed, SessionError
from whisper_nb.core.events import Record, RunFinished, TextStreamed
from whisper_nb.core.messages import Delta, Finish, TextDelta, Usage
from whisper_nb.engine.home import Home
from whisper_nb.engine.waits import current_run
from whisper_nb.models.model import Request

RULES = [
    Rule("^long", "word " * 200, tokens_per_second=100),
    Rule("^forever", "never", delay_s=3600),
    Rule("^fail", error="no more"),
    Rule("^tool (?P<name>\\w+)", role="user", calls=[{"name": "\\g<name>"}]),
    Rule("(?s)(?P<result>.*)", "it said: \\g<result>", role="tool"),
    Rule("(?s)(?P<prompt>.*)", "heard: \\g<prompt>"),
]


@pytest.fixture
async def runtime(complaints: list[str]) -> AsyncIterator[Runtime]:
    """A runtime whose agents run in a thread.

    Neither the thread nor a task of it may be left when the test is over.
    """
    before = threading.active_count()
    async with Runtime(environ={}, loop="thread") as rt:
        yield rt
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert threading.active_count() == before or not [t for t in threading.enumerate() if t.name == "whisper_nb agents"]


@pytest.fixture
def bob(runtime: Runtime) -> Session:
    return hire(runtime, ScriptedModel(RULES))


async def first_token(run: Run) -> None:
    """Wait until the run has text."""
    async for record in run.stream():
        if isinstance(record.event, TextStreamed):
            return


def block(holds: Callable[[], bool]) -> None:
    """Block this thread, as a cell does, until this holds."""
    while not holds():
        time.sleep(0.001)


def notebook(loop: asyncio.AbstractEventLoop) -> Home:
    """A home whose tools may run on the main thread, as in a notebook; no cell waits on it."""
    return Home(loop, lambda loop, done, timeout: pytest.fail("nobody waits in a cell here"))


# The same contracts


async def test_agents_and_observers_run_in_the_agents_thread(runtime: Runtime, bob: Session) -> None:
    heard: list[str] = []
    runtime.observe(lambda record: heard.append(threading.current_thread().name))
    assert await bob.submit("hello") == "heard: hello"
    assert set(heard) == {"whisper_nb agents"}
    assert runtime.loop() == "thread"


async def test_chunks_arrive_while_the_main_thread_blocks(runtime: Runtime, bob: Session) -> None:
    chunks: list[Record] = []
    runtime.observe(lambda record: chunks.append(record) if isinstance(record.event, TextStreamed) else None)
    run = bob.submit("long")
    block(lambda: len(chunks) >= 80)
    run.cancel()


async def test_result_waits_on_the_main_thread(bob: Session) -> None:
    assert bob.submit("hello").result() == "heard: hello"
    run = bob.submit("forever")
    with pytest.raises(TimeoutError):
        run.wait(0.01)
    assert run.status in ("queued", "running")


async def test_a_cancelled_run_keeps_its_text(bob: Session) -> None:
    run, queued = bob.submit("long"), bob.submit("hello")
    await first_token(run)
    queued.cancel()
    run.cancel()
    for one in (run, queued):
        with pytest.raises(RunCancelled):
            one.result(5)
    assert run.text.startswith("word")
    assert (queued.text, bob.history, bob.queue) == ("", (), ())


async def test_stop_takes_effect_at_once(bob: Session) -> None:
    run = bob.submit("forever")
    bob.stop()
    assert bob.state.gate == "stopped"
    with pytest.raises(SessionClosed):
        bob.submit("hello")
    with pytest.raises(RunCancelled):
        await run
    bob.resume()
    assert await bob.submit("hello") == "heard: hello"


async def test_pause_and_resume_take_effect_at_once(bob: Session) -> None:
    bob.pause()
    assert bob.state.label == "paused"
    run = bob.submit("hello")
    with pytest.raises(SessionError, match="bob is paused"):
        run.result()
    assert run.status in ("submitted", "queued")
    bob.resume()
    assert await run == "heard: hello"


async def test_history_holds_whole_turns_and_can_be_reset(bob: Session) -> None:
    assert await bob.submit("one") == "heard: one"
    with pytest.raises(RunFailed, match="no more"):
        await bob.submit("fail")
    assert [message.text for message in bob.history if message.text] == ["one", "heard: one"]
    bob.reset()
    assert bob.history == ()


async def test_a_run_in_a_prompt_is_awaited(runtime: Runtime, bob: Session) -> None:
    amy = hire(runtime, ScriptedModel(RULES), "amy")
    first = bob.submit("one")
    assert await amy.submit(["then ", first]) == "heard: then heard: one"
    failed = bob.submit("fail")
    with pytest.raises(RunFailed, match=f"it needs {failed.id}"):
        await amy.submit([failed])


async def test_runs_start_by_priority_and_can_be_moved(bob: Session) -> None:
    bob.pause()
    runs = [bob.submit(str(number)) for number in range(3)]
    async for _ in bob.submit("urgent", priority="urgent").stream():
        break  # it is queued, and so are all before it
    runs[2].move(before=runs[0])
    bob.resume()
    await asyncio.gather(*runs)
    said = [message.text for message in bob.history if message.text and not message.text.startswith("heard")]
    assert said == ["urgent", "2", "0", "1"]


async def test_observers_receive_all_events_of_a_run_before_its_waiters_continue(
    runtime: Runtime, bob: Session
) -> None:
    finished: list[str | None] = []
    runtime.observe(lambda r: finished.append(r.run) if isinstance(r.event, RunFinished) else None)
    for number in range(1, 50):
        run = bob.submit("hello")
        run.wait(100)
        assert (len(finished), bob.spent.runs, len(bob.history)) == (number, number, 2 * number)


async def test_a_stream_that_is_read_on_another_loop_is_complete(bob: Session) -> None:
    for _ in range(20):
        run = bob.submit("a b c")
        records = [record async for record in run.stream()]
        text = "".join(record.event.text for record in records if isinstance(record.event, TextStreamed))
        assert text in ("heard: a b c", "")  # it may have been over already
        assert [record.seq for record in records] == sorted(record.seq for record in records)
        assert kinds_of(records)[-1] == "RunFinished"


async def test_agents_can_be_revised_forked_and_removed(runtime: Runtime, bob: Session) -> None:
    await bob.submit("one")
    assert runtime.create(Agent(name="bob", description="new", config=bob.agent.config)) is bob
    assert (bob.revision, len(bob.history)) == (2, 2)
    bob.configure(temperature=0.5)
    assert bob.config.temperature == 0.5
    fork = bob.fork("amy")
    assert fork.history == bob.history
    runtime.remove("bob")
    assert [session.name for session in runtime.sessions] == ["amy"]
    with pytest.raises(ConfigError, match="no agent named 'bob'"):
        runtime["bob"]


async def test_four_threads_may_submit_concurrently(runtime: Runtime, bob: Session) -> None:
    def work(number: int) -> str:
        return bob.submit(f"number {number}").result()

    with ThreadPoolExecutor(4) as pool:  # which blocks this thread
        assert list(pool.map(work, range(40))) == [f"heard: number {number}" for number in range(40)]


async def test_a_failing_store_fails_its_runs_and_ends_all_waits(complaints: list[str]) -> None:
    store = FailingStore(lambda record: record.run == "bob#2")
    async with Runtime(environ={}, loop="thread", store=store) as rt:
        bob = hire(rt, ScriptedModel(RULES))
        assert await bob.submit("hello") == "heard: hello"
        run = bob.submit("hello")
        with pytest.raises(RunFailed):
            run.result()
        assert isinstance(run.error, DiskFull)


async def test_a_tool_that_waits_for_its_own_run_is_refused(runtime: Runtime) -> None:
    def wait() -> str:
        "Wait for oneself."
        return runtime["bob"].submit("hello").result()

    async def look() -> str:
        "Block every agent."
        return runtime["amy"].submit("hello").result()

    bob = hire(runtime, ScriptedModel(RULES), tools=(wait, look))
    hire(runtime, ScriptedModel(RULES), "amy")
    assert "would wait for itself" in await bob.submit("tool wait")
    assert "write `await run` for amy#1" in await bob.submit("tool look")


async def test_a_finished_run_can_be_read_after_its_thread_has_ended() -> None:
    async with Runtime(environ={}, loop="thread") as rt:
        run = hire(rt, ScriptedModel(RULES)).submit("hello")
        await run
    assert run.result() == "heard: hello"
    run.cancel()
    assert len([record async for record in run.stream()]) == len(run.events)
    with pytest.raises(SessionClosed):
        rt.create(Agent(name="amy"))
    with pytest.raises(SessionClosed):
        rt["bob"].submit("hello")
    await rt.aclose()


async def test_closing_ends_all_unfinished_runs() -> None:
    async with Runtime(environ={}, loop="thread") as rt:
        runs = [hire(rt, ScriptedModel(RULES), name).submit("forever") for name in ("bob", "amy")]
        await asyncio.sleep(0.01)
        await rt.aclose()
    assert {run.status for run in runs} == {"cancelled"}


async def test_an_error_that_leaves_the_agents_loop_ends_no_agent(
    runtime: Runtime, bob: Session, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.home.call(sys.exit)
    assert await bob.submit("hello") == "heard: hello"
    assert "an exception left the agents" in caplog.text


def test_a_config_and_a_script_can_select_the_thread(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/main.yaml").write_text("loop: thread\n")

    async def where(**options: Any) -> str:
        async with Runtime(environ={}, **options) as rt:
            return rt.loop()

    assert asyncio.run(where()) == "notebook"
    assert asyncio.run(where(project=tmp_path)) == "thread"
    assert asyncio.run(where(project=tmp_path, loop="notebook")) == "notebook"
    with pytest.raises(ConfigError, match=r"unknown loop 'elsewhere'\. Allowed: notebook, thread"):
        asyncio.run(where(loop="elsewhere"))


# Tools


def place() -> tuple[str, str]:
    run = current_run.get()
    return threading.current_thread().name, run.id if run else ""


def plain() -> str:
    "Say where this is."
    return str(place())


async def coroutine() -> str:
    "Say where this is, after a while."
    await asyncio.sleep(0)
    return str(place())


def wrapped() -> object:
    "A plain function that gives a coroutine."
    return coroutine()


def leave() -> str:
    "Leave."
    sys.exit("left")


async def leave_later() -> str:
    "Leave."
    await asyncio.sleep(0)
    sys.exit("left")


def stop() -> str:
    "Stop."
    raise StopIteration


def of_notebook(*functions: Callable[..., object]) -> tuple[Callable[..., object], ...]:
    """The same functions, as if cells had defined them."""
    made = []
    for function in functions:
        copy = type(function)(function.__code__, function.__globals__, function.__name__)  # type: ignore[attr-defined]
        copy.__doc__, copy.__module__ = function.__doc__, "__main__"
        copy.__annotations__ = {"return": function.__annotations__["return"]}
        made.append(copy)
    return tuple(made)


async def outcome(rt: Runtime, tool: Callable[..., object]) -> str:
    bob = hire(rt, ScriptedModel(RULES), tools=(tool,))
    return (await bob.submit(f"tool {tool.__name__}")).removeprefix("it said: ")


async def test_a_tool_from_the_notebook_runs_on_the_main_thread_in_the_runs_context() -> None:
    async with Runtime(environ={}, home=notebook(asyncio.get_running_loop()), loop="thread") as rt:
        for number, tool in enumerate(of_notebook(plain, coroutine, wrapped), 1):
            assert await outcome(rt, tool) == f"('MainThread', 'bob#{number}')"


async def test_a_tool_from_a_module_does_not_run_on_the_main_thread() -> None:
    async with Runtime(environ={}, home=notebook(asyncio.get_running_loop()), loop="thread") as rt:
        assert await outcome(rt, plain) == "('whisper_nb tool', 'bob#1')"
        assert await outcome(rt, coroutine) == "('whisper_nb agents', 'bob#2')"


async def worked() -> str:
    await asyncio.sleep(0)
    return "worked"


def uses_asyncio_run() -> str:
    """Use asyncio as a script does."""
    return asyncio.run(worked())


def uses_a_runner() -> str:
    """Use asyncio as anyio does."""
    with asyncio.Runner() as runner:
        return runner.run(worked())


def uses_a_loop_of_its_own() -> str:
    """Use asyncio as older scripts do."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(worked())
    finally:
        loop.close()


@pytest.mark.parametrize("where", ["notebook", "thread"])
@pytest.mark.parametrize("module", ["__main__", "a_module"])
@pytest.mark.parametrize("tool", [uses_asyncio_run, uses_a_runner, uses_a_loop_of_its_own])
async def test_a_plain_tool_may_run_an_event_loop_on_both_loops(
    tool: Callable[[], str], where: str, module: str, complaints: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tool, "__module__", module)
    loop = asyncio.get_running_loop()
    async with Runtime(environ={}, home=notebook(loop), loop=where) as rt:
        for _ in range(2):
            assert await outcome(rt, tool) == "worked"
        assert asyncio.get_running_loop() is loop is asyncio.get_event_loop_policy().get_event_loop()


async def test_methods_of_an_object_and_tools_that_a_cell_made_run_on_the_main_thread() -> None:
    class Table:
        def rows(self) -> str:
            "Say where this is."
            return str(place())

    class Own:
        name = "own"
        schema = ScriptedModel  # replaced below

        async def __call__(self, arguments: dict[str, Any]) -> str:
            return str(place())

    Own.__module__ = "__main__"
    own = Own()
    async with Runtime(environ={}, home=notebook(asyncio.get_running_loop()), loop="thread") as rt:
        assert await outcome(rt, Table().rows) == "('MainThread', 'bob#1')"
        from whisper_nb.core.messages import ToolSchema

        own.schema = ToolSchema("own", "", {"type": "object"})  # type: ignore[assignment]
        bob = hire(rt, ScriptedModel(RULES), tools=(own,))  # type: ignore[arg-type]
        assert await bob.submit("tool own") == "it said: ('MainThread', 'bob#2')"


async def test_any_error_of_a_tool_on_the_main_thread_is_its_result() -> None:
    async with Runtime(environ={}, home=notebook(asyncio.get_running_loop()), loop="thread") as rt:
        said = [await outcome(rt, tool) for tool in of_notebook(leave, leave_later, stop)]
    assert [one.partition(" (")[0] for one in said] == [
        "error: SystemExit: left",
        "error: SystemExit: left",
        "error: RuntimeError: it raised StopIteration",
    ]


async def test_a_run_whose_tool_waits_for_the_main_thread_is_cancelled_at_once_and_the_tool_never_starts() -> None:
    started: list[str] = []

    def touch() -> str:
        "Touch."
        started.append("plain")
        return "done"

    async def touch_later() -> str:
        "Touch."
        started.append("coroutine")
        return "done"

    touch.__module__ = touch_later.__module__ = "__main__"
    async with Runtime(environ={}, home=notebook(asyncio.get_running_loop()), loop="thread") as rt:
        for tool in (touch, touch_later):
            bob = hire(rt, ScriptedModel(RULES), tools=(tool,))
            run = bob.submit(f"tool {tool.__name__}")
            block(lambda run=run: kinds_of(tuple(run.events))[-1:] == ["ToolStarted"])  # type: ignore[misc]
            run.cancel()
            block(lambda run=run: run.done)  # type: ignore[misc]
            assert run.status == "cancelled"
            await asyncio.sleep(0.01)
    assert started == []


async def test_a_coroutine_on_the_main_loop_is_cancelled_with_its_run() -> None:
    seen: list[str] = []

    async def hang() -> str:
        "Hang."
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise
        return ""

    hang.__module__ = "__main__"
    async with Runtime(environ={}, home=notebook(asyncio.get_running_loop()), loop="thread") as rt:
        for end in (Run.cancel, lambda run: None):  # the second by closing
            run = hire(rt, ScriptedModel(RULES), tools=(hang,)).submit("tool hang")
            async for record in run.stream():
                if kinds_of([record]) == ["ToolStarted"]:
                    break
            await asyncio.sleep(0.02)
            end(run)
            if run._cancelling:
                with pytest.raises(RunCancelled):
                    await run
    assert seen == ["cancelled"] * 2


# Moving


async def test_a_session_keeps_everything_when_it_moves_there_and_back(complaints: list[str]) -> None:
    async with Runtime(environ={}) as rt:
        bob = hire(rt, ScriptedModel(RULES))
        assert await bob.submit("one") == "heard: one"
        bob.pause()
        waiting = bob.submit("two")
        await asyncio.sleep(0.01)
        for where in ("thread", "thread", "notebook", "thread"):
            assert rt.loop(where) == rt.loop() == where
            assert (len(bob.history), bob.queue, bob.state.label) == (2, (waiting,), "paused")
        bob.resume()
        assert await waiting == "heard: two"
        assert rt.loop("notebook") == "notebook"
        assert await bob.submit("three") == "heard: three"
        assert len(bob.history) == 6
    assert [thread for thread in threading.enumerate() if thread.name == "whisper_nb agents"] == []


async def test_agents_at_work_cannot_move(runtime: Runtime, bob: Session) -> None:
    hire(runtime, ScriptedModel(RULES), "amy")
    run = bob.submit("forever")
    with pytest.raises(SessionError, match=r"bob is at work, and agents move .* at rest: .*%agent wait"):
        runtime.loop("notebook")
    assert runtime.loop() == "thread"
    run.cancel()
    run.wait(100)
    assert runtime.loop("notebook") == "notebook"


async def test_only_the_main_thread_moves_agents_and_only_to_a_known_place() -> None:
    async with Runtime(environ={}) as rt:
        with pytest.raises(SessionError, match="only by the main thread"):
            await asyncio.to_thread(rt.loop, "thread")
        with pytest.raises(ConfigError, match=r"unknown loop 'mars'\. Allowed: notebook, thread"):
            rt.loop("mars")
        assert rt.loop() == "notebook"


async def test_connections_are_closed_where_they_were_opened(runtime: Runtime) -> None:
    bob = runtime.create(Agent(name="bob"))
    assert (await bob.submit("hello")).startswith("You said: hello")
    assert runtime.models.opened
    runtime.loop("notebook")
    assert not runtime.models.opened
    assert (await bob.submit("hello")).startswith("You said: hello")
    with pytest.raises(SessionError, match=r"at the start: Runtime\(loop=…\)"):
        runtime.loop("thread")  # nothing here can wait for what is open on the running loop


async def test_connections_are_not_shared_between_loops(runtime: Runtime) -> None:
    async with Provider() as provider:
        bob = runtime.create(Agent(name="bob", config=AIConfig(model="ollama/test", api_base=provider.url)))
        assert await bob.submit("hello") == "Hello world"
        runtime.loop("notebook")
        assert await bob.submit("hello") == "Hello world"


async def test_work_that_other_threads_submit_during_moves_is_done(complaints: list[str]) -> None:
    async with Runtime(environ={}) as rt:
        sessions = [hire(rt, ScriptedModel(RULES), f"a{number}") for number in range(3)]
        over = threading.Event()

        def work(session: Session) -> int:
            count = 0
            while not over.is_set():
                assert session.submit("hello").result() == "heard: hello"
                count += 1
                time.sleep(0.001)
            return count

        with ThreadPoolExecutor(3) as pool:
            loop = asyncio.get_running_loop()
            jobs = [loop.run_in_executor(pool, work, session) for session in sessions]
            moves = 0
            while moves < 20:
                try:
                    rt.loop("notebook" if rt.loop() == "thread" else "thread")
                    moves += 1
                except SessionError:
                    pass
                await asyncio.sleep(0.001)
            over.set()
            assert all(await asyncio.gather(*jobs))


async def test_delayed_calls_are_made_at_once_on_the_new_loop() -> None:
    home = Home(asyncio.get_running_loop())
    happened: list[str] = []
    home.later(3600, lambda: happened.append(threading.current_thread().name))
    home.later(3600, lambda: happened.append("never"))()
    home.move("thread")
    home.do(lambda: None)
    assert happened == ["whisper_nb agents"]
    home.do(home.later, 3600, lambda: happened.append(threading.current_thread().name))
    home.move("notebook")
    await asyncio.sleep(0)
    assert happened == ["whisper_nb agents", "MainThread"]


async def test_a_socket_is_read_on_the_new_loop_after_a_move() -> None:
    home = Home(asyncio.get_running_loop())
    ours, theirs = socket.socketpair()
    heard: Future[str] = Future()

    def hear() -> None:
        home.unlisten(ours)
        heard.set_result(threading.current_thread().name)

    with ours, theirs:
        home.listen(ours, hear)
        home.move("thread")
        theirs.send(b"x")
        assert heard.result() == "whisper_nb agents"
        home.unlisten(ours)
        home.move("notebook")


async def test_a_refused_move_keeps_the_place() -> None:
    home = Home(asyncio.get_running_loop())

    def stay() -> None:
        raise SessionError("not now")

    with pytest.raises(SessionError, match="not now"):
        home.move("thread", stay)
    assert home.where == "notebook"
    home.move("thread")
    with pytest.raises(SessionError, match="not now"):
        home.move("notebook", stay)
    assert home.do(lambda: threading.current_thread().name) == "whisper_nb agents"
    home.move("notebook")


async def test_do_returns_the_functions_result_and_uses_the_callers_context() -> None:
    home, word = Home(asyncio.get_running_loop()), contextvars.ContextVar("word", default="")
    word.set("mine")
    assert await asyncio.to_thread(home.do, word.get) == "mine"
    home.move("thread")
    assert home.do(word.get) == "mine"
    with pytest.raises(ZeroDivisionError):
        home.do(lambda: 1 / 0)
    assert await asyncio.wrap_future(home.finish(asyncio.sleep(0, "done"))) == "done"
    assert home.run(asyncio.sleep(0, "done")) == "done"
    names: list[str] = []
    await asyncio.to_thread(home.call_main, lambda: names.append(threading.current_thread().name))
    home.call_main(names.append, "at once")
    await asyncio.sleep(0)
    assert sorted(names) == ["MainThread", "at once"]
    home.end()
    assert home.do(lambda: "by whoever asks") == "by whoever asks"
    with pytest.raises(SessionError, match="the event loop of these agents is closed"):
        home.call(pytest.fail)


async def test_closing_does_not_wait_for_a_blocked_loop(caplog: pytest.LogCaptureFixture) -> None:
    home, go_on = Home(asyncio.get_running_loop()), threading.Event()
    home.move("thread")
    home.call(go_on.wait)
    closed: list[bool] = []

    async def last() -> None:
        closed.append(True)

    await home.close(last(), 0.05)
    assert closed == []
    go_on.set()
    await asyncio.to_thread(home.end)
    assert home.loop.is_closed()


async def test_an_unfinished_task_is_cancelled_when_the_thread_ends() -> None:
    home, ended = Home(asyncio.get_running_loop()), threading.Event()
    home.move("thread")

    async def hang() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    home.finish(hang())
    home.do(lambda: None)
    home.end()
    assert ended.wait()


async def test_one_model_can_stream_for_fifty_agents(runtime: Runtime) -> None:
    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        for _ in range(20):
            await asyncio.sleep(0)
            yield TextDelta("x")
        yield Finish("stop", Usage(1, 1), 0.0)

    records: list[Record] = []
    runtime.observe(records.append)
    runs = [hire(runtime, FunctionModel(stream), f"a{number}").submit("go") for number in range(50)]
    assert await asyncio.gather(*runs) == ["x" * 20] * 50
    assert [record.seq for record in records] == sorted(record.seq for record in records)
