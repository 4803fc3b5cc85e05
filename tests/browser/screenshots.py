"""Pictures of the panel and the form for the documentation: `python tests/browser/screenshots.py`.

A team of offline models at believable work, in a real JupyterLab. An hour of it takes seconds: its clock is put
forward.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import expect

from support.labs import (
    PROJECT,
    Lab,
    Notebook,
    View,
    chromium_path,
    new_context,
    open_notebook,
    running_browser,
    running_lab,
    set_theme,
    view,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator

IMAGES = PROJECT / "notebooks" / "images"
TEAM = '''
%load_ext whisper_nb
import asyncio, json, time
from dataclasses import dataclass
from msgspec.structs import replace
from pathlib import Path

import whisper_nb as wnb
from whisper_nb.core.messages import Finish, ReasoningDelta, UserMessage

rt, real, ahead = wnb.runtime(), time.time, [-280.0]
time.time = lambda: real() + ahead[0]

class Priced(wnb.ScriptedModel):
    """Reports tokens and cost like a real model."""

    async def stream(self, request):
        last = request.messages[-1]
        if isinstance(last, UserMessage) and last.text.startswith("Check"):
            yield ReasoningDelta(THOUGHT)
        async for delta in super().stream(request):
            if isinstance(delta, Finish):
                usage = replace(delta.usage, input_tokens=delta.usage.input_tokens * 31)
                delta = replace(delta, usage=usage, cost_usd=usage.input_tokens * 3e-6 + usage.output_tokens * 15e-6)
            yield delta

SLOW = {"tokens_per_second": 9}
CLEAN = """Of 48,211 rows, 1,304 have no station and 212 repeat a timestamp. I dropped the repeats, kept the newest of
each, and filled gaps of up to two hours by interpolation. Longer gaps stay empty, so that nobody mistakes a guess for
a measurement.
Station 14 drifts by about 0.3 °C a month from March on; I flagged it in `quality` and did not correct it. """
TREND = """The seasonal model explains 81 % of the variance. Residuals are autocorrelated at lag 24, so the standard
errors of the plain fit are too small by a third. """
FOUND = """Three reviews fit: two on calibration against a reference every six months, one on drift by humidity. The
newest reports a median drift of 0.4 °C in the first"""
THOUGHT = "The drift of station 14 began in March. Its neighbours tell a drift from the season."
CHECKED = """**The flag of station 14 is right.** Its neighbours have no trend, the difference grows by 0.31 °C a month:

| station | slope, °C a month | rows |
|---|---|---|
| 14 | 0.31 | 8,760 |
| 12 | 0.01 | 8,741 |
| 15 | −0.02 | 8,755 |

```python
drift = hourly[14] - hourly[[12, 15]].mean(axis=1)  # the season cancels out
slope = np.polyfit(drift.index.month, drift, deg=1)[0]
```

