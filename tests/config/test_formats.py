from __future__ import annotations

from typing import Any

import pytest

from whisper_nb.config.aiconfig import CONFIG_FIELDS
from whisper_nb.config.formats import ALIASES, ParsedConfig, overlay, read_config
from whisper_nb.config.kinds import Params
from whisper_nb.config.providers import PROVIDERS

PARAMS = {"temperature": 0.7, "max_tokens": 8000, "max_reasoning_tokens": 0}
MAIN = {"openrouter": {"model": "google/gemini-x:thinking", "params": PARAMS}}


def read(source: dict[Any, Any]) -> ParsedConfig:
    return read_config(source, CONFIG_FIELDS, ("top",))


def values(source: dict[Any, Any]) -> dict[str, Any]:
    """The values of a valid config."""
    reading = read(source)
    assert reading.problems == []
    assert reading.values.keys() <= reading.paths.keys()
    return reading.values


def problems(source: dict[Any, Any]) -> list[str]:
    return [f"{'.'.join(map(str, one.path[1:]))}: {one.text}" for one in read(source).problems]


# The formats


def test_a_mapping_of_the_fields_is_read() -> None:
    assert values({"model": "openai/x", "temperature": 0.2}) == {"model": "openai/x", "temperature": 0.2}
    assert values({}) == {}


def test_the_agent_format_is_read() -> None:
    said = {"model": "openai/gpt-4o", "provider": "openrouter", "generation_params": PARAMS}
    assert values(said) == {"model": "openrouter/openai/gpt-4o", **PARAMS}


def test_the_main_format_is_read() -> None:
    assert values(MAIN) == {"model": "openrouter/google/gemini-x:thinking", **PARAMS}


@pytest.mark.parametrize("provider", [*PROVIDERS, "azure", "unheard-of"])
def test_the_main_format_accepts_any_provider(provider: str) -> None:
    assert values({provider: {"model": "x", "params": {"seed": 1}}}) == {"model": f"{provider}/x", "seed": 1}


@pytest.mark.parametrize(("alias", "field"), [*ALIASES.items()])
def test_a_field_has_alternative_names(alias: str, field: str) -> None:
    value = {"api_key": "MY_KEY", "api_base": "http://localhost", "timeout_s": 5}[field]
    assert values({alias: value}) == {field: "os.environ/MY_KEY" if field == "api_key" else value}


def test_a_value_beside_the_params_overrides_them() -> None:
    said = {"temperature": 0.1, "model": "a/b", "generation_params": {"temperature": 0.9, "seed": 1}, "params": None}
    assert values(said) == {"model": "a/b", "temperature": 0.1, "seed": 1}
    assert read(said).paths["temperature"] == ("top", "temperature")


def test_the_site_url_and_name_become_openrouters_headers() -> None:
    section = {"model": "a/b", "site_url": "http://me", "app_name": "Mine"}
    headers = {"HTTP-Referer": "http://me", "X-Title": "Mine"}
    assert values({"openrouter": section})["extra"] == Params({"extra_headers": headers})


def test_the_site_headers_and_extra_parameters_are_both_kept() -> None:
    section = {"model": "a/b", "site_url": "http://me", "extra": {"route": "fallback"}}
    extra = values({"openrouter": section})["extra"]
    assert extra["route"] == "fallback"
    assert extra["extra_headers"] == {"HTTP-Referer": "http://me"}


def test_the_site_url_and_name_are_optional() -> None:
    assert values({"openrouter": {"model": "a/b", "site_url": None, "app_name": None}})["model"] == "openrouter/a/b"


def test_a_null_differs_from_an_unset_value() -> None:
    assert values({"temperature": None, "generation_params": {"seed": None}}) == {"temperature": None, "seed": None}


# Mixes


def test_the_agent_format_overrides_the_main_format() -> None:
    agent = {"model": "openai/gpt-4o", "provider": "openrouter", "generation_params": {"temperature": 0.1}}
    assert values({**MAIN, **agent}) == {"model": "openrouter/openai/gpt-4o", **PARAMS, "temperature": 0.1}
    assert values({**agent, **MAIN}) == values({**MAIN, **agent})


def test_fields_override_the_main_format() -> None:
    assert values({**MAIN, "seed": 1, "max_tokens": None}) == {**values(MAIN), "seed": 1, "max_tokens": None}


def test_a_change_of_provider_between_formats_drops_key_address_and_extra() -> None:
    section = {
        "model": "a/b", "params": PARAMS, "api_key": "os.environ/MY_KEY", "api_base": "http://mine", "site_url": "http://me",
    }  # fmt: skip
    agent = {"provider": "anthropic", "model": "claude-x"}
    assert values({"openrouter": section, **agent}) == {"model": "anthropic/claude-x", **PARAMS}
    stays = values({"openrouter": section, "provider": "openrouter", "model": "c/d"})
    assert stays["api_key"] == "os.environ/MY_KEY"
    said = values({"openrouter": section, **agent, "api_key_env": "OTHER_KEY"})
    assert said["api_key"] == "os.environ/OTHER_KEY"
    assert "api_base" not in said


