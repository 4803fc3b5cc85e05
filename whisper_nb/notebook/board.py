"""The board: what a panel shows of each agent, and what of it has changed. Facts as JSON; no widget, no loop, no HTML.

It folds records, so that a panel that is opened late knows as much as one that was there from the start.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from ..errors import ConfigError
from ..events import AgentRevised, CallRetried, Noticed, Record, RunFinished, RunStarted, StateChanged, TextStreamed
from ..messages import ToolCall, ToolMessage
from ..runs import Run
from ..runtimes import Runtime
from ..session import Session
from ..states import State
from .explain import config_rows
from .render import clip, printable, step_line, steps

#: Seconds of the timeline, and the changes of state that it holds.
TIMELINE_S, SPANS = 300.0, 120
#: Characters of a first line, of a result and of a streaming text; queued runs in a row; finished runs in the details.
LINE, RESULT, TEXT, CHIPS, RUNS = 120, 400, 8_000, 8, 8

Facts = dict[str, Any]
#: When something began, and what: `running`, `waiting`, `idle`, `paused`, `sleeping`, `stopped`.
Span = tuple[float, str]


@dataclass(slots=True)
class Lane:
    """One agent's line through time."""

    state: State = field(default_factory=State)
    since: float | None = None
    """When it came into its state; None: it has never left it."""
    spans: deque[Span] = field(default_factory=lambda: deque(maxlen=SPANS))
    fresh: deque[Span] = field(default_factory=lambda: deque(maxlen=CHIPS))
    """Those of the spans that no panel was told of."""
    error: str = ""
    """Of the newest run, where that failed."""
    run: str | None = None
    """The run that it works on, as far as the records say."""

    def enter(self, state: State, when: float) -> None:
        """Be in another state from now on."""
        if state.label == self.state.label:
            return
        self.state, self.since = state, when
        span = (round(when, 2), state.gate if state.activity == "idle" and not state.is_open() else state.activity)
        self.spans.append(span)
        self.fresh.append(span)

    def take(self, record: Record) -> None:
        """What a record says of its agent."""
        match record.event:
            case StateChanged(state):
                self.enter(state, record.time)
            case RunStarted():
                self.run = record.run
                self.enter(replace(self.state, activity="running"), record.time)
            case RunFinished(outcome, error):
                if record.run == self.run:
                    self.enter(replace(self.state, activity="idle"), record.time)
                if outcome != "cancelled":
                    self.error = printable(f"{record.run}: {clip(error or '', RESULT)}") if outcome == "failed" else ""


