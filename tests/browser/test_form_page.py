"""The form for a new agent, in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from support.labs import Lab, Notebook, serious, set_theme

pytestmark = pytest.mark.browser
WORK = """%load_ext whisper_nb
import enum

def rows(path: str) -> int:
    "Count the rows."
    return 3

class Verdict(enum.Enum):
    FITS = "fits"
"""
CELLS = (
    WORK,
    "%agent new",
    "%agents",
    "def plot(column: str) -> None:\n    'Draw a column.'",
    "import os, time\nwhile not os.path.exists('go.txt'): time.sleep(0.02)",
)
#: Whether an element is inside the part of the notebook that the page shows.
IN_VIEW = """bar => {
    const box = bar.getBoundingClientRect();
    const outer = bar.closest('.jp-WindowedPanel-outer').getBoundingClientRect();
    return outer.top <= box.top && box.bottom <= outer.bottom + 1;
}"""


def form_in(notebook: Notebook) -> Locator:
    """The form below `%agent new`."""
    return notebook.output("%agent new").get_by_role("form", name="New agent")


def field(form: Locator, label: str) -> Locator:
    """The input with this label."""
    return form.get_by_label(label, exact=True)


def note(form: Locator, label: str) -> Locator:
    """The note below the input with this label."""
    return field(form, label).locator("xpath=ancestor::*[@data-as]").get_by_role("status")


def button(form: Locator, name: str) -> Locator:
    return form.get_by_role("button", name=name, exact=True)


def section(form: Locator, title: str) -> Locator:
    """The heading that unfolds a section."""
    return form.locator("summary").filter(has_text=title)


@pytest.fixture
def notebook(lab: Lab, open_notebook: Callable[[str], Notebook], request: pytest.FixtureRequest) -> Notebook:
    """A notebook with a form, in a project of its own."""
    folder = f"crew-{request.node.name}"
    (lab.root / folder / "agents").mkdir(parents=True)
    lab.write(f"{folder}/form.ipynb", *CELLS)
    notebook = open_notebook(f"{folder}/form.ipynb")
    for source in CELLS[:3]:
        notebook.run(source)
    expect(field(form_in(notebook), "Name")).to_be_visible()
    return notebook


def test_an_agent_is_created_and_saved_in_the_form(lab: Lab, notebook: Notebook) -> None:
    form = form_in(notebook)
    # A problem is shown beside its field while the user types. Create goes to it, in its folded section.
    name = field(form, "Name")
    name.press_sequentially("bob the builder")
    expect(note(form, "Name")).to_contain_text("name 'bob the builder'")
    name.fill("bob")
    expect(note(form, "Name")).to_be_empty()
    section(form, "Memory and limits").click()
    turns = field(form, "Model calls per run")
    turns.press_sequentially("0")
    expect(note(form, "Model calls per run")).to_contain_text(re.compile("max_turns.*at least 1"))
    expect(turns).to_have_attribute("aria-invalid", "true")
    section(form, "Memory and limits").click()
    expect(section(form, "Memory and limits")).to_contain_text("1 to correct")
    button(form, "Create").click()
    expect(form).to_contain_text("To correct: Model calls per run")
    expect(turns).to_be_focused()
    turns.fill("5")
    expect(turns).not_to_have_attribute("aria-invalid", "true")
    field(form, "System prompt").fill("You build.\nBriefly.")

    yaml, python = field(form, "YAML"), field(form, "Python")
    expect(yaml).to_contain_text("max_turns: 5")
    expect(yaml).to_contain_text("You build.")
    expect(python).to_contain_text("name='bob'")
    button(form, "Create").click()
    expect(form).to_contain_text("bob is ready; answers with offline/echo")
    row = notebook.output("%agents").get_by_role("row").filter(has_text="bob")
    expect(row).to_contain_text("idle")

    file = next(lab.root.glob("crew-*saved_in_the_form*")) / "agents" / "bob.yaml"
    button(form, "Save").click()
    expect(form).to_contain_text(f"bob is saved in {file}")
    before = file.read_text()
    section(form, "Look").click()
    field(form, "Description").fill("He builds.")
    expect(yaml).to_contain_text("He builds.")
    for answer in ("Keep as it is", "Overwrite"):
        assert file.read_text() == before
        button(form, "Save").click()
        expect(form).to_contain_text(f"{file} exists.")
        button(form, answer).click()
        expect(button(form, "Overwrite")).to_be_hidden()
    expect(form).to_contain_text("bob is saved in")
    assert "He builds." in file.read_text()
    assert [text for text in notebook.complaints if "whisper" in text.lower()] == []


def test_functions_models_icons_and_colors_are_chosen(notebook: Notebook) -> None:
    form = form_in(notebook)
    python = field(form, "Python")
    field(form, "Name").fill("amy")
    section(form, "Tools").click()
    form.get_by_role("checkbox", name="rows").check()
    expect(field(form, "Functions by name")).to_have_value("rows")
    expect(form).to_contain_text("Count the rows.")
    notebook.run("def plot")  # a cell that defines another
    form.get_by_role("checkbox", name="plot").check()
    expect(python).to_contain_text("tools=(rows, plot)")
    field(form, "Functions by name").fill("plot, gone")
    expect(note(form, "Functions by name")).to_contain_text("tool 'gone' is not defined in this notebook")
    expect(form.get_by_role("checkbox", name="rows")).not_to_be_checked()
    field(form, "Functions by name").fill("plot")

    model = field(form, "Model")
    model.fill("claude haiku")
    option = form.get_by_role("option", name="anthropic/claude-haiku")
    expect(option).to_contain_text("in, $")
    expect(option).to_contain_text("context · ANTHROPIC_API_KEY is not set")
    model.press("ArrowDown")
    expect(option).to_have_attribute("aria-selected", "true")
    model.press("Enter")
    expect(model).to_have_value("anthropic/claude-haiku-4-5")
    expect(form.get_by_role("listbox")).to_be_hidden()
    expect(note(form, "Model")).to_contain_text("ANTHROPIC_API_KEY is not set")

    section(form, "Answers").click()
    types = field(form, "Type of answers")
    names = f"#{types.get_attribute('list')} option"
    assert form.locator(names.replace(".", "\\.")).evaluate_all("all => all.slice(0, 2).map((one) => one.value)") == [
        "Verdict",
        "list[Verdict]",
    ]
    types.fill("list[Verdickt]")
    expect(note(form, "Type of answers")).to_contain_text("output type 'Verdickt' is not defined in this notebook")
    types.fill("list[Verdict]")
    expect(python).to_contain_text("output_type=list[Verdict]")

    section(form, "Look").click()
    button(form, "📊").click()
    button(form, "#0e8f7e").click()
    expect(python).to_contain_text("icon='📊'")
    expect(python).to_contain_text("color='#0e8f7e'")
    form.get_by_label("Pick any color").fill("#112233")
    expect(python).to_contain_text("color='#112233'")
    field(form, "Color").fill("teal")
    expect(form.get_by_label("Pick any color")).to_have_value("#008080")


def test_create_and_save_are_in_view_in_one_or_two_columns(notebook: Notebook) -> None:
    form, page = form_in(notebook), notebook.page
    bar, size = form.locator(".wnf-bar"), page.viewport_size
    assert size
    for title in ("Look", "Memory and limits", "Sampling", "Advanced"):
        section(form, title).click()
    notebook.command("application:toggle-left-area")
    try:
        for width, height, columns in ((1280, 700, 2), (800, 700, 1), (400, 700, 1)):
            page.set_viewport_size({"width": width, "height": height})
            for label in ("Name", "Title", "Extra parameters"):
                field(form, label).scroll_into_view_if_needed()
                page.wait_for_function(IN_VIEW, arg=bar.element_handle())
            boxes = form.locator(".wnf-fields, .wnf-previews").evaluate_all("all => all.map((one) => one.offsetLeft)")
            assert len(set(boxes)) == columns
            assert form.evaluate("one => one.scrollWidth <= one.clientWidth")
    finally:
        page.set_viewport_size(size)
        notebook.command("application:toggle-left-area")


def test_the_keyboard_is_enough(notebook: Notebook) -> None:
    form, page = form_in(notebook), notebook.page
    field(form, "Name").focus()
    page.keyboard.type("amy")
    for label in ("System prompt", "Model"):
        page.keyboard.press("Tab")
        expect(field(form, label)).to_be_focused()
    page.keyboard.press("Tab")
    expect(section(form, "Tools")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(form.get_by_role("checkbox", name="rows")).to_be_checked()
    button(form, "Create").press("Enter")
    expect(form).to_contain_text("amy is ready")
    section(form, "Sampling").press("Enter")
    field(form, "Seed").fill("x")
    button(form, "Create").press("Enter")
    expect(field(form, "Seed")).to_be_focused()


def test_the_form_is_accessible_in_every_theme(notebook: Notebook) -> None:
    form = form_in(notebook)
    for title in ("Tools", "Answers", "Look", "Memory and limits", "Sampling", "Advanced"):
        section(form, title).click()
    field(form, "Seed").fill("x")
    field(form, "Model").click()
    expect(note(form, "Seed")).to_contain_text("seed 'x'")
    for theme in ("JupyterLab Dark High Contrast", "JupyterLab Dark", "JupyterLab Light"):
        set_theme(notebook.page, theme)
        assert serious(form) == []


def test_the_form_follows_when_a_cell_ends_and_says_so_if_the_kernel_does(lab: Lab, notebook: Notebook) -> None:
    form, notice = form_in(notebook), form_in(notebook).locator(".wnf-notice")
    notebook.run("while not")
    field(form, "Name").fill("amy")
    expect(notice).to_contain_text("The kernel is busy with a cell")
    next(lab.root.glob("crew-*if_the_kernel_does*")).joinpath("go.txt").write_text("on")
    expect(notice).to_be_hidden()
    expect(field(form, "Python")).to_contain_text("name='amy'")
    notebook.page.evaluate("async () => { await jupyterapp.shell.currentWidget.sessionContext.shutdown() }")
    button(form, "Create").click()
    expect(notice).to_contain_text("No kernel answers")
