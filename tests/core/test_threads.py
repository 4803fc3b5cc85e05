"""Threads: their names, imports, of which none is seen half done, and the end of a loop."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from whisper_nb.core.threads import OwnLoop, in_thread, loaded


def _look_around() -> str:
    return threading.current_thread().name


async def test_a_thread_has_the_name_of_its_function_or_of_its_work() -> None:
    assert await in_thread(_look_around) == "whisper_nb look_around"
    assert await in_thread(_look_around, work="tool") == "whisper_nb tool"


SLOW = """
import sys, time
sys.begun()
time.sleep(0.1)  # an import takes time
WHOLE = True
"""


async def test_a_thread_waits_for_a_module_that_another_thread_is_importing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_slow_module.py").write_text(SLOW)
    begun, loop = asyncio.Event(), asyncio.get_running_loop()
    monkeypatch.setattr(sys, "begun", lambda: loop.call_soon_threadsafe(begun.set), raising=False)

    async def ask() -> bool:
        await loaded("a_slow_module")
        return hasattr(sys.modules["a_slow_module"], "WHOLE")

    first = asyncio.create_task(ask())
    await begun.wait()
    assert await asyncio.gather(first, ask(), ask()) == [True, True, True]


async def test_a_failed_import_fails_in_every_thread_that_waits_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "a_broken_module.py").write_text("1 / 0")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await loaded("a_broken_module")


@pytest.mark.parametrize("depth", [0, 3])
def test_generators_that_a_cancelled_task_drops_are_closed_before_the_loop(depth: int) -> None:
    closed: list[int] = []

    async def generator(depth: int) -> AsyncGenerator[None, None]:
        inner = generator(depth - 1)
        try:
            if depth:
                await anext(inner)
            yield
        finally:
            for _ in range(20):
                await asyncio.sleep(0)
            closed.append(depth)

    begun = threading.Event()

    async def read() -> None:
        read = generator(depth)
        await anext(read)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            del read

    own = OwnLoop()
    asyncio.run_coroutine_threadsafe(read(), own.loop)
    begun.wait()
    own.end()
    own.join(60)
    assert sorted(closed) == [*range(depth + 1)]
