"""A separate JupyterLab, a Chromium, and notebooks that are open in its pages."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from playwright.sync_api import expect

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

PROJECT = Path(__file__).parents[2]
FLAGS = ["--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
#: Seconds to wait for a page, a server or a kernel. It only ends a test that hangs.
PATIENCE_S = 100
expect.set_options(timeout=PATIENCE_S * 1000)
#: JupyterLab without news and update checks, which would use the network.
QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}
KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
#: A team whose replies a test writes: each agent reads them from a file beside the notebook, line by line.
TEAM = """
%load_ext whisper_nb
import asyncio, time
from pathlib import Path

import whisper_nb as wnb
from whisper_nb.core.messages import Finish, TextDelta, Usage

class Dictated:
    context_tokens = None

    def __init__(self, path):
        self.path, self.read = Path(path), 0
        self.path.write_text("")

    def count_tokens(self, messages, tools=()):
        return 1

    async def stream(self, request):
        while True:
            for line in self.path.read_text().split("\\n")[self.read:-1]:
                self.read += 1
                if line == ".":
                    yield Finish("stop", Usage(100, 20), 0.001)
                    return
                if line.startswith("!"):
                    raise wnb.ModelError(line[1:], model="offline")
                yield TextDelta(line + " ")
            await asyncio.sleep(0.01)

    async def prepare(self):
        pass

    async def aclose(self):
        pass

rt = wnb.runtime()
# An agent waits for the test, however slow the machine is, and may be told to answer with nothing.
rt.configure(token_timeout_s=3600, allow_empty=True)

def hire(*names):
    for name in names:
        rt.models[f"offline/{name}"] = Dictated(f"{name}.txt")
        rt.create(wnb.Agent(name=name, config=f"offline/{name}"))

def told(name):
    return Path(f"{name}.txt").exists()
"""


@dataclass
class Lab:
    """A running JupyterLab, which serves Notebook 7, too."""

    url: str
    token: str
    root: Path

    def write(self, path: str, *cells: str) -> None:
        """Write a notebook of these code cells."""
        notebook = nbformat.v4.new_notebook(cells=list(map(nbformat.v4.new_code_cell, cells)), metadata=KERNEL)
        nbformat.write(notebook, self.root / path)

    def tell(self, name: str, *lines: str) -> None:
        """Write lines for the reader of this name. For an agent of TEAM, `.` ends its reply and `!why` fails it."""
        with (self.root / f"{name}.txt").open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def read(self, path: str) -> Any:
        """A saved notebook."""
        return nbformat.read(self.root / path, as_version=4)


@dataclass
class Notebook:
    """A notebook that is open in a page."""

    page: Page
    complaints: list[str]
    """The errors in the page's console."""

    def command(self, name: str, **args: Any) -> None:
        """Send a command to JupyterLab, and do not wait for its effect."""
        self.page.evaluate("([name, args]) => { jupyterapp.commands.execute(name, args); return null }", [name, args])

    def cell(self, source: str) -> Locator:
        """The cell whose source contains this text."""
        return self.page.locator(".jp-Notebook .jp-Cell").filter(has_text=source).first

    def output(self, source: str) -> Locator:
        """The output area of that cell."""
        return self.cell(source).locator(".jp-OutputArea")

    def run(self, source: str) -> None:
        """Run the cell whose source contains this text, and do not wait for its end."""
        self.page.evaluate(
            """source => {
                const notebook = jupyterapp.shell.currentWidget.content;
                const cells = [...notebook.model.cells];
                notebook.activeCellIndex = cells.findIndex(cell => cell.sharedModel.source.includes(source));
                jupyterapp.commands.execute('notebook:run-cell');
            }""",
            source,
        )

    def wait_until_idle(self) -> None:
        """Wait until every cell has been answered."""
        self.page.wait_for_function(
            """() => {
                const panel = jupyterapp.shell.currentWidget;
                const kernel = panel.sessionContext.session.kernel;
                const cells = [...panel.content.model.cells].filter(cell => cell.type === 'code');
                return kernel.status === 'idle' && cells.every(cell => cell.executionCount !== null);
            }"""
        )

    def kernel(self, code: str) -> str:
        """Run code that is not in a cell. Return its printed text.

        Raises:
            RuntimeError: the code failed.
        """
        printed, failed = self.page.evaluate(
            """async code => {
                const kernel = jupyterapp.shell.currentWidget.sessionContext.session.kernel;
                const request = kernel.requestExecute({code, store_history: false});
                let printed = '', failed = '';
                request.onIOPub = ({header, content}) => {
                    if (header.msg_type === 'stream') printed += content.text;
                    if (header.msg_type === 'error') failed = `${content.ename}: ${content.evalue}`;
                };
                await request.done;
                return [printed, failed];
            }""",
            code,
        )
        if failed:
            raise RuntimeError(f"{code!r} failed in the kernel: {failed}")
        return str(printed)

    def save(self) -> None:
        """Write the notebook to its file."""
        self.page.evaluate("async () => { await jupyterapp.shell.currentWidget.context.save() }")

    def shut_down(self) -> None:
        """End the kernel."""
        self.page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown() }")

    def settle(self) -> None:
        """Wait until the page shows the notebook and its kernel answers."""
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.context")
        self.page.evaluate(
            """async () => {
                await jupyterapp.restored;
                const panel = jupyterapp.shell.currentWidget;
                await panel.context.ready;
                await panel.sessionContext.ready;
                await panel.sessionContext.session.kernel.info;
                await panel.revealed;
            }"""
        )


