"""A JupyterLab of its own, a real Chromium, headless, and a team whose words the test says."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from support.labs import Lab, Notebook, chromium_path, open_notebook, running_browser, running_lab

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab with nothing of the user's."""
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A Chromium of the system. In CI one must be there; elsewhere the tests say that they did not run."""
    path = chromium_path()
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium here: the browser tests did not run")
    with running_browser(path) as chromium:
        yield chromium


@pytest.fixture(name="open_notebook")
def _open_notebook(lab: Lab, browser: Browser) -> Iterator[Callable[[str], Notebook]]:
    """Open a notebook of the lab's folder, by its path in there."""
    opened: list[Notebook] = []

    def open_(path: str) -> Notebook:
        opened.append(open_notebook(browser, f"{lab.url}/lab/tree/{path}?reset&token={lab.token}"))
        return opened[-1]

    yield open_
    for notebook in opened:
        notebook.page.context.close()
