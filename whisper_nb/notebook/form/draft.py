"""Draft: an agent as typed into the form, checked as YAML and Python are; and an agent as YAML and as Python. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from dataclasses import replace as replace_field
from textwrap import indent
from typing import Any

from msgspec.structs import replace

from ...config.agentfiles import FindTool
from ...config.agents import AGENT_FIELDS, Agent
from ...config.aiconfig import CONFIG_FIELDS, AIConfig, plain
from ...config.kinds import Address, Color, KeyReference, Kind, Memory, ModelName, Params, Price, Text, Words
from ...config.yamlfile import MAX_FILE_BYTES, dump_yaml, parse_yaml
from ...core.continuing import Continuation
from ...core.errors import ConfigError, Problem, sealed
from ...core.text import mask_keys, short_repr, valid_unicode
from ...tools.functions import as_tool
from ...tools.outputs import OutputType
from ...tools.tool import Tool
from ...tools.type_names import FindType, label_of, type_of_main

#: The path of a field: `("name",)`, `("config", "temperature")`.
FieldPath = tuple[str, ...]

NAME, TOOLS, OUTPUT = ("name",), ("tools",), ("output_type",)
#: The first part of the paths of fields of an agent's config.
CONFIG = "config"
#: Every field that can be typed → its kind; tools are names, separated by commas; an output type is its name.
FIELDS: Mapping[FieldPath, Kind] = {
    **{(name,): kind for name, kind in AGENT_FIELDS.items()},
    TOOLS: Words(),
    OUTPUT: Text(allowed="the name of a class that a cell defines, or a type such as list[str]"),
    **{(CONFIG, name): kind for name, kind in CONFIG_FIELDS.items()},
}
#: Columns of the Python, which is shown beside the YAML.
_WIDTH = 60


@dataclass(frozen=True, slots=True)
class Draft:
    """An agent as a user types it.

    Texts are used as they are, without the space around a text of one line. Everything else is read as YAML, so that
    `stop` may be `END` or `[END, STOP]`. An empty field is not set.
    """

    typed: Mapping[FieldPath, str]
    """The text of each field."""

    @sealed
    def build(self, find_tool: FindTool, find_type: FindType = type_of_main) -> Agent[Any]:
        """Return the agent.

        Args:
            find_tool: returns the function that a tool's name refers to.
            find_type: returns the type that a text names.

        Raises:
            ConfigError: lists all problems, each with a path from which `field_of` derives its field.
        """
        values, problems = self._read(find_tool, find_type)
        config = {path[-1]: value for path, value in values.items() if path[0] == "config"}
        own = {path[0]: value for path, value in values.items() if path[0] != "config" and value is not None}
        try:
            agent = Agent(**{"name": "", **own}, config=config)
        except ConfigError as error:
            known = set(map(field_of, problems))
            prefix = mask_keys(f"agent {own.get('name', '')!r}: ")
            problems += [
                replace(one, text=one.text.removeprefix(prefix)) for one in error.problems if field_of(one) not in known
            ]
        if problems:
            raise ConfigError.of(problems)
        return agent

    def _read(self, find_tool: FindTool, find_type: FindType) -> tuple[dict[FieldPath, Any], list[Problem]]:
        texts = {path: text for path in FIELDS if (text := self._text(path))}
        longest = max(texts, key=lambda path: len(texts[path]), default=NAME)
        if (size := sum(map(len, texts.values()))) > MAX_FILE_BYTES:
            text = (
                f"{longest[-1]} is too long: all fields have {size:,} characters, and a file at most {MAX_FILE_BYTES:,}"
            )
            raise ConfigError.of([Problem(longest, text)])
        problems: list[Problem] = []
        if NAME not in texts:
            problems.append(Problem(NAME, f"the name is missing: {FIELDS[NAME].allowed}"))
        values: dict[FieldPath, Any] = {}
        for path, text in texts.items():
            try:
                if path == TOOLS:
                    values[path] = _tools(text, find_tool)
                elif path == OUTPUT:
                    values[path] = OutputType.of(find_type(text))
                else:
                    values[path] = _value(path, text)
            except ConfigError as error:
                problems += [replace(one, path=one.path or path, location="") for one in error.problems]
        return values, problems

    def _text(self, path: FieldPath) -> str:
        text = valid_unicode(self.typed.get(path, ""))
        if path == ("system_prompt",):
            return text
        return text.strip()


def field_of(problem: Problem) -> FieldPath:
    """Return the field that a problem belongs to."""
    return tuple(map(str, problem.path[: 2 if problem.path[:1] == ("config",) else 1]))


def yaml_of(agent: Agent) -> str:
    """Return the agent as `Runtime.save` writes it to `agents/NAME.yaml`."""
    return dump_yaml(agent.document())


def python_of(agent: Agent) -> str:
    """Return a cell that creates the agent in any kernel in which its tools are defined."""
    arguments: dict[str, str] = {}
    for one in fields(agent):
        value = getattr(agent, one.name)
        if one.name == "config" and value.model:
            arguments["model"] = repr(value.model)
            value = replace_field(value, model=None)
        if value != one.default:
            arguments[one.name] = _expression(value)
    return f"import whisper_nb as wnb\n\nrt = wnb.runtime()\nrt.create({_call('wnb.Agent', arguments)})"


def _value(path: FieldPath, text: str) -> Any:
    """Return the value that a text means; it is checked when the agent is created."""
    kind, name = FIELDS[path], path[-1]
    if isinstance(kind, KeyReference):
        # Any other text counts as a key. It would be masked with each letter that is typed.
        if not text.startswith(("os.environ/", "$")) or mask_keys(text) != text:
            raise ConfigError(f"{name} must not be a key: write {kind.allowed}, the variable that holds it")
        return text
    if isinstance(kind, Text | Color | ModelName | Address):
        return text
    if text.startswith("#"):
        raise ConfigError(f"{name}: {short_repr(text)} is a comment in YAML: put it in quotes")
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
    if tool.name != name:  # a file, and Python, would look up the other name
        raise ConfigError(f"tool {name!r} has the name {short_repr(tool.name)}: assign it to a variable of that name")
    return tool


def _expression(value: Any) -> str:
    match value:
        case AIConfig():
            fields_set = {name: getattr(value, name) for name, one in plain(value).items() if one is not None}
            if value.cleared:
                fields_set["cleared"] = value.cleared
            return _call("wnb.AIConfig", {name: _expression(one) for name, one in fields_set.items()})
        case Params():
            return repr(dict(value))
        case Memory() | Price() | Continuation():
            return repr(value.document())
        case OutputType():
            label = label_of(value.source)
            # The name of a special form is not defined in a cell, and None is text: as text, both are the type.
            return repr(label) if "Literal[" in label or label == "None" else label
        case tuple():
            items = [repr(one) if isinstance(one, str) else one.name for one in value]
            return f"({', '.join(items)}{',' * (len(items) == 1)})"
        case str() if len(lines := value.splitlines(keepends=True)) > 1:
            return _broken("(", map(repr, lines), ")")
    return repr(value)


def _call(function: str, arguments: Mapping[str, str]) -> str:
    given = [f"{name}={value}" for name, value in arguments.items()]
    line = f"{function}({', '.join(given)})"
    if len(line) <= _WIDTH and "\n" not in line:
        return line
    return _broken(f"{function}(", [f"{one}," for one in given], ")")


def _broken(before: str, lines: Iterable[str], after: str) -> str:
    return "\n".join([before, *(indent(line, "    ") for line in lines), after])
