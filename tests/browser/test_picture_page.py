"""The picture of the team in JupyterLab: what it tells, by pointer and by keyboard."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import nbformat
import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from support.labs import TEAM, Lab, Notebook, View, open_notebook, serious, set_theme, view

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator

pytestmark = pytest.mark.browser
HOSTILE = "<img src=x onerror=alert(1)><b>bold</b>"
_numbers = count(1)


@dataclass
class Desk:
    """A notebook whose panel shows the timeline, and a new team for each test."""

    lab: Lab
    notebook: Notebook
    panel: View

    @property
    def lanes(self) -> Locator:
        return self.panel.root.get_by_role("listbox", name="Timeline")

    @property
    def tip(self) -> Locator:
        return self.panel.root.get_by_role("tooltip")

    @property
    def transcript(self) -> Locator:
        return self.panel.root.get_by_role("complementary", name="Transcript")

    def lane(self, agent: str) -> Locator:
        return self.lanes.get_by_role("option", name=f"{agent}:")

    def hire(self, *names: str) -> list[str]:
        """Create agents of these names and a number, so that no test uses those of another."""
        number = next(_numbers)
        made = [f"{name}{number}" for name in names]
        self.notebook.kernel(f"[rt.remove(one.name) for one in rt.sessions]\nhire(*{made})")
        for name in made:
            expect(self.lane(name)).to_be_visible()
        return made

    def give(self, agent: str, prompt: str, *lines: str) -> None:
        """Submit a prompt, and have it answered by these lines."""
        self.notebook.kernel(f"last = rt[{agent!r}].submit({prompt!r})")
        if lines:
            self.lab.tell(agent, *lines)

    def point_at(self, agent: str) -> None:
        """Put the pointer on what the agent does now; again if the page's layout has moved it away meanwhile."""
        for _ in range(20):
            self.notebook.page.mouse.move(*self.present(agent))
            with suppress(PlaywrightTimeout):
                self.tip.wait_for(timeout=500)
                return

    def present(self, agent: str) -> tuple[float, float]:
        """The place of the present time on an agent's lane."""
        box = self.lane(agent).bounding_box()
        assert box is not None
        return box["x"] + box["width"] - 26, box["y"] + box["height"] / 2


@pytest.fixture(scope="module")
def shared(lab: Lab, context: BrowserContext) -> Iterator[Desk]:
    """A notebook that shows the panel."""
    lab.write("picture.ipynb", TEAM, "%agents")
    notebook = open_notebook(context, f"{lab.url}/lab/workspaces/picture/tree/picture.ipynb?reset&token={lab.token}")
    notebook.run("%load_ext")
    notebook.run("%agents")
    notebook.kernel("hire('zero')")
    panel = view(notebook)
    panel.button("Timeline").click()
    yield Desk(lab, notebook, panel)
    panel.button("Agents").click()  # the choice is kept in the browser, which other tests share
    notebook.shut_down()
    notebook.page.close()


@pytest.fixture
def desk(shared: Desk) -> Iterator[Desk]:
    """The same for one test, with its clock at the present. The test fails if the browser's console has an error."""
    shared.notebook.complaints.clear()
    shared.panel.root.get_by_label("Time shown").select_option("300")
    shared.panel.button("Now").click()
    shared.notebook.page.mouse.move(1, 1)
    yield shared
    assert [text for text in shared.notebook.complaints if "wnb" in text or "whisper" in text.lower()] == []


def test_the_pointer_on_a_bar_tells_its_run(desk: Desk) -> None:
    (ann,) = desk.hire("ann")
    desk.give(ann, f"{HOSTILE} count the rows\nand more", "words")
    expect(desk.lane(ann)).to_have_accessible_name(re.compile("running .*; in view: 1 running"))
    desk.point_at(ann)
    expect(desk.tip).to_contain_text(f"{ann}#1 · running")
    expect(desk.tip).to_contain_text(f"{HOSTILE} count the rows and more"[:59])
    expect(desk.tip).to_contain_text(re.compile(r"\d\d:\d\d:\d\d · \d+(\.\d)? s so far"))
    desk.lab.tell(ann, ".")
    expect(desk.tip).to_contain_text(f"{ann}#1 · succeeded")
    expect(desk.tip).to_contain_text("100 + 20 tokens · $0.0010")
    desk.notebook.page.mouse.move(1, 1)
    expect(desk.tip).to_be_hidden()


