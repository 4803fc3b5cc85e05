"""The panel in Notebook 7, another application that is built from JupyterLab's parts."""

from __future__ import annotations

import pytest
from playwright.sync_api import BrowserContext, expect

from support.labs import TEAM, Lab, open_notebook, view

pytestmark = pytest.mark.browser


def test_the_panel_works_in_notebook_7(lab: Lab, context: BrowserContext) -> None:
    lab.write("seven.ipynb", TEAM, "hire('ada', 'ben')", "%agents", "%agent wait")
    notebook = open_notebook(context, f"{lab.url}/notebooks/seven.ipynb?token={lab.token}")
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_idle()
    panel = view(notebook)
    for agent, prompt in (("ada", "first"), ("ada", "second"), ("*", "for everybody")):
        panel.ask(agent, prompt)
        expect(panel.prompt).to_have_value("")
    panel.open("ada")
    lab.tell("ada", "some", "words")
    expect(panel.text).to_contain_text("some words")
    expect(panel.row("ben")).to_contain_text("for everybody")
    expect(panel.queue).to_contain_text(["second", "for everybody"])
    panel.button("Move up ada#3").click()
    expect(panel.queue).to_contain_text(["for everybody", "second"])
    panel.button("Cancel ada#2").click()
    expect(panel.queue).to_have_count(1)

    notebook.run("%agent wait")
    expect(notebook.cell("%agent wait")).to_contain_text("[*]")
    panel.button("Cancel run").click()
    expect(panel.row("ada")).to_contain_text("for everybody")
    lab.tell("ada", ".")
    lab.tell("ben", ".")
    expect(notebook.output("%agent wait")).to_contain_text("2 succeeded")
    expect(panel.row("ada")).to_contain_text("idle")
    expect(notebook.output("%agents").locator("details")).not_to_have_attribute("open", "")
    assert [text for text in notebook.complaints if "wnb" in text or "whisper" in text.lower()] == []
    notebook.shut_down()
    notebook.page.close()
