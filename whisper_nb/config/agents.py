"""Agent: the frozen spec of an agent, and the one validation behind YAML, Python, magics and forms."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, TypedDict, Unpack, overload

from ..core.continuing import Continuation
from ..core.errors import ConfigError, Problem, sealed_with
from ..core.limits import NO_LIMITS, RunLimits
from ..core.text import short_repr
from ..tools.functions import as_defined_now, as_tool
from ..tools.outputs import OutputType, T_co
from ..tools.tool import Tool
from ..tools.type_names import FindType
from .aiconfig import KEYWORDS, UNSET, AIConfig, plain, repr_of
from .kinds import FULL_MEMORY, Color, ContinuationPolicy, Kind, Memory, MemoryPolicy, Number, Text, problem_with

#: The fields that limit a run. In a file they stand under `limits`.
LIMITS = ("max_turns", "max_total_tokens", "max_cost_usd", "timeout_s", "max_prompt_tokens")
AGENT_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
_SYSTEM_PROMPT = (
    "You are {name}, an assistant working in the background of a Jupyter notebook. Answer briefly, in Markdown."
)


#: The reason why a typed answer and a continuation exclude each other.
NO_CONTINUATION = (
    "an agent with a continuation goes on until a line of text says that it is done, which an answer of an output type "
    "cannot have: leave out one of the two"
)


def _field(kind: Kind, default: Any = "") -> Any:
    return field(default=default, metadata={"kind": kind})


class AgentFields(TypedDict, total=False):
    """The arguments of `Agent` besides its name and output type, for type checkers."""

    title: str
    role: str
    description: str
    icon: str
    color: str
    system_prompt: str
    model: str | None
    config: AIConfig | Mapping[str, Any] | str | None
    tools: Iterable[Tool | Callable[..., Any] | str]
    max_turns: int
    max_total_tokens: int | None
    max_cost_usd: float | None
    timeout_s: float | None
    max_prompt_tokens: int | None
    memory: Memory | Mapping[str, int] | str
    continuation: Continuation | Mapping[str, Any] | int | None


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Agent(Generic[T_co]):
    """The spec of an agent. Equal specs are the same agent, so that a cell with `%agent new` may be rerun.

    `Agent[Verdict]` is an agent whose answers are instances of `Verdict`.

    Args:
        name: a letter, then letters, digits, `_` or `-`; 64 characters at most.
        title: a name for display.
        role: one or two words for display.
        description: one line for display.
        icon: an emoji, or a few characters, that is displayed beside the name.
        color: the color of the name, in CSS.
        system_prompt: the system prompt; if it is empty, a short default is sent.
        model: a short form of `config`: its model, as `provider/model`.
        config: an AIConfig, a dict of its fields, or a model string; `model` takes precedence over its model.
        tools: tools, functions, or names of functions that the notebook defines.
        output_type: the type of its answers, or its name in the notebook; by default text. See `OutputType`.
        max_turns: the limit of model calls in one run.
        max_total_tokens: the limit of tokens in one run, sent and received.
        max_cost_usd: the limit of the cost of one run, in US dollars.
        timeout_s: the timeout of a run, in seconds.
        max_prompt_tokens: the limit of tokens that one model call may send.
        memory: the part of its history that a run gets: `all`, `none`, `last:10` or `tokens:4000`.
        continuation: how it goes on by itself, for example `{"max_iterations": 5, "until": "DONE"}`; see the field.

    Raises:
        ConfigError: one or more fields are invalid: the name, a limit, a tool, two tools of one name, the config, an
            output type without a JSON Schema. One error has all problems.
    """

    name: str = _field(
        Text(pattern=AGENT_NAME, allowed="a letter followed by letters, digits, '_' or '-' (64 at most)")
    )
    """A letter, then letters, digits, `_` or `-`; 64 characters at most."""
    title: str = _field(Text(allowed="a line of text"))
    """A name for display: `Alice the Assistant`."""
    role: str = _field(Text(allowed="a line of text"))
    """One or two words for display: `planner`."""
    description: str = _field(Text(allowed="a line of text"))
    """One line for display in lists and the panel. It is not sent to the model."""
    icon: str = _field(Text(pattern=r"\S{0,8}", allowed="an emoji, or a few characters without space"))
    """An emoji, or a few characters, that is displayed beside the name."""
    color: str = _field(Color())
    """The color of the name, in CSS: `#2F7DE1`, `teal`."""
    system_prompt: str = _field(Text(lines=True))
    """The system prompt; if it is empty, a short default is sent."""
    config: AIConfig = UNSET
    """The agent's layer of config; the other layers set the rest."""
    tools: tuple[Tool, ...] = ()
    """The tools. Functions have become tools."""
    output_type: OutputType | None = None
    """The type of its answers. None: text."""
    max_turns: int = _field(Number(1, whole=True), 20)
    """The limit of model calls in one run; one more fails the run with TurnLimitExceeded."""
    max_total_tokens: int | None = _field(Number(1, whole=True, unit="tokens"), None)
    """The limit of tokens in one run, those sent and received by all its model calls. A call that surely exceeds it is
    not sent, and a reply that does is stopped: LimitExceeded. None: no limit."""
    max_cost_usd: float | None = _field(Number(0, above=True, unit="US dollars"), None)
    """The limit of the cost of one run, in US dollars, as `max_total_tokens`. It needs the model's price. None: no
    limit."""
    timeout_s: float | None = _field(Number(0, above=True, unit="seconds"), None)
    """The timeout of a run, in seconds, unless the run has its own."""
    max_prompt_tokens: int | None = _field(Number(1, whole=True, unit="tokens"), None)
    """The limit of tokens that one model call may send; more fails the run with PromptLimitExceeded. None: no limit."""
    memory: Memory = field(default=FULL_MEMORY, metadata={"kind": MemoryPolicy()})
    """The part of its history that a run gets: `all`, `none`, `{"last": 10}` for the newest 10 exchanges, each a
    prompt with everything up to the next, or `{"tokens": 4000}` for the newest exchanges of about so many tokens. As
    text, `last:10` and `tokens:4000`. The history itself keeps everything."""
    continuation: Continuation | None = field(default=None, metadata={"kind": ContinuationPolicy()})
    """How it goes on by itself: after a reply whose last line does not contain `until`, it is told to go on. A run
    succeeds with the first reply that does, or with the `max_iterations`-th one, and a notice says so. The system
    prompt tells the model about `until`. `run.text` leaves that line out; the history keeps it. Each reply is a turn,
    and counts for `max_turns`. Not together with an output type. None: a run ends with its first answer."""

    @overload
    def __init__(self, name: str, *, output_type: type[T_co] | None = None, **fields: Unpack[AgentFields]) -> None: ...
    @overload
    def __init__(self: Agent[Any], name: str, *, output_type: object, **fields: Unpack[AgentFields]) -> None: ...
    @sealed_with(KEYWORDS)
    def __init__(
        self,
        name: str,
        *,
        title: str = "",
        role: str = "",
        description: str = "",
        icon: str = "",
        color: str = "",
        system_prompt: str = "",
        model: str | None = None,
        config: AIConfig | Mapping[str, Any] | str | None = None,
        tools: Iterable[Tool | Callable[..., Any] | str] = (),
        output_type: object = None,
        max_turns: int = 20,
        max_total_tokens: int | None = None,
        max_cost_usd: float | None = None,
        timeout_s: float | None = None,
        max_prompt_tokens: int | None = None,
        memory: Memory | Mapping[str, int] | str = FULL_MEMORY,
        continuation: Continuation | Mapping[str, Any] | int | None = None,
    ) -> None:
        given = locals()
        problems: list[Problem] = []
        for field_, kind in AGENT_FIELDS.items():
            value = given[field_]
            if value is None and _DEFAULTS[field_] is None:
                object.__setattr__(self, field_, None)
            elif text := problem_with(kind, field_, value):
                problems.append(Problem((field_,), text))
            else:
                object.__setattr__(self, field_, kind.read(value))
        try:
            object.__setattr__(self, "config", AIConfig.of(config, model=model))
        except ConfigError as error:
            problems += [Problem(("config", *problem.path), problem.text) for problem in error.problems]
        problems += [*self._take_tools(tools), *self._take_output(output_type)]
        if problems:
            raise ConfigError.of([Problem(one.path, f"{_subject(one, name)}{one.text}") for one in problems])

    def _take_tools(self, given: object) -> list[Problem]:
        if not isinstance(given, Iterable) or isinstance(given, str):
            text = f"tools {short_repr(given)} is not a list of functions"
            if isinstance(given, str):
                text += f"; write tools=({given!r},)"
            elif inspect.isroutine(given):
                text += f"; write tools=({given.__name__},)"
            return [Problem(("tools",), text)]
        tools: list[Tool] = []
        problems: list[Problem] = []
        for number, source in enumerate(given):
            try:
                tools.append(as_tool(source))
            except ConfigError as error:
                problems.append(Problem(("tools", number), str(error)))
        object.__setattr__(self, "tools", tuple(tools))
        names = [tool.name for tool in tools]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            text = f"two tools named {', '.join(twice)}: rename one, for a model calls tools by name"
            problems.append(Problem(("tools",), text))
        return problems

    def _take_output(self, given: object) -> list[Problem]:
        output: OutputType | None = None
        try:
            if given is not None:
                output = OutputType.of(given)
        except ConfigError as error:
            return [Problem(("output_type",), str(error))]
        if output is not None and output.is_text:
            output = None
        object.__setattr__(self, "output_type", output)
        if output is not None and getattr(self, "continuation", None):
            return [Problem(("output_type",), NO_CONTINUATION)]
        return []

    def __repr__(self) -> str:
        return repr_of(self)

    @property
    def limits(self) -> RunLimits:
        """The limits of each run that has none of its own."""
        return RunLimits(self.max_turns, self.max_total_tokens, self.max_cost_usd, self.timeout_s)

    @property
    def instructions(self) -> str:
        """The system prompt that is sent to the model."""
        own = self.system_prompt or _SYSTEM_PROMPT.format(name=self.name)
        if self.continuation is None:
            return own
        return f"{own}\n\n{self.continuation.instructions}"

    def with_tools_of_now(self, find: Callable[[str], Tool | Callable[..., Any]]) -> Agent[T_co]:
        """Return the agent with the functions that cells define now under the names of its tools.

        Args:
            find: returns the function of a name that cells define, or raises ConfigError.
        """
        tools = tuple(as_defined_now(tool, find) for tool in self.tools)
        is_same = all(now is before for now, before in zip(tools, self.tools, strict=True))
        return self if is_same else replace(self, tools=tools)

    def with_type_of_now(self, find: FindType) -> Agent[T_co]:
        """Return the agent with the classes that cells define now under the names in its output type.

        Args:
            find: returns the type that a text names, or raises ConfigError.

        Raises:
            ConfigError: the new type has no JSON Schema.
        """
        output = self.output_type
        now = output and output.as_defined_now(find)
        return self if now is output else replace(self, output_type=now)

    def document(self) -> dict[str, Any]:
        """Return the agent as data for a file: fields that differ from the default, tools by name, no literal key."""
        values = {name: value for name in AGENT_FIELDS if (value := getattr(self, name)) != _DEFAULTS[name]}
        limits = {name: values.pop(name) for name in LIMITS if name in values}
        prompt = values.pop("system_prompt", "")
        if "memory" in values:
            values["memory"] = self.memory.document()
        if self.continuation is not None:
            values["continuation"] = self.continuation.document()
        values["ai_config"] = plain(self.config)
        values["tools"] = [tool.name for tool in self.tools]
        values["output_type"] = self.output_type and self.output_type.label
        values["limits"] = limits
        values["system_prompt"] = prompt  # last, because it is the longest
        return {name: value for name, value in values.items() if value}


def run_limits(
    max_turns: int | None = None,
    max_total_tokens: int | None = None,
    max_cost_usd: float | None = None,
    timeout_s: float | None = None,
) -> RunLimits:
    """Return the limits of one run; None where it has none of its own.

    Raises:
        ConfigError: a limit has a wrong type, or is not above 0.
    """
    if max_turns is None and max_total_tokens is None and max_cost_usd is None and timeout_s is None:
        return NO_LIMITS
    limits = {name: value for name, value in locals().items() if value is not None}
    problems = {name: text for name, value in limits.items() if (text := problem_with(AGENT_FIELDS[name], name, value))}
    if problems:
        raise ConfigError.of(Problem((name,), text) for name, text in problems.items())
    return RunLimits(**{name: AGENT_FIELDS[name].read(value) for name, value in limits.items()})


def _subject(problem: Problem, name: str) -> str:
    if problem.path == ("name",):
        return "agent "  # its text has the name
    return f"agent {name!r}: "


#: Field → its kind.
AGENT_FIELDS: Mapping[str, Kind] = {one.name: one.metadata["kind"] for one in fields(Agent) if "kind" in one.metadata}
_DEFAULTS = {one.name: one.default for one in fields(Agent)}
