"""The panel and the form outside of Jupyter's own applications: in marimo and under Voila."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import BrowserContext, Page, expect

from support.labs import View, free_port, open_page, served

pytestmark = pytest.mark.browser

MARIMO = """
import marimo

app = marimo.App()

@app.cell
def _():
    import marimo as mo, whisper_nb as wnb

    rt = wnb.Runtime(environ={})
    bob = rt.create(wnb.Agent("bob"))
    return bob, mo, rt, wnb

@app.cell
def _(mo, rt):
    mo.ui.anywidget(rt.panel())
    return

@app.cell
def _(mo, rt):
    mo.ui.anywidget(rt.new_agent_form())
    return

@app.cell
async def _(bob, mo):
    mo.md("Answer: " + "".join([piece async for piece in bob.submit("hello")]))
    return

@app.cell
def _(wnb):
    def rows() -> int:
        return 3

    str(wnb.Agent("amy", tools=("rows",)).tools)
    return

@app.cell
def _(rt):
    rt
    return
"""
CELLS = [
    """import whisper_nb as wnb
rt = wnb.Runtime(environ={})
bob = rt.create(wnb.Agent("bob"))""",
    "rt.panel()",
    "rt.new_agent_form()",
    """def rows() -> int:
    return 3""",
    'print("Answer:", await bob.submit("hello"))',
]


def executable(name: str) -> str:
    return str(Path(sys.executable).with_name(name))


@pytest.fixture(scope="module")
def marimo(tmp_path_factory: pytest.TempPathFactory, context: BrowserContext) -> Iterator[Page]:
    """A page of a marimo app."""
    pytest.importorskip("marimo")
    home, port = tmp_path_factory.mktemp("marimo"), free_port()
    (home / "app.py").write_text(MARIMO)
    command = [executable("marimo"), "--yes", "run", str(home / "app.py"), "--headless", "--no-token"]
    url = f"http://127.0.0.1:{port}"
    with served([*command, "--host=127.0.0.1", f"--port={port}", "--no-skew-protection"], home, f"{url}/health"):
        page, _ = open_page(context, url)
        expect(page.get_by_text("Answer: You said: hello")).to_be_visible()
        yield page
        page.close()


@pytest.fixture(scope="module")
def voila(tmp_path_factory: pytest.TempPathFactory, context: BrowserContext) -> Iterator[Page]:
    """A page of a notebook under Voila."""
    pytest.importorskip("voila")
    home, port = tmp_path_factory.mktemp("voila"), free_port()
    (home / "config").mkdir()
    (home / "root").mkdir()
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})
    nbformat.write(notebook, home / "root" / "app.ipynb")
    url = f"http://127.0.0.1:{port}"
    command = [executable("voila"), "--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}", str(home / "root")]
    with served(command, home, url):
        page, _ = open_page(context, f"{url}/voila/render/app.ipynb")
        expect(page.get_by_text("Answer: You said: hello")).to_be_visible()
        yield page
        page.close()


def test_the_panel_shows_the_team_and_takes_prompts_in_marimo(marimo: Page) -> None:
    use_panel(marimo)


def test_the_panel_shows_the_team_and_takes_prompts_under_voila(voila: Page) -> None:
    use_panel(voila)


def use_panel(page: Page) -> None:
    panel = View(page.get_by_role("region", name="Team of agents"))
    expect(panel.row("bob")).to_contain_text("idle")
    panel.ask("bob", "from the panel")
    expect(panel.prompt).to_have_value("")
    panel.open("bob")
    expect(panel.text).to_contain_text("You said: from the panel")


def test_marimo_finds_tools_by_name_and_shows_a_line_for_the_runtime(marimo: Page) -> None:
    expect(marimo.get_by_text("(FunctionTool(rows),)")).to_be_visible()
    expect(marimo.get_by_text("<Runtime 1 agent (bob), ")).to_be_visible()


def test_the_form_creates_an_agent_in_marimo(marimo: Page) -> None:
    use_form(marimo)


def test_the_form_creates_an_agent_under_voila(voila: Page) -> None:
    use_form(voila)


def use_form(page: Page) -> None:
    form = page.get_by_role("form", name="New agent")
    form.get_by_label("Name", exact=True).fill("amy")
    form.get_by_role("button", name="Create", exact=True).click()
    panel = View(page.get_by_role("region", name="Team of agents"))
    expect(panel.row("amy")).to_contain_text("idle")
