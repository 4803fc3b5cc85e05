"""Amounts of money and math, in a real JupyterLab: MathJax has the one and not the other."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from labs import TEAM, Lab, Notebook
from playwright.sync_api import expect

pytestmark = [pytest.mark.browser, pytest.mark.timeout(120)]
KEYS = "import os; os.environ |= {'OPENAI_API_KEY': 'x', 'ANTHROPIC_API_KEY': 'x'}"
PROMPT = "Is it $5 or $6 here, $7 or $8 there?"


def test_dollars_stand_as_they_are_and_math_is_typeset(lab: Lab, open_notebook: Callable[[str], Notebook]) -> None:
    reply = f"%%agent ann\n{PROMPT}"
    lab.write("money.ipynb", KEYS, TEAM, "hire('ann', 'bob')", "%agent models", reply, "%agent list", "%agents")
    notebook = open_notebook("money.ipynb")
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_idle()
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
