from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb import AIConfig, ConfigError
from whisper_nb.config.providers import PROVIDERS, canonical, misspelt

#: Prints for each provider: whether litellm knows it, and what it misses without a key and with each variable alone.
ASK_LITELLM = """
import json, os, sys
import litellm
found = {}
for name, variables in json.load(sys.stdin).items():
    missing = lambda: litellm.validate_environment(f"{name}/some-model")["missing_keys"]
    found[name] = {"known": name in litellm.provider_list, "missing": missing(), "with": {}}
    for variable in variables:
        os.environ[variable] = "x"
        found[name]["with"][variable] = missing()
        del os.environ[variable]
print(json.dumps({"asked": found, "all": [str(getattr(one, "value", one)) for one in litellm.provider_list]}))
"""


@pytest.mark.parametrize(
    ("model", "provider", "meant"),
    [
        ("openai/gpt-4o", "", "openai/gpt-4o"),
        ("anthropic:claude-x", "", "anthropic/claude-x"),
        ("openrouter:openai/gpt-4o", "", "openrouter/openai/gpt-4o"),
        ("ollama:llama3:8b", "", "ollama/llama3:8b"),
        ("ollama/llama3:8b", "", "ollama/llama3:8b"),
        ("openrouter/x/y:thinking", "", "openrouter/x/y:thinking"),
        ("mine:model", "", "mine:model"),
        ("llama3:8b", "", "llama3:8b"),
        ("anthropic:", "", "anthropic:"),
        ("gpt-4o", "openai", "openai/gpt-4o"),
        ("openai/gpt-4o", "openai", "openai/gpt-4o"),
        ("openai/gpt-4o", "openrouter", "openrouter/openai/gpt-4o"),
        ("openrouter/openai/gpt-4o", "openrouter", "openrouter/openai/gpt-4o"),
        ("openrouter/auto", "openrouter", "openrouter/openrouter/auto"),
        ("openrouter/openrouter/auto", "openrouter", "openrouter/openrouter/auto"),
        ("auto", "openrouter", "openrouter/auto"),
        ("google/gemini-x:thinking", "openrouter", "openrouter/google/gemini-x:thinking"),
        ("llama3:8b", "ollama", "ollama/llama3:8b"),
        ("anthropic:claude-x", "anthropic", "anthropic/claude-x"),
    ],
)
def test_a_model_string_gives_litellms_provider_and_model(model: str, provider: str, meant: str) -> None:
    assert canonical(model, provider) == meant


@given(st.sampled_from(sorted(PROVIDERS)), st.text("ab/:-.", min_size=1, max_size=8).filter(lambda one: one[0] in "ab"))
def test_no_model_is_prefixed_twice(provider: str, name: str) -> None:
    once = canonical(f"{name}/x" if provider == "openrouter" else name, provider)
    assert once.startswith(f"{provider}/")
    assert canonical(once, provider) == once
    assert canonical(once) == once


def test_the_table_of_providers_agrees_with_litellm() -> None:
    """For every provider: its name, the variables of its key, and that any one of them is enough."""
    asked = {name: one.variables for name, one in PROVIDERS.items() if name != "offline"}
    environ = {name: value for name, value in os.environ.items() if not name.endswith(("_API_KEY", "_API_BASE"))}
    # As in whisper_nb/models/lite.py, nothing is fetched, and no .env is read.
    environ |= {"LITELLM_MODE": "PRODUCTION", "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    command = [sys.executable, "-c", ASK_LITELLM]
    said = subprocess.run(command, input=json.dumps(asked), env=environ, text=True, capture_output=True, check=True)
    told = json.loads(said.stdout)
    found = told["asked"]
    assert len(told["all"]) > 100
    assert [name for name in told["all"] if misspelt(name)] == []
    assert [name for name in asked if not found[name]["known"]] == []
    keys = {name: {one for one in each["missing"] if one.endswith("_KEY")} for name, each in found.items()}
    # It does not ask for the key of a server that may have none, but accepts it.
    assert keys == {name: set(variables) - {"HOSTED_VLLM_API_KEY"} for name, variables in asked.items()}
    # Azure also asks for the address, which is a separate field of a config.
    assert [name for name, each in found.items() if name != "azure" and any(each["with"].values())] == []


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("opnai", "openai"),
        ("OpenAI", "openai"),
        ("antropic", "anthropic"),
        ("open_router", "openrouter"),
        ("olama", "ollama"),
        ("lm-studio", "lm_studio"),
        ("together", "together_ai"),
        ("offlin", "offline"),
    ],
)
def test_a_misspelt_provider_is_an_error_with_a_suggestion(written: str, meant: str) -> None:
    said = f"model '{written}/gpt-4o': unknown provider '{written}'; did you mean '{meant}'?"
    for say in (
        lambda: AIConfig(model=f"{written}/gpt-4o"),
        lambda: AIConfig.of({"model": "gpt-4o", "provider": written}),
    ):
        with pytest.raises(ConfigError, match=re.escape(said)):
            say()


@pytest.mark.parametrize(
    "provider", ["mine", "ai", "my_openai", "bedrock", "azure_ai", "zai", "text-completion-openai"]
)
def test_an_unknown_provider_is_left_to_litellm(provider: str) -> None:
    assert AIConfig(model=f"{provider}/x").provider == provider


def test_each_default_model_belongs_to_its_provider() -> None:
    for name, provider in PROVIDERS.items():
        if provider.model:
            assert AIConfig(model=provider.model).provider == name
            assert provider.variables


def test_providers_with_a_default_model_come_first() -> None:
    has_model = [bool(provider.model) for provider in PROVIDERS.values()]
    assert has_model == sorted(has_model, reverse=True)
