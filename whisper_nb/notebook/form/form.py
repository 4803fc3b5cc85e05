"""The creation form: what is typed is checked at once, and shown as the YAML and the Python that say the same agent.

What is typed is hostile, and any message of a front end may set what it likes of a widget. So text is escaped where it is
shown, and nothing is done because a button could be clicked: what the fields say is read and checked again.
"""

from __future__ import annotations

import html
import os
import re
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import ipywidgets

from ...config.agentfiles import FindTool
from ...config.agents import Agent
from ...config.aiconfig import missing_key
from ...config.files import AGENTS
from ...config.keys import Keys
from ...config.kinds import problem_with
from ...config.promptfiles import FOLDER, Prompts
from ...config.providers import PROVIDERS, canonical, known_models
from ...core.errors import ConfigError, Problem, SessionError, WhisperError
from ...engine.home import Home
from ...engine.runtimes import Runtime
from ..create import create
from .draft import FIELDS, NAME, TOOLS, Draft, Path, field_of, python_of, yaml_of

#: A model → the fields of AIConfig that it takes; None where nobody knows.
Takes = Callable[[str], frozenset[str] | None]

MODEL, PROMPT = ("config", "model"), ("system_prompt",)
_WHO: tuple[Path, ...] = (NAME, ("title",), ("role",), ("description",), ("icon",), ("color",))
_LIMITS: tuple[Path, ...] = (TOOLS, ("max_turns",), ("timeout_s",))
KEY: Path = ("config", "api_key")
_PLACE: tuple[Path, ...] = (("config", "api_base"), KEY)
#: What an offline model has no use for.
_PARAMS = tuple(path for path in FIELDS if path[0] == "config" and path != MODEL)
#: The first of them to be offered; the others are folded up.
_FIRST: tuple[Path, ...] = (("config", "temperature"), ("config", "max_tokens"))
#: Of all, what goes to the model, where it takes that.
_SENT = {"temperature", "top_p", "max_tokens", "max_reasoning_tokens", "frequency_penalty", "presence_penalty", "stop", "seed"}  # fmt: skip
_HINTS: dict[Path, str] = {
    NAME: "bob",
    ("title",): "Bob the Builder",
    ("role",): "a word or two: planner",
    ("description",): "one line for people, not for the model",
    ("icon",): "an emoji",
    ("color",): "#2F7DE1 or teal",
    PROMPT: "Who the agent is. Empty: a short standard text.",
    TOOLS: "functions of this notebook: rows, plot",
    ("timeout_s",): "seconds for one run",
    ("config", "timeout_s"): "seconds for one model call",
    ("config", "token_timeout_s"): "seconds from one token to the next",
    ("config", "stop"): "END, or [END, STOP]",
    ("config", "extra"): "of the provider's own: {top_k: 40}",
}
_ERROR, _QUIET = "var(--jp-error-color1, #b00020)", "var(--jp-ui-font-color2, inherit)"
_LABEL = "9.5rem"
_SMALL = "line-height:1.4;font-size:var(--jp-ui-font-size1, 13px);white-space:pre-wrap;overflow-wrap:anywhere"
#: Scrolls by itself: without these widths it would be as wide as its longest line.
_PRE = (
    "width:0;min-width:100%;box-sizing:border-box;margin:0;padding:8px;max-height:24em;overflow:auto;line-height:1.4;white-space:pre;"
    "border:1px solid var(--jp-border-color2, currentColor)"
)
#: Characters of a message, and of a preview, which the browser draws anew with each letter that is typed.
_MESSAGE, _PREVIEW = 1_000, 20_000


