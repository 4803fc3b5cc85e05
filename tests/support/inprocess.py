"""A notebook without a kernel: a shell in this process, with the magics on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from whisper_nb.notebook.cells.output import Outputs
from whisper_nb.notebook.magics import completion, magics, questions
from whisper_nb.notebook.runtime import NotebookRuntime
from whisper_nb.notebook.workbench import Workbench


@dataclass
class Notebook:
    """What a test does with a shell: run cells, and look at what they showed."""

    shell: InteractiveShell
    runtime: NotebookRuntime
    capsys: pytest.CaptureFixture[str]
    magic_names: magics.Names = field(init=False)
    bench: Workbench = field(init=False)

    def load(self) -> None:
        """What `%load_ext` does, with this test's runtime."""
        outputs = Outputs(self.runtime.home, live=True)
        self.runtime.observe(outputs.observe)
        self.bench = Workbench(self.shell, self.runtime, outputs)
        self.magic_names = magics.register(self.shell, self.bench)
        completion.register(self.shell, self.bench, self.magic_names)
        questions.register(self.shell)

    def run(self, code: str) -> str:
        """Run a cell that must succeed; what it printed."""
        self.capsys.readouterr()
        result = self.shell.run_cell(code)
        result.raise_error()
        out, err = self.capsys.readouterr()
        assert err == ""
        return out

    def error(self, code: str, lines: int = 1) -> str:
        """Run a cell that must fail with a UsageError; the line, or lines, that the user sees of it."""
        self.capsys.readouterr()
        assert not self.shell.run_cell(code).success
        out, err = self.capsys.readouterr()
        assert out == ""
        assert err.startswith("UsageError: ")
        assert err.count("\n") == lines, "an error of a magic is one line"
        return err.removeprefix("UsageError: ").strip()

    @property
    def shown(self) -> list[dict[str, Any]]:
        """What was displayed, oldest first."""
        outputs: list[dict[str, Any]] = self.shell.display_pub.outputs
        return outputs

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]
