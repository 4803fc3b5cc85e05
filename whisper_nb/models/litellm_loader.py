"""Import LiteLLM with the settings that this package needs.

LiteLLM takes seconds and 150 MB to import: it is imported at the first call that needs it, in a thread.
"""

from __future__ import annotations

import logging
import os
from typing import Any

from ..core.logs import quiet
from ..core.threads import load

#: Set before the import and never reset, since LiteLLM imports parts of itself later. Nothing is fetched (prices,
#: headers), and no `.env` of the working directory is loaded: it could send the user's key to another server.
_ENVIRONMENT = {
    "LITELLM_MODE": "PRODUCTION",
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS": "True",
}


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
