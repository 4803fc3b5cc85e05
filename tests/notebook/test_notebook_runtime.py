"""The runtime of a notebook: its completion, and the creation of agents."""

from __future__ import annotations

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
