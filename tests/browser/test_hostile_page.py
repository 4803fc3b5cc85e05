"""Text from models, tools, prompts and files in a real JupyterLab: none of it runs or loads anything.

Each payload goes through every field that the panel, a run's output, the static form, the commands and the creation
form show, and stands there as text.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.labs import Lab, Notebook
from support.payloads import HOST, PAYLOADS, family
from whisper_nb.config.yamlfile import dump_yaml
from whisper_nb.core.text import clip, printable

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.browser

NUMBERS = range(len(PAYLOADS))
NAMES = [f"p{number:03}" for number in NUMBERS]
#: Families whose text Markdown and MathJax do not change.
PLAIN = {"spellings", "handlers", "scripts", "frames", "svg", "mutations", "escapes", "characters"}
#: Panels of the same team in one page, in which agents are opened concurrently.
PANELS = 4

SETUP = r"""
import asyncio, json, os
from dataclasses import replace
from IPython.display import display
os.environ["WHISPER_NB_HOME"] = os.path.abspath("home")
%load_ext whisper_nb
import whisper_nb as wnb
from whisper_nb.core.messages import CallDelta, Finish, TextDelta, ToolSchema, Usage
from whisper_nb.core.text import valid_unicode
from whisper_nb.notebook.panel import panel, snapshot
snapshot.ROWS = 1000  # all of them
panel.BYTES_PER_S = panel.BURST = 10_000_000  # and quicker than one could read
panel.TICK_S, panel.SHARE = 0.02, 0.5

rt, shell, released = wnb.runtime(), get_ipython(), asyncio.Event()
rt.configure(token_timeout_s=3600)  # agents stream until they are released, however long the page takes
PAYLOADS, MODELS = json.load(open("payloads.json"))

class Hostile:
    # Run 1 succeeds, run 2 fails, run 3 is tried again, calls tools, streams until it is released, and fails; so do all
    # others.
    context_tokens = None

    def __init__(self, text):
        self.text, self.turn, self.streams = text, 0, asyncio.Event()

    def count_tokens(self, messages, tools=()):
        return 1

    async def stream(self, request):
        text, turn = self.text, self.turn
        self.turn += 1
        if turn == 0:
            yield TextDelta(text[:7])
            yield TextDelta(text[7:])
            yield Finish("stop", Usage(1, 1), 0.0)
        elif turn == 3:
            arguments = json.dumps({text: text})
            yield CallDelta(0, "a", text, arguments)
            yield CallDelta(1, "b", "broken", arguments)
            yield CallDelta(2, "c", text, text)
            yield CallDelta(3, "d", f"unknown {text}", "{}")
            yield Finish("tool_calls", Usage(1, 1), 0.0)
        elif turn == 4:
            yield TextDelta(text)
            self.streams.set()
            await released.wait()
            raise wnb.ModelError(text, model=text)
        else:
            raise wnb.ModelError(text, model=text, retryable=turn == 2)

    async def prepare(self):
        pass

    async def aclose(self):
        pass

class Says:
    def __init__(self, name, text):
        self.name, self.text, self.schema = name, text, ToolSchema(name, text)

    async def __call__(self, arguments):
        if self.name == "broken":
            raise RuntimeError(self.text)
        return self.text

def hire(number, text):
    name, model, line = f"p{number:03}", MODELS[number], " ".join(text.splitlines())
    rt.models[model] = hostile[number] = Hostile(text)
    in_python = {"model": model, "stop": [text], "retries": 1, "extra": {"x": text}}
    agent = rt.described(name) if name in rt.team else wnb.Agent(name=name, config=in_python)
    tools = (Says(text, text), Says("broken", text))
    agent = replace(agent, title=line, role=line, description=line, system_prompt=text, tools=tools)
    # The kernel's checks refuse these, but the front end must not rely on that.
    object.__setattr__(agent, "icon", text)
    object.__setattr__(agent, "color", valid_unicode(text))
    return rt.create(agent)