@dataclass
class View:
    """The visible parts of one view of the panel."""

    root: Locator

    @property
    def page(self) -> Page:
        return self.root.page

    @property
    def details(self) -> Locator:
        return self.root.get_by_role("complementary", name="Details")

    @property
    def notice(self) -> Locator:
        return self.root.get_by_role("status").first

    @property
    def text(self) -> Locator:
        """The text of the run in the opened row."""
        return self.details.get_by_label("Text of the run")

    @property
    def prompt(self) -> Locator:
        """The input for prompts."""
        return self.root.get_by_label("Prompt")

    @property
    def queue(self) -> Locator:
        """The items of the opened row's queue."""
        return self.details.get_by_role("listitem").filter(has=self.page.get_by_role("combobox"))

    def row(self, agent: str) -> Locator:
        return self.root.get_by_role("row").filter(has=self.page.get_by_role("gridcell", name=agent, exact=True))

    def button(self, name: str) -> Locator:
        return self.root.get_by_role("button", name=name, exact=True)

    def open(self, agent: str) -> None:
        expect(self.row(agent)).to_be_visible()
        self.row(agent).click()
        expect(self.details).to_contain_text(agent)

    def ask(self, agent: str, prompt: str) -> None:
        self.root.get_by_label("To", exact=True).select_option(agent)
        self.prompt.fill(prompt)
        self.root.get_by_role("button", name="Send").click()


def view(notebook: Notebook, source: str = "%agents") -> View:
    """The panel below a cell."""
    return View(notebook.output(source).get_by_role("region", name="Team of agents"))


def set_theme(page: Page, theme: str) -> None:
    """Switch JupyterLab to a theme."""
    page.evaluate("async theme => { await jupyterapp.commands.execute('apputils:change-theme', {theme}) }", theme)
    page.wait_for_function("theme => document.body.dataset.jpThemeName === theme", arg=theme)


