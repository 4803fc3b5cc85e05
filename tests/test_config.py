from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.config import DEFAULTS, PROVIDERS, AIConfig, from_environment, layered, missing_key
from whisper_nb.errors import ConfigError


def test_a_model_string() -> None:
    assert AIConfig.of("openai/gpt-4o-mini") == AIConfig(model="openai/gpt-4o-mini")


def test_a_dict_of_fields() -> None:
    assert AIConfig.of({"model": "openai/x", "max_tokens": 5}) == AIConfig(model="openai/x", max_tokens=5)


def test_a_config_is_itself_and_overrides_go_on_top() -> None:
    config = AIConfig(model="openai/x", temperature=1.0)
    assert AIConfig.of(config) == config
    assert AIConfig.of(config, temperature=0, max_tokens=None) == AIConfig(model="openai/x", temperature=0)


def test_nothing_is_a_config_with_nothing_set() -> None:
    assert AIConfig.of() == AIConfig.of(None) == AIConfig.of({}) == AIConfig()
    assert AIConfig().values() == {}
    assert AIConfig().provider == ""


def test_what_is_no_config() -> None:
    with pytest.raises(ConfigError, match="from int: give an AIConfig, a dict or a model string"):
        AIConfig.of(5)  # type: ignore[arg-type]


def test_an_unknown_field_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="unknown config field 'temprature'; did you mean 'temperature'"):
        AIConfig.of({"temprature": 0})


def test_an_unknown_field_without_a_neighbour_lists_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown config field 'zzz'; known are model, api_base"):
        AIConfig.of(zzz=1)
    with pytest.raises(ConfigError, match="unknown config field 1"):
        AIConfig.of({1: 2})  # type: ignore[dict-item]


@pytest.mark.parametrize("model", ["gpt-4o", "/gpt", "openai/", "/", ""])
def test_a_model_has_a_provider_and_a_name(model: str) -> None:
    with pytest.raises(ConfigError, match=r"is not provider/model"):
        AIConfig(model=model)


@pytest.mark.parametrize(
    "values",
    [
        {"temperature": -0.1},
        {"temperature": 2.1},
        {"temperature": math.nan},
        {"max_tokens": 0},
        {"timeout_s": 0},
        {"timeout_s": -1},
        {"timeout_s": math.nan},
        {"token_timeout_s": 0.0},
    ],
)
def test_a_value_out_of_range(values: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        AIConfig(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"model": 5},
        {"api_base": 5},
        {"api_key_env": ["NAME"]},
        {"temperature": "hot"},
        {"temperature": True},
        {"max_tokens": "5"},
        {"max_tokens": 1.5},
        {"timeout_s": "1"},
        {"token_timeout_s": [1]},
    ],
)
def test_a_value_of_the_wrong_type(values: dict[str, Any]) -> None:
    name, value = next(iter(values.items()))
    with pytest.raises(ConfigError, match=rf"{name}.* is a {type(value).__name__}, not"):
        AIConfig.of(values)


def test_the_ends_of_the_ranges_are_in() -> None:
    AIConfig(temperature=0, max_tokens=1, timeout_s=0.001, token_timeout_s=math.inf)
    AIConfig(temperature=2.0)


CONFIGS = st.builds(
    AIConfig,
    model=st.none() | st.sampled_from(["openai/a", "anthropic/b", "openrouter/openai/c"]),
    api_base=st.none() | st.just("http://localhost"),
    temperature=st.none() | st.floats(0, 2),
    max_tokens=st.none() | st.integers(1),
    timeout_s=st.none() | st.floats(0.1, 1e6),
)


@given(st.lists(st.none() | CONFIGS))
def test_the_last_layer_that_sets_a_field_wins(layers: list[AIConfig | None]) -> None:
    merged = layered(*layers)
    for name in ("model", "temperature", "max_tokens", "timeout_s"):
        said = [value for layer in layers if layer and (value := getattr(layer, name)) is not None]
        assert getattr(merged, name) == (said[-1] if said else None)


@given(CONFIGS)
def test_values_and_back(config: AIConfig) -> None:
    assert AIConfig.of(config.values()) == config
    assert hash(AIConfig.of(config.values())) == hash(config)


def test_the_environment_names_a_model() -> None:
    environ = {"WHISPER_MODEL": "groq/x", "OPENAI_API_KEY": "k"}
    assert from_environment(environ, "offline/echo") == AIConfig(model="groq/x")


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_key_selects_its_provider(provider: str) -> None:
    variable, model = PROVIDERS[provider]
    config = from_environment({variable: "k"}, "offline/echo")
    assert config.model == model
    assert config.provider == provider


def test_an_empty_key_is_no_key() -> None:
    assert from_environment({"OPENAI_API_KEY": ""}, "offline/echo").model == "offline/echo"


def test_the_first_provider_in_order_wins() -> None:
    environ = {variable: "k" for variable, _ in PROVIDERS.values()}
    assert from_environment(environ, "offline/echo").provider == next(iter(PROVIDERS))


def test_without_a_key_the_offline_model_answers() -> None:
    assert from_environment({}, "offline/echo") == AIConfig(model="offline/echo")


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        (AIConfig(model="openai/x"), "OPENAI_API_KEY"),
        (AIConfig(model="openai/x", api_key_env="MY_KEY"), "MY_KEY"),
        (AIConfig(model="openai/x", api_key_env="THEIR_KEY"), None),
        (AIConfig(model="openai/x", api_base="http://localhost:8000"), None),
        (AIConfig(model="openai/x", api_base="http://localhost:8000", api_key_env="MY_KEY"), "MY_KEY"),
        (AIConfig(model="groq/x"), None),
        (AIConfig(model="offline/echo"), None),
        (AIConfig(model="ollama/x"), None),
        (AIConfig(), None),
    ],
)
def test_the_key_that_is_missing(config: AIConfig, missing: str | None) -> None:
    environ = {"GROQ_API_KEY": "k", "THEIR_KEY": "k", "OPENAI_API_KEY": "", "MY_KEY": ""}
    assert missing_key(config, environ) == missing


def test_every_call_has_time_limits_by_default() -> None:
    assert set(DEFAULTS.values()) == {"timeout_s", "token_timeout_s"}


def test_another_provider_leaves_the_address_and_the_key_variable_behind() -> None:
    mine = AIConfig(model="openai/local", api_base="http://127.0.0.1:1/v1", api_key_env="MY_KEY", temperature=0.5)
    assert layered(mine, AIConfig(model="anthropic/claude-haiku-4-5")).values() == {
        "model": "anthropic/claude-haiku-4-5",
        "temperature": 0.5,
    }
    assert layered(mine, AIConfig(model="openai/other")).api_base == "http://127.0.0.1:1/v1"
    assert layered(AIConfig(api_base="http://127.0.0.1:1/v1"), AIConfig(model="openai/x")).api_base is not None