def test_two_providers_are_an_error() -> None:
    said = {"openrouter": {"model": "a/b"}, "openai": {"model": "x"}}
    assert problems(said) == ["openai: two providers, openrouter and openai: a config has one; remove the others"]


@pytest.mark.parametrize(
    ("model", "before", "moved"),
    [
        ("openai/a", "openai/b", False),
        ("openai/a", "anthropic/b", True),
        ("openrouter/openai/a", "openai/a", True),
        ("openai/a", None, False),
        (None, "openai/a", True),
    ],
)
def test_a_change_of_provider_drops_the_values_of_the_previous_provider(
    model: str | None, before: str | None, moved: bool
) -> None:
    below = {"model": before, "api_key": "os.environ/A", "api_base": "http://h", "extra": Params({}), "seed": 1}
    found = overlay(below, {"model": model, "temperature": 0})
    left = {"seed": 1, "temperature": 0, "model": model}
    assert found == (left if moved else {**below, **left})


# Problems


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        ({"temprature": 0}, "temprature: unknown config field 'temprature'; did you mean 'temperature'?"),
        ({"generation_params": {"tempature": 0}},
         "generation_params.tempature: unknown config field 'tempature'; did you mean"),
        ({"openai": {"model": "x", "params": {"top_q": 1}}},
         "openai.params.top_q: unknown config field 'top_q'; did you mean"),
        ({"zzz": 0}, "zzz: unknown config field 'zzz'; known are model, api_base"),
        ({1: 2}, "1: unknown config field '1'"),
        ({"temperature": 9}, "temperature: temperature 9 is not a number from 0 to 2"),
        ({"openai": {"model": "x", "params": {"seed": "x"}}}, "openai.params.seed: seed 'x' is not a whole number"),
        ({"generation_params": 5}, "generation_params: generation_params 5 is not a mapping of parameters"),
        ({"params": ["a"]}, "params: params ['a'] is not a mapping of parameters"),
        ({"provider": 5, "model": "x/y"}, "provider: provider 5 is not the name of a provider, such as openrouter"),
        ({"provider": "a/", "model": "x/y"}, "provider: provider 'a/' is not the name of a provider"),
        ({"provider": "openai"}, "provider: provider 'openai' without a model: write model beside it"),
        ({"model": "gpt-4o"}, "model: model 'gpt-4o' is not provider/model"),
        ({"provider": "openai", "model": ""}, "model: model '' is not provider/model"),
        ({"provider": "openai", "model": ["x"]}, "model: model ['x'] is not provider/model"),
        ({"openai": {"model": 5}}, "openai.model: model 5 is not provider/model"),
        ({"api_key": 5}, "api_key: api_key must be text, not int; write os.environ/NAME"),
    ],
)  # fmt: skip
def test_a_problem_has_its_path_value_and_allowed_values(said: dict[Any, Any], problem: str) -> None:
    (found,) = problems(said)
    assert found.startswith(problem)


@pytest.mark.parametrize("key", ["generation_params", "params"])
def test_a_mapping_of_parameters_is_never_a_provider(key: str) -> None:
    assert values({key: {"model": "a/b"}}) == {"model": "a/b"}


def test_all_problems_are_reported_together() -> None:
    said = {"openai": {"model": 5, "params": {"seed": "x"}}, "temperature": 9, "modle": "x"}
    assert [one.path for one in read(said).problems] == [
        ("top", "openai", "params", "seed"),
        ("top", "openai", "model"),
        ("top", "temperature"),
        ("top", "modle"),
    ]


def test_a_section_with_only_a_key_applies_to_the_model_beside_it() -> None:
    """The error about a missing key tells users to write `api_key: …` under `groq:`."""
    said = {"model": "groq/x", "groq": {"api_key": "os.environ/MY_KEY"}}
    assert values(said) == {"model": "groq/x", "api_key": "os.environ/MY_KEY"}


def test_a_section_with_only_a_key_does_not_apply_to_another_provider() -> None:
    assert values({"model": "openai/x", "groq": {"api_key": "os.environ/MY_KEY"}}) == {"model": "openai/x"}


def test_an_obsolete_key_is_left_out_and_reported() -> None:
    reading = read({"openrouter": {"model": "a/b", "cache": True}})
    assert reading.values == {"model": "openrouter/a/b"}
    assert reading.ignored == ["cache"]


def test_each_value_has_the_path_of_its_origin() -> None:
    assert read({**MAIN, "seed": 1}).paths == {
        "model": ("top", "openrouter", "model"),
        "temperature": ("top", "openrouter", "params", "temperature"),
        "max_tokens": ("top", "openrouter", "params", "max_tokens"),
        "max_reasoning_tokens": ("top", "openrouter", "params", "max_reasoning_tokens"),
        "seed": ("top", "seed"),
    }