class AgentForm(ipywidgets.VBox):  # type: ignore[misc]
    """Makes an agent of what is typed: in this kernel, and as a file of its project.

    Args:
        runtime: makes and saves the agent.
        find_tool: gives the function that a tool's name means.
        takes: which fields of AIConfig a model takes; asked in a thread, for it may take its time.
    """

    def __init__(self, runtime: Runtime, find_tool: FindTool, takes: Takes | None = None) -> None:
        self._runtime = runtime
        self._find_tool = find_tool
        self._lookup = _Lookup(runtime.home, takes, self._hear) if takes else None
        self._taken: frozenset[str] | None = None
        self._agent: Agent | None = None  # what the fields say; None while something is wrong
        self._put_away = False  # what was typed for a key
        self._in_doubt: Agent | None = None  # whose file is overwritten if a person says so
        looks = _Looks()
        paths = (*_WHO, MODEL, *_PARAMS, PROMPT, *_LIMITS)
        self.fields = {path: _Field(looks, _input(path, runtime.keys, looks)) for path in paths}
        self._shown: tuple[Path, ...] = _PARAMS
        self.prompts = ipywidgets.Dropdown(
            options=[("choose a file to load it", ""), *((name, name) for name in _prompt_files(runtime))],
            description="prompt file",
            layout=looks.input,
            style={"description_width": looks.label.description_width},
        )
        self.create = _button("Create", "Make the agent in this kernel", "primary")
        self.save = _button("Save", "Write the agent to agents/NAME.yaml of the project")
        self.overwrite = _button("Overwrite", "Replace what the file says", "warning")
        self.keep = _button("Keep", "Leave the file as it is")
        self.status, self.question, self.yaml, self.python = (looks.html() for _ in range(4))
        self.params, self.more = looks.grid([]), looks.grid([])
        self._folded = ipywidgets.Accordion([self.more], titles=["More about the model"], layout=looks.folded)
        self._doubt = ipywidgets.HBox([self.question, self.overwrite, self.keep], layout=looks.row)
        self._last = ipywidgets.VBox()
        super().__init__(
            [
                looks.heading("Who"), looks.grid(self.fields[path] for path in _WHO),
                looks.heading("What it is told"), *([self.prompts] if len(self.prompts.options) > 1 else []), self.fields[PROMPT],
                looks.heading("Model"), self.params, self._folded,
                looks.heading("Tools and limits"), looks.grid(self.fields[path] for path in _LIMITS),
                looks.heading("Preview"), looks.halves([self.yaml, self.python]),
                ipywidgets.HBox([self.create, self.save, self.status], layout=looks.row), self._last,
            ],
            layout=looks.form,
        )  # fmt: skip
        self._listen()
        self._check()

    def __repr__(self) -> str:
        return "The form for a new agent needs a running kernel."

    def _listen(self) -> None:
        for field in self.fields.values():
            field.input.observe(lambda _: self._on_loop(self._check), "value")
        self.prompts.observe(lambda _: self._on_loop(self._load_prompt), "value")
        self.create.on_click(lambda _: self._on_loop(self._act, self._created))
        self.save.on_click(lambda _: self._on_loop(self._act, self._saved))
        self.overwrite.on_click(lambda _: self._on_loop(self._act, lambda agent: self._saved(agent, sure=True)))
        self.keep.on_click(lambda _: self._on_loop(self._ask, None))

    def _on_loop(self, function: Callable[..., None], *args: Any) -> None:
        """Call on the notebook's own loop: some kernels hear of a click in another thread."""
        try:
            self._runtime.home.call_main(function, *args)
        except SessionError as error:
            self._say(str(error), _ERROR)

    # What the fields say

    def _check(self) -> None:
        """Say beside each field what is wrong with it, and show what would be made."""
        if self._put_away_key():
            return  # it is checked again
        self._show_params()
        before, problems = self._agent, tuple[Problem, ...]()
        try:
            agent = self._agent = self._build()
        except ConfigError as error:
            agent, self._agent, problems = None, None, error.problems
        if agent != before:
            self._say("")
            self._ask(None)
        wrong: dict[Path, list[str]] = {}
        for one in problems:
            wrong.setdefault(field_of(one), []).append(one.text)
        notes = {path: "\n".join(texts) for path, texts in wrong.items()}
        if not wrong.keys() & {MODEL, *_PLACE}:
            notes[MODEL] = self._who_answers()
        if NAME not in wrong and self._runtime.get(self.fields[NAME].text.strip()):
            notes[NAME] = "is at work already: Create gives it this spec instead, and keeps its history"
        if self._put_away:
            wrong[KEY] = []
            notes[KEY] = (
                f"what was typed here is no {FIELDS[KEY].allowed}, and was taken out: a key is never kept in a notebook"
            )
        for path, field in self.fields.items():
            color = _ERROR if path in wrong and (field.text or path == KEY) else _QUIET
            field.message.value = _line(notes.get(path, ""), f"{color};padding-left:calc({_LABEL} + 8px)")
        self.create.disabled = self.save.disabled = agent is None
        not_yet = "not yet: see " + ", ".join(path[-1].replace("_", " ") for path in self.fields if path in wrong)
        self.yaml.value = _preview("YAML", yaml_of(agent) if agent else not_yet)
        self.python.value = _preview("Python", python_of(agent) if agent else not_yet)

    def _put_away_key(self) -> bool:
        """Empty the field for the key of what can be no reference: a notebook may save the state of its widgets."""
        field = self.fields[KEY]
        if not field.text:
            return False
        typed, begin = field.text.strip(), ("os.environ/", "${")
        self._put_away = not any(typed.startswith(one) or one.startswith(typed) for one in begin)
        if self._put_away:
            field.input.value = ""
        return self._put_away

    def _build(self) -> Agent:
        return Draft(self._typed(self.fields)).build(self._find_tool)

    def _typed(self, paths: Iterable[Path]) -> dict[Path, str]:
        """What is typed in these fields; in a hidden one it is not said."""
        return {path: self.fields[path].text for path in paths if path not in _PARAMS or path in self._shown}

    def _who_answers(self) -> str:
        """What is not wrong with the model, but should be known."""
        try:
            said = Draft({NAME: "any", **self._typed((MODEL, *_PLACE))}).build(self._find_tool).config
            config = self._runtime.resolve(call=said)
        except ConfigError as error:  # of the project, or the environment
            return str(error)
        if said.provider == "offline":
            return "an offline model takes no parameters"
        if variable := missing_key(config, self._runtime.keys):
            return f"{variable} is not set, and {config.model} needs it"
        return "" if said.model else f"empty: {config.model} answers"

    def _show_params(self) -> None:
        """Show the fields that the model takes, as far as that is known."""
        model = canonical(self.fields[MODEL].text.strip())
        offline = model.startswith("offline/")
        asked = "" if offline else model
        if not asked:
            self._taken = None
        if self._lookup and not (asked and problem_with(FIELDS[MODEL], "model", model)):
            self._lookup.ask(asked)
        out = set() if self._taken is None else _SENT - self._taken
        self._shown = () if offline else tuple(path for path in _PARAMS if path[-1] not in out)
        shown = dict.fromkeys((MODEL, *self._shown))
        self.params.children = [self.fields[path] for path in shown if path in (MODEL, *_FIRST)]
        self.more.children = [self.fields[path] for path in shown if path not in (MODEL, *_FIRST)]
        self._folded.layout.display = "none" if offline else ""

    def _hear(self, taken: frozenset[str] | None) -> None:
        self._taken = taken
        self._check()

    def _load_prompt(self) -> None:
        """Put the text of a prompt file into the field; the list is then as it was, to choose from again."""
        name, self.prompts.value = self.prompts.value, ""
        project = self._runtime.project
        if not name or project is None:
            return
        try:
            self.fields[PROMPT].input.value = Prompts(project.used.files).text(name)
        except ConfigError as error:
            self.fields[PROMPT].message.value = _line(str(error), _ERROR)

    # What is done with it

    def _act(self, act: Callable[[Agent], str]) -> None:
        """Do something with the agent that the fields say now, and tell what came of it."""
        try:
            self._say(act(self._build()))
        except WhisperError as error:
            self._say(str(error), _ERROR)

    def _created(self, agent: Agent) -> str:
        return create(self._runtime, agent)

    def _saved(self, agent: Agent, *, sure: bool = False) -> str:
        """Write the agent's file; where it says something else, ask first."""
        asked, project = self._in_doubt == agent, self._runtime.project
        self._ask(None)
        if sure and not asked:
            return ""  # a click, though nobody was asked about just this agent
        try:
            path = self._runtime.save(agent, overwrite=sure)
        except ConfigError:
            if sure or project is None or not os.path.lexists(project.root / AGENTS / f"{agent.name}.yaml"):
                raise
            self._ask(agent)
            return ""
        held = "; held back with the project's files until %agent trust" if project and project.held_back else ""
        return f"{agent.name} is in {path.relative_to(path.parents[1])}{held}"

    def _ask(self, agent: Agent | None) -> None:
        """Ask whether this agent's file may be overwritten; None: ask no more."""
        self._in_doubt = agent
        self.question.value = _line(f"{AGENTS}/{agent.name}.yaml exists. Overwrite?" if agent else "")
        self._last.children = [self._doubt] if agent else []

    def _say(self, text: str, color: str = "inherit") -> None:
        self.status.value = _line(text, color)