class Board:
    """The facts of all agents of a runtime, and which of them have changed.

    Args:
        runtime: whose agents.
        changed: called, on the agents' loop, when there is something new.
    """

    def __init__(self, runtime: Runtime, changed: Callable[[], None] = lambda: None) -> None:
        self._runtime = runtime
        self._changed = changed
        self._lanes: dict[str, Lane] = {}
        self._models: dict[str, str] = {}  # by name, until it may have changed
        self._dirty: dict[str, None] = {}  # the longest waiting first
        self._sent: dict[str, Facts] = {}
        self._open: dict[str, Details] = {}
        self.version = 0
        """Grows with whatever happens, text that streams left out."""
        for record in runtime.store.records():
            self._lanes.setdefault(record.agent, Lane()).take(record)
        for session in runtime.sessions:
            self._lane(session).enter(session.state, time.time())
        self._drop = (runtime.observe(self.observe), runtime.observe_team(self._meet))

    def close(self) -> None:
        """Hear no more."""
        for drop in self._drop:
            drop()

    @property
    def dirty(self) -> bool:
        """Whether something is new."""
        return bool(self._dirty) or any(one.dirty for one in self._open.values())

    @property
    def at_rest(self) -> bool:
        """Whether nobody works, and nobody has work that waits."""
        return not any(session.current or session.queue for session in self._runtime.sessions)

    def observe(self, record: Record) -> None:
        """Take note of what happened; what a runtime calls."""
        details, streamed = self._open.get(record.agent), type(record.event) is TextStreamed
        if streamed and details is None:
            return
        if details is not None:
            details.touch(streamed)
        session = self._runtime.get(record.agent)
        if session is not None and not streamed:
            lane = self._lane(session)
            lane.take(record)
            lane.enter(session.state, record.time)
            if type(record.event) is AgentRevised:
                self._models.pop(session.name, None)
            self._dirty.setdefault(session.name)
            self.version += 1
        self._changed()

    def recheck(self, names: Iterable[str]) -> None:
        """Find out anew what models these answer with: a config may have changed, which is no event."""
        for name in names:
            self._models.pop(name, None)
            if self._runtime.get(name):
                self._dirty.setdefault(name)
        for details in self._open.values():
            details.touch(streamed=False)
        self._changed()

    def open(self, names: Iterable[str]) -> None:
        """Tell the details of these agents, and of no others; all of them anew."""
        self._open = {name: Details() for name in names if self._runtime.get(name)}
        self._changed()

    def whole(self) -> dict[str, Facts]:
        """All agents in the order of their making, each with its timeline. From here on, changes are told."""
        self._dirty.clear()
        self._sent = {session.name: self.row(session) for session in self._runtime.sessions}
        now = time.time()
        rows = {}
        for name, row in self._sent.items():
            lane = self._lanes[name]
            lane.fresh.clear()
            first = next((at for at, (when, _) in enumerate(lane.spans) if when > now - TIMELINE_S), len(lane.spans))
            rows[name] = row | {"spans": list(islice(lane.spans, max(0, first - 1), None))}
        self.open(self._open)
        return rows

    def changes(self, first: Iterable[str], budget: float) -> tuple[dict[str, Facts | None], int]:
        """What has changed since it was last told, in about so many bytes; the rest is told next time.

        Args:
            first: the agents that come first, those in view; then comes who has waited longest.
            budget: bytes.

        Returns:
            Name → the facts that are new, None for an agent that has gone; and their size.
        """
        rows: dict[str, Facts | None] = {}
        size = 0
        for name in list(chain((name for name in first if name in self._dirty), self._dirty)):
            if size >= budget:
                break
            if name not in self._dirty:
                continue
            del self._dirty[name]
            if (row := self._change(name)) != {}:
                rows[name] = row
                size += len(name) + len(json.dumps(row, ensure_ascii=False)) + 8
        return rows, size

    def details(self) -> dict[str, Facts]:
        """What is new of the agents that are open."""
        found = {}
        for name, details in self._open.items():
            session = self._runtime.get(name)
            if session is not None and details.dirty and (new := details.change(self._runtime, session)):
                found[name] = new
        return found

    def row(self, session: Session) -> Facts:
        """The facts of one agent, its timeline left out."""
        agent, spent, run, lane = session.agent, session.spent, session.current, self._lane(session)
        usage = spent.usage + run.usage if run and run.usage else spent.usage
        return {
            "title": clip(agent.title, LINE),
            "about": clip(agent.description or agent.role, LINE),
            "icon": printable(agent.icon),
            "color": agent.color,
            "state": session.state.label,
            "since": lane.since and round(lane.since, 2),
            "now": _now(session),
            "queue": [[one.id, one.priority, clip(one.prompt, 40)] for one in islice(session.queue, CHIPS)],
            "queued": len(session.queue),
            "runs": spent.runs,
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "cost": spent.cost if run is None or spent.cost is None else _sum(spent.cost, run),
            "model": clip(run.model if run and run.model else self._model(session), LINE),
            "error": lane.error,
        }

    def _change(self, name: str) -> Facts | None:
        session = self._runtime.get(name)
        if session is None:
            self._sent.pop(name, None)
            return None
        row, before, lane = self.row(session), self._sent.get(name, {}), self._lane(session)
        self._sent[name] = row
        new = {fact: value for fact, value in row.items() if fact not in before or value != before[fact]}
        if lane.fresh:
            new["spans"] = list(lane.fresh)
            lane.fresh.clear()
        return new

    def _meet(self, session: Session) -> None:
        """It was made, or removed."""
        for facts in (self._lanes, self._models, self._sent, self._open):
            facts.pop(session.name, None)
        self._lanes[session.name] = Lane(since=time.time())
        self.version += 1
        self._dirty.setdefault(session.name)
        self._changed()

    def _lane(self, session: Session) -> Lane:
        return self._lanes.setdefault(session.name, Lane())

    def _model(self, session: Session) -> str:
        if session.name not in self._models:
            try:
                self._models[session.name] = session.config.model or ""
            except ConfigError:  # of all agents' config: a panel must not fail for it
                self._models[session.name] = "config is wrong"
        return self._models[session.name]


