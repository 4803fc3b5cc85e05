"""Draft: what was typed of an agent, read by the checks behind YAML and Python; and an agent as these two say it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from textwrap import indent
from typing import Any

from msgspec.structs import replace

from ...config.agentfiles import FindTool
from ...config.agents import AGENT_FIELDS, Agent
from ...config.aiconfig import CONFIG_FIELDS, AIConfig, plain
from ...config.kinds import Address, KeyReference, Kind, ModelName, Params, Text, Words
from ...config.yamlfile import MAX_FILE_BYTES, dump_yaml, parse_yaml
from ...core.errors import ConfigError, Problem, sealed
from ...core.text import mask_keys, short_repr, valid_unicode
from ...tools.functions import as_tool
from ...tools.tool import Tool

#: Which field: `("name",)`, `("config", "temperature")`.
Path = tuple[str, ...]

NAME, TOOLS = ("name",), ("tools",)
#: Every field that can be typed → what it may be; tools by their names, with commas between.
FIELDS: Mapping[Path, Kind] = {
    **{(name,): kind for name, kind in AGENT_FIELDS.items()},
    TOOLS: Words(),
    **{("config", name): kind for name, kind in CONFIG_FIELDS.items()},
}
#: Columns of Python, beside YAML.
_WIDTH = 60


@dataclass(frozen=True, slots=True)
class Draft:
    """An agent as somebody types it.

    Text is taken as it is, that of one line without the space around it; everything else is read as YAML, so that a stop
    text may be `END` or `[END, STOP]`. Nothing typed is nothing said.
    """

    typed: Mapping[Path, str]
    """Which field → its text."""

    @sealed
    def build(self, find_tool: FindTool) -> Agent:
        """The agent.

        Args:
            find_tool: gives the function that a tool's name means.

        Raises:
            ConfigError: everything that is wrong, each problem with a path that `field_of` finds its field by.
        """
        said, problems = self._read(find_tool)
        config = {path[-1]: value for path, value in said.items() if path[0] == "config"}
        own = {path[0]: value for path, value in said.items() if path[0] != "config" and value is not None}
        try:
            agent = Agent(**own, config=config)  # type: ignore[arg-type]
        except ConfigError as error:
            known = set(map(field_of, problems))
            prefix = mask_keys(f"agent {own.get('name', '')!r}: ")
            problems += [
                replace(one, text=one.text.removeprefix(prefix)) for one in error.problems if field_of(one) not in known
            ]
        if problems:
            raise ConfigError.of(problems)
        return agent

    def _read(self, find_tool: FindTool) -> tuple[dict[Path, Any], list[Problem]]:
        texts = {path: text for path in FIELDS if (text := self._text(path))}
        longest = max(texts, key=lambda path: len(texts[path]), default=NAME)
        if (size := sum(map(len, texts.values()))) > MAX_FILE_BYTES:
            text = (
                f"{longest[-1]} is too long: all fields have {size:,} characters, and a file at most {MAX_FILE_BYTES:,}"
            )
            raise ConfigError.of([Problem(longest, text)])
        problems = [] if NAME in texts else [Problem(NAME, f"the name is missing: {FIELDS[NAME].allowed}")]
        said: dict[Path, Any] = {}
        for path, text in texts.items():
            try:
                said[path] = _tools(text, find_tool) if path == TOOLS else _value(path, text)
            except ConfigError as error:
                problems += [replace(one, path=one.path or path, location="") for one in error.problems]
        return said, problems

    def _text(self, path: Path) -> str:
        text = valid_unicode(self.typed.get(path, ""))
        return text if path == ("system_prompt",) else text.strip()


def field_of(problem: Problem) -> Path:
    """The field that a problem is with."""
    return tuple(map(str, problem.path[: 2 if problem.path[:1] == ("config",) else 1]))


def yaml_of(agent: Agent) -> str:
    """What `agents/NAME.yaml` says of it, as `Runtime.save` writes it."""
    return dump_yaml(agent.document())


def python_of(agent: Agent) -> str:
    """An expression that makes it; `rt` is the Runtime, `wnb` is whisper_nb, and tools are there by their names."""
    said = {one.name: _expression(value) for one in fields(agent) if (value := getattr(agent, one.name)) != one.default}
    return f"rt.create({_call('wnb.Agent', said)})"


def _value(path: Path, text: str) -> Any:
    """What a text says, which is checked where the agent is made."""
    kind, name = FIELDS[path], path[-1]
    if isinstance(kind, KeyReference):
        # Any other text would be taken for a key and be put away, with each letter that is typed.
        if not text.startswith(("os.environ/", "$")) or mask_keys(text) != text:
            raise ConfigError(f"{name} is not typed out here: write {kind.allowed}, the variable that holds it")
        return text
    if isinstance(kind, Text | ModelName | Address):
        return text
    try:
        return parse_yaml(text.encode(), name).data
    except ConfigError as error:
        raise ConfigError.of(replace(one, text=f"{name}: {one.text}", location="") for one in error.problems) from None


def _tools(text: str, find_tool: FindTool) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    problems: list[Problem] = []
    for number, name in enumerate(filter(None, map(str.strip, text.split(",")))):
        try:
            tools.append(_tool(name, find_tool))
        except ConfigError as error:
            problems.append(Problem((*TOOLS, number), str(error)))
    if problems:
        raise ConfigError.of(problems)
    return tuple(tools)


def _tool(name: str, find_tool: FindTool) -> Tool:
    if not name.isidentifier():
        raise ConfigError(f"tools: {short_repr(name)} is not the name of a function of the notebook")
    tool = as_tool(find_tool(name))
    if tool.name != name:  # a file, and Python, would look for the other one
        raise ConfigError(f"tool {name!r} calls itself {short_repr(tool.name)}: a variable of that name must hold it")
    return tool


def _expression(value: Any) -> str:
    match value:
        case AIConfig():
            said = {name: getattr(value, name) for name, one in plain(value).items() if one is not None}
            said |= {"cleared": value.cleared} if value.cleared else {}
            return _call("wnb.AIConfig", {name: _expression(one) for name, one in said.items()})
        case Params():
            return repr(dict(value))
        case tuple():
            items = [repr(one) if isinstance(one, str) else one.name for one in value]
            return f"({', '.join(items)}{',' * (len(items) == 1)})"
        case str() if len(lines := value.splitlines(keepends=True)) > 1:
            return _broken("(", map(repr, lines), ")")
    return repr(value)


def _call(function: str, arguments: Mapping[str, str]) -> str:
    said = [f"{name}={value}" for name, value in arguments.items()]
    line = f"{function}({', '.join(said)})"
    return (
        line if len(line) <= _WIDTH and "\n" not in line else _broken(f"{function}(", [f"{one}," for one in said], ")")
    )


def _broken(before: str, lines: Iterable[str], after: str) -> str:
    return "\n".join([before, *(indent(line, "    ") for line in lines), after])
