"""What models cost and hold, by the list that comes with litellm, which need not be imported for it."""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_FILE = "model_prices_and_context_window_backup.json"
#: No prompt of fewer tokens has another price.
_LONG = 100_000
_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
#: What a provider calls the service that the list's plain prices are for.
_PLAIN_TIERS = (None, "auto", "default", "on_demand", "standard")

Listed = Mapping[str, Any]


def price_list() -> Mapping[str, Listed]:
    """Model → what litellm lists of it: litellm's own list where it is imported, else its file, read anew."""
    if "litellm" in sys.modules:
        prices: Mapping[str, Listed] = sys.modules["litellm"].model_cost
        return prices
    listed: Mapping[str, Listed] = json.loads(_path().read_bytes())
    return listed


@cache
def entry(model: str) -> Listed:
    """A model's entry, read from the file without taking all of it in, which costs 20 MB; blocks for some milliseconds."""
    text = _path().read_text(encoding="utf-8")
    found: dict[str, Listed] = {}
    for name in {model, model.partition("/")[2]}:
        start = text.find(f"\n    {json.dumps(name)}: {{")  # just so far in: a model, not a part of one
        if start >= 0:
            found[name], _ = json.JSONDecoder().raw_decode(text, text.index("{", start))
    return listed(model, found)


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


def told_cost(spent: Mapping[str, Any]) -> float | None:
    """US dollars by the provider's own figure; None where it gave none that can be one."""
    told = spent.get("cost")
    told = told.get("total_cost") if isinstance(told, Mapping) else told
    details = spent.get("cost_details")
    if spent.get("is_byok") and isinstance(
        details, Mapping
    ):  # OpenRouter with a key of one's own: told is its fee alone
        fee, upstream = _dollars(told), _dollars(details.get("upstream_inference_cost"))
        return None if fee is None or upstream is None else fee + upstream
    return _dollars(told)


def _dollars(told: Any) -> float | None:
    try:
        good = not isinstance(told, bool) and isinstance(told, int | float) and math.isfinite(told) and told >= 0
        return float(told) if good else None
    except OverflowError:
        return None


def listed_cost(spent: Mapping[str, Any], entry: Listed) -> float | None:
    """US dollars by a model's entry; None where that, or what was spent, does not say enough.

    Args:
        spent: `usage` as OpenAI's format has it; what was read from a cache is a part of `prompt_tokens`.
        entry: the model's.
    """
    sent, received = (_tokens(spent.get(f"{what}_tokens")) for what in ("prompt", "completion"))
    if not (sent or received) or sent is None or received is None or spent.get("service_tier") not in _PLAIN_TIERS:
        return None
    if entry.get("litellm_provider") == "xai":  # counts what the model thinks beside the reply, not in it
        details = spent.get("completion_tokens_details")
        thought = details.get("reasoning_tokens") if isinstance(details, Mapping) else 0
        received += _tokens(thought) or 0
    above = sent > _LONG and [
        int(found[1]) for name in entry if (found := _ABOVE.fullmatch(name)) and sent > int(found[1]) * 1000
    ]
    suffix = f"_above_{max(above)}k_tokens" if above else ""
    per_sent, per_received, per_cached = (
        entry.get(name + suffix, entry.get(name))
        for name in ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")
    )
    if not (per_sent or per_received) or per_sent is None or per_received is None:
        return None  # a price of 0 is litellm's word for one that it does not know
    details = spent.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, Mapping) else spent.get("prompt_cache_hit_tokens")
    cached = min(_tokens(cached) or 0, sent) if per_cached is not None else 0
    return float((sent - cached) * per_sent + cached * (per_cached or 0.0) + received * per_received)


def _tokens(told: Any) -> int | None:
    """A count that makes sense; None for any other."""
    return told if isinstance(told, int) and not isinstance(told, bool) and 0 <= told < 10**12 else None


def _path() -> Path:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name(_FILE)
