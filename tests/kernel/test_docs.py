"""README and docs/: each block runs when it is pasted, in order, without a key and without network."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import whisper_nb
from support.blocks import SHOWN, Block, blocks_of
from support.client import OFFLINE, ROOT, Cell, Kernel

pytestmark = pytest.mark.kernel

README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").glob("*.md"))]
#: The echo streams slowly in a notebook, to be watched.
AT_ONCE = "import whisper_nb; whisper_nb.runtime().models['offline/echo'] = whisper_nb.models.offline.EchoModel()"
RUNNABLE = ("python", "shell")
#: A line of a terminal that is not run here → why.
ELSEWHERE = {
    "make test": "it runs this test",
    "make lab": "opens a browser; tests/browser runs JupyterLab",
    "pip install '.[lab]'": "the extra is in the lock; `pip install .` runs",
}
#: pip installs the project into the test's folder, from what this environment has.
PIP = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_QUIET": "1"}  # 0: no isolation


def to_run(page: Path) -> list[Block]:
    """Return the blocks that run in a page's test, with the outputs that it shows.

    README's commands have a test of their own, and so have the examples of magics.md: test_help_examples.py.
    """
    if page.name == "magics.md":
        return []
    kinds = ("python", "text") if page == README else (*RUNNABLE, "text")
    return [block for block in blocks_of(page) if block.kind in kinds and not block.words.startswith("not-run: ")]


def test_every_block_is_of_a_known_kind() -> None:
    for page in PAGES:
        for block in blocks_of(page):
            assert block.kind in (*RUNNABLE, *SHOWN) or block.kind.startswith("{"), f"{block}: kind {block.kind!r}"
            assert not block.words or re.fullmatch(r"output|not-run: .{5,}", block.words), f"{block}: {block.words!r}"


def test_few_blocks_are_not_run() -> None:
    blocks = [block for page in PAGES for block in blocks_of(page) if block.kind in RUNNABLE]
    left = [block for block in blocks if block.words.startswith("not-run: ")]
    assert 10 * len(left) < len(blocks), "more than a tenth: " + ", ".join(map(str, left))


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 150


def test_the_api_page_has_every_public_name() -> None:
    pages = "".join((ROOT / "docs" / name).read_text() for name in ("api.md", "events.md"))
    names = [name for name in whisper_nb.__all__ if not name.endswith("load_ipython_extension")]
    assert [name for name in names if not re.search(rf":: (whisper_nb\.)?{name}\b", pages)] == []
    rows = re.findall(r"^\| `([\w.]+)` \| .+ \|$", pages, re.MULTILINE)  # for who opens the file, without Sphinx
    assert sorted(rows) == sorted([*names, "events"])


def test_links_lead_to_files() -> None:
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text()):
            if "://" not in target:
                assert (page.parent / target).exists(), f"{page.name}: {target}"


@pytest.mark.parametrize("block", [block for block in blocks_of(README) if block.kind == "shell"], ids=str)
async def test_commands_of_readme_run_in_the_checkout(block: Block, tmp_path: Path) -> None:
    await run_shell(block, tmp_path, ROOT)


@pytest.mark.parametrize("page", [page for page in PAGES if to_run(page)], ids=lambda page: page.stem)
async def test_the_blocks_of_a_page_run_in_order(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocks = to_run(page)
    monkeypatch.setenv("WHISPER_NB_HOME", str(tmp_path / "home"))
    async with Kernel(tmp_path) as kernel:
        cell = None
        for block in blocks:
            if block.kind == "shell":
                await run_shell(block, tmp_path, tmp_path, XDG_RUNTIME_DIR=kernel.runtime_dir)
            elif block.kind == "python":
                cell = await run_cell(block, kernel)
                if "%load_ext whisper_nb" in block.text:
                    await kernel.run(AT_ONCE)
            elif block.words == "output":
                assert cell is not None, f"{block}: no cell before it"
                await shows(cell, block)
        if any("%load_ext whisper_nb" in block.text for block in blocks):
            await kernel.run("%agent wait")  # what still works in the background ends without a failure, too


async def run_cell(block: Block, kernel: Kernel) -> Cell:
    """Run a block as a cell."""
    cell = kernel.send(block.text)
    reply = await cell.reply()
    assert reply["status"] == "ok", f"{block}:\n{block.text}\n" + "\n".join(reply.get("traceback", []))
    return cell


async def run_shell(block: Block, home: Path, folder: Path, **variables: str) -> None:
    """Run a block in a shell with a home of its own."""
    lines = [line.partition("  #")[0].strip() for line in block.text.splitlines()]
    script = "\n".join(line for line in lines if line not in ELSEWHERE)
    environ = {
        **(PIP if script.startswith("pip") else {}),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "MAKEFLAGS": f"-- VENV={sys.prefix}",  # this environment, whichever Python it has
        "HOME": str(home),
        "WHISPER_NB_HOME": str(home / "home"),
        "PIP_TARGET": str(home / "site"),
        "PYTHONPATH": f"{OFFLINE}{os.pathsep}{ROOT}",
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
        **variables,
    }
    shell = await asyncio.create_subprocess_exec(
        "bash", "-euc", script, env=environ, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    said, _ = await shell.communicate()
    assert shell.returncode == 0, f"{block}:\n{script}\n{said.decode()}"


async def shows(cell: Cell, block: Block) -> None:
    """Check that a cell shows this text, in which `…` stands for anything, once it has shown it."""
    pattern = ".*".join(re.escape(piece) for piece in block.text.strip().split("…"))
    try:
        await cell.until(lambda: re.search(pattern, shown_by(cell), re.DOTALL) is not None, 60)
    except TimeoutError:
        raise AssertionError(f"{block}: the cell above shows\n{shown_by(cell)}") from None


def shown_by(cell: Cell) -> str:
    """Return the text that a cell has printed and displayed."""
    text = ""
    for content in cell.contents("stream", "execute_result", "display_data", "update_display_data"):
        # A line that was printed may come in pieces.
        text += content["text"] if "text" in content else f"\n{content['data'].get('text/plain', '')}\n"
    return "\n".join(line.rstrip() for line in text.splitlines())
