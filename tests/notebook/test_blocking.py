"""Waiting inside a cell, in separate processes, because nest-asyncio2 patches asyncio permanently."""

from __future__ import annotations

import asyncio
import signal
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from whisper_nb.notebook.cells.blocking import Interrupts, interruptible, waking, warn_of_old_nest_asyncio

PRELUDE = """
import asyncio, os, signal, threading, time
from concurrent.futures import Future
from whisper_nb.notebook.cells.blocking import block, waking

def on_loop(function, *args):
    # As a cell: a plain function that runs on a running loop.
    async def main():
        return function(asyncio.get_running_loop(), *args)
    return asyncio.run(main())

def interrupt(loop, after_s):
    # The count starts when the loop runs, so that the wait has begun.
    loop.call_soon(threading.Timer(after_s, os.kill, (os.getpid(), signal.SIGINT)).start)

def outcome(function, *args):
    try:
        function(*args)
    except BaseException as error:
        return type(error).__name__
    return "done"
"""


def test_the_loop_continues_while_a_cell_waits(python: Callable[..., str]) -> None:
    said = python(
        PRELUDE
        + """
def cell(loop):
    done = Future()
    ticks = []
    async def work():
        for n in range(5):
            await asyncio.sleep(0.01)
            ticks.append(n)
        done.set_result(None)
    task = loop.create_task(work())
    print(outcome(block, loop, done, None), ticks)
on_loop(cell)
"""
    )
    assert said == "done [0, 1, 2, 3, 4]\n"


def test_a_timeout_ends_only_the_wait(python: Callable[..., str]) -> None:
    said = python(
        PRELUDE
        + """
def cell(loop):
    done = Future()
    print(outcome(block, loop, done, 0.1), done.done())
    print(outcome(block, loop, done, 0))
    loop.call_later(0.1, done.set_result, None)
    print(outcome(block, loop, done, 300))
on_loop(cell)
"""
    )
    assert said == "TimeoutError False\nTimeoutError\ndone\n"


def test_an_interrupt_ends_the_wait_at_once_and_ends_no_task(python: Callable[..., str]) -> None:
    said = python(
        PRELUDE
        + """
def cell(loop):
    done = Future()
    before = signal.getsignal(signal.SIGINT)
    spun = []
    async def busy():  # on the CPU whenever the signal comes
        while not done.done():
            end = time.perf_counter() + 0.02
            while time.perf_counter() < end:
                pass
            spun.append(1)
            await asyncio.sleep(0)
    for task in (None, loop.create_task(busy())):
        interrupt(loop, 0.2)
        ended = outcome(block, loop, done, None)
        print(ended, task is None or not task.done(), signal.getsignal(signal.SIGINT) is before)
    loop.call_later(0.1, done.set_result, None)
    print(outcome(block, loop, done, None), bool(spun))
on_loop(cell)
"""
    )
    assert said == "KeyboardInterrupt True True\nKeyboardInterrupt True True\ndone True\n"


def test_one_interrupt_ends_nested_waits(python: Callable[..., str]) -> None:
    said = python(
        PRELUDE
        + """
def cell(loop):
    before = signal.getsignal(signal.SIGINT)
    def inner():
        print("inner", outcome(block, loop, Future(), None))
    loop.call_soon(inner)
    interrupt(loop, 0.2)
    print("outer", outcome(block, loop, Future(), None))
    print(signal.getsignal(signal.SIGINT) is before)

    inner_done, outer_done = Future(), Future()
    def inner():
        print("inner", outcome(block, loop, inner_done, None))
    loop.call_soon(inner)
    loop.call_later(0.1, outer_done.set_result, None)
    loop.call_later(0.2, inner_done.set_result, None)
    print("outer", outcome(block, loop, outer_done, None))
    print(signal.getsignal(signal.SIGINT) is before)
on_loop(cell)
"""
    )
    assert said == "inner KeyboardInterrupt\nouter KeyboardInterrupt\nTrue\ninner done\nouter done\nTrue\n"


def test_asyncio_is_not_patched_before_the_first_wait(python: Callable[..., str]) -> None:
    said = python(
        PRELUDE
        + """
import sys
def cell(loop):
    print("nest_asyncio2" in sys.modules, hasattr(asyncio, "_nest_patched"))
    done = Future(); done.set_result(None)
    block(loop, done, None)
    print("nest_asyncio2" in sys.modules, hasattr(asyncio, "_nest_patched"))
on_loop(cell)
"""
    )
    assert said == "False False\nTrue True\n"


def test_a_signal_wakes_an_idle_loop(python: Callable[..., str]) -> None:
    said = python(
        PRELUDE
        + """
async def main():
    # As ipykernel does for an awaiting cell: the handler only schedules the interrupt.
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    signal.signal(signal.SIGINT, lambda *_: loop.call_soon(heard.set))
    interrupt(loop, 0.1)
    with waking(loop):
        await heard.wait()
    print(signal.set_wakeup_fd(-1))
asyncio.run(main())
"""
    )
    assert said == "-1\n"


def test_the_archived_nest_asyncio_gives_a_warning_with_a_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "_nest_patched", True, raising=False)
    monkeypatch.delattr(asyncio, "_nest_asyncio2", raising=False)
    with pytest.warns(RuntimeWarning, match=r"loses cells that are queued.*Remove nest_asyncio\.apply\(\).*restart"):
        warn_of_old_nest_asyncio()


