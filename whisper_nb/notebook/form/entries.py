"""The texts in the form's fields, and what follows from them: problems, notes, defaults, previews."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from ...config.agentfiles import FindTool
from ...config.agents import Agent
from ...config.aiconfig import AIConfig, missing_key
from ...config.kinds import problem_with
from ...config.providers import canonical
from ...core.errors import ConfigError, Problem
from ...core.text import printable, valid_unicode
from ...team.runtimes import Runtime
from ...tools.type_names import FindType
from .draft import FIELDS, Draft, FieldPath, field_of, python_of, yaml_of
from .fields import BASE, KEY, MODEL, NAME, PARAMS, SENT, default_texts, id_of, labels

#: The most characters of a message, and of a preview: the browser draws it again with each letter that is typed.
MESSAGE, _PREVIEW = 1_000, 20_000


class Entries:
    """The texts of all fields.

    Args:
        runtime: the agents that exist, and the layers of config.
        find_tool: returns the function that a tool's name refers to.
        find_type: returns the type that a text names.
    """

    def __init__(self, runtime: Runtime, find_tool: FindTool, find_type: FindType) -> None:
        self._runtime = runtime
        self._find = (find_tool, find_type)
        self._key_removed = False  # whether a key was typed, and removed
        self.texts: dict[FieldPath, str] = dict.fromkeys(FIELDS, "")
        """The text of each field."""
        self.agent: Agent | None = None
        """The agent at the last check; None if a field was wrong."""
        self.tried = False
        """Whether the user wanted the agent already, so that what is missing is an error."""
        self.taken: frozenset[str] | None = None
        """The fields of AIConfig that the model takes; None if they are not known."""
        self.about: Mapping[str, str] = {}
        """Model → its price and context."""

    def type(self, typed: Mapping[FieldPath, str]) -> None:
        """Change the texts of fields. A key is not kept: the field takes a reference, or the begin of one."""
        self.texts.update({path: valid_unicode(text) for path, text in typed.items()})
        if KEY in typed:
            key = self.texts[KEY].strip()
            begin = ("os.environ/", "${")
            self._key_removed = bool(key) and not any(key.startswith(one) or one.startswith(key) for one in begin)
            if self._key_removed:
                self.texts[KEY] = ""

    def build(self) -> Agent:
        """Return the agent.

        Raises:
            ConfigError: fields are wrong.
        """
        hidden = {*PARAMS} - {*self._params}
        return Draft({path: text for path, text in self.texts.items() if path not in hidden}).build(*self._find)

    def check(self) -> dict[str, Any]:
        """Find each field's problems, and return what the form shows of them, and of the agent."""
        self.agent = None
        problems: tuple[Problem, ...] = ()
        try:
            self.agent = self.build()
        except ConfigError as error:
            problems = error.problems
        wrong: dict[FieldPath, list[str]] = {}
        for one in problems:
            wrong.setdefault(field_of(one), []).append(one.text)
        yaml = python = f"Incomplete: see {labels(path for path in FIELDS if path in wrong)}"
        if self.agent:
            yaml, python = yaml_of(self.agent), python_of(self.agent)
        return {
            "notes": self._notes(wrong),
            "hidden": [id_of(path) for path in PARAMS if path not in self._params],
            "wrong": [id_of(path) for path in FIELDS if path in wrong],
            "defaults": self._defaults(),
            "yaml": clipped(yaml, _PREVIEW),
            "python": clipped(python, _PREVIEW),
            "ready": self.agent is not None,
        }

    @property
    def model(self) -> str | None:
        """The typed model; empty for none and an offline one, None for one that is wrong."""
        model = canonical(self.texts[MODEL].strip())
        if model.startswith("offline/"):
            return ""
        if model and problem_with(FIELDS[MODEL], "model", model):
            return None
        return model

    @property
    def _params(self) -> tuple[FieldPath, ...]:
        """The parameters of the model."""
        if canonical(self.texts[MODEL].strip()).startswith("offline/"):
            return ()
        if self.taken is None:
            return PARAMS
        return tuple(path for path in PARAMS if path[-1] in self.taken or path[-1] not in SENT)

    def _notes(self, wrong: Mapping[FieldPath, list[str]]) -> dict[str, tuple[str, str]]:
        """Return for each field with a note whether it is an error, and its text."""
        notes = {}
        if not wrong.keys() & {MODEL, BASE, KEY}:
            notes[MODEL] = ("note", self._model_note())
        session = self._runtime.get(self.texts[NAME].strip())
        if NAME not in wrong and session and session.agent != self.agent:
            notes[NAME] = ("note", "exists: Create gives it this spec, and keeps its history")
        for path, texts in wrong.items():
            if self.texts[path] or self.tried:  # else the user has not had the time to type it
                notes[path] = ("error", "\n".join(texts))
        if self._key_removed:
            removed = (
                f"removed: it was not {FIELDS[KEY].allowed}. "
                "A key must not be in a notebook: name the variable that holds it"
            )
            notes[KEY] = ("error", removed)
        said = {id_of(path): (kind, printable(text)) for path, (kind, text) in notes.items()}
        return {name: (kind, clipped(text, MESSAGE)) for name, (kind, text) in said.items() if text}

    def _model_note(self) -> str:
        """Return a note about a model that is valid."""
        try:
            layer = self._runtime.explain(call=self._reach())
        except ConfigError as error:  # in the project, or the environment
            return str(error)
        model = layer.config.model or ""
        if model == "offline/echo":
            return "offline/echo repeats the prompt, for trying things out: it is not a language model"
        if model.startswith("offline/"):
            return "an offline model takes no parameters"
        about = self.about.get(model, "")
        if variable := missing_key(layer.config, self._runtime.keys):
            return f"{variable} is not set, and {model} needs it"
        if about.startswith("$"):
            about = f"for a million tokens: {about}"
        return about

    def _reach(self) -> AIConfig:
        """Return how the typed model is reached.

        Raises:
            ConfigError: one of the fields is wrong.
        """
        typed = {path: self.texts[path] for path in (MODEL, BASE, KEY) if path in (MODEL, *self._params)}
        return Draft({NAME: "any", **typed}).build(*self._find).config

    def _defaults(self) -> dict[str, str]:
        """Return the values of fields that are empty."""
        try:
            layer = common = self._runtime.explain()
        except ConfigError:  # the note below the model has it
            return default_texts({}, {})
        if self.model:
            with suppress(ConfigError):  # the note has this, too
                layer = self._runtime.explain(call=AIConfig(model=self.model))
        model = {"model": common.config.model}
        sources = {**layer.sources, "model": common.place("model")}
        return default_texts({**layer.config.values(), **model}, sources)


def clipped(text: str, most: int) -> str:
    """Return the begin of a text, and how much more there is."""
    if len(text) > most:
        text = f"{text[:most]}\n… {len(text) - most:,} more characters"
    return text