Keep `quality`, and say in the text *since when* it holds."""

def rows(station: int, since: str) -> str:
    "Return the hourly rows of a station, summed up."
    return f"station {station} since {since}: {8760 - station} rows, slope {0.31 if station == 14 else 0.01} °C a month"

def neighbours(station: int) -> str:
    "Return the nearest stations."
    return f"{station - 2}, {station + 1}"

@dataclass
class Verdict:
    station: int
    drifts: bool
    slope: float
    why: str

VERDICTS = [
    {"station": 12, "drifts": False, "slope": 0.01, "why": "as its neighbours"},
    {"station": 14, "drifts": True, "slope": 0.31, "why": "grows by 0.31 °C a month from March on"},
    {"station": 15, "drifts": False, "slope": -0.02, "why": "as its neighbours"},
]

RULES = [
    wnb.Rule("^Check", calls=[
        {"name": "neighbours", "arguments": {"station": 14}},
        {"name": "rows", "arguments": {"station": 14, "since": "2024-01-01"}},
    ]),
    wnb.Rule("slope|, ", CHECKED, role="tool"),
    wnb.Rule(
        "^Clean", " ".join(CLEAN.split()) + " Next: align the clocks, three stations send local time. " * 9, **SLOW
    ),
    wnb.Rule("^Fit", " ".join(TREND.split()) + " Next: Newey-West errors. " * 90, **SLOW),
    wnb.Rule("low-cost", " ".join(FOUND.split()) + " year", truncate=29),
    wnb.Rule("^Judge", "I would say that station 14 drifts.", times=1),
    wnb.Rule("^(Judge|Your answer)", json.dumps({"answer": VERDICTS})),
    wnb.Rule("^Search", error="the provider refuses: rate limit of 10 requests a minute (HTTP 429)"),
    wnb.Rule("", "Done: the summary is in the notebook, with the three points that need a decision."),
]
WHO = [
    ("mira", "Data engineer", "🧹", "#2F7DE1", "openai/gpt-4o-mini"),
    ("noor", "Statistician", "📐", "#8e44ad", "anthropic/claude-sonnet-4-5"),
    ("leo", "Charts", "📊", "#e67e22", "openai/gpt-4o-mini"),
    ("kai", "Literature", "📚", "#5f8a3a", "gemini/gemini-2.5-flash"),
    ("iris", "Reviewer", "🔍", "#0e8f7e", "anthropic/claude-sonnet-4-5"),
    ("theo", "Writer", "✏️", "#c0392b", "mistral/mistral-small-latest"),
]
for name, title, icon, color, model in WHO:
    rt.models[model] = Priced(RULES)
    rt.create(wnb.Agent(name=name, title=title, icon=icon, color=color, config=model, tools=(rows, neighbours)))
quick = Priced([wnb.Rule(delay_s=0.15, reply="Done, and checked against the raw files. " * 6)])
rt.set_budget(usd=2.0)
usual = {model: rt.models._named[model] for *_, model in WHO}
'''
HISTORY = """
rt.models._named.update(dict.fromkeys(usual, quick))
days = ["mira noor", "mira leo kai", "kai iris", "noor iris theo", "mira noor", "leo theo iris", "noor mira kai"]
days += ["iris leo mira", "mira noor theo", "mira kai leo", "noor iris"]
for number, names in enumerate(days):
    runs = [rt[name].submit(f"Look through part {number + 1} of the station data") for name in names.split()]
    await asyncio.sleep(0.08)
    ahead[0] += 9 + number * 7 % 17
    await asyncio.gather(*runs)
    ahead[0] += 4 + number * 5 % 11
rt.models._named.update(usual)
"""
WORK = """
ahead[0] = 0.0
rt["mira"].submit("Clean the hourly temperatures of all 32 stations, and say what you changed")
fit = rt["noor"].submit("Fit a trend with a seasonal part, and check the residuals")
rt["leo"].submit(["Plot the trend of each station with its error, from: ", fit])
failed = rt["kai"].submit("Search for studies of urban heat in towns below 50,000 people")
await asyncio.sleep(0.3)  # until they are at it
for prompt, priority in (
    ("Station 14 sends nonsense since noon: find out what and since when", "urgent"),
    ("Join the stations with the land-use table", "high"),
    ("Write the cleaned data to Parquet, a file per year", "normal"),
    ("Describe every column in a table", "low"),
):
    rt["mira"].submit(prompt, priority=priority)
rt["noor"].submit("Compare with the five rural stations", priority="high")
rt["theo"].pause()
rt["theo"].submit("Draft the methods section from the log")
"""
FAILURES = """
for what in ("heat islands in small towns", "drift of low-cost sensors"):
    rt["kai"].submit(f"Search for reviews of {what}")
"""
#: Agents that a restart of the kernel ends.
LEFT = """
for name in ("mira", "noor", "leo"):
    rt.create(wnb.Agent(name=name, config="openai/gpt-4o-mini"))
for prompt in ("Clean the temperatures of all stations", "Join them with the land-use table", "Describe every column"):
    rt["mira"].submit(prompt)
