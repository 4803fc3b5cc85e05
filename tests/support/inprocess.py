"""A notebook without a kernel: a shell in this process, with the magics on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from whisper_nb import RunFailed
from whisper_nb.notebook.cells.output import Outputs
from whisper_nb.notebook.magics import completion, magics, questions
from whisper_nb.notebook.runtime import NotebookRuntime
from whisper_nb.notebook.workbench import Workbench


@dataclass
class Notebook:
    """Runs cells of a shell in this process, and keeps their outputs."""

    shell: InteractiveShell
    runtime: NotebookRuntime
    capsys: pytest.CaptureFixture[str]
    magic_names: magics.Names = field(init=False)
    bench: Workbench = field(init=False)

    def load(self) -> None:
        """Do what `%load_ext` does, with this test's runtime."""
        outputs = Outputs(self.runtime.home, live=True)
        self.runtime.observe(outputs.observe)
        self.bench = Workbench(self.shell, self.runtime, outputs)
        self.magic_names = magics.register(self.shell, self.bench)
        completion.register(self.shell, self.bench, self.magic_names)
        questions.register(self.shell)

    def run(self, code: str) -> str:
        """Run a cell that must succeed. Return its printed text."""
        self.capsys.readouterr()
        result = self.shell.run_cell(code)
        result.raise_error()
        out, err = self.capsys.readouterr()
        assert err == ""
        return out

    def error(self, code: str, lines: int = 1) -> str:
        """Run a cell that must fail with a UsageError. Return the line, or lines, that the user sees."""
        self.capsys.readouterr()
        assert not self.shell.run_cell(code).success
        out, err = self.capsys.readouterr()
        assert out == ""
        assert err.startswith("UsageError: ")
        assert err.count("\n") == lines, "an error of a magic is one line"
        return err.removeprefix("UsageError: ").strip()

    def failure(self, code: str, lines: int = 1) -> str:
        """Run a cell that must fail because a run did. Return the line, or lines, that the user sees."""
        self.capsys.readouterr()
        result = self.shell.run_cell(code)
        assert isinstance(result.error_in_exec, RunFailed)
        out, err = self.capsys.readouterr()
        assert err == ""
        assert out.startswith("RunFailed: ")
        assert out.count("\n") == lines
        return out.removeprefix("RunFailed: ").strip()

    @property
    def shown(self) -> list[dict[str, Any]]:
        """The displayed outputs, oldest first."""
        outputs: list[dict[str, Any]] = self.shell.display_pub.outputs
        return outputs

    def __getitem__(self, name: str) -> Any:
        return self.shell.user_ns[name]


class FrontEnd:
    """The attributes that a kernel's shell has about the running cell."""

    def __init__(self, notebook: Notebook) -> None:
        self.notebook = notebook
        self.parent: dict[str, Any] = {}
        notebook.shell.kernel = object()
        notebook.shell.get_parent = lambda: self.parent

    def run(self, execution: str, source: str, session: str = "one", stdin: bool = True, **metadata: str) -> str:
        header = {"msg_id": execution, "session": session}
        self.parent = {"header": header, "metadata": metadata, "content": {"code": source, "allow_stdin": stdin}}
        return self.notebook.run(source)