async def settled(runs):
    for run in runs:
        try:
            await run
        except wnb.RunFailed:
            pass

async def streaming():
    for one in hostile.values():
        await one.streams.wait()

def refused(what, **fields):
    try:
        wnb.Agent(name="x", **fields)
    except wnb.ConfigError as error:
        return error

def each(command, *names):
    for name in names or [one.name for one in rt.sessions]:
        shell.run_line_magic("agent", f"{command} {name}")

hostile = {}
"""
#: The cells that run before the panel is checked, in this order.
STREAMING = (
    SETUP,
    "%agent trust",
    "rt.trust(rt.project.code)\n%agents",
    "sessions = [hire(number, text) for number, text in enumerate(PAYLOADS)]",
    "done = [one.submit(text) for _ in range(2) for one, text in zip(sessions, PAYLOADS)]\nawait settled(done)",
    "held = [one.submit(text) for one, text in zip(sessions, PAYLOADS)]\nawait streaming()",
    "queued = [one.submit(text, priority=how) for one, text in zip(sessions, PAYLOADS) for how in ('normal', 'high')]",
    "# at work\n%agents",
    *(f"rt.panel()  # {number}" for number in range(1, PANELS)),
)
#: The cells that run while agents stream.
OUTPUTS = ("for run in done: display(run)", "for run in held: display(run)")
RELEASE = "released.set(); await settled(held + queued)"
#: The cells that run after that.
FINISHED = (
    "# at rest\n%agents",
    "%agent list",
    "each('show')",
    "each('log')",
    "each('history')",
    "each('config')",
    (
        "for run in done:\n    if run.status == 'failed':\n        try: run.result()\n"
        "        except wnb.RunFailed: shell.showtraceback(exception_only=True)\nprint('all failed')"
    ),
    (
        "for text in PAYLOADS:\n    for error in (refused('color', color=text), refused('icon', icon=text)):\n"
        "        print(error)"
    ),
)
FORM = (
    r"""
import asyncio, json, os
os.environ["WHISPER_NB_HOME"] = os.path.abspath("home")
%load_ext whisper_nb
import whisper_nb as wnb
from whisper_nb.core.text import valid_unicode
from whisper_nb.notebook.form.fields import FIELDS, id_of
rt, (PAYLOADS, MODELS) = wnb.runtime(), json.load(open("payloads.json"))
rt.trust(rt.project.code)
form = rt.new_agent_form()
async def filled():
    texts = [valid_unicode(text) for text in PAYLOADS]
    typed = [(number, text, " ".join(text.splitlines())) for number, text in enumerate(texts)]
    # Everything is wrong: a note for each field.
    for number, text, line in typed:
        form.fill(**{id_of(path): text for path in FIELDS})
        await asyncio.sleep(0.03)  # the server drops what comes quicker
    form.fill(**{id_of(path): "" for path in FIELDS})
    # Everything is right: previews, and what comes of it.
    for number, text, line in typed:
        rest = {"stop": json.dumps(text), "extra": json.dumps({"x": text})}
        form.fill(name=f"p{number}", title=line, role=line, description=line, system_prompt=text, **rest)
        form.fill(model=MODELS[number])
        form._execute({"do": "create", "view": "view1", "id": 1})  # as a click does
        await asyncio.sleep(0.01)
    form.fill(name="end", description="all payloads were typed")

form""",
    "%agent new",
    "await filled()",
)
#: Functions that are added to a page.
SCRIPT = r"""
window.until = async (what, say) => {
    const end = performance.now() + 200_000;
    for (;;) {
        const found = what();
        if (found) return found;
        if (performance.now() > end) throw new Error(`waited in vain: ${say}`);
        await new Promise((go) => requestAnimationFrame(go));
    }
};
/** Links of MathJax and those that JupyterLab finds in plain text lead to the web, to the server or to a file; the
 *  latter also elsewhere, but into a page of their own, where no script runs. */
