"""Output types whose classes a notebook's cells define, and define again."""

from __future__ import annotations

import pytest

from support.inprocess import Notebook

VERDICT = "from dataclasses import dataclass\n@dataclass\nclass Verdict:\n    guilty: bool"
HIRE = "from whisper_nb import Agent\nbob = rt.create(Agent('judge', model='offline/echo', output_type={}))"
ODD = "class Odd:\n    __class__ = property(len)\nVerdict = Odd()"


@pytest.fixture
def cells(notebook: Notebook) -> Notebook:
    """A notebook that knows its runtime as `rt`."""
    notebook.shell.user_ns["rt"] = notebook.runtime
    return notebook


async def _answer(cells: Notebook, options: str = "") -> object:
    cells.run(f"run = bob.submit('Well?', fresh=True{options})")
    return await cells["run"]


@pytest.mark.parametrize("loop", ["notebook", "thread"])
async def test_answers_are_instances_of_the_class_that_cells_define_now(cells: Notebook, loop: str) -> None:
    cells.runtime.loop(loop)
    cells.run(VERDICT)
    cells.run(HIRE.format("Verdict"))
    first = cells["Verdict"]
    assert isinstance(await _answer(cells), first)
    cells.run(VERDICT)
    assert cells["Verdict"] is not first
    assert isinstance(await _answer(cells), cells["Verdict"])
    assert cells["bob"].revision == 1
    cells.run(f"{VERDICT}\n    score: int = 1")
    answer = await _answer(cells)
    assert isinstance(answer, cells["Verdict"])
    assert (answer.score, cells["bob"].revision) == (1, 2)
    cells.runtime.loop("notebook")


async def test_a_rerun_of_all_cells_gives_the_same_agent(cells: Notebook) -> None:
    for _ in range(2):
        cells.run(VERDICT)
        cells.run(HIRE.format("list[Verdict]"))
    assert cells["bob"].revision == 1
    assert [type(one) for one in await _answer(cells)] == [cells["Verdict"]]  # type: ignore[attr-defined]


@pytest.mark.parametrize("gone", ["del Verdict", "Verdict = 3", ODD])
async def test_a_class_that_is_gone_is_used_further(cells: Notebook, gone: str) -> None:
    cells.run(VERDICT)
    cells.run(HIRE.format("Verdict"))
    verdict = cells["Verdict"]
    cells.run(gone)
    assert isinstance(await _answer(cells), verdict)


async def test_the_type_of_a_run_may_be_a_name(cells: Notebook) -> None:
    cells.run(VERDICT)
    cells.run(HIRE.format("None"))
    assert await _answer(cells, ", output_type='list[Verdict]'") == [cells["Verdict"](True)]


async def test_show_tells_the_type(cells: Notebook) -> None:
    cells.run(VERDICT)
    cells.run(HIRE.format("list[Verdict]"))
    assert "\n  answers        list[Verdict]\n" in cells.run("%agent show judge")
