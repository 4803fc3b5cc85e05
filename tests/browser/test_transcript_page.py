"""A run's transcript in the panel, in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import expect

from support.labs import TEAM, Lab, Notebook, View, open_notebook, serious, set_theme, view

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Locator

pytestmark = pytest.mark.browser

ANSWER = """# Result

The **mean** is `12.5`, see [the docs](https://x.example/) and [this](javascript:alert(1)) <img src=x onerror=hit()>

```python
def mean(xs):
    return sum(xs) / len(xs)
```
"""
WORK = f"""
import asyncio

def look(table: str) -> str:
    "Look."
    return f"{{table}}: 12 rows <b>bold</b>"

from whisper_nb.core.messages import ReasoningDelta, CallDelta

class Thinks:
    context_tokens = None
    def count_tokens(self, messages, tools=()): return 1
    async def stream(self, request):
        if not any(type(one).__name__ == "ToolMessage" for one in request.messages[-1:]):
            yield ReasoningDelta("I should look first.")
            yield CallDelta(0, "c1", "look", '{{"table": "orders"}}')
            yield Finish("tool_calls", Usage(1200, 56), 0.0021)
            return
        text = {ANSWER!r}
        prompts = [one.text for one in request.messages if type(one).__name__ == "UserMessage"]
        if "much" in prompts[-1]:
            text = "word " * 20_000
        yield TextDelta(text)
        yield Finish("stop", Usage(1300, 20), 0.0022)
    async def prepare(self): pass
    async def aclose(self): pass

rt.models["offline/ann"] = Thinks()
rt.create(wnb.Agent(name="ann", config="offline/ann", tools=(look,), system_prompt="Be careful."))
"""


@pytest.fixture(scope="module")
def notebook(lab: Lab, context: BrowserContext) -> Iterator[Notebook]:
    lab.write("transcript.ipynb", TEAM, WORK, "%agents")
    url = f"{lab.url}/lab/workspaces/transcript/tree/transcript.ipynb?reset&token={lab.token}"
    notebook = open_notebook(context, url)
    notebook.command("notebook:run-all-cells")
    expect(view(notebook).root).to_be_visible()
    yield notebook
    assert [text for text in notebook.complaints if "wnb" in text or "whisper" in text.lower()] == []
    notebook.shut_down()
    notebook.page.close()


@pytest.fixture
def panel(notebook: Notebook) -> View:
    """The panel, with a run of ann that has ended, and nothing open."""
    panel = view(notebook)
    notebook.kernel("await rt['ann'].submit('Count the rows')")
    while panel.root.get_by_role("button", name=re.compile("Close")).locator("visible=true").count():
        panel.root.get_by_role("button", name=re.compile("Close")).locator("visible=true").first.click()
    return panel


def transcript(panel: View) -> Locator:
    return panel.root.get_by_role("complementary", name="Transcript")


def opened(notebook: Notebook, panel: View) -> tuple[str, Locator]:
    """Open the newest run of ann. Return its id and its transcript."""
    run = notebook.kernel("print(rt['ann'].runs[-1].id)").strip()
    panel.open("ann")
    panel.button(run).first.click()
    shown = transcript(panel)
    expect(shown).to_contain_text("succeeded")
    return run, shown


def test_a_run_opens_to_its_messages_calls_thoughts_and_costs(notebook: Notebook, panel: View) -> None:
    run, shown = opened(notebook, panel)
    expect(shown).to_be_focused()
    expect(panel.details).to_be_hidden()
    for text in (
        run,
        "succeeded",
        "2,500 + 76 tokens",
        "$0.0043",
        "Count the rows",
        "Reply 1 · 1,200 + 56 tokens · $0.0021",
    ):
        expect(shown).to_contain_text(text)
    expect(shown.get_by_text("I should look first.")).to_be_hidden()
    shown.get_by_text("Thoughts").click()
    expect(shown.get_by_text("I should look first.")).to_be_visible()
    shown.get_by_text('✓ look(table="orders")').click()
    expect(shown.locator("pre", has_text="12 rows <b>bold</b>")).to_be_visible()
    expect(shown.get_by_role("heading", name="Result", level=1)).to_be_visible()
    expect(shown.locator(".wnb-code-keyword", has_text="def")).to_be_visible()
    expect(shown.get_by_role("link")).to_have_count(1)
    assert shown.get_by_role("link").get_attribute("rel") == "noopener noreferrer"
    expect(shown.locator("img, script, [onerror]")).to_have_count(0)
    shown.get_by_role("button", name="Markdown").click()
    expect(shown).to_contain_text("**mean**")
    expect(shown.get_by_role("heading", name="Result", level=1)).to_be_hidden()
    shown.get_by_role("button", name="Markdown").click()


def test_the_request_is_shown_and_run_again_submits_the_prompt(notebook: Notebook, panel: View) -> None:
    run, shown = opened(notebook, panel)
    shown.get_by_role("button", name="Raw request").click()
    raw = shown.get_by_label("Raw request", exact=True).and_(shown.locator("pre"))
    expect(raw).to_contain_text('"role": "system"')
    expect(raw).to_contain_text('"content": "Be careful."')
    shown.get_by_role("button", name="Raw request").click()
    expect(raw).to_have_count(0)
    shown.get_by_role("button", name="Run again").click()
    expect(panel.notice).to_contain_text(f"the prompt of {run} again")
    shown.get_by_role("button", name="Back to the agent").click()
    number = int(run.partition("#")[2]) + 1
    expect(panel.details).to_contain_text(f"ann#{number} succeeded")


def test_a_long_answer_comes_in_pieces(notebook: Notebook, panel: View) -> None:
    notebook.kernel("await rt['ann'].submit('Say much')")
    _, shown = opened(notebook, panel)
    more = shown.get_by_role("button", name="more characters")
    for rest in ("94,000", "64,000", "34,000", "4,000"):  # a click counts once the piece before is there
        expect(more).to_contain_text(re.compile(rf"\b{rest} more characters"))
        more.click()
    expect(more).to_have_count(0)
    assert shown.evaluate("shown => shown.textContent.split('word').length") >= 20_000


def test_code_and_answers_are_copied(notebook: Notebook, panel: View) -> None:
    notebook.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    _, shown = opened(notebook, panel)
    for name, text in (("Copy the code", "def mean(xs):\n    return sum(xs) / len(xs)\n"), ("Copy the answer", ANSWER)):
        button = shown.get_by_role("button", name=name)
        button.click()
        expect(button).to_have_text("Copied")
        assert notebook.page.evaluate("navigator.clipboard.readText()") == text


def test_a_transcript_works_with_the_keyboard_only(notebook: Notebook, panel: View) -> None:
    run = notebook.kernel("print(rt['ann'].runs[-1].id)").strip()
    panel.open("ann")
    expect(panel.button(run).first).to_be_visible()
    press = panel.page.keyboard.press
    panel.button(run).first.focus()
    press("Enter")
    shown = transcript(panel)
    expect(shown).to_be_focused()
    summary = shown.locator("summary", has_text="look(")
    expect(summary).to_be_visible()
    for _ in range(20):
        press("Tab")
        if summary.evaluate("one => one === document.activeElement"):
            break
    press("Enter")
    expect(shown.locator("pre", has_text="12 rows")).to_be_visible()
    press("Escape")
    expect(shown).to_be_hidden()
    expect(panel.details).to_be_focused()
    press("Escape")
    expect(panel.details).to_be_hidden()


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark", "JupyterLab Dark High Contrast"])
def test_axe_finds_no_serious_problem_in_a_transcript(notebook: Notebook, panel: View, theme: str) -> None:
    set_theme(panel.page, theme)
    _, shown = opened(notebook, panel)
    expect(shown).to_contain_text("Reply 2")
    for summary in shown.locator("summary").all():
        summary.click()
    shown.get_by_role("button", name="Raw request").click()
    expect(shown).to_contain_text("compared by its fingerprint")
    found = serious(panel.root)
    set_theme(panel.page, "JupyterLab Light")
    assert found == []


def test_a_run_that_streams_is_shown_as_it_comes(lab: Lab, open_notebook: Callable[[str], Notebook]) -> None:
    lab.write("live.ipynb", TEAM, "hire('bob'); rt['bob'].submit('Tell me')", "%agents")
    notebook = open_notebook("live.ipynb")
    notebook.command("notebook:run-all-cells")
    panel = view(notebook)
    panel.open("bob")
    panel.button("bob#1").first.click()
    shown = transcript(panel)
    for said in ("one", "one two"):
        lab.tell("bob", said.split()[-1])
        expect(shown.get_by_label("Reply in progress")).to_contain_text(said)
    lab.tell("bob", ".")
    expect(shown).to_contain_text("Reply 1 · 100 + 20 tokens")
    expect(shown.get_by_label("Reply in progress")).to_be_hidden()
    notebook.kernel("rt['bob'].submit('Once more')")
    lab.tell("bob", "half an answer", "!the provider is down")
    panel.button("Back to the agent").click()
    panel.button("bob#2").first.click()
    for said in ("Incomplete reply", "half an answer", "failed: the provider is down"):
        expect(shown.get_by_role("listitem").last).to_contain_text(said)
    notebook.shut_down()