window.isTheirs = (link) => {
    const isText = link.closest(".jp-RenderedText");
    const isWeb = /^https?:$/.test(new URL(link.getAttribute("href"), location).protocol);
    const isApart = link.target === "_blank" && link.rel === "noopener";
    return (isWeb && (isText || link.closest("mjx-container"))) || (isText && isApart);
};
/** The timeline in the static form: an SVG within the page, in which nothing runs and from which nothing is loaded. */
window.isPicture = (element) =>
    element.matches("details.wnb-snapshot img") && element.src.startsWith("data:image/svg+xml;base64,");
window.dangers = (root) => {
    const tags = new Set([
        "script", "iframe", "object", "embed", "base", "meta", "link", "style", "img", "image", "video", "audio",
        "source", "track", "use", "foreignobject", "animate", "set", "template", "noscript", "marquee", "portal",
        "frame", "frameset", "applet",
    ]);
    const executing = /^(src|srcset|srcdoc|action|formaction|poster|background|ping|xlink:href)$/;
    const found = [];
    for (const element of [root, ...root.querySelectorAll("*")]) {
        if (isPicture(element)) continue;
        if (tags.has(element.localName)) found.push(element.outerHTML.slice(0, 300));
        if (element.localName === "form" && !["wnb-ask", "wnb-budget-form"].includes(element.className)) {
            found.push(element.outerHTML.slice(0, 300));
        }
        for (const { name, value } of element.attributes) {
            const runs = name.startsWith("on") || name.startsWith("data-commandlinker") || executing.test(name);
            const leads = name === "href" && !/^(https?:|mailto:)/i.test(value) && !isTheirs(element);
            const loads = name === "style" && /url|expression|image-set|@import|binding|behavior/i.test(value);
            if (runs || leads || loads) found.push(`${element.localName} ${name}=${value}`.slice(0, 300));
        }
        for (const kind of ["pointerover", "mouseover", "mouseenter", "focus", "focusin"]) {
            element.dispatchEvent(new Event(kind, { bubbles: kind === "mouseover" }));
        }
    }
    return found;
};
window.rowOf = (root, name) => root.querySelector(`.wnb-row[data-name="${name}"]`);
window.seen = (row) => {
    const of = (part) => row.querySelector(part);
    return {
        icon: of(".wnb-icon").textContent,
        color: of(".wnb-icon").style.getPropertyValue("--wnb-agent"),
        title: of(".wnb-name").title,
        now: of(".wnb-now > span").textContent,
        nowTitle: of(".wnb-now > span").title,
        model: of(".wnb-model > span").textContent,
        chips: [...row.querySelectorAll(".wnb-chip[title]")].map((one) => one.title),
    };
};
window.opened = (details) => {
    const of = (part) => details.querySelector(part)?.textContent ?? "";
    const all = (parts) => [...details.querySelectorAll(parts)];
    return {
        title: of(".wnb-who > .wnb-quiet"),
        icon: of(".wnb-icon"),
        prompt: of(".wnb-prompt"),
        text: of(".wnb-text"),
        error: of(".wnb-section > .wnb-error"),
        steps: all(".wnb-step").map((one) => `${one.textContent}\n${one.title}`),
        queue: all(".wnb-queued .wnb-words").map((one) => `${one.textContent}\n${one.title}`),
        results: all(".wnb-done .wnb-result").map((one) => one.textContent),
        asked: all(".wnb-done .wnb-words").map((one) => one.textContent),
        spec: Object.fromEntries(
            all(".wnb-spec > div").map((one) => [one.firstChild.textContent, one.lastChild.textContent])
        ),
        config: Object.fromEntries(
            all(".wnb-table tbody tr").map(({ children: [key, value, source] }) => [
                key.textContent, [value.textContent, source.textContent],
            ])
        ),
    };
};
/** Find each agent by its name in a panel's filter, open one in `one` there, and return its row's facts and details. */
window.visit = async (names, ready, one) => {
    document.body.classList.add("visiting");
    const found = {}, left = [...names], opens = new Set(names.filter((name, at) => at % one === 0));
    const worker = async (root) => {
        const filter = root.querySelector("input[type=search]"), details = root.querySelector(".wnb-details");
        for (let name = left.shift(); name; name = left.shift()) {
            filter.value = name;
            filter.dispatchEvent(new Event("input"));
            const row = await until(() => rowOf(root, name), `row of ${name}`);
            if (!opens.has(name)) {
                found[name] = { row: seen(row), dangers: dangers(row) };
                continue;
            }
            row.click();
            await until(() => details.querySelector(".wnb-id").textContent === name + ready, `details of ${name}`);
            found[name] = { row: seen(row), details: opened(details), dangers: [...dangers(row), ...dangers(details)] };
        }
    };
    const roots = [...document.querySelectorAll(".wnb:not([hidden])")];
    await Promise.all(roots.filter((root) => root.querySelector(".wnb-details")).map(worker));
    document.body.classList.remove("visiting");
    return found;
};
/** Note what elements come to say from now on. */
window.listen = (root) => {
    window.told = { pre: new Set(), status: new Set(), dangers: [] };
    new MutationObserver((records) => {
        for (const { target, addedNodes } of records) for (const node of addedNodes) {
            told[target.localName === "pre" ? "pre" : "status"].add(node.textContent);
            if (node.nodeType === Node.ELEMENT_NODE) told.dangers.push(...dangers(node));
        }
    }).observe(root, { childList: true, subtree: true });
};
window.outputsOf = (source) => {
    const cell = jupyterapp.shell.currentWidget.content.widgets.find((one) => one.model.sharedModel.source === source);
    return [...(cell?.outputArea?.node.querySelectorAll(".jp-OutputArea-output") ?? [])];
};
/** Bring each cell into view, and look through all that it shows. */
window.audit = async () => {
    const found = [], { content } = jupyterapp.shell.currentWidget;
    for (const [at, cell] of content.widgets.entries()) {
        await content.scrollToItem(at);
        await until(() => cell.outputArea?.node.isConnected, `cell ${at}`);
        cell.node.querySelectorAll("details.wnb-snapshot").forEach((one) => { one.open = true; });
        found.push(...dangers(cell.outputArea.node));
    }
    return found;
};
"""
#: Parts of the page that need no layout while rows are opened.
VISITING = ".visiting .jp-Cell:not(:has(.wnb-details)), .visiting details.wnb-snapshot { display: none !important; }"


class Watch:
    """Forbidden actions of a page: it runs a payload, requests a foreign address, opens a dialog or a page."""

    def __init__(self, page: Page, home: str) -> None:
        self.seen: list[str] = []
        page.expose_binding("wnb_ran", lambda _, number: self.seen.append(f"ran {number}"))
        page.context.on("dialog", self._dialog)
        page.context.on("page", lambda other: self.seen.append(f"opened {other.url}"))
        page.context.on("request", lambda request: self._request(request.url, home))

    def _dialog(self, dialog: Any) -> None:
        self.seen.append(f"dialog {dialog.message}")
        dialog.dismiss()

    def _request(self, url: str, home: str) -> None:
        if "wnb-hit" in url or not url.startswith((f"{home}/", "data:", "blob:")):
            self.seen.append(f"asked for {url}")


def model_name(number: int) -> str:
    """The name of a model that contains as much of the payload as a name may."""
    allowed = (one if one.isprintable() and not one.isspace() else "/" for one in PAYLOADS[number])
    return f"offline/{''.join(allowed)}#{number}"


def in_files(number: int) -> bool:
    """Whether the payload is a possible file name."""
    text = PAYLOADS[number]
    name = f"{text}.yaml".encode("utf-8", "replace").decode()
    return name == f"{text}.yaml" and len(name.encode()) <= 250 and not {"/", "\0"} & {*text}


def write_project(folder: Path) -> None:
    """Write files whose names and contents are payloads, and the files that the cells read."""
    (folder / "agents").mkdir(parents=True)
    (folder / "agents" / "prompts").mkdir()
    (folder / "config").mkdir()
    (folder / "config" / "main.yaml").write_text("max_concurrent_calls: 1000\n")
    (folder / "payloads.json").write_text(json.dumps([PAYLOADS, [*map(model_name, NUMBERS)]]))
    for number in filter(in_files, NUMBERS):
        text = PAYLOADS[number]
        config = {"model": model_name(number), "stop": [text], "retries": 1, "extra": {"x": text}}
        agent = {"description": " ".join(text.splitlines()), "ai_config": config}
        (folder / "agents" / "prompts" / f"{text}.md").write_text(text)
        (folder / "agents" / f"{text}.yaml").write_text(dump_yaml({"agents": {NAMES[number]: agent}}))


def marks(number: int) -> tuple[str, str]:
    """The part of a payload that identifies it."""
    return f"({number})", f"{HOST}/{number}"


def missing_in(text: str, numbers: Iterable[int] = NUMBERS) -> list[int]:
    """Payloads that are missing in a command's output, which shows at least 40 characters of each."""
    return [
        number
        for number in numbers
        if any(mark in clip(PAYLOADS[number], 38) for mark in marks(number))
        and not any(mark in text for mark in marks(number))
    ]


