"""The form for a new agent: it checks the fields while they are typed, and previews the agent as YAML and as Python.

The fields are untrusted, and a message of a front end may set any trait of a widget. So texts are escaped where they
are shown, and a click proves nothing: the fields are read and checked again.
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
from .draft import FIELDS, NAME, TOOLS, Draft, FieldPath, field_of, python_of, yaml_of

#: Returns the fields of AIConfig that a model takes, or None where that is not known.
Takes = Callable[[str], frozenset[str] | None]

MODEL, PROMPT = ("config", "model"), ("system_prompt",)
_IDENTITY: tuple[FieldPath, ...] = (NAME, ("title",), ("role",), ("description",), ("icon",), ("color",))
_LIMITS: tuple[FieldPath, ...] = (TOOLS, ("max_turns",), ("timeout_s",))
KEY: FieldPath = ("config", "api_key")
_ENDPOINT: tuple[FieldPath, ...] = (("config", "api_base"), KEY)
#: The parameters of a model. An offline model has none.
_PARAMS = tuple(path for path in FIELDS if path[0] == "config" and path != MODEL)
#: The parameters that are shown at once; the others are folded up.
_FIRST: tuple[FieldPath, ...] = (("config", "temperature"), ("config", "max_tokens"))
#: The parameters that are sent to the model, where it takes them.
_SENT = {
    *("temperature", "top_p", "max_tokens", "max_reasoning_tokens"),
    *("frequency_penalty", "presence_penalty", "stop", "seed"),
}
_HINTS: dict[FieldPath, str] = {
    NAME: "bob",
    ("title",): "Bob the Builder",
    ("role",): "a word or two: planner",
    ("description",): "one line for people, not for the model",
    ("icon",): "an emoji",
    ("color",): "#2F7DE1 or teal",
    PROMPT: "The role of the agent. Empty: a short default text.",
    TOOLS: "functions of this notebook: rows, plot",
    ("timeout_s",): "seconds for one run",
    ("config", "timeout_s"): "seconds for one model call",
    ("config", "token_timeout_s"): "seconds from one token to the next",
    ("config", "allow_empty"): "true: an empty reply is an answer",
    ("config", "stop"): "END, or [END, STOP]",
    ("config", "extra"): "the provider's own parameters: {top_k: 40}",
}
_ERROR, _QUIET = "var(--jp-error-color1, #b00020)", "var(--jp-ui-font-color2, inherit)"
_LABEL = "9.5rem"
_SMALL = "line-height:1.4;font-size:var(--jp-ui-font-size1, 13px);white-space:pre-wrap;overflow-wrap:anywhere"
#: The style of a preview. Without the widths it would be as wide as its longest line, and not scroll.
_PRE = (
    "width:0;min-width:100%;box-sizing:border-box;margin:0;padding:8px;max-height:24em;overflow:auto;"
    "line-height:1.4;white-space:pre;"
    "border:1px solid var(--jp-border-color2, currentColor)"
)
#: The most characters of a message, and of a preview: the browser draws it again with each letter that is typed.
_MESSAGE, _PREVIEW = 1_000, 20_000


class AgentForm(ipywidgets.VBox):  # type: ignore[misc]
    """A form that creates an agent in this kernel, and saves it as a file of the project.

    Args:
        runtime: creates and saves the agent.
        find_tool: returns the function that a tool's name refers to.
        takes: returns the fields of AIConfig that a model takes. Called in a thread: it may take seconds.
    """

    def __init__(self, runtime: Runtime, find_tool: FindTool, takes: Takes | None = None) -> None:
        self._runtime = runtime
        self._find_tool = find_tool
        self._lookup: _Lookup | None = None
        if takes:
            self._lookup = _Lookup(runtime.home, takes, self._use_fields)
        self._taken: frozenset[str] | None = None
        self._agent: Agent | None = None  # None while a field is wrong
        self._key_removed = False  # whether a key was typed, and removed
        self._unconfirmed: Agent | None = None  # the agent whose file is overwritten if the user confirms
        looks = _Looks()
        paths = (*_IDENTITY, MODEL, *_PARAMS, PROMPT, *_LIMITS)
        self.fields = {path: _Field(looks, _input(path, runtime.keys, looks)) for path in paths}
        self._shown: tuple[FieldPath, ...] = _PARAMS
        self.prompts = ipywidgets.Dropdown(
            options=[("choose a file to load it", ""), *((name, name) for name in _prompt_files(runtime))],
            description="prompt file",
            layout=looks.input,
            style={"description_width": looks.label.description_width},
        )
        self.create = _button("Create", "Create the agent in this kernel", "primary")
        self.save = _button("Save", "Write the agent to agents/NAME.yaml of the project")
        self.overwrite = _button("Overwrite", "Replace the file", "warning")
        self.keep = _button("Keep", "Leave the file as it is")
        self.status, self.question, self.yaml, self.python = (looks.html() for _ in range(4))
        self.params, self.more = looks.grid([]), looks.grid([])
        self._folded = ipywidgets.Accordion([self.more], titles=["More about the model"], layout=looks.folded)
        self._doubt = ipywidgets.HBox([self.question, self.overwrite, self.keep], layout=looks.row)
        self._last = ipywidgets.VBox()
        prompts = [self.prompts][: len(self.prompts.options) - 1]  # without files there is nothing to choose
        super().__init__(
            [
                looks.heading("Agent"), looks.grid(self.fields[path] for path in _IDENTITY),
                looks.heading("System prompt"), *prompts, self.fields[PROMPT],
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
        """Call on the notebook's event loop: some kernels receive a click in another thread."""
        try:
            self._runtime.home.call_main(function, *args)
        except SessionError as error:
            self._show_status(str(error), _ERROR)

    # Checks

    def _check(self) -> None:
        """Show each field's problems beside it, and preview the agent."""
        if self._remove_key():
            return  # setting the field has called this again
        self._show_params()
        agent: Agent | None = None
        problems: tuple[Problem, ...] = ()
        try:
            agent = self._build()
        except ConfigError as error:
            problems = error.problems
        before, self._agent = self._agent, agent
        if agent != before:
            self._show_status("")
            self._ask(None)
        wrong: dict[FieldPath, list[str]] = {}
        for one in problems:
            wrong.setdefault(field_of(one), []).append(one.text)
        notes = {path: "\n".join(texts) for path, texts in wrong.items()}
        if not wrong.keys() & {MODEL, *_ENDPOINT}:
            notes[MODEL] = self._model_note()
        if NAME not in wrong and self._runtime.get(self.fields[NAME].text.strip()):
            notes[NAME] = "exists: Create gives it this spec, and keeps its history"
        if self._key_removed:
            wrong[KEY] = []
            notes[KEY] = (
                f"removed: it was not {FIELDS[KEY].allowed}. "
                "A key must not be in a notebook: name the variable that holds it"
            )
        for path, field in self.fields.items():
            color = _ERROR if path in wrong and (field.text or path == KEY) else _QUIET
            field.message.value = _line(notes.get(path, ""), f"{color};padding-left:calc({_LABEL} + 8px)")
        self.create.disabled = self.save.disabled = agent is None
        incomplete = "incomplete: see " + ", ".join(path[-1].replace("_", " ") for path in self.fields if path in wrong)
        yaml = python = incomplete
        if agent:
            yaml, python = yaml_of(agent), python_of(agent)
        self.yaml.value = _preview("YAML", yaml)
        self.python.value = _preview("Python", python)

    def _remove_key(self) -> bool:
        """Clear the field for the key unless it holds a reference: a notebook may save the state of its widgets."""
        field = self.fields[KEY]
        if not field.text:
            return False
        typed = field.text.strip()
        begin = ("os.environ/", "${")
        self._key_removed = not any(typed.startswith(one) or one.startswith(typed) for one in begin)
        if self._key_removed:
            field.input.value = ""
        return self._key_removed

    def _build(self) -> Agent:
        return Draft(self._typed(self.fields)).build(self._find_tool)

    def _typed(self, paths: Iterable[FieldPath]) -> dict[FieldPath, str]:
        """Return the texts of these fields; those of hidden ones are left out."""
        return {path: self.fields[path].text for path in paths if path not in _PARAMS or path in self._shown}

    def _model_note(self) -> str:
        """Return a note about a model that is valid."""
        try:
            typed = Draft({NAME: "any", **self._typed((MODEL, *_ENDPOINT))}).build(self._find_tool).config
            config = self._runtime.resolve(call=typed)
        except ConfigError as error:  # in the project, or the environment
            return str(error)
        if typed.provider == "offline":
            return "an offline model takes no parameters"
        if variable := missing_key(config, self._runtime.keys):
            return f"{variable} is not set, and {config.model} needs it"
        if not typed.model:
            return f"empty: {config.model} answers"
        return ""

    def _show_params(self) -> None:
        """Show the fields that the model takes, or all where that is not known."""
        model = canonical(self.fields[MODEL].text.strip())
        offline = model.startswith("offline/")
        if offline or not model:
            self._taken = None
            if self._lookup:
                self._lookup.ask("")
        elif self._lookup and not problem_with(FIELDS[MODEL], "model", model):
            self._lookup.ask(model)
        self._shown = self._params_of(offline)
        shown = dict.fromkeys((MODEL, *self._shown))
        self.params.children = [self.fields[path] for path in shown if path in (MODEL, *_FIRST)]
        self.more.children = [self.fields[path] for path in shown if path not in (MODEL, *_FIRST)]
        self._folded.layout.display = "none" if offline else ""

    def _params_of(self, offline: bool) -> tuple[FieldPath, ...]:
        if offline:
            return ()
        if self._taken is None:
            return _PARAMS
        return tuple(path for path in _PARAMS if path[-1] in self._taken or path[-1] not in _SENT)

    def _use_fields(self, taken: frozenset[str] | None) -> None:
        self._taken = taken
        self._check()

    def _load_prompt(self) -> None:
        """Load a prompt file into the field, and reset the list, so that the same file can be chosen again."""
        name, self.prompts.value = self.prompts.value, ""
        project = self._runtime.project
        if not name or project is None:
            return
        try:
            self.fields[PROMPT].input.value = Prompts(project.used.files).text(name)
        except ConfigError as error:
            self.fields[PROMPT].message.value = _line(str(error), _ERROR)

    # Actions

    def _act(self, act: Callable[[Agent], str]) -> None:
        """Apply an action to the agent as it is typed now, and show the outcome."""
        try:
            self._show_status(act(self._build()))
        except WhisperError as error:
            self._show_status(str(error), _ERROR)

    def _created(self, agent: Agent) -> str:
        return create(self._runtime, agent)

    def _saved(self, agent: Agent, *, sure: bool = False) -> str:
        """Write the agent's file; ask first if another one exists."""
        asked = self._unconfirmed == agent
        project = self._runtime.project
        self._ask(None)
        if sure and not asked:
            return ""  # a click without a question about this agent
        try:
            path = self._runtime.save(agent, overwrite=sure)
        except ConfigError:
            if sure or project is None or not os.path.lexists(project.root / AGENTS / f"{agent.name}.yaml"):
                raise
            self._ask(agent)
            return ""
        saved = f"{agent.name} is in {path.relative_to(path.parents[1])}"
        if project and project.held_back:
            saved += "; held back with the project's files until %agent trust"
        return saved

    def _ask(self, agent: Agent | None) -> None:
        """Ask whether the file of this agent may be overwritten; None removes the question."""
        self._unconfirmed = agent
        if agent is None:
            self.question.value = ""
            self._last.children = []
        else:
            self.question.value = _line(f"{AGENTS}/{agent.name}.yaml exists. Overwrite?")
            self._last.children = [self._doubt]

    def _show_status(self, text: str, color: str = "inherit") -> None:
        self.status.value = _line(text, color)


