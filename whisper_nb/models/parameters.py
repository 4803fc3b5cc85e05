"""The parameters of a call besides its messages, in OpenAI's format, which LiteLLM accepts as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..config.aiconfig import AIConfig
from ..core.errors import ConfigError
from ..core.messages import ToolSchema

#: Fields of AIConfig that are sent under their own names.
PARAMETERS = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty", "seed")
#: Providers that accept a token budget for reasoning, in LiteLLM's common format.
THINKING = frozenset({"anthropic", "bedrock", "gemini", "vertex_ai", "deepseek"})


def parameters(config: AIConfig) -> dict[str, Any]:
    """Return the parameters that are set.

    Raises:
        ConfigError: the provider does not support one of them. Nothing was sent.
    """
    given = {name: value for name in PARAMETERS if (value := getattr(config, name)) is not None}
    if config.stop is not None:
        given["stop"] = list(config.stop)
    return given if config.max_reasoning_tokens is None else given | _thinking(config, config.max_reasoning_tokens)


def tools_of(schemas: Sequence[ToolSchema]) -> list[dict[str, Any]]:
    """Return the tools in OpenAI's format."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in schemas
    ]


def _thinking(config: AIConfig, limit: int) -> dict[str, Any]:
    """Return `max_reasoning_tokens` as the provider's own parameter."""
    if config.provider == "openrouter":
        return {"reasoning": {"max_tokens": limit} if limit else {"enabled": False}}
    if config.provider in THINKING:
        return {"thinking": {"type": "enabled", "budget_tokens": limit} if limit else {"type": "disabled"}}
    raise ConfigError(
        f"max_reasoning_tokens: {config.provider} has no limit in tokens; set what it has under extra, such as "
        "extra: {reasoning_effort: low}. Nothing was sent."
    )
