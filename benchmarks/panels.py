"""The panel: what it sends and costs in a real kernel, against ipywidgets of one's own, and what a browser makes of it."""

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

from .kernels import ask, execute, kernel
from .measure import Figure

AGENTS, BOXES = 1_000, 200
SECONDS = 5.0
STATIC = Path(__file__).parents[1] / "whisper_nb/notebook/panel"

TEAM = """
%load_ext whisper_nb
import asyncio, gc, statistics, time
import whisper_nb as wnb
rt = wnb.runtime()
rt.models["offline/word"] = wnb.ScriptedModel([wnb.Rule(reply="done")])
team = [rt.create(wnb.Agent(name=f"agent-{{number}}", config="offline/word")) for number in range({agents})]
panel = rt.panel()
"""
#: Every agent takes up a run and ends it once a second: a tenth of them at a time.
BUSY = """
async def work(seconds):
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        for session in team[number::10]:
            session.submit("Count the rows of the table once more.")
        number = (number + 1) % 10
        await asyncio.sleep(0.1)
start = time.process_time()
await work({seconds})
busy = time.process_time() - start
"""
#: The same facts in ipywidgets, as one would write it: a box of five widgets for each agent.
BOXES_CODE = """
import ipywidgets as w
gc.collect(); start = time.perf_counter()
boxes = [w.HBox([w.HTML("agent"), w.Label("idle"), w.Label("0 tokens"), w.IntProgress(), w.Button(description="stop")]) for _ in team]
made = time.perf_counter() - start
times = []
for turn in range(9):
    gc.collect(); start = time.perf_counter()
    for box in boxes:
        box.children[1].value, box.children[2].value, box.children[3].value = f"running {turn}", f"{turn} tokens", turn + 1
    times.append(time.perf_counter() - start)
updated = statistics.median(times)
"""
PANEL_CODE = """
from whisper_nb.notebook import panel as module
gc.collect(); start = time.perf_counter()
ours = module.Panel(rt)
ours._do_hello("abcd")
ours._timer.cancel(); ours._tick()
made = time.perf_counter() - start
for session in team:
    session.submit("Count the rows of the table once more.")
await rt.home.turn()
while any(session.unfinished for session in team): await asyncio.sleep(0.01)
module.BURST = 1e9  # all at once, and not as the budget lets it
times = []
for turn in range(9):
    ours._board._dirty = dict.fromkeys(session.name for session in team)
    for name in ours._board._dirty:
        ours._board._sent[name] = ours._board._sent[name] | dict(state="", now="?", runs=-1)
        ours._board._lanes[name].fresh.clear()
    ours._allowance, ours._counted = 1e9, rt.home.loop.time()
    if ours._timer: ours._timer.cancel()
    gc.collect(); start = time.perf_counter()
    ours._tick()
    times.append(time.perf_counter() - start)
updated = statistics.median(times)
"""


def wire() -> list[Figure]:
    """A thousand agents that all change, now and then watched by a view that acknowledges; and then at rest."""
    names = [f"agent-{number}" for number in range(20)]
    alone: list[float] = []
    watched: list[float] = []
    heard: list[dict[str, Any]] = []
    with kernel() as client:
        ask(client, TEAM.format(agents=AGENTS))
        ask(client, BUSY.format(seconds=1))
        for watch in (False, True, True, False):  # the heap grows meanwhile, and with it the cost of everything
            ask(client, "rt.panel().close()")
            comm = ast.literal_eval(value(client, "panel = rt.panel()", "panel.model_id"))
            drain(client)
            if not watch:
                alone.append(float(value(client, "panel.close()\n" + BUSY.format(seconds=SECONDS), "busy")))
                continue
            for content in ({"do": "hello"}, {"do": "look", "names": " ".join(names), "open": "agent-3"}):
                tell(client, comm, content)
            updates(client, comm, 1.0)
            client.execute(BUSY.format(seconds=SECONDS), user_expressions={"busy": "busy"})
            heard += updates(client, comm, SECONDS)
            reply = client.get_shell_msg(timeout=60)["content"]
            watched.append(float(reply["user_expressions"]["busy"]["data"]["text/plain"]))
        comm = ast.literal_eval(value(client, "panel = rt.panel()", "panel.model_id"))
        tell(client, comm, {"do": "hello"})
        updates(client, comm, 3.0)
        idle = updates(client, comm, 3.0)
    name, seconds = f"panel, {AGENTS:,} agents all changing: ", SECONDS * len(watched)
    more = statistics.mean(watched) - statistics.mean(alone)
    return [
        Figure(
            name + "bytes a second", sum(len(json.dumps(one)) for one in heard) / seconds / 1000, "kB/s", at_most=100
        ),
        Figure(name + "updates a second", len(heard) / seconds, "", at_most=10),
        Figure(name + "CPU over the same without it", more / SECONDS * 100, "% of a core", at_most=3),
        Figure("panel, agents at rest: messages in 3 s", len(idle), "", at_most=0),
    ]


