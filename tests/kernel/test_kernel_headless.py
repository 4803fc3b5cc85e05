"""Notebooks that nbclient runs, and the outputs that it saves."""

from __future__ import annotations

import asyncio
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from support.client import OFFLINE

pytestmark = pytest.mark.kernel

PROJECT = Path(__file__).parents[2]
LOAD = "%load_ext whisper_nb\nimport asyncio\nimport whisper_nb as wnb"
SLOW = (
    "wnb.runtime().models['offline/slow'] = wnb.ScriptedModel([wnb.Rule(reply='a **late** answer', delay_s=0.3)])\n"
    "%agent new bob --model offline/slow"
)


async def executed(notebook: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the notebook in `folder`, without network. Return it with its outputs."""
    monkeypatch.setenv("PYTHONPATH", str(OFFLINE))
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    monkeypatch.setenv("PYDEVD_DISABLE_FILE_VALIDATION", "1")
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    client = NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}})
    client.extra_arguments = ["--log-level=ERROR"]
    return await client.async_execute()


def code(*sources: str) -> Any:
    """A notebook of these code cells."""
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources])


def shown(cell: Any) -> list[str]:
    """The texts of a cell's saved outputs."""
    return [output.get("text") or output.data["text/plain"] for output in cell.outputs if output.output_type != "error"]


async def test_a_later_cell_saves_the_final_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = await executed(
        code(LOAD, SLOW, "%%agent bob -o ans\nhello", "1 + 1", "%agent wait"), tmp_path, monkeypatch
    )
    (text,) = shown(notebook.cells[2])
    assert text.startswith("bob#1 · succeeded")
    assert "a **late** answer" in text
    assert "as of" not in text
    (output,) = notebook.cells[2].outputs
    assert "<strong>late</strong>" in output.data["text/html"]


async def test_an_awaited_run_saves_the_final_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = await executed(code(LOAD, SLOW, "%%agent bob -o ans\nhello", "await ans"), tmp_path, monkeypatch)
    assert shown(notebook.cells[2])[0].startswith("bob#1 · succeeded")


async def test_an_output_without_a_later_cell_states_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook = await executed(code(LOAD, SLOW, "%%agent bob -o ans\nhello"), tmp_path, monkeypatch)
    (text,) = shown(notebook.cells[2])
    assert re.fullmatch(r"bob#1 · (submitted|queued|running)( · \d+\.\d s)? · as of \d\d:\d\d:\d\d", text)


async def test_the_quickstart_runs_completely_and_saves_its_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("notebooks", "whisper_nb"):
        shutil.copytree(PROJECT / name, tmp_path / name, ignore=shutil.ignore_patterns(".*", "__pycache__"))
    folder = tmp_path / "notebooks"
    notebook = nbformat.read(folder / "01_quickstart.ipynb", as_version=4)
    notebook = await executed(notebook, folder, monkeypatch)
    launches = [cell for cell in notebook.cells if cell.source.startswith("%%agent")]
    assert len(launches) == 3
    for cell in launches:
        assert " · succeeded · " in shown(cell)[0]
    assert "<table>" in launches[-1].outputs[0].data["text/html"]
    asked = next(cell for cell in notebook.cells if cell.source.startswith("ans = %agent ask"))
    for cell in (*launches, asked):
        assert "as of" not in shown(cell)[0]
    everything = str([cell.outputs for cell in notebook.cells if cell.cell_type == "code"])
    for trouble in ("Traceback", "error:", "failed"):
        assert trouble not in everything


@pytest.mark.parametrize(
    "attempt",
    [
        "import urllib.request; urllib.request.urlopen('http://127.0.0.1:9', timeout=2)",
        "import socket; socket.create_connection(('192.0.2.1', 80), timeout=2)",
        "import socket; socket.socket().connect_ex(('192.0.2.1', 80))",
        "import asyncio; asyncio.run(asyncio.open_connection('192.0.2.1', 80))",
    ],
)
async def test_the_offline_environment_blocks_the_network(attempt: str, tmp_path: Path) -> None:
    script = f"import os\nassert 'OPENAI_API_KEY' not in os.environ\n{attempt}"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script,
        env={"PYTHONPATH": str(OFFLINE), "OPENAI_API_KEY": "sk-test"}, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, stderr = await process.communicate()
    assert process.returncode
    assert b"notebooks must run offline" in stderr


async def test_the_offline_environment_blocks_the_network_in_a_kernel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = code("import urllib.request\nurllib.request.urlopen('http://192.0.2.1', timeout=2)")
    with pytest.raises(CellExecutionError, match="notebooks must run offline"):
        await executed(cells, tmp_path, monkeypatch)
