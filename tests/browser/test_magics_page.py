"""The magics in JupyterLab: what the Tab key offers and inserts, and help that breaks between words."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from support.labs import Lab, Notebook

pytestmark = pytest.mark.browser
TEAM = """%load_ext whisper_nb
%agent new bob  # a comment
%agent new amy
%agent pause --all
ans = %agent ask bob hi  # no"""
#: Put the cursor at the end of the cell that begins with a text.
EDIT = """source => {
    const notebook = jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = [...notebook.model.cells].findIndex(cell => cell.sharedModel.source.startsWith(source));
    notebook.mode = 'edit';
    const editor = notebook.activeCell.editor;
    editor.focus();
    editor.setCursorPosition({line: 0, column: editor.getLine(0).length});
}"""
SOURCE = "() => jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.source"
#: Whether each element of code is on one line.
UNBROKEN = "spans => spans.every((span) => span.getClientRects().length === 1)"


@pytest.mark.parametrize(
    ("typed", "first", "inserted"),
    [
        ("%%agent ", ["bob", "amy", "-o"], "%%agent bob"),
        ("%agent move bob#", ["bob#1"], "%agent move bob#1"),
    ],
)
def test_tab_offers_agents_before_flags_and_the_ids_of_runs(
    lab: Lab, open_notebook: Callable[[str], Notebook], typed: str, first: list[str], inserted: str
) -> None:
    lab.write("tab.ipynb", TEAM, typed)
    notebook = open_notebook("tab.ipynb")
    notebook.run("%load_ext")
    expect(notebook.output("%load_ext")).to_contain_text("queued")
    page = notebook.page
    page.evaluate(EDIT, typed)
    page.keyboard.press("Tab")
    items = page.locator(".jp-Completer-item .jp-Completer-match")
    expect(items.nth(len(first) - 1)).to_be_visible()
    assert items.all_inner_texts()[: len(first)] == first
    page.keyboard.press("Enter")
    page.wait_for_function(f"inserted => ({SOURCE})() === inserted", arg=inserted)
    notebook.shut_down()


def test_help_breaks_lines_between_words(lab: Lab, open_notebook: Callable[[str], Notebook]) -> None:
    lab.write("help.ipynb", "%load_ext whisper_nb", "%agent help  # all", "%agent help ask  # one")
    notebook = open_notebook("help.ipynb")
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_idle()
    for source in ("# all", "# one"):
        output = notebook.output(source)
        expect(output.locator("pre").first).to_contain_text("%agent")
        assert output.locator("code span").evaluate_all(UNBROKEN)
        assert output.locator("pre").first.evaluate("pre => getComputedStyle(pre).wordBreak") == "normal"
    notebook.shut_down()
