"""The budget, typed answers and the reasons of ends in the panel, in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.labs import TEAM, Lab, Notebook, View, open_notebook, serious, set_theme, view

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext

pytestmark = pytest.mark.browser
WORK = """
from dataclasses import dataclass
from whisper_nb.core.messages import ReasoningDelta

@dataclass
class City:
    name: str
    people: int

rt.models["offline/ann"] = wnb.ScriptedModel([
    wnb.Rule("^List", '{"answer": [{"name": "<b>Rome</b>", "people": 3}, {"name": "Oslo", "people": 1}]}'),
    wnb.Rule("", "I do not know", role="user"),
])
rt.create(wnb.Agent(name="ann", config="offline/ann", output_type=list[City]))
class Muses(Dictated):
    async def stream(self, request):
        yield ReasoningDelta("I should count.")
        async for delta in super().stream(request):
            yield delta

rt.models["offline/eve"] = Muses("eve.txt")
rt.create(wnb.Agent(name="eve", config="offline/eve"))
rt["eve"].submit("Count")
listed, unfit = rt["ann"].submit("List cities"), rt["ann"].submit("Guess")
await listed
"""


@pytest.fixture(scope="module")
def notebook(lab: Lab, context: BrowserContext) -> Iterator[Notebook]:
    lab.write("budget.ipynb", TEAM, WORK, "%agents")
    url = f"{lab.url}/lab/workspaces/budget/tree/budget.ipynb?reset&token={lab.token}"
    notebook = open_notebook(context, url)
    notebook.command("notebook:run-all-cells")
    expect(view(notebook).root).to_be_visible()
    yield notebook
    assert [text for text in notebook.complaints if "wnb" in text or "whisper" in text.lower()] == []
    notebook.shut_down()
    notebook.page.close()


@pytest.fixture
def panel(notebook: Notebook) -> View:
    return view(notebook)


def test_the_budget_is_set_and_followed_in_the_header(notebook: Notebook, panel: View) -> None:
    meter, field = panel.root.get_by_role("meter", name="Budget"), panel.root.get_by_label("Budget in US dollars")
    expect(meter).to_be_hidden()
    panel.button("Budget…").press("Enter")
    expect(field).to_be_focused()
    panel.page.keyboard.type("2.5")
    panel.page.keyboard.press("Enter")
    expect(panel.notice).to_have_text("the budget of all agents is $2.50")
    expect(panel.button("Budget…")).to_be_focused()
    expect(field).to_be_hidden()
    assert notebook.kernel("print(rt.budget.limit_usd)") == "2.5\n"
    notebook.kernel("held = await rt.budget.reserve('ann', 0.5); rt.budget.charge('ann', 0.25)")
    expect(meter).to_have_attribute("aria-valuetext", "spent $0.2500, reserved $0.5000, left $1.7500")
    for text in ("Budget $2.50", "spent $0.2500", "reserved $0.5000", "left $1.7500"):
        expect(panel.root.get_by_text(text, exact=True)).to_be_visible()
    widths = "meter => [...meter.children].map((one) => one.style.width)"
    assert meter.evaluate(widths) == ["10%", "20%"]
    notebook.kernel("held.settle(1.75)")
    expect(panel.root.get_by_text("80 % spent")).to_be_visible()
    panel.button("Budget…").click()
    expect(field).to_have_value("2.5")
    for theme in ("JupyterLab Dark High Contrast", "JupyterLab Dark", "JupyterLab Light"):
        set_theme(panel.page, theme)
        assert serious(panel.root) == []
    field.fill("1")
    panel.button("Set").click()
    expect(panel.root.get_by_text("used up: raise it to go on")).to_be_visible()
    panel.button("Budget…").click()
    field.press("Escape")
    expect(field).to_be_hidden()
    notebook.kernel("rt.set_budget(usd=None)")
    expect(meter).to_be_hidden()


def test_the_parts_of_the_budget_differ_also_in_forced_colors(notebook: Notebook, panel: View) -> None:
    notebook.kernel("rt.set_budget(usd=1e6)")
    meter = panel.root.get_by_role("meter", name="Budget")
    expect(meter).to_be_visible()
    panel.page.emulate_media(forced_colors="active")
    images = meter.evaluate("meter => [...meter.children].map((one) => getComputedStyle(one).backgroundImage)")
    colors = meter.evaluate("meter => [meter.firstChild, meter].map((one) => getComputedStyle(one).backgroundColor)")
    panel.page.emulate_media(forced_colors="none")
    notebook.kernel("rt.set_budget(usd=None)")
    assert images[0] == "none"
    assert "gradient" in images[1]
    assert colors[0] != colors[1]


def test_a_typed_answer_is_a_table_and_one_that_does_not_fit_is_asked_for_again(panel: View) -> None:
    panel.open("ann")
    panel.button("ann#1").first.click()
    shown = panel.root.get_by_role("complementary", name="Transcript")
    table = shown.get_by_role("table")
    expect(table.get_by_role("columnheader")).to_have_text(["#", "name", "people"])
    expect(table.get_by_role("cell")).to_have_text(["0", "<b>Rome</b>", "3", "1", "Oslo", "1"])
    prints = shown.locator("code[title]")
    expect(prints).to_have_text(re.compile("^[0-9a-f]{8}$"))
    expect(prints).to_have_attribute("title", re.compile("^[0-9a-f]{64}$"))
    shown.get_by_role("button", name="Markdown").click()
    expect(table).to_be_hidden()
    expect(shown).to_contain_text('{"answer": [{"name": "<b>Rome</b>"')
    shown.get_by_role("button", name="Markdown").click()
    shown.get_by_role("button", name="Back to the agent").click()
    panel.button("ann#2").first.click()
    expect(shown.get_by_text("Asked again", exact=True)).to_have_count(2)
    expect(shown).to_contain_text("Your answer does not fit list_City: the answer is 'I do not know'")
    expect(shown.get_by_role("listitem").last).to_contain_text("its answer does not fit list[City]")
    shown.get_by_role("button", name="Close transcript").click()
    expect(panel.row("ann")).to_contain_text("ann#2: its answer does not fit")


def test_the_thoughts_of_a_reply_in_progress_are_folded(lab: Lab, panel: View) -> None:
    panel.open("eve")
    panel.button("eve#1").first.click()
    shown = panel.root.get_by_role("complementary", name="Transcript")
    thoughts = shown.get_by_text("I should count.")
    expect(thoughts).to_be_hidden()
    shown.get_by_text("Thoughts so far").click()
    expect(thoughts).to_be_visible()
    lab.tell("eve", "12", ".")
    expect(shown).to_contain_text("Reply 1")
    expect(shown.get_by_text("Thoughts so far")).to_have_count(0)
    shown.get_by_text("Thoughts").click()
    expect(thoughts).to_be_visible()
    shown.get_by_role("button", name="Close transcript").click()
