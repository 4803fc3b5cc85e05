"""A separate JupyterLab, a headless Chromium, and a team whose replies the test writes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from support.labs import Lab, LabPage, Notebook, chromium_path, new_context, open_lab, running_browser, running_lab
from support.labs import open_notebook as open_notebook_in

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext


@pytest.fixture(scope="session")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A JupyterLab without a user's settings."""
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The system's Chromium. In CI it is required; elsewhere the tests are skipped without it."""
    path = chromium_path()
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no Chromium here: the browser tests did not run")
    with running_browser(path) as chromium:
        yield chromium


@pytest.fixture(scope="session")
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A browser context that is shared, since its cache has JupyterLab's scripts after the first page."""
    with new_context(browser) as context:
        yield context


@pytest.fixture(scope="session")
def lab_page(lab: Lab, context: BrowserContext) -> LabPage:
    """The JupyterLab in which tests open their notebooks."""
    return open_lab(context, lab, "tests")


@pytest.fixture
def open_notebook(lab_page: LabPage) -> Iterator[Callable[[str], Notebook]]:
    """Open a notebook by its path in the lab's folder; it is closed after the test."""
    opened: list[str] = []

    def open_(path: str) -> Notebook:
        opened.append(path)
        return lab_page.open(path)

    yield open_
    for path in opened:
        lab_page.close(path)


@pytest.fixture
def open_alone(lab: Lab, browser: Browser) -> Iterator[Callable[[str], Notebook]]:
    """The same in a separate browser context, which a test may observe and reload."""
    contexts: list[BrowserContext] = []

    def open_(path: str) -> Notebook:
        contexts.append(new_context(browser))
        return open_notebook_in(contexts[-1], f"{lab.url}/lab/tree/{path}?reset&token={lab.token}")

    yield open_
    for context in contexts:
        context.close()