class _Looks:
    """Shared layouts and styles: each is a widget, and costs the kernel a message."""

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
        self._html = look(min_width="0", min_height="1.6em")  # room for a line: nothing moves when one appears
        self._plain = ipywidgets.HTML.style.klass()

    def grid(self, children: Iterable[ipywidgets.Widget]) -> ipywidgets.GridBox:
        """Return as many columns as there is room for."""
        return ipywidgets.GridBox(list(children), layout=self._columns)

    def halves(self, children: Iterable[ipywidgets.Widget]) -> ipywidgets.GridBox:
        """Return children side by side, where there is room."""
        return ipywidgets.GridBox(list(children), layout=self._halves)

    def html(self, value: str = "") -> ipywidgets.HTML:
        """Return a widget for markup whose texts are escaped."""
        return ipywidgets.HTML(value, layout=self._html, style=self._plain)

    def heading(self, text: str) -> ipywidgets.HTML:
        """Return the heading of the fields below it."""
        return self.html(f'<div role="heading" aria-level="4" style="font-weight:600">{text}</div>')


class _Field(ipywidgets.VBox):  # type: ignore[misc]
    """An input, and a line below it for messages about it."""

    def __init__(self, looks: _Looks, input_: ipywidgets.Widget) -> None:
        self.input = input_
        self.message = looks.html()
        super().__init__([self.input, self.message], layout=looks.field)

    @property
    def text(self) -> str:
        """The typed text."""
        return str(self.input.value)


