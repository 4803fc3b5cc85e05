"""The panel in a real kernel, beside widgets written by hand, and in a browser, beside a plain table."""

from __future__ import annotations

import ast
import json
import shutil
import statistics
import time
from pathlib import Path
from queue import Empty
from typing import Any

from jupyter_client.blocking.client import BlockingKernelClient

from whisper_nb.notebook.panel.script import script, style

from .kernels import ask, execute, kernel
from .measure import Figure

AGENTS, BOXES = 1_000, 200
SECONDS = 5.0
VIEW = Path(__file__).parents[1] / "whisper_nb/notebook/panel/view"
PAGE = Path(__file__).with_name("page.js")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")

TEAM = """
%load_ext whisper_nb
import asyncio, gc, statistics, time
import whisper_nb as wnb
rt = wnb.runtime()
rt.models["offline/word"] = wnb.ScriptedModel([wnb.Rule(reply="done")])
team = [rt.create(wnb.Agent(name=f"agent-{{number}}", config="offline/word")) for number in range({agents})]
panel = rt.panel()
"""
#: Every agent starts a run and ends it once a second: a tenth of them at a time.
BUSY = """
async def work(seconds):
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for session in team[number::10]:
            session.submit("Count the rows of the table once more.")
            if rt.budget:
                rt.budget.charge(session.name, 1e-6)
        number = (number + 1) % 10
        await asyncio.sleep(0.1)
start = time.process_time()
await work({seconds})
busy = time.process_time() - start
"""
#: The same facts in ipywidgets, as one would write it: a box of five widgets for each agent.
BOXES_CODE = """
import ipywidgets as w
def box():
    parts = [w.HTML("agent"), w.Label("idle"), w.Label("0 tokens"), w.IntProgress(), w.Button(description="stop")]
    return w.HBox(parts)
gc.collect(); start = time.process_time()
boxes = [box() for _ in team]
made = time.process_time() - start
times = []
for turn in range(9):
    gc.collect(); start = time.process_time()
    for box in boxes:
        _, state, tokens, progress, _ = box.children
        state.value, tokens.value, progress.value = f"running {turn}", f"{turn} tokens", turn + 1
    times.append(time.process_time() - start)
updated = statistics.median(times)
"""
#: The panel sends all changes at once, not as its budget allows.
PANEL_CODE = """
from whisper_nb.notebook.panel import board, panel as module
gc.collect(); start = time.process_time()
ours = module.Panel(rt)
ours._do_hello("abcd")
ours._timer(); ours._tick()
made = time.process_time() - start
for session in team:
    session.submit("Count the rows of the table once more.")
while any(session.unfinished for session in team): await asyncio.sleep(0.01)
module.BURST = 1e9
tables = (board.STATE, board.WORK, board.SPENDING)
times = []
for turn in range(9):
    ours._board._marks = {name: sum(1 << table for table in tables) for name in ours._board._rows}
    for row in ours._board._rows.values():
        row.timeline.fresh.clear()
        for table in tables:  # one column of each: state, now, runs
            row.sent[table] = (row.name, None, *row.sent[table][2:])
    ours._allowance, ours._counted = 1e9, rt.home.loop.time()
    if ours._timer: ours._timer()
    number = ours._number
    gc.collect(); start = time.process_time()
    ours._tick()
    times.append(time.process_time() - start)
    assert ours._number == number + 1
updated = statistics.median(times)
"""


def traffic() -> list[Figure]:
    """A thousand agents that all change, without a view and with one that acknowledges; and then at rest."""
    return _traffic(
        "panel", {"do": "look", "names": " ".join(f"agent-{number}" for number in range(20)), "open": "agent-3"}
    )


def lanes() -> list[Figure]:
    """The same with a view that shows the timeline: the bars of twelve agents."""
    names = " ".join(f"agent-{number}" for number in range(12))
    look = {"do": "look", "names": names, "open": ""}
    return _traffic("timeline", look, {"do": "lanes", "names": names, "whole": names, "since": 0, "step": 60})


