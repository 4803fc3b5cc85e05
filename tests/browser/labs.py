"""What a test sees of a JupyterLab: where it is, and a notebook that is open in a page of it."""

from __future__ import annotations

import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

PROJECT = Path(__file__).parents[2]


@dataclass
class Lab:
    """A running JupyterLab."""

    url: str
    token: str
    root: Path


@dataclass
class Notebook:
    """A notebook that is open in a page."""

    page: Page
    complaints: list[str]
    """What the page's console called an error."""

    def command(self, name: str, **args: Any) -> None:
        """Give JupyterLab a command, and do not wait for what it does."""
        self.page.evaluate("([name, args]) => { jupyterapp.commands.execute(name, args); return null }", [name, args])

    def cell(self, source: str) -> Any:
        """The cell whose source contains this text."""
        return self.page.locator(".jp-Notebook .jp-Cell").filter(has_text=source).first

    def output(self, source: str) -> Any:
        """The output area of that cell."""
        return self.cell(source).locator(".jp-OutputArea")

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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(url: str, log: Path) -> None:
    """A server has no other way to say that it is ready than to answer."""
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            urllib.request.urlopen(url, timeout=1).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise RuntimeError(log.read_text())
