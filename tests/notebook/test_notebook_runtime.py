"""The runtime of a notebook: its completion, and the creation of agents."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from whisper_nb import Agent, ConfigError
from whisper_nb.notebook.create import create
from whisper_nb.notebook.runtime import NotebookRuntime


async def test_completion_offers_only_public_names(runtime: NotebookRuntime) -> None:
    names = dir(runtime)
    assert {"create", "panel", "sessions", "configure"} <= {*names}
    assert [name for name in names if name.startswith("_")] == []


async def test_creating_an_agent_reports_what_changed(runtime: NotebookRuntime) -> None:
    assert create(runtime, "alice").startswith("alice is ready; answers with ")
    assert create(runtime, Agent(name="bob", config="offline/echo")) == "bob is ready; answers with offline/echo"
    assert create(runtime, Agent(name="bob", config="offline/echo")) == "bob is ready; answers with offline/echo"
    changed = create(runtime, Agent(name="bob", title="Bob", config="offline/echo"))
    assert changed == "bob: revision 2 (title), history kept; answers with offline/echo"


async def test_an_unknown_offline_model_creates_no_agent(runtime: NotebookRuntime) -> None:
    with pytest.raises(ConfigError):
        create(runtime, Agent(name="bob", config="offline/nonsense"))
    assert runtime.get("bob") is None


def test_the_runtime_of_a_script_has_a_panel_and_a_form(python: Callable[..., str]) -> None:
    """They are what marimo and Voila show. A script that shows none does not pay for them."""
    said = python("""
import asyncio, sys, whisper_nb as wnb

async def main():
    async with wnb.Runtime(environ={}) as rt:
        run = rt.create(wnb.Agent("bob")).submit("hello")
        print(sorted({"IPython", "ipywidgets", "anywidget"} & sys.modules.keys()))
        panel = rt.panel()
        print(panel is rt.panel(), rt.new_agent_form() is not rt.new_agent_form())
        await run
    print(panel is not None and panel.comm is None, wnb.Runtime.__name__, repr(rt))

asyncio.run(main())
""")
    assert said.splitlines() == ["[]", "True True", "True Runtime <Runtime closed, 1 agent (bob)>"]


def test_an_agents_file_names_functions_of_the_script(python: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    (tmp_path / "agents/bob.yaml").write_text("system_prompt: Count.\ntools: [rows]\n")
    said = python("""
import asyncio, whisper_nb as wnb

def rows() -> int:
    "The number of rows."
    return 3

async def main():
    async with wnb.Runtime(environ={}, project=".") as rt:
        print([tool.name for tool in rt["bob"].agent.tools], wnb.Agent("amy", tools=("rows",)).tools)

asyncio.run(main())
""")
    assert said == "['rows'] (FunctionTool(rows),)\n"
