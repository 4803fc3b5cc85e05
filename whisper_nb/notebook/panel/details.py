"""What a panel shows of an agent that was opened: section by section, each told when it has changed."""

from __future__ import annotations

from typing import Any

from ...core.errors import ConfigError
from ...core.messages import ToolCall, ToolMessage
from ...core.text import clip, printable
from ...engine.runs import Run
from ...engine.runtimes import Runtime
from ...engine.session import Session
from ..cells.explain import config_rows
from ..cells.render import step_line, steps

Facts = dict[str, Any]

#: Characters of a first line, of a result and of a text that streams.
LINE, RESULT, TEXT = 120, 400, 8_000
#: Of what may be many, the first or the newest that are told: queued runs, steps of a run, finished runs.
QUEUE, STEPS, RUNS = 40, 40, 8


class Details:
    """What was told of one agent, and whether there is more."""

    def __init__(self) -> None:
        self.dirty = True
        """Whether something is new."""
        self._only_text = False
        self._sent: Facts = {}
        self._told: tuple[str, int, int] = ("", 0, 0)  # of the text of which run and turn, so many characters

    def touch(self, only_text: bool = False) -> None:
        """Something has happened; only text came, or more than that."""
        self._only_text = only_text and (self._only_text or not self.dirty)
        self.dirty = True

    def change(self, runtime: Runtime, session: Session) -> Facts:
        """What is new."""
        only_text, self.dirty, self._only_text = self._only_text, False, False
        run = session.current or next((run for run in reversed(session.runs) if run.started_at), None)
        new: Facts = {}
        if not only_text:
            sections = _sections(runtime, session, run)
            new = {name: value for name, value in sections.items() if self._sent.get(name, ...) != value}
            self._sent = sections
        if run is not None and (text := self._text(run)):
            new["text"] = text
        return new

    def _text(self, run: Run) -> Facts:
        """The piece that has come: characters `at` to `to` of the text of this run's turn, as the kernel counts them."""
        text = run.text
        end = len(text)
        if not run.done and end and (text[-1] == "\r" or "\ud800" <= text[-1] < "\udc00"):
            end -= 1  # what follows may belong to it
        run_id, turn, told = self._told
        if (run_id, turn) != (run.id, run.turn) or told > end:
            told = 0
        elif told == end:
            return {}
        start = max(told, end - TEXT)
        self._told = (run.id, run.turn, end)
        return {"run": run.id, "turn": run.turn, "at": start, "to": end, "text": printable(text[start:end])}


def _sections(runtime: Runtime, session: Session, run: Run | None) -> Facts:
    agent = session.agent
    try:
        config = config_rows(runtime.explain(session.name), runtime.keys)
    except ConfigError as error:
        config = [{"field": "config", "value": "is wrong", "from": clip(str(error), RESULT)}]
    done = [one for one in session.runs if one.done]
    return {
        "spec": {
            "description": clip(agent.description, RESULT),
            "role": clip(agent.role, LINE),
            "prompt": printable(agent.instructions[:TEXT]),
            "tools": [clip(tool.name, LINE) for tool in agent.as_tools],
            "limits": f"{agent.max_turns} turns" + (f", {agent.timeout_s:g} s" if agent.timeout_s else ""),
            "revision": session.revision,
            "history": len(session.history),
        },
        "config": [{name: clip(value, RESULT) for name, value in row.items()} for row in config],
        "queue": [_queued(one) for one in session.queue[:QUEUE]],
        "runs": [_told(one) for one in reversed(done[-RUNS:])],
        "run": _told(run) | {"steps": [_step(*step) for step in steps(run)[-STEPS:]]} if run else None,
    }


def _queued(run: Run) -> Facts:
    return {
        "id": run.id,
        "priority": run.priority,
        "prompt": clip(run.prompt, LINE),
        "since": round(run.submitted_at, 2),
        "needs": [need.id for need in run.needs if not need.done],
    }


def _told(run: Run) -> Facts:
    return {
        "id": run.id,
        "status": run.status,
        "prompt": clip(run.prompt, RESULT),
        "result": clip(run.text, RESULT) if run.done else "",
        "error": clip(str(run.error or ""), RESULT),
        "input": run.usage.input_tokens if run.usage else None,
        "output": run.usage.output_tokens if run.usage else None,
        "cost": run.cost,
        "started": run.started_at and round(run.started_at, 2),
        "finished": run.finished_at and round(run.finished_at, 2),
        "model": clip(run.model or "", LINE),
    }


def _step(what: Any, result: ToolMessage | None) -> Facts:
    if not isinstance(what, ToolCall):
        return {"line": step_line(what, None), "failed": False}
    said = {"arguments": clip(what.arguments, RESULT), "outcome": clip(result.text, RESULT) if result else ""}
    return said | {"line": step_line(what, result), "failed": bool(result and result.is_error)}
