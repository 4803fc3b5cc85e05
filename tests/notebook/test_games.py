"""Random sequences of actions: changes add up to the complete state, and a late board equals an early one."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from support.doubles import HeldModel, hire
from support.panels import QUICK, Page
from whisper_nb import Run, Runtime, ScriptedModel, Session
from whisper_nb.core.errors import SessionError
from whisper_nb.notebook.panel.board import Board
from whisper_nb.notebook.panel.details import Facts
from whisper_nb.notebook.panel.standing import first_word
from whisper_nb.notebook.panel.timeline import FRESH, Span
from whisper_nb.notebook.runtime import NotebookRuntime

ACTIONS = [
    "quick", "held", "fail", "needs", "release", "pause", "resume", "resume", "stop", "cancel", "reset", "move",
    "reprioritise", "revise", "remove", "tell",
]  # fmt: skip
NAMES = ["amy", "bob"]
PRIORITIES = ["urgent", "normal", "low"]
Rows = dict[str, Facts]


@dataclass
class Game:
    """Two agents, random actions on them, and a page that shows them."""

    runtime: Runtime
    chance: random.Random
    actions: list[str]
    held: HeldModel = field(default_factory=HeldModel)
    runs: list[Run] = field(default_factory=list)

    def session(self) -> Session:
        """One of the two; created if it does not exist."""
        name = self.chance.choice(NAMES)
        return self.runtime.get(name) or hire(self.runtime, ScriptedModel(QUICK), name)

    async def act(self, page: Page) -> None:
        """Do one action, then let the loop run or not."""
        self.do(self.chance.choice(self.actions), self.session(), page)
        await turn(self.chance.choice([0, 1, 3, 30]))

    def do(self, what: str, session: Session, page: Page) -> None:
        priority, queue = self.chance.choice(PRIORITIES), session.queue
        match what:
            case "quick" | "fail":
                self.runs.append(session.submit(what, priority=priority))
            case "held":
                self.runs.append(session.submit(what, priority=priority, config={"model": "offline/held"}))
            case "needs" if self.runs:
                self.runs.append(session.submit([self.chance.choice(self.runs), " and more"]))
            case "release" if self.held.calls:
                self.held.calls.pop(0).release()
            case "cancel" if session.unfinished:
                self.chance.choice(session.unfinished).cancel()
            case "move" if len(queue) > 1:
                queue[-1].move(before=self.chance.choice(queue[:-1]))
            case "reprioritise" if queue:
                self.chance.choice(queue).move(priority=priority)
            case "revise":
                session.revise(replace(session.agent, title=priority))
            case "remove":
                self.runtime.remove(session.name)
            case "tell":
                page.take([session.name], self.chance.choice([1, 200, 1e9]))
            case "pause" | "resume" | "stop" | "reset":
                getattr(session, what)()


async def turn(times: int) -> None:
    """Let the loop run."""
    for _ in range(times):
        await asyncio.sleep(0)


@dataclass
class Outcome:
    """The facts at the end."""

    told: Page
    """Of a page that was open from the start and received changes."""
    whole: Rows
    """Of its board, as a complete state."""
    late: Page
    """Of a page that is opened now, with its own board."""


async def play(chance: random.Random, actions: list[str]) -> Outcome:
    """Do random actions, and then wait until all is idle."""
    async with NotebookRuntime(environ={}, max_concurrent_calls=1) as runtime:
        game = Game(runtime, chance, actions)
        runtime.models["offline/held"] = game.held
        names = [hire(runtime, ScriptedModel(QUICK), name).name for name in NAMES]
        page = Page(Board(runtime), *names)
        for _ in range(chance.randrange(60)):
            try:
                await game.act(page)
            except SessionError:  # stopped, say
                continue
        await turn(60)
        page.take()
        return Outcome(page, Page(page.board).rows, Page(Board(runtime), *names))


def without(rows: Rows, *facts: str) -> Rows:
    return {name: {fact: value for fact, value in row.items() if fact not in facts} for name, row in rows.items()}


def newest(row: Facts, count: int) -> list[Span]:
    """The newest changes of its state."""
    return list(row["spans"])[::-1][:count]


@given(st.randoms(use_true_random=True))
@settings(max_examples=50)
def test_changes_and_a_late_board_give_the_same_rows_as_the_whole(chance: random.Random) -> None:
    end = asyncio.run(play(chance, ACTIONS))
    assert end.whole == end.late.rows
    assert without(end.told.rows, "spans") == without(end.whole, "spans")
    for name, row in end.whole.items():
        count = min(FRESH, len(row["spans"]))  # so many are told between two updates
        assert newest(end.told.rows[name], count) == newest(row, count)


@given(st.randoms(use_true_random=True))
@settings(max_examples=50)
def test_a_timeline_ends_with_the_current_state_and_its_start(chance: random.Random) -> None:
    end = asyncio.run(play(chance, [one for one in ACTIONS if one != "remove"]))
    for row in end.whole.values():
        state = first_word(row["state"].partition("(")[2].rstrip(")") or row["state"])
        if state == "waiting" and (not row["spans"] or row["spans"][-1][1] == "idle"):
            continue  # its first run waits for another agent's
        assert row["spans"][-1:] == ([(row["since"], state)] if row["spans"] else [])
        assert row["spans"] or state == "idle"


@given(st.randoms(use_true_random=True))
@settings(max_examples=50)
def test_an_early_and_a_late_opened_agent_have_the_same_details(chance: random.Random) -> None:
    end = asyncio.run(play(chance, [one for one in ACTIONS if one != "remove"]))
    for name, late in end.late.details.items():
        told = end.told.details[name]
        for section in ("spec", "config", "queue", "run"):
            assert told.get(section) == late.get(section)
        assert [run["id"] for run in told["runs"]] == [run["id"] for run in late["runs"]]
        assert said(told) == said(late)


def said(details: Facts) -> str:
    """The text of its newest run that has begun."""
    return str(details["text"]["text"]) if details.get("text") else ""
