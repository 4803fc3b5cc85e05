"""The picture of the team as a still: SVG and text of bounded size, in which texts of prompts stay texts."""

from __future__ import annotations

import base64
import re
import time
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import pytest

from support.doubles import HeldModel, hire, settled
from support.inprocess import Notebook
from whisper_nb import ConfigError, Rule, Runtime, ScriptedModel
from whisper_nb.notebook.panel.bars import bars
from whisper_nb.notebook.panel.board import Board
from whisper_nb.notebook.panel.picture import CELLS, LANES, SIZE, TeamPicture, picture
from whisper_nb.notebook.panel.snapshot import snapshot
from whisper_nb.notebook.panel.svg import Lane, Scene, lasted

HOSTILE = "</title></svg><script>alert(1)</script>\"'&\x1b[31m\x00\ud800\ufffe"
RULES = [Rule("^fail", error="no more"), Rule(reply="fine")]
SVG = "{http://www.w3.org/2000/svg}"


def parsed(found: TeamPicture) -> ElementTree.Element:
    """Its SVG as XML, which has no elements but those of a drawing."""
    root = ElementTree.fromstring(found.svg)
    tags = {element.tag.removeprefix(SVG) for element in root.iter()}
    assert tags <= {"svg", "style", "defs", "pattern", "path", "rect", "g", "text", "title"}
    assert not [name for element in root.iter() for name in element.attrib if name.startswith("on") or "href" in name]
    return root


def titles(found: TeamPicture) -> list[str]:
    return [element.text or "" for element in parsed(found).iter(f"{SVG}title")]


async def test_each_run_is_a_bar_with_its_facts(runtime: Runtime) -> None:
    bob, amy = hire(runtime, ScriptedModel(RULES)), hire(runtime, ScriptedModel(RULES), "amy")
    first = bob.submit("count the rows")
    await settled(first, bob.submit("fail"), amy.submit(["sum up ", first]))
    found = picture(runtime)
    assert [lane.agent for lane in found.scene.lanes] == ["bob", "amy"]
    lanes = tuple(Lane(one.name, tuple(bars(one.runs, 0, time.time(), 0))) for one in (bob, amy))
    said = "\n".join(titles(TeamPicture(replace(found.scene, lanes=lanes))))
    for words in ("bob#1 · succeeded\ncount the rows", "bob#2 · failed\nfail", "has the text of bob#1"):
        assert words in said
    names = [element.text for element in parsed(found).iter(f"{SVG}text")]
    assert {"bob", "amy", "succeeded", "failed", "thinking", "tool", "waiting"} <= set(names)
    assert re.fullmatch(r"timeline from [\d:]{8} to [\d:]{8}: 2 succeeded, 1 failed", found.scene.label)


async def test_text_has_a_lane_for_each_agent(runtime: Runtime) -> None:
    held = HeldModel()
    bob, amy = hire(runtime, held), hire(runtime, ScriptedModel(RULES), "amy")
    run = bob.submit("count")
    call = await held.arrived()
    waiting = amy.submit(["sum up ", run])
    head, *lanes, legend = str(picture(runtime)).splitlines()
    assert head.endswith("1 running, 1 queued")
    assert [re.fullmatch(rf"(\w+) +\|[█─ ]{{{CELLS}}}\| 1 run, \w+ .*", lane)[1] for lane in lanes] == ["bob", "amy"]  # type: ignore[index]
    assert legend == "     █ thinking  ▒ tool  ─ waiting  ✕ failed  ◦ cancelled"
    assert repr(picture(runtime)).startswith("timeline from ")
    call.released.set()
    await settled(waiting)


async def test_hostile_texts_are_texts(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(RULES), title=HOSTILE, description=HOSTILE)
    await settled(bob.submit(f"fail {HOSTILE}"))
    found = picture(runtime)
    (title,) = titles(found)
    assert "</title></svg><script>alert(1)</script>\"'&" in title
    for text in (str(found), found.svg):
        assert not re.search("[\x00-\x08\x1b\ud800-\udfff\ufffe]", text)
    drawing = base64.b64decode(found.image.partition("base64,")[2].removesuffix('">')).decode()
    assert ElementTree.fromstring(drawing).tag == f"{SVG}svg"
    assert "<title>" not in drawing  # an image shows none


