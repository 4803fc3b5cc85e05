"""The panel in JupyterLab. The test writes the agents' replies with `lab.tell`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import pytest
from nbconvert import HTMLExporter
from playwright.sync_api import Page, expect

from support.labs import TEAM, Lab, Notebook, View, open_notebook, serious, set_theme, view

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext

pytestmark = pytest.mark.browser
#: A cell that blocks the kernel until `lab.tell("go", …)`, and one that awaits, so that agents work, until "on".
BLOCKS = "while not told('go'): time.sleep(0.01)\nprint('over')"
AWAITS = "while not told('on'): await asyncio.sleep(0.01)\nprint('over')"
BUSY = "kernel is busy"
RUNNING = re.compile(r"(?<!\()running")  # and not "paused (running)"
_numbers = count(1)


@dataclass
class Desk:
    """A notebook with a panel, and a new team for each test."""

    lab: Lab
    notebook: Notebook
    panel: View

    @property
    def page(self) -> Page:
        return self.notebook.page

    def hire(self, *names: str) -> list[str]:
        """Create agents of these names and a number, so that no test uses those of another."""
        number = next(_numbers)
        made = [f"{name}{number}" for name in names]
        self.notebook.kernel(f"[rt.remove(one.name) for one in rt.sessions]\nhire(*{made})")
        expect(self.panel.root).to_contain_text(f"{len(made)} agent{'s' * (len(made) > 1)}")
        return made

    def give(self, agent: str, *prompts: str) -> None:
        """Submit prompts to an agent, from code."""
        self.notebook.kernel("\n".join(f"rt[{agent!r}].submit({prompt!r})" for prompt in prompts))


@pytest.fixture(scope="module")
def shared(lab: Lab, context: BrowserContext) -> Iterator[Desk]:
    """A notebook that shows the panel."""
    lab.write("panel.ipynb", TEAM, "%agents", BLOCKS, AWAITS, "%agent wait")
    notebook = open_notebook(context, f"{lab.url}/lab/workspaces/desk/tree/panel.ipynb?reset&token={lab.token}")
    notebook.run("%load_ext")
    notebook.run("%agents")
    desk = Desk(lab, notebook, view(notebook))
    expect(desk.panel.root).to_be_visible()
    yield desk
    notebook.shut_down()
    notebook.page.close()


@pytest.fixture
def desk(shared: Desk) -> Iterator[Desk]:
    """The same for one test. The test fails if the browser's console has an error of ours."""
    shared.notebook.complaints.clear()
    yield shared
    assert [text for text in shared.notebook.complaints if "wnb" in text or "whisper" in text.lower()] == []


def test_run_all_with_queued_cells_keeps_the_panel_current(lab: Lab, open_notebook: Callable[[str], Notebook]) -> None:
    launch = "[rt['ann'].submit(f'question {n}') for n in range(3)]; print('launched')"
    lab.write("all.ipynb", TEAM, "hire('ann', 'bob')", "%agents", launch, "%agent wait", "print('after')")
    notebook = open_notebook("all.ipynb")
    notebook.command("notebook:run-all-cells")
    panel = view(notebook)
    panel.open("ann")
    expect(panel.row("ann")).to_contain_text("question 0")
    expect(panel.queue).to_have_count(2)
    for number in range(3):
        lab.tell("ann", f"answer-{number}")
        expect(panel.text).to_contain_text(f"answer-{number}")
        lab.tell("ann", ".")
    notebook.wait_until_idle()
    expect(notebook.output("%agent wait")).to_contain_text("3 succeeded")
    expect(notebook.output("print('after')")).to_contain_text("after")
    expect(panel.row("ann")).to_contain_text("idle")
    expect(panel.row("ann")).to_contain_text("300 + 60")
    cells = "() => [...jupyterapp.shell.currentWidget.content.model.cells].map(cell => cell.executionCount)"
    assert notebook.page.evaluate(cells) == [1, 2, 3, 4, 5, 6]
    assert [text for text in notebook.complaints if "wnb" in text or "whisper" in text.lower()] == []
    notebook.shut_down()


