"""The board: what a panel shows of each agent, and what of it has changed. Facts as JSON; no widget, no loop, no HTML.

It folds records, so that a panel that is opened late knows as much as one that was there from the start.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import chain, islice

from ...config.agents import Agent
from ...config.aiconfig import AIConfig
from ...core.errors import ConfigError
from ...core.events import (
    AgentRevised,
    CallHeld,
    CallRetried,
    Record,
    RunFinished,
    RunStarted,
    StateChanged,
    TextStreamed,
)
from ...core.messages import Spent
from ...core.states import Activity, Gate, State
from ...core.text import clip, printable
from ...engine.runs import Run
from ...engine.runtimes import Runtime
from ...engine.session import Session
from ...engine.spending import spent_by
from ..cells.render import record_text
from .details import LINE, RESULT, Details, Facts

#: Seconds of the timeline, and the changes of state that it holds; of these, how many are told at once, and of all agents.
TIMELINE_S, SPANS, FRESH, TOLD = 300.0, 120, 40, 20_000
#: Queued runs in a row.
CHIPS = 8

#: When something began, and what: `running`, `waiting`, `idle`, `paused`, `sleeping`, `stopped`.
Span = tuple[float, str]


@cache
def _state(activity: Activity, gate: Gate) -> State:
    """There are a dozen, and thousands are asked for a second."""
    return State(activity, gate)


@dataclass(slots=True)
class Lane:
    """One agent's line through time: a fold of its records."""

    since: float
    """When it came into its state."""
    state: State = field(default_factory=lambda: _state("idle", "open"))
    spans: deque[Span] = field(default_factory=lambda: deque(maxlen=SPANS))
    fresh: deque[Span] = field(default_factory=lambda: deque(maxlen=FRESH))
    """Those of the spans that no panel was told of."""
    error: str = ""
    """Of the newest run, where that failed."""
    run: str | None = None
    """The run that it works on."""
    waits: str = ""
    """What it waits for, while a call that failed is not made again yet, or one that is held back not made."""
    agent: Agent | None = None
    """The spec that was told."""

    def take(self, record: Record) -> None:
        """What a record says of its agent."""
        match record.event:
            case RunStarted():
                self.run = record.run
                self._enter("running", self.state.gate, record.time)
            case CallRetried() | CallHeld() if self.state.activity == "waiting":  # it may have been told late
                self.waits = clip(record_text(record), LINE)
            case RunFinished(outcome, error):
                if record.run == self.run:
                    self.run, self.waits = None, ""
                    self._enter("idle", self.state.gate, record.time)
                if outcome != "cancelled":
                    self.error = printable(f"{record.run}: {clip(error or '', RESULT)}") if outcome == "failed" else ""
            case StateChanged(state):
                self.waits = self.waits if state.activity == "waiting" else ""
                # A run that has not said that it started may still end without a word.
                self._enter(state.activity if self.run else "idle", state.gate, record.time)

    def _enter(self, activity: Activity, gate: Gate, when: float) -> None:
        state = _state(activity, gate)
        if state is self.state:
            return
        self.state, self.since = state, round(when, 2)
        span = (self.since, gate if activity == "idle" and gate != "open" else activity)
        self.spans.append(span)
        self.fresh.append(span)


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
        self._needy: set[str] = set()  # whose queue needs runs that are not done
        self._sent: dict[str, Facts] = {}
        self._open: dict[str, Details] = {}
        self.version = 0
        """Grows with whatever happens, text that streams left out."""
        for record in runtime.store.records():
            session = runtime.get(record.agent)
            if session is not None and record.time >= session.created_at:  # else it is of one that was removed
                self._lane(session).take(record)
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
            details.touch(only_text=kind is TextStreamed)
        elif kind is TextStreamed:
            return
        session = self._runtime.get(name)
        if session is not None and kind is not TextStreamed:
            self._lane(session).take(record)
            if kind is AgentRevised:
                self._models.pop(name, None)
            self._dirty.setdefault(name)
            self.version += 1
            if kind is RunFinished and self._needy:
                needy, self._needy = self._needy, set()
                for one in needy:
                    self._touch(one)
        self._changed()

    def recheck(self) -> None:
        """Find out anew what models answer: a config may have changed, which is no event."""
        before, self._models = self._models, {}
        self._resolved.clear()
        for name, model in before.items():
            session = self._runtime.get(name)
            if session is not None and self._model(session) != model:
                self._touch(name)
        for details in self._open.values():
            details.touch()
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
        most = max(CHIPS, TOLD // max(1, len(self._runtime.sessions)))
        for session in self._runtime.sessions:
            lane = self._lane(session)
            lane.fresh.clear()
            lane.agent = None
            first = next((at for at, (when, _) in enumerate(lane.spans) if when > reached), len(lane.spans))
            spans = list(islice(lane.spans, max(0, first - 1, len(lane.spans) - most), None))
            rows[session.name] = {**(self._change(session.name) or {}), "spans": spans}
        self._open = {name: Details() for name in self._open if self._runtime.get(name)}
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
            if session is None:
                details.dirty = False
            elif details.dirty and (new := details.change(self._runtime, session)):
                found[name] = new
        return found

    def row(self, session: Session) -> Facts:
        """The facts of one agent, its timeline left out."""
        return {**_spec(session), **self._doing(session, self._lane(session))}

    def gone(self) -> Facts:
        """What removed agents have spent: in no row, but in the sum."""
        return spent_facts(sum(self._runtime.spent_by_agent(removed_only=True).values(), Spent()))

    def _doing(self, session: Session, lane: Lane) -> Facts:
        run, queue = session.current, session.queue
        if queue and any(one.needs for one in queue):
            self._needy.add(session.name)
        return {
            "state": session.state.label,
            "since": lane.since,
            "now": lane.waits or clip(run.prompt, LINE) if run else _needs(queue[0]) if queue else "",
            "queue": [[one.id, one.priority, clip(one.prompt, 40)] for one in queue[:CHIPS]] if queue else [],
            "queued": len(queue),
            **spent_facts(spent_by(session)),
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
        new = {fact: value for fact, value in now.items() if value != before[fact]} if before else now | {"first": True}
        if lane.agent is not session.agent:
            lane.agent = session.agent
            new = new | _spec(session)
        if lane.fresh:
            new = new | {"spans": [*lane.fresh]}
            lane.fresh.clear()
        self._sent[name] = now
        return new

    def _touch(self, name: str) -> None:
        self._dirty.setdefault(name)
        self.version += 1
        if details := self._open.get(name):
            details.touch()

    def _meet(self, session: Session) -> None:
        """It was made, or removed."""
        name = session.name
        for facts in (self._lanes, self._models, self._sent):
            facts.pop(name, None)
        if name in self._open:
            self._open[name] = Details()
        self._touch(name)
        self._changed()

    def _lane(self, session: Session) -> Lane:
        lane = self._lanes.get(session.name)
        if lane is None:
            lane = self._lanes[session.name] = Lane(round(session.created_at, 2))
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


def spent_facts(spent: Spent) -> Facts:
    """What was spent, as a panel adds it up."""
    return {
        "runs": spent.runs,
        "input": spent.usage.input_tokens,
        "output": spent.usage.output_tokens,
        "cost": spent.known,
        "unpriced": spent.unpriced,
        "uncounted": spent.uncounted,
        "at_work": spent.at_work,
    }


def _size(row: Facts) -> int:
    """About how many bytes these facts are as JSON; to write them twice would cost as much as all else."""
    size = 24 * len(row) + 24 * len(row.get("spans", ()))
    for text in (row.get("now"), row.get("error"), row.get("model"), row.get("about"), row.get("title")):
        if text:
            size += len(text) if text.isascii() else 3 * len(text)
    for run, _, words in row.get("queue", ()):
        size += 20 + len(run) + (len(words) if words.isascii() else 3 * len(words))
    return size


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
