"""Find model servers on this machine, and list their models."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..config.keys import Keys
from ..config.providers import PROVIDERS
from ..core.text import clip

TIMEOUT_S = 0.5
#: The most bytes that are read of a server's reply.
_MOST = 1_000_000
#: The most models of one server that are listed, and the most characters of a name.
_MOST_NAMES, _NAME_LENGTH = 1_000, 200


def local_models(keys: Keys) -> dict[str, list[str]]:
    """Return provider → models, as `provider/model`, for each server that answers. Blocks for half a second at most."""
    addresses = {name: one.address for name, one in PROVIDERS.items() if one.address and name != "ollama_chat"}
    addresses["ollama"] = keys.environment("OLLAMA_API_BASE") or addresses["ollama"]
    with ThreadPoolExecutor(len(addresses)) as pool:
        found = pool.map(_models_at, addresses, addresses.values())
        return {name: models for name, models in zip(addresses, found, strict=True) if models is not None}


def _models_at(provider: str, address: str) -> list[str] | None:
    """Return the models of the server at an address; None if there is no such server."""
    path, list_name, name = "models", "data", "id"
    if provider == "ollama":
        path, list_name, name = "api/tags", "models", "name"
    url = f"{address.rstrip('/')}/{path}"
    # Proxies of the environment do not apply to this machine.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as response:
            reply: Any = json.loads(response.read(_MOST))
        return [f"{provider}/{clip(str(entry[name]), _NAME_LENGTH)}" for entry in reply[list_name][:_MOST_NAMES]]
    except (OSError, ValueError, LookupError, TypeError):  # no server, or one of another kind
        return None
