"""A JupyterLab of its own and a real Chromium, headless."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from labs import Lab, Notebook, free_port, wait_until_up

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

FLAGS = ["--headless=new", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]
#: JupyterLab without news and update checks, which would reach for the network.
QUIET = {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True}


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab with nothing of the user's: its own settings, data and folder."""
    home = tmp_path_factory.mktemp("lab")
    root = home / "root"
    root.mkdir()
    settings = home / "config" / "labconfig"
    settings.mkdir(parents=True)
    overrides = {"@jupyterlab/apputils-extension:notification": QUIET}
    (settings / "default_setting_overrides.json").write_text(json.dumps(overrides))
    folders = {"CONFIG_DIR": "config", "DATA_DIR": "data", "RUNTIME_DIR": "run"}
    env = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    env |= {f"JUPYTER_{name}": str(home / folder) for name, folder in folders.items()}
    env |= {"JUPYTERLAB_SETTINGS_DIR": str(home / "settings"), "JUPYTERLAB_WORKSPACES_DIR": str(home / "workspaces")}
    env |= {"IPYTHONDIR": str(home / "ipython"), "WHISPER_MODEL": "", "PYDEVD_DISABLE_FILE_VALIDATION": "1"}
    token, port = secrets.token_hex(16), free_port()
    command = [str(Path(sys.executable).with_name("jupyter")), "lab", "--no-browser", "--allow-root", "--ip=127.0.0.1"]
    command += [f"--port={port}", "--ServerApp.port_retries=0", f"--IdentityProvider.token={token}"]
    command += [f"--ServerApp.root_dir={root}", "--LabApp.expose_app_in_browser=True"]
    command += ["--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with (home / "log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
    try:
        wait_until_up(f"http://127.0.0.1:{port}/api/status?token={token}", home / "log")
        yield Lab(f"http://127.0.0.1:{port}", token, root)
    finally:
        server.terminate()
        server.wait(15)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium of the system. In CI one must be there; elsewhere the tests say that they did not run."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium here: the browser tests did not run")
    from playwright.sync_api import sync_playwright

    sandbox = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, headless=True, args=[*FLAGS, *sandbox])
        yield chromium
        chromium.close()


@pytest.fixture
def open_notebook(lab: Lab, browser: Browser) -> Iterator[Callable[[str], Notebook]]:
    """Open a notebook of the lab's folder, by its path in there."""
    pages: list[Page] = []

    def open_(path: str) -> Notebook:
        page = browser.new_context(viewport={"width": 1280, "height": 1600}).new_page()
        pages.append(page)
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(f"{lab.url}/lab/tree/{path}?reset&token={lab.token}", wait_until="domcontentloaded")
        page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.context")
        page.evaluate(
            """async () => {
                await jupyterapp.restored;
                const panel = jupyterapp.shell.currentWidget;
                await panel.context.ready;
                await panel.sessionContext.ready;
                await panel.sessionContext.session.kernel.info;
                await panel.revealed;
            }"""
        )
        return Notebook(page, complaints)

    yield open_
    for page in pages:
        page.context.close()
