from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from support.doubles import hire
from whisper_nb import Agent, Rule, Run, Runtime, ScriptedModel
from whisper_nb.core.errors import SessionError
from whisper_nb.core.events import ToolStarted
from whisper_nb.engine.home import BLOCKED_S, Home
from whisper_nb.engine.visits import await_watched, wait_watched


async def test_here_is_true_only_in_the_loops_thread() -> None:
    home = Home(asyncio.get_running_loop())
    assert home.here
    assert await asyncio.to_thread(lambda: home.here) is False


async def test_a_call_from_the_loops_thread_is_made_at_once() -> None:
    called: list[int] = []
    Home(asyncio.get_running_loop()).call(called.append, 1)
    assert called == [1]


async def test_a_call_from_another_thread_is_made_on_the_loop() -> None:
    home = Home(asyncio.get_running_loop())
    done: asyncio.Future[int] = home.loop.create_future()
    await asyncio.to_thread(home.call, lambda: done.set_result(threading.get_ident()))
    assert await done == threading.get_ident()


def closed_home() -> Home:
    loop = asyncio.new_event_loop()
    loop.close()
    return Home(loop)


def test_a_closed_loop_takes_no_calls_from_its_own_thread() -> None:
    with pytest.raises(SessionError, match=r"the event loop of these agents is closed\. Create a new Runtime"):
        closed_home().call(pytest.fail)


def test_a_closed_loop_takes_no_calls_from_another_thread() -> None:
    home, caught = closed_home(), list[Exception]()

    def call() -> None:
        try:
            home.call(pytest.fail)
        except SessionError as error:
            caught.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert "closed" in str(caught[0])


def test_a_wait_for_work_of_a_closed_loop_is_an_error() -> None:
    done: Future[None] = Future()
    with pytest.raises(SessionError, match="closed"):
        closed_home().wait(done, None)


def test_a_submit_to_an_agent_whose_loop_is_closed_is_an_error() -> None:
    async def make() -> Runtime:
        runtime = Runtime(environ={})
        runtime.create(Agent(name="bob"))
        return runtime

    runtime = asyncio.run(make())
    with pytest.raises(SessionError, match="closed"):
        runtime["bob"].submit("hello")


def test_a_finished_run_can_be_read_after_its_loop_is_closed() -> None:
    async def make() -> Run:
        async with Runtime(environ={}, offline="offline/echo") as runtime:
            run = runtime.create(Agent(name="bob")).submit("hello")
            await run
            return run

    run = asyncio.run(make())
    run.cancel()
    run.wait()
    assert run.result().startswith("You said: hello")

    async def follow() -> int:
        return len([record async for record in run.stream()])

    assert asyncio.run(follow()) == len(run.events)


async def test_waiting_for_a_done_future_returns_at_once_in_every_thread() -> None:
    done: Future[None] = Future()
    done.set_result(None)
    Home(asyncio.get_running_loop()).wait(done, None)


async def test_another_thread_can_wait_for_a_future() -> None:
    home, done = Home(asyncio.get_running_loop()), Future[None]()
    waiting = asyncio.ensure_future(asyncio.to_thread(home.wait, done, None))
    home.loop.call_later(0.01, done.set_result, None)
    await waiting


async def test_a_wait_in_another_thread_times_out() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(Home(asyncio.get_running_loop()).wait, Future[None](), 0.01)


async def test_waiting_in_the_loops_thread_without_a_blocker_is_an_error() -> None:
    with pytest.raises(SessionError, match="write `await run` instead"):
        Home(asyncio.get_running_loop()).wait(Future[None](), None)


async def test_waiting_in_the_loops_thread_uses_the_blocker() -> None:
    asked: list[tuple[object, ...]] = []
    loop, done = asyncio.get_running_loop(), Future[None]()
    Home(loop, lambda *args: asked.append(args)).wait(done, 3.0)
    assert asked == [(loop, done, 3.0)]


async def test_another_threads_call_is_made_on_a_loop_that_turns() -> None:
    home = Home(asyncio.get_running_loop())
    assert await asyncio.to_thread(home.do, threading.get_ident) == threading.get_ident()


async def test_another_threads_call_is_made_there_while_the_loop_is_blocked() -> None:
    """For example, by a cell that waits for that thread."""
    home = Home(asyncio.get_running_loop())
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(home.do(threading.get_ident)))
    thread.start()
    thread.join()  # blocks the loop
    assert found == [thread.ident]
    await asyncio.sleep(0)
    assert found == [thread.ident]  # and once


