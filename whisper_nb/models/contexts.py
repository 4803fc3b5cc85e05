"""The contexts of models on servers of one's own: learned from their errors, and from what the servers tell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

from ..config.aiconfig import AIConfig, own_address
from ..config.destinations import is_here
from ..config.keys import Key, Keys
from ..config.kinds import FREE, Price
from ..config.providers import PROVIDERS, Provider, is_own
from ..core.errors import ConfigError
from ..core.threads import in_thread
from . import prices
from .local import ask

#: The fields with the size in a list of models: of llama.cpp (`meta`), vLLM, Groq and others, LM Studio.
_FIELDS = ("n_ctx", "max_model_len", "context_window", "loaded_context_length", "context_length", "max_context_length")
#: What a count is raised by if a prompt that should fit is refused, and the server does not tell its size.
_STEP = 1.25
#: The most tokens of a server per counted token: a tokenizer of single bytes needs no more.
_MOST = 8.0


class Context(Struct):
    """The known facts about the context of one model."""

    tokens: int | None = None
    """Its size."""
    per_counted: float = 1.0
    """The server's tokens for each counted token: LiteLLM counts those of unknown models with another tokenizer."""
    asked: bool = False
    """Whether the server was asked."""


class Contexts:
    """The contexts of the models that are called."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._known: dict[tuple[str | None, str], Context] = {}
        self._listed: dict[str, prices.Listed] = {}  # model → its entry in the price list, once it was looked up

    def of(self, config: AIConfig) -> Context:
        """Return what is known of the context of a config's model."""
        key = config.model, own_address(config, self._keys)[0]
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = Context()
        return known

    async def ask(self, config: AIConfig) -> None:
        """Ask the server for the size, once; not the server of a provider. Takes a second at most."""
        known = self.of(config)
        own, _ = own_address(config, self._keys)
        provider = PROVIDERS.get(config.provider, Provider())
        address = own if is_own(own) else ""
        if not own and provider.address:
            address = provider.wire or ""
        if known.asked or not address:
            return
        known.asked = True  # at once: other calls do not ask meanwhile
        try:
            key = self._keys.key(config.provider, config.api_key)
        except ConfigError:  # the call itself reports it
            return
        told = await in_thread(_told, address, config.model or "", key)
        known.tokens = known.tokens or told

    async def listed(self, config: AIConfig) -> prices.Listed:
        """Return the entry of a config's model in the price list; empty for an unlisted or an offline model."""
        model = config.model or ""
        found = self._listed.get(model)
        if found is None:
            found = self._listed[model] = await in_thread(prices.entry, model)
        return found

    def known_listed(self, config: AIConfig) -> prices.Listed:
        """Return the entry, if it was looked up; else an empty one."""
        return self._listed.get(config.model or "", {})

    async def price(self, config: AIConfig, tokens: int) -> Price | None:
        """Return the price of a call with a prompt of so many tokens; None if it is unknown."""
        price = self.declared_price(config)
        if price is None:
            price = prices.listed_price(tokens, await self.listed(config))
        return price

    def declared_price(self, config: AIConfig) -> Price | None:
        """Return the price that the config sets, or that a model on this machine has: none; else None.

        A server of Ollama, LM Studio or llamafile counts as one on this machine where its address says so.
        """
        if config.price is not None:
            return config.price
        provider = PROVIDERS.get(config.provider)
        if config.provider == "offline":
            return FREE
        if provider is None or not provider.address:
            return None
        return FREE if _is_here(own_address(config, self._keys)[0] or provider.address) else None

    def refused(self, config: AIConfig, counted: int, context: int | None, prompt: int | None) -> None:
        """Learn from the refusal of a prompt that is too long.

        Args:
            config: of the call.
            counted: the tokens of the prompt, as counted here.
            context: the size of the context that the server told.
            prompt: the tokens of the prompt that the server told.
        """
        known = self.of(config)
        known.tokens = context or known.tokens
        if prompt:
            self.measured(config, counted, prompt)
        elif known.tokens and counted:  # the prompt has more tokens than fit, and how many more is not known
            known.per_counted = min(_MOST, max(known.per_counted * _STEP, known.tokens / counted))

    def measured(self, config: AIConfig, counted: int, tokens: int) -> None:
        """Learn how many tokens of the server a counted prompt has. Only a higher ratio is kept: it is the safe one."""
        if counted > 0:
            known = self.of(config)
            known.per_counted = min(_MOST, max(known.per_counted, tokens / counted))


@lru_cache(maxsize=256)
def _is_here(address: str) -> bool:
    return is_here(urlsplit(address).hostname or "")


def _told(address: str, model: str, key: Key | None) -> int | None:
    """Return the size that a server tells, in its list of models or in its properties. Blocks: called in a thread."""
    base = address.rstrip("/").removesuffix("/chat/completions")
    name = model.partition("/")[2]
    for entry in _entries(ask(f"{base}/models", key), name):
        for part in (entry.get("meta"), entry):
            if isinstance(part, Mapping) and (size := _size(part)):
                return size
    properties = ask(f"{base.removesuffix('/v1')}/props", key)
    if not isinstance(properties, Mapping):
        return None
    settings = properties.get("default_generation_settings")
    if isinstance(settings, Mapping) and (size := _size(settings)):
        return size
    return _size(properties)


def _entries(listed: Any, name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the model's entry in a list; the only one if it has another name, as where a server ignores names."""
    models = listed.get("data") if isinstance(listed, Mapping) else listed
    if not isinstance(models, list):
        return
    entries = [one for one in models if isinstance(one, Mapping)]
    named = [one for one in entries if one.get("id") == name]
    yield from named or entries[: len(entries) == 1]


def _size(part: Mapping[str, Any]) -> int | None:
    for field in _FIELDS:
        size = part.get(field)
        if isinstance(size, int) and not isinstance(size, bool) and size > 0:
            return size
    return None