def test_a_prompt_from_the_panel_streams_in_the_opened_row(desk: Desk) -> None:
    panel, (ann, bob) = desk.panel, desk.hire("ann", "bob")
    for prompt in ("Read the report", "Sum it up", "Translate it"):
        panel.ask(ann, prompt)
        expect(panel.prompt).to_have_value("")
    expect(panel.row(ann)).to_contain_text("Read the report")
    expect(panel.row(ann)).to_contain_text("#2")
    expect(panel.row(ann)).to_contain_text("#3")
    panel.open(ann)
    for word in ("It", "says", "so."):
        desk.lab.tell(ann, word)
        expect(panel.text).to_contain_text(word)
    desk.lab.tell(ann, ".")
    expect(panel.row(ann)).to_contain_text("Sum it up")
    expect(panel.queue).to_have_count(1)
    desk.lab.tell(ann, ".", ".")
    expect(panel.row(ann)).to_contain_text("idle")
    expect(panel.details).to_contain_text("It says so.")
    expect(panel.details).to_contain_text("6 messages, ~")
    expect(panel.details).to_contain_text(re.compile(r"memory ~\d+ · "))

    panel.ask("*", "Say hello")
    expect(panel.row(ann)).to_contain_text("Say hello")
    expect(panel.row(bob)).to_contain_text("Say hello")
    desk.lab.tell(ann, ".")
    desk.lab.tell(bob, "!the provider is down")
    expect(panel.row(bob)).to_contain_text("the provider is down")
    expect(panel.root).to_contain_text("1 failed")


def test_a_queue_is_reordered_in_the_details(desk: Desk) -> None:
    panel, (ann,) = desk.panel, desk.hire("ann")
    desk.give(ann, "first", "second", "third", "fourth")
    panel.open(ann)
    expect(panel.queue).to_contain_text(["second", "third", "fourth"])
    panel.button(f"Move up {ann}#4").click()
    expect(panel.queue).to_contain_text(["second", "fourth", "third"])
    panel.button(f"Move down {ann}#2").click()
    expect(panel.queue).to_contain_text(["fourth", "second", "third"])
    panel.root.get_by_label(f"Priority of {ann}#3").select_option("urgent")
    expect(panel.queue).to_contain_text(["third", "fourth", "second"])
    expect(panel.row(ann)).to_contain_text("#3 urgent")
    panel.button(f"Cancel {ann}#4").click()
    expect(panel.queue).to_contain_text(["third", "second"])
    panel.button("Cancel run").click()
    expect(panel.row(ann)).to_contain_text("third")
    expect(panel.details).to_contain_text(re.compile(rf"{ann}#1\W*cancelled"))
    panel.button("Cancel queued").click()
    expect(panel.queue).to_have_count(0)
    expect(panel.row(ann)).to_contain_text("third")


def test_agents_are_paused_and_stopped_one_by_one_and_together(desk: Desk) -> None:
    panel, (ann, bob) = desk.panel, desk.hire("ann", "bob")
    desk.give(ann, "first", "second")
    panel.open(ann)
    panel.button("Pause").click()
    expect(panel.row(ann)).to_contain_text("paused (running)")
    desk.lab.tell(ann, ".")
    expect(panel.row(ann)).to_contain_text(re.compile(r"paused(?! \()"))
    expect(panel.queue).to_have_count(1)
    panel.button("Resume").click()
    expect(panel.row(ann)).to_contain_text("running")
    expect(panel.row(ann)).to_contain_text("second")
    panel.button("Stop").click()
    expect(panel.row(ann)).to_contain_text("stopped")
    panel.button("Resume").click()
    expect(panel.row(ann)).to_contain_text("idle")

    desk.give(ann, "third")
    desk.give(bob, "first")
    panel.root.get_by_role("button", name="Stop all").click()
    expect(panel.row(bob)).to_contain_text("running")
    panel.root.get_by_role("button", name="Really stop all?").click()
    for agent in (ann, bob):
        expect(panel.row(agent)).to_contain_text("stopped")
    panel.ask("*", "anybody?")
    expect(panel.notice).to_contain_text("every agent is stopped")


