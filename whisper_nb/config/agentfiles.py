"""Agents as files: `agents/NAME.yaml`, `agents/NAME.md`, or several in one file, as AIWhisperer's `agents: {id: …}`.

A file describes all of an agent but the code of its tools. Tools are functions of the notebook, which are looked up by
name when the agent is built. No file can have code loaded.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import ConfigError, KeyPath, Problem
from ..core.text import short_repr, suggestion
from ..tools.functions import as_tool
from ..tools.outputs import OutputType
from ..tools.tool import Tool
from ..tools.type_names import FindType, type_of_main
from .agents import AGENT_FIELDS, AGENT_NAME, LIMITS, Agent
from .aiconfig import CONFIG_FIELDS, from_values, ignored_text
from .formats import ParsedConfig, read_config
from .kinds import Words, problem_with
from .promptfiles import Prompts
from .yamlfile import Document, dump_yaml, parse_yaml

FindTool = Callable[[str], Tool | Callable[..., Any]]


#: Key of a file → the field of the agent. A field may have two keys.
_FIELD_OF_KEY = {name: name for name in AGENT_FIELDS if name not in ("name", *LIMITS)}
_FIELD_OF_KEY["prompt"] = "system_prompt"
_CONFIG_KEYS = ("ai_config", "config")
#: Keys of `ai_config` that may stand beside the agent's own keys instead.
_SHORT_CONFIG = ("model", "provider", "generation_params")
_LIMIT_KEYS = {
    "limits": {name: name for name in LIMITS},
    "continuation_config": {"max_iterations": "max_turns", "timeout": "timeout_s"},
}
#: Keys of AIWhisperer, and of other programs, that whisper_nb ignores.
_IGNORED_KEYS = frozenset(
    {
        "allow_tools", "capabilities", "configuration", "context_sources", "deny_tools", "tool_sets", "tool_tags",
        "hooks", "mcpServers", "permissionMode", "skills",
    }
)  # fmt: skip
#: Values of `memory` in the Markdown agents of another program: where it keeps notes.
_FOREIGN_MEMORY = ("user", "project", "local")
_KNOWN_KEYS = (
    "name",
    *_FIELD_OF_KEY,
    "prompt_file",
    "fragments",
    *_CONFIG_KEYS,
    *_SHORT_CONFIG,
    "tools",
    "output_type",
    *_LIMIT_KEYS,
)
#: A file with one of these keys is meant as an agent.
_AGENT_KEYS = {
    "ai_config", "continuation_config", "fragments", "generation_params", "limits", "prompt", "prompt_file",
    "system_prompt",
}  # fmt: skip
#: How similar an unknown key must be to a known one, in a file without any of `_AGENT_KEYS`, to be a typing error.
_SIMILAR = 0.85
_FRONT_MATTER = re.compile(rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(.*?)^---[ \t]*\r?(?:\n|\Z)", re.DOTALL | re.MULTILINE)
_OPENS = re.compile(rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n\w+:")
#: Names of models in the Markdown agents of other programs.
_NICKNAMES = ("inherit", "sonnet", "opus", "haiku")


class Entry(Struct, frozen=True):
    """One agent that a file describes."""

    name: str
    location: str
    """The file and line: `agents/bob.yaml:1`."""
    agent: Agent | None
    """The agent without its tools; None if there are problems."""
    tools: tuple[str, ...] = ()
    """The names of the functions that are its tools."""
    tools_location: str = ""
    output_type: str = ""
    """The name of its output type, such as `list[Verdict]`; empty for text."""
    output_location: str = ""
    sources: Mapping[str, str] = {}
    """Field of its config → the file and line that set it."""
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    @property
    def file(self) -> str:
        """The file: `agents/bob.yaml`."""
        return self.location.partition(":")[0]

    def document(self) -> dict[str, Any]:
        """Return the agent as data for a file, as `Agent.document` does; empty if there are problems."""
        if self.agent is None:
            return {}
        document = self.agent.document()
        if self.tools:
            document["tools"] = list(self.tools)
        if self.output_type:
            document["output_type"] = self.output_type
        return document

    def build(self, find_tool: FindTool, find_type: FindType = type_of_main) -> Agent[Any]:
        """Return the agent with its tools and its output type.

        Raises:
            ConfigError: the file has problems, or a tool or type is not found.
        """
        if self.problems or self.agent is None:
            raise ConfigError.of(self.problems)
        problems: list[Problem] = []
        tools = []
        for name in self.tools:
            try:
                tools.append(as_tool(find_tool(name)))
            except ConfigError as error:
                problems.append(Problem(("tools",), str(error), self.tools_location))
        output: OutputType | None = None
        try:
            output = OutputType.of(find_type(self.output_type)) if self.output_type else None
        except ConfigError as error:
            problems.append(Problem(("output_type",), str(error), self.output_location))
        if problems:
            raise ConfigError.of(problems)
        return dataclasses.replace(self.agent, tools=tuple(tools), output_type=output)


def agent_file(agent: Agent[Any], find_type: FindType = type_of_main) -> tuple[str, str]:
    """Return the name and the text of an agent's file, which loads to an equal Agent.

    Raises:
        ConfigError: the agent cannot be written to a file, for example because a tool's name is not an identifier, or
            its output type is none that a name stands for.
    """
    if agent.output_type is not None:
        _check_named(agent.output_type, find_type)
    name = f"{agent.name}.yaml"
    text = dump_yaml(agent.document())
    entries = read_agents(text.encode(), name, name, Prompts()) or {}
    if problems := [problem for entry in entries.values() for problem in entry.problems]:
        raise ConfigError.of(problems)
    return name, text


def _check_named(output: OutputType, find_type: FindType) -> None:
    """Raise ConfigError if the label of a type does not lead to it, as that of `Annotated[int, Field(ge=0)]`."""
    try:
        is_named = OutputType.of(find_type(output.label)) == output
    except ConfigError:
        is_named = False
    if not is_named:
        raise ConfigError(
            f"output_type {output.label} cannot be written to a file: a file names classes that cells define, and "
            "int, float, bool, list[…], dict[…], Literal[…] and unions of these. Define a class"
        )


def read_agents(data: bytes, path: str, name: str, prompts: Prompts) -> dict[str, Entry] | None:
    """Parse the agents of one file; return None if the file belongs to another program.

    Args:
        data: the content.
        path: the file's path in the project, such as `agents/bob.yaml`.
        name: the file, for messages.
        prompts: the prompt files and fragments.
    """
    stem = path.rpartition("/")[2].rpartition(".")[0].removesuffix(".agent")
    body: str | None = None
    try:
        if not path.endswith(".md"):
            document = parse_yaml(data, name)
        elif markdown := _split_markdown(data, name):
            document, body = markdown
        else:
            return None
    except ConfigError as error:
        return {stem: Entry(stem, f"{name}:1", None, problems=error.problems)}
    team = document.data.get("agents") if isinstance(document.data, dict) else None
    if isinstance(team, dict) and any(isinstance(agent, dict) for agent in team.values()):
        return _read_team(document, team, prompts)
    if not _is_agent(document.data, body):
        return None
    entry = _AgentReader(document, (), prompts).entry(stem, document.data, body)
    return {entry.name: entry}


def _read_team(document: Document, team: Mapping[str, Any], prompts: Prompts) -> dict[str, Entry]:
    unknown = [key for key in document.data if key != "agents"]
    problems = [Problem((key,), f"unknown key {key!r} beside agents", document.location((key,))) for key in unknown]
    return {
        id_: _AgentReader(document, ("agents", id_), prompts, problems).entry(id_, source, None)
        for id_, source in team.items()
    }


def _is_agent(data: object, body: str | None) -> bool:
    """Whether the data of a file describes an agent, and is not another program's."""
    if not isinstance(data, dict) or not data:
        return False
    if body is not None:
        return bool({"name", "description", *_AGENT_KEYS} & set(data))
    if _AGENT_KEYS & set(data):
        return True
    unknown = [key for key in data if key not in _KNOWN_KEYS and key not in _IGNORED_KEYS]
    return all(get_close_matches(str(key), _KNOWN_KEYS, 1, _SIMILAR) for key in unknown)


