"""The details of an agent that is open in a panel, in sections; each is sent when it has changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...core.errors import ConfigError
from ...core.messages import ToolCall, ToolMessage
from ...core.text import clip, error_text, printable
from ...engine.runs import Run
from ...engine.session import Session
from ...team.runtimes import Runtime
from ..cells.explain import config_rows, history_line, limits_line, memory_line
from ..cells.render import step_line, steps

Facts = dict[str, Any]

#: Characters of a first line, of a result and of a text that streams.
LINE, RESULT, TEXT = 120, 400, 8_000
#: The most items of a list that are sent: the first queued runs, the newest steps of a run, the newest finished runs.
QUEUE, STEPS, RUNS = 40, 40, 8


class StreamedText:
    """A text that streams, as far as it was sent.

    Args:
        read: returns the text of a run's current turn.
    """

    def __init__(self, read: Callable[[Run], str] = lambda run: run.text) -> None:
        self._read = read
        self._sent: tuple[str, int, int] = ("", 0, 0)  # a run's id, its turn, and characters of that turn's text

    def new(self, run: Run) -> Facts:
        """Return the new part of the current turn's text: characters `at` to `to`, as the kernel counts them."""
        text = self._read(run)
        end = len(text)
        if not run.done and end and (text[-1] == "\r" or "\ud800" <= text[-1] < "\udc00"):
            end -= 1  # the next piece may complete this character
        run_id, turn, sent = self._sent
        if (run_id, turn) != (run.id, run.turn) or sent > end:
            sent = 0
        elif sent == end:
            return {}
        start = max(sent, end - TEXT)
        self._sent = (run.id, run.turn, end)
        return {"run": run.id, "turn": run.turn, "at": start, "to": end, "text": printable(text[start:end])}


class Details:
    """The facts that were sent about one agent, and whether something is new."""

    def __init__(self) -> None:
        self.dirty = True
        """Whether something is new."""
        self._only_text = False
        self._sent: Facts = {}
        self._text = StreamedText()

    def touch(self, only_text: bool = False) -> None:
        """Note that something has changed.

        Args:
            only_text: whether it was the streamed text alone.
        """
        self._only_text = only_text and (self._only_text or not self.dirty)
        self.dirty = True

    def change(self, runtime: Runtime, session: Session) -> Facts:
        """Return the new facts."""
        only_text = self._only_text
        self.dirty = self._only_text = False
        run = session.current or next((run for run in reversed(session.runs) if run.started_at), None)
        new: Facts = {}
        if not only_text:
            sections = _sections(runtime, session, run)
            new = {name: value for name, value in sections.items() if self._sent.get(name, ...) != value}
            self._sent = sections
        if run is not None and (text := self._text.new(run)):
            new["text"] = text
        return new


def _sections(runtime: Runtime, session: Session, run: Run | None) -> Facts:
    agent, history = session.agent, session.history
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
            "tools": [clip(tool.name, LINE) for tool in agent.tools],
            "answers": clip(agent.output_type.label, LINE) if agent.output_type else "",
            "limits": limits_line(agent),
            "revision": session.revision,
            "history": history_line(history),
            "memory": memory_line(agent, history),
        },
        "config": [{name: clip(value, RESULT) for name, value in row.items()} for row in config],
        "queue": [_queued(one) for one in session.queue[:QUEUE]],
        "runs": [run_facts(one) for one in reversed(done[-RUNS:])],
        "run": run and run_facts(run) | {"steps": [_step(*step) for step in steps(run)[-STEPS:]]},
    }


def _queued(run: Run) -> Facts:
    return {
        "id": run.id,
        "priority": run.priority,
        "prompt": clip(run.prompt, LINE),
        "since": round(run.submitted_at, 2),
        "fresh": run.fresh,
        "needs": [need.id for need in run.needs if not need.done],
    }


def run_facts(run: Run) -> Facts:
    """Return the facts of a run in a line or two."""
    return {
        "id": run.id,
        "status": run.status,
        "fresh": run.fresh,
        "prompt": clip(run.prompt, RESULT),
        "result": clip(run.text, RESULT) if run.done else "",
        "error": "" if run.error is None else clip(error_text(run.error), RESULT),
        "input": run.usage and run.usage.input_tokens,
        "output": run.usage and run.usage.output_tokens,
        "cost": run.cost,
        "started": run.started_at and round(run.started_at, 2),
        "finished": run.finished_at and round(run.finished_at, 2),
        "model": clip(run.model or "", LINE),
    }


def _step(step: Any, result: ToolMessage | None) -> Facts:
    if not isinstance(step, ToolCall):
        return {"line": step_line(step, None), "failed": False}
    facts = {"line": step_line(step, result), "arguments": clip(step.arguments, RESULT)}
    if result is None:
        return facts | {"outcome": "", "failed": False}
    return facts | {"outcome": clip(result.text, RESULT), "failed": result.is_error}
