"""Typed answers and thoughts in JupyterLab: a table of fields or rows, a large value, folded thoughts, raw text."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect

from support.labs import TEAM, Lab, Notebook

pytestmark = pytest.mark.browser

CLASS = """
from dataclasses import dataclass
from typing import Literal

@dataclass
class Verdict:
    verdict: Literal["good", "bad"]
    why: str
    score: float
    tags: list[str]
"""
ONE = '{"verdict": "good", "why": "<b>All</b> checks pass", "score": 0.9, "tags": ["fast", "small"]}'
ROW = '{"verdict": "bad", "why": "too slow", "score": 0.25, "tags": []}'


def test_typed_answers_are_tables_and_thoughts_are_folded(lab: Lab, open_notebook: Callable[[str], Notebook]) -> None:
    lab.write(
        "answers.ipynb",
        TEAM,
        CLASS,
        "hire('ann', 'bob', 'cid', 'dan', 'eve')",
        "%%agent ann -o v --schema Verdict\nIs it good?",
        "%%agent bob --schema list[Verdict]\nAre they good?",
        "%%agent cid --schema Literal['yes', 'no'] --set output_retries=0\nYes or no?",
        "%%agent dan --schema int --raw\nHow many?",
        "%%agent eve --schema float\nHow much?",
        "v  # once more",
    )
    notebook = open_notebook("answers.ipynb")
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_idle()
    lab.tell("ann", "<think>I look at", "the <i>checks</i>.</think>", ONE)
    ann, bob, cid, dan = (notebook.output(f"%%agent {name}") for name in ("ann", "bob", "cid", "dan"))
    expect(ann.locator("pre")).to_contain_text("All")  # it streams as code
    expect(ann).to_contain_text("thoughts: ")
    expect(ann.locator("details")).to_have_count(0)
    lab.tell("ann", ".")
    expect(ann.locator("tbody tr")).to_have_count(4)
    expect(ann.locator("tbody")).to_contain_text("<b>All</b> checks pass")
    expect(ann.locator("pre")).to_have_count(0)
    folded = ann.get_by_text("I look at the <i>checks</i>.")
    expect(folded).to_be_hidden()
    ann.locator("summary").click()
    expect(folded).to_be_visible()
    lab.tell("bob", f'{{"answer": [{", ".join([ROW] * 500)}]}}', ".")
    expect(bob.locator("tbody tr")).to_have_count(20)
    expect(bob).to_contain_text("… 480 more rows in run.output")
    lab.tell("cid", '{"answer": "perhaps"}', ".")
    expect(cid).to_contain_text("does not fit")
    expect(cid.locator("pre")).to_contain_text('{"answer": "perhaps"}')
    lab.tell("dan", '{"answer": 1234}', ".")
    expect(dan.locator("pre")).to_have_text('{"answer": 1234} ')
    eve = notebook.output("%%agent eve")
    lab.tell("eve", "<think>", '{"answer": 0.75}', "</think>", "0.75", ".")
    expect(eve.get_by_text("0.75", exact=True)).to_have_css("font-weight", "600")
    expect(eve.get_by_text('{"answer"')).to_be_hidden()
    notebook.run("v  # once more")
    expect(notebook.output("once more").locator("tbody tr")).to_have_count(4)
    notebook.shut_down()
