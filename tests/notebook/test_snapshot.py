"""The panel's static form: the same facts as text and as HTML, and kept current in the cells that show it."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.doubles import HeldModel, hire, quiet, settled
from support.inprocess import Notebook
from support.panels import row_when
from whisper_nb import Rule, Runtime, ScriptedModel
from whisper_nb.core.messages import Usage
from whisper_nb.notebook.panel import snapshot as snapshots
from whisper_nb.notebook.panel.board import Board
from whisper_nb.notebook.panel.snapshot import FORMS, ROWS, snapshot
from whisper_nb.notebook.runtime import NotebookRuntime

HOSTILE = "</td><script>alert(1)</script><img src=x onerror=alert(1)>&\ud800\x1b[31m\x00"


@pytest.fixture
def cells(notebook: Notebook, monkeypatch: pytest.MonkeyPatch) -> Iterator[Notebook]:
    """A notebook whose shell belongs to a kernel, with bob; each cell is followed by the extension's hooks."""
    monkeypatch.setattr(notebook.shell, "kernel", object(), raising=False)
    notebook.shell.events.register("post_run_cell", notebook.runtime.settle)
    yield notebook
    notebook.shell.events.unregister("post_run_cell", notebook.runtime.settle)
    notebook.runtime.panel().close()


def forms(cells: Notebook) -> list[tuple[str, bool, str]]:
    """The static forms that were displayed: display id, whether it was an update, text."""
    return [
        (one["transient"]["display_id"], one.get("update", False), one["data"]["text/plain"])
        for one in cells.shown
        if "wnb-snapshot" in one["data"].get("text/html", "")
    ]


def cells_of(markup: str) -> list[str]:
    """The texts of a table's cells, row by row."""
    return [html.unescape(cell) for cell in re.findall(r"<td[^>]*>(.*?)</td>", markup, re.DOTALL)]


# Content


async def test_a_team_without_agents_shows_how_to_create_one(runtime: Runtime) -> None:
    bundle = snapshot(runtime, Board(runtime))
    assert "no agents yet: %agent new NAME makes one" in bundle["text/plain"]
    assert re.match(r"0 agents · 0 queued · tokens 0 \+ 0 · cost \$0 · as of \d\d:\d\d:\d\d\n", bundle["text/plain"])


async def test_text_and_html_have_the_same_content(runtime: Runtime) -> None:
    held = HeldModel()
    bob = hire(runtime, held, icon="🐧")
    amy = hire(runtime, ScriptedModel([Rule(error="no more")]), "amy")
    board = Board(runtime)
    await settled(amy.submit("hello"))
    bob.submit("count the rows")
    await held.arrived()
    for number in range(10):
        bob.submit(f"job {number}", priority="low" if number == 9 else "normal")
    amy.pause()
    await row_when(bob, runtime, queued=10)
    bundle = snapshot(runtime, board)
    head, _, *rows = bundle["text/plain"].splitlines()
    assert head.startswith("2 agents · 1 running, 1 paused · 10 queued · tokens unknown · cost $0 so far · as of ")
    facts, _, clock = head.rpartition(" · ")
    assert f"<summary>The team as text, {clock}</summary>" in bundle["text/html"]
    assert html.escape(facts) in bundle["text/html"]
    for number, row in enumerate(rows):
        said = cells_of(bundle["text/html"])[number * 10 : number * 10 + 10]
        assert row.split() == " ".join(said).split()
    assert "#2, #3, #4, #5, #6, #7, #8, #9 and 2 more" in rows[0]
    assert "amy#1: no more" in rows[1]


