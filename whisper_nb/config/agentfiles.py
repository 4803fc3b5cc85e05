"""Agents as files: one in `agents/NAME.yaml`, many in the `agents: {id: …}` of AIWhisperer, one in `agents/NAME.md`.

A file says everything of an agent but what its tools do: those are functions of the notebook, found by name when the
agent is made. No code is ever loaded from where a file says.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from difflib import get_close_matches
from typing import Any

from msgspec import Struct, structs

from ..core.errors import ConfigError, KeyPath, Problem
from ..core.text import short_repr, suggestion
from ..tools.tool import Tool
from .agents import AGENT_FIELDS, AGENT_NAME, Agent
from .aiconfig import CONFIG_FIELDS, from_values
from .formats import ParsedConfig, read_config
from .kinds import Words, problem_with
from .promptfiles import Prompts
from .yamlfile import Document, dump_yaml, parse_yaml

FindTool = Callable[[str], Tool | Callable[..., Any]]


def no_tools(name: str) -> Any:
    """Where there is no notebook: ConfigError."""
    raise ConfigError(f"no function {name!r} for a tool: give the Runtime find_tool, or create the Agent in Python")


#: Keys of the file → the agent's field. Where there are two, both are understood.
_FIELDS = {name: name for name in AGENT_FIELDS if name not in ("name", "max_turns", "timeout_s")} | {
    "prompt": "system_prompt"
}
_CONFIG = ("ai_config", "config")
#: Of `ai_config`, what a file may say without it.
_SHORT = ("model", "provider", "generation_params")
_LIMITS = {
    "limits": {"max_turns": "max_turns", "timeout_s": "timeout_s"},
    "continuation_config": {"max_iterations": "max_turns", "timeout": "timeout_s"},
}
#: Keys of AIWhisperer's, and of other tools', that mean nothing here.
_DEAD = frozenset(
    {
        "allow_tools", "capabilities", "configuration", "context_sources", "deny_tools", "tool_sets", "tool_tags",
        "hooks", "mcpServers", "memory", "permissionMode", "skills",
    }
)  # fmt: skip
_KNOWN = ("name", *_FIELDS, "prompt_file", "fragments", *_CONFIG, *_SHORT, "tools", *_LIMITS)
#: One of these, and a file is meant as an agent.
_TELLING = {
    "prompt_file",
    "system_prompt",
    "prompt",
    "ai_config",
    "generation_params",
    "continuation_config",
    "fragments",
    "limits",
}
_FRONT_MATTER = re.compile(rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
#: What Markdown agents of other tools name: their model's nicknames, and tools that are not here.
#: How alike a key must be to one of ours, where no other key says whose file it is.
_NEAR = 0.85
_OPENS = re.compile(rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n\w+:")
_NICKNAMES = ("inherit", "sonnet", "opus", "haiku")


class Entry(Struct, frozen=True):
    """One agent that a file describes."""

    name: str
    place: str
    """`agents/bob.yaml:1`."""
    agent: Agent | None
    """Without its tools; None where there are problems."""
    tools: tuple[str, ...] = ()
    """Names of functions."""
    tools_place: str = ""
    places: Mapping[str, str] = {}
    """Field of its config → where it was said."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def file(self) -> str:
        """`agents/bob.yaml`."""
        return self.place.partition(":")[0]

    def document(self) -> dict[str, Any]:
        """What the file says, as `Agent.document`; empty where it is wrong."""
        return {} if self.agent is None else self.agent.document() | ({"tools": list(self.tools)} if self.tools else {})

    def build(self, find_tool: FindTool) -> Agent:
        """The agent, with its tools.

        Raises:
            ConfigError: what is wrong with the file, or a tool that `find_tool` does not find.
        """
        if self.problems or self.agent is None:
            raise ConfigError.of(self.problems)
        problems: list[Problem] = []
        tools = []
        for name in self.tools:
            try:
                tools.append(find_tool(name))
            except ConfigError as error:
                problems.append(Problem(("tools",), str(error), self.tools_place))
        if problems:
            raise ConfigError.of(problems)
        return replace(self.agent, tools=tuple(tools))


def file_of(agent: Agent) -> tuple[str, str]:
    """The name of an agent's file, and its text, which loads to the identical Agent.

    Raises:
        ConfigError: no file can say this agent: a tool has a name that no function can have, say.
    """
    name, text = f"{agent.name}.yaml", dump_yaml(agent.document())
    entries = read_agents(text.encode(), name, name, Prompts()) or {}
    if problems := [problem for entry in entries.values() for problem in entry.problems]:
        raise ConfigError.of(problems)
    return name, text


