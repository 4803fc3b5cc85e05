"""The form for a new agent: it checks the fields while they are typed, and previews the agent as YAML and as Python.

A view is the form in one output of one page. It sends what was typed and clicked; the kernel answers with what differs
from what it sent before. Both are data of a schema: nothing else is accepted, and nothing of it is a synced trait. A
click proves nothing: the fields are read and checked again.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Container, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from ...config.agentfiles import FindTool
from ...config.agents import Agent
from ...config.aiconfig import AIConfig
from ...config.files import AGENTS
from ...config.paths import packaged
from ...config.plainfiles import read_plain
from ...config.promptfiles import FOLDER, Prompts
from ...config.yamlfile import MAX_FILE_BYTES
from ...core.errors import ConfigError, SessionError, WhisperError
from ...core.text import printable, short_repr
from ...team.runtimes import Runtime
from ...tools.type_names import FindType, type_of_main
from ..cells.explain import agent_configs
from ..create import create
from ..panel.requests import RequestWidget
from ..panel.script import script
from .choices import ModelChoice, ToolChoice, TypeChoice, distinct, listed_models, offline_choices, provider_choices
from .draft import CONFIG, FIELDS, FieldPath, yaml_of
from .entries import MESSAGE, Entries, clipped
from .fields import (
    ICONS,
    PALETTE,
    PROMPT,
    described_sections,
    id_of,
    labels,
)
from .lookup import Lookup, Takes

#: Returns the models of servers that answer, given the configs of agents.
Servers = Callable[[Iterable[AIConfig]], list[ModelChoice]]

#: Views that are remembered, and the most characters of what one sends at once.
_VIEWS, _SENT_MOST = 8, 4 * MAX_FILE_BYTES
_FOLDER = Path(__file__).parent
_THEME = _FOLDER.parent / "panel" / "view" / "theme.css"
_PATHS: Mapping[str, FieldPath] = {id_of(path): path for path in FIELDS}
_log = logging.getLogger("whisper_nb")


class AgentForm(RequestWidget):
    """A form that creates an agent in this kernel, and saves it as a file of the project.

    Args:
        runtime: creates and saves the agent.
        find_tool: returns the function that a tool's name refers to.
        tools: returns the functions that can be chosen.
        takes: returns the fields of AIConfig that a model takes. Called in a thread: it may take seconds.
        servers: returns the models of servers that answer. Called in a thread.
        types: returns the types of answers that can be chosen.
        find_type: returns the type that a text names.
    """

    _esm = script(_FOLDER / "form.js")
    _css = "\n".join(file.read_text(encoding="utf-8") for file in (_THEME, _FOLDER / "form.css"))

    def __init__(
        self,
        runtime: Runtime,
        find_tool: FindTool,
        tools: Callable[[], list[ToolChoice]] = list,
        takes: Takes | None = None,
        servers: Servers | None = None,
        types: Callable[[], list[TypeChoice]] = list,
        find_type: FindType = type_of_main,
    ) -> None:
        self._runtime = runtime
        self._tools = tools
        self._types = types
        self._servers = servers
        self._takes = Lookup(runtime.home, takes, self._use_fields) if takes else None
        self._entries = Entries(runtime, find_tool, find_type)
        self._local: list[ModelChoice] = []  # of servers that answer
        self._unconfirmed: Agent | None = None  # the agent that is saved if the user confirms
        self._views: dict[str, None] = {}
        self._parts: dict[str, Any] = {"status": {}, "question": {}}  # what the form shows
        self._posted: dict[str, Any] = {}  # what its views have of it
        self._posted_texts: dict[FieldPath, str] = {}  # and of the texts
        super().__init__()
        self._offer()
        self._check()

    def __repr__(self) -> str:
        return "The form for a new agent needs a running kernel."

    # For Python

    def fill(self, **texts: str | float) -> None:
        """Type into fields: those of Agent, and of AIConfig as `config.seed`, or `seed` where Agent has none.

        A number is typed as its text. Other values are texts, as a person types them.

        Raises:
            ConfigError: there is no such field, or a value is no text.
        """
        typed: dict[FieldPath, str] = {}
        for name, text in texts.items():
            path = _PATHS.get(name) or _PATHS.get(f"{CONFIG}.{name}")
            if path is None:
                raise ConfigError(f"the form has no field {name!r}; there are {', '.join(_PATHS)}")
            if not isinstance(text, (str, int, float)):
                raise ConfigError(f"{name} is filled with {short_repr(text)}; give a text, as you would type it")
            typed[path] = str(text)
        self._entries.type(typed)
        self._check()
        self._post()

    def create(self) -> str:
        """Create the agent in this kernel, and return the outcome in one line.

        Raises:
            WhisperError: a field is wrong, or the agent cannot be created.
        """
        return create(self._runtime, self._entries.build())

    def save(self, *, overwrite: bool = False) -> Path:
        """Write the agent to `agents/NAME.yaml` of the project. See `Runtime.save`."""
        return self._runtime.save(self._entries.build(), overwrite=overwrite)

    def refresh(self) -> None:
        """Follow what a cell has changed: functions, keys, agents."""
        if self._views:
            self._offer()
            self._check()
            self._post()

    # Checks

    def _check(self) -> None:
        """Check the fields. If the agent is another one than before, what was said of it holds no longer."""
        if self._takes and self._entries.model is not None:
            self._takes.ask(self._entries.model)
        if self._entries.model == "":
            self._entries.taken = None
        before = self._entries.agent
        self._parts |= self._entries.check()
        if self._entries.agent != before:
            self._parts["status"] = {}
            self._ask(None)

    def _use_fields(self, taken: frozenset[str] | None) -> None:
        self._entries.taken = taken
        self._check()
        self._post()

    def _try(self) -> Agent:
        """Return the agent as it is typed now.

        Raises:
            ConfigError: a field is wrong. Its note has the reason.
        """
        self._entries.tried = True
        self._check()
        if self._entries.agent is None:
            raise ConfigError(f"To correct: {labels(map(_PATHS.__getitem__, self._parts['wrong']))}")
        return self._entries.agent

    # Choices

    def _offer(self) -> None:
        """Set what can be chosen."""
        named = offline_choices(name for name in self._runtime.models.named if name.startswith("offline/"))
        models = [*named, *self._local, *provider_choices(self._runtime.keys, self._entries.about)]
        self._parts |= {
            "models": [msgspec.to_builtins(one) for one in distinct(models)],
            "tools": [msgspec.to_builtins(one) for one in self._tools()],
            "types": [msgspec.to_builtins(one) for one in self._types()],
            "files": _prompt_files(self._runtime),
        }

    def _look_up_models(self) -> None:
        """Find out in a thread which servers answer, and the prices of models."""
        servers, self._servers = self._servers, None
        if servers is None:
            return
        configs = self._runtime.home.do(agent_configs, self._runtime)

        def look() -> None:
            local, about = servers(configs), listed_models()
            with suppress(SessionError):  # the loop is closed
                self._runtime.home.call_main(self._use_models, local, about)

        threading.Thread(target=look, name="whisper_nb look", daemon=True).start()

    def _use_models(self, local: list[ModelChoice], about: Mapping[str, str]) -> None:
        self._local, self._entries.about = local, about
        self._offer()
        self._check()
        self._post()

    # To the views

    def _post(self, view: str = "", id_: int = 0, typed: Container[FieldPath] = ()) -> None:
        """Send what differs from what was sent before.

        Args:
            view: the view that caused it, which has newer texts if it went on typing.
            id_: its request.
            typed: the fields whose texts it sent: it may have others than the form.
        """
        texts, posted = self._entries.texts, self._posted_texts
        changed = {name: part for name, part in self._parts.items() if self._posted.get(name) != part}
        new = {id_of(path): text for path, text in texts.items() if path in typed or posted.get(path) != text}
        self._posted, self._posted_texts = dict(self._parts), dict(texts)
        if self._views:
            self.send({"kind": "form", "view": view, "id": id_, "texts": new, "parts": changed})

    def _post_all(self, view: str) -> None:
        fixed = {"sections": described_sections(), "icons": ICONS, "palette": PALETTE}
        texts = {id_of(path): text for path, text in self._entries.texts.items()}
        self.send({"kind": "all", "view": view, "texts": texts, "parts": {**self._parts, **fixed}})

    def _show(self, text: str, kind: str = "", path: str = "", then: str = "") -> None:
        """Show the outcome of an action: a path that can be copied, and what comes then."""
        status = {"text": clipped(printable(text), MESSAGE), "kind": kind, "path": path, "then": then}
        self._parts["status"] = {name: part for name, part in status.items() if part}

    # From the views

    def _take_request(self, content: object) -> None:
        if isinstance(content, dict):
            with suppress(SessionError):  # the loop is closed: the page notices that nothing answers
                self._runtime.home.call_main(self._execute, content)

    def _execute(self, wanted: Mapping[str, Any]) -> None:
        """Execute a request. Anything else is dropped."""
        match wanted:
            case {"do": str(do), "view": str(view), "id": int(number), **rest} if _is_request(do, view, rest):
                pass
            case _:
                return
        if view not in self._views and do != "bye":
            self._views[view] = None
            while len(self._views) > _VIEWS:
                del self._views[next(iter(self._views))]
        try:
            getattr(self, f"_do_{do}")(view, **rest)
        except WhisperError as error:
            self._show(str(error), "error")
        except Exception:  # an error in this module: the kernel and the page go on
            _log.exception("the form cannot %s", do)
            self._show(f"{do} failed; see the kernel's log", "error")
        self._post(view, number, [_PATHS[name] for name in rest.get("texts", ())])
        self.send({"kind": "done", "view": view, "id": number, "ok": True, "text": ""})

    def _do_hello(self, view: str) -> None:
        self._offer()
        self._check()
        self._post_all(view)
        self._look_up_models()

    def _do_bye(self, view: str) -> None:
        self._views.pop(view, None)

    def _do_ping(self, view: str) -> None:
        """Answer."""

    def _do_type(self, view: str, texts: dict[str, str]) -> None:
        self._entries.type({_PATHS[name]: text for name, text in texts.items()})
        self._check()

    def _do_load(self, view: str, file: str) -> None:
        """Load a prompt file into the field."""
        project = self._runtime.project
        if project is not None and file in self._parts["files"]:
            self._entries.type({PROMPT: Prompts(project.used.files).text(file)})
            self._check()
            self._show(f"{file} was loaded into the system prompt, as a copy")

    def _do_create(self, view: str) -> None:
        agent = self._try()
        outcome = self.create()
        self._check()
        self._show(outcome, "good", then=f"Give it work: %%agent {agent.name}")

    def _do_save(self, view: str) -> None:
        """Write the agent's file; ask first if another one exists, or if it would be part of whisper_nb."""
        agent, project = self._try(), self._runtime.project
        self._ask(None)
        if project is None:
            self._save(agent)
            return
        file = project.root / AGENTS / f"{agent.name}.yaml"
        doubts = []
        if project.root == packaged():
            doubts.append(
                f"{project.root} is whisper_nb itself: an agent that is saved there is built in, for every project. "
                "For your own agents, work in another folder."
            )
        if os.path.lexists(file) and _other(file, agent):
            doubts.append(f"{file} exists.")
        if doubts:
            self._ask(agent, " ".join(doubts), os.path.lexists(file))
        else:
            self._save(agent)

    def _do_confirm(self, view: str) -> None:
        agent, asked = self._try(), self._unconfirmed
        overwrite = self._parts["question"].get("overwrite", False)
        self._ask(None)
        if agent == asked:  # else a click without a question about this agent
            self._save(agent, overwrite=overwrite)

    def _do_keep(self, view: str) -> None:
        self._ask(None)

    def _save(self, agent: Agent, *, overwrite: bool = False) -> None:
        path = self._runtime.save(agent, overwrite=overwrite)
        project = self._runtime.project
        then = f"%%agent {agent.name} starts it in every notebook of this project."
        if project and project.held_back:
            then = f"It is held back until you trust the project's files: %agent trust shows them. Then {then}"
        elif project and project.root == packaged():
            then = "It is built in now: part of whisper_nb for every project."
        self._show(f"{agent.name} is saved in", "good", str(path), then)

    def _ask(self, agent: Agent | None, text: str = "", overwrite: bool = False) -> None:
        """Ask whether this agent is to be saved; None removes the question."""
        self._unconfirmed = agent
        self._parts["question"] = {}
        if agent is not None:
            yes = "Overwrite" if overwrite else "Save there"
            self._parts["question"] = {"text": printable(text), "yes": yes, "overwrite": overwrite}


