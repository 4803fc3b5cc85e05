"""What is known of providers: the variable that holds a key, a model to begin with, where a local server listens."""

from __future__ import annotations

from difflib import get_close_matches
from functools import cache

from msgspec import Struct

#: How much a name must be like a known one to be taken for a slip; no other provider of LiteLLM's is so near to one.
_ALMOST = 0.81


class Provider(Struct, frozen=True):
    """One provider, by LiteLLM's own names."""

    variables: tuple[str, ...] = ()
    """The environment variables that may hold its key; the first is the one to tell people. Empty: it needs none."""
    model: str = ""
    """The model that a key alone selects."""
    address: str = ""
    """Where a server of this kind listens on one's own machine."""
    needs_key: bool = True
    """Whether it cannot be reached without one; some also sign in by role."""
    wire: str | None = None
    """Where it speaks OpenAI's format, empty where only the user knows; None where it does not speak it."""
    reasoning: str = ""
    """The field in which it gives what the model thought, and wants it back with the results of tools; empty for none."""


#: Providers with a model come first, in the order of preference where several keys are set.
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


@cache
def misspelt(provider: str) -> str:
    """The known provider that was meant by a name that is almost its own; empty where it may be any other of LiteLLM's."""
    return "" if provider in PROVIDERS else next(iter(get_close_matches(provider.lower(), PROVIDERS, 1, _ALMOST)), "")


def canonical(model: str, provider: str = "") -> str:
    """LiteLLM's `provider/model` for what people write.

    `openai/gpt-4o` of the provider openrouter is `openrouter/openai/gpt-4o`, and never prefixed twice; OpenRouter's own
    `openrouter/auto` is `openrouter/openrouter/auto`, since its models always have a vendor. `anthropic:claude-x` is
    understood where a known provider stands before a colon that no slash precedes, so `ollama/llama3:8b` stays.
    """
    prefix, colon, rest = model.partition(":")
    if colon and rest and prefix in ((provider,) if provider else PROVIDERS):
        return f"{prefix}/{rest}"
    if not provider:
        return model
    before, slash, rest = model.partition("/")
    prefixed = slash and before == provider and (provider != "openrouter" or "/" in rest)
    return model if prefixed else f"{provider}/{model}"


def known_models() -> list[str]:
    """Models worth proposing where a model is typed; any of LiteLLM's is allowed."""
    return ["offline/echo", *(provider.model for provider in PROVIDERS.values() if provider.model)]
