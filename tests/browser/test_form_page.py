"""The form for a new agent, in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from support.labs import Lab, Notebook, serious, set_theme

pytestmark = pytest.mark.browser
CELLS = (
    "%load_ext whisper_nb\ndef rows(path: str) -> int:\n    'Count the rows.'\n    return 3",
    "%agent new",
    "%agents",
)


def test_an_agent_is_created_and_saved_in_the_form(lab: Lab, open_notebook: Callable[[str], Notebook]) -> None:
    (lab.root / "crew" / "agents").mkdir(parents=True)  # a project of its own
    lab.write("crew/form.ipynb", *CELLS)
    notebook = open_notebook("crew/form.ipynb")
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_idle()
    form, file = notebook.output("%agent new"), lab.root / "crew" / "agents" / "bob.yaml"
    create, save = (form.get_by_role("button", name=name, exact=True) for name in ("Create", "Save"))

    # A problem is shown beside its field while the user types, and the agent cannot be created.
    name = form.get_by_role("textbox", name="name", exact=True)
    expect(create).to_be_disabled()
    name.press_sequentially("bob the builder")
    expect(form).to_contain_text(re.compile("name 'bob the builder'"))
    name.fill("bob")
    expect(form).not_to_contain_text("bob the builder")
    turns = form.get_by_role("textbox", name="max turns")
    turns.press_sequentially("0")
    beside = turns.locator("xpath=ancestor::*[.//*[@role='status']][1]")
    expect(beside.get_by_role("status")).to_contain_text(re.compile("max_turns.*at least 1"))
    expect(create).to_be_disabled()
    turns.fill("5")
    expect(form).not_to_contain_text("at least 1")
    form.get_by_role("textbox", name="tools").fill("rows")
    form.get_by_role("textbox", name="system prompt").fill("You build.\nBriefly.")

    yaml, python = form.get_by_label("YAML"), form.get_by_label("Python")
    expect(yaml).to_contain_text("max_turns: 5")
    expect(yaml).to_contain_text("You build.")
    expect(python).to_contain_text("name='bob'")
    expect(python).to_contain_text("(rows,)")
    create.click()
    expect(form).to_contain_text("bob is ready; answers with offline/echo")
    row = notebook.output("%agents").get_by_role("row").filter(has_text="bob")
    expect(row).to_contain_text("idle")

    save.click()
    expect(form).to_contain_text("bob is in agents/bob.yaml")
    before = file.read_text()
    form.get_by_role("textbox", name="description").fill("He builds.")
    expect(yaml).to_contain_text("He builds.")
    for answer in ("Keep", "Overwrite"):
        assert file.read_text() == before
        save.click()
        expect(form).to_contain_text("agents/bob.yaml exists. Overwrite?")
        form.get_by_role("button", name=answer, exact=True).click()
        expect(form).not_to_contain_text("Overwrite?")
    expect(form).to_contain_text("bob is in agents/bob.yaml")
    assert "He builds." in file.read_text()

    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        set_theme(notebook.page, theme)
        name.fill("not a name")
        expect(form).to_contain_text("name 'not a name'")
        assert serious(form) == []
    assert [text for text in notebook.complaints if "whisper" in text.lower()] == []
    notebook.shut_down()
