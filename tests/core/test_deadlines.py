from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from support.clock import forward
from whisper_nb.core.deadlines import GRACE_S, LATE_S, Deadline


async def test_a_block_that_ends_in_time_does_not_expire() -> None:
    async with Deadline(5, 5) as deadline:
        deadline.touch()
    assert deadline.expired is None


async def test_a_deadline_without_bounds_has_no_timer() -> None:
    loop = asyncio.get_running_loop()
    async with Deadline(None):
        assert not loop._scheduled  # type: ignore[attr-defined]


async def test_no_timer_is_left_behind() -> None:
    async with Deadline(3600, 3600):
        pass
    loop = asyncio.get_running_loop()
    assert all(handle.cancelled() for handle in loop._scheduled)  # type: ignore[attr-defined]


async def test_the_time_of_the_whole_block_is_bounded() -> None:
    deadline = Deadline(0.02)

    async def block() -> None:
        async with deadline:
            while True:
                deadline.touch()
                await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await block()
    assert deadline.expired == "not complete after 0.02 s"


async def test_the_time_between_two_signs_of_life_is_bounded() -> None:
    deadline = Deadline(60, 0.02)
    with pytest.raises(TimeoutError):
        async with deadline:
            await asyncio.Event().wait()
    assert deadline.expired == "nothing arrived for 0.02 s"


async def test_every_sign_of_life_moves_the_bound() -> None:
    async with Deadline(None, 60) as deadline:
        for _ in range(5):
            forward(30)
            deadline.touch()
            await asyncio.sleep(0)
    assert deadline.expired is None


async def test_a_cancellation_from_outside_is_not_a_timeout() -> None:
    entered = asyncio.Event()
    deadline = Deadline(60)

    async def block() -> None:
        async with deadline:
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.ensure_future(block())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert deadline.expired is None


async def test_an_error_of_the_block_passes_through() -> None:
    with pytest.raises(TimeoutError, match="another one"):
        async with Deadline(60) as deadline:
            raise TimeoutError("another one")
    assert deadline.expired is None


# A cell blocks the loop (contract 11)


def compute(seconds: float) -> None:
    """Block the loop with its timers, as a cell that never awaits does."""
    time.sleep(seconds)


@pytest.fixture
async def line() -> AsyncIterator[tuple[asyncio.StreamReader, socket.socket]]:
    """A connection: bytes that are sent on the socket can be read from the reader."""
    near, far = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=near)
    with far:
        yield reader, far
        writer.close()
        await writer.wait_closed()


async def test_a_late_deadline_grants_one_read_of_what_had_arrived(
    line: tuple[asyncio.StreamReader, socket.socket],
) -> None:
    """The bytes arrived in time, but the loop was blocked."""
    reader, far = line
    async with Deadline(0.02, 0.02) as deadline:
        far.send(b"token\n")
        compute(0.05 + LATE_S)
        assert await reader.readline() == b"token\n"
    assert deadline.expired is None


async def test_a_late_deadline_expires_if_nothing_had_arrived() -> None:
    deadline = Deadline(None, 0.02)

    async def block() -> None:
        async with deadline:
            compute(0.05 + LATE_S)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        await block()
    assert deadline.expired == "nothing arrived for 0.02 s"


async def test_grace_is_given_once_for_each_bound() -> None:
    cells = 0

    async def block() -> None:
        nonlocal cells
        async with Deadline(0.02):
            while True:
                cells += 1
                compute(0.05 + LATE_S)
                await asyncio.sleep(0)

    with pytest.raises(TimeoutError):
        await block()
    # A timer runs after the cell that delays it: the first one and its grace cost a cell more, and so does the cancel.
    assert cells <= 5 + GRACE_S / (0.05 + LATE_S)


async def test_every_blocking_cell_gets_grace_as_long_as_there_are_signs_of_life(
    line: tuple[asyncio.StreamReader, socket.socket],
) -> None:
    reader, far = line
    async with Deadline(None, 0.02) as deadline:
        for _ in range(2):
            far.send(b"token\n")
            compute(0.05 + LATE_S + GRACE_S)
            assert await reader.readline() == b"token\n"
            deadline.touch()
    assert deadline.expired is None