async def test_tasks_that_another_threads_call_creates_begin_at_once() -> None:
    """The loop may be waiting for events again when the call, which began while a cell blocked it, has ended."""
    home, begun = Home(asyncio.get_running_loop()), asyncio.Event()
    is_slow = threading.Event()

    async def work() -> None:
        begun.set()

    def create() -> asyncio.Task[None]:
        is_slow.wait()
        return home.loop.create_task(work())

    calling = threading.Thread(target=home.do, args=(create,))
    calling.start()
    time.sleep(2 * BLOCKED_S)  # noqa: ASYNC251 (a cell that blocks)
    home.loop.call_later(0.01, is_slow.set)
    await begun.wait()
    calling.join()


async def test_a_failing_call_of_another_thread_raises_there() -> None:
    home = Home(asyncio.get_running_loop())
    with pytest.raises(ZeroDivisionError):
        await asyncio.to_thread(home.do, lambda: 1 / 0)


async def test_a_timer_is_forgotten_when_it_was_called_or_cancelled() -> None:
    home = Home(asyncio.get_running_loop())
    called: asyncio.Future[None] = home.loop.create_future()
    cancel = home.later(0.0, lambda: called.set_result(None))
    home.later(60.0, called.cancel)()
    await called
    cancel()
    assert not home._timers


async def test_agents_that_a_tool_creates_are_announced_on_the_loop(runtime: Runtime) -> None:
    """Plain tools run in threads of their own."""
    announced: list[int] = []
    runtime.observe_team(lambda _: announced.append(threading.get_ident()))

    def recruit() -> str:
        runtime.create(Agent(name="amy")).pause()
        return "created"

    bob = hire(
        runtime, ScriptedModel([Rule(role="tool", reply="done"), Rule(calls=[{"name": "recruit"}])]), tools=(recruit,)
    )
    await bob.submit("recruit")
    assert set(announced) == {threading.get_ident()}
    assert runtime["amy"].state.gate == "paused"


async def test_an_observer_does_not_run_in_the_context_of_the_cell_that_woke_the_agent(runtime: Runtime) -> None:
    cell: contextvars.ContextVar[str] = contextvars.ContextVar("cell", default="")
    seen: list[tuple[str | None, str]] = []
    runtime.observe(lambda record: seen.append((record.run, cell.get())))
    bob = hire(runtime, ScriptedModel([Rule(reply="done")]))

    def submit(number: str) -> Run:
        cell.set(number)
        return bob.submit("hello")

    runs = [contextvars.copy_context().run(submit, number) for number in ("one", "two")]
    for run in runs:
        await run
    assert {context for run, context in seen if run == runs[1].id} <= {"two", ""}


def on_a_loop_that_does_not_run(where: str = "notebook") -> tuple[Runtime, Run]:
    """A runtime as a startup file creates it, and a run that was submitted there."""
    runtime = Runtime(environ={}, home=Home(asyncio.new_event_loop()), loop=where)
    runtime.models["offline/test"] = ScriptedModel([Rule("(.*)", reply=r"heard: \1")])
    bob = runtime.create(Agent(name="bob", config="offline/test"))
    return runtime, bob.submit("hello")


async def ended(runtime: Runtime, run: Run) -> str:
    async with runtime:
        return await run


def test_work_from_before_the_loop_runs_is_done_once_it_runs() -> None:
    runtime, run = on_a_loop_that_does_not_run()
    assert (run.status, runtime["bob"].unfinished) == ("submitted", (run,))
    assert runtime.home.main.run_until_complete(ended(runtime, run)) == "heard: hello"
    runtime.home.main.close()


@pytest.mark.parametrize("where", ["notebook", "thread"])
def test_agents_follow_the_loop_that_runs_in_place_of_the_one_they_were_created_on(where: str) -> None:
    runtime, run = on_a_loop_that_does_not_run(where)
    called: list[int] = []
    runtime.home.do(runtime.home.later, 0.0, lambda: called.append(1))
    first = runtime.home.main
    first.close()

    async def main() -> str:
        assert runtime.follow(asyncio.get_running_loop())
        assert not runtime.follow(first)
        assert runtime.home.main is asyncio.get_running_loop()
        return await ended(runtime, run)

    assert asyncio.run(main()) == "heard: hello"
    assert called == [1]