async def test_an_unknown_cost_is_not_shown_as_zero(runtime: Runtime) -> None:
    bob = hire(runtime, HeldModel())
    bob._journal.projection.spent = bob.spent.plus(None, None)
    text = snapshot(runtime, Board(runtime))["text/plain"]
    assert "tokens unknown · cost unknown ·" in text
    assert "$0" not in text
    assert "0 + 0" not in text
    bob._journal.projection.spent = bob.spent.plus(Usage(1200, 4), 0.25)
    head, _, row = snapshot(runtime, Board(runtime))["text/plain"].splitlines()
    assert "tokens at least 1,200 + 4 · cost at least $0.2500, 1 run unknown ·" in head
    assert re.search(r"  at least 1,200 \+ 4  at least \$0.2500, 1 run unknown  ", row)


async def test_an_estimated_cost_is_told_in_the_words_of_the_cost_command(runtime: Runtime) -> None:
    bob = hire(runtime, HeldModel())
    bob._journal.projection.spent = bob.spent.plus(Usage(1200, 4), 0.25).plus(None, None, 0.5)
    head, _, row = snapshot(runtime, Board(runtime))["text/plain"].splitlines()
    assert "cost about $0.7500 ·" in head
    assert "  about $0.7500  " in row


async def test_a_removed_agent_is_still_in_the_sum(runtime: Runtime) -> None:
    model = HeldModel()
    run = hire(runtime, model).submit("hello")
    (await model.arrived()).release()
    await run
    runtime.remove("bob")
    assert "tokens 1 + 2 · cost $0.5000 ·" in snapshot(runtime, Board(runtime))["text/plain"]


async def test_everything_is_escaped(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(error=HOSTILE)]), icon="<b>&", title=HOSTILE.split("\ud800", maxsplit=1)[0])
    await settled(bob.submit(HOSTILE))
    bob.pause()
    bob.submit(HOSTILE)
    await quiet()
    bundle = snapshot(runtime, Board(runtime))
    assert re.findall(r"<(script|img|b)\b", bundle["text/html"]) == ["img"]  # the timeline
    assert "&lt;b&gt;&amp; bob" in bundle["text/html"]
    for text in bundle.values():
        text.encode()
        assert "\x1b" not in text
        assert "\0" not in text


async def test_at_most_a_hundred_rows_are_shown(runtime: Runtime) -> None:
    for number in range(ROWS + 3):
        hire(runtime, ScriptedModel([]), f"a{number}")
    bundle = snapshot(runtime, Board(runtime))
    assert bundle["text/plain"].startswith("103 agents · 103 idle")
    assert bundle["text/plain"].endswith("\nand 3 more")
    assert "and 3 more" in bundle["text/html"]
    assert bundle["text/html"].count("<tr>") == 1 + ROWS


# %agents


async def test_the_form_is_text_in_a_terminal(notebook: Notebook) -> None:
    said = notebook.run("%agents")
    assert said.startswith("1 agent · 1 idle")
    assert notebook.run("%agent panel").splitlines()[1:] == said.splitlines()[1:]
    assert forms(notebook) == []


async def test_lists_have_what_the_running_cell_has_just_submitted(notebook: Notebook) -> None:
    launches = "".join(f"%agent ask bob hello {number}\n" for number in range(10))
    said = notebook.run(f"{launches}%agent ask bob --priority high hello\n%agents\n%agent list")
    assert said.startswith("1 agent · 1 idle · 11 queued · ")
    for text in (said, notebook.shown[-1]["data"]["text/plain"]):
        assert "#1, #2, #3, #4, #5, #6, #7, #8 and 3 more" in text
    await notebook.runtime["bob"].runs[-1]
    assert "#1" not in notebook.run("%agents")


async def test_a_kernel_shows_the_panel_and_the_static_form(cells: Notebook) -> None:
    assert cells.run("%agents") == ""
    widget, form = cells.shown
    assert widget["data"]["application/vnd.jupyter.widget-view+json"]["model_id"] == cells.runtime.panel().model_id
    assert widget["data"]["text/plain"] == "The team's live panel needs a running kernel. Its last state is below."
    assert form["data"]["text/plain"].startswith("1 agent · 1 idle")
    assert [anew for _, anew, _ in forms(cells)] == [False]