def _split_markdown(data: bytes, name: str) -> tuple[Document, str] | None:
    """Return the front matter and the text after it; None for a file without front matter."""
    found = _FRONT_MATTER.match(data)
    if found is None and _OPENS.match(data):
        raise ConfigError.of([Problem((), "the front matter does not end: add a line of ---", f"{name}:1")])
    if found is None:
        return None
    document = parse_yaml(found[1], name, first_line=2)
    try:
        return document, data[found.end() :].decode("utf-8").strip()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, found.end() + error.start) + 1
        text = "the file is not UTF-8: save it as UTF-8"
        raise ConfigError.of([Problem((), text, f"{name}:{line}")]) from None


class _AgentReader:
    """Parses the mapping of one agent, and collects its problems.

    Args:
        document: the file.
        path: the keys that lead to the mapping.
        prompts: the prompt files and fragments.
        problems: problems of the file that concern all its agents.
    """

    def __init__(
        self, document: Document, path: KeyPath, prompts: Prompts, problems: list[Problem] | None = None
    ) -> None:
        self._document = document
        self._path = path
        self._prompts = prompts
        self._problems: list[Problem] = list(problems or ())
        self._warnings: list[Problem] = []
        self._ignored: list[str] = []

    def entry(self, id_: str, source: Any, body: str | None) -> Entry:
        """Return the entry of the agent.

        Args:
            id_: the name of the agent, unless the mapping has another.
            source: the mapping.
            body: the text after the front matter of a Markdown file; None for a YAML file.
        """
        if not isinstance(source, dict):
            self._add_problem(f"{short_repr(source)} is not a mapping that describes an agent")
            source = {}
        is_markdown = body is not None
        values = self._fields(source)
        name, title = self._name(id_, source)
        values |= {"title": values.get("title") or title, **self._limits(source)}
        if prompt := self._prompt(source, values.pop("system_prompt", None), body):
            values["system_prompt"] = prompt
        config = self._config(source, is_markdown)
        tools = self._tools(source, is_markdown)
        output_type = source.get("output_type") or ""
        if not isinstance(output_type, str):
            self._add_problem(f"output_type {short_repr(output_type)} is not the name of a type", "output_type")
        agent = None
        if not self._problems:
            agent = Agent(name=name, config=from_values(config.values), **values)
        if self._ignored:
            self._warn(ignored_text(self._ignored), *(key for key in self._ignored[:1] if key in source))
        return Entry(
            name,
            self._document.location(self._path),
            agent,
            tools,
            self._document.location((*self._path, "tools")),
            output_type,
            self._document.location((*self._path, "output_type")),
            {field_: self._document.location(at) for field_, at in config.paths.items()},
            tuple(self._problems),
            tuple(self._warnings),
        )

    def _add_problem(self, text: str, *path: str | int) -> None:
        at = (*self._path, *path)
        self._problems.append(Problem(at, text, self._document.location(at)))

    def _warn(self, text: str, *path: str | int) -> None:
        at = (*self._path, *path)
        self._warnings.append(Problem(at, text, self._document.location(at)))

    def _fields(self, source: Mapping[str, Any]) -> dict[str, Any]:
        """Return the agent's own fields. An unknown key is a problem."""
        values: dict[str, Any] = {}
        for key, value in source.items():
            field_ = _FIELD_OF_KEY.get(key)
            if field_ == "memory" and value in _FOREIGN_MEMORY:
                self._warn(f"ignored another program's memory, {value!r}: all of the history is sent", key)
            elif field_ in values:
                self._add_problem(f"{key} and another key both set {field_}: remove one", key)
            elif field_ and value is not None:
                if problem := problem_with(AGENT_FIELDS[field_], key, value):
                    self._add_problem(problem, key)
                values[field_] = value
            elif key not in _KNOWN_KEYS and key not in _IGNORED_KEYS:
                hint = suggestion(key, _KNOWN_KEYS)
                for section, fields_ in (("limits", LIMITS), ("ai_config", CONFIG_FIELDS)):
                    if key in fields_:
                        hint = f"write it under {section}, as {section}: {{{key}: …}}"
                        break
                self._add_problem(f"unknown key {key!r} of an agent; {hint}", key)
        self._ignored += sorted(_IGNORED_KEYS & set(source))
        return values

    def _name(self, id_: str, source: Mapping[str, Any]) -> tuple[str, str]:
        """Return the name of the agent, and its title if the key `name` has one instead of a name."""
        given = source.get("name")
        if isinstance(given, str) and re.fullmatch(AGENT_NAME, given) and not self._path:
            return given, ""
        if problem := problem_with(AGENT_FIELDS["name"], "name", id_):
            self._add_problem(f"{problem}; an agent is named by its file, or by its key under agents")
        if given is not None and (problem := problem_with(AGENT_FIELDS["title"], "name", given)):
            self._add_problem(problem, "name")
        if isinstance(given, str) and given != id_:
            return id_, given
        return id_, ""

    def _limits(self, source: Mapping[str, Any]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, fields_ in _LIMIT_KEYS.items():
            limits = source.get(key)
            if isinstance(limits, dict):
                for name, value in limits.items():
                    if name in fields_:
                        values |= self._limit(fields_[name], value, key, name)
                    elif key == "limits":
                        self._add_problem(f"unknown limit {name!r}; {suggestion(name, fields_)}", key, name)
                    else:
                        self._ignored.append(name)
            elif limits is not None:
                self._add_problem(f"{key} {short_repr(limits)} is not a mapping", key)
        return values

    def _limit(self, field_: str, value: Any, key: str, name: str) -> dict[str, Any]:
        if value is None:
            return {}
        if problem := problem_with(AGENT_FIELDS[field_], name, value):
            self._add_problem(problem, key, name)
            return {}
        return {field_: value}

    def _prompt(self, source: Mapping[str, Any], written: Any, body: str | None) -> str:
        """Return the system prompt: the text of the file or of a prompt file, and the fragments after it."""
        file = source.get("prompt_file")
        fragments = source.get("fragments") or []
        if sum(text is not None and text != "" for text in (written, body, file)) > 1:
            self._add_problem("the prompt is given twice: as text and by prompt_file; remove one", "prompt_file")
        if file is not None and not (isinstance(file, str) and file):
            self._add_problem(f"prompt_file {short_repr(file)} is not the name of a file", "prompt_file")
            return ""
        if fragments and (problem := problem_with(Words(), "fragments", fragments)):
            self._add_problem(problem, "fragments")
            return ""
        if isinstance(fragments, str):
            fragments = [fragments]
        try:
            text = self._prompts.text(file or "", fragments)
        except ConfigError as error:
            self._add_problem(str(error), "prompt_file" if file else "fragments")
            return ""
        parts = (written, body, text)  # one that is not text is a problem already
        return "\n\n".join(part for part in parts if isinstance(part, str) and part)

    def _config(self, source: Mapping[str, Any], is_markdown: bool) -> ParsedConfig:
        keys = [key for key in _CONFIG_KEYS if source.get(key) is not None]
        short = {key: source[key] for key in _SHORT_CONFIG if source.get(key) is not None}
        if is_markdown and short.get("model") in _NICKNAMES:
            model = short.pop("model")
            self._warn(f"ignored another program's name of a model, {model!r}: the default model answers", "model")
        if len(keys) + bool(short) > 1:
            self._add_problem("the config is given twice: write all of it under ai_config", *keys[:1])
        path: tuple[str, ...] = tuple(keys[:1])
        config: Any = short
        if keys:
            config = source[keys[0]]
        if isinstance(config, str):
            config = {"model": config}
        if not isinstance(config, dict):
            self._add_problem(f"{path[0]} {short_repr(config)} is not a mapping or a model", *path)
            return ParsedConfig()
        parsed = read_config(config, CONFIG_FIELDS, (*self._path, *path))
        self._problems += self._located(parsed.problems)
        self._warnings += self._located(parsed.warnings)
        self._ignored += parsed.ignored
        return parsed

    def _located(self, problems: list[Problem]) -> Iterator[Problem]:
        return (replace(problem, location=self._document.location(problem.path)) for problem in problems)

    def _tools(self, source: Mapping[str, Any], is_markdown: bool) -> tuple[str, ...]:
        """Return the names of the tools. In a Markdown file of another program they may be its own tools."""
        names = given = source.get("tools") or []
        if isinstance(given, str):
            names = [name.strip() for name in given.split(",")]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            self._add_problem(f"tools {short_repr(given)} is not a list of names", "tools")
            return ()
        foreign = [name for name in names if not name.isidentifier() or name[0].isupper()]
        if is_markdown and foreign:
            self._warn(f"ignored another program's tools: {', '.join(foreign)}", "tools")
            names = [name for name in names if name not in foreign]
        for name in names:
            if not name.isidentifier():
                text = f"tools: {short_repr(name)} is not the name of a function of the notebook"
                self._add_problem(f"{text}; a file cannot load code", "tools")
        return tuple(names)