def missing_in_replies(replies: list[str]) -> list[int]:
    """Payloads that are missing in their agent's reply, though Markdown does not change them."""
    return [
        number
        for number in NUMBERS
        if family(number) in PLAIN
        and any(mark in PAYLOADS[number] for mark in marks(number))
        and "](" not in PAYLOADS[number]
        and not any(mark in replies[number] for mark in marks(number))
    ]


def run(notebook: Notebook, *sources: str) -> None:
    """Run cells one after the other; none may fail."""
    for source in sources:
        failed = notebook.page.evaluate(
            """async source => {
                const notebook = jupyterapp.shell.currentWidget.content;
                const at = notebook.widgets.findIndex((cell) => cell.model.sharedModel.source === source);
                notebook.activeCellIndex = at;
                await jupyterapp.commands.execute('notebook:run-cell');
                notebook.widgets[at].outputArea.node.querySelector('.jp-TrimmedOutputs button')?.click();
                const last = notebook.widgets[at].model.outputs.toJSON().slice(-1);
                return last.filter((one) => one.output_type === 'error').map((one) => one.traceback.join('\\n'));
            }""",
            source,
        )
        assert not failed, "\n".join([source, *failed])


def texts(notebook: Notebook, source: str, part: str = "") -> list[str]:
    """The text of each output of a cell, or of a part of each."""
    found: list[str] = notebook.page.evaluate(
        "([source, part]) => outputsOf(source).map((one) => (part ? one.querySelector(part) : one)?.textContent ?? '')",
        [source, part],
    )
    return found


