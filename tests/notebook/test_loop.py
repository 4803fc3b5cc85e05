"""A notebook whose agents run in a thread: displays and commands work with them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from IPython.core.interactiveshell import InteractiveShell

from support.forms import WatchedForm
from support.inprocess import Notebook
from support.panels import rows_of
from whisper_nb import Rule, ScriptedModel
from whisper_nb.notebook.create import create
from whisper_nb.notebook.panel.panel import Panel
from whisper_nb.notebook.runtime import NotebookRuntime


@pytest.fixture
async def runtime(complaints: list[str]) -> AsyncIterator[NotebookRuntime]:
    """On the test's loop at first. The test fails if a task of it is left."""
    async with NotebookRuntime(environ={}) as rt:
        yield rt
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert [one for one in threading.enumerate() if one.name == "whisper_nb agents"] == []


async def test_agents_move_to_the_thread_and_back(notebook: Notebook) -> None:
    assert notebook.run("%agent loop") == "agents run on the notebook's own loop\n"
    assert notebook.run("%agent loop thread") == "agents run on a loop in their own thread\n"
    notebook.run("%agent ask bob -o ans hello")
    assert await notebook["ans"] == "heard: hello"
    notebook.run("%agent pause bob\n%agent ask bob -o ans again")
    assert notebook.run("%agent loop notebook") == "agents run on the notebook's own loop\n"
    notebook.run("%agent resume bob")
    assert await notebook["ans"] == "heard: again"
    assert "invalid choice: 'mars'" in notebook.error("%agent loop mars")


async def test_agents_at_work_cannot_move(notebook: Notebook) -> None:
    notebook.run("%agent loop thread\n%agent new amy")
    notebook.runtime.models["offline/test"] = ScriptedModel([Rule(delay_s=3600)])
    notebook.run("%agent ask bob hello\n%agent ask amy hello")
    assert notebook.error("%agent loop notebook") == (
        "bob, amy are at work, and agents move to another loop at rest: "
        "wait for their runs (%agent wait), or end them (%agent cancel NAME)"
    )
    notebook.run("%agent stop --all")


async def test_the_output_of_a_run_is_current_when_its_cell_has_ended(notebook: Notebook) -> None:
    notebook.run("%agent loop thread")
    notebook.shell.events.register("post_run_cell", notebook.bench.outputs.settle)
    notebook.run("%agent ask bob -o ans hello")
    await notebook["ans"]
    notebook.run("pass")
    assert "heard: hello" in notebook.shown[-1]["data"]["text/plain"]
    count = len(notebook.shown)
    notebook.run("pass")
    assert len(notebook.shown) == count
    notebook.shell.events.unregister("post_run_cell", notebook.bench.outputs.settle)


async def test_lists_and_static_forms_show_agents_in_the_thread(notebook: Notebook) -> None:
    notebook.run("%agent loop thread\n%agent pause bob\n%agent ask bob -o ans hello")
    notebook.run("%agent list")
    listed = notebook.shown[-1]["data"]["text/plain"]
    assert "paused" in listed
    assert "#1" in listed
    assert "1 agent · 1 paused · 1 queued" in notebook.run("%agents")
    notebook.run("%agent log bob\n%agent show bob\n%agent history bob\n%agent cost")


async def test_the_panel_works_with_agents_in_the_thread(runtime: NotebookRuntime, shell: InteractiveShell) -> None:
    sent: list[tuple[str, dict[str, Any]]] = []
    told = threading.Event()

    class Watched(Panel):
        def send(self, content: dict[str, Any], buffers: Any = None) -> None:
            sent.append((threading.current_thread().name, content))
            told.set()

    runtime.models["offline/test"] = ScriptedModel([Rule(reply="fine")])
    runtime.configure(offline="offline/test")
    runtime.loop("thread")
    create(runtime, "alice")
    panel = Watched(runtime)

    def hear(do: str, **fields: Any) -> None:
        content = {"do": do, "view": "view1", "id": 1, **fields}
        panel._handle_msg({"content": {"data": {"method": "custom", "content": content}}})

    hear("hello")
    assert told.wait(100)
    hear("pause", agent="alice")
    hear("ask", agent="alice", prompt="hello", priority="normal")
    runtime.home.do(lambda: None)
    assert runtime["alice"].state.label == "paused"
    assert len(runtime["alice"].unfinished) == 1
    assert {thread for thread, _ in sent} == {"whisper_nb agents"}
    assert [one["text"] for _, one in sent if one["kind"] == "done"] == ["alice: paused", "alice#1 queued"]
    whole = next(one for _, one in sent if one["kind"] == "all")
    assert (rows_of(whole["rows"]).keys(), whole["threaded"]) == ({"alice"}, True)
    panel.close()


async def test_a_form_is_filled_in_on_the_main_thread(runtime: NotebookRuntime) -> None:
    runtime.loop("thread")
    form = WatchedForm(runtime, runtime.find_tool)
    form.ask("type", texts={"name": "bob"})
    form.ask("create")
    assert [session.name for session in runtime.sessions] == ["bob"]
    form.ask("type", texts={"name": "amy"})
    await asyncio.to_thread(form.ask, "create")  # as some kernels do
    await asyncio.sleep(0)
    assert [session.name for session in runtime.sessions] == ["bob", "amy"]
