"""The panel's static form, for readers without a widget: a terminal, nbconvert, GitHub, a notebook without a kernel.

It is an output of its own beside the widget, whose script folds it up. It is displayed again after the next cell and
when the agents come to rest, so that a saved notebook is current, and it shows its time.
"""

from __future__ import annotations

import contextvars
import html
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import uuid4

from ...core.text import clip
from ...engine.runs import Run
from ...engine.session import Session
from ...team.runtimes import Runtime
from ...team.spending import spent_by
from ..cells.costs import about, budget_line, cost_line, tokens_line
from ..cells.tables import table_html, table_text
from .board import CHIPS, Board
from .details import Facts
from .picture import picture
from .standing import first_word

#: Agents that a static form shows, and static forms that are kept current.
ROWS, FORMS = 100, 3
#: Seconds of rest after which it is displayed again.
REST_S = 1.0
_EMPTY = "no agents yet: %agent new NAME makes one"


def snapshot(runtime: Runtime, board: Board) -> dict[str, str]:
    """Return the agents as they are now, as text/plain and text/html, every value escaped."""
    facts = [(session, board.row(session)) for session in runtime.sessions]
    now = time.time()
    rows = [_row(session, row, now) for session, row in islice(facts, ROWS)]
    clock = f"as of {time.strftime('%H:%M:%S')}"
    total = _total(runtime, [row for _, row in facts])
    head = f"{total} · {clock}"
    more = f"and {len(facts) - ROWS} more" if len(facts) > ROWS else ""
    text = "\n".join(line for line in (head, table_text(rows, _EMPTY), more) if line)
    markup = f"{table_html(rows, _EMPTY)}<small>{html.escape(more)}</small>"
    if any(session.runs for session in runtime.sessions):
        markup += f"<div>{picture(runtime).image}</div>"
    return {
        "text/plain": text,
        "text/html": '<details class="wnb-snapshot" open><summary>The team as text, '
        f"{clock}</summary><div>{html.escape(total)}</div>{markup}</details>",
    }


def team_rows(runtime: Runtime) -> list[dict[str, str]]:
    """Return a row of readable facts for each agent."""

    def rows() -> list[dict[str, str]]:
        now = time.time()
        with closing(Board(runtime)) as board:
            return [_row(session, board.row(session), now) for session in runtime.sessions]

    return runtime.home.do(rows)


def team_text(runtime: Runtime) -> str:
    """Return the agents as they are now, as text."""

    def text() -> str:
        with closing(Board(runtime)) as board:
            return snapshot(runtime, board)["text/plain"]

    return runtime.home.do(text)


def _total(runtime: Runtime, rows: list[Facts]) -> str:
    """Return the sums of all agents, with the costs of removed ones, as the panel shows them."""
    states = Counter(first_word(row["state"]) for row in rows)
    spent = runtime.spent
    parts = (
        f"{len(rows)} agent{'s' * (len(rows) != 1)}",
        ", ".join(f"{count} {state}" for state, count in states.items()),
        f"{sum(row['queued'] for row in rows) + sum(len(_submitted(one)) for one in runtime.sessions)} queued",
        f"tokens {tokens_line(spent)}",
        f"cost {cost_line(spent)}",
        budget_line(runtime.budget) if runtime.budget else "",
    )
    return " · ".join(part for part in parts if part)


def _row(session: Session, row: Facts, now: float) -> dict[str, str]:
    name, spent = session.name, spent_by(session)
    state = row["state"]
    if row["since"] is not None:
        state += f" {_ago(now - row['since'])}"
    submitted = _submitted(session)
    waiting = [(run, priority) for run, priority, _ in row["queue"]]
    if row["queued"] == len(waiting):
        waiting += [(run.id, run.priority) for run in submitted[: CHIPS - len(waiting)]]
    queue = ", ".join(_queued(run.removeprefix(name), priority) for run, priority in waiting)
    if more := row["queued"] + len(submitted) - len(waiting):
        queue += f" and {more} more"
    return {
        "agent": f"{row['icon']} {name}".strip(),
        "state": state,
        "now": clip(row["now"], 40),
        "queue": queue,
        "done": str(spent.runs),
        "memory": about(row["memory"]),
        "tokens": tokens_line(spent),
        "cost": cost_line(spent),
        "model": row["model"],
        "last error": clip(row["error"], 60),
    }


def _submitted(session: Session) -> list[Run]:
    """Return the runs that are not in the queue yet: those of the running cell."""
    return [run for run in session.unfinished if run.status == "submitted"]


def _queued(run: str, priority: str) -> str:
    if priority == "normal":
        return run
    return f"{run} {priority}"


def _ago(seconds: float) -> str:
    if seconds < 60:
        return f"{max(0, seconds):.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min"
    return f"{seconds // 3600:.0f} h"


@dataclass(slots=True)
class StaticForm:
    """One static form in one cell."""

    display_id: str
    context: contextvars.Context
    """The context of the cell, to which its output goes."""
    shown: int = -1
    """The version of the board that it shows."""
    kept: int = -1
    """The version that was displayed while a cell ran: a headless front end drops outputs from the background."""


class Snapshots:
    """The static forms in cells, kept current."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._forms: deque[StaticForm] = deque(maxlen=FORMS)
        self._board: Board | None = None
        self._timer: Callable[[], None] | None = None

    def show(self, board: Board) -> None:
        """Display the agents as they are now in the current cell."""
        self._runtime.home.do(self._show, board)

    def _show(self, board: Board) -> None:
        self._board = board
        self._forms.append(form := StaticForm(uuid4().hex, contextvars.copy_context()))
        self._emit(form, update=False)
        form.kept = form.shown

    def settle(self) -> None:
        """Display the changes from the cell that has just run: a headless front end saves nothing else."""
        for form in self._forms:
            if self._board and self._board.version != form.kept:
                self._emit(form)
                form.kept = form.shown

    def rest(self) -> None:
        """Display the forms again, if the agents rest for a while. Call it when the panel has sent everything."""
        if self._timer is None and any(self._board and self._board.version != form.shown for form in self._forms):
            self._timer = self._runtime.home.later(REST_S, self._rested)

    def _rested(self) -> None:
        self._timer = None
        if self._board is None or not self._board.at_rest:
            return
        for form in self._forms:
            if self._board.version != form.shown:
                form.context.run(self._emit, form)

    def _emit(self, form: StaticForm, update: bool = True) -> None:
        from IPython.display import display

        assert self._board is not None
        form.shown = self._board.version
        show: Callable[..., Any] = display
        show(snapshot(self._runtime, self._board), raw=True, display_id=form.display_id, update=update)
