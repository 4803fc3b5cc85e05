"""Board: the facts of each agent that a panel shows, and which of them have changed. JSON; no widget, no loop, no HTML.

Facts are in tables, one for the facts that change together. An event marks the tables that it can change; an update
reads these alone, compares them with what was sent, and sends columns: a table with a thousand rows costs a few lists.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

from ...config.aiconfig import AIConfig
from ...core.errors import ConfigError
from ...core.events import (
    AgentRevised,
    CallHeld,
    CallRetried,
    HistoryCopied,
    HistoryReset,
    ModelReplied,
    Record,
    RunFinished,
    RunMoved,
    RunQueued,
    RunStarted,
    StateChanged,
    TextStreamed,
    ToolFinished,
    ToolStarted,
)
from ...core.messages import Spent
from ...core.text import clip, printable
from ...engine.runs import Run
from ...engine.session import Session
from ...team.runtimes import Runtime
from ...team.spending import spent_by
from .details import LINE, Details, Facts
from .standing import standing
from .timeline import TIMELINE_S, Timeline
from .transcript import OpenRun

#: Queued runs in a row, and spans of all timelines in a message with all rows.
CHIPS, ALL_SPANS = 8, 20_000

#: A row of a table: the agent's name and its facts.
Values = tuple[Any, ...]

STATE, WORK, QUEUE, SPENDING, MODEL, ERROR, SPEC, MEMORY = range(8)
#: The columns of each table, beside `name`.
COLUMNS: tuple[tuple[str, ...], ...] = (
    ("state", "since"),
    ("now",),
    ("queued", "queue"),
    ("runs", "input", "output", "cost", "unpriced", "uncounted", "at_work", "estimated", "estimates"),
    ("model",),
    ("error",),
    ("title", "about", "icon", "color"),
    ("memory",),
)
#: About how many bytes of JSON a row of each table takes beside its texts.
_BYTES = (40, 12, 16, 70, 12, 12, 40, 12)
#: The tables whose rows hold texts of any length.
_WITH_TEXT = frozenset({WORK, QUEUE, MODEL, ERROR, SPEC})


def _marks(*tables: int) -> int:
    return sum(1 << table for table in tables)


_ALL = _marks(*range(len(COLUMNS)))
#: The tables that an event can change.
_CHANGED_BY = {
    RunQueued: _marks(STATE, WORK, QUEUE),
    RunMoved: _marks(STATE, WORK, QUEUE),
    RunStarted: _marks(STATE, WORK, QUEUE, SPENDING, MODEL),
    ModelReplied: _marks(SPENDING),
    CallRetried: _marks(STATE, WORK, SPENDING),
    CallHeld: _marks(STATE, WORK),
    ToolStarted: _marks(STATE),
    ToolFinished: _marks(STATE),
    RunFinished: _marks(STATE, WORK, QUEUE, SPENDING, MODEL, ERROR, MEMORY),
    HistoryReset: _marks(MEMORY),
    HistoryCopied: _marks(MEMORY),
    StateChanged: _marks(STATE, WORK),
    AgentRevised: _marks(MODEL, SPEC),
}


#: For each set of marks, the tables that it marks.
_MARKED = [tuple(table for table in range(len(COLUMNS)) if marks >> table & 1) for marks in range(_ALL + 1)]


@dataclass(slots=True)
class _Row:
    """The board's data about one agent."""

    name: str
    session: Session
    timeline: Timeline
    sent: list[Values] = field(default_factory=list)
    """The row of each table as it was last sent; empty before that."""


class _Message:
    """The rows of a message, put together table by table."""

    def __init__(self) -> None:
        self.added: list[str] = []
        self.removed: list[str] = []
        self.spans: list[Values] = []
        self.tables: list[list[Values]] = [[] for _ in COLUMNS]
        self.before: list[list[Values]] = [[] for _ in COLUMNS]
        """The rows of `tables` as they were last sent, for the agents of which anything was."""

    def content(self) -> Facts:
        """Return the new facts as columns; tables of the same agents are joined, so that the names are sent once."""
        joined: dict[Values, Facts] = {}
        for columns, rows, before in zip(COLUMNS, self.tables, self.before, strict=True):
            if rows:
                names, *values = zip(*rows, strict=True)
                joined.setdefault(names, {}).update(_new_columns(columns, values, before, len(rows)))
        if self.spans:
            names, spans = zip(*self.spans, strict=True)
            joined.setdefault(names, {})["spans"] = spans
        tables = [{"name": names, **columns} for names, columns in joined.items()]
        parts: Facts = {"added": self.added, "removed": self.removed, "tables": tables}
        return {name: part for name, part in parts.items() if part}


