"""A test that hangs ends the process that runs it, and is named."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.package
TESTS = Path(__file__).parents[1]
SUITE = """
import asyncio, re, threading
import pytest

def test_interpreter_lock():
    re.match("(a+)+$", "a" * 64 + "b")

def test_other_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

async def test_event_loop():
    await asyncio.get_running_loop().create_future()

@pytest.fixture
def hanging_teardown():
    yield
    threading.Event().wait()

def test_failure_then_teardown(hanging_teardown):
    assert False

def test_rest():
    pass
"""


INI = "[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\naddopts = -p no:nbval\n"


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    (folder / "pytest.ini").write_text(INI)
    (folder / "test_hangs.py").write_text(SUITE)
    command = [sys.executable, "-m", "pytest", "-p", "support.watchdog", *arguments]
    env = {**os.environ, "PYTHONPATH": str(TESTS), "TEST_LIMIT_S": "1"}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)


@pytest.mark.parametrize(
    "name", ["test_interpreter_lock", "test_other_lock", "test_event_loop", "test_failure_then_teardown"]
)
def test_a_hanging_test_ends_its_process_and_is_named(name: str, tmp_path: Path) -> None:
    ended = run(tmp_path, f"test_hangs.py::{name}")
    assert ended.returncode < 0
    assert f"test_hangs.py::{name} did not end within 1 s" in ended.stderr
    assert "Fatal Python error: Aborted" in ended.stderr


def test_a_hanging_worker_is_replaced(tmp_path: Path) -> None:
    ended = run(tmp_path, "-n", "1", "-k", "interpreter or rest")
    assert ended.returncode == 1
    assert "crashed while running 'test_hangs.py::test_interpreter_lock'" in ended.stdout
    assert "1 failed, 1 passed" in ended.stdout