async def test_a_cell_updates_the_form_only_if_something_changed(cells: Notebook) -> None:
    cells.run("%agents")
    cells.run("1")
    assert len(forms(cells)) == 1
    await cells.runtime["bob"].submit("hello")
    cells.run("2")
    cells.run("3")
    (first, _, _), (second, anew, text) = forms(cells)
    assert (second, anew) == (first, True)
    assert re.search(r"bob +idle", text)
    assert "heard: " not in text


async def test_no_form_is_updated_if_none_was_shown(cells: Notebook) -> None:
    cells.runtime.panel()
    await cells.runtime["bob"].submit("hello")
    cells.run("1")
    assert forms(cells) == []


async def test_the_newest_forms_are_updated_and_older_ones_are_not(cells: Notebook) -> None:
    for _ in range(FORMS + 1):
        cells.run("%agents")
    shown = [place for place, _, _ in forms(cells)]
    assert len(set(shown)) == FORMS + 1
    await cells.runtime["bob"].submit("hello")
    cells.run("1")
    assert [place for place, anew, _ in forms(cells) if anew] == shown[1:]


async def test_the_first_form_stays_current_when_a_second_cell_shows_it(cells: Notebook) -> None:
    cells.run("%agents")
    await cells.runtime["bob"].submit("hello")
    cells.run("%agents")
    first = forms(cells)[0][0]
    assert (first, True) in [(place, anew) for place, anew, _ in forms(cells)]


@pytest.mark.parametrize("code", ["1", "%agents"])
async def test_the_form_shows_a_changed_config_without_a_panel(cells: Notebook, code: str) -> None:
    cells.run("%agents")
    cells.runtime.configure("offline/other")
    cells.run(code)
    assert "offline/other" in forms(cells)[-1][2]


# Updates when all agents are idle


@pytest.fixture
def timers(runtime: NotebookRuntime, monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """The callbacks that wait until all agents are idle; the test calls them."""
    waiting: list[Callable[[], None]] = []

    class Loop:
        def call_later(self, delay: float, call: Callable[[], None], context: Any = None) -> Any:
            assert delay == snapshots.REST_S
            waiting.append(call)
            return call

        def __getattr__(self, name: str) -> Any:
            return getattr(real, name)

    real = runtime.home.loop
    monkeypatch.setattr(runtime.home, "loop", Loop())
    return waiting


async def test_the_form_is_updated_in_place_when_all_agents_are_idle(
    cells: Notebook, timers: list[Callable[[], None]]
) -> None:
    cells.run("%agents")
    cells.runtime.snapshots.rest()
    assert timers == [], "nothing happened"
    await cells.runtime["bob"].submit("hello")
    cells.runtime.snapshots.rest()
    cells.runtime.snapshots.rest()
    (rested,) = timers
    rested()
    assert [anew for _, anew, _ in forms(cells)] == [False, True]
    cells.run("1")
    assert [anew for _, anew, _ in forms(cells)] == [False, True, True], "a headless front end drops the one between"


async def test_the_form_is_not_updated_while_an_agent_works(cells: Notebook, timers: list[Callable[[], None]]) -> None:
    held = HeldModel()
    amy = hire(cells.runtime, held, "amy")
    cells.run("%agents")
    run = amy.submit("hello")
    call = await held.arrived()
    cells.runtime.snapshots.rest()
    timers.pop()()
    assert [anew for _, anew, _ in forms(cells)] == [False]
    call.release()
    await run
    cells.runtime.snapshots.rest()
    timers.pop()()
    assert [anew for _, anew, _ in forms(cells)] == [False, True]


async def test_the_form_is_updated_once_between_two_cells(cells: Notebook, timers: list[Callable[[], None]]) -> None:
    cells.run("%agents")
    await cells.runtime["bob"].submit("hello")
    cells.runtime.snapshots.rest()
    timers.pop()()
    cells.runtime.snapshots.rest()  # for example because an agent was opened
    for rested in timers:
        rested()
    assert [anew for _, anew, _ in forms(cells)] == [False, True]
