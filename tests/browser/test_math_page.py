"""Math in replies in a real JupyterLab: it loads nothing, links nowhere, defines nothing, and stays in its output."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from support.formulas import HOSTILE, LARGE, ORDINARY
from support.labs import Lab, Notebook

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = pytest.mark.browser

FENCES = ("\\(%s\\)", "$%s$", "$$%s$$", "\\[%s\\]", "\\begin{align}%s\\end{align}")
SETUP = r"""
import json
from IPython.display import HTML, display
%load_ext whisper_nb
import whisper_nb as wnb
from whisper_nb.core.messages import Finish, TextDelta, Usage

REPLIES = json.load(open("replies.json"))

async def says(request):
    kind, number = request.messages[-1].text.split()
    yield TextDelta(REPLIES[kind][int(number)])
    yield Finish("stop", Usage(1, 1), 0.0)

rt = wnb.runtime()
rt.models["offline/math"] = wnb.FunctionModel(says)

async def show(kind):
    agent = rt.create(wnb.Agent(name=kind, config="offline/math"))
    for number in range(len(REPLIES[kind])):
        run = agent.submit(f"{kind} {number}")
        await run
        display(run)
"""
#: Formulas of the user, whose look no reply may change; the last one is of macros that replies define.
THEIRS = r"$\alpha \beta \href{}{x}$ $\begin{matrix} a \\ b \end{matrix}$ $\color{red} x$"
BEFORE, AFTER = f'HTML(r"{THEIRS}")  # before', f'HTML(r"{THEIRS} $\\wnbName$")  # after'
SHOWN = ("await show('hostile')", "await show('large')", "await show('ordinary')")
#: Run a cell to its end; return its errors.
RUN = """async source => {
    const notebook = jupyterapp.shell.currentWidget.content;
    const at = notebook.widgets.findIndex((cell) => cell.model.sharedModel.source === source);
    notebook.activeCellIndex = at;
    await jupyterapp.commands.execute("notebook:run-cell");
    const outputs = notebook.widgets[at].model.outputs.toJSON();
    return outputs.filter((one) => one.output_type === "error").map((one) => one.traceback.join("\\n"));
}"""
SHOW_ALL = "() => document.querySelectorAll('.jp-TrimmedOutputs button').forEach((one) => one.click())"
SCRIPT = r"""
{
    const { content } = jupyterapp.shell.currentWidget;  // otherwise cells out of view would not be in the page
    content.notebookConfig = { ...content.notebookConfig, windowingMode: "none" };
}
window.until = async (what) => {
    for (;;) {
        const found = what();
        if (found) return found;
        await new Promise((go) => requestAnimationFrame(go));
    }
};
window.outputsOf = (source) => {
    const cell = jupyterapp.shell.currentWidget.content.widgets.find((one) => one.model.sharedModel.source === source);
    return [...cell.outputArea.node.querySelectorAll(".jp-OutputArea-output")];
};
window.typeset = (source) => until(() => {
    const found = outputsOf(source);
    return found.length && found.every((one) => one.querySelector("mjx-container")) && found;
});
/** What in an element loads, links, or is named. */
window.foreign = (output) => [...output.querySelectorAll("*")].flatMap((one) => [...one.attributes]
    .filter(({ name, value }) => (
        /^(href|src|srcset|xlink:href|id|on.*|data-c.*)$/.test(name) || (name === "style" && /url|fixed/.test(value))
        || (name === "class" && /jp-/.test(value))
    ) && !/^mjx-|^MJX-/.test(value))
    .map(({ name, value }) => `${one.localName} ${name}=${value}`));
