"""The panel: one widget for all agents. It sends changes to its views, and executes their requests.

A view is the panel in one output of one page. Each request is checked against a schema; anything else is dropped and
counted. No synced trait has authority: values that a front end sets are dropped, too.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msgspec.structs import asdict

from ...config.agents import AGENT_NAME
from ...config.kinds import Kind, Number, Text
from ...core.costs import as_price
from ...core.errors import ConfigError, SessionError, WhisperError
from ...core.queues import PRIORITIES
from ...core.text import printable
from ...engine.runs import Run
from ...engine.session import Session
from ...team.budgets import LIMIT
from ...team.runtimes import Runtime
from ..create import create
from .board import Board
from .details import Facts
from .lanes import Lanes
from .requests import RequestWidget
from .script import script, style
from .transcript import FIELDS, PIECE, piece, request_text

#: Seconds between two updates, bytes a second over time, bytes at once, and the share of a core that updates may take.
TICK_S, BYTES_PER_S, BURST, SHARE = 0.1, 80_000, 8_000, 0.02
#: Seconds between two messages with all rows, which do not count against the byte budget.
ALL_S = 1.0
#: Unacknowledged updates after which they slow down, and the longest interval in seconds.
UNSEEN, SLOWEST_S = 60, 2.0
#: Views that are remembered, agents in view of each, and bytes of a request.
VIEWS, IN_VIEW, REQUEST = 8, 200, 64 * 1024

_log = logging.getLogger("whisper_nb")
_FOLDER = Path(__file__).parent / "view"
_AGENT, _RUN = Text(pattern=AGENT_NAME), Text(pattern=rf"{AGENT_NAME}#\d{{1,12}}")
_AGENT_OR_ALL = Text(pattern=rf"{AGENT_NAME}|\*")
_PRIORITY = Text(pattern="|".join(PRIORITIES))
_VIEW = Text(pattern=r"[a-z0-9]{4,32}")
_NAMES = Text(pattern=rf"({AGENT_NAME}( {AGENT_NAME}){{0,{IN_VIEW - 1}}})?")
_COUNT = Number(0, 2**53, whole=True)
#: The requests of a view → the kind of each field, beside `view` and `id`.
REQUESTS: Mapping[str, Mapping[str, Kind]] = {
    "hello": {},
    "look": {"names": _NAMES, "open": Text(pattern=rf"({AGENT_NAME})?")},
    "lanes": {"names": _NAMES, "whole": _NAMES, "since": _COUNT, "step": _COUNT},
    "seen": {"number": _COUNT},
    "ping": {},
    "ask": {"agent": _AGENT_OR_ALL, "prompt": Text(lines=True), "priority": _PRIORITY},
    "pause": {"agent": _AGENT_OR_ALL},
    "resume": {"agent": _AGENT_OR_ALL},
    "stop": {"agent": _AGENT_OR_ALL},
    "cancel": {"run": _RUN},
    "clear": {"agent": _AGENT},
    "prioritize": {"run": _RUN, "priority": _PRIORITY},
    "move": {"run": _RUN, "before": _RUN},
    "create": {"agent": _AGENT},
    "transcript": {"run": Text(pattern=rf"({AGENT_NAME}#\d{{1,12}})?")},
    "part": {"run": _RUN, "item": _COUNT, "field": Text(pattern="|".join(FIELDS)), "start": _COUNT},
    "request": {"run": _RUN, "start": _COUNT},
    "again": {"run": _RUN},
    "budget": {"usd": LIMIT},
}


@dataclass(slots=True)
class Viewport:
    """The agents that one view shows."""

    names: tuple[str, ...] = ()
    open: str = ""
    """The agent whose details are open; empty for none."""
    run: Run | None = None
    """The run whose transcript is open."""


@dataclass(frozen=True, slots=True)
class PanelRequest:
    """A request of a view."""

    do: str
    view: str
    id: int
    fields: Mapping[str, Any] = field(default_factory=dict)


def parse_request(content: object) -> PanelRequest | None:
    """Return the request that a message contains, or None if it is not a valid one."""
    if not isinstance(content, dict):
        return None
    fields = dict(content)
    do = fields.pop("do", None)
    schema = REQUESTS.get(do) if isinstance(do, str) else None
    if schema is None or fields.keys() != {"view", "id", *schema}:
        return None
    texts = (value for value in fields.values() if isinstance(value, str))
    if sum(len(text.encode("utf-8", "replace")) for text in texts) > REQUEST:
        return None
    try:
        read = {name: kind.read(fields[name]) for name, kind in {**schema, "view": _VIEW, "id": _COUNT}.items()}
    except ValueError:
        return None
    return PanelRequest(do, read.pop("view"), read.pop("id"), read)


@contextmanager
def _logged(what: str) -> Iterator[None]:
    """Log the block's exceptions, and go on: no message of a view or to it may stop the agents' loop."""
    try:
        yield
    except Exception:  # a text that JSON cannot encode, or an error in this module
        _log.exception("the panel cannot %s", what)


class Panel(RequestWidget):
    """The live panel of a runtime's agents. `whisper_nb.runtime().panel()` returns the kernel's own.

    Args:
        runtime: owns the agents.
        settled: called after an update that leaves nothing to send.
    """

    _esm = script(_FOLDER / "panel.js")
    _css = style(_FOLDER)

    def __init__(self, runtime: Runtime, settled: Callable[[], None] = lambda: None) -> None:
        self._runtime = runtime
        self._settled = settled
        self.dropped = 0
        """Messages that were not valid requests, since the panel was created."""
        self._views: dict[str, Viewport] = {}
        self._budget: Facts | None = None  # as it was last sent
        self._removed_spent: Facts = {}  # the spending of removed agents, as it was last sent
        self._number = self._seen = 0  # of the newest update, and of the newest that a view has acknowledged
        self._timer: Callable[[], None] | None = None
        self._next = 0.0  # the earliest time of the next update
        self._allowance = float(BURST)  # bytes that may be sent
        self._counted = 0.0  # the time at which they were counted
        self._all_wanted = False  # whether a view needs all rows
        self._all_next = 0.0  # the earliest time for that
        super().__init__()
        self._lanes = Lanes(runtime)
        self._board = runtime.home.do(Board, runtime, self._changed)

    def __repr__(self) -> str:
        return "The team's live panel needs a running kernel. Its last state is below."

    def close(self) -> None:
        """Remove the panel from every page. Agents go on."""
        if hasattr(self, "_board"):  # not set where the constructor failed
            self._runtime.home.do(self._stop_observing)
        super().close()

    def _stop_observing(self) -> None:
        self._board.close()
        self._lanes.close()
        self._views.clear()
        if self._timer is not None:
            self._timer()

    @property
    def board(self) -> Board:
        """The facts that the panel shows."""
        return self._board

    def recheck(self) -> None:
        """Resolve the agents' models again: a cell may have changed a config."""
        self._board.recheck()

    # To the views: changes

    def _changed(self) -> None:
        if self._timer is None and self._views:
            home = self._runtime.home
            self._timer = home.later(max(0.0, self._next - home.loop.time()), self._on_time)

    def _on_time(self) -> None:
        with _logged("send an update"):  # the next change tries again
            self._tick()

    def _tick(self) -> None:
        """Send an update, and schedule the next one by what this one cost in bytes and in CPU time."""
        self._timer = None
        now = self._runtime.home.loop.time()
        start = time.thread_time()
        send_all = self._all_wanted and now >= self._all_next
        self._next = now + TICK_S
        self._allowance = min(BURST, self._allowance + (now - self._counted) * BYTES_PER_S)
        self._counted = now
        if send_all:
            self._all_wanted = False
            self._all_next = now + ALL_S
            self._send_all()
        elif self._allowance > 0:
            self._send_update()
        unseen = self._number - self._seen
        pace = max(TICK_S, min(TICK_S * unseen / UNSEEN, SLOWEST_S), -self._allowance / BYTES_PER_S)
        if not send_all:  # it may take longer: a view waits for it
            pace = max(pace, (time.thread_time() - start) / SHARE)
        self._next = now + pace
        if self._board.dirty or self._lanes.dirty or self._all_wanted:
            self._changed()
        else:
            self._settled()

    def _send_all(self) -> None:
        rows = self._board.all_rows()
        details = self._board.details()
        self._removed_spent = self._board.spent_on_removed()
        self._board.budget_changed = False
        self._budget = self._board.budget()
        more = {"budget": self._budget} if self._budget else {}
        self._post("all", rows=rows, details=details, team=self._available(), gone=self._removed_spent, **more)

    def _send_update(self) -> None:
        in_view = dict.fromkeys(name for view in self._views.values() for name in view.names)
        details = self._board.details()
        size = 0
        if details:
            size = len(json.dumps(details))
        # Lanes, transcripts and rows get a share of the budget even if an open agent has used all of it.
        lanes, lanes_size = self._lanes.changes(max(self._allowance - size, BURST / 4))
        size += lanes_size
        transcripts, transcripts_size = self._board.transcripts(max(self._allowance - size, BURST / 4))
        size += transcripts_size
        rows, rows_size = self._board.changes(in_view, max(self._allowance - size, BURST / 4))
        self._allowance -= size + rows_size
        content: Facts = {"rows": rows, "details": details, **lanes}
        if transcripts:
            content["transcripts"] = transcripts
        if (removed_spent := self._board.spent_on_removed()) != self._removed_spent:
            self._removed_spent = content["gone"] = removed_spent
        if self._board.budget_changed:
            self._board.budget_changed = False
            if (budget := self._board.budget()) != self._budget:
                self._budget = content["budget"] = budget
        if any(content.values()) or "budget" in content:
            self._post("update", **content)

    def _post(self, kind: str, **content: Any) -> None:
        if kind in ("all", "update"):
            self._number += 1
            content["number"] = self._number
            if self._runtime.home.where == "thread":
                content["threaded"] = True  # updates go on while a cell blocks the kernel
        with _logged(f"send a message of kind {kind!r}"):
            self.send({"kind": kind, "now": round(time.time(), 2), **content})

    def _available(self) -> list[Facts]:
        """Return the agents that files describe and that were not created yet."""
        return [
            {"name": name, "about": printable(entry.agent.description or entry.agent.role)[:120]}
            for name, entry in self._runtime.team.items()
            if entry.agent and self._runtime.get(name) is None
        ]

    # From the views: requests

    def _take_request(self, content: object) -> None:
        request = parse_request(content)
        if request is None:
            self.dropped += 1
        else:
            self._runtime.home.call(self._execute, request)

    def _execute(self, request: PanelRequest) -> None:
        ok, text = False, f"{request.do} failed; see the kernel's log"
        with _logged(f"execute {request.do}"):
            try:
                text = getattr(self, f"_do_{request.do}")(request.view, **request.fields)
                ok = True
            except WhisperError as error:
                text = printable(str(error))
        if text is not None:
            self._post("done", view=request.view, id=request.id, ok=ok, text=text)

    def _do_hello(self, view: str) -> None:
        # A view says it again if messages were lost. What it shows stays known: else, on a slow machine, the details
        # that it asks for again would be dropped each time before they are sent.
        self._views[view] = self._views.pop(view, Viewport())
        while len(self._views) > VIEWS:
            del self._views[gone := next(iter(self._views))]
            self._lanes.show(gone, ())
        self._board.open({one.open for one in self._views.values()})
        self._board.read(self._read)
        self._all_wanted = True
        self._seen = self._number
        self._changed()

    def _do_look(self, view: str, names: str, open: str) -> None:
        if view not in self._views:
            self._do_hello(view)
        before = self._views[view]
        self._views[view] = Viewport(tuple(names.split()), open, before.run)
        if open != before.open:
            self._board.open({one.open for one in self._views.values()}, anew=open)

    def _do_lanes(self, view: str, names: str, whole: str, since: int, step: int) -> None:
        if view in self._views:
            self._lanes.show(view, names.split(), whole.split(), since, step / 1000)
            self._changed()

    def _do_seen(self, view: str, number: int) -> None:
        self._seen = max(self._seen, min(number, self._number))

    def _do_ping(self, view: str) -> str:
        return ""

    def _do_ask(self, view: str, agent: str, prompt: str, priority: Any) -> str:
        sessions = self._targets(agent, without=("stopped",))
        if not sessions:
            raise ConfigError("nothing was queued: every agent is stopped. Resume one first")
        runs, refused = [], []
        for session in sessions:
            try:
                runs.append(session.submit(prompt, priority=priority))
            except SessionError as error:
                refused.append(str(error))
        if not runs:
            raise SessionError("; ".join(refused))
        queued = f"{runs[0].id} queued"
        if len(runs) > 1:
            queued = f"{len(runs)} runs queued"
        return "; but ".join([queued, *refused])

    def _do_pause(self, view: str, agent: str) -> str:
        return self._apply(Session.pause, self._targets(agent, without=("stopped",)), agent, "paused")

    def _do_resume(self, view: str, agent: str) -> str:
        return self._apply(Session.resume, self._targets(agent), agent, "at work again")

    def _do_stop(self, view: str, agent: str) -> str:
        return self._apply(Session.stop, self._targets(agent), agent, "stopped")

    def _do_cancel(self, view: str, run: str) -> str:
        found = self._run(run)
        if found.done:
            return f"{run} has already {found.status}"
        found.cancel()
        return f"{run} cancelled"

    def _do_clear(self, view: str, agent: str) -> str:
        runs = [run for run in self._session(agent).unfinished if run.started_at is None]
        for run in runs:
            run.cancel()
        return f"{agent}: {len(runs)} queued run{'s' * (len(runs) != 1)} cancelled"

    def _do_prioritize(self, view: str, run: str, priority: Any) -> str:
        self._run(run).move(priority=priority)
        return f"{run} has priority {priority}"

    def _do_move(self, view: str, run: str, before: str) -> str:
        self._run(run).move(before=self._run(before))
        return f"{run} comes before {before}"

    def _do_create(self, view: str, agent: str) -> str:
        if self._runtime.get(agent):
            raise ConfigError(f"{agent} exists already")
        outcome = create(self._runtime, agent)
        self._post("team", team=self._available())
        return outcome

    def _do_transcript(self, view: str, run: str) -> str:
        if view not in self._views:
            self._do_hello(view)
        self._views[view].run = self._run(run) if run else None
        self._board.read(self._read, anew=run)
        return ""

    @property
    def _read(self) -> dict[str, Run]:
        """The runs whose transcript is open in a view."""
        return {one.run.id: one.run for one in self._views.values() if one.run is not None}

    def _do_part(self, view: str, run: str, item: int, field: str, start: int) -> str:
        self._post_part(view, piece(self._run(run), item, field, start), run=run, item=item, field=field, start=start)
        return ""

    def _do_request(self, view: str, run: str, start: int) -> str:
        text = self._runtime.keys.redact(request_text(self._session(run.partition("#")[0]), self._run(run)))
        more = max(0, len(text) - start - PIECE)
        self._post_part(view, text[start : start + PIECE], run=run, field="request", start=start, more=more)
        return ""

    def _post_part(self, view: str, text: str, **facts: Any) -> None:
        # Updates wait for these bytes, but never for long: it is one view that has asked for them.
        self._allowance = min(self._allowance, max(self._allowance - len(text), -SLOWEST_S * BYTES_PER_S))
        self._post("part", view=view, text=text, **facts)

    def _do_again(self, view: str, run: str) -> str:
        found, session = self._run(run), self._session(run.partition("#")[0])
        output: object = found.output_type
        if output is None and found.started_at is not None and session.agent.output_type is not None:
            output = str  # it was asked for text
        again = session.submit(
            found.parts,
            priority=found.priority,
            config=found.config,
            fresh=found.fresh,
            output_type=output,
            **asdict(found.limits),
        )
        return f"{again.id} submitted: the prompt of {run} again"

    def _do_budget(self, view: str, usd: float) -> str:
        self._runtime.set_budget(usd=usd)
        return f"the budget of all agents is {as_price(usd)}"

    def _session(self, name: str) -> Session:
        session = self._runtime.get(name)
        if session is None:
            raise ConfigError(f"no agent named {name}: it was removed")
        return session

    def _targets(self, agent: str, without: tuple[str, ...] = ()) -> list[Session]:
        """Return the agent of this name; for `*`, all agents but those whose gate is in `without`."""
        if agent != "*":
            return [self._session(agent)]
        return [session for session in self._runtime.sessions if session.state.gate not in without]

    def _apply(self, act: Callable[[Session], None], sessions: list[Session], agent: str, done: str) -> str:
        for session in sessions:
            act(session)
        if agent == "*":
            agent = f"{len(sessions)} agent{'s' * (len(sessions) != 1)}"
        return f"{agent}: {done}"

    def _run(self, run: str) -> Run:
        for one in self._session(run.partition("#")[0]).runs:
            if one.id == run:
                return one
        raise ConfigError(f"no run {run}: the agent keeps only its newest runs")