def test_each_control_shows_its_result_without_another_action(desk: Desk) -> None:
    panel, (ann,) = desk.panel, desk.hire("ann")
    desk.give(ann, "first", "second", "third")
    panel.open(ann)
    row = panel.row(ann)
    expect(panel.queue).to_have_count(2)
    panel.root.get_by_label(f"Priority of {ann}#3").select_option("urgent")
    expect(row).to_contain_text("#3 urgent")
    panel.button(f"Cancel {ann}#2").click()
    expect(panel.notice).to_contain_text("cancelled")
    for control, result in (("Pause", "paused"), ("Resume", RUNNING), ("Cancel run", "third"), ("Stop", "stopped")):
        panel.button(control).click()
        expect(row).to_contain_text(result)
    panel.button("Resume").click()
    panel.prompt.fill("fourth")
    expect(row).to_contain_text("idle")
    panel.root.get_by_role("button", name="Send").click()
    expect(row).to_contain_text("fourth")


def test_the_panel_says_that_a_blocking_cell_delays_the_agents(desk: Desk) -> None:
    panel, (ann, bob) = desk.panel, desk.hire("ann", "bob")
    desk.give(ann, "first")
    expect(panel.row(ann)).to_contain_text("running")
    desk.notebook.run("told('go')")
    expect(panel.notice).to_contain_text(BUSY)  # though nobody has clicked anything
    panel.ask(bob, "while it blocks")
    panel.prompt.fill("next")
    panel.open(ann)
    panel.button("Pause").click()
    expect(panel.notice).to_contain_text(BUSY)
    expect(panel.row(bob)).not_to_contain_text("while it blocks")
    desk.lab.tell("go", "on")
    expect(panel.row(bob)).to_contain_text("while it blocks")
    expect(panel.row(ann)).to_contain_text("paused (running)")
    expect(panel.notice).not_to_contain_text(BUSY)
    expect(panel.prompt).to_have_value("next")  # what was typed meanwhile is still there
    expect(desk.notebook.output("told('go')")).to_contain_text("over")


@pytest.mark.parametrize("heard", [True, False])
def test_a_click_while_a_cell_blocks_is_executed_or_the_panel_names_an_alternative(
    lab: Lab, open_notebook: Callable[[str], Notebook], heard: bool
) -> None:
    """It is executed if the front end opens a subshell for it, as JupyterLab does."""
    name, go = f"zoe{heard:d}", f"go{heard:d}"
    blocks = BLOCKS.replace("told('go')", f"told('{go}')")
    count = "import threading; shown = []; get_ipython().events.register('post_execute', lambda: shown.append(1))"
    lab.write(
        f"thread{heard:d}.ipynb", f"{TEAM}\n{count}\n%agent loop thread",
        f"hire('{name}'); rt['{name}'].submit('first')",
        "%agents", blocks
    )  # fmt: skip
    notebook = open_notebook(f"thread{heard:d}.ipynb")
    if not heard:
        kernel = "jupyterapp.shell.currentWidget.sessionContext.session.kernel"
        notebook.page.evaluate(f"() => {{ {kernel}.commsOverSubshells = 'disabled' }}")
    for code in ("%load_ext", "hire('", "%agents"):
        notebook.run(code)
    panel = view(notebook)
    panel.open(name)
    expect(panel.details).to_contain_text("first")
    lab.tell(name, "one")
    expect(panel.text).to_contain_text("one")
    notebook.run(f"told('{go}')")
    expect(notebook.cell(f"told('{go}')")).to_contain_text("[*]")
    for said in ("one two", "one two three"):
        lab.tell(name, said.split()[-1])
        expect(panel.text).to_contain_text(said)
    panel.button("Stop all").click()
    panel.button("Really stop all?").click()
    if heard:
        expect(panel.row(name)).to_contain_text("stopped")
        expect(panel.notice).to_contain_text("1 agent: stopped")
        expect(notebook.cell(f"told('{go}')")).to_contain_text("[*]")
    else:
        expect(panel.notice).to_contain_text(f"{BUSY} with a cell. Agents go on")
        for said in ("three four", "four five"):
            lab.tell(name, said.split()[-1])
            expect(panel.text).to_contain_text(said)
            expect(panel.notice).to_contain_text("python -m whisper_nb stop --all, in a terminal")
    lab.tell(go, "on")
    expect(notebook.output(f"told('{go}')")).to_contain_text("over")
    expect(panel.row(name)).to_contain_text("stopped")
    expect(panel.notice).not_to_contain_text(BUSY)
    assert notebook.kernel("print(len(shown))") == "4\n", "a cell each, and no click"
    notebook.shut_down()