/** The elements that are to be seen outside of an output, as far as its parts do not hide them. */
window.outside = (output) => {
    const edge = output.getBoundingClientRect(), found = [];
    const visible = (one) => {
        let { left, top, right, bottom } = one.getBoundingClientRect();
        for (let up = one.parentElement; up !== output.parentElement; up = up.parentElement) {
            if (getComputedStyle(up).overflowX === "visible") continue;
            const clip = up.getBoundingClientRect();
            left = Math.max(left, clip.left); right = Math.min(right, clip.right);
            top = Math.max(top, clip.top); bottom = Math.min(bottom, clip.bottom);
        }
        return { left, top, right, bottom };
    };
    for (const one of output.querySelectorAll("*")) {
        const box = visible(one);
        if (box.right <= box.left || box.bottom <= box.top) continue;
        const across = Math.max(edge.left - box.left, box.right - edge.right);
        const out = Math.max(across, edge.top - box.top, box.bottom - edge.bottom);
        if (out > 1 || getComputedStyle(one).position === "fixed") found.push(`${one.localName} by ${out}`);
    }
    if (edge.height > 20_000) found.push(`a height of ${edge.height}`);
    return found;
};
null
"""


@contextmanager
def listening() -> Iterator[tuple[str, list[str]]]:
    """A server on this machine: its address, and what it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def replies(url: str) -> dict[str, list[str]]:
    """The replies of each kind, each with one formula."""
    named = [tex.replace("URL", f"{url}/{at}").replace("NAME", "wnbName") for at, tex in enumerate(HOSTILE)]
    return {
        "hostile": [FENCES[at % len(FENCES)] % tex for at, tex in enumerate(named)],
        "large": [f"\\[{tex}\\]" for tex in LARGE],
        "ordinary": [f"\\({tex}\\)" for tex in ORDINARY],
    }


def looks(page: Page, source: str) -> list[str]:
    """The formulas below a cell, as they were typeset."""
    found: list[str] = page.evaluate(
        "async source => (await typeset(source))[0] && [...outputsOf(source)[0].querySelectorAll('mjx-container')]"
        ".map((one) => one.outerHTML)",
        source,
    )
    return found


def test_math_of_replies_has_no_effect_but_its_look(lab: Lab, open_alone: Callable[[str], Notebook]) -> None:
    (lab.root / "math").mkdir()
    with listening() as (url, asked):
        (lab.root / "math" / "replies.json").write_text(json.dumps(replies(url)))
        harmful = rf"$\mmlToken{{mglyph}}[src={url}/control]{{x}} \def\wnbName{{y}}$"
        control = f"HTML(r'{harmful} $\\wnbName$')"
        lab.write("math/math.ipynb", SETUP, BEFORE, *SHOWN, AFTER, control)
        notebook = open_alone("math/math.ipynb")
        page, requests = notebook.page, []
        page.context.on("request", lambda request: requests.append(request.url))
        page.evaluate(SCRIPT)
        for source in (SETUP, BEFORE, *SHOWN):
            assert page.evaluate(RUN, source) == []
        page.evaluate(SHOW_ALL)

        for source in SHOWN[1:]:
            page.evaluate("async source => { await typeset(source) }", source)
        assert page.evaluate("source => outputsOf(source).length", SHOWN[0]) == len(HOSTILE)
        for source in SHOWN:
            page.evaluate("source => outputsOf(source)[0].scrollIntoView()", source)
            assert page.evaluate("source => outputsOf(source).flatMap(foreign)", source) == []
            assert page.evaluate("source => outputsOf(source).flatMap(outside)", source) == []
        wrong = "one => one.querySelector('mjx-merror, mjx-mtext[style*=\"color: red\"]')?.outerHTML.slice(0, 300)"
        assert page.evaluate(f"source => outputsOf(source).map({wrong}).filter((one) => one)", SHOWN[2]) == []

        assert page.evaluate(RUN, AFTER) == []
        before, after = looks(page, BEFORE), looks(page, AFTER)
        assert after[:-1] == before
        assert "\\wnbName</mtext>" in after[-1], "shown as it is, for nothing defines it"
        assert [one for one in requests if not one.startswith((f"{lab.url}/", "data:", "blob:"))] == []
        assert asked == []

        with page.expect_request(f"{url}/control"):  # math that is not that of a reply
            notebook.run(control)
        assert "\\wnbName</mtext>" not in looks(page, control)[-1]
    notebook.shut_down()
