"""The requests of a view of the panel: the effect and the reply of each."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.doubles import HeldModel, hire, quiet, settled
from support.panels import QUICK, Watched, looked_at, row_when
from whisper_nb import Run, ScriptedModel
from whisper_nb.notebook.runtime import NotebookRuntime


@pytest.fixture
def seen(runtime: NotebookRuntime) -> Iterator[Watched]:
    """A panel with a view."""
    with looked_at(runtime) as panel:
        yield panel


@pytest.fixture
def held(runtime: NotebookRuntime) -> HeldModel:
    """`offline/held`."""
    runtime.models["offline/held"] = model = HeldModel()
    return model


async def held_runs(runtime: NotebookRuntime, held: HeldModel, count: int) -> list[Run]:
    """Submit runs, of which the first is running and the others are queued."""
    runs = [runtime["bob"].submit(f"job {number}", config={"model": "offline/held"}) for number in range(1, count + 1)]
    await held.arrived()
    return runs


async def test_a_ping_is_answered(seen: Watched) -> None:
    assert seen.say("ping") == ""


async def test_a_prompt_is_submitted_to_an_agent(runtime: NotebookRuntime, seen: Watched) -> None:
    assert seen.say("ask", agent="bob", prompt="count\nrows", priority="high") == "bob#1 queued"
    await quiet()
    (run,) = runtime["bob"].runs
    assert (run.prompt, run.priority, run.text) == ("count\nrows", "high", "fine")


async def test_a_prompt_for_all_skips_stopped_agents(runtime: NotebookRuntime, seen: Watched) -> None:
    hire(runtime, ScriptedModel(QUICK), "cat")
    assert seen.say("stop", agent="amy") == "amy: stopped"
    assert seen.say("ask", agent="*", prompt="hello", priority="normal") == "2 runs queued"
    assert "amy was stopped" in seen.fail("ask", agent="amy", prompt="hello", priority="normal")
    assert seen.say("stop", agent="*") == "3 agents: stopped"
    assert "every agent is stopped" in seen.fail("ask", agent="*", prompt="hello", priority="normal")
    await quiet()
    assert [len(session.runs) for session in runtime.sessions] == [1, 0, 1]


async def test_a_prompt_for_all_names_the_agents_that_refused_it(runtime: NotebookRuntime, seen: Watched) -> None:
    for session in runtime.sessions:
        session.pause()
    for number in range(1_000):
        runtime["amy"].submit(f"{number}")
    said = seen.say("ask", agent="*", prompt="hello", priority="normal")
    assert said.startswith("bob#1 queued; but the queue of amy is full (1,000 runs)")
    for number in range(999):
        runtime["bob"].submit(f"{number}")
    said = seen.fail("ask", agent="*", prompt="hello", priority="normal")
    assert [f"the queue of {name} is full" in said for name in ("bob", "amy")] == [True, True]
    runtime.stop()
    await quiet()


async def test_agents_are_paused_resumed_and_stopped(runtime: NotebookRuntime, seen: Watched) -> None:
    assert seen.say("pause", agent="bob") == "bob: paused"
    assert seen.say("stop", agent="amy") == "amy: stopped"
    assert seen.say("pause", agent="*") == "1 agent: paused"
    assert [session.state.gate for session in runtime.sessions] == ["paused", "stopped"]
    assert "'pause' is illegal" in seen.fail("pause", agent="amy")
    assert seen.say("resume", agent="*") == "2 agents: at work again"
    assert [session.state.gate for session in runtime.sessions] == ["open", "open"]
    await quiet()


async def test_runs_are_moved_and_cancelled(runtime: NotebookRuntime, seen: Watched, held: HeldModel) -> None:
    first, *rest = await held_runs(runtime, held, 5)
    assert seen.say("prioritize", run="bob#5", priority="urgent") == "bob#5 has priority urgent"
    assert seen.say("move", run="bob#4", before="bob#2") == "bob#4 comes before bob#2"
    order = [("bob#5", "urgent"), ("bob#4", "normal"), ("bob#2", "normal"), ("bob#3", "normal")]
    await row_when(runtime["bob"], runtime, queue=[[run, priority, f"job {run[-1]}"] for run, priority in order])
    assert "only queued runs are moved" in seen.fail("prioritize", run="bob#1", priority="low")
    assert "not in the queue" in seen.fail("move", run="bob#4", before="bob#1")
    assert seen.say("clear", agent="bob") == "bob: 4 queued runs cancelled"
    assert seen.say("cancel", run="bob#1") == "bob#1 cancelled"
    await settled(first, *rest)
    assert seen.say("cancel", run="bob#1") == "bob#1 has already cancelled"
    assert seen.say("clear", agent="bob") == "bob: 0 queued runs cancelled"


async def test_requests_for_runs_and_agents_that_have_gone_fail(seen: Watched) -> None:
    assert seen.fail("cancel", run="bob#99") == "no run bob#99: the agent keeps only its newest runs"
    assert seen.fail("cancel", run="zoe#1") == seen.fail("pause", agent="zoe") == "no agent named zoe: it was removed"
    assert "no agent named 'zoe'" in seen.fail("create", agent="zoe")


async def test_an_agent_of_a_file_is_created_once(runtime: NotebookRuntime, seen: Watched) -> None:
    assert seen.say("create", agent="tessa").startswith("tessa is ready")
    (team,) = seen.told("team")
    assert "tessa" not in [one["name"] for one in team["team"]]
    assert runtime.get("tessa")
    runtime["tessa"].stop()
    assert seen.fail("create", agent="tessa") == "tessa exists already"
    assert runtime["tessa"].state.gate == "stopped", "to hire is not to resume"
    assert seen.told("team") == []
    await quiet()


async def test_an_internal_error_is_answered_and_logged(
    seen: Watched, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(seen, "_do_ping", lambda view: 1 / 0)
    assert seen.fail("ping") == "ping failed; see the kernel's log"
    assert "the panel cannot execute ping" in caplog.text
