"""Providers: the variables of their keys, a model to begin with, and the addresses of local servers."""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache, lru_cache
from urllib.parse import urlsplit

from msgspec import Struct

#: How similar a name must be to a known one to be a typing error. No two providers of LiteLLM are so similar.
_SIMILAR_NAME = 0.81
_SCRIPT = "offline/script:"


class Provider(Struct, frozen=True):
    """One provider, under LiteLLM's name of it."""

    variables: tuple[str, ...] = ()
    """The environment variables that may have its key, the preferred one first; empty if it needs none."""
    model: str = ""
    """The model that is used if only a key is set."""
    address: str = ""
    """The address of a local server of this kind."""
    needs_key: bool = True
    """Whether a call needs a key; some providers also authenticate by role."""
    wire: str | None = None
    """Its address in OpenAI's format; empty if only the user knows it; None if it has another format."""
    reasoning: str = ""
    """The field of a reply with the model's reasoning, which is sent back with the results of tools; empty for none."""


#: Providers with a model come first, in the order of preference if several keys are set.
PROVIDERS: dict[str, Provider] = {
    "openrouter": Provider(
        ("OPENROUTER_API_KEY",),
        "openrouter/openai/gpt-4o-mini",
        wire="https://openrouter.ai/api/v1",
        reasoning="reasoning_details",
    ),
    "anthropic": Provider(("ANTHROPIC_API_KEY",), "anthropic/claude-haiku-4-5"),
    "openai": Provider(("OPENAI_API_KEY",), "openai/gpt-4o-mini", wire="https://api.openai.com/v1"),
    "gemini": Provider(("GEMINI_API_KEY", "GOOGLE_API_KEY"), "gemini/gemini-flash-latest"),
    "mistral": Provider(("MISTRAL_API_KEY",), "mistral/mistral-small-latest", wire="https://api.mistral.ai/v1"),
    "groq": Provider(("GROQ_API_KEY",), "groq/openai/gpt-oss-20b", wire="https://api.groq.com/openai/v1"),
    "deepseek": Provider(
        ("DEEPSEEK_API_KEY",),
        "deepseek/deepseek-flash",
        wire="https://api.deepseek.com/v1",
        reasoning="reasoning_content",
    ),
    "xai": Provider(("XAI_API_KEY",), "xai/grok-4.3-latest", wire="https://api.x.ai/v1"),
    "together_ai": Provider(
        ("TOGETHERAI_API_KEY",), "together_ai/openai/gpt-oss-120b", wire="https://api.together.xyz/v1"
    ),
    "cerebras": Provider(("CEREBRAS_API_KEY",)),
    "cohere": Provider(("COHERE_API_KEY",)),
    "dashscope": Provider(("DASHSCOPE_API_KEY",)),
    "deepinfra": Provider(("DEEPINFRA_API_KEY",)),
    "fireworks_ai": Provider(("FIREWORKS_AI_API_KEY",)),
    "huggingface": Provider(("HUGGINGFACE_API_KEY",)),
    "moonshot": Provider(("MOONSHOT_API_KEY",), reasoning="reasoning_content"),
    "nebius": Provider(("NEBIUS_API_KEY",)),
    "nvidia_nim": Provider(("NVIDIA_NIM_API_KEY",)),
    "perplexity": Provider(("PERPLEXITYAI_API_KEY",)),
    "replicate": Provider(("REPLICATE_API_KEY",)),
    "azure": Provider(("AZURE_API_KEY",), needs_key=False),
    "ollama": Provider(address="http://localhost:11434", wire="http://localhost:11434/v1"),
    "ollama_chat": Provider(address="http://localhost:11434", wire="http://localhost:11434/v1"),
    "lm_studio": Provider(address="http://localhost:1234/v1", wire="http://localhost:1234/v1"),
    "llamafile": Provider(address="http://localhost:8080/v1", wire="http://localhost:8080/v1"),
    "hosted_vllm": Provider(("HOSTED_VLLM_API_KEY",), needs_key=False, wire=""),
    "vllm": Provider(needs_key=False, wire=""),
    "offline": Provider(),
}


def address_variables(provider: str) -> tuple[str, ...]:
    """Return the environment variables that may have the address of a provider's server, the preferred one first."""
    if not provider or provider == "offline":
        return ()
    known = PROVIDERS.get(provider)
    if known and known.wire is not None and provider != "openai":
        return (f"{provider.upper()}_API_BASE",)
    return (f"{provider.upper()}_API_BASE", f"{provider.upper()}_BASE_URL")  # LiteLLM reads one of these


@lru_cache(maxsize=256)
def is_own(address: str) -> bool:
    """Whether an address is that of a server of one's own, which may need no key, and not one of a provider."""
    try:
        return bool(address) and urlsplit(address).hostname not in _hosts()
    except ValueError:  # not an address: the call reports it
        return True


def public(address: str) -> str:
    """Return an address without a name and password, or a query: a variable of the environment may have them."""
    return _USER.sub("://[redacted]@", address.partition("?")[0])


#: The name and password in an address.
_USER = re.compile(r"://[^/@\s]+@")


@cache
def _hosts() -> frozenset[str | None]:
    """Return the hosts of providers that need a key."""
    return frozenset(urlsplit(one.wire).hostname for one in PROVIDERS.values() if one.wire and one.variables)


@cache
def misspelt(provider: str) -> str:
    """Return the known provider of which this is a misspelling; empty for other names."""
    if provider in PROVIDERS:
        return ""
    return next(iter(get_close_matches(provider.lower(), PROVIDERS, 1, _SIMILAR_NAME)), "")


def canonical(model: str, provider: str = "") -> str:
    """Return LiteLLM's `provider/model` for other ways to write it.

    `openai/gpt-4o` of the provider openrouter becomes `openrouter/openai/gpt-4o`, and is never prefixed twice.
    OpenRouter's own `openrouter/auto` becomes `openrouter/openrouter/auto`, since each of its models has a vendor.
    `anthropic:claude-x` is accepted if a known provider stands before the first colon, so `ollama/llama3:8b` stays.
    """
    prefix, colon, rest = model.partition(":")
    known = (provider,) if provider else PROVIDERS
    if colon and rest and prefix in known:
        return f"{prefix}/{rest}"
    if not provider:
        return model
    before, slash, rest = model.partition("/")
    prefixed = slash and before == provider and (provider != "openrouter" or "/" in rest)
    if prefixed:
        return model
    return f"{provider}/{model}"


def rules_path(model: str | None) -> str:
    """Return the file of rules that a model names, `offline/script:RULES.yaml`; empty for every other model."""
    if model and model.startswith(_SCRIPT):
        return model.removeprefix(_SCRIPT)
    return ""


def known_models() -> list[str]:
    """Return models to suggest; any of LiteLLM's is allowed."""
    return ["offline/echo", *(provider.model for provider in PROVIDERS.values() if provider.model)]