def serious(element: Locator) -> list[str]:
    """The serious problems of accessibility that axe finds in an element."""
    from axe_playwright_python.sync_playwright import Axe

    element.evaluate("element => element.setAttribute('data-axe', '')")
    found = Axe().run(element.page, context="[data-axe]").response["violations"]
    element.evaluate("element => element.removeAttribute('data-axe')")
    return [
        f"{one['id']}: {node['html'][:200]} ({node['failureSummary'][:300]})"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


#: Open a notebook in a JupyterLab that is already loaded.
OPEN = """async path => {
    await jupyterapp.restored;
    const panel = await jupyterapp.commands.execute('docmanager:open', {path});
    await panel.sessionContext.ready;
    // JupyterLab opens its launcher when the last notebook was closed, which may come late and be in front.
    jupyterapp.shell.activateById(panel.id);
}"""
#: Close it, whether it was saved or not, and end its kernel.
CLOSE = """async path => {
    for (const panel of [...jupyterapp.shell.widgets('main')].filter((one) => one.context?.path === path)) {
        if (panel.sessionContext.session) await panel.sessionContext.shutdown();
        panel.dispose();
    }
}"""


@dataclass
class LabPage:
    """A JupyterLab in a page, in which tests open one notebook after the other: loading it takes longer than a test."""

    page: Page
    complaints: list[str]

    def open(self, path: str) -> Notebook:
        """Open a notebook of the lab's folder, and wait until its kernel answers."""
        self.complaints.clear()
        self.page.evaluate(OPEN, path)
        notebook = Notebook(self.page, self.complaints)
        notebook.settle()
        return notebook

    def close(self, path: str) -> None:
        """Close a notebook and end its kernel."""
        self.page.evaluate(CLOSE, path)


def open_lab(context: BrowserContext, lab: Lab, workspace: str) -> LabPage:
    """Open a JupyterLab without a notebook."""
    page, complaints = open_page(context, f"{lab.url}/lab/workspaces/{workspace}?reset&token={lab.token}")
    page.wait_for_function("() => window.jupyterapp")
    return LabPage(page, complaints)


def new_context(browser: Browser, **looks: Any) -> BrowserContext:
    """Return a browser context, with a cache of its own."""
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 1600}, **looks})
    context.set_default_timeout(PATIENCE_S * 1000)
    return context


def open_notebook(context: BrowserContext, url: str) -> Notebook:
    """Open a page of its own, and wait until it shows the notebook."""
    notebook = Notebook(*open_page(context, url))
    notebook.settle()
    return notebook


def open_page(context: BrowserContext, url: str) -> tuple[Page, list[str]]:
    """Open a page. Return it with a list to which the errors of its console are added."""
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(url, wait_until="domcontentloaded")
    return page, complaints


@contextmanager
def running_lab(home: Path) -> Iterator[Lab]:
    """A JupyterLab without a user's settings: its settings, data and folder are in `home`."""
    root = home / "root"
    root.mkdir()
    settings = home / "config" / "labconfig"
    settings.mkdir(parents=True)
    overrides = {"@jupyterlab/apputils-extension:notification": QUIET}
    (settings / "default_setting_overrides.json").write_text(json.dumps(overrides))
    token, port = secrets.token_hex(16), free_port()
    command = [str(Path(sys.executable).with_name("jupyter")), "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True"]
    command += ["--JupyterNotebookApp.expose_app_in_browser=True"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    url = f"http://127.0.0.1:{port}"
    with served(command, home, f"{url}/api/status?token={token}"):
        yield Lab(url, token, root)


@contextmanager
def served(command: Sequence[str], home: Path, url: str) -> Iterator[None]:
    """A server without a user's settings. It is up once this address answers."""
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=_environment(home), stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_up(url, home / "log")
        yield
    finally:
        server.terminate()
        server.wait(PATIENCE_S)


def _environment(home: Path) -> Mapping[str, str]:
    folders = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "run"}
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    env |= {f"JUPYTER_{name}": str(home / folder) for name, folder in folders.items()}
    env |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    env |= {"IPYTHONDIR": str(home / "ipython"), "WHISPER_MODEL": "", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    env |= {"XDG_RUNTIME_DIR": str(home)}  # where no `stop --all` of the developer's reaches them
    return env


def chromium_path() -> str | None:
    """The system's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@contextmanager
def running_browser(path: str) -> Iterator[Browser]:
    """A headless Chromium."""
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, headless=True, args=[*FLAGS, *sandbox])
        yield chromium
        chromium.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, log: Path) -> None:
    """Wait until the server answers, its only sign of being ready."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(log.read_text())