def read_agents(data: bytes, path: str, name: str, prompts: Prompts) -> dict[str, Entry] | None:
    """The agents of one file; None where it is plainly somebody else's.

    Args:
        data: the file's content.
        path: of the file below the project, such as `agents/bob.yaml`.
        name: of the file in messages.
        prompts: where prompt files and fragments are found.
    """
    stem = path.rpartition("/")[2].rpartition(".")[0].removesuffix(".agent")
    try:
        found = _markdown(data, name) if path.endswith(".md") else (parse_yaml(data, name), None)
    except ConfigError as error:
        return {stem: Entry(stem, f"{name}:1", None, problems=error.problems)}
    if found is None:
        return None
    document, body = found
    team = document.data.get("agents") if isinstance(document.data, dict) else None
    if isinstance(team, dict) and any(isinstance(one, dict) for one in team.values()):
        rest = [key for key in document.data if key != "agents"]
        problems = [Problem((key,), f"unknown key {key!r} beside agents", document.place((key,))) for key in rest]
        return {
            id_: _AgentReader(document, ("agents", id_), prompts).entry(id_, one, None, problems)
            for id_, one in team.items()
        }
    if not _is_agent(document.data, body):
        return None
    return {entry.name: entry for entry in [_AgentReader(document, (), prompts).entry(stem, document.data, body)]}


def _is_agent(data: object, body: str | None) -> bool:
    if not isinstance(data, dict) or not data:
        return False
    if body is not None:
        return bool({"name", "description", *_TELLING} & set(data))
    unknown = [key for key in data if key not in _KNOWN and key not in _DEAD]
    return bool(_TELLING & set(data)) or all(get_close_matches(str(key), _KNOWN, 1, _NEAR) for key in unknown)


def _markdown(data: bytes, name: str) -> tuple[Document, str] | None:
    """The front matter and what follows it; None for a file without any."""
    found = _FRONT_MATTER.match(data)
    if found is None and _OPENS.match(data):
        raise ConfigError.of([Problem((), "the front matter is not closed by a line of ---", f"{name}:1")])
    if found is None:
        return None
    document = parse_yaml(found[1], name, first_line=2)
    try:
        return document, data[found.end() :].decode("utf-8").strip()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, found.end() + error.start) + 1
        raise ConfigError.of([Problem((), "it is not UTF-8", f"{name}:{line}")]) from None


