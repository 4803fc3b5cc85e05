from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from whisper_nb import Agent, Run, Runtime
from whisper_nb.core.errors import SessionError
from whisper_nb.engine.home import Home


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
