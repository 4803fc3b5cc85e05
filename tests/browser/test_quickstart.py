"""The quickstart in JupyterLab: it is opened and run with Run All."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect

from support.labs import PROJECT, Lab, Notebook

pytestmark = pytest.mark.browser


def test_run_all_shows_the_team_at_work(lab: Lab, open_notebook: Callable[[str], Notebook], tmp_path: Path) -> None:
    for folder in ("notebooks", "whisper_nb"):
        shutil.copytree(PROJECT / folder, lab.root / "project" / folder, ignore=shutil.ignore_patterns("__pycache__"))
    notebook = open_notebook("project/notebooks/01_quickstart.ipynb")
    notebook.command("notebook:clear-all-cell-outputs")
    notebook.command("notebook:run-all-cells")

    # It streams into its launching cell while later cells run.
    review = notebook.output("%%agent assistant -o review")
    expect(review).to_contain_text("running")
    first = review.locator("p").last
    expect(first).to_contain_text("The module is about")
    expect(first).not_to_have_text(first.inner_text())

    notebook.wait_until_idle()
    expect(review).to_contain_text("assistant#1 · succeeded")
    expect(review.locator("em")).to_contain_text("The order of runs in one session")
    cases = notebook.output("%%agent tester -o cases")
    expect(cases).to_contain_text("tester#1 · succeeded")
    expect(cases.locator("table tbody tr")).to_have_count(5)
    expect(cases.locator("td").first).to_have_css("text-align", "left")
    expect(notebook.output("%agent wait")).to_have_text(re.compile("3 succeeded"))
    expect(notebook.output("ans.result()")).to_contain_text("It decides which piece of work an agent takes up next.")
    expect(notebook.page.locator(".jp-RenderedText[data-mime-type='application/vnd.jupyter.stderr']")).to_have_count(0)
    assert [text for text in notebook.complaints if "whisper" in text.lower()] == []
    notebook.page.screenshot(path=tmp_path / "quickstart.png", full_page=True)