def budgets() -> list[Figure]:
    """The same as `traffic` with a budget, of which each run spends a part."""
    look = {"do": "look", "names": " ".join(f"agent-{number}" for number in range(20)), "open": "agent-3"}
    return _traffic("panel with a budget", look, before="rt.set_budget(usd=1e6)")


def _traffic(what: str, *requests: dict[str, Any], before: str = "") -> list[Figure]:
    """What a thousand agents that all change cost while a view has made these requests."""
    alone: list[float] = []
    watched: list[float] = []
    sent: list[dict[str, Any]] = []
    with kernel() as client:
        ask(client, TEAM.format(agents=AGENTS))
        ask(client, f"{before}\n{BUSY.format(seconds=1)}")
        for watch in (False, True, True, False):  # the heap grows meanwhile, and with it the cost of everything
            ask(client, "rt.panel().close()")
            comm = ast.literal_eval(value(client, "panel = rt.panel()", "panel.model_id"))
            drain(client)
            if not watch:
                alone.append(float(value(client, "panel.close()\n" + BUSY.format(seconds=SECONDS), "busy")))
                continue
            request(client, comm, {"do": "hello"})
            for one in requests:
                request(client, comm, one)
            all_rows = settled(client, comm)[0]
            client.execute(BUSY.format(seconds=SECONDS), user_expressions={"busy": "busy"})
            sent += messages(client, comm, SECONDS)
            reply = client.get_shell_msg(timeout=60)["content"]
            watched.append(float(reply["user_expressions"]["busy"]["data"]["text/plain"]))
        comm = ast.literal_eval(value(client, "panel = rt.panel()", "panel.model_id"))
        request(client, comm, {"do": "hello"})
        settled(client, comm)
        at_rest = messages(client, comm, 3.0)
    name, seconds = f"{what}, {AGENTS:,} agents all changing: ", SECONDS * len(watched)
    size = sum(len(json.dumps(one)) for one in sent)
    more = statistics.mean(watched) - statistics.mean(alone)
    return [
        Figure(name + "bytes, over sending all rows", size / len(sent) / len(json.dumps(all_rows)), "×", at_most=0.1),
        Figure(name + "CPU, over the same unwatched", sum(watched) / sum(alone), "×", at_most=1.15),
        Figure(name + "updates a second", len(sent) / seconds, "", at_most=10),
        Figure(f"{what}, agents at rest: messages in 3 s", len(at_rest), "", at_most=0),
        Figure(name + "bytes a second", size / seconds / 1000, " kB"),
        Figure(name + "CPU, more than unwatched", more / SECONDS * 100, " % of a core"),
    ]


def boxes() -> list[Figure]:
    """A team of 200 in the panel, and in a box of ipywidgets each."""
    measured = {}
    for what, code in (("boxes", BOXES_CODE), ("panel", PANEL_CODE)):
        with kernel() as client:
            ask(client, TEAM.format(agents=BOXES))
            found = execute(client, code, made="made", updated="updated")["user_expressions"]
            measured[what] = {name: float(one["data"]["text/plain"]) for name, one in found.items()}
    bare, ours = measured["boxes"], measured["panel"]
    name = f"{BOXES} boxes of ipywidgets, over the panel: "
    return [
        Figure(name + "CPU of creation", bare["made"] / ours["made"], "×", at_least=100),
        Figure(name + "CPU of an update of 3 fields each", bare["updated"] / ours["updated"], "×", at_least=80),
        Figure(f"panel of {BOXES}: CPU of creation", ours["made"] * 1000, " ms"),
        Figure(f"panel of {BOXES}: CPU of an update of 3 fields each", ours["updated"] * 1000, " ms"),
        Figure(f"{BOXES} boxes of ipywidgets: CPU of creation", bare["made"] * 1000, " ms"),
        Figure(f"{BOXES} boxes of ipywidgets: CPU of an update of 3 fields each", bare["updated"] * 1000, " ms"),
    ]