def boxes() -> list[Figure]:
    """The same team of 200 in ipywidgets, and in the panel."""
    measured = {}
    for what, code in (("theirs", BOXES_CODE), ("ours", PANEL_CODE)):
        with kernel() as client:
            ask(client, TEAM.format(agents=BOXES))
            found = execute(client, code, made="made", updated="updated")["user_expressions"]
            measured[what] = {name: float(one["data"]["text/plain"]) for name, one in found.items()}
    theirs, ours = measured["theirs"], measured["ours"]
    name = f"panel against {BOXES} boxes of ipywidgets: "
    return [
        Figure(name + "creation", theirs["made"] / ours["made"], "x cheaper", at_least=100),
        Figure(name + "update of 3 fields each", theirs["updated"] / ours["updated"], "x cheaper", at_least=100),
        Figure(f"panel of {BOXES}: creation", ours["made"] * 1000, "ms"),
        Figure(f"panel of {BOXES}: update of all", ours["updated"] * 1000, "ms"),
    ]


def page() -> list[Figure]:
    """A thousand rows in Chromium: until they are painted, how scrolling goes meanwhile, until a change is there."""
    path = next(
        (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
    )
    if path is None:
        return []
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--headless=new", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1200, "height": 900})
        page.set_content(f"<style>{(STATIC / 'panel.css').read_text()}</style><div id=here></div>")
        figures = page.evaluate(PAGE, [(STATIC / "panel.js").read_text(), AGENTS])
        browser.close()
    name = f"panel, {AGENTS:,} rows in a browser: "
    return [
        Figure(name + "first paint", figures["first"], "ms", at_most=1000),
        Figure(name + "a change is shown after", figures["change"], "ms", at_most=250),
        Figure(name + "scrolling, the longest frame", figures["frame"], "ms"),
        Figure(name + "scrolling, frames above 50 ms", figures["long"], "", at_most=0),
        Figure(name + "rows in the page", figures["rows"]),
    ]


#: A model that a test holds: what the kernel would send is made here, what the panel sends is dropped.
PAGE = """async ([source, agents]) => {
    const { default: widget } = await import(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
    let hear;
    const model = { on: (_, call) => { hear = call }, off() {}, send() {} };
    const frame = () => new Promise((drawn, failed) =>
        performance.now() < 60_000 ? requestAnimationFrame(drawn) : failed(new Error("the panel did not draw it in a minute")));
    const now = () => Date.now() / 1000;
    const row = (number) => ({ title: "", about: "Counts", icon: "", color: "teal", state: "idle", since: now() - 9, now: "", queue: [],
        queued: 0, runs: 3, input: 120, output: 45, cost: 0.01, unpriced: 0, uncounted: 0, at_work: 0, model: "offline/echo", error: "", spans: [[now() - 60, "running"], [now() - 9, "idle"]] });
    const gone = { runs: 0, input: 0, output: 0, cost: 0, unpriced: 0, uncounted: 0, at_work: 0 };
    const rows = Object.fromEntries([...Array(agents).keys()].map((number) => [`agent-${number}`, row(number)]));
    const start = performance.now();
    widget.render({ model, el: document.getElementById("here") });
    hear({ kind: "whole", number: 1, now: now(), rows, gone, team: [], details: {} });
    while (!document.querySelectorAll(".wnb-row").length) await frame();
    await frame();
    const first = performance.now() - start;
    const scroll = document.querySelector(".wnb-scroll");
    let number = 1, worst = 0, long = 0, last = await frame();
    for (let step = 0; step < 240; step++) {
        if (step % 6 === 0) {
            const changed = Object.fromEntries([...Array(100).keys()].map((at) => [`agent-${(at * 7 + step * 13) % agents}`,
                { state: step % 12 ? "idle" : "running", since: now(), input: step, spans: [[now(), step % 12 ? "idle" : "running"]] }]));
            hear({ kind: "update", number: ++number, now: now(), rows: changed, details: {} });
        }
        scroll.scrollTop += 120;
        const next = await frame();
        worst = Math.max(worst, next - last);
        long += next - last > 50 ? 1 : 0;
        last = next;
    }
    scroll.scrollTop = 0;
    await frame(); await frame();
    const told = performance.now();
    hear({ kind: "update", number: ++number, now: now(), rows: { "agent-2": { state: "paused", since: now() } }, details: {} });
    while (!document.querySelector("[data-name=agent-2]").textContent.includes("paused")) await frame();
    await frame();
    return { first, change: performance.now() - told, frame: worst, long, rows: document.querySelectorAll(".wnb-row").length };
}"""


def value(client: BlockingKernelClient, code: str, expression: str) -> str:
    """Run a cell; the repr of an expression after it."""
    found = execute(client, code, value=expression)["user_expressions"]["value"]
    return str(found["data"]["text/plain"])


def tell(client: BlockingKernelClient, comm: str, content: dict[str, Any]) -> None:
    """What a view sends."""
    data = {"method": "custom", "content": {"view": "abcd", "id": 1, **content}}
    client.session.send(client.shell_channel.socket, "comm_msg", {"comm_id": comm, "data": data})


def updates(client: BlockingKernelClient, comm: str, seconds: float) -> list[dict[str, Any]]:
    """What the panel sends meanwhile, acknowledged as its views do."""
    heard: list[dict[str, Any]] = []
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        try:
            message = client.get_iopub_msg(timeout=left)
        except Empty:
            break
        if message["msg_type"] != "comm_msg" or message["content"]["comm_id"] != comm:
            continue
        content = message["content"]["data"].get("content", {})
        if content.get("kind") == "update":
            heard.append(content)
            if content["number"] % 20 == 0:
                tell(client, comm, {"do": "seen", "number": content["number"]})
    return heard


def drain(client: BlockingKernelClient) -> None:
    while True:
        try:
            client.get_iopub_msg(timeout=0.2)
        except Empty:
            return
