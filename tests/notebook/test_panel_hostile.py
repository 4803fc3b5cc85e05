"""The panel and a hostile front end: invalid messages have no effect and are counted."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from typing import Any

import pytest

from support.doubles import HeldModel, quiet
from support.panels import Said, Watched, looked_at
from whisper_nb.notebook.panel.panel import REQUEST
from whisper_nb.notebook.runtime import NotebookRuntime


@pytest.fixture
def panel(runtime: NotebookRuntime) -> Iterator[Watched]:
    """A panel with a view."""
    with looked_at(runtime) as panel:
        yield panel


SYNCED = ["_esm", "_css", "_anywidget_id", "_model_name", "_view_module", "layout", "tooltip", "_dom_classes"]
VALID: list[Said] = [
    {"do": "hello"}, {"do": "ping"}, {"do": "look", "names": "bob", "open": "bob"}, {"do": "seen", "number": 1},
    {"do": "ask", "agent": "bob", "prompt": "hi", "priority": "high"}, {"do": "pause", "agent": "*"},
    {"do": "resume", "agent": "bob"}, {"do": "stop", "agent": "*"}, {"do": "cancel", "run": "bob#1"},
    {"do": "clear", "agent": "bob"}, {"do": "prioritize", "run": "bob#2", "priority": "low"},
    {"do": "move", "run": "bob#3", "before": "bob#2"}, {"do": "create", "agent": "tessa"},
    {"do": "lanes", "names": "bob amy", "whole": "bob", "since": 0, "step": 500},
]  # fmt: skip
WRONG = [None, True, 1.5, -1, 2**53 + 1, math.nan, math.inf, [], ["bob"], {}, {"bob": 1}, "x" * (REQUEST + 1)]
WRONG_NAMES = [
    "",
    "bob\n",
    " bob",
    "bob ",
    "b\ud800b",
    "böb",
    "../bob",
    "__class__",
    "**",
    "bob;amy",
    "b" * 65,
    "bob\0",
]


def anything(chance: random.Random, depth: int = 0) -> Any:
    """JSON of any shape."""
    kind = chance.randrange(8 if depth < 5 else 6)
    if kind == 6:
        return [anything(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 7:
        keys = ["method", "content", "data", "do", "view", "id", "state", "buffers", "x" * 99]
        return {chance.choice(keys): anything(chance, depth + 1) for _ in range(chance.randrange(4))}
    return chance.choice([None, True, -1, 1e308, "custom", "update", "stop", "\ud800", "*", "{}", 10**400])


def near_miss(chance: random.Random) -> Any:
    """A command with one error."""
    wanted = {"view": "view1", "id": 1, **chance.choice(VALID)}
    name = chance.choice(list(wanted))
    match chance.randrange(5):
        case 0:
            del wanted[name]
        case 1:
            wanted[chance.choice(["extra", "self", "_do", "DO", ""])] = anything(chance)
        case 2:
            wanted[name] = chance.choice(WRONG)
        case 3:
            wanted["view"] = chance.choice([*WRONG_NAMES, "abc", "View1", "v" * 33])
        case _:
            wanted["do"] = chance.choice(["", "Stop", "stop ", "_do_stop", "close", "__init__", "recheck", "stop\n"])
    if name in ("agent", "run", "before", "priority") and chance.random() < 0.5:
        wanted[name] = chance.choice(WRONG_NAMES)
    return wanted


def hostile(chance: random.Random) -> Any:
    """A message of a comm without an allowed request."""
    valid = {"view": "view1", "id": 1, **chance.choice(VALID)}
    data: Any
    match chance.randrange(7):
        case 0:
            return anything(chance)
        case 1:
            return {"content": anything(chance), "buffers": anything(chance)}
        case 2:
            data = {"method": "custom", "content": anything(chance)}
        case 3:
            name = chance.choice(SYNCED)
            data = {"method": "update", "state": {name: anything(chance)}, "buffer_paths": [[name]]}
        case 4:
            data = {"method": chance.choice(["Custom", "echo_update", "", None, [], 1]), "content": valid}
        case 5:
            return {"content": {"data": {"method": "custom", "content": valid}}, "buffers": [b"x"]}
        case _:
            data = {"method": "custom", "content": near_miss(chance)}
    return {"content": {"data": data}, "buffers": []}


def everything(runtime: NotebookRuntime, panel: Watched) -> Any:
    """All state that a front end could try to change."""
    sessions = [
        (one.agent, one.state, one.configured, one.revision, one.history, one.spent, one.queue)
        for one in runtime.sessions
    ]
    runs = [(run.id, run.status, run.priority, run.place) for one in runtime.sessions for run in one.runs]
    return sessions, runs, runtime.resolve(), panel.get_state(), dict(panel._views), [*panel.sent]


async def test_ten_thousand_hostile_messages_do_nothing_and_are_counted(
    runtime: NotebookRuntime, panel: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    runtime.models["offline/held"] = held = HeldModel()
    for number in range(3):
        runtime["bob"].submit(f"job {number}", config={"model": "offline/held"})
    await held.arrived()
    before, dropped, chance = everything(runtime, panel), panel.dropped, random.Random(11)
    for _ in range(10_000):
        panel._handle_msg(hostile(chance))
    assert everything(runtime, panel) == before
    assert panel.dropped - dropped == 10_000
    assert caplog.records == []


async def test_a_command_of_more_than_64_kb_is_dropped(runtime: NotebookRuntime, panel: Watched) -> None:
    fits = "é" * (REQUEST // 2 - 50)
    assert panel.ask("ask", agent="bob", prompt=f"{fits}{'é' * 50}", priority="low") is None
    assert (panel.dropped, runtime["bob"].runs) == (1, ())
    assert panel.say("ask", agent="bob", prompt=fits, priority="low") == "bob#1 queued"
    await quiet()


async def test_a_request_for_the_state_is_answered(panel: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []
    monkeypatch.setattr(panel, "send_state", lambda: sent.append(1))
    panel.hear({"method": "request_state"})
    assert (sent, panel.dropped) == ([1], 0)