def page() -> list[Figure]:
    """A thousand rows in Chromium: the first paint, scrolling while rows change, and how soon a change shows."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        return []
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--headless=new", "--disable-gpu"]
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_content(f"<style>{style(VIEW)}</style><div id=here></div>")
        found = page.evaluate(PAGE.read_text(), [script(VIEW / "panel.js"), AGENTS])
        browser.close()
    ours, plain, picture = found["panel"], found["plain"], found["picture"]
    many = f"timeline, {AGENTS:,} agents with {picture['runs']:,} runs in a browser: "
    name = f"panel, {AGENTS:,} rows in a browser: "
    return [
        Figure(name + "first paint, over a plain table", ours["first"] / plain["first"], "×", at_most=1),
        Figure(
            name + "longest frame of scrolling, over a plain table", ours["longest"] / plain["longest"], "×", at_most=1
        ),
        Figure(name + "frames of scrolling above 50 ms", ours["long"], "", at_most=0),
        Figure(
            name + "a change shows after, over a plain table's longest frame", ours["change"] / plain["longest"], "×"
        ),
        Figure(many + "frames of scrolling above 50 ms", picture["long"], "", at_most=0),
        Figure(many + "frames of zooming and moving above 50 ms", picture["zoom"], "", at_most=0),
        Figure(many + "longest frame", picture["longest"], " ms"),
        Figure(many + "first paint", picture["first"], " ms"),
        Figure(name + "first paint", ours["first"], " ms"),
        Figure(name + "a change shows after", ours["change"], " ms"),
        Figure(name + "longest frame of scrolling", ours["longest"], " ms"),
        Figure(name + "rows in the page", ours["rows"]),
        Figure(f"a plain table of {AGENTS:,} rows: first paint", plain["first"], " ms"),
        Figure(f"a plain table of {AGENTS:,} rows: longest frame of scrolling", plain["longest"], " ms"),
        Figure(f"a plain table of {AGENTS:,} rows: frames of scrolling above 50 ms", plain["long"]),
    ]


def value(client: BlockingKernelClient, code: str, expression: str) -> str:
    """Run a cell. Return the repr of an expression after it."""
    found = execute(client, code, value=expression)["user_expressions"]["value"]
    return str(found["data"]["text/plain"])


def request(client: BlockingKernelClient, comm: str, content: dict[str, Any]) -> None:
    """Send the panel what a view would."""
    data = {"method": "custom", "content": {"view": "abcd", "id": 1, **content}}
    client.session.send(client.shell_channel.socket, "comm_msg", {"comm_id": comm, "data": data})


def messages(client: BlockingKernelClient, comm: str, seconds: float) -> list[dict[str, Any]]:
    """Return the rows that the panel sends meanwhile, acknowledged as its views do."""
    found: list[dict[str, Any]] = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            message = client.get_iopub_msg(timeout=left)
        except Empty:
            break
        if message["msg_type"] != "comm_msg" or message["content"]["comm_id"] != comm:
            continue
        content = message["content"]["data"].get("content", {})
        if content.get("kind") in ("all", "update"):
            found.append(content)
            if content["number"] % 20 == 0:
                request(client, comm, {"do": "seen", "number": content["number"]})
    return found


def settled(client: BlockingKernelClient, comm: str) -> list[dict[str, Any]]:
    """Return the rows that the panel sends until it has sent all, and is silent for a second."""
    found: list[dict[str, Any]] = []
    end = time.monotonic() + 60
    while (more := messages(client, comm, 1.0)) or not found:
        assert time.monotonic() < end, "the panel does not come to rest"
        found += more
    return found


def drain(client: BlockingKernelClient) -> None:
    """Drop what the kernel has sent."""
    while True:
        try:
            client.get_iopub_msg(timeout=0.2)
        except Empty:
            return