def test_a_click_opens_the_run_and_a_click_on_a_name_the_agent(desk: Desk) -> None:
    ann, bob = desk.hire("ann", "bob")
    desk.give(ann, "count the rows", "words")
    expect(desk.lane(ann)).to_have_accessible_name(re.compile("1 running"))
    desk.point_at(ann)  # the bar of a run that has just begun is hardly there
    desk.notebook.page.mouse.down()
    desk.notebook.page.mouse.up()
    expect(desk.transcript).to_contain_text(f"{ann}#1")
    desk.lanes.get_by_text(bob, exact=True).click()
    expect(desk.panel.details).to_contain_text(bob)
    expect(desk.lane(bob)).to_have_attribute("aria-selected", "true")
    desk.lab.tell(ann, ".")
    desk.panel.button("Close details").click()
    expect(desk.panel.details).to_be_hidden()


def test_the_window_zooms_and_follows_or_stays(desk: Desk) -> None:
    (ann,) = desk.hire("ann")
    window, now, page = desk.panel.root.get_by_label("Time shown"), desk.panel.button("Now"), desk.notebook.page
    desk.give(ann, "count the rows", "words", ".")
    expect(desk.lane(ann)).to_have_accessible_name(re.compile("in view: 1 succeeded"))
    expect(now).to_have_attribute("aria-pressed", "true")
    for _ in range(8):
        desk.panel.button("Zoom out").click()
    expect(window).to_have_value("21600")
    expect(desk.lane(ann)).to_have_accessible_name(re.compile("in view: 1 succeeded"))
    for _ in range(8):
        desk.panel.button("Zoom in").click()
    expect(window).to_have_value("60")
    expect(now).to_have_attribute("aria-pressed", "true")
    for _ in range(3):
        desk.panel.button("Earlier").click()
    expect(now).to_have_attribute("aria-pressed", "false")
    expect(desk.lane(ann)).to_have_accessible_name(re.compile("in view: no run"))
    desk.panel.button("Later").click()
    desk.panel.button("Later").click()
    expect(now).to_have_attribute("aria-pressed", "false")
    now.click()
    expect(now).to_have_attribute("aria-pressed", "true")
    x, y = desk.present(ann)
    page.mouse.move(x - 200, y)
    page.mouse.down()
    page.mouse.move(x - 100, y, steps=4)
    page.mouse.up()
    expect(now).to_have_attribute("aria-pressed", "false")
    expect(desk.panel.details).to_be_hidden()  # the end of a drag is no click
    page.keyboard.down("Control")
    page.mouse.wheel(0, 100)
    page.keyboard.up("Control")
    expect(window).to_have_value("120")


def test_an_arrow_points_at_the_run_that_a_run_waits_for(desk: Desk) -> None:
    ann, bob = desk.hire("ann", "bob")
    desk.give(ann, "count the rows", "words")
    desk.notebook.kernel(f"after = rt[{bob!r}].submit(['sum up ', last])")
    expect(desk.lane(bob)).to_have_accessible_name(re.compile("in view: 1 queued"))
    desk.point_at(bob)
    expect(desk.tip).to_contain_text(f"waits for {ann}#1")
    between = "".join(  # the columns of the border between the lanes that the arrow crosses
        desk.lanes.locator("canvas").evaluate(
            """canvas => {
                const ratio = devicePixelRatio, y = 32 * ratio - 2;
                const row = canvas.getContext('2d').getImageData(0, y, canvas.width, 1).data;
                const columns = [];
                for (let at = 0; at < canvas.width; at++) if (row[at * 4 + 3] > 0) columns.push(at);
                return columns.slice(-1).map((at) => String(at / canvas.width));
            }"""
        )
    )
    assert float(between) > 0.95
    desk.lab.tell(ann, ".")
    desk.lab.tell(bob, "sum", ".")
    expect(desk.lane(bob)).to_have_accessible_name(re.compile("in view: 1 succeeded"))
    expect(desk.tip).to_contain_text(f"has the text of {ann}#1")


