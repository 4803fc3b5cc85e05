"""Agent: the frozen spec of one member of the team."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from .config import AIConfig
from .errors import ConfigError
from .tools import Tool, as_tool

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_UNSET = AIConfig()
_SYSTEM_PROMPT = (
    "You are {name}, an assistant working in the background of a Jupyter notebook. Answer briefly, in Markdown."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who an agent is. Two equal specs are the same agent: `%agent new` may be rerun.

    Raises:
        ConfigError: a bad name, a limit below 1, a tool that is none, or two tools of one name.
    """

    name: str
    """A letter, then letters, digits, `_` or `-`; at most 64."""
    description: str = ""
    """One line for people: lists and panels show it, the model does not see it."""
    system_prompt: str = ""
    """What the model is told first; empty: a short standard text."""
    config: AIConfig = _UNSET
    """What this agent sets of its config; the rest comes from the runtime and the environment. A dict or a model
    string is understood too."""
    tools: tuple[Tool | Callable[..., Any], ...] = ()
    """Tools, or named functions that become tools."""
    max_turns: int = 20
    """Model calls in one run; one more fails the run with TurnLimitExceeded."""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise ConfigError(
                f"agent name {self.name!r} is not a letter followed by letters, digits, '_' or '-' (64 at most)"
            )
        if self.max_turns < 1:
            raise ConfigError(f"max_turns {self.max_turns!r} of agent {self.name} is not at least 1")
        object.__setattr__(self, "config", AIConfig.of(self.config))
        object.__setattr__(self, "tools", tuple(as_tool(tool) for tool in self.tools))
        names = [tool.name for tool in self.as_tools]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ConfigError(
                f"agent {self.name} has two tools named {', '.join(sorted(twice))}; a model could not tell them apart"
            )

    @property
    def instructions(self) -> str:
        """The system prompt that is sent."""
        return self.system_prompt or _SYSTEM_PROMPT.format(name=self.name)

    @property
    def as_tools(self) -> tuple[Tool, ...]:
        """The tools, every function wrapped."""
        return cast(tuple[Tool, ...], self.tools)