def visit(notebook: Notebook, run_number: str, one_in: int = 1) -> dict[str, Any]:
    """Look at every agent in a panel, and open some until their run of this number is shown. Return name → facts."""
    found: dict[str, Any] = notebook.page.evaluate(
        "([names, run, one]) => visit(names, run, one)", [NAMES, run_number, one_in]
    )
    assert [danger for one in found.values() for danger in one.pop("dangers")] == []
    return found


def wrong_in_row(number: int, row: Mapping[str, Any], *, works: bool) -> list[str]:
    """The facts of a row that do not show the payload correctly."""
    text = PAYLOADS[number]
    now = clip(text, 120)
    said = {
        "icon": printable(text),
        "color": "",  # not the hostile one: a hue of the name
        "title": clip(" ".join(text.splitlines()), 120),
        "model": clip(model_name(number), 120),
        "chips": [clip(text, 40)] * 2 * works,
    }
    wrong = [name for name, value in said.items() if row[name] != value]
    if works and not row["now"] == row["nowTitle"] == now:
        wrong.append("now")
    if not works and f": {clip(text, 60)[:59]}" not in row["now"]:
        wrong.append("error")
    return wrong


def wrong_in_details(number: int, details: Mapping[str, Any] | None, *, works: bool) -> list[str]:
    """The facts of an opened agent that do not show the payload correctly."""
    if details is None:
        return []
    text = PAYLOADS[number]
    start, whole = clip(text, 60)[:59], clip(text, 400)
    config, spec, steps = details["config"], details["spec"], details["steps"]
    said = {
        "title": start in details["title"],
        "icon": details["icon"] == printable(text),
        "prompt": details["prompt"] == whole,
        "text": not works or details["text"] == printable(text),
        "error": works or start in details["error"],
        "steps": not works or (len(steps) == 5 and start in steps[0] and all(whole[:50] in one for one in steps[1:])),
        "queue": len(details["queue"]) == 2 * works
        and all(line.startswith(start) for one in details["queue"] for line in one.splitlines()),
        "results": start in details["results"][-1] and start in details["results"][-2],
        "asked": all(one == whole for one in details["asked"]),
        "description": start in spec["description"],
        "system prompt": spec["system prompt"] == printable(text),
        "tools": start in spec["tools"],
        "model": clip(model_name(number), 400) == config["model"][0],
        "stop": clip(repr(text), 60)[:59] in config["stop"][0],
        "source": not in_files(number) or clip(f"agents/{text}", 60)[:59] in config["stop"][1],
    }
    return [name for name, right in said.items() if not right]


