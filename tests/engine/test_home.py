from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future

import pytest

from whisper_nb import Agent, Run, Runtime
from whisper_nb.core.errors import SessionError
from whisper_nb.engine.home import Home


async def test_here_is_the_thread_that_runs_the_loop() -> None:
    home = Home(asyncio.get_running_loop())
    assert home.here
    assert await asyncio.to_thread(lambda: home.here) is False


async def test_a_call_from_here_happens_at_once() -> None:
    called: list[int] = []
    Home(asyncio.get_running_loop()).call(called.append, 1)
    assert called == [1]


async def test_a_call_from_another_thread_happens_on_the_loop() -> None:
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


def test_nor_from_another_one() -> None:
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


def test_nobody_waits_for_what_a_closed_loop_can_no_longer_do() -> None:
    done: Future[None] = Future()
    with pytest.raises(SessionError, match="closed"):
        closed_home().wait(done, None)


def test_work_for_an_agent_whose_loop_is_closed() -> None:
    async def make() -> Runtime:
        runtime = Runtime(environ={})
        runtime.create(Agent(name="bob"))
        return runtime

    runtime = asyncio.run(make())
    with pytest.raises(SessionError, match="closed"):
        runtime["bob"].submit("hello")


def test_a_finished_run_is_a_value_also_when_its_loop_is_closed() -> None:
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


async def test_waiting_for_what_is_done_takes_no_time_anywhere() -> None:
    done: Future[None] = Future()
    done.set_result(None)
    Home(asyncio.get_running_loop()).wait(done, None)


async def test_waiting_in_another_thread() -> None:
    home, done = Home(asyncio.get_running_loop()), Future[None]()
    waiting = asyncio.ensure_future(asyncio.to_thread(home.wait, done, None))
    home.loop.call_later(0.01, done.set_result, None)
    await waiting


async def test_waiting_in_another_thread_times_out() -> None:
    with pytest.raises(TimeoutError):
        await asyncio.to_thread(Home(asyncio.get_running_loop()).wait, Future[None](), 0.01)


async def test_here_waiting_needs_somebody_who_runs_the_loop() -> None:
    with pytest.raises(SessionError, match="write `await run` instead"):
        Home(asyncio.get_running_loop()).wait(Future[None](), None)


async def test_here_waiting_is_left_to_whoever_can_run_the_loop() -> None:
    asked: list[tuple[object, ...]] = []
    loop, done = asyncio.get_running_loop(), Future[None]()
    Home(loop, lambda *args: asked.append(args)).wait(done, 3.0)
    assert asked == [(loop, done, 3.0)]