class Details:
    """What is shown of one agent that was opened: section by section, each told when it has changed."""

    def __init__(self) -> None:
        self.dirty = True
        self._sent: Facts = {}
        self._text: tuple[str, int] = ("", 0)  # of which run so many characters were told
        self._only_text = False

    def touch(self, streamed: bool) -> None:
        """Something has happened; only text came, or more than that."""
        self._only_text = streamed and (self._only_text or not self.dirty)
        self.dirty = True

    def change(self, runtime: Runtime, session: Session) -> Facts:
        """What is new."""
        only_text, self.dirty, self._only_text = self._only_text, False, False
        run = session.current or next((run for run in reversed(session.runs) if run.started_at), None)
        new: Facts = {}
        if not only_text:
            self._text = ("", 0)
            sections = _sections(runtime, session, run)
            new = {name: value for name, value in sections.items() if self._sent.get(name) != value}
            self._sent = sections
        if run is not None:
            new["text"] = self._new_text(run)
        return new

    def _new_text(self, run: Run) -> Facts:
        text = run.text
        told = self._text[1] if self._text[0] == run.id and self._text[1] <= len(text) else 0
        start = max(told, len(text) - TEXT)
        self._text = (run.id, len(text))
        return {"run": run.id, "at": start, "text": printable(text[start:])}


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
        "queue": [
            {
                "id": one.id,
                "priority": one.priority,
                "prompt": clip(one.prompt, RESULT),
                "since": round(one.submitted_at, 2),
                "needs": [need.id for need in one.needs if not need.done],
            }
            for one in session.queue
        ],
        "runs": [_told(one) for one in reversed(done[-RUNS:])],
        "run": _told(run) | {"steps": [_step(*step) for step in steps(run)]} if run else None,
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


def _step(what: ToolCall | CallRetried | Noticed, result: ToolMessage | None) -> Facts:
    if not isinstance(what, ToolCall):
        return {"line": step_line(what, None), "failed": False}
    said = {"arguments": clip(what.arguments, RESULT), "outcome": clip(result.text, RESULT) if result else ""}
    return said | {"line": step_line(what, result), "failed": bool(result and result.is_error)}


def _now(session: Session) -> str:
    """The first words of what it works on, or what its next run waits for."""
    if session.current is not None:
        return clip(session.current.prompt, LINE)
    needs = [need.id for run in session.queue[:1] for need in run.needs if not need.done]
    return f"needs {', '.join(needs)}" if needs else ""


def _sum(cost: float, run: Run) -> float | None:
    """With what the current run has cost so far: unknown as soon as that is, but not before it has asked a model."""
    return cost + run.cost if run.cost is not None else cost if not run.usage else None


def total(rows: Mapping[str, Facts]) -> Facts:
    """All agents together, as the panel adds them up: agents in each state, runs that wait, tokens, cost."""
    states: dict[str, int] = {}
    for row in rows.values():
        states[row["state"]] = states.get(row["state"], 0) + 1
    costs = [row["cost"] for row in rows.values()]
    return {
        "states": states,
        "queued": sum(row["queued"] for row in rows.values()),
        "input": sum(row["input"] for row in rows.values()),
        "output": sum(row["output"] for row in rows.values()),
        "cost": None if None in costs else sum(costs),
    }
