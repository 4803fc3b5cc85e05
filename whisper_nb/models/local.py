"""Servers of models on one's own machine: which of them answer, and what they offer."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..config.keys import Keys
from ..config.providers import PROVIDERS

TIMEOUT_S = 0.5
_MOST = 1_000_000


def local_models(keys: Keys) -> dict[str, list[str]]:
    """Provider → the models of its server, as `provider/model`, for each server that answers. Blocks, half a second at most."""
    asked = {name: one.address for name, one in PROVIDERS.items() if one.address and name != "ollama_chat"}
    asked["ollama"] = keys.get("OLLAMA_API_BASE") or asked["ollama"]
    with ThreadPoolExecutor(len(asked)) as pool:
        found = pool.map(_models_at, asked, asked.values())
        return {name: models for name, models in zip(asked, found, strict=True) if models is not None}


def _models_at(provider: str, address: str) -> list[str] | None:
    """What the server at an address offers; None where none answers as such a server does."""
    url = f"{address.rstrip('/')}/{'api/tags' if provider == 'ollama' else 'models'}"
    # Without the proxies of the environment: the machine is this one.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=TIMEOUT_S) as response:
            said: Any = json.loads(response.read(_MOST))
        entries, key = (said["models"], "name") if provider == "ollama" else (said["data"], "id")
        return [f"{provider}/{entry[key]}" for entry in entries]
    except (OSError, ValueError, LookupError, TypeError):  # no server, or another one
        return None
