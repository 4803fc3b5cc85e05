"""Find model servers on this machine, and at addresses of the environment, and list their models."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from ..config.aiconfig import AIConfig, own_address
from ..config.keys import Key, Keys
from ..config.providers import PROVIDERS
from ..core.errors import ConfigError
from ..core.text import clip

TIMEOUT_S = 0.5
#: The most bytes that are read of a server's reply.
_MOST = 1_000_000
#: The most models of one server that are listed, and the most characters of a name.
_MOST_NAMES, _NAME_LENGTH = 1_000, 200
#: The most servers of agents that are asked at the same time.
_ASKED_AT_ONCE = 16
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")


def local_models(keys: Keys) -> dict[str, list[str]]:
    """Return provider → models, as `provider/model`, for each server that answers. Blocks for half a second at most."""
    addresses: dict[str, str] = {}
    for name, provider in PROVIDERS.items():
        address, variable = own_address(AIConfig(model=f"{name}/-"), keys)
        # In OpenAI's format all servers have the same list.
        if name != "ollama_chat" and (provider.address or (variable and provider.wire is not None)):
            addresses[name] = address or provider.address

    def models(name: str) -> list[str] | None:
        return _models_at(name, addresses[name], keys.key(name, None))

    with ThreadPoolExecutor(len(addresses)) as pool:
        found = pool.map(models, addresses)
        return {name: models for name, models in zip(addresses, found, strict=True) if models is not None}


def models_at_bases(configs: Iterable[AIConfig], keys: Keys) -> dict[str, list[str]]:
    """Return address → models, as `provider/model`, for each `api_base` that has such a list. Blocks like the others.

    Args:
        configs: configs of agents; those without an `api_base` are left out.
        keys: where their keys are looked up. Each is sent to the config's own `api_base` alone, as in a call.
    """
    own = {config.api_base: config for config in configs if config.api_base}
    if not own:
        return {}

    def models(address: str) -> list[str] | None:
        try:
            key = keys.key(own[address].provider, own[address].api_key)
        except ConfigError:  # a literal key of another process
            return None
        return _models_at(own[address].provider, address, key)

    with ThreadPoolExecutor(min(len(own), _ASKED_AT_ONCE)) as pool:
        found = pool.map(models, own)
        return {address: models for address, models in zip(own, found, strict=True) if models is not None}


def ask(url: str, key: Key | None) -> Any:
    """Return the JSON at an address, or None. Blocks for half a second at most, each time it waits.

    Args:
        url: the address.
        key: sent to this address alone: redirects are not followed.
    """
    handlers: list[urllib.request.BaseHandler] = [_NoRedirects()]
    if urlsplit(url).hostname in _THIS_MACHINE:
        handlers.append(urllib.request.ProxyHandler({}))  # proxies of the environment do not apply to it
    request = urllib.request.Request(url)  # noqa: S310
    if key and key.reveal():
        request.add_unredirected_header("Authorization", f"Bearer {key.reveal()}")
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=TIMEOUT_S) as response:
            return json.loads(response.read(_MOST))
    except (OSError, ValueError, RecursionError, HTTPException):  # no server, or one of another kind
        return None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        """Follow none: an HTTPError is raised."""


def _models_at(provider: str, address: str, key: Key | None) -> list[str] | None:
    """Return the models of the server at an address; None if there is no such server."""
    path, list_name, name = "models", "data", "id"
    if provider == "ollama":
        path, list_name, name = "api/tags", "models", "name"
        address = address.rstrip("/").removesuffix("/v1")
    try:
        entries = ask(f"{address.rstrip('/')}/{path}", key)[list_name][:_MOST_NAMES]
        return [f"{provider}/{clip(str(entry[name]), _NAME_LENGTH)}" for entry in entries]
    except (LookupError, TypeError):
        return None