class _Looks:
    """Layouts and styles, shared: each is a widget, and costs the kernel a message."""

    def __init__(self) -> None:
        look = ipywidgets.Layout
        columns = "repeat(auto-fill, minmax(min(24rem, 100%), 1fr))"
        self.form = look(width="100%", overflow="visible")
        self.folded = look(margin="0 0 8px", overflow="visible")
        self.row = look(flex_flow="row wrap", align_items="center", grid_gap="4px", overflow="visible")
        self.field = look(min_width="0", overflow="visible")
        self.input = look(width="auto", min_width="0")
        self.label = ipywidgets.Text.style.klass(description_width=_LABEL)
        self._columns = look(display="grid", grid_template_columns=columns, grid_gap="0 1rem", overflow="visible")
        self._halves = look(
            display="grid", grid_template_columns=columns.replace("fill", "fit"), grid_gap="0 1rem", overflow="visible"
        )
        self._html = look(min_width="0", min_height="1.6em")  # room for a line: nothing jumps when one comes
        self._plain = ipywidgets.HTML.style.klass()

    def grid(self, children: Iterable[ipywidgets.Widget]) -> ipywidgets.GridBox:
        """Columns, as many as there is room for."""
        return ipywidgets.GridBox(list(children), layout=self._columns)

    def halves(self, children: Iterable[ipywidgets.Widget]) -> ipywidgets.GridBox:
        """Side by side over the whole width, where there is room."""
        return ipywidgets.GridBox(list(children), layout=self._halves)

    def html(self, value: str = "") -> ipywidgets.HTML:
        """What is escaped already."""
        return ipywidgets.HTML(value, layout=self._html, style=self._plain)

    def heading(self, text: str) -> ipywidgets.HTML:
        """What the fields below it are about."""
        return self.html(f'<div role="heading" aria-level="4" style="font-weight:600">{text}</div>')


