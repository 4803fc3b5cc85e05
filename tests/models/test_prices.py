"""Prices without LiteLLM, compared with LiteLLM's own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from support.provider import Provider, Reply, finish, text, usage
from whisper_nb import Agent, AIConfig, Runtime
from whisper_nb.config.providers import PROVIDERS
from whisper_nb.models.prices import entry, header_cost, listed, listed_cost, price_list, reported_cost

SPENT: list[dict[str, Any]] = [
    {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100},
    {"prompt_tokens": 1000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 800}},
    {"prompt_tokens": 250_000, "completion_tokens": 100, "prompt_tokens_details": {"cached_tokens": 10_000}},
    {"prompt_tokens": 300_000, "completion_tokens": 1_000},
    {"prompt_tokens": 9, "completion_tokens": 50, "completion_tokens_details": {"reasoning_tokens": 40}},
]
ASK_LITELLM = """
import json, sys
import litellm
models, spent = json.load(sys.stdin)
print(json.dumps([
    [sum(litellm.cost_per_token(model=model, usage_object=litellm.Usage(**one))) for one in spent] for model in models
]))
"""


def test_costs_equal_those_of_litellm() -> None:
    """For each model of the price list that is reached over the wire, except LiteLLM's time-dependent prices."""
    prices = price_list()
    models = [
        name if "/" in name else f"{listing['litellm_provider']}/{name}"
        for name, listing in prices.items()
        if (known := PROVIDERS.get(str(listing.get("litellm_provider")))) and known.wire is not None
        if listing.get("mode") == "chat" and "off_peak_pricing" not in listing
        if listed_cost(SPENT[0], listing) is not None
    ]
    assert len(models) > 100
    # As in whisper_nb/models/lite.py, nothing is fetched, and no .env is read.
    environ = dict(os.environ) | {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    said = subprocess.run(
        [sys.executable, "-c", ASK_LITELLM], input=json.dumps([models, SPENT]), env=environ, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    theirs = json.loads(said.stdout.splitlines()[-1])
    differing = {
        model: (ours, costs)
        for model, costs in zip(models, theirs, strict=True)
        if (ours := [listed_cost(one, listed(model, prices)) for one in SPENT]) != pytest.approx(costs)
    }
    assert differing == {}


@pytest.mark.parametrize(
    "model", ["openai/gpt-4o-mini", "groq/openai/gpt-oss-20b", "deepseek/deepseek-chat", "openai/x", "groq/"]
)
def test_an_entry_that_is_read_alone_equals_the_parsed_lists(model: str) -> None:
    assert entry(model) == listed(model, json.loads(json.dumps(dict(price_list()))))


@pytest.mark.parametrize(
    "told", [True, "0.5", -1, float("nan"), float("inf"), 1e308, 10**400, None, {}, {"total_cost": "1"}]
)
def test_a_reported_cost_that_is_not_a_valid_number_is_ignored(told: Any) -> None:
    assert reported_cost({"cost": told}) is None


def test_the_providers_own_cost_is_used() -> None:
    assert reported_cost({"cost": 0}) == 0.0
    assert reported_cost({"cost": {"total_cost": 0.25}}) == 0.25


@pytest.mark.parametrize(
    "spent",
    [
        {},
        {"prompt_tokens": 5},
        {"prompt_tokens": "5", "completion_tokens": 5},
        {"prompt_tokens": 5, "completion_tokens": 5, "service_tier": "priority"},
    ],
)
def test_an_incomplete_usage_has_an_unknown_cost(spent: dict[str, Any]) -> None:
    assert listed_cost(spent, {"input_cost_per_token": 1.0, "output_cost_per_token": 1.0}) is None


@pytest.mark.parametrize(
    "listing", [{}, {"input_cost_per_token": 0, "output_cost_per_token": 0}, {"input_cost_per_token": 1.0}]
)
def test_a_price_that_is_not_listed_is_unknown(listing: dict[str, Any]) -> None:
    assert listed_cost(SPENT[0], listing) is None


@pytest.mark.parametrize("line", [("wire", "openai/m"), ("litellm", "openai/m"), ("litellm", "litellm_proxy/m")])
@pytest.mark.parametrize(
    ("stream", "more", "cost"),
    [
        (False, {}, 0.0123),
        (False, {"cost": 0.5}, 0.5),  # the reply's own figure is preferred
        (True, {}, None),  # sent before the reply: it cannot be its cost
    ],
)
async def test_the_cost_that_a_proxy_reports_beside_a_whole_reply_is_used(
    line: tuple[str, str], stream: bool, more: dict[str, Any], cost: float | None
) -> None:
    reply = Reply([*text("Hi"), finish(), usage(3, 2, **more)], headers={"x-litellm-response-cost": "0.0123"})
    async with Provider(lambda _: reply) as provider, Runtime(environ={}) as rt:
        config = AIConfig(model=line[1], api_base=provider.url, transport=line[0], stream=stream)
        run = rt.create(Agent(name="bob", config=config)).submit("Hello")
        assert await run == "Hi"
        assert run.cost == cost


@pytest.mark.parametrize("told", ["", "0.0", "0", "None", "-1", "nan", "inf", "a lot", None])
def test_a_cost_of_a_proxy_that_is_no_price_is_unknown(told: str | None) -> None:
    """It reports 0 for a model whose price it does not know."""
    assert header_cost({} if told is None else {"x-litellm-response-cost": told}) is None