@pytest.mark.parametrize("cell", ["told('on')", "%agent wait"])
def test_a_waiting_cell_delays_neither_agents_nor_the_panel(desk: Desk, cell: str) -> None:
    panel, (ann, bob) = desk.panel, desk.hire("ann", "bob")
    desk.give(ann, "first")
    desk.notebook.run(cell)
    expect(desk.notebook.cell(cell)).to_contain_text("[*]")
    panel.open(ann)
    desk.lab.tell(ann, "one")
    expect(panel.text).to_contain_text("one")
    panel.ask(bob, "while it waits")
    expect(panel.row(bob)).to_contain_text("while it waits")
    panel.button("Pause").click()
    expect(panel.row(ann)).to_contain_text("paused")
    panel.button("Resume").click()
    expect(panel.row(ann)).to_contain_text(RUNNING)
    desk.lab.tell(ann, "two")
    expect(panel.text).to_contain_text("one two")
    expect(panel.notice).not_to_contain_text(BUSY)
    expect(desk.notebook.cell(cell)).to_contain_text("[*]")
    desk.lab.tell(ann, ".")
    desk.lab.tell(bob, ".")
    desk.lab.tell("on", "now")
    expect(desk.notebook.output(cell)).to_contain_text(re.compile("over|succeeded"))


def test_the_panel_is_complete_after_a_reload_and_in_every_view(lab: Lab, context: BrowserContext) -> None:
    lab.write("views.ipynb", TEAM, "hire('ann', 'bob'); rt['ann'].submit('first')", "%agents", "rt.panel()")
    # Each has its own workspace, since JupyterLab reopens the tabs of a workspace.
    url = lab.url + "/lab/workspaces/{}/tree/views.ipynb?token=" + lab.token
    notebook = open_notebook(context, url.format("first"))
    notebook.command("notebook:run-all-cells")
    panels = [view(notebook), view(notebook, "rt.panel()")]
    for panel in panels:
        expect(panel.row("ann")).to_contain_text("first")
    panels[0].open("ann")
    expect(panels[1].details).to_be_hidden()  # what is open is a matter of each view
    lab.tell("ann", "half")
    expect(panels[0].text).to_contain_text("half")
    panels[1].ask("bob", "from the other view")
    for panel in panels:
        expect(panel.row("bob")).to_contain_text("from the other view")
    notebook.wait_until_idle()
    notebook.save()

    notebook.page.reload(wait_until="domcontentloaded")
    notebook.settle()
    for panel in panels:
        expect(panel.row("ann")).to_contain_text("running")
        expect(panel.row("bob")).to_contain_text("from the other view")
    panels[1].open("ann")
    expect(panels[1].text).to_contain_text("half")
    lab.tell("ann", "more")
    expect(panels[1].text).to_contain_text("half more")

    other = open_notebook(context, url.format("second"))
    second = view(other)
    expect(second.row("bob")).to_contain_text("from the other view")
    second.ask("ann", "from the second page")
    lab.tell("ann", ".")
    for panel in (*panels, second):
        expect(panel.row("ann")).to_contain_text("from the second page")
    other.page.close()
    panels[0].open("ann")
    panels[0].button("Stop").click()
    expect(panels[1].row("ann")).to_contain_text("stopped")
    assert [text for text in notebook.complaints if "wnb" in text or "whisper" in text.lower()] == []
    notebook.shut_down()
    notebook.page.close()


CELLS = """() => {
    const notebook = jupyterapp.shell.currentWidget.content;
    const cells = [...notebook.model.cells].map(cell => [cell.type, cell.sharedModel.source, cell.executionCount]);
    return JSON.stringify([notebook.activeCellIndex, cells]);
}"""