class _Field(ipywidgets.VBox):  # type: ignore[misc]
    """Something to type into, and a line below it for what is to be said of that."""

    def __init__(self, looks: _Looks, input_: ipywidgets.Widget) -> None:
        self.input, self.message = input_, looks.html()
        super().__init__([self.input, self.message], layout=looks.field)

    @property
    def text(self) -> str:
        """What is typed."""
        return str(self.input.value)


class _Lookup:
    """What models take, found in a thread: one question at a time, and only the answer to the newest is told."""

    def __init__(self, home: Home, takes: Takes, tell: Callable[[frozenset[str] | None], None]) -> None:
        self._home, self._takes, self._tell = home, takes, tell
        self._wanted = ""
        self._busy = False

    def ask(self, model: str) -> None:
        """Ask about a model, instead of any before; the empty one: about none."""
        if model != self._wanted:
            self._wanted = model
            self._begin()

    def _begin(self) -> None:
        if self._wanted and not self._busy:
            self._busy = True
            threading.Thread(target=self._answer, args=(self._wanted,), name="whisper_nb look", daemon=True).start()

    def _answer(self, model: str) -> None:
        try:
            taken = self._takes(model)
        except Exception:  # whatever a library of models stumbles over: nobody knows, and every field is offered
            taken = None
        with suppress(SessionError):  # the loop is closed
            self._home.call_main(self._heard, model, taken)

    def _heard(self, model: str, taken: frozenset[str] | None) -> None:
        self._busy = False
        if model == self._wanted:
            self._tell(taken)
        else:
            self._begin()


def _input(path: Path, keys: Keys, looks: _Looks) -> ipywidgets.Widget:
    label, hint = re.sub(" s$", " (s)", path[-1].replace("_", " ")), _HINTS.get(path, FIELDS[path].allowed)
    look = {"description": label, "placeholder": hint, "layout": looks.input, "style": looks.label}
    if path == MODEL:
        return ipywidgets.Combobox(options=_models(keys), ensure_option=False, **look)
    return ipywidgets.Textarea(rows=6, **look) if path == PROMPT else ipywidgets.Text(**look)


def _button(text: str, tooltip: str, style: str = "") -> ipywidgets.Button:
    return ipywidgets.Button(description=text, tooltip=tooltip, button_style=style)


def _models(keys: Keys) -> tuple[str, ...]:
    """Models to propose: those whose key is there first."""
    reachable = [one.model for one in PROVIDERS.values() if one.model and any(map(keys.get, one.variables))]
    return tuple(dict.fromkeys([*reachable, *known_models()]))


def _prompt_files(runtime: Runtime) -> list[str]:
    """Those of the project that are in force; shared fragments are no prompts by themselves."""
    paths = runtime.project.used.files.data if runtime.project else ()
    names = [path.removeprefix(f"{FOLDER}/") for path in paths if path.startswith(f"{FOLDER}/")]
    return sorted(name for name in names if not name.startswith("shared/"))


def _line(text: str, color: str = "inherit") -> str:
    return f'<div role="status" style="color:{color};{_SMALL}">{_escaped(text, _MESSAGE)}</div>' if text else ""


def _preview(title: str, text: str) -> str:
    return f'{title}<pre tabindex="0" aria-label="{title}" style="{_PRE}">{_escaped(text, _PREVIEW)}</pre>'


def _escaped(text: str, most: int) -> str:
    """As the content of an element, never of an attribute."""
    shown = text if len(text) <= most else f"{text[:most]}\n… {len(text) - most:,} more characters"
    return html.escape(shown, quote=False)