async def test_many_agents_and_runs_stay_small(runtime: Runtime) -> None:
    model = ScriptedModel(RULES)
    sessions = [hire(runtime, model, f"agent-{number}") for number in range(LANES + 20)]
    await settled(*[one.submit(f"{'fail ' * (number % 2)}{'words ' * 20}") for number in range(30) for one in sessions])
    await settled(sessions[0].submit("the newest run"))
    found = picture(runtime)
    assert len(found.svg) <= SIZE
    assert sum(bar.runs for lane in found.scene.lanes for bar in lane.bars) > 500
    names = [lane.agent for lane in found.scene.lanes]
    assert len(names) == LANES
    assert names[0] == "agent-0"
    assert found.scene.rest == ["and 20 more agents"]
    assert "and 20 more agents" in str(found)
    assert "and 20 more agents" in found.svg
    bundle = snapshot(runtime, Board(runtime))
    assert len(bundle["text/html"]) < 120_000


async def test_a_still_without_a_time_shows_the_newest_runs_alone(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("whisper_nb.notebook.panel.picture.RUNS", 20)
    busy, calm = hire(runtime, ScriptedModel(RULES), "busy"), hire(runtime, ScriptedModel(RULES), "calm")
    for number in range(30):
        await settled(busy.submit("count", fresh=True))
        if number in (0, 29):
            await settled(calm.submit("count"))
    shown = {lane.agent: sum(bar.runs for bar in lane.bars) for lane in picture(runtime).scene.lanes}
    assert shown == {"busy": 10, "calm": 1}
    assert sum(bar.runs for lane in picture(runtime, 5).scene.lanes for bar in lane.bars) == 32


async def test_a_team_that_did_nothing(runtime: Runtime) -> None:
    assert str(picture(runtime)).endswith(": no run")
    assert titles(picture(runtime)) == []
    hire(runtime, ScriptedModel(RULES))
    assert titles(picture(runtime, 5)) == []
    assert "<img" not in snapshot(runtime, Board(runtime))["text/html"]


@pytest.mark.parametrize("minutes", [0, -1, 0.01, 1e9, float("nan"), float("inf"), 10**400, "5", True])
async def test_an_impossible_time_is_refused(runtime: Runtime, minutes: Any) -> None:
    with pytest.raises(ConfigError, match=r"a timeline of .* minutes: allowed are 0\.05 to 10,080"):
        picture(runtime, minutes)


async def test_the_last_minutes_end_now_and_all_of_it_ends_with_the_last_run(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(RULES))
    run = bob.submit("count")
    await settled(run)
    before = time.time()
    scene = picture(runtime, 5).scene
    assert before <= scene.until <= time.time()
    assert scene.until - scene.since == pytest.approx(300)
    scene = picture(runtime).scene
    assert run.finished_at is not None
    assert 0 < scene.until - run.finished_at < 3
    assert scene.since < run.submitted_at


@pytest.mark.parametrize(
    ("seconds", "label"),
    [(10, "16:40:0"), (300, "16:40"), (6 * 3600, "16:00")],
)
def test_the_axis_has_clock_times(seconds: float, label: str) -> None:
    since = time.mktime((2026, 11, 30, 15 if seconds > 9999 else 16, 40, 0, 0, 0, -1))
    svg = "".join(Scene((), since, since + seconds, since + seconds).draw(titles=True))
    assert f">{label}" in svg


@pytest.mark.parametrize(("seconds", "words"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (31, "31 s"), (60, "1 min 0 s")])
def test_a_time_is_told_in_words(seconds: float, words: str) -> None:
    assert lasted(seconds) == words


async def test_the_runtime_and_the_magic_show_it(notebook: Notebook) -> None:
    rt = notebook.runtime
    await settled(hire(rt, ScriptedModel(RULES), "zoe").submit("count"))
    bundle = rt.timeline(15)._repr_mimebundle_()
    assert bundle["image/svg+xml"].startswith("<svg ")
    assert "zoe |" in bundle["text/plain"]
    assert bundle["text/html"].startswith('<img alt="timeline from ')
    notebook.shell.run_line_magic("agent", "timeline 15")
    assert "image/svg+xml" in notebook.shown[-1]["data"]
    image = snapshot(rt, Board(rt))["text/html"].partition("<img ")[2].partition(">")[0]
    assert image.startswith('alt="timeline from ')
