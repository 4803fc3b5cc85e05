"""Fixtures: a runtime without keys, and no network beyond this machine."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import settings

from whisper_nb import Runtime
from whisper_nb.team import runtimes

pytest_plugins = ["support.watchdog"]
LOOPBACK = ("127.0.0.1", "::1", "localhost")

settings.register_profile("whisper_nb", deadline=None, derandomize=True, database=None)
settings.load_profile("whisper_nb")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that closes waits long enough for its agents on a machine that is busy with other things."""
    monkeypatch.setattr(runtimes, "GRACE_S", 60.0)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connecting to anything but this machine fails the test that does it."""

    def guarded(name: str) -> None:
        connect = getattr(socket.socket, name)

        def refuse_strangers(self: socket.socket, address: Any) -> Any:
            if self.family != socket.AF_UNIX and address[0] not in LOOPBACK:
                raise AssertionError(f"a test may not connect to {address!r}")
            return connect(self, address)

        monkeypatch.setattr(socket.socket, name, refuse_strangers)

    guarded("connect")
    guarded("connect_ex")


@pytest.fixture
async def complaints() -> AsyncIterator[list[str]]:
    """The loop's unhandled errors, such as an exception that was never retrieved. The test fails if there are any."""
    heard: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: heard.append(context["message"]))
    yield heard
    assert heard == []


@pytest.fixture
async def runtime(complaints: list[str]) -> AsyncIterator[Runtime]:
    """A runtime on the test's loop. The test fails if a task of it is left."""
    async with aclosing(Runtime(environ={})) as rt:  # tests may leave runs unfinished, and get no warning
        yield rt
    assert asyncio.all_tasks() == {asyncio.current_task()}