def test_the_panel_works_with_the_keyboard_only(desk: Desk) -> None:
    panel, (ann, bob, cleo) = desk.panel, desk.hire("ann", "bob", "cleo")
    press = panel.page.keyboard.press
    desk.give(ann, "first", "second", "third")
    expect(panel.row(ann)).to_contain_text("#3")
    panel.root.get_by_label("Filter agents").focus()
    for _ in range(12):
        press("Tab")
        if panel.row(ann).evaluate("row => row === document.activeElement"):
            break
    expect(panel.row(ann)).to_be_focused()
    for key, agent in (("ArrowDown", bob), ("ArrowDown", cleo), ("ArrowUp", bob), ("End", cleo), ("Home", ann)):
        press(key)
        expect(panel.row(agent)).to_be_focused()
    press("Enter")
    expect(panel.details).to_contain_text(ann)
    expect(panel.queue).to_have_count(2)

    # The focus stays on its element while others change.
    up = panel.button(f"Move up {ann}#3")
    up.focus()
    desk.lab.tell(ann, "some", "words")
    expect(panel.text).to_contain_text("some words")
    desk.give(ann, "fourth")
    expect(panel.queue).to_have_count(3)
    expect(up).to_be_focused()
    press("Enter")
    expect(panel.queue).to_contain_text(["third", "second", "fourth"])
    assert panel.details.evaluate("details => details.contains(document.activeElement)")
    panel.button(f"Cancel {ann}#2").focus()
    desk.lab.tell(ann, ".")
    expect(panel.queue).to_contain_text(["second", "fourth"])
    expect(panel.button(f"Cancel {ann}#2")).to_be_focused()
    press("Enter")
    expect(panel.queue).to_contain_text(["fourth"])
    assert panel.details.evaluate("details => details.contains(document.activeElement)")
    press("Escape")
    expect(panel.details).to_be_hidden()
    expect(panel.row(ann)).to_be_focused()


def test_keys_in_the_panel_trigger_no_notebook_shortcut(lab: Lab, open_notebook: Callable[[str], Notebook]) -> None:
    lab.write("keys.ipynb", TEAM, "hire('ann'); [rt['ann'].submit(str(n)) for n in range(2)]", "%agents", "'last'")
    notebook = open_notebook("keys.ipynb")
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_idle()
    panel = view(notebook)
    panel.open("ann")
    expect(panel.queue).to_have_count(1)
    before = notebook.page.evaluate(CELLS)
    cancel, search = panel.button("Cancel ann#2"), panel.root.get_by_label("Filter agents")
    for place in (panel.row("ann"), cancel, panel.text, search, panel.button("Pause"), panel.details):
        place.focus()
        for key in ("a", "b", "m", "y", "x", "d", "d", "z", "c", "v", "0", "0", "Shift+M", "ArrowDown", "ArrowUp"):
            notebook.page.keyboard.press(key)
        assert notebook.page.evaluate(CELLS) == before
    expect(notebook.page.get_by_role("dialog")).to_have_count(0)  # 0, 0 restarts a kernel
    prompt = panel.prompt
    prompt.press_sequentially("dd x a b")
    expect(prompt).to_have_value("dd x a b")
    assert notebook.page.evaluate(CELLS) == before
    notebook.shut_down()


#: Set the width of the panel's container.
WIDTH = "(root, width) => { root.parentElement.style.width = width ? `${width}px` : '' }"


@pytest.fixture
def sized(desk: Desk) -> Iterator[Callable[[int], None]]:
    """Set the width of the panel in pixels."""
    page = desk.page
    page.set_viewport_size({"width": 2000, "height": 1600})

    def size(width: int) -> None:
        desk.panel.root.evaluate(WIDTH, width)
        page.wait_for_function(
            "([root, width]) => Math.abs(root.getBoundingClientRect().width - width) < 2",
            arg=[desk.panel.root.element_handle(), width],
        )

    yield size
    desk.panel.root.evaluate(WIDTH, 0)
    page.set_viewport_size({"width": 1280, "height": 1600})