def test_the_maintained_nest_asyncio_gives_no_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asyncio, "_nest_patched", True, raising=False)
    monkeypatch.setattr(asyncio, "_nest_asyncio2", object(), raising=False)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_old_nest_asyncio()


# Tests without nested loops, in this process


@pytest.fixture
def heard() -> Iterator[list[int]]:
    """The signals that reached the handler that ipykernel installs for an awaiting cell."""
    signals: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, _: signals.append(number))
    yield signals
    signal.signal(signal.SIGINT, before)


async def test_an_interrupt_during_a_wait_is_handled_only_by_us(heard: list[int]) -> None:
    interrupts, loop = Interrupts(), asyncio.get_running_loop()
    handler = signal.getsignal(signal.SIGINT)
    with interrupts.watch(loop) as outer, interrupts.watch(loop) as inner:
        signal.raise_signal(signal.SIGINT)
        await asyncio.gather(outer, inner)
    assert signal.getsignal(signal.SIGINT) is handler
    signal.raise_signal(signal.SIGINT)
    assert len(heard) == 1


async def test_an_interrupt_of_a_tool_on_the_main_thread_ends_the_wait_around_it_too(heard: list[int]) -> None:
    interrupts, loop = Interrupts(), asyncio.get_running_loop()
    with interrupts.watch(loop) as outer:
        with pytest.raises(KeyboardInterrupt), interruptible():
            signal.raise_signal(signal.SIGINT)
        await outer
    assert heard == []


async def test_an_interrupt_of_a_tool_on_the_main_thread_ends_an_awaiting_cell_too(heard: list[int]) -> None:
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)
    assert len(heard) == 1, "ipykernel, which cancels the cell"


@pytest.mark.parametrize("between_cells", [signal.SIG_IGN, signal.default_int_handler])
async def test_an_interrupt_of_a_tool_between_cells_ends_only_the_tool(heard: list[int], between_cells: Any) -> None:
    signal.signal(signal.SIGINT, between_cells)
    with pytest.raises(KeyboardInterrupt), interruptible():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is between_cells


async def test_a_wait_of_a_tool_on_the_main_thread_can_be_interrupted(heard: list[int]) -> None:
    interrupts, loop = Interrupts(), asyncio.get_running_loop()
    with interrupts.watch(loop) as outer, interruptible(), interrupts.watch(loop) as inner:
        signal.raise_signal(signal.SIGINT)  # raises nothing, for it could hit an agent
        await asyncio.gather(outer, inner)


async def test_an_interrupt_before_a_wait_ends_it_before_it_begins(heard: list[int]) -> None:
    interrupts, loop = Interrupts(), asyncio.get_running_loop()
    interrupts.note()
    signal.raise_signal(signal.SIGINT)
    assert len(heard) == 1, "ipykernel hears of it too"
    with interrupts.watch(loop) as interrupted:
        assert interrupted.done()


async def test_a_handled_interrupt_does_not_end_the_next_wait(heard: list[int]) -> None:
    interrupts, loop = Interrupts(), asyncio.get_running_loop()
    interrupts.note()
    signal.raise_signal(signal.SIGINT)
    for _ in range(3):
        await asyncio.sleep(0)
    with interrupts.watch(loop) as interrupted:
        assert not interrupted.done()


async def test_the_handler_of_a_plain_cell_is_not_changed(heard: list[int]) -> None:
    interrupts = Interrupts()
    for handler in (signal.default_int_handler, signal.SIG_IGN):
        signal.signal(signal.SIGINT, handler)
        interrupts.note()
        assert signal.getsignal(signal.SIGINT) is handler


async def test_waits_in_other_threads_change_no_handler(heard: list[int]) -> None:
    interrupts, loop = Interrupts(), asyncio.get_running_loop()
    handler = signal.getsignal(signal.SIGINT)

    def elsewhere() -> None:
        interrupts.note()
        with waking(loop), interrupts.watch(loop):
            assert signal.getsignal(signal.SIGINT) is handler

    await asyncio.to_thread(elsewhere)


async def test_the_wakeup_descriptor_is_restored(heard: list[int]) -> None:
    loop = asyncio.get_running_loop()
    before = signal.set_wakeup_fd(-1)
    with waking(loop):
        signal.raise_signal(signal.SIGINT)
        await asyncio.sleep(0)
        ours = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(ours)
        assert ours > 0
    assert signal.set_wakeup_fd(before) == -1


def test_a_forked_process_cannot_use_the_agents_and_says_so(python: Callable[..., str]) -> None:
    said = python(
        """
import asyncio, os
from whisper_nb import Agent, Rule, Runtime, ScriptedModel
from whisper_nb.engine.home import Home
from whisper_nb.notebook.cells.blocking import block

async def main(where):
    async with Runtime(environ={}, home=Home(asyncio.get_running_loop(), block), loop=where) as rt:
        rt.models["offline/held"] = ScriptedModel([Rule(delay_s=3600)])
        bob = rt.create(Agent(name="bob", config="offline/held"))
        run = bob.submit("hello")
        if os.fork() == 0:
            awaited = lambda: run._wait().send(None)
            for use in (lambda: run.result(timeout=2), lambda: bob.submit("more"), run.cancel, awaited):
                try:
                    use()
                except Exception as error:
                    print(str(error).replace(str(os.getppid()), "N"), flush=True)
            os._exit(0)
        os.wait()
        run.cancel()

for where in ("notebook", "thread"):
    asyncio.run(main(where))
"""
    )
    why = "this process is a fork of process N, and agents run in that one alone."
    assert said.splitlines() == [f"{why} Use them there, or create a Runtime here"] * 8
