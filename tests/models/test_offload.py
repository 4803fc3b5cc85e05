"""The threads in which LiteLLM prepares calls."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from whisper_nb.models.offload import _Preparing


@pytest.fixture
def threads() -> Iterator[_Preparing]:
    with _Preparing(1) as threads:
        yield threads


async def call(value: int) -> int:
    await asyncio.sleep(0)
    return value


async def test_a_prepared_call_can_be_awaited_or_made_a_task(threads: _Preparing) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(threads)
    assert await (await loop.run_in_executor(None, call, 1)) == 1
    prepared = await loop.run_in_executor(None, call, 2)
    assert asyncio.iscoroutine(prepared)
    assert await asyncio.create_task(prepared) == 2
    assert await loop.run_in_executor(None, int, "3") == 3


def test_a_prepared_call_that_nobody_awaits_is_no_warning(threads: _Preparing) -> None:
    """Python warns of a dropped coroutine when it is collected, which fails the test."""
    threads.submit(call, 1).result()
    gc.collect()


async def test_a_call_that_is_cancelled_while_it_is_prepared_is_no_warning(threads: _Preparing) -> None:
    loop = asyncio.get_running_loop()
    loop.set_default_executor(threads)
    waiting = [loop.run_in_executor(None, call, n) for n in range(3)]
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    await loop.run_in_executor(None, int)  # after the others
    gc.collect()