@pytest.mark.parametrize("width", [320, 600, 900, 1400])
def test_every_control_is_reachable_at_every_width(desk: Desk, sized: Callable[[int], None], width: int) -> None:
    panel, (ann, _) = desk.panel, desk.hire("ann", "bob")
    desk.give(ann, "a prompt of many words that needs more room than there is " * 3, "second", "third")
    sized(width)
    panel.open(ann)
    desk.lab.tell(ann, "averylongword" * 40)
    expect(panel.text).to_contain_text("averylongword")
    expect(panel.queue).to_have_count(2)
    for part in (panel.root, panel.details, panel.root.locator("form.wnb-ask")):
        inside, outside = part.evaluate("part => [part.scrollWidth, part.clientWidth]")
        assert inside <= outside
    controls = panel.root.locator(
        "button:not([aria-disabled=true]):visible, select:visible, input:visible, textarea:visible"
    )
    for control in controls.all():
        control.click(trial=True)  # scrolled into view, and hit where its middle is


#: Whether the list shows these agents in this order.
SHOWS = """([root, wanted]) => {
    const rows = [...root.querySelectorAll(".wnb-scroll .wnb-row")];
    rows.sort((a, b) => a.getBoundingClientRect().y - b.getBoundingClientRect().y);
    return rows.map(row => row.dataset.name).join() === wanted.join();
}"""


def test_a_click_on_a_head_sorts_and_says_in_which_direction(desk: Desk) -> None:
    panel, (ann, bob, cy) = desk.panel, desk.hire("ann", "bob", "cy")
    state = "rt[{0!r}]._journal.projection"
    spent = f"{state}.spent = {state}.spent.plus(Usage({{1}}, 0), {{1}} / 1000)"
    desk.notebook.kernel("\n".join([spent.format(bob, 300), spent.format(cy, 20)]))
    for agent, tokens in ((ann, "100 + 20"), (bob, "400 + 20"), (cy, "120 + 20")):
        desk.give(agent, "first")
        desk.lab.tell(agent, ".")
        expect(panel.row(agent)).to_contain_text(tokens)
    by_name, by_tokens = [ann, bob, cy], [bob, cy, ann]
    for head, first, order in (("Tokens", "descending", by_tokens), ("Cost", "descending", by_tokens),
                               ("Agent", "ascending", by_name)):  # fmt: skip
        column = panel.root.get_by_role("columnheader", name=head)
        for direction in (first, {"ascending": "descending", "descending": "ascending"}[first]):
            column.get_by_role("button").click()
            expect(column).to_have_attribute("aria-sort", direction)
            assert panel.root.locator("[aria-sort]").count() == 1
            wanted = order if direction == first else order[::-1]
            panel.page.wait_for_function(SHOWS, arg=[panel.root.element_handle(), wanted])


@pytest.mark.parametrize("width", [800, 1130, 1400])
def test_rows_are_32_pixels_high_and_the_header_cuts_nothing(
    desk: Desk, sized: Callable[[int], None], width: int
) -> None:
    panel, (ann, bob, _) = desk.panel, desk.hire("plan", "bob", "cleo")
    desk.give(ann, "first", "second")
    desk.notebook.kernel(f"rt[{bob!r}].submit([rt[{ann!r}].current or rt[{ann!r}].unfinished[0], ' and more'])")
    expect(panel.row(bob)).to_contain_text(f"waiting for {ann}#1")
    sized(width)
    assert panel.row(bob).evaluate("row => row.getBoundingClientRect().height") == 32
    for head in ("Tokens", "Cost", "Queue", "State"):
        expect(panel.root.get_by_role("columnheader", name=head)).to_be_visible()
    word = panel.row(bob).locator(".wnb-word")
    for part in (word, *panel.root.locator(".wnb-total > *:visible").all()):
        inside, outside = part.evaluate("part => [part.scrollWidth, part.clientWidth]")
        assert inside <= max(outside, 1) or outside == 0, part.text_content()
    top = panel.root.locator(".wnb-total")
    inside, outside = top.evaluate("part => [part.scrollWidth, part.clientWidth]")
    assert inside <= outside


#: The chips that are partly visible.
CUT = """chips => {
    const { left, right } = chips.getBoundingClientRect();
    return [...chips.children].map(chip => [chip, chip.getBoundingClientRect()])
        .filter(([chip, box]) => box.left < right && box.right > right + 1
            && document.elementFromPoint((box.left + right) / 2, box.y + box.height / 2) === chip)
        .map(([chip]) => chip.textContent);
}"""


