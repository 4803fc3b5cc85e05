"""Outputs of cells in JupyterLab: amounts of money are unchanged, math is typeset, errors are readable."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from support.labs import TEAM, Lab, Notebook, set_theme

pytestmark = pytest.mark.browser
KEYS = "import os; os.environ |= {'OPENAI_API_KEY': 'x', 'ANTHROPIC_API_KEY': 'x'}"
PROMPT = "Is it $5 or $6 here, $7 or $8 there?"
#: The contrast of an element's text to the notebook's background, as WCAG defines it.
CONTRAST = """element => {
    const luminance = (one, color) => {
        const channels = getComputedStyle(one)[color].match(/\\d+/g).map((channel) => channel / 255);
        const [r, g, b] = channels.map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
    };
    const [text, back] = [luminance(element, 'color'), luminance(element.closest('.jp-Notebook'), 'backgroundColor')];
    return Math.max(text, back) / Math.min(text, back);
}"""

#: The height of a text, its type, and how it breaks.
TYPE = """element => {
    const style = getComputedStyle(element);
    const look = ['fontFamily', 'fontSize', 'lineHeight', 'wordBreak', 'marginTop', 'marginBottom'];
    return [element.offsetHeight, ...look.map((name) => style[name])];
}"""


def test_dollar_amounts_are_unchanged_and_math_is_typeset(lab: Lab, open_notebook: Callable[[str], Notebook]) -> None:
    reply = f"%%agent ann\n{PROMPT}"
    lab.write("money.ipynb", KEYS, TEAM, "hire('ann', 'bob')", "%agent models", reply, "%agent list", "%agents")
    notebook = open_notebook("money.ipynb")
    notebook.command("notebook:run-all-cells")
    expect(notebook.output("%%agent ann")).to_contain_text("running")
    notebook.wait_until_idle()
    notebook.run("%agent list")  # once more: the run may have started after the first one
    expect(notebook.output("%agent list")).to_contain_text("$5 or $6 here, $7 or")
    lab.tell("ann", "It costs $5 or $6, and $x^2$ is", "", r"$$\frac{a}{b}$$", "", r"and \(y\).", ".")
    said = notebook.output("%%agent ann")
    expect(said.locator("mjx-container")).to_have_count(3)
    expect(said).to_contain_text("It costs $5 or $6, and ")
    for source in ("%agent models", "%agent list", "%agents"):
        output = notebook.output(source)
        expect(output.locator("table").last).to_be_attached()
        expect(output.locator("mjx-container")).to_have_count(0)
    expect(notebook.output("%agent models")).to_contain_text("$1.00 in, $5.00 out")
    notebook.shut_down()


def test_an_error_is_readable_in_every_theme(lab: Lab, open_notebook: Callable[[str], Notebook]) -> None:
    lab.write("error.ipynb", TEAM, "hire('ann')", "%%agent ann\nhello")
    notebook = open_notebook("error.ipynb")
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_idle()
    lab.tell("ann", "!the provider is down")
    error = notebook.output("%%agent ann").get_by_text("the provider is down")
    expect(error).to_be_visible()
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        set_theme(notebook.page, theme)
        assert error.evaluate(CONTRAST) >= 4.5
    notebook.shut_down()


@pytest.mark.parametrize("end", [".", "!the provider is down"])
def test_a_text_that_streams_looks_as_it_does_at_the_end(
    lab: Lab, open_notebook: Callable[[str], Notebook], end: str
) -> None:
    lab.write("type.ipynb", TEAM, "hire('ann')", "%%agent ann\nhello")
    notebook = open_notebook("type.ipynb")
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_idle()
    lab.tell("ann", "characteristic representative sentences " * 20)
    text = notebook.output("%%agent ann").get_by_text("characteristic")
    expect(text).to_be_visible()
    streamed = text.evaluate(TYPE)
    lab.tell("ann", end)
    expect(notebook.output("%%agent ann")).to_contain_text("failed" if end[0] == "!" else "succeeded")
    assert text.evaluate(TYPE) == streamed
    assert "break-all" not in streamed
    notebook.shut_down()


DRY_TEAM = """
%load_ext whisper_nb
import whisper_nb as wnb
from dataclasses import dataclass

@dataclass
class Verdict:
    "A judgement of a claim."
    ok: bool
    reasons: list[str]

def rows(table: str, limit: int = 10) -> list[str]:
    "Return rows of a table."
    return []

rt = wnb.runtime()
rt.set_budget(2.0)
config = {"model": "openai/gpt-4o-mini", "temperature": 0.2, "max_tokens": 500}
agent = wnb.Agent(name="ann", config=config, tools=[rows], memory="last:4", output_type=Verdict)
ann = rt.create(agent)
for number in range(6):
    await ann.submit(f"Question {number}: costs it $5 or $6?", model="offline/echo", output_type=str)
"""


def test_a_dry_run_is_a_card_that_is_readable_in_every_theme(
    lab: Lab, open_notebook: Callable[[str], Notebook]
) -> None:
    lab.write("dry.ipynb", DRY_TEAM, f"%%agent ann --dry-run -o seen\n{PROMPT}", "print(seen.fingerprint)")
    notebook = open_notebook("dry.ipynb")
    notebook.command("notebook:run-all-cells")
    card = notebook.output("%%agent ann")
    expect(card).to_contain_text("dry run: ann would call openai/gpt-4o-mini. Nothing was sent.")
    expect(card).to_contain_text(f"prompt: {PROMPT}")
    expect(card.locator("mjx-container")).to_have_count(0)
    title = card.locator("code[title^=SHA-256]").get_attribute("title") or ""
    expect(notebook.output("print(seen")).to_contain_text(title.removeprefix("SHA-256 "))
    json = card.locator("details pre")
    expect(json).to_be_hidden()
    card.locator("summary").click()
    expect(json).to_contain_text('"temperature": 0.2')
    for theme in ("JupyterLab Dark", "JupyterLab Light"):
        set_theme(notebook.page, theme)
        for one in (json, card.locator("td").first, card.locator("td").last):
            assert one.evaluate(CONTRAST) >= 4.5
    notebook.shut_down()