class _AgentReader:
    """Reads one agent's mapping, and notes all that is wrong with it."""

    def __init__(self, document: Document, path: KeyPath, prompts: Prompts) -> None:
        self._document = document
        self._path = path
        self._prompts = prompts
        self._problems: list[Problem] = []
        self._warnings: list[Problem] = []
        self._dead: list[str] = []

    def entry(self, id_: str, source: Any, body: str | None, problems: list[Problem] | None = None) -> Entry:
        """The entry for what is known as `id_` unless the mapping says its name."""
        self._problems += problems or ()
        if not isinstance(source, dict):
            self._note(f"{short_repr(source)} is not a mapping that describes an agent")
            source = {}
        values = self._fields(source)
        name, title = self._name(id_, source)
        values |= {"title": values.get("title") or title, **self._limits(source)}
        if prompt := self._prompt(source, values.pop("system_prompt", None), body):
            values["system_prompt"] = prompt
        config = self._config(source, markdown=body is not None)
        tools = self._tools(source, markdown=body is not None)
        agent = None
        if not self._problems:
            agent = Agent(name=name, config=from_values(config.values), **values)
        if self._dead:
            at = self._dead[0] if self._dead[0] in source else ""
            self._warn(f"left out, for it has no meaning here: {', '.join(self._dead)}", *([at] if at else []))
        places = {field_: self._document.place(at) for field_, at in config.paths.items()}
        place = self._document.place(self._path)
        at_tools = self._document.place((*self._path, "tools"))
        return Entry(name, place, agent, tools, at_tools, places, tuple(self._problems), tuple(self._warnings))

    def _note(self, text: str, *path: str | int) -> None:
        at = (*self._path, *path)
        self._problems.append(Problem(at, text, self._document.place(at)))

    def _warn(self, text: str, *path: str | int) -> None:
        at = (*self._path, *path)
        self._warnings.append(Problem(at, text, self._document.place(at)))

    def _fields(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """The agent's own fields; what is no key of an agent is noted."""
        values: dict[str, Any] = {}
        for key, value in source.items():
            field_ = _FIELDS.get(key)
            if field_ in values:
                self._note(f"{key} says again what another key has said", key)
            elif field_ and value is not None:
                if problem := problem_with(AGENT_FIELDS[field_], key, value):
                    self._note(problem, key)
                values[field_] = value
            elif key not in _KNOWN and key not in _DEAD:
                self._note(f"unknown key {key!r} of an agent; {suggestion(key, _KNOWN)}", key)
        self._dead += sorted(_DEAD & set(source))
        return values

    def _name(self, id_: str, source: Mapping[str, Any]) -> tuple[str, str]:
        """The name, and what is said under that key where it is rather a title."""
        said = source.get("name")
        if isinstance(said, str) and re.fullmatch(AGENT_NAME, said) and not self._path:
            return said, ""
        if problem := problem_with(AGENT_FIELDS["name"], "name", id_):
            self._note(f"{problem}; the file's name, or the key of the agent, is what it is called")
        if said is not None and (problem := problem_with(AGENT_FIELDS["title"], "name", said)):
            self._note(problem, "name")
        return id_, said if isinstance(said, str) and said != id_ else ""

    def _limits(self, source: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, known in _LIMITS.items():
            limits = source.get(key)
            if limits is None:
                continue
            if not isinstance(limits, dict):
                self._note(f"{key} {short_repr(limits)} is not a mapping", key)
                continue
            for name, value in limits.items():
                field_ = known.get(name)
                if field_ is None and key == "limits":
                    self._note(f"unknown limit {name!r}; {suggestion(name, known)}", key, name)
                elif field_ and value is not None and (problem := problem_with(AGENT_FIELDS[field_], name, value)):
                    self._note(problem, key, name)
                elif field_ and value is not None:
                    values[field_] = value
            if key != "limits":
                self._dead += [name for name in limits if name not in known]
        return values

    def _prompt(self, source: Mapping[str, Any], said: Any, body: str | None) -> str:
        file, fragments = source.get("prompt_file"), source.get("fragments", [])
        if sum(one is not None and one != "" for one in (said, body, file)) > 1:
            self._note("the prompt is said twice: by a text and by prompt_file", "prompt_file")
        if file is not None and not (isinstance(file, str) and file):
            self._note(f"prompt_file {short_repr(file)} is not the name of a file", "prompt_file")
            return ""
        if fragments and (problem := problem_with(Words(), "fragments", fragments)):
            self._note(problem, "fragments")
            return ""
        try:
            text = self._prompts.text(file or "", [fragments] if isinstance(fragments, str) else fragments or ())
        except ConfigError as error:
            self._note(str(error), "prompt_file" if file else "fragments")
            return ""
        return "\n\n".join(part for part in (said if isinstance(said, str) else "", body or "", text) if part)

    def _config(self, source: Mapping[str, Any], markdown: bool) -> ParsedConfig:
        said = [key for key in _CONFIG if source.get(key) is not None]
        short = {key: source[key] for key in _SHORT if source.get(key) is not None}
        if markdown and short.get("model") in _NICKNAMES:
            self._warn(
                f"model {short['model']!r} is another tool's nickname: left out, so the default model answers", "model"
            )
            del short["model"]
        if len(said) + bool(short) > 1:
            self._note("the config is said twice: write all of it under ai_config", *said[:1])
        path: tuple[str, ...] = ()
        config: Any = short
        if said:
            path, config = (said[0],), source[said[0]]
        if isinstance(config, str):
            config = {"model": config}
        if not isinstance(config, dict):
            self._note(f"{path[0]} {short_repr(config)} is not a mapping or a model", *path)
            return ParsedConfig()
        reading = read_config(config, CONFIG_FIELDS, (*self._path, *path))
        self._problems += self._placed(reading.problems)
        self._warnings += self._placed(reading.warnings)
        self._dead += reading.dead
        return reading

    def _placed(self, problems: list[Problem]) -> Iterator[Problem]:
        return (structs.replace(one, place=self._document.place(one.path)) for one in problems)

    def _tools(self, source: Mapping[str, Any], markdown: bool) -> tuple[str, ...]:
        said = source.get("tools") or []
        names = [name.strip() for name in said.split(",")] if isinstance(said, str) else said
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self._note(f"tools {short_repr(said)} is not a list of names", "tools")
            return ()
        if markdown and (foreign := [name for name in names if not name.isidentifier() or name[0].isupper()]):
            self._warn(f"tools of another program are left out: {', '.join(foreign)}", "tools")
            names = [name for name in names if name not in foreign]
        for name in names:
            if not name.isidentifier():
                self._note(
                    f"tools: {short_repr(name)} is not the name of a function of the notebook; no code is loaded by a file",
                    "tools",
                )
        return tuple(names)
