"""What models cost, by the list that comes with litellm, which need not be imported for it."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FILE = "model_prices_and_context_window_backup.json"

Listed = Mapping[str, Any]


def price_list() -> Mapping[str, Listed]:
    """Model → what litellm lists of it: litellm's own list where it is imported, else its file, read anew."""
    if "litellm" in sys.modules:
        prices: Mapping[str, Listed] = sys.modules["litellm"].model_cost
        return prices
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    listed: Mapping[str, Listed] = json.loads(Path(spec.origin).with_name(_FILE).read_bytes())
    return listed


def listed(model: str, prices: Mapping[str, Listed]) -> Listed:
    """A model's entry; empty where there is none.

    Args:
        model: `provider/model`.
        prices: a price list.
    """
    provider, _, name = model.partition("/")
    entry = prices.get(model) or prices.get(name) or {}
    # Entries for bedrock say bedrock_converse, those for vertex_ai vertex_ai-language-models.
    return entry if str(entry.get("litellm_provider")).startswith(provider) else {}


def price(entry: Listed) -> str:
    """`$0.15 in, $0.60 out` for a million tokens; `unknown` where nobody says."""
    costs = [entry.get(f"{way}put_cost_per_token") for way in ("in", "out")]
    told = [cost * 1e6 for cost in costs if isinstance(cost, int | float)]
    return f"${told[0]:,.2f} in, ${told[1]:,.2f} out" if len(told) == 2 and any(told) else "unknown"