def wrong(found: Mapping[str, Any], *, works: bool) -> dict[str, list[str]]:
    """Name → the wrong facts of its row and its details."""
    checked = {
        NAMES[number]: wrong_in_row(number, found[NAMES[number]]["row"], works=works)
        + wrong_in_details(number, found[NAMES[number]].get("details"), works=works)
        for number in NUMBERS
    }
    return {name: facts for name, facts in checked.items() if facts}


def prepare(page: Page) -> None:
    """Get a page that shows a notebook ready for payloads."""
    page.evaluate(SCRIPT)
    page.add_style_tag(content=VISITING)
    # Otherwise cells out of view would not be in the page.
    page.evaluate(
        """() => {
            const { content } = jupyterapp.shell.currentWidget;
            content.notebookConfig = { ...content.notebookConfig, windowingMode: "none" };
        }"""
    )


def check_the_detectors(page: Page, watch: Watch) -> None:
    """The control: a payload that runs is noticed."""
    assert page.evaluate("Object.keys(Object.prototype)") == []
    with page.expect_request(f"http://{HOST}/-1"):
        page.evaluate(
            """async (url) => {
            const element = document.body.appendChild(document.createElement("div"));
            const harmful = '<img src=x onerror="wnb_ran(-1).then(() => { window.wnb_done = true })">';
            element.innerHTML = `${harmful}<img src="${url}">`;
            await until(() => window.wnb_done, "the control");
            if (!dangers(element).length) throw new Error("an element that runs was not found");
            alert("-1");
        }""",
            f"http://{HOST}/-1",
        )
    assert sorted(watch.seen) == [f"asked for http://{HOST}/-1", "dialog -1", "ran -1"]


