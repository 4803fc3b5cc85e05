"""Agent: the frozen spec of one member of the team, and the one validation behind YAML, Python, magics and forms."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, cast

from ..core.errors import ConfigError, Problem, sealed
from ..core.text import short_repr
from ..tools.functions import as_tool
from ..tools.tool import Tool
from .aiconfig import UNSET, AIConfig, plain
from .kinds import Kind, Number, Text, problem_with

AGENT_NAME = r"[A-Za-z][A-Za-z0-9_-]{0,63}"
_SYSTEM_PROMPT = (
    "You are {name}, an assistant working in the background of a Jupyter notebook. Answer briefly, in Markdown."
)


def _field(kind: Kind, default: Any = "") -> Any:
    return field(default=default, metadata={"kind": kind})


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who an agent is. Two equal specs are the same agent: `%agent new` may be rerun.

    Raises:
        ConfigError: everything that is wrong, in one error: a bad name, a limit below 1, a tool that is none, two tools of
            one name, a config that is none.
    """

    name: str = _field(
        Text(pattern=AGENT_NAME, allowed="a letter followed by letters, digits, '_' or '-' (64 at most)")
    )
    """A letter, then letters, digits, `_` or `-`; at most 64."""
    title: str = _field(Text(allowed="a line of text"))
    """The name as people say it: `Alice the Assistant`."""
    role: str = _field(Text(allowed="a line of text"))
    """A word or two for people: `planner`."""
    description: str = _field(Text(allowed="a line of text"))
    """One line for people: lists and panels show it, the model does not see it."""
    icon: str = _field(Text(pattern=r"\S{0,8}", allowed="an emoji, or a few characters without space"))
    """Shown beside the name."""
    color: str = _field(
        Text(pattern=r"(#[0-9A-Fa-f]{3}|#[0-9A-Fa-f]{6}|[a-z]{3,20})?", allowed="a color such as '#2F7DE1' or teal")
    )
    """Of the name, in CSS's words: `#2F7DE1`, `teal`."""
    system_prompt: str = _field(Text(lines=True))
    """What the model is told first; empty: a short standard text."""
    config: AIConfig = UNSET
    """What this agent sets of its config; the rest comes from the runtime and the environment. A dict or a model
    string is understood too."""
    tools: tuple[Tool | Callable[..., Any], ...] = ()
    """Tools, or named functions that become tools."""
    max_turns: int = _field(Number(1, whole=True), 20)
    """Model calls in one run; one more fails the run with TurnLimitExceeded."""
    timeout_s: float | None = _field(Number(0, above=True, unit="seconds"), None)
    """Seconds for one whole run, where the run itself does not say."""

    def __post_init__(self) -> None:
        problems: list[Problem] = []
        for name, kind in AGENT_FIELDS.items():
            value = getattr(self, name)
            if name == "timeout_s" and value is None:
                continue
            if text := problem_with(kind, name, value):
                problems.append(Problem((name,), text))
            else:
                object.__setattr__(self, name, kind.read(value))
        try:
            object.__setattr__(self, "config", AIConfig.of(self.config))
        except ConfigError as error:
            problems += [Problem(("config", *problem.path), problem.text) for problem in error.problems]
        problems += self._take_tools()
        if problems:
            raise ConfigError.of([Problem(one.path, f"agent {self.name!r}: {one.text}") for one in problems])

    def _take_tools(self) -> list[Problem]:
        given: Any = self.tools
        if not isinstance(given, Iterable) or isinstance(given, str):
            return [Problem(("tools",), f"tools {short_repr(given)} is not a list of functions")]
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
            text = f"two tools named {', '.join(twice)}; a model could not tell them apart"
            problems.append(Problem(("tools",), text))
        return problems

    @property
    def instructions(self) -> str:
        """The system prompt that is sent."""
        return self.system_prompt or _SYSTEM_PROMPT.format(name=self.name)

    @property
    def as_tools(self) -> tuple[Tool, ...]:
        """The tools, every function wrapped."""
        return cast(tuple[Tool, ...], self.tools)

    def document(self) -> dict[str, Any]:
        """The agent as a file says it: what differs from the default, tools by name. A key that was written out is left out."""
        said = {
            one.name: value
            for one in fields(self)
            if one.name in AGENT_FIELDS and (value := getattr(self, one.name)) != one.default
        }
        limits = {name: said.pop(name) for name in ("max_turns", "timeout_s") if name in said}
        prompt = {"system_prompt": said.pop("system_prompt")} if self.system_prompt else {}
        config = plain(self.config)
        tools = [tool.name for tool in self.as_tools]
        rest = {"ai_config": config, "tools": tools, "limits": limits}
        return said | {name: value for name, value in rest.items() if value} | prompt


Agent.__init__ = sealed(Agent.__init__)  # type: ignore[method-assign]

#: Field → what it may be.
AGENT_FIELDS: Mapping[str, Kind] = {one.name: one.metadata["kind"] for one in fields(Agent) if "kind" in one.metadata}