@pytest.mark.parametrize("width", [900, 1000, 1400, 1900])
def test_spending_is_shown_in_full_and_a_truncated_queue_says_so(
    desk: Desk, sized: Callable[[int], None], width: int
) -> None:
    panel, (ann,) = desk.panel, desk.hire("ann")
    state = "rt[{0!r}]._journal.projection"
    spent = f"{state}.spent = {state}.spent.plus(Usage(123_456, 45_678), 0.0123).plus(None, None)"
    desk.notebook.kernel(spent.format(ann))
    desk.give(ann, *"012345")
    sized(width)
    row = panel.row(ann)
    for opened in (False, True):
        if opened:
            panel.open(ann)
        for text in ("≥ 123k + 45.7k", "≥ $0.0123"):
            cell = row.get_by_role("gridcell", name=text, exact=True)
            expect(cell).to_be_visible()
            inside, outside = cell.evaluate("cell => [cell.firstChild.scrollWidth, cell.firstChild.clientWidth]")
            assert inside <= outside
    chips = row.get_by_role("gridcell", name="5 queued").locator(":scope > *")
    assert chips.evaluate(CUT) == []
    expect(panel.details).to_contain_text(
        "tokens at least 123,456 + 45,678 · cost at least $0.0123, 1 run unknown so far"
    )


#: Record, in every frame from now on, the positions of these elements in the panel.
RECORD = """(root, parts) => {
    const boxes = window.wnbBoxes = parts.map(() => new Set());
    const look = () => {
        if (window.wnbBoxes !== boxes) return;
        const from = root.getBoundingClientRect();
        parts.forEach((part, at) => {
            const box = part.getBoundingClientRect();
            const numbers = [box.x - from.x, box.y - from.y, box.width, box.height];
            boxes[at].add(numbers.map(number => number.toFixed(1)).join(' '));
        });
        requestAnimationFrame(look);
    };
    look();
}"""


@pytest.mark.parametrize("width", [600, 1100])
@pytest.mark.parametrize("opened", [False, True])
def test_the_layout_does_not_shift_while_agents_work(
    desk: Desk, sized: Callable[[int], None], width: int, opened: bool
) -> None:
    panel, (ann, bob) = desk.panel, desk.hire("ann", "bob")
    sized(width)
    desk.give(ann, "first", "second", "third")
    if opened:
        panel.open(ann)
        expect(panel.queue).to_have_count(2)
    expect(panel.row(ann)).to_contain_text("#3")
    parts = {
        "filter": panel.root.get_by_label("Filter agents"),
        "grid": panel.root.get_by_role("grid"),
        "form": panel.root.locator("form.wnb-ask"),
    }
    panel.root.evaluate(RECORD, [part.element_handle() for part in parts.values()])
    for number in range(30):
        desk.lab.tell(ann, f"word-{number}", "and a longer piece of text after it, as models write it.")
        if opened:
            expect(panel.text).to_contain_text(f"word-{number}")
    desk.lab.tell(ann, ".")
    desk.give(bob, "first")
    expect(panel.row(ann)).to_contain_text("second")
    desk.lab.tell(ann, "!no more")
    desk.lab.tell(bob, ".")
    expect(panel.row(ann)).to_contain_text("third")
    expect(panel.row(bob)).to_contain_text("idle")
    desk.lab.tell(ann, ".")
    expect(panel.row(ann)).to_contain_text("idle")
    boxes = panel.page.evaluate(
        "() => { const boxes = wnbBoxes; window.wnbBoxes = null; return boxes.map(one => [...one]) }"
    )
    assert {name: where for name, where in zip(parts, boxes, strict=True) if len(where) > 1} == {}


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_no_serious_problem(desk: Desk, theme: str) -> None:
    panel, (ann, bob) = desk.panel, desk.hire("ann", "bob")
    set_theme(panel.page, theme)
    desk.give(ann, "zero", "first", "second", "third")
    desk.give(bob, "fails")
    desk.lab.tell(ann, ".", "words")
    desk.lab.tell(bob, "!no more")
    panel.open(ann)
    expect(panel.text).to_contain_text("words")
    expect(panel.row(bob)).to_contain_text("no more")
    found = serious(panel.root)
    set_theme(panel.page, "JupyterLab Light")
    assert found == []


