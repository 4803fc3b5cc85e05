"""Doubles for tests of the panel: a page that applies updates, a clock, and a panel that records its messages."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from support.doubles import FunctionModel, hire
from whisper_nb import Rule, Runtime, ScriptedModel, Session
from whisper_nb.core.messages import AssistantMessage, CallDelta, Delta, Finish, TextDelta
from whisper_nb.models.model import Request
from whisper_nb.notebook.panel.board import Board
from whisper_nb.notebook.panel.details import Facts
from whisper_nb.notebook.panel.panel import Panel
from whisper_nb.notebook.runtime import NotebookRuntime

#: A model that answers at once: `fail…` fails.
QUICK = [Rule("^fail", error="no more"), Rule(reply="fine")]
Said = dict[str, Any]


class Page:
    """The state of a front end, assembled as in panel/view/state.js."""

    def __init__(self, board: Board, *opened: str) -> None:
        self.board = board
        self.board.open(opened)
        self.rows: dict[str, Facts] = {}
        self._apply(rows_of(board.all_rows()))
        self.details = board.details()

    def take(self, first: Iterable[str] = (), budget: float = 1e9) -> None:
        """Apply the board's changes."""
        changes = rows_of(self.board.changes(first, budget)[0])
        for name, change in changes.items():
            if change is None or change.get("first"):  # a new agent may have the name of a removed one
                self.details.pop(name, None)
        self._apply(changes)
        for name, change in self.board.details().items():
            before = self.details.get(name, {})
            self.details[name] = {**before, **change, "text": joined(before.get("text"), change.get("text"))}

    def _apply(self, changes: dict[str, Facts | None]) -> None:
        for name, change in changes.items():
            if change is None:
                self.rows.pop(name, None)
                continue
            if change.pop("first", False):
                self.rows.pop(name, None)
            row = self.rows.get(name, {"spans": []})
            self.rows[name] = {**row, **change, "spans": [*row["spans"], *change.get("spans", ())]}


def rows_of(rows: Facts) -> dict[str, Facts | None]:
    """Return the rows of a message by agent, from its columns: None for a removed agent, `first` for a new one."""
    found: dict[str, Facts | None] = dict.fromkeys(rows.get("removed", ()))
    facts: dict[str, Facts] = {name: {"first": True} for name in rows.get("added", ())}
    for table in rows.get("tables", ()):
        columns = dict(table)
        for at, name in enumerate(columns.pop("name")):
            row = facts.setdefault(name, {})
            row.update({column: values[at] for column, values in columns.items()})
    return {**found, **facts}


def columns_of(rows: Mapping[str, Facts | None]) -> Facts:
    """Return rows by agent as a message has them: the inverse of `rows_of`."""
    tables: dict[tuple[str, ...], dict[str, Facts]] = {}
    for name, row in rows.items():
        facts = {fact: value for fact, value in (row or {}).items() if fact != "first"}
        if facts:
            tables.setdefault((*facts,), {})[name] = facts
    return {
        "removed": [name for name, row in rows.items() if row is None],
        "added": [name for name, row in rows.items() if row and row.get("first")],
        "tables": [
            {"name": [*table], **{column: [row[column] for row in table.values()] for column in columns}}
            for columns, table in tables.items()
        ],
    }


def joined(text: Facts | None, piece: Facts | None) -> Facts | None:
    """Join a text and a new piece, as panel/view/state.js does."""
    if not text or not piece:
        return piece or text
    if (text["run"], text["turn"], text["to"]) == (piece["run"], piece["turn"], piece["at"]):
        return {**text, "to": piece["to"], "text": text["text"] + piece["text"]}
    return piece


def states(row: Facts) -> list[str]:
    """Return the states of its timeline, without the times."""
    return [state for _, state in row["spans"]]


async def row_when(session: Session, runtime: Runtime, **facts: Any) -> Facts:
    """Return the row as soon as it has these facts."""
    told = asyncio.Event()
    board = Board(runtime, told.set)
    while any((row := board.row(session))[name] != value for name, value in facts.items()):
        await told.wait()
        told.clear()
    board.close()
    return row


def look(table: str) -> str:
    """Look."""
    return f"{table}: 12 rows"