class _Lookup:
    """Looks up in a thread which fields a model takes: one model at a time, and only the newest answer is used."""

    def __init__(self, home: Home, takes: Takes, use: Callable[[frozenset[str] | None], None]) -> None:
        self._home = home
        self._takes = takes
        self._use = use
        self._wanted = ""
        self._busy = False

    def ask(self, model: str) -> None:
        """Look up a model, instead of any earlier one; an empty name stops the look-up."""
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
        except Exception:  # LiteLLM raises anything for an unknown model: every field is then offered
            taken = None
        with suppress(SessionError):  # the loop is closed
            self._home.call_main(self._use_answer, model, taken)

    def _use_answer(self, model: str, taken: frozenset[str] | None) -> None:
        self._busy = False
        if model == self._wanted:
            self._use(taken)
        else:
            self._begin()


def _input(path: FieldPath, keys: Keys, looks: _Looks) -> ipywidgets.Widget:
    label = re.sub(" s$", " (s)", path[-1].replace("_", " "))
    hint = _HINTS.get(path, FIELDS[path].allowed)
    look = {"description": label, "placeholder": hint, "layout": looks.input, "style": looks.label}
    if path == MODEL:
        return ipywidgets.Combobox(options=_models(keys), ensure_option=False, **look)
    if path == PROMPT:
        return ipywidgets.Textarea(rows=6, **look)
    return ipywidgets.Text(**look)