"""
BLOCKS = "while not Path('go.txt').exists(): time.sleep(0.05)"
#: Five minutes of a team, in twelve seconds: its clock is 25 times as fast, until `pace(1)`.
DAY = '''
start, speed, work_s = [real() - 3, real() - 300], [25.0], [0.3]
time.time = lambda: start[1] + (real() - start[0]) * speed[0]

def pace(times):
    start[:], speed[:] = [real(), time.time()], [times]

async def rows(station: int) -> int:
    """Count the rows of a station."""
    await asyncio.sleep(work_s[0])
    return 1304

CALL = [{"name": "rows", "arguments": {"station": 14}}]
DONE = "Done: the summary is in the notebook, with the three points that need a decision."
for name, title, icon, color, _ in WHO:
    rules = [wnb.Rule("^Search", error="the provider refuses: rate limit", delay_s=0.3)]
    rules += [wnb.Rule("^Count", calls=CALL, reply="Let me see.", delay_s=0.3, role="user")]
    rules += [wnb.Rule("^Read", error="overloaded", retryable=True, delay_s=0.1, times=2)]
    rules += [wnb.Rule("^Write", DONE * 60, tokens_per_second=40), wnb.Rule("^(Fit|Review|Draft)", DONE, delay_s=1.4)]
    model = f"offline/{name}"
    rt.models[model] = Priced([*rules, wnb.Rule("", DONE, delay_s=0.6)])
    rt.create(wnb.Agent(name=name, title=title, icon=icon, color=color, config=model, tools=(rows,)))

async def over(*runs):
    await asyncio.gather(*runs, return_exceptions=True)

for part in ("north", "south", "coast"):
    clean = rt["mira"].submit(f"Count and clean the temperatures of the stations in the {part}")
    fit = rt["noor"].submit(f"Fit a trend for the {part}, with a seasonal part")
    read = rt["kai"].submit("Read the abstracts of the last year")
    await asyncio.sleep(0.4)
    plot = rt["leo"].submit(["Plot the trend of each station with its error: ", fit])
    review = rt["iris"].submit(f"Review the plan for the {part}")
    await over(clean, plot, read, review)
    draft = rt["theo"].submit("Draft the methods section")
    check = rt["iris"].submit(["Check the numbers in ", draft])
    rt["kai"].submit("Search for studies of urban heat")
    runs = [rt["mira"].submit(f"Join table {number}") for number in range(3)]
    outliers, map_ = rt["noor"].submit("Count the outliers"), rt["leo"].submit("Draft the map of the stations")
    await over(runs[0])
    if part == "south":
        map_.cancel()
    await over(*runs, outliers, map_, check)
work_s[0] = 60
rt["mira"].submit("Write the cleaned data to Parquet, a file per year")
drift = rt["noor"].submit("Count the stations that drift")
rt["leo"].submit("Write the captions of all figures")
rt["theo"].submit(["Write the results section from ", drift])
await asyncio.sleep(0.8)
pace(1.0)
'''
FORM = {
    "Name": "mira",
    "System prompt": "You clean measurements.\nSay what you change, and never guess a value.",
    "Icon": "🧹",
    "Color": "#0e8f7e",
    "Title": "Data engineer",
    "Description": "Cleans and joins tables.",
}
TOOLS = """%load_ext whisper_nb
from dataclasses import dataclass
@dataclass
class Gap:
    table: str
    hours: float
def gaps(table: str, hours: int = 2) -> list[str]:
    "Find the gaps in a table that are longer than some hours."
    return []
