"""A shell in this process, with the magics on it and agents on the test's own loop."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from whisper_nb import Rule, Runtime, ScriptedModel
from whisper_nb.notebook import completion, magics, questions
from whisper_nb.notebook.output import Outputs
from whisper_nb.notebook.team import Team

OFFLINE = Path(__file__).parents[1] / "offline"


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[InteractiveShell]:
    """An IPython of its own, without a profile of anybody's."""
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}), colors="nocolor")
    shell.display_pub = CapturingDisplayPublisher()
    yield shell
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()


@dataclass
class Notebook:
    """What a test does with a shell: run cells, and look at what they showed."""

    shell: InteractiveShell
    runtime: Runtime
    capsys: pytest.CaptureFixture[str]
    magic_names: magics.Names = field(init=False)
    team: Team = field(init=False)

    def load(self) -> None:
        """What `%load_ext` does, with this test's runtime."""
        outputs = Outputs(self.runtime.home, live=True)
        self.runtime.observe(outputs.observe)
        self.team = Team(self.shell, self.runtime, outputs)
        self.magic_names = magics.register(self.shell, self.team)
        completion.register(self.shell, self.team, self.magic_names)
        questions.register(self.shell)

    def run(self, code: str) -> str:
        """Run a cell that must succeed; what it printed."""
        self.capsys.readouterr()
        result = self.shell.run_cell(code)
        result.raise_error()
        out, err = self.capsys.readouterr()
        assert err == ""
        return out

    def error(self, code: str) -> str:
        """Run a cell that must fail with a UsageError; the one line that the user sees of it."""
        self.capsys.readouterr()
        assert not self.shell.run_cell(code).success
        out, err = self.capsys.readouterr()
        assert out == ""
        assert err.startswith("UsageError: ")
        assert err.count("\n") == 1, "an error of a magic is one line"
        return err.removeprefix("UsageError: ").strip()

    @property
    def shown(self) -> list[dict[str, Any]]:
        """What was displayed, oldest first."""
        outputs: list[dict[str, Any]] = self.shell.display_pub.outputs
        return outputs

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]


@pytest.fixture
async def notebook(shell: InteractiveShell, runtime: Runtime, capsys: pytest.CaptureFixture[str]) -> Notebook:
    """A notebook with an agent, bob, who says back what he is told; `fail` makes him fail."""
    runtime.models["offline/test"] = ScriptedModel([Rule("^fail", error="no more"), Rule("(.*)", reply=r"heard: \1")])
    runtime.configure(offline="offline/test")
    notebook = Notebook(shell, runtime, capsys)
    notebook.load()
    notebook.run("%agent new bob")
    return notebook


@pytest.fixture
def python(tmp_path: Path) -> Callable[..., str]:
    """Run code in a Python of its own, which reaches nobody; what it printed. Warnings are not errors there."""

    def run(code: str, **environ: str) -> str:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(tmp_path),
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "PYTHONPATH": str(OFFLINE),
            **environ,
        }
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=25, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    return run
