"""Prices and context sizes of models, by the list that comes with LiteLLM, without importing it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..config.kinds import Price
from ..core.costs import plausible_cost, token_count

_FILE = "model_prices_and_context_window_backup.json"
#: Prices never depend on the length of a prompt with fewer tokens.
_LONG = 100_000
_ABOVE = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")
#: The service tiers that the listed prices are for.
_PLAIN_TIERS = (None, "auto", "default", "on_demand", "standard")

Listed = Mapping[str, Any]


def price_list() -> Mapping[str, Listed]:
    """Return model → entry: LiteLLM's own list if it is imported, else the list in its file."""
    if "litellm" in sys.modules:
        prices: Mapping[str, Listed] = sys.modules["litellm"].model_cost
        return prices
    listed: Mapping[str, Listed] = json.loads(_path().read_bytes())
    return listed


@cache
def entry(model: str) -> Listed:
    """Return a model's entry, found in the text of the file: all of it as data takes 20 MB.

    Blocks for some milliseconds.
    """
    text = _path().read_text(encoding="utf-8")
    found: dict[str, Listed] = {}
    for name in {model, model.partition("/")[2]}:
        start = text.find(f"\n    {json.dumps(name)}: {{")  # with this indent it is a model, not a field of one
        if start >= 0:
            found[name], _ = json.JSONDecoder().raw_decode(text, text.index("{", start))
    return listed(model, found)


def listed(model: str, prices: Mapping[str, Listed]) -> Listed:
    """Return a model's entry; empty for an unlisted model.

    Args:
        model: `provider/model`.
        prices: a price list.
    """
    provider, _, name = model.partition("/")
    entry = prices.get(model) or prices.get(name) or {}
    # Entries for bedrock say bedrock_converse, those for vertex_ai vertex_ai-language-models.
    if str(entry.get("litellm_provider")).startswith(provider):
        return entry
    return {}


def context_size(entry: Listed) -> int | None:
    """Return the size of a model's context in tokens; None if its entry does not have it."""
    size = entry.get("max_input_tokens")
    if isinstance(size, int):
        return size
    return None


def price(entry: Listed) -> str:
    """Return the price of a million tokens, such as `$0.15 in, $0.60 out`, or `unknown`."""
    costs = [entry.get(f"{way}put_cost_per_token") for way in ("in", "out")]
    known = [cost * 1e6 for cost in costs if isinstance(cost, int | float)]
    if len(known) == 2 and any(known):
        return f"${known[0]:,.2f} in, ${known[1]:,.2f} out"
    return "unknown"


def reported_cost(usage: Mapping[str, Any]) -> float | None:
    """Return the cost in US dollars that the provider reported; None without a valid one."""
    cost = usage.get("cost")
    if isinstance(cost, Mapping):
        cost = cost.get("total_cost")
    details = usage.get("cost_details")
    # With a key of your own, OpenRouter reports its fee alone.
    if usage.get("is_byok") and isinstance(details, Mapping):
        fee = plausible_cost(cost)
        upstream = plausible_cost(details.get("upstream_inference_cost"))
        if fee is None or upstream is None:
            return None
        return fee + upstream
    return plausible_cost(cost)


def header_cost(headers: Mapping[str, Any], prefix: str = "") -> float | None:
    """Return the cost in US dollars that LiteLLM's proxy reports beside a whole reply; None without one.

    The proxy reports 0 for a model whose price it does not know, so that 0 is no cost.

    Args:
        headers: of the response.
        prefix: of their names, where LiteLLM passes them on.
    """
    try:
        return plausible_cost(float(headers.get(f"{prefix}x-litellm-response-cost") or "")) or None
    except (TypeError, ValueError):
        return None


def listed_cost(usage: Mapping[str, Any], entry: Listed) -> float | None:
    """Return the cost in US dollars by a model's entry; None where the entry or the usage is incomplete.

    Args:
        usage: in OpenAI's format; tokens that were read from a cache are part of `prompt_tokens`.
        entry: the model's.
    """
    sent = token_count(usage.get("prompt_tokens"))
    received = output_tokens(usage, beside=entry.get("litellm_provider") == "xai")
    if sent is None or received is None or sent + received == 0:
        return None
    if usage.get("service_tier") not in _PLAIN_TIERS:
        return None
    suffix = _suffix(entry, sent)
    per_sent, per_received, per_cached = (
        entry.get(name + suffix, entry.get(name))
        for name in ("input_cost_per_token", "output_cost_per_token", "cache_read_input_token_cost")
    )
    if per_sent is None or per_received is None:
        return None
    if not (per_sent or per_received):  # LiteLLM lists an unknown price as 0
        return None
    cached = 0
    if per_cached is not None:
        cached = min(token_count(_cached(usage)) or 0, sent)
    return float((sent - cached) * per_sent + cached * (per_cached or 0.0) + received * per_received)


def input_cost(tokens: int, entry: Listed) -> float | None:
    """Return the cost in US dollars of a prompt of so many tokens, none of them cached; None if it is unknown."""
    name = "input_cost_per_token"
    per_sent = entry.get(name + _suffix(entry, tokens), entry.get(name))
    if not per_sent:  # LiteLLM lists an unknown price as 0
        return None
    return float(tokens * per_sent)


def listed_price(tokens: int, entry: Listed) -> Price | None:
    """Return the price of a call with a prompt of so many tokens, none of them cached; None if it is unknown."""
    suffix = _suffix(entry, tokens)
    per_sent, per_received = (
        entry.get(name + suffix, entry.get(name)) for name in ("input_cost_per_token", "output_cost_per_token")
    )
    if per_sent is None or per_received is None or not (per_sent or per_received):  # it lists an unknown price as 0
        return None
    return Price(per_sent * 1e6, per_received * 1e6)


def output_tokens(usage: Mapping[str, Any], *, beside: bool = False) -> int | None:
    """Return the tokens of a reply, with those of its reasoning; None if they are unknown.

    Args:
        usage: in OpenAI's format. Its total shows whether the reasoning is reported beside the reply, as by xAI.
        beside: whether it is so where there is no total.
    """
    received = token_count(usage.get("completion_tokens"))
    reasoning = token_count(_detail(usage, "completion_tokens_details", "reasoning_tokens"))
    if received is None or not reasoning:
        return received
    total, sent = token_count(usage.get("total_tokens")), token_count(usage.get("prompt_tokens")) or 0
    if (total is None and beside) or total == sent + received + reasoning:
        return received + reasoning
    return received


def _suffix(entry: Listed, sent: int) -> str:
    """Return the ending of the names of the prices that apply to a prompt of so many tokens."""
    if sent <= _LONG:
        return ""
    limits = [int(found[1]) for name in entry if (found := _ABOVE.fullmatch(name)) and sent > int(found[1]) * 1000]
    if not limits:
        return ""
    return f"_above_{max(limits)}k_tokens"


def _cached(usage: Mapping[str, Any]) -> Any:
    if isinstance(usage.get("prompt_tokens_details"), Mapping):
        return _detail(usage, "prompt_tokens_details", "cached_tokens")
    return usage.get("prompt_cache_hit_tokens")


def _detail(usage: Mapping[str, Any], group: str, name: str) -> Any:
    details = usage.get(group)
    if isinstance(details, Mapping):
        return details.get(name)
    return None


def _path() -> Path:
    spec = find_spec("litellm")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name(_FILE)