def _is_request(do: str, view: str, rest: Mapping[str, Any]) -> bool:
    """Whether a request is one of those that a view sends."""
    if not (view.isascii() and view.isalnum() and 4 <= len(view) <= 32):
        return False
    match do, rest:
        case "type", {"texts": dict(texts)} if len(rest) == 1:
            known = texts.keys() <= _PATHS.keys() and all(isinstance(text, str) for text in texts.values())
            return known and sum(map(len, texts.values())) <= _SENT_MOST
        case "load", {"file": str()}:
            return len(rest) == 1
        case (("hello" | "bye" | "ping" | "create" | "save" | "confirm" | "keep"), _):
            return not rest
    return False


def _other(file: Path, agent: Agent) -> bool:
    """Whether a file has other contents than that of this agent."""
    try:
        return read_plain(file, MAX_FILE_BYTES) != yaml_of(agent).encode()
    except (OSError, ValueError):
        return True


def _prompt_files(runtime: Runtime) -> list[str]:
    """Return the prompt files of the project that are in use; shared fragments are not prompts by themselves."""
    if runtime.project is None:
        return []
    paths = runtime.project.used.files.data
    names = [path.removeprefix(f"{FOLDER}/") for path in paths if path.startswith(f"{FOLDER}/")]
    return sorted(name for name in names if not name.startswith("shared/"))
