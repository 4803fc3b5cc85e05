"""Where runs are shown: what a front end does not update, gets the answer in another way."""

from __future__ import annotations

import ipywidgets
import pytest

from support.inprocess import FrontEnd, Notebook


async def test_a_run_inside_an_output_widget_is_updated_there(notebook: Notebook) -> None:
    front = FrontEnd(notebook)
    around = ipywidgets.Output(msg_id="e1")  # as inside `with around:`
    front.run("e1", "%agent ask bob -o ans hello", cellId="a")
    around.close()
    box = notebook.shown[-1]["data"]["application/vnd.jupyter.widget-view+json"]["model_id"]
    shown = ipywidgets.widgets.widget._instances[box]
    assert "submitted" in shown.outputs[0]["data"]["text/plain"]
    await notebook["ans"]
    notebook.bench.outputs.settle()
    assert "heard: hello" in shown.outputs[0]["data"]["text/plain"]
    assert len(notebook.shown) == 1
    front.run("e2", "%agent ask bob -o ans hello", cellId="a")
    assert "submitted" in notebook.shown[-1]["data"]["text/plain"]


async def test_what_a_cell_captures_is_current_when_it_is_shown(notebook: Notebook) -> None:
    front = FrontEnd(notebook)
    front.run(
        "e1", "with __import__('IPython').utils.capture.capture_output() as cap:\n    %agent ask bob -o ans hello"
    )
    assert notebook.shown == []
    await notebook["ans"]
    notebook.bench.outputs.settle()
    front.run("e2", "cap.show()")
    assert "heard: hello" in notebook.shown[-1]["data"]["text/plain"]


@pytest.mark.parametrize(
    ("execution", "stdin", "metadata", "shown"),
    [
        ("one_12_1", True, {}, "display_data"),  # jupyter console
        ("one_12_1", False, {}, "update_display_data"),  # nbclient
        ("one_12_1", True, {"cellId": "a"}, "update_display_data"),
        ("a-front-ends-own", True, {}, "update_display_data"),
    ],
)
async def test_a_console_that_ignores_updates_gets_the_answer_as_an_output_of_its_own(
    execution: str, stdin: bool, metadata: dict[str, str], shown: str, notebook: Notebook
) -> None:
    front = FrontEnd(notebook)
    told = front.run(execution, "%agent ask bob -o ans hello", stdin=stdin, **metadata)
    console = shown == "display_data"
    assert (told.startswith("bob#1 · submitted"), len(notebook.shown)) == (console, not console)
    await notebook["ans"]
    for _ in range(2):
        notebook.bench.outputs.settle()
    assert "heard: hello" in notebook.shown[-1]["data"]["text/plain"]
    assert notebook.shown[-1].get("update", False) is not console
    assert len(notebook.shown) == (1 if console else 2)
