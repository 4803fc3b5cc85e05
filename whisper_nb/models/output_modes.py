"""How an answer with a schema is asked for: `native`, `tool` or `prompt`, by config, price list and provider."""

from __future__ import annotations

from typing import NamedTuple

from ..config.aiconfig import AIConfig
from ..config.providers import PROVIDERS, Provider, is_own
from ..core.messages import OutputMode
from .prices import Listed

#: Providers whose servers constrain what a model writes, whatever the model.
_CONSTRAINING = frozenset({"hosted_vllm", "vllm"})
#: Providers that constrain every newer model: one that is not listed is taken for newer.
_NATIVE = frozenset({"anthropic", "gemini", "mistral", "openai", "xai"})
#: OpenRouter's models are in no list. Those of these makers are constrained:
#: https://openrouter.ai/docs/features/structured-outputs
_NATIVE_AT_OPENROUTER = ("anthropic/claude-", "google/gemini-", "mistralai/", "openai/", "x-ai/")
#: Providers whose models, for the most part, call tools. Azure's names are those of deployments, and tell nothing.
_WITH_TOOLS = frozenset({"azure", "groq", "openrouter"})
#: Providers that constrain a reply to JSON, and not to a schema. The price list counts that as support.
_JSON_ALONE = frozenset({"dashscope", "deepseek", "minimax", "zai"})


class Chosen(NamedTuple):
    """An output mode, and the reason for it."""

    mode: OutputMode
    source: str
    """What decided: `the price list`, for example. Empty where the config sets it."""


def output_mode(config: AIConfig, listed: Listed, model: object = None, address: str = "") -> OutputMode:
    """Return the mode in which a model is asked for an answer with a schema; see `choose`."""
    return choose(config, listed, model, address).mode


def choose(config: AIConfig, listed: Listed, model: object = None, address: str = "") -> Chosen:
    """Return the mode in which a model is asked for an answer with a schema, with the reason.

    Args:
        config: of the call. Its `output_mode` decides if it is set.
        listed: the model's entry in the price list; empty if it has none.
        model: the model itself. An attribute `output_mode` of it comes second.
        address: of the server that takes the place of the provider's, as `own_address` returns it.
    """
    if config.output_mode:
        return Chosen(_mode(config.output_mode), "")
    if stated := getattr(model, "output_mode", None):
        return Chosen(_mode(stated), "the model itself")
    name = (config.model or "").partition("/")[2]
    if config.provider == "offline":
        return _offline(name)
    if _constrains(config, config.api_base or address):
        return Chosen("native", "its server constrains replies")
    if config.provider in _JSON_ALONE:
        listed = {**listed, "supports_response_schema": False}
    if listed.get("supports_response_schema"):
        return Chosen("native", "the price list")
    if listed.get("supports_function_calling"):
        return Chosen("tool", "the price list")
    if listed:
        return Chosen("prompt", "the price list")
    if config.provider in _NATIVE or (config.provider == "openrouter" and name.startswith(_NATIVE_AT_OPENROUTER)):
        return Chosen("native", f"of {config.provider}, whose list does not have it")
    if config.provider in _WITH_TOOLS:
        return Chosen("tool", f"of {config.provider}; the model is not listed")
    return Chosen("prompt", "nothing is known of the model")


def _constrains(config: AIConfig, address: str) -> bool:
    """Whether the server is one of those that constrain replies: llama.cpp's, Ollama, LM Studio, vLLM and others."""
    known = PROVIDERS.get(config.provider, Provider())
    behind_openai = config.provider == "openai" and is_own(address)
    return bool(known.address) or config.provider in _CONSTRAINING or behind_openai


def _offline(name: str) -> Chosen:
    if name == "echo" or name.startswith("script:"):
        return Chosen("native", "the offline model itself")
    return Chosen("prompt", "a model of your own: its attribute output_mode says otherwise")


def _mode(word: str) -> OutputMode:
    match word:
        case "native" | "tool" | "prompt":
            return word
        case _:
            raise ValueError(f"output_mode {word!r} is not native, tool or prompt")
