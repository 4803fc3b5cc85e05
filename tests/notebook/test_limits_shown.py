"""A run that a limit ended names the limit first: in its row, transcript and cell, and in the log."""

from __future__ import annotations

from typing import Any

import pytest

from support.doubles import hire, settled
from support.panels import look
from whisper_nb import LimitExceeded, Rule, Runtime, ScriptedModel
from whisper_nb.notebook.cells.render import log_line, run_text
from whisper_nb.notebook.panel.board import Board
from whisper_nb.notebook.panel.transcript import OpenRun

CALLS = [Rule(calls=[{"name": "look", "arguments": {"table": "orders"}}])]


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_turns": 1}, "more than 1 turns"),
        ({"max_total_tokens": 1}, "max_total_tokens of bob allows 1"),
        ({"max_cost_usd": 0.01}, "max_cost_usd of bob"),
        ({"max_prompt_tokens": 1}, "max_prompt_tokens of bob allows 1"),
    ],
)
async def test_a_run_that_a_limit_ended_names_the_limit(runtime: Runtime, limits: dict[str, Any], words: str) -> None:
    bob = hire(runtime, ScriptedModel(CALLS), tools=(look,), **limits)
    runtime.models["openai/priced"] = ScriptedModel(CALLS)
    run = bob.submit("count", config={"model": "openai/priced", "price": {"input": 90_000, "output": 1}})
    await settled(run)
    assert isinstance(run.error, LimitExceeded)
    assert words in Board(runtime).row(bob)["error"][:80]
    assert words in OpenRun(run).change(1e9)[0]["items"][-1]["error"][:80]
    assert words in run_text(run)
    assert words in log_line(run.events[-1])
