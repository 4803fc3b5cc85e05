"""The panel: one widget for all agents. Tells its views what has changed, and does what they ask for.

A view is a panel in one place of one page. What it sends are requests, each checked against a schema; anything else is
dropped and counted. No synced trait has authority: what a front end says of one is dropped, too.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anywidget

from ...config.agents import AGENT_NAME
from ...config.kinds import Kind, Number, Text
from ...core.errors import ConfigError, SessionError, WhisperError
from ...core.queues import PRIORITIES
from ...core.text import printable
from ...engine.runs import Run
from ...engine.runtimes import Runtime
from ...engine.session import Session
from ..create import create
from .board import Board
from .details import Facts

#: Seconds between two updates, bytes a second over time, bytes at once, and the share of a core that they may cost.
TICK_S, BYTES_PER_S, BURST, SHARE = 0.1, 80_000, 8_000, 0.02
#: Seconds between two tellings of everything, which is in no budget.
WHOLE_S = 1.0
#: Updates that nobody has acknowledged before they come more slowly, and how slowly at most.
UNSEEN, SLOWEST_S = 60, 2.0
#: Views that are remembered, agents in view of each, and bytes of a command.
VIEWS, IN_VIEW, COMMAND = 8, 200, 64 * 1024

_log = logging.getLogger("whisper_nb")
_PAGE = Path(__file__).parent
_AGENT, _RUN = Text(pattern=AGENT_NAME), Text(pattern=rf"{AGENT_NAME}#\d{{1,12}}")
_ALL = Text(pattern=rf"{AGENT_NAME}|\*")
_PRIORITY = Text(pattern="|".join(PRIORITIES))
_VIEW = Text(pattern=r"[a-z0-9]{4,32}")
_NAMES = Text(pattern=rf"({AGENT_NAME}( {AGENT_NAME}){{0,{IN_VIEW - 1}}})?")
_COUNT = Number(0, 2**53, whole=True)
#: What a view may ask for → its fields and what each may be, beside `view` and `id`.
COMMANDS: Mapping[str, Mapping[str, Kind]] = {
    "hello": {},
    "look": {"names": _NAMES, "open": Text(pattern=rf"({AGENT_NAME})?")},
    "seen": {"number": _COUNT},
    "ping": {},
    "ask": {"agent": _ALL, "prompt": Text(lines=True), "priority": _PRIORITY},
    "pause": {"agent": _ALL},
    "resume": {"agent": _ALL},
    "stop": {"agent": _ALL},
    "cancel": {"run": _RUN},
    "clear": {"agent": _AGENT},
    "prioritize": {"run": _RUN, "priority": _PRIORITY},
    "move": {"run": _RUN, "before": _RUN},
    "create": {"agent": _AGENT},
}


@dataclass(slots=True)
class View:
    """What one view has in sight."""

    names: tuple[str, ...] = ()
    open: str = ""


@dataclass(frozen=True, slots=True)
class Command:
    """What a view asks for."""

    do: str
    view: str
    id: int
    fields: Mapping[str, Any] = field(default_factory=dict)


def command(content: object) -> Command | None:
    """The command that a message means; None where it is none."""
    if not isinstance(content, dict):
        return None
    fields = dict(content)
    do = fields.pop("do", None)
    schema = COMMANDS.get(do) if isinstance(do, str) else None
    if schema is None or fields.keys() != {"view", "id", *schema}:
        return None
    if sum(len(value.encode("utf-8", "replace")) for value in fields.values() if isinstance(value, str)) > COMMAND:
        return None
    try:
        read = {name: kind.read(fields[name]) for name, kind in {**schema, "view": _VIEW, "id": _COUNT}.items()}
    except ValueError:
        return None
    return Command(do, read.pop("view"), read.pop("id"), read)


class Panel(anywidget.AnyWidget):
    """The live panel of a runtime's agents. `whisper_nb.runtime().panel()` is the kernel's; display it as often as you like."""

    _esm = _PAGE / "panel.js"
    _css = _PAGE / "panel.css"

    def __init__(self, runtime: Runtime, settled: Callable[[], None] = lambda: None) -> None:
        self._runtime = runtime
        self._settled = settled
        self.dropped = 0
        """Messages that were no commands, since it was made."""
        self._views: dict[str, View] = {}
        self._gone: Facts = {}  # what was told of the spending of removed agents
        self._number = self._seen = 0  # of the newest update, and of the newest that a view has acknowledged
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0  # when the next update may be
        self._allowance, self._counted = float(BURST), 0.0  # bytes that may be sent, as of then
        self._whole, self._whole_next = False, 0.0  # a view wants everything; when that may be told again
        super().__init__()
        self.comm.on_close(lambda _: self.close())  # by a front end: the next `%agents` makes another one
        # Heard on the shell that the front end names, which may be one that no cell blocks, and not on that of the last reply.
        self.comm._reply_subshell_for = lambda _, subshell: subshell
        self.comm.handle_msg = self._handle_msg  # no cell, at whose end figures are shown: one may be drawing just now
        self._board = runtime.home.do(Board, runtime, self._changed)

    def __repr__(self) -> str:
        return "The team's live panel needs a running kernel. Below stands how the team was."

    def close(self) -> None:
        """Take it out of every page. Agents go on."""
        if hasattr(self, "_board"):  # also where making it has failed
            self._runtime.home.do(self._hear_no_more)
        super().close()

    def _hear_no_more(self) -> None:
        self._board.close()
        self._views.clear()
        if self._timer is not None:
            self._timer.cancel()

    @property
    def board(self) -> Board:
        """What it shows."""
        return self._board

    def recheck(self) -> None:
        """Look anew at who answers with what: a cell may have changed a config."""
        self._board.recheck()

    # Out: what has changed

    def _changed(self) -> None:
        if self._views and self._timer is None:
            home = self._runtime.home
            self._timer = home.later(max(0.0, self._next - home.loop.time()), self._tick)

    def _tick(self) -> None:
        self._timer, now, start = None, self._runtime.home.loop.time(), time.perf_counter()
        whole = self._whole and now >= self._whole_next
        self._next = now + TICK_S
        self._allowance = min(BURST, self._allowance + (now - self._counted) * BYTES_PER_S)
        self._counted = now
        if whole:
            self._whole, self._whole_next = False, now + WHOLE_S
            self._gone = self._board.gone()
            self._tell(
                "whole", rows=self._board.whole(), team=self._at_hand(), details=self._board.details(), gone=self._gone
            )
        elif self._allowance > 0:
            seen = dict.fromkeys(name for view in self._views.values() for name in view.names)
            details = self._board.details()
            size = len(json.dumps(details)) if details else 0
            # An agent that is open must not starve the rows.
            rows, more = self._board.changes(seen, max(self._allowance - size, BURST / 4))
            self._allowance -= size + more
            before, self._gone = self._gone, self._board.gone()
            changed = {"gone": self._gone} if self._gone != before else {}
            if rows or details or changed:
                self._tell("update", rows=rows, details=details, **changed)
        unseen = self._number - self._seen
        pace = max(TICK_S, min(TICK_S * unseen / UNSEEN, SLOWEST_S), -self._allowance / BYTES_PER_S)
        self._next = now + max(pace, 0.0 if whole else (time.perf_counter() - start) / SHARE)
        if self._board.dirty or self._whole:
            self._changed()
        else:
            self._settled()

    def _tell(self, kind: str, **content: Any) -> None:
        if kind in ("whole", "update"):
            self._number += 1
            content["number"] = self._number
            if self._runtime.home.where == "thread":
                content["threaded"] = True  # they go on while the kernel does not answer
        try:
            self.send({"kind": kind, "now": round(time.time(), 2), **content})
        except Exception:  # of a text that no message can hold, say: the next ones shall be sent all the same
            _log.exception("the panel cannot send %s", kind)

    def _at_hand(self) -> list[Facts]:
        """The agents that files describe and that nobody has given work yet."""
        team = self._runtime.team
        return [
            {"name": name, "about": printable(entry.agent.description or entry.agent.role)[:120]}
            for name, entry in team.items()
            if entry.agent and self._runtime.get(name) is None
        ]

    # In: what views ask for

    def _handle_msg(self, msg: Any) -> None:
        content = msg.get("content") if isinstance(msg, dict) else None
        data = content.get("data") if isinstance(content, dict) else None
        match data:
            case {"method": "request_state"}:
                self.send_state()
            case {"method": "custom", "content": wanted} if not msg.get("buffers") and (found := command(wanted)):
                self._runtime.home.call(self._obey, found)
            case _:
                self.dropped += 1

    def _obey(self, wanted: Command) -> None:
        ok, say = True, ""
        try:
            say = getattr(self, f"_do_{wanted.do}")(wanted.view, **wanted.fields)
        except WhisperError as error:
            ok, say = False, printable(str(error))
        except Exception:  # whatever a front end says, the kernel goes on
            _log.exception("the panel cannot do %s", wanted.do)
            ok, say = False, "this failed; the kernel's log says why"
        if say is not None:
            self._tell("done", view=wanted.view, id=wanted.id, ok=ok, say=say)

    def _do_hello(self, view: str) -> None:
        self._views.pop(view, None)
        self._views[view] = View()
        while len(self._views) > VIEWS:
            del self._views[next(iter(self._views))]
        self._board.open({one.open for one in self._views.values()})
        self._whole, self._seen = True, self._number
        self._changed()

    def _do_look(self, view: str, names: str, open: str) -> None:
        if view not in self._views:
            return self._do_hello(view)
        opened, self._views[view] = open != self._views[view].open, View(tuple(names.split()), open)
        if opened:
            self._board.open({one.open for one in self._views.values()})
        return None

    def _do_seen(self, view: str, number: int) -> None:
        self._seen = max(self._seen, min(number, self._number))

    def _do_ping(self, view: str) -> str:
        return ""

    def _do_ask(self, view: str, agent: str, prompt: str, priority: Any) -> str:
        sessions = [one for one in self._each(agent) if agent != "*" or one.state.gate != "stopped"]
        if not sessions:
            raise ConfigError("nobody to ask: no agent takes work now")
        runs, refused = [], []
        for session in sessions:
            try:
                runs.append(session.submit(prompt, priority=priority))
            except SessionError as error:
                refused.append(str(error))
        if not runs:
            raise SessionError("; ".join(refused))
        queued = f"{runs[0].id} queued" if len(runs) == 1 else f"{len(runs)} runs queued"
        return "; but ".join([queued, *refused])

    def _do_pause(self, view: str, agent: str) -> str:
        return self._all(agent, Session.pause, "paused", but=("stopped",))

    def _do_resume(self, view: str, agent: str) -> str:
        return self._all(agent, Session.resume, "at work again")

    def _do_stop(self, view: str, agent: str) -> str:
        return self._all(agent, Session.stop, "stopped")

    def _do_cancel(self, view: str, run: str) -> str:
        found = self._run(run)
        if found.done:
            return f"{run} has {found.status} already"
        found.cancel()
        return f"{run} cancelled"

    def _do_clear(self, view: str, agent: str) -> str:
        runs = [run for run in self._session(agent).unfinished if run.started_at is None]
        for run in runs:
            run.cancel()
        return f"{len(runs)} queued runs of {agent} cancelled" if runs else f"nothing waits at {agent}"

    def _do_prioritize(self, view: str, run: str, priority: Any) -> str:
        self._run(run).move(priority=priority)
        return f"{run} has priority {priority}"

    def _do_move(self, view: str, run: str, before: str) -> str:
        self._run(run).move(before=self._run(before))
        return f"{run} comes before {before}"

    def _do_create(self, view: str, agent: str) -> str:
        if self._runtime.get(agent):
            raise ConfigError(f"{agent} is at work already")
        said = create(self._runtime, agent)
        self._tell("team", team=self._at_hand())
        return said

    def _session(self, name: str) -> Session:
        session = self._runtime.get(name)
        if session is None:
            raise ConfigError(f"no agent named {name} any more")
        return session

    def _each(self, agent: str) -> list[Session]:
        return list(self._runtime.sessions) if agent == "*" else [self._session(agent)]

    def _all(self, agent: str, act: Callable[[Session], None], done: str, but: tuple[str, ...] = ()) -> str:
        sessions = [one for one in self._each(agent) if agent != "*" or one.state.gate not in but]
        for session in sessions:
            act(session)
        who = agent if agent != "*" else f"{len(sessions)} agent{'s' * (len(sessions) != 1)}"
        return f"{who}: {done}"

    def _run(self, run: str) -> Run:
        for one in self._session(run.partition("#")[0]).runs:
            if one.id == run:
                return one
        raise ConfigError(f"{run} is not remembered any more")