def test_lanes_and_runs_are_chosen_by_the_keyboard(desk: Desk) -> None:
    ann, bob = desk.hire("ann", "bob")
    page, window = desk.notebook.page, desk.panel.root.get_by_label("Time shown")
    desk.give(bob, "first things", "words", ".")
    expect(desk.lane(bob)).to_have_accessible_name(re.compile("1 succeeded"))
    desk.give(bob, "second things", "words", "!no more")
    expect(desk.lane(bob)).to_have_accessible_name(re.compile("1 succeeded, 1 failed"))
    desk.lane(ann).focus()
    page.keyboard.press("ArrowDown")
    expect(desk.lane(bob)).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(desk.tip).to_contain_text(f"{bob}#2 · failed")
    said = desk.panel.root.get_by_role("group", name="Timeline").get_by_role("status")
    expect(said).to_contain_text(f"{bob}#2 · failed. second things")
    page.keyboard.press("ArrowLeft")
    expect(desk.tip).to_contain_text(f"{bob}#1 · succeeded")
    page.keyboard.press("Enter")  # before a zoom, which may join the two runs
    expect(desk.transcript).to_contain_text(f"{bob}#1")
    desk.lane(bob).focus()
    page.keyboard.press("+")
    expect(window).to_have_value("120")
    page.keyboard.press("-")
    expect(window).to_have_value("300")
    page.keyboard.press("Escape")
    page.keyboard.press("Enter")
    expect(desk.panel.details).to_be_visible()
    page.keyboard.press("PageUp")
    expect(desk.panel.button("Now")).to_have_attribute("aria-pressed", "false")
    page.keyboard.press("n")
    expect(desk.panel.button("Now")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(desk.panel.details).to_be_hidden()
    expect(desk.lane(bob)).to_be_focused()


def test_the_filter_applies_to_lanes_and_the_choice_is_kept(desk: Desk) -> None:
    ann, bob = desk.hire("ann", "bob")
    desk.panel.root.get_by_label("Filter agents").fill(bob)
    expect(desk.lane(ann)).to_be_hidden()
    expect(desk.lane(bob)).to_be_visible()
    desk.panel.root.get_by_label("Filter agents").fill("")
    expect(desk.lane(ann)).to_be_visible()
    desk.panel.button("Agents").click()
    expect(desk.panel.row(ann)).to_be_visible()
    expect(desk.lanes).to_be_hidden()
    desk.panel.button("Timeline").click()
    expect(desk.lanes).to_be_visible()
    desk.notebook.run("%agents")  # another view of the panel
    expect(desk.lanes).to_be_visible()
    expect(desk.lane(ann)).to_be_visible()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_axe_finds_no_serious_problem(desk: Desk, theme: str) -> None:
    (ann,) = desk.hire("ann")
    set_theme(desk.notebook.page, theme)
    desk.give(ann, "count the rows", "words")
    expect(desk.lane(ann)).to_have_accessible_name(re.compile("1 running"))
    desk.point_at(ann)
    expect(desk.tip).to_contain_text("running")
    found = serious(desk.panel.root)
    desk.lab.tell(ann, ".")
    set_theme(desk.notebook.page, "JupyterLab Light")
    assert found == []


def test_a_saved_notebook_shows_the_picture_without_scripts_and_without_trust(
    lab: Lab, browser: Browser, open_notebook: Callable[[str], Notebook]
) -> None:
    lab.write("still.ipynb", TEAM, "hire('ann'); run = rt['ann'].submit('first')", "%agents", "rt.timeline()", "'end'")
    lab.tell("ann", "words", ".")
    notebook = open_notebook("still.ipynb")
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_idle()
    still = notebook.output("rt.timeline()").locator("img")
    assert width_of(still) == 900
    notebook.page.set_viewport_size({"width": 1000, "height": 800})
    cell = notebook.output("rt.timeline()").locator(".jp-OutputArea-output")
    assert cell.evaluate("element => element.scrollWidth <= element.clientWidth"), "it fits a narrow cell"
    notebook.save()
    saved = lab.read("still.ipynb")
    notebook.shut_down()
    image = "details.wnb-snapshot img[alt^=timeline]"

    page = browser.new_context(java_script_enabled=False, offline=True).new_page()
    html, _ = HTMLExporter().from_notebook_node(saved)
    page.set_content(html, wait_until="domcontentloaded")
    expect(page.locator(image)).to_be_visible()
    expect(page.locator(".jp-OutputArea-executeResult img[alt^=timeline]")).to_be_visible()
    page.context.close()

    stranger = nbformat.v4.new_notebook(cells=saved.cells[2:4], metadata=saved.metadata)
    nbformat.write(stranger, lab.root / "stranger.ipynb")
    opened = open_notebook("stranger.ipynb")
    shown = opened.page.get_by_label("stranger.ipynb").locator(image)
    assert width_of(shown) == 900


def width_of(image: Locator) -> int:
    """The width of an image, once the browser has drawn it."""
    expect(image).to_be_visible()
    return int(image.evaluate("async image => { await image.decode(); return image.naturalWidth }"))


@pytest.mark.parametrize("width", [800, 420])
def test_a_narrow_panel_shows_every_control(desk: Desk, width: int) -> None:
    (ann,) = desk.hire("ann")
    root = desk.panel.root
    root.evaluate("(element, width) => { element.parentElement.style.width = `${width}px` }", width)
    expect(root).to_have_css("width", f"{width}px")
    frame = root.bounding_box()
    assert frame is not None
    for control in [*root.get_by_role("group", name="Time", exact=True).get_by_role("button").all(), desk.lane(ann)]:
        box = control.bounding_box()
        assert box is not None
        assert frame["x"] <= box["x"]
        assert box["x"] + box["width"] <= frame["x"] + frame["width"] + 1
    root.evaluate("element => { element.parentElement.style.width = '' }")
