"""A shell in this process, with the magics on it and agents on the test's own loop."""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from support.inprocess import Notebook
from whisper_nb import Rule, ScriptedModel
from whisper_nb.notebook.runtime import NotebookRuntime

OFFLINE = Path(__file__).parents[1] / "support" / "offline"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython shell of its own, without a user's profile."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}), colors="nocolor")
    shell.display_pub = CapturingDisplayPublisher()
    yield shell
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()
    atexit.unregister(shell.atexit_operations)  # or hundreds of shells stay, and each cleans up at the end, for minutes


@pytest.fixture
async def runtime(complaints: list[str]) -> AsyncIterator[NotebookRuntime]:
    """A notebook's runtime on the test's loop. The test fails if a task of it is left."""
    async with NotebookRuntime(environ={}) as rt:
        yield rt
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.fixture
async def notebook(shell: InteractiveShell, runtime: NotebookRuntime, capsys: pytest.CaptureFixture[str]) -> Notebook:
    """A notebook with an agent, bob, that repeats its prompt; `fail` makes it fail."""
    runtime.models["offline/test"] = ScriptedModel([Rule("^fail", error="no more"), Rule("(.*)", reply=r"heard: \1")])
    runtime.configure(offline="offline/test")
    notebook = Notebook(shell, runtime, capsys)
    notebook.load()
    notebook.run("%agent new bob")
    return notebook


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., str]:
    """Run code in a new Python process without network. Return its output. Warnings are not errors there."""

    def run(code: str, **environ: str) -> str:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "PYTHONPATH": str(OFFLINE),
            **environ,
        }
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run