def _new_columns(columns: tuple[str, ...], values: list[Values], before: list[Values], rows: int) -> Facts:
    """Return the columns of a table but those that are as before in every row."""
    found = dict(zip(columns, values, strict=True))
    if len(before) < rows:  # an agent is new
        return found
    _, *old = zip(*before, strict=True)
    return {column: new for (column, new), sent in zip(found.items(), old, strict=True) if new != sent}


class Board:
    """The facts of all agents of a runtime, and which of them have changed.

    Args:
        runtime: owns the agents.
        changed: called, on the agents' loop, when there is something new.
    """

    def __init__(self, runtime: Runtime, changed: Callable[[], None] = lambda: None) -> None:
        self._runtime = runtime
        self._changed = changed
        self._rows: dict[str, _Row] = {}
        self._models: dict[str, str] = {}  # by agent, until a config may have changed
        self._resolved: dict[tuple[AIConfig, AIConfig], str] = {}  # by config, likewise: many agents share one
        self._marks: dict[str, int] = {}  # by agent, the tables that may have changed; longest waiting first
        self._needy: set[str] = set()  # agents whose queue needs runs that are not done
        self._in_tools: set[str] = set()  # agents whose tools may await runs
        self._tools_wait = False  # whether such a run may have begun or ended
        self._open: dict[str, Details] = {}
        self._read: dict[str, OpenRun] = {}  # by run, the transcripts that are open
        self._readers = (
            _state,
            self._work,
            self._queue,
            _spending,
            self._model,
            _error,
            _spec,
            _memory,
        )
        self._limited = runtime.budget is not None
        self.budget_changed = False
        """Whether the budget may have changed since this was last set to False."""
        self.version = 0
        """Grows with every event but streamed text."""
        for record in runtime.store.records():
            session = runtime.get(record.agent)
            if session is not None and record.time >= session.created_at:  # else it is about a removed agent
                self._row_of(session).timeline.take(record)
        self._stop_observing = (
            runtime.observe(self.observe),
            runtime.observe_team(self._observe_team),
            runtime.observe_budget(self._observe_budget),
        )

    def close(self) -> None:
        """Stop observing the runtime."""
        for stop in self._stop_observing:
            stop()

    @property
    def dirty(self) -> bool:
        """Whether something is new."""
        if self._tools_wait or self._marks or self.budget_changed:
            return True
        return any(one.dirty for one in self._open.values()) or any(one.dirty for one in self._read.values())

    @property
    def at_rest(self) -> bool:
        """Whether no agent works or has work queued."""
        return not any(session.current or session.queue for session in self._runtime.sessions)

    def observe(self, record: Record) -> None:
        """Note an event. The runtime calls this for each streamed token, too."""
        kind, name = type(record.event), record.agent
        reading = None
        if self._read and (reading := self._read.get(record.run or "")) is not None:
            reading.dirty = True
        details = self._open.get(name)
        if details is not None:
            details.touch(only_text=kind is TextStreamed)
        elif kind is TextStreamed and reading is None:
            return
        session = self._runtime.get(name)
        if session is not None and kind is not TextStreamed:
            self.version += 1
            self._row_of(session).timeline.take(record)
            if kind is AgentRevised:
                self._models.pop(name, None)
            if (marks := _CHANGED_BY.get(kind, 0)) != 0:
                self._marks[name] = self._marks.get(name, 0) | marks
            if kind is RunFinished and self._needy:
                needy, self._needy = self._needy, set()
                for one in needy:
                    self._touch(one, _marks(STATE, WORK, QUEUE))
            if kind is ToolStarted:
                self._in_tools.add(name)
            elif kind in (RunQueued, RunStarted, RunFinished) and self._in_tools:
                self._tools_wait = True
        self._changed()

    def recheck(self) -> None:
        """Resolve the models again: a config may have changed, which is not an event."""
        before, self._models = self._models, {}
        self._resolved.clear()
        for name, model in before.items():
            session = self._runtime.get(name)
            if session is not None and self._resolve(session) != model:
                self._touch(name, _marks(MODEL))
        for details in self._open.values():
            details.touch()
        self._changed()

    def open(self, names: Iterable[str], anew: str = "") -> None:
        """Send the details of these agents from now on, in full at first, and of no others.

        Args:
            names: the agents that are open in any view.
            anew: the one that was just opened, whose details are sent in full even if another view has them.
        """
        before = {name: details for name, details in self._open.items() if name != anew}
        self._open = {name: before.get(name) or Details() for name in names if self._runtime.get(name)}
        self._changed()

    def read(self, runs: Mapping[str, Run], anew: str = "") -> None:
        """Send the transcripts of these runs from now on, from the beginning at first, and of no others.

        Args:
            runs: those that are open in any view, by id.
            anew: the one that was just opened, which is sent from the beginning even if another view has it.
        """
        before = {id_: one for id_, one in self._read.items() if id_ != anew}
        self._read = {id_: before.get(id_) or OpenRun(run) for id_, run in runs.items()}
        self._changed()

    def all_rows(self) -> Facts:
        """Return all agents in the order of their creation, each with its timeline. `changes` continues from here."""
        self._marks.clear()
        message = _Message()
        since = time.time() - TIMELINE_S
        sessions = self._runtime.sessions
        most = max(CHIPS, ALL_SPANS // max(1, len(sessions)))
        for session in sessions:
            row = self._row_of(session)
            row.sent = []
            row.timeline.fresh.clear()
            self._collect(row, _ALL, message)
            message.spans.append((row.name, row.timeline.recent(since, most)))
        self._open = {name: Details() for name in self._open if self._runtime.get(name)}
        self._read = {id_: OpenRun(one.run) for id_, one in self._read.items()}
        return message.content()

    def changes(self, first: Iterable[str], allowance: float) -> tuple[Facts, int]:
        """Return the facts that have changed since they were last sent. What is beyond the allowance comes next time.

        Args:
            first: the agents that come first, those in view; the others follow, the longest waiting first.
            allowance: about how many bytes may be sent.

        Returns:
            `added` and `removed` agents, and `tables` with the facts that are new, as columns; and the size in bytes.
        """
        message = _Message()
        marked = self._marks
        size = 0
        if self._tools_wait:
            self._tools_wait = False
            self._in_tools = {name for name in self._in_tools if self._uses_tool(name)}
            for name in self._in_tools:
                marked[name] = marked.get(name, 0) | _marks(STATE)
        for name in list(chain((name for name in first if name in marked), marked)):
            if size >= allowance:
                break
            if (marks := marked.pop(name, 0)) == 0:  # it was among the first
                continue
            row = self._rows.get(name)
            if row is not None:
                size += self._collect(row, marks, message)
            elif (session := self._runtime.get(name)) is not None:
                size += self._collect(self._row_of(session), marks, message)
            else:
                message.removed.append(name)
                size += len(name)
        return message.content(), size

    def details(self) -> dict[str, Facts]:
        """Return the new facts of the agents that are open."""
        found = {}
        for name, details in self._open.items():
            session = self._runtime.get(name)
            if session is None:
                details.dirty = False
            elif details.dirty and (new := details.change(self._runtime, session)):
                found[name] = new
        return found

    def transcripts(self, allowance: float) -> tuple[dict[str, Facts], int]:
        """Return what is new of the runs that are open, up to about so many bytes, and its size."""
        found, size = {}, 0
        for id_, one in self._read.items():
            if not one.dirty or size >= allowance:
                continue
            new, bytes_ = one.change(allowance - size)
            size += bytes_
            if new:
                found[id_] = new
        return found, size

    def row(self, session: Session) -> Facts:
        """Return all facts of one agent but its timeline."""
        facts: Facts = {}
        row = self._row_of(session)
        for columns, read in zip(COLUMNS, self._readers, strict=True):
            facts.update(zip(columns, read(row)[1:], strict=True))
        return facts

    def budget(self) -> Facts | None:
        """Return the budget of all agents, in dollars; None without one."""
        budget = self._runtime.budget
        if budget is None:
            return None
        parts = {"limit": budget.limit_usd, "spent": budget.spent, "reserved": budget.reserved, "left": budget.left}
        return {name: round(part, 9) for name, part in parts.items()}

    def spent_on_removed(self) -> Facts:
        """Return the costs of removed agents: they are in the sum of all agents, and in no row."""
        return spent_facts(sum(self._runtime.spent_by_agent(removed_only=True).values(), Spent()))

    def _collect(self, row: _Row, marks: int, message: _Message) -> int:
        """Add the facts that differ from those last sent to a message. Return their size in bytes."""
        size, sent, readers = 0, row.sent, self._readers
        tables, befores = message.tables, message.before
        if not sent:
            message.added.append(row.name)
            row.sent = [read(row) for read in readers]
            for table, values in enumerate(row.sent):
                tables[table].append(values)
                size += _BYTES[table] + _text_bytes(values)
        else:
            for table in _MARKED[marks]:
                values, before = readers[table](row), sent[table]
                if values != before:
                    sent[table] = values
                    tables[table].append(values)
                    befores[table].append(before)
                    size += _BYTES[table]
                    if table in _WITH_TEXT:
                        size += _text_bytes(values)
        fresh = row.timeline.fresh
        if fresh:
            message.spans.append((row.name, [*fresh]))
            size += 24 * len(fresh)
            fresh.clear()
        return size

    def _work(self, row: _Row) -> Values:
        run = row.session.current
        if run is not None:
            return (row.name, row.timeline.waits or clip(run.prompt, LINE))
        return (row.name, "")

    def _queue(self, row: _Row) -> Values:
        queue = row.session.queue
        if not queue:
            return (row.name, 0, [])
        if any(one.needs for one in queue):
            self._needy.add(row.name)
        return (row.name, len(queue), [[one.id, one.priority, clip(one.prompt, 40)] for one in queue[:CHIPS]])

    def _model(self, row: _Row) -> Values:
        run = row.session.current
        if run is not None and run.model:
            return (row.name, clip(run.model, LINE))
        return (row.name, self._resolve(row.session))

    def _uses_tool(self, name: str) -> bool:
        session = self._runtime.get(name)
        return session is not None and session.current is not None

    def _touch(self, name: str, marks: int) -> None:
        self._marks[name] = self._marks.get(name, 0) | marks
        self.version += 1
        if details := self._open.get(name):
            details.touch()

    def _observe_budget(self) -> None:
        """Note that the budget is another one, or that a part of it was reserved, given back or spent."""
        limited = self._runtime.budget is not None
        if limited or self._limited:
            self._limited = limited
            self.version += 1
            self.budget_changed = True
            self._changed()

    def _observe_team(self, session: Session) -> None:
        """Note that an agent was created or removed."""
        name = session.name
        for facts in (self._rows, self._models):
            facts.pop(name, None)
        if name in self._open:
            self._open[name] = Details()
        self._touch(name, _ALL)
        self._changed()

    def _row_of(self, session: Session) -> _Row:
        row = self._rows.get(session.name)
        if row is None:
            name = session.name
            row = self._rows[name] = _Row(name, session, Timeline(round(session.created_at, 2)))
        return row

    def _resolve(self, session: Session) -> str:
        if (model := self._models.get(session.name)) is None:
            configs = (session.agent.config, session.configured)
            if configs not in self._resolved:
                try:
                    self._resolved[configs] = clip(session.config.model or "", LINE)
                except ConfigError:  # in the config of all agents: a panel must not fail because of it
                    self._resolved[configs] = "config is wrong"
            model = self._models[session.name] = self._resolved[configs]
        return model


def spent_facts(spent: Spent) -> Facts:
    """Return usage and cost, as a panel adds them up."""
    return dict(zip(COLUMNS[SPENDING], _sums("", spent)[1:], strict=True))


def _sums(name: str, spent: Spent) -> Values:
    """Return the sums that a panel adds up. In one tuple: this is read for each agent in each update."""
    tokens, known, unknown = spent.usage, spent.known, spent.unpriced
    inputs, outputs = tokens.input_tokens, tokens.output_tokens
    estimates = (spent.estimated, spent.estimates)
    return (name, spent.runs, inputs, outputs, known, unknown, spent.uncounted, spent.at_work, *estimates)


def _state(row: _Row) -> Values:
    state, since = standing(row.session, row.timeline)
    return (row.name, state, since)


def _spending(row: _Row) -> Values:
    return _sums(row.name, spent_by(row.session))


def _error(row: _Row) -> Values:
    return (row.name, row.timeline.error)


def _spec(row: _Row) -> Values:
    agent = row.session.agent
    about = clip(agent.description or agent.role, LINE)
    return (row.name, clip(agent.title, LINE), about, printable(agent.icon), agent.color)


def _memory(row: _Row) -> Values:
    return (row.name, row.session.history_tokens)


def _text_bytes(values: Values) -> int:
    """Return about how many bytes the texts of a row take as JSON; encoding them twice would double the cost."""
    size = 0
    for value in values:
        if type(value) is str:
            size += len(value) if value.isascii() else 3 * len(value)
        elif type(value) is list:
            size += sum(40 + 2 * len(prompt) for _, _, prompt in value)
    return size