def test_after_a_restart_the_panel_says_what_ended_with_the_kernel(
    lab: Lab, open_notebook: Callable[[str], Notebook]
) -> None:
    lab.write("restart.ipynb", TEAM, "hire('ann', 'bob'); [rt['ann'].submit(str(n)) for n in range(3)]", "%agents")
    notebook = open_notebook("restart.ipynb")
    notebook.command("notebook:run-all-cells")
    panel = view(notebook)
    expect(panel.row("ann")).to_contain_text("#3")
    restart = "async () => { await jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }"
    notebook.page.evaluate(restart)
    expect(panel.notice).to_contain_text(
        "The kernel has ended, and with it 2 agents, 1 run in progress and 2 queued runs. "
        "Run %load_ext whisper_nb and %agents again."
    )
    expect(panel.row("bob")).to_be_visible()
    notebook.run("%load_ext")
    notebook.run("%agents")
    expect(panel.root).to_contain_text("There are no agents yet")
    notebook.shut_down()


CLOSE_VIEWS = """() => {
    for (const one of [...jupyterapp.shell.widgets('main')])
        if (one.content?.node?.classList.contains('jp-LinkedOutputView')) one.dispose();
}"""


def test_the_panel_lives_in_a_tab_of_its_own(lab: Lab, open_notebook: Callable[[str], Notebook]) -> None:
    lab.write("tab.ipynb", TEAM, "hire('ann')", "%agents")
    notebook = open_notebook("tab.ipynb")
    notebook.command("notebook:run-all-cells")
    expect(view(notebook).row("ann")).to_be_visible()
    notebook.run("%agents")  # which makes its cell the current one
    expect(view(notebook).row("ann")).to_be_visible()
    notebook.command("notebook:create-output-view")
    tab = View(notebook.page.locator(".jp-LinkedOutputView").get_by_role("region", name="Team of agents"))
    expect(tab.row("ann")).to_be_visible()
    tab.ask("ann", "from the tab")
    expect(tab.row("ann")).to_contain_text("from the tab")
    lab.tell("ann", ".")
    expect(tab.row("ann")).to_contain_text("100 + 20")
    notebook.page.evaluate(CLOSE_VIEWS)
    notebook.shut_down()


def test_a_saved_notebook_shows_the_team_without_scripts(
    lab: Lab, browser: Browser, open_notebook: Callable[[str], Notebook]
) -> None:
    lab.write("static.ipynb", TEAM, "hire('ann', 'bob'); rt['ann'].submit('first')", "%agents", "print('after')")
    notebook = open_notebook("static.ipynb")
    notebook.command("notebook:run-all-cells")
    notebook.wait_until_idle()
    panel, static = view(notebook), notebook.output("%agents").locator("details")
    expect(static).to_be_visible()
    expect(static.get_by_role("table")).to_be_hidden()  # folded: the widget is there
    expect(panel.row("ann")).to_contain_text("running")
    lab.tell("ann", "!the provider is down")
    expect(static).to_contain_text("the provider is down")  # once the team rests
    expect(static.get_by_role("table")).to_be_hidden()
    static.locator("summary").click()
    expect(static.get_by_role("table")).to_contain_text("the provider is down")
    notebook.save()
    saved = lab.read("static.ipynb")
    (cell,) = [cell for cell in saved.cells if cell.source == "%agents"]
    assert len(cell.outputs) == 2
    assert "the provider is down" in cell.outputs[1].data["text/html"]
    assert "<details" in cell.outputs[1].data["text/html"]
    assert "the provider is down" in cell.outputs[1].data["text/plain"]
    notebook.shut_down()

    page = browser.new_context(java_script_enabled=False, offline=True).new_page()
    html, _ = HTMLExporter().from_notebook_node(saved)
    page.set_content(html, wait_until="domcontentloaded")
    expect(page.get_by_role("table").filter(has_text="the provider is down")).to_be_visible()
    page.context.close()