def test_awaiting_on_a_loop_that_keeps_the_agents_loop_from_running_is_an_error() -> None:
    runtime, run = on_a_loop_that_does_not_run()
    with pytest.raises(SessionError, match=r"waiting for bob#1 would never end.*run\.result\(\)"):
        asyncio.run(run._wait())
    assert runtime.home.main.run_until_complete(ended(runtime, run)) == "heard: hello"
    runtime.home.main.close()


# Waits in other threads, while the main thread blocks


async def streamed(run: Run) -> str:
    return "".join([str(record) async for record in run.stream()])


WAITS: list[Callable[[Run], Any]] = [
    Run.result,
    lambda run: run.wait(timeout=3600),
    lambda run: asyncio.run(run._wait()),
    lambda run: asyncio.run(streamed(run)),
]


@pytest.mark.parametrize("wait", WAITS)
async def test_a_wait_in_a_thread_that_the_main_thread_waits_for_ends_with_the_remedy(
    wait: Callable[[Run], Any], complaints: list[str]
) -> None:
    home = Home(asyncio.get_running_loop(), stuck_s=0.05)
    async with Runtime(environ={}, home=home) as runtime:
        run = hire(runtime, ScriptedModel([Rule(reply="fine")])).submit("hello")
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(wait, run).exception()  # blocks the loop
        assert isinstance(error, SessionError)
        assert "waiting for bob#1 cannot go on: nothing has run the main thread's event loop for 0.05 s" in str(error)
        assert 'Runtime(loop="thread") lets agents run' in str(error)
        assert await run == "fine"


async def test_a_wait_for_a_tool_that_needs_the_blocked_main_thread_ends_with_the_reason(complaints: list[str]) -> None:
    began = threading.Event()

    def look() -> str:
        """Look."""
        return "seen"

    look.__module__ = "__main__"  # as if a cell had defined it
    home = Home(asyncio.get_running_loop(), block=lambda *_: None, stuck_s=0.05)
    async with Runtime(environ={}, home=home, loop="thread") as runtime:
        rules = [Rule("^go", role="user", calls=[{"name": "look"}]), Rule("(.*)", role="tool", reply=r"\1")]
        bob = hire(runtime, ScriptedModel(rules), tools=(look,))
        runtime.observe(lambda record: began.set() if isinstance(record.event, ToolStarted) else None)
        run = bob.submit("go")
        with ThreadPoolExecutor(1) as pool:
            error = pool.submit(run.result).exception()
        assert began.is_set()
        assert isinstance(error, SessionError)
        assert "and a tool needs that" in str(error)
        assert await run == "seen"


async def test_agents_in_a_thread_answer_a_wait_while_the_main_thread_blocks(complaints: list[str]) -> None:
    home = Home(asyncio.get_running_loop(), stuck_s=0.0)
    async with Runtime(environ={}, home=home, loop="thread") as runtime:
        run = hire(runtime, ScriptedModel([Rule(reply="fine")])).submit("hello")
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(run.result).result() == "fine"


async def test_a_watched_wait_goes_on_for_as_long_as_the_loop_runs() -> None:
    for use in ("thread", "loop"):
        checks: list[int] = []
        done: Future[None] = Future()

        def check(checks: list[int] = checks, done: Future[None] = done) -> None:
            checks.append(1)
            if len(checks) == 3:
                done.set_result(None)

        if use == "thread":
            await asyncio.to_thread(wait_watched, done, None, 0.0, lambda check=check: check)
        else:
            wrapped = asyncio.wrap_future(done)
            await await_watched(partial(asyncio.shield, wrapped), 0.01, lambda check=check: check)
        assert len(checks) >= 3
    with pytest.raises(TimeoutError):
        wait_watched(Future(), 0.02, 0.01, lambda: lambda: None)


class ForeignLoop(asyncio.AbstractEventLoop):
    """An event loop that is not asyncio's own, as uvloop's is not: no other loop can run inside of it."""

    def is_closed(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def call_soon_threadsafe(self, callback: Callable[..., object], *args: Any, context: Any = None) -> Any:
        """Lose the call: a cell blocks the loop."""


def test_a_wait_in_a_cell_on_a_foreign_loop_says_what_helps() -> None:
    home = Home(ForeignLoop(), block=lambda *_: pytest.fail("it cannot be nested"), stuck_s=0.01)
    with pytest.raises(SessionError, match=r"only on asyncio's own: write `await run`, or .*%agent loop thread"):
        home.wait(Future(), None)
    home.move("thread")
    done: Future[None] = Future()
    home.call(home.later, 0.05, lambda: done.set_result(None))
    home.wait(done, None, "waiting for bob#1")
    assert done.done()
    home.end()
