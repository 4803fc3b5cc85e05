"""What is sent besides the messages, in OpenAI's words, which LiteLLM takes as well."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..config.aiconfig import AIConfig
from ..core.errors import ConfigError
from ..core.messages import ToolSchema

#: Fields of AIConfig that are sent by their own names.
PARAMETERS = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty", "seed")
#: Providers that take a budget of tokens for thinking, as litellm says it for all of them.
THINKING = frozenset({"anthropic", "bedrock", "gemini", "vertex_ai", "deepseek"})


def parameters(config: AIConfig) -> dict[str, Any]:
    """Those that are set.

    Raises:
        ConfigError: the provider has no word for one of them. Nothing was sent.
    """
    given = {name: value for name in PARAMETERS if (value := getattr(config, name)) is not None}
    if config.stop is not None:
        given["stop"] = list(config.stop)
    return given if config.max_reasoning_tokens is None else given | _thinking(config, config.max_reasoning_tokens)


def tools_of(schemas: Sequence[ToolSchema]) -> list[dict[str, Any]]:
    """Tools as a model is told them."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in schemas
    ]


def _thinking(config: AIConfig, limit: int) -> dict[str, Any]:
    """`max_reasoning_tokens` in the words of the provider."""
    if config.provider == "openrouter":
        return {"reasoning": {"max_tokens": limit} if limit else {"enabled": False}}
    if config.provider in THINKING:
        return {"thinking": {"type": "enabled", "budget_tokens": limit} if limit else {"type": "disabled"}}
    raise ConfigError(
        f"max_reasoning_tokens: {config.provider} has no limit in tokens; set what it has under extra, such as "
        "extra: {reasoning_effort: low}. Nothing was sent."
    )