def rows(path: str) -> int:
    "Count the rows of a file."
    return 0"""


def main() -> None:
    path = chromium_path()
    if path is None:
        sys.exit("no Chromium here: install one (make chromium), then run this again")
    if not subprocess.run(["fc-list", ":lang=und-zsye"], capture_output=True, check=False).stdout:
        sys.exit("no font with emoji here, which icons need: install fonts-noto-color-emoji, then run this again")
    IMAGES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home, running_lab(Path(home)) as lab, running_browser(path) as browser:
        panels(lab, browser)
        timelines(lab, browser)
        forms(lab, browser)


def panels(lab: Lab, browser: Browser) -> None:
    lab.write("team.ipynb", TEAM, "%agents", HISTORY, WORK, FAILURES, BLOCKS)
    notebook = opened(lab, browser, "team.ipynb")
    for source in ("class Priced", "%agents", "days =", "ahead[0] = 0.0"):
        notebook.run(source)
    panel = view(notebook)
    expect(panel.row("mira")).to_contain_text("#")
    expect(panel.row("kai")).to_contain_text("rate limit")
    panel.open("mira")
    expect(panel.text).to_contain_text("Station 14 drifts")
    both(notebook, panel.root, "panel")
    notebook.run("go.txt")
    expect(panel.notice).to_contain_text("busy")
    picture(panel.root, "panel-busy")
    lab.tell("go", "on")
    expect(panel.notice).not_to_contain_text("busy")
    notebook.run("for what in")
    panel.open("kai")
    expect(panel.details).to_contain_text("drift of low-cost sensors")
    picture(panel.root, "panel-error")
    panel.button("Close details").click()
    transcripts(notebook, panel)
    contrasts(notebook, panel)
    typed(notebook, panel)
    notebook.kernel("[rt.remove(one.name) for one in rt.sessions]")
    expect(panel.root).to_contain_text("There are no agents yet")
    picture(panel.root, "panel-empty")
    notebook.kernel(LEFT)
    expect(panel.root).to_contain_text("2 queued")
    notebook.page.evaluate(
        "async () => { await jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart() }"
    )
    expect(panel.notice).to_contain_text("The kernel has ended, and with it 3 agents")
    picture(panel.root, "panel-ended")
    notebook.shut_down()


def timelines(lab: Lab, browser: Browser) -> None:
    """The timeline with the pointer on a run, live and as a still."""
    lab.write("timeline.ipynb", TEAM, "%agents", DAY, "%agent timeline")
    notebook = opened(lab, browser, "timeline.ipynb")
    for source in ("class Priced", "%agents", "pace(1.0)"):
        notebook.run(source)
    panel = view(notebook)
    panel.button("Timeline").click()
    lanes = panel.root.get_by_role("listbox", name="Timeline")
    expect(lanes.get_by_role("option", name="theo: waiting")).to_be_visible()
    lanes.get_by_role("option", name="noor:").focus()
    for _ in range(3):
        notebook.page.keyboard.press("ArrowLeft")
    expect(panel.root.get_by_role("tooltip")).to_contain_text("noor#")
    both(notebook, panel.root, "timeline")
    notebook.run("%agent timeline")
    still = notebook.output("%agent timeline").locator("img")
    expect(still).to_be_visible()
    picture(still, "timeline-still")
    panel.button("Agents").click()
    notebook.shut_down()


def transcripts(notebook: Notebook, panel: View) -> None:
    """A run with tool calls, and then an answer with code."""
    run = notebook.kernel(
        "run = rt['iris'].submit('Check the flag of station 14 against its neighbours'); await run; print(run.id)"
    ).strip()
    panel.open("iris")
    panel.button(run).first.click()
    shown = panel.root.get_by_role("complementary", name="Transcript")
    expect(shown).to_contain_text("The flag of station 14 is right.")
    for text in ("Thoughts", "rows(station=14"):
        shown.locator("summary", has_text=text).click()
    shown.evaluate("shown => { shown.style.height = '780px' }")
    both(notebook, panel.root, "panel-transcript")
    shown.get_by_role("button", name="Close transcript").click()


def typed(notebook: Notebook, panel: View) -> None:
    """A typed answer, which was asked for twice."""
    run = notebook.kernel(
        "run = rt['iris'].submit('Judge stations 12, 14 and 15', output_type=list[Verdict]); await run; print(run.id)"
    ).strip()
    panel.open("iris")
    panel.button(run).first.click()
    shown = panel.root.get_by_role("complementary", name="Transcript")
    expect(shown.get_by_role("table")).to_be_visible()
    shown.evaluate("shown => { shown.style.height = '477px' }")
    picture(panel.root, "panel-typed")
    shown.get_by_role("button", name="Close transcript").click()


def contrasts(notebook: Notebook, panel: View) -> None:
    """The list in themes of high contrast, with the system's own colors, and at 800 pixels."""
    panel.open("mira")
    expect(panel.row("leo")).to_contain_text("waiting for noor#")
    set_theme(notebook.page, "JupyterLab Dark High Contrast")
    picture(panel.root, "panel-contrast")
    set_theme(notebook.page, "JupyterLab Light")
    notebook.page.emulate_media(forced_colors="active")
    picture(panel.root, "panel-forced-colors")
    notebook.page.emulate_media(forced_colors="none")
    panel.button("Close details").click()
    panel.root.evaluate("root => { root.parentElement.style.width = '800px' }")
    expect(panel.root).to_have_attribute("data-width", "medium")
    picture(panel.root, "panel-800")
    panel.root.evaluate("root => { root.parentElement.style.width = '' }")


