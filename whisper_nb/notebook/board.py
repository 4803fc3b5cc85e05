"""The board: what a panel shows of each agent, and what of it has changed. Facts as JSON; no widget, no loop, no HTML.

It folds records, so that a panel that is opened late knows as much as one that was there from the start.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import Any

from ..agents import Agent
from ..config import AIConfig
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
    agent: Agent | None = None
    """The spec that was told."""

    def enter(self, state: State, when: float) -> None:
        """Be in another state from now on."""
        if state is self.state or state.label == self.state.label:
            return
        self.state, self.since = state, round(when, 2)
        span = (self.since, state.gate if state.activity == "idle" and not state.is_open() else state.activity)
        self.spans.append(span)
        self.fresh.append(span)

    def end(self, run: str | None, event: RunFinished) -> None:
        """A run has ended."""
        if event.outcome != "cancelled":
            failed = event.outcome == "failed"
            self.error = printable(f"{run}: {clip(event.error or '', RESULT)}") if failed else ""

    def take(self, record: Record) -> None:
        """What a record says of its agent, long after."""
        match record.event:
            case StateChanged(state):
                self.enter(state, record.time)
            case RunStarted():
                self.run = record.run
                self.enter(replace(self.state, activity="running"), record.time)
            case RunFinished() as event:
                if record.run == self.run:
                    self.enter(replace(self.state, activity="idle"), record.time)
                self.end(record.run, event)


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
        self._resolved: dict[tuple[AIConfig, AIConfig], str] = {}  # of who says the same, likewise
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
        """Take note of what happened; what a runtime calls, for each token that streams, too."""
        kind, name = type(record.event), record.agent
        if details := self._open.get(name):
            details.touch(streamed=kind is TextStreamed)
        elif kind is TextStreamed:
            return
        session = self._runtime.get(name)
        if session is not None and kind is not TextStreamed:
            lane = self._lane(session)
            lane.enter(session.state, record.time)
            if isinstance(record.event, RunFinished):
                lane.end(record.run, record.event)
            elif kind is AgentRevised:
                self._models.pop(name, None)
            self._dirty.setdefault(name)
            self.version += 1
        self._changed()

    def recheck(self, names: Iterable[str]) -> None:
        """Find out anew what models these answer with: a config may have changed, which is no event."""
        self._resolved.clear()
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
        self._sent.clear()
        rows, reached = {}, time.time() - TIMELINE_S
        for session in self._runtime.sessions:
            lane = self._lane(session)
            lane.fresh.clear()
            lane.agent = None
            first = next((at for at, (when, _) in enumerate(lane.spans) if when > reached), len(lane.spans))
            spans = list(islice(lane.spans, max(0, first - 1), None))
            rows[session.name] = {**(self._change(session.name) or {}), "spans": spans}
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
                size += len(name) + _size(row or {})
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
        return {**_spec(session), **self._doing(session, self._lane(session))}

    def _doing(self, session: Session, lane: Lane) -> Facts:
        spent, run, queue = session.spent, session.current, session.queue
        usage = spent.usage + run.usage if run and run.usage else spent.usage
        return {
            "state": session.state.label,
            "since": lane.since,
            "now": clip(run.prompt, LINE) if run else _needs(queue[0]) if queue else "",
            "queue": [[one.id, one.priority, clip(one.prompt, 40)] for one in queue[:CHIPS]] if queue else [],
            "queued": len(queue),
            "runs": spent.runs,
            "input": usage.input_tokens,
            "output": usage.output_tokens,
            "cost": _sum(spent.cost, run) if run and spent.cost is not None else spent.cost,
            "model": clip(run.model, LINE) if run and run.model else self._model(session),
            "error": lane.error,
        }

    def _change(self, name: str) -> Facts | None:
        session = self._runtime.get(name)
        if session is None:
            self._sent.pop(name, None)
            return None
        lane, before = self._lane(session), self._sent.get(name)
        now = self._doing(session, lane)
        new = {fact: value for fact, value in now.items() if value != before[fact]} if before else now
        if lane.agent is not session.agent:
            lane.agent = session.agent
            new |= _spec(session)
        if lane.fresh:
            new["spans"] = [*lane.fresh]
            lane.fresh.clear()
        self._sent[name] = now
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
        lane = self._lanes.get(session.name)
        if lane is None:
            lane = self._lanes[session.name] = Lane()
        return lane

    def _model(self, session: Session) -> str:
        if (model := self._models.get(session.name)) is None:
            said = (session.agent.config, session.configured)
            if said not in self._resolved:
                try:
                    self._resolved[said] = clip(session.config.model or "", LINE)
                except ConfigError:  # of all agents' config: a panel must not fail for it
                    self._resolved[said] = "config is wrong"
            model = self._models[session.name] = self._resolved[said]
        return model


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


def _size(row: Facts) -> int:
    """About how many bytes these facts are as JSON; to write them twice would cost as much as all else."""
    texts = len(row.get("now", "")) + len(row.get("error", ""))
    return 24 * len(row) + 16 * len(row.get("spans", ())) + 56 * len(row.get("queue", ())) + texts


def _spec(session: Session) -> Facts:
    """What changes with a revision only."""
    agent = session.agent
    return {
        "title": clip(agent.title, LINE),
        "about": clip(agent.description or agent.role, LINE),
        "icon": printable(agent.icon),
        "color": agent.color,
    }


def _needs(run: Run) -> str:
    """What the next run waits for."""
    needs = [need.id for need in run.needs if not need.done]
    return f"needs {', '.join(needs)}" if needs else ""


def _sum(cost: float, run: Run) -> float | None:
    """With what the current run has cost so far: unknown as soon as that is, but not before it has asked a model."""
    return cost + run.cost if run.cost is not None else cost if not run.usage else None