def calling(runtime: Runtime, answers: list[Finish]) -> tuple[Session, asyncio.Event, asyncio.Event]:
    """An agent that calls a tool in its first turn, and in the second waits for the test."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        finish = answers[sum(isinstance(message, AssistantMessage) for message in request.messages)]
        yield TextDelta("let me see" if finish.reason == "tool_calls" else "twelve, I would say")
        if finish.reason == "tool_calls":
            yield CallDelta(0, "c1", "look", '{"table": "orders"}')
        else:
            reached.set()
            await go_on.wait()
        yield finish

    return hire(runtime, FunctionModel(stream), tools=(look,)), reached, go_on


class Clock:
    """An event loop with a time that the test advances; everything but its timers is the real loop's."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop, self.now = loop, 1000.0
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._made = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, call: Callable[[], None], context: Any = None) -> asyncio.TimerHandle:
        timer = asyncio.TimerHandle(when, call, (), self._loop, context)
        self._made += 1
        heapq.heappush(self._timers, (when, self._made, timer))
        return timer

    def call_later(self, delay: float, call: Callable[[], None], context: Any = None) -> asyncio.TimerHandle:
        return self.call_at(self.now + delay, call, context)

    @property
    def pending(self) -> list[float]:
        """The due times of the timers that were not cancelled."""
        return [when for when, _, timer in self._timers if not timer.cancelled()]

    def advance(self, seconds: float) -> None:
        """Advance the time, and run the timers that are due."""
        end = self.now + seconds
        while self._timers and self._timers[0][0] <= end + 1e-9:
            when, _, timer = heapq.heappop(self._timers)
            self.now = max(self.now, when)
            if not timer.cancelled():
                timer._run()
        self.now = end


@contextmanager
def own_clock(runtime: Runtime) -> Iterator[Clock]:
    """Replace the loop for a runtime's timers by one whose time the test advances."""
    loop = runtime.home.loop
    clock = Clock(loop)
    runtime.home.loop = clock  # type: ignore[assignment]
    yield clock
    runtime.home.loop = loop


class Watched(Panel):
    """A panel that records its messages, and takes requests as from a page."""

    def __init__(self, runtime: NotebookRuntime) -> None:
        self.sent: list[tuple[float, Said]] = []
        self.clock = runtime.home.loop
        super().__init__(runtime)

    def send(self, content: Said, buffers: Any = None) -> None:
        self.sent.append((self.clock.time(), content))

    def hear(self, data: object, buffers: object = ()) -> None:
        """A message of the comm."""
        self._handle_msg({"content": {"data": data}, "buffers": buffers})

    def ask(self, do: str, view: str = "view1", **fields: Any) -> Said | None:
        """Send a request. Return the answer, if there is one."""
        before = len(self.sent)
        self.hear({"method": "custom", "content": {"do": do, "view": view, "id": 7, **fields}})
        return next((one for _, one in self.sent[before:] if one["kind"] == "done"), None)

    def say(self, do: str, **fields: Any) -> str:
        """Send a request that succeeds. Return the text of its answer."""
        reply = self.ask(do, **fields)
        assert reply is not None
        assert (reply["view"], reply["id"], reply["ok"]) == ("view1", 7, True), reply
        return str(reply["text"])

    def fail(self, do: str, **fields: Any) -> str:
        """Send a request that fails. Return the text of its answer."""
        reply = self.ask(do, **fields)
        assert reply is not None
        assert reply["ok"] is False, reply
        return str(reply["text"])

    def told(self, kind: str = "update") -> list[Said]:
        """Return the messages of this kind since the last call."""
        found = [one for _, one in self.sent if one["kind"] == kind]
        self.sent = [(at, one) for at, one in self.sent if one["kind"] != kind]
        return found


@contextmanager
def looked_at(runtime: NotebookRuntime) -> Iterator[Watched]:
    """A panel of bob and amy with one view that has received all rows; the clock is stopped."""
    for name in ("bob", "amy"):
        hire(runtime, ScriptedModel(QUICK), name)
    with own_clock(runtime) as clock:
        panel = Watched(runtime)
        panel.ask("hello")
        panel.ask("look", names="bob amy", open="")
        clock.advance(1)
        panel.sent.clear()
        yield panel
        panel.close()