def _button(text: str, tooltip: str, style: str = "") -> ipywidgets.Button:
    return ipywidgets.Button(description=text, tooltip=tooltip, button_style=style)


def _models(keys: Keys) -> tuple[str, ...]:
    """Return the models to suggest, those whose key is set first."""
    reachable = [one.model for one in PROVIDERS.values() if one.model and any(map(keys.get, one.variables))]
    return tuple(dict.fromkeys([*reachable, *known_models()]))


def _prompt_files(runtime: Runtime) -> list[str]:
    """Return the prompt files of the project that are in use; shared fragments are not prompts by themselves."""
    if runtime.project is None:
        return []
    paths = runtime.project.used.files.data
    names = [path.removeprefix(f"{FOLDER}/") for path in paths if path.startswith(f"{FOLDER}/")]
    return sorted(name for name in names if not name.startswith("shared/"))


def _line(text: str, color: str = "inherit") -> str:
    if not text:
        return ""
    return f'<div role="status" style="color:{color};{_SMALL}">{_escaped(text, _MESSAGE)}</div>'


def _preview(title: str, text: str) -> str:
    return f'{title}<pre tabindex="0" aria-label="{title}" style="{_PRE}">{_escaped(text, _PREVIEW)}</pre>'


def _escaped(text: str, most: int) -> str:
    """Return the text escaped for the content of an element; not for an attribute."""
    if len(text) > most:
        text = f"{text[:most]}\n… {len(text) - most:,} more characters"
    return html.escape(text, quote=False)