def forms(lab: Lab, browser: Browser) -> None:
    (lab.root / "crew" / "agents").mkdir(parents=True)  # a project of its own
    lab.write("crew/form.ipynb", TOOLS, "%agent new")
    notebook = opened(lab, browser, "crew/form.ipynb")
    notebook.page.set_viewport_size({"width": 1280, "height": 1000})
    notebook.command("notebook:run-all-cells")
    form = notebook.output("%agent new").get_by_role("form")
    expect(form.get_by_label("Name", exact=True)).to_be_visible()
    both(notebook, form, "form-empty")
    form.locator("summary").filter(has_text="Answers").click()
    form.get_by_label("Type of answers", exact=True).fill("list[Gap]")
    form.locator("summary").filter(has_text="Answers").click()
    for title in ("Tools", "Look"):
        form.locator("summary").filter(has_text=title).click()
    for label, text in FORM.items():
        form.get_by_label(label, exact=True).fill(text)
    form.get_by_role("checkbox", name="gaps").check()
    expect(form.get_by_label("Python", exact=True)).to_contain_text("(gaps,)")
    form.get_by_role("button", name="Create", exact=True).click()
    expect(form).to_contain_text("mira is ready")
    form.locator("summary").filter(has_text="Look").click()
    form.locator(".wnf-fields").evaluate("element => { element.scrollTop = 0 }")
    both(notebook, form, "form")
    form.locator("summary").filter(has_text="Look").click()
    form.get_by_label("Color", exact=True).fill("turquois")
    form.get_by_role("button", name="Create", exact=True).click()
    expect(form).to_contain_text("To correct: Color")
    picture(form, "form-error")
    form.get_by_label("Color", exact=True).fill("turquoise")
    form.get_by_role("button", name="Save", exact=True).click()
    expect(form).to_contain_text("mira is saved in")
    notebook.page.set_viewport_size({"width": 420, "height": 1000})
    picture(form, "form-narrow")
    notebook.shut_down()


def opened(lab: Lab, browser: Browser, path: str) -> Notebook:
    looks = {"viewport": {"width": 1500, "height": 1400}, "device_scale_factor": 1.25}
    notebook = open_notebook(new_context(browser, **looks), f"{lab.url}/lab/tree/{path}?reset&token={lab.token}")
    notebook.command("application:toggle-left-area")
    return notebook


def both(notebook: Notebook, element: Locator, name: str) -> None:
    """A picture in each theme."""
    for theme in ("Light", "Dark"):
        set_theme(notebook.page, f"JupyterLab {theme}")
        picture(element, f"{name}-{theme.lower()}")
    set_theme(notebook.page, "JupyterLab Light")


def picture(element: Locator, name: str) -> None:
    """A picture of the whole element."""
    element.screenshot(path=IMAGES / f"{name}.png", animations="disabled")


if __name__ == "__main__":
    main()
