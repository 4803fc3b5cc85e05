from __future__ import annotations

import pytest

from support.inprocess import Notebook
from whisper_nb.notebook.magics import questions


@pytest.mark.parametrize(
    "question",
    [
        "how many rows?",
        "how many rows ?",
        "rows?",
        "is x = 3?",
        "is x = y?",
        "is it so that what's x = y?",
        "(is x = y?",
        "x = %agent y?",
        "is x == 3?",
        "why? how?",
        "really??",
        "what's up?",
        'what does "this" mean?',
        "2 + (3?",
        "is it {{ n }}?",
        "is {n} or $n right?",
        "¿qué?",
        "100%?",
        "is %agent ask a magic?",
    ],
)
@pytest.mark.parametrize("magic", ["%agent ask", "%whisper ask", "%agent  ask"])
async def test_a_prompt_that_ends_in_a_question_mark_reaches_the_agent(
    notebook: Notebook, question: str, magic: str
) -> None:
    notebook.run("n = 3")
    prompt = question.replace("{{ n }}", "3")
    notebook.run(f"{magic} bob -o ans {question}")
    assert notebook["ans"].prompt == prompt
    notebook.run(f"ans2 = {magic} bob {question}  ")
    assert notebook["ans2"].prompt == prompt
    await notebook["ans2"]


async def test_questions_between_other_lines_reach_the_agent(notebook: Notebook) -> None:
    notebook.run(
        "runs = []\n"
        "for name in ['a', 'b']:\n"
        "    run = %agent ask bob is {{ name }} fine?\n"
        "    runs.append(run)\n"
        "%agent ask bob -o last and now?\n"
        "done = True\n"
    )
    assert [run.prompt for run in notebook["runs"]] == ["is a fine?", "is b fine?"]
    assert notebook["last"].prompt == "and now?"
    assert notebook["done"]
    await notebook["last"]


async def test_text_that_only_looks_like_a_question_is_unchanged(notebook: Notebook) -> None:
    notebook.run("text = '''\n%agent ask bob what?\n'''\nx = '%agent ask bob what?'")
    assert notebook["text"] == "\n%agent ask bob what?\n"
    assert notebook["x"] == "%agent ask bob what?"
    assert notebook.runtime["bob"].runs == ()


@pytest.mark.parametrize("line", ["%agent?", "?%agent", "%agent ask?", "len?", "%time?"])
async def test_a_request_for_help_still_works(notebook: Notebook, line: str) -> None:
    assert "pinfo" in notebook.shell.transform_cell(line)


async def test_a_cell_magic_keeps_its_text(notebook: Notebook) -> None:
    notebook.run("%%agent bob -o ans\n%agent ask bob what?\nis it?")
    assert notebook["ans"].prompt == "%agent ask bob what?\nis it?"
    await notebook["ans"]


async def test_the_transformation_can_be_removed(notebook: Notebook) -> None:
    assert "pinfo" not in notebook.shell.transform_cell("%agent ask bob rows?")
    questions.unregister(notebook.shell)
    assert "pinfo" in notebook.shell.transform_cell("%agent ask bob rows?")