def test_payloads_are_distinct_and_run_if_they_are_taken_for_markup(browser: Browser) -> None:
    assert len({*PAYLOADS}) == len(PAYLOADS) >= 200
    page = browser.new_page()
    watch = Watch(page, "about:")
    page.evaluate(
        """async (payloads) => {
        const framed = payloads.map((text) => new Promise((go) => {
            const frame = document.body.appendChild(document.createElement("iframe"));
            frame.onload = go;
            frame.srcdoc = text;
        }));
        await Promise.all(framed);
    }""",
        [printable(text) for text in PAYLOADS],
    )
    running = {one.rpartition(" ")[2].rpartition("/")[2].partition("#")[0] for one in watch.seen}
    page.context.close()
    assert len(running) >= 120


def test_text_of_agents_is_never_markup_in_the_page(lab: Lab, open_alone: Callable[[str], Notebook]) -> None:
    write_project(lab.root / "hostile")
    lab.write("hostile/team.ipynb", *STREAMING, *OUTPUTS, RELEASE, *FINISHED)
    notebook = open_alone("hostile/team.ipynb")
    page, watch = notebook.page, Watch(notebook.page, lab.url)
    prepare(page)

    run(notebook, *STREAMING)
    assert wrong(visit(notebook, "#3"), works=True) == {}
    run(notebook, *OUTPUTS)
    said = [printable(text).strip() for text in PAYLOADS]
    assert [text.strip() for text in texts(notebook, OUTPUTS[1], "p[style]")] == said
    run(notebook, RELEASE)
    page.evaluate(
        "source => until(() => outputsOf(source).every((one) => one.textContent.includes('failed')), 'all to fail')",
        OUTPUTS[1],
    )
    assert [text.strip() for text in texts(notebook, OUTPUTS[1], "p[style]")] == said
    assert wrong(visit(notebook, "#5", one_in=8), works=False) == {}

    run(notebook, *FINISHED)
    math = [number for number in NUMBERS if family(number) == "math"]
    page.evaluate(
        "([source, math]) => until("
        "() => math.every((at) => outputsOf(source)[at].querySelector('mjx-container, code')), 'MathJax')",
        [OUTPUTS[0], math],
    )
    replies = texts(notebook, OUTPUTS[0])
    assert missing_in_replies(replies) == []
    assert {source: missing for source in FINISHED if (missing := missing_in("".join(texts(notebook, source))))} == {}
    assert page.evaluate("audit()") == []
    assert watch.seen == []

    # Opened again, from the saved file.
    notebook.save()
    page.reload()
    notebook.settle()
    prepare(page)
    page.evaluate(
        "sources => until(() => sources.every((one) => outputsOf(one).length), 'the saved outputs')",
        [*OUTPUTS, *FINISHED],
    )
    assert page.evaluate("audit()") == []
    assert watch.seen == []
    check_the_detectors(page, watch)


def test_input_of_the_form_is_never_markup_in_the_page(lab: Lab, open_alone: Callable[[str], Notebook]) -> None:
    write_project(lab.root / "form")
    lab.write("form/new.ipynb", *FORM)
    notebook = open_alone("form/new.ipynb")
    page, watch = notebook.page, Watch(notebook.page, lab.url)
    prepare(page)

    run(notebook, *FORM[:2])
    page.evaluate("source => until(() => outputsOf(source).at(-1)?.querySelector('pre'), 'the form')", FORM[0])
    page.evaluate("source => listen(outputsOf(source).at(-1))", FORM[0])
    run(notebook, FORM[2])
    last = "all payloads were typed"
    page.evaluate("last => until(() => [...told.pre].some((text) => text.includes(last)), 'the end')", last)
    told = page.evaluate("({ ...told, pre: [...told.pre], status: [...told.status] })")
    assert {kind: missing for kind in ("pre", "status") if (missing := missing_in("\n".join(told[kind])))} == {}
    assert told["dangers"] == []
    options = "source => [...outputsOf(source).at(-1).querySelectorAll('select option')].map((one) => one.textContent)"
    assert missing_in("\n".join(page.evaluate(options, FORM[0])), filter(in_files, NUMBERS)) == []
    assert page.evaluate("audit()") == []
    assert watch.seen == []
    check_the_detectors(page, watch)
