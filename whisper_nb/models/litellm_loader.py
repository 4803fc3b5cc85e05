"""Import LiteLLM with the settings that this package needs.

LiteLLM takes seconds and 150 MB to import: it is imported at the first call that needs it, in a thread.
"""

from __future__ import annotations

import difflib
import logging
import os
import re
import sys
from contextlib import suppress
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import msgspec

from ..config.providers import PROVIDERS
from ..core.errors import ConfigError
from ..core.logs import quiet
from ..core.threads import load

#: Set before the import and never reset, since LiteLLM imports parts of itself later. Nothing is fetched (prices,
#: headers), and no `.env` of the working directory is loaded: it could send the user's key to another server.
_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
}
#: LiteLLM's enumeration of its providers, and a member of it.
_PROVIDERS = re.compile(r"^class LlmProviders\(.*?(?=^\S)", re.MULTILINE | re.DOTALL)
_PROVIDER = re.compile(r'^    \w+ = "([^"]+)"', re.MULTILINE)


def check_provider(model: str) -> None:
    """Check that LiteLLM has the provider of a model, without importing LiteLLM.

    Raises:
        ConfigError: it has not.
    """
    provider = model.partition("/")[0]
    names = _listed()
    if not names or provider in names or provider in PROVIDERS:
        return
    if provider in map(str, getattr(sys.modules.get("litellm"), "provider_list", ())):  # registered by the user
        return
    nearest = difflib.get_close_matches(provider, sorted(names), 1)
    hint = "docs.litellm.ai/docs/providers lists them; a server of your own is openai/NAME with api_base"
    if nearest:
        hint = f"did you mean {nearest[0]!r}?"
    raise ConfigError(f"model {model!r}: unknown provider {provider!r}; {hint}")


@cache
def _listed() -> frozenset[str]:
    """Return the names of LiteLLM's providers, read from its source; empty if they are not where they were."""
    spec = find_spec("litellm")
    names: set[str] = set()
    if spec is None or spec.origin is None:
        return frozenset()
    with suppress(OSError, ValueError, TypeError):
        folder = Path(spec.origin).parent
        if found := _PROVIDERS.search((folder / "types" / "utils.py").read_text("utf-8")):
            names.update(_PROVIDER.findall(found[0]))
            names.update(msgspec.json.decode((folder / "llms" / "openai_like" / "providers.json").read_bytes()))
    return frozenset(names)


def import_litellm() -> Any:
    """Import LiteLLM and return it, with its logs and telemetry switched off."""
    os.environ.update(_ENVIRONMENT)
    # Agents never print, and LiteLLM's logs may quote what was sent.
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)
    # Below INFO the SDK logs responses, and a provider may have echoed the key.
    logging.getLogger("openai").setLevel(logging.INFO)
    quiet("httpx", "httpcore", "botocore", "LiteLLM Router", "LiteLLM Proxy")
    load("litellm")
    import litellm

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    litellm.disable_hf_tokenizer_download = True  # counting tokens must not use the network
    logging.getLogger("LiteLLM").setLevel(logging.CRITICAL)  # its import has changed the level
    return litellm
