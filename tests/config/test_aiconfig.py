from __future__ import annotations

import copy
import dataclasses
import itertools
import math
import pickle
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from support.configs import CANARY, CONFIGS, FIELDS, GOOD, JSON
from whisper_nb import Agent, ConfigError, Runtime
from whisper_nb.config.aiconfig import CONFIG_FIELDS, AIConfig, from_values, missing_key
from whisper_nb.config.formats import ALIASES, OF_A_MODEL, OF_A_PROVIDER
from whisper_nb.config.keys import Keys
from whisper_nb.config.kinds import Params, Price
from whisper_nb.config.layers import Layer, from_environment, layered
from whisper_nb.config.providers import PROVIDERS

# Hypothesis strategies

#: Keys that have a meaning in one of the formats, and some that have none.
WORDS = [
    *CONFIG_FIELDS, *ALIASES, "provider", "generation_params", "params", "openrouter", "openai", "azure", "cache",
    "site_url", "app_name", "cleared", "temprature", "",
]  # fmt: skip
#: Valid and invalid values of those keys.
SAID: st.SearchStrategy[Any] = JSON | st.sampled_from(
    ["openai/gpt-4o", "anthropic:claude-x", "openrouter/auto", "openrouter", "os.environ/A_KEY", "MY_KEY", "http://h",
    CANARY,
     0.7, 1, 8000, math.nan, math.inf, b"", object(), int]
)  # fmt: skip
SOME = st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=3) | st.integers() | st.none(), SAID, max_size=2)
#: Dicts in any of the formats, valid or invalid.
SOURCES: st.SearchStrategy[dict[Any, Any]] = st.recursive(
    FIELDS | st.builds(lambda fields, some: {**fields, **some}, FIELDS, SOME),
    lambda inner: st.builds(
        lambda outer, key, value: {**outer, key: value},
        FIELDS | SOME,
        st.sampled_from(["generation_params", "params", "openrouter", "openai", "azure", *WORDS]),
        inner,
    ),
    max_leaves=3,
)


# Configs as values


def test_a_config_is_frozen_equal_by_value_and_hashable() -> None:
    config = AIConfig(model="openai/x", stop=["a"], extra={"b": [1]}, temperature=1)  # type: ignore[arg-type]
    same = AIConfig(model="openai/x", stop=("a",), extra=Params({"b": [1]}), temperature=1.0)
    assert config == same
    assert hash(config) == hash(same)
    assert config != AIConfig(model="openai/x", stop=("a",), temperature=1)
    assert {config: 1}[same] == 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.temperature = 0  # type: ignore[misc]


@given(CONFIGS)
def test_a_config_is_equal_in_every_form(config: AIConfig) -> None:
    again = [
        AIConfig.of(config),
        AIConfig.of(config.values()),
        from_values(config.values()),
        dataclasses.replace(config),
        copy.deepcopy(config),
        *(pickle.loads(pickle.dumps(config, protocol)) for protocol in (2, pickle.HIGHEST_PROTOCOL)),
    ]
    assert [one for one in again if one != config or hash(one) != hash(config)] == []


def test_a_model_string_is_a_config() -> None:
    assert AIConfig.of("openai/gpt-4o-mini") == AIConfig(model="openai/gpt-4o-mini")
    assert AIConfig.of("anthropic:claude-x") == AIConfig(model="anthropic/claude-x")


@pytest.mark.parametrize("model", ["ollama/llama3:8b", "openrouter/x/y:thinking", "mine/x:y"])
def test_a_colon_in_the_name_of_a_model_stays(model: str) -> None:
    assert AIConfig.of(model).model == model


@pytest.mark.parametrize("model", ["mine:model", "gpt-4o", "/gpt", "openai/", "/", "", "anthropic:"])
def test_a_model_without_a_provider_or_a_name_is_an_error(model: str) -> None:
    with pytest.raises(ConfigError, match=r"is not provider/model"):
        AIConfig.of(model)


def test_a_dict_of_fields_is_a_config() -> None:
    assert AIConfig.of({"model": "openai/x", "max_tokens": 5}) == AIConfig(model="openai/x", max_tokens=5)


@pytest.mark.parametrize(
    "said",
    [
        {"provider": "openrouter", "model": "openai/x", "generation_params": {"seed": 1}},
        {"openrouter": {"model": "openai/x", "params": {"seed": 1}}},
        {"openrouter": {"model": "y", "params": {"seed": 1}}, "provider": "openrouter", "model": "openai/x"},
    ],
)
def test_a_dict_may_have_aiwhisperers_formats(said: dict[str, Any]) -> None:
    assert AIConfig.of(said) == AIConfig(model="openrouter/openai/x", seed=1)


def test_a_dict_works_wherever_a_config_is_expected() -> None:
    said = {"provider": "openrouter", "model": "openai/x", "generation_params": {"temperature": 0.5}}
    config = Agent(name="bob", config=said).config  # type: ignore[arg-type]
    assert (config.model, config.temperature) == ("openrouter/openai/x", 0.5)


def test_of_returns_a_config_itself_and_applies_overrides() -> None:
    config = AIConfig(model="openai/x", temperature=1.0)
    assert AIConfig.of(config) == config
    assert AIConfig.of(config, temperature=0, max_tokens=None) == AIConfig(model="openai/x", temperature=0)
    assert AIConfig.of({"temperature": None}, temperature=1) == AIConfig(temperature=1)
    assert AIConfig.of("openai/x", provider="openai", model="y").model == "openai/y"


OPENAIS = {
    "model": "openai/x",
    "api_base": "http://mine",
    "api_key": "os.environ/A_KEY",
    "extra": {"user": "me"},
    "seed": 1,
}


@pytest.mark.parametrize("source", [OPENAIS, AIConfig.of(OPENAIS)], ids=["dict", "AIConfig"])
def test_an_override_to_another_provider_drops_key_address_and_extra(source: Any) -> None:
    """As a layer does: no key is sent to another server. `configure(model=…)` and `Session.configure` are overrides."""
    assert AIConfig.of(source, model="anthropic/y").values() == {"model": "anthropic/y", "seed": 1}
    assert AIConfig.of(source, model="openai/y").api_key == "os.environ/A_KEY"
    assert AIConfig.of(source, model="anthropic/y", api_key="os.environ/B_KEY").api_key == "os.environ/B_KEY"


@given(GOOD["model"], FIELDS)
def test_all_formats_of_one_config_are_equal(name: str, fields: dict[str, Any]) -> None:
    params = {field: value for field, value in fields.items() if field != "model"}
    provider, _, model = name.partition("/")
    config = from_values({**params, "model": name})
    assert AIConfig.of({"model": name, **params}) == config
    assert AIConfig.of({"model": name, "generation_params": params}) == config
    assert AIConfig.of({"provider": provider, "model": model, "generation_params": params}) == config
    assert AIConfig.of({provider: {"model": model, "params": params}}) == config
    moved = AIConfig.of({provider: {"model": "z/z", "params": params}, "provider": provider, "model": model})
    params.pop("price", None)  # of another model
    assert moved == from_values({**params, "model": name})


def test_none_is_a_config_without_values() -> None:
    assert AIConfig.of() == AIConfig.of(None) == AIConfig.of({}) == AIConfig()
    assert AIConfig().values() == {}
    assert AIConfig().provider == ""


@pytest.mark.parametrize("source", [5, b"openai/x", ["openai/x"], object(), AIConfig, True])
def test_a_value_that_is_not_a_config_is_an_error(source: Any) -> None:
    kind = type(source).__name__
    with pytest.raises(ConfigError, match=f"made of {kind}: give an AIConfig, a dict or a model string"):
        AIConfig.of(source)


# Fields

LIMITS: list[tuple[str, list[Any], list[Any]]] = [
    ("temperature", [0, 2, 2.0, 0.5, np.float32(0.5), np.int64(1)], [-0.01, 2.01, "0.5", [1]]),
    ("top_p", [0, 1, 0.5], [-0.1, 1.1]),
    ("max_tokens", [1, 10**6, np.uint8(4)], [0, -1, 1.5, 1.0, "5", np.float64(1)]),
    ("max_reasoning_tokens", [0, 1], [-1, 0.5]),
    ("context_tokens", [1, 2048], [0, 0.5]),
    ("frequency_penalty", [-2, 2, 0], [-2.1, 2.1]),
    ("presence_penalty", [-2, 2, 0], [-2.1, 2.1]),
    ("seed", [0, -1, 2**63], [0.5, "1"]),
    ("timeout_s", [0.001, 1, 86400], [0, -1, "1"]),
    ("token_timeout_s", [0.001, 1, 86400], [0, 0.0, -1, [1]]),
    ("retries", [0, 10], [-1, 11, 1.5]),
    ("output_retries", [0, 10], [-1, 11, 1.5]),
]
NO_NUMBERS = [True, False, np.bool_(True), math.nan, math.inf, -math.inf, np.nan, "", {}, 1j]
OTHERS: list[tuple[str, list[Any], list[Any]]] = [
    ("model", ["openai/x"], [5, "gpt", ["openai/x"]]),
    ("api_base", ["http://localhost:8000"], [5, "localhost", "http://a b", "http://host:sk-password"]),
    ("api_key", ["os.environ/A", "${A}"], [5, ["A"], ""]),
    ("stop", ["END", ["a", "b"], ("a",)], ["", [], [""], [1], 5, {"a": 1}]),
    ("requests_per_minute", [1, 10**6], [0, -1, 1.5, "60"]),
    ("tokens_per_minute", [1, 10**9], [0, -1, 1.5, True]),
    ("allow_empty", [True, False], [0, "no", []]),
    ("stream", [True, False], [1, "yes", []]),
    ("transport", ["wire", "litellm"], [True, "http", ""]),
    ("output_mode", ["native", "tool", "prompt"], [True, "json", ""]),
    (
        "price",
        ["free", {"input": 0, "output": 0.5}, Price(1.0, 2.0)],
        [True, 0.5, "cheap", {}, {"input": 1}, {"input": 1, "output": -1}, {"input": 1, "output": 2, "other": 3}],
    ),
    ("extra", [{}, {"a": {"b": [None]}}], [5, ["a"], {"a": math.nan}, {1: 2}]),
]


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, good, _ in LIMITS + OTHERS for value in good], ids=repr
)
def test_a_valid_value_is_accepted(name: str, value: Any) -> None:
    config = AIConfig(**{name: value})
    assert list(config.values()) == [name]
    assert not isinstance(getattr(config, name), np.generic)


BAD = [(name, value) for name, _, bad in LIMITS for value in [*bad, *NO_NUMBERS]]
BAD += [(name, value) for name, _, bad in OTHERS for value in bad]


@pytest.mark.parametrize(("name", "value"), BAD, ids=repr)
def test_an_invalid_value_is_an_error(name: str, value: Any) -> None:
    for make in (
        lambda: AIConfig(**{name: value}),
        lambda: AIConfig.of({name: value}),
        lambda: AIConfig.of(**{name: value}),
    ):
        with pytest.raises(ConfigError, match=rf"^{name} ") as caught:
            make()
        assert [problem.path for problem in caught.value.problems] == [(name,)]


def test_the_table_of_values_covers_every_field() -> None:
    assert {name for name, _, _ in LIMITS + OTHERS} == set(CONFIG_FIELDS) == set(GOOD)


def test_all_problems_are_in_one_error() -> None:
    said = {"temperature": 9, "modle": "x", "generation_params": {"seed": "x"}}
    with pytest.raises(ConfigError) as caught:
        AIConfig.of(said)
    assert [problem.path for problem in caught.value.problems] == [
        ("generation_params", "seed"),
        ("temperature",),
        ("modle",),
    ]
    assert str(caught.value).splitlines() == [problem.text for problem in caught.value.problems]
    with pytest.raises(ConfigError, match=r"temperature 9 (.|\n)*cleared: no field 'modle'"):
        AIConfig(temperature=9, cleared=("modle",))


def test_an_unknown_field_names_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="unknown config field 'temprature'; did you mean 'temperature'"):
        AIConfig.of({"temprature": 0})
    with pytest.raises(ConfigError, match=r"unknown config field 'zzz'; known are model, api_base"):
        AIConfig.of(zzz=1)


@given(SOURCES)
@example({"openrouter": {"model": "a/b", "params": {"temperature": 0.5}}})
@example({"generation_params": {"temperature": {"generation_params": 1}}})
def test_any_dict_gives_a_config_that_round_trips_or_a_config_error(source: dict[Any, Any]) -> None:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "AIConfig: ", UserWarning)
        try:
            config = AIConfig.of(source)
        except ConfigError as error:
            assert error.problems
            assert "object has no attribute" not in str(error)
            assert all(str(problem) in str(error) for problem in error.problems)
            return
    assert AIConfig.of(config.values()) == config == pickle.loads(pickle.dumps(config))
    assert hash(AIConfig.of(config.values())) == hash(config)
    assert CANARY not in f"{config!r} {config.values()}"


# Unset, and null


def test_unset_differs_from_null() -> None:
    unset, null = AIConfig.of({}), AIConfig.of({"temperature": None})
    assert unset != null
    assert (unset.temperature, null.temperature) == (None, None)
    assert null.values() == {"temperature": None}
    assert null.cleared == ("temperature",)


def test_a_field_that_is_set_is_left_out_of_cleared() -> None:
    assert AIConfig(seed=1, cleared=("temperature", "seed", "temperature")).cleared == ("temperature",)


def test_a_null_clears_lower_layers_and_not_higher_ones() -> None:
    said, null = Layer(AIConfig(temperature=0.5, seed=1)), Layer(AIConfig.of({"temperature": None}))
    assert layered(said, null).config == AIConfig(seed=1)
    assert layered(null, said).config.temperature == 0.5
    assert layered(said, null, Layer(AIConfig(temperature=1))).config.temperature == 1


@pytest.mark.parametrize("cleared", [5, None, "model", [["model"]], ("modle",)])
def test_an_invalid_field_to_clear_is_an_error(cleared: Any) -> None:
    with pytest.raises(ConfigError, match="cleared"):
        AIConfig(cleared=cleared)


# Keys are never shown


def test_a_literal_key_is_not_shown() -> None:
    with pytest.warns(UserWarning, match="AIConfig: the API key is a literal") as told:
        config = AIConfig(model="openai/x", api_key=CANARY)
    assert len(told) == 1
    texts = [repr(config), str(config), repr(dataclasses.asdict(config)), repr(dataclasses.astuple(config))]
    texts += [repr(config.values()), str(hash(config)), repr(Agent(name="bob", config=config))]
    assert [text for text in texts if CANARY in text] == []
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert CANARY.encode() not in pickle.dumps(config, protocol)


@pytest.mark.parametrize(
    "said",
    [
        {"api_key": CANARY, "temperature": 9},
        {"api_key": [CANARY]},
        {"api_key": f"Bearer {CANARY}"},
        {"model": CANARY},
        {"api_base": CANARY},
        {"temperature": CANARY},
        {"generation_params": [CANARY]},
        {"provider": f"{CANARY}/", "model": "x"},
        {"extra": {"api_key": CANARY}},
        {"extra": {"extra_headers": {"Authorization": f"Bearer {CANARY}"}}},
    ],
)
def test_an_error_does_not_show_a_key_wherever_it_was_written(said: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        AIConfig.of(said)
    assert CANARY not in f"{caught.value} {caught.value.problems}"


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        (AIConfig(model="openai/x"), "OPENAI_API_KEY"),
        (AIConfig(model="openai/x", api_key="os.environ/MY_KEY"), "MY_KEY"),
        (AIConfig(model="openai/x", api_key="os.environ/THEIR_KEY"), ""),
        (AIConfig(model="openai/x", api_base="http://localhost:8000"), ""),
        (AIConfig(model="openai/x", api_base="http://localhost:8000", api_key="os.environ/MY_KEY"), "MY_KEY"),
        (AIConfig(model="openai/x", api_base="https://api.openai.com/v1"), "OPENAI_API_KEY"),
        (AIConfig(model="xai/x"), ""),
        (AIConfig(model="mistral/x"), "MISTRAL_API_KEY"),
        (AIConfig(model="groq/x"), ""),
        (AIConfig(model="offline/echo"), ""),
        (AIConfig(model="ollama/x"), ""),
        (AIConfig(), ""),
    ],
)
def test_a_missing_key_is_named(config: AIConfig, missing: str) -> None:
    """Whether one is needed depends on the address, wherever it is from."""
    keys = Keys(
        {
            "GROQ_API_KEY": "k",
            "THEIR_KEY": "k",
            "OPENAI_API_KEY": "",
            "MY_KEY": "",
            "XAI_API_BASE": "http://localhost:8000/v1",
            "MISTRAL_API_BASE": "https://api.mistral.ai/v1",
        }
    )
    assert missing_key(config, keys) == missing


# Layers

LAYERS = st.lists(CONFIGS, max_size=5)


@given(LAYERS)
@settings(max_examples=40)
def test_the_highest_layer_that_sets_a_field_wins_and_is_its_source(configs: list[AIConfig]) -> None:
    layers = [Layer(config, f"layer {number}") for number, config in enumerate(configs)]
    found = layered(None, *layers)
    assert set(found.sources) == set(found.config.values())
    said_of = [(number, config.provider) for number, config in enumerate(configs) if "model" in config.values()]
    moved = [number for (_, before), (number, now) in itertools.pairwise(said_of) if before and now != before]
    models = [(-1, None), *((number, configs[number].model) for number, _ in said_of)]
    others = [number for (_, before), (number, now) in itertools.pairwise(models) if now != before]
    for name in CONFIG_FIELDS:
        first = max(moved, default=0) if name in OF_A_PROVIDER else 0
        if name in OF_A_MODEL:
            first = max(others, default=0)
        said = [(one.source, one.config.values()[name]) for one in layers[first:] if name in one.config.values()]
        value = getattr(found.config, name)
        assert value == (said[-1][1] if said else None)
        assert value is None or found.place(name) == said[-1][0]


@given(LAYERS)
@settings(max_examples=40)
def test_any_layers_give_a_config_that_round_trips(configs: Sequence[AIConfig]) -> None:
    config = layered(*map(Layer, configs)).config
    assert AIConfig.of(config.values()) == config
    assert config.cleared == ()


def test_a_layer_with_another_model_drops_the_price() -> None:
    """Else a model that costs money would count as free."""
    free = Layer(AIConfig.of({"model": "openai/x", "price": "free"}))
    assert layered(free, Layer(AIConfig(seed=1))).config.price == Price(0, 0)
    assert layered(free, Layer(AIConfig(model="openai/x"))).config.price == Price(0, 0)
    assert layered(free, Layer(AIConfig(model="openai/y"))).config.price is None
    assert layered(Layer(AIConfig.of(price="free")), Layer(AIConfig(model="openai/y"))).config.price is None
    assert AIConfig.of(free.config, model="openai/y").price is None
    assert AIConfig.of({"price": "free"}, model="openai/y").price == Price(0, 0)
    assert Agent(name="bob", model="openai/y", config={"price": "free"}).config.price == Price(0, 0)


async def test_a_price_for_all_agents_is_that_of_the_model_that_all_share() -> None:
    async with Runtime(environ={"OPENAI_API_KEY": "k"}) as rt:
        rt.configure(price="free")
        mine = Agent(name="bob", model="openai/mine")
        assert rt.resolve(mine).price is None
        assert rt.resolve(Agent(name="eve")).price == Price(0, 0)


def test_a_layer_with_another_provider_drops_key_address_and_extra() -> None:
    mine = Layer(AIConfig.of({**OPENAIS, "temperature": 0.5}), "mine")
    assert layered(mine, Layer(AIConfig(model="anthropic/y"))).config.values() == {
        "model": "anthropic/y",
        "temperature": 0.5,
        "seed": 1,
    }
    own = Layer(AIConfig(model="anthropic/y", api_key="os.environ/B_KEY"), "own")
    assert layered(mine, own).place("api_key") == "own"
    assert layered(mine, Layer(AIConfig(model="openai/other"))).config.api_base == "http://mine"
    assert layered(Layer(AIConfig(api_base="http://mine")), Layer(AIConfig(model="openai/x"))).config.api_base


def test_a_null_model_between_two_providers_passes_no_key_on() -> None:
    null = Layer(AIConfig.of({"model": None}))
    found = layered(Layer(AIConfig.of(OPENAIS)), null, Layer(AIConfig(model="anthropic/y"))).config
    assert (found.api_key, found.api_base, found.extra) == (None, None, None)


# The environment


def test_the_environment_names_a_model() -> None:
    found = from_environment(Keys({"WHISPER_MODEL": "groq:x", "OPENAI_API_KEY": "k"}), "offline/echo")
    assert (found.config, found.place("model")) == (AIConfig(model="groq/x"), "env WHISPER_MODEL")


def test_an_invalid_model_in_the_environment_is_an_error_that_names_the_variable() -> None:
    with pytest.raises(ConfigError, match=r"WHISPER_MODEL.*'gpt-4o' is not provider/model"):
        from_environment(Keys({"WHISPER_MODEL": "gpt-4o"}), "offline/echo")


@pytest.mark.parametrize(
    ("variable", "provider"),
    [(variable, name) for name, one in PROVIDERS.items() if one.model for variable in one.variables],
)
def test_a_key_selects_its_provider(variable: str, provider: str) -> None:
    found = from_environment(Keys({variable: "k"}), "offline/echo")
    assert found.config == AIConfig(model=PROVIDERS[provider].model)
    assert (found.config.provider, found.place("model")) == (provider, f"env {variable}")


def test_the_first_provider_in_order_wins() -> None:
    keys = Keys({variable: "k" for one in PROVIDERS.values() for variable in one.variables})
    assert from_environment(keys, "offline/echo").config.provider == next(iter(PROVIDERS))


@pytest.mark.parametrize("environ", [{}, {"OPENAI_API_KEY": ""}, {"OPENAI_API_KEY": " \n"}, {"WHISPER_MODEL": ""}])
def test_without_a_key_the_offline_model_answers(environ: dict[str, str]) -> None:
    found = from_environment(Keys(environ), "offline/echo")
    assert found.config == AIConfig(model="offline/echo")
    assert found.place("model") == "default: no provider's key is set"


# From the files of a project to the config of a run


def project(folder: Path, **files: str) -> Path:
    """A folder with these files: `main` for config/main.yaml, `env` for .env, else agents/NAME.yaml."""
    (folder / "config").mkdir()
    (folder / "agents").mkdir()
    for name, text in files.items():
        path = {"main": "config/main.yaml", "env": ".env"}.get(name, f"agents/{name}.yaml")
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def explained(runtime: Runtime, name: str = "bob") -> dict[str, tuple[Any, str]]:
    layer = runtime.explain(name)
    return {field: (value, layer.place(field)) for field, value in layer.config.values().items()}


MAIN = """\
# for all
openrouter:
  model: openai/gpt-4o
  params:
    temperature: 0.1
    top_p: 0.1
    seed: 1
    max_tokens: 1
  api_key: os.environ/MY_KEY
"""
BOB = """\
system_prompt: You are bob.
ai_config:
  generation_params:
    top_p: 0.2
    seed: 2
    max_tokens: 2
"""


async def test_each_value_has_its_source(tmp_path: Path) -> None:
    async with Runtime(environ={}, project=project(tmp_path, main=MAIN, bob=BOB)) as rt:
        rt.configure(seed=3, max_tokens=3)
        rt["bob"].configure({"max_tokens": 4})
        assert explained(rt) == {
            "model": ("openrouter/openai/gpt-4o", "config/main.yaml:3"),
            "api_key": ("os.environ/MY_KEY", "config/main.yaml:9"),
            "temperature": (0.1, "config/main.yaml:5"),
            "top_p": (0.2, "agents/bob.yaml:4"),
            "seed": (3, "configure"),
            "max_tokens": (4, "session"),
            "timeout_s": (600, "default"),
            "token_timeout_s": (120, "default"),
            "retries": (2, "default"),
            "output_retries": (2, "default"),
        }
        call = AIConfig(max_tokens=5)
        resolved = rt["bob"].resolved(call)
        assert (resolved.max_tokens, resolved.seed, resolved.top_p, resolved.temperature) == (5, 3, 0.2, 0.1)
        assert layered(Layer(AIConfig(seed=1), "session"), Layer(call, "call")).sources == {
            "seed": "session",
            "max_tokens": "call",
        }


async def test_the_source_of_an_agent_created_in_python_says_so() -> None:
    async with Runtime(environ={"OPENROUTER_API_KEY": "k"}) as rt:
        rt.create(Agent(name="bob", config=AIConfig(seed=1)))
        told = explained(rt)
    assert told["seed"] == (1, "agent bob")
    assert told["model"] == (PROVIDERS["openrouter"].model, "env OPENROUTER_API_KEY")


@pytest.mark.parametrize(
    ("files", "environ", "model", "place"),
    [
        ({}, {}, "offline/echo", "default: no provider's key is set"),
        ({}, {"GOOGLE_API_KEY": "k"}, PROVIDERS["gemini"].model, "env GOOGLE_API_KEY"),
        ({}, {"GOOGLE_API_KEY": "k", "WHISPER_MODEL": "groq/x"}, "groq/x", "env WHISPER_MODEL"),
        ({"main": "model: xai/x\n"}, {"WHISPER_MODEL": "groq/x"}, "xai/x", "config/main.yaml:1"),
        ({"main": "env_file: .env\n", "env": "\nWHISPER_MODEL=xai/x\n"}, {}, "xai/x", ".env:2"),
        ({"main": "env_file: .env\n", "env": "WHISPER_MODEL=xai/x\n"}, {"WHISPER_MODEL": "groq/x"}, "groq/x",
         "env WHISPER_MODEL"),
    ],
)  # fmt: skip
async def test_the_source_of_the_model_is_shown(
    files: dict[str, str], environ: dict[str, str], model: str, place: str, tmp_path: Path
) -> None:
    async with Runtime(environ=environ, project=project(tmp_path, bob="system_prompt: Hi\n", **files)) as rt:
        assert explained(rt)["model"] == (model, place)


async def test_a_field_that_an_agent_clears_is_not_listed(tmp_path: Path) -> None:
    bob = "ai_config:\n  temperature: null\n  api_key: ~\n"
    async with Runtime(environ={}, project=project(tmp_path, main=MAIN, bob=bob)) as rt:
        told = explained(rt)
    assert told["seed"] == (1, "config/main.yaml:7")
    assert not {"temperature", "api_key"} & told.keys()


async def test_an_agent_with_another_provider_gets_no_key_and_address_of_the_team(tmp_path: Path) -> None:
    main = MAIN + "  api_base: http://team\n  site_url: http://me\n"
    bob = "ai_config: {provider: anthropic, model: claude-x}\n"
    async with Runtime(environ={}, project=project(tmp_path, main=main, bob=bob)) as rt:
        told = explained(rt)
        assert explained(rt, "alice")["api_base"] == ("http://team", "config/main.yaml:10")
    assert told["model"] == ("anthropic/claude-x", "agents/bob.yaml:1")
    assert told["temperature"] == (0.1, "config/main.yaml:5")
    assert not {"api_key", "api_base", "extra"} & told.keys()


async def test_a_key_under_a_provider_is_used_for_that_provider_only(tmp_path: Path) -> None:
    """Without a model beside it, the key would go to any provider that the environment names: an error."""
    main = "groq:\n  api_key: os.environ/MY_KEY\n"
    async with Runtime(environ={"WHISPER_MODEL": "openai/x"}, project=project(tmp_path, main=main)) as rt:
        with pytest.raises(ConfigError, match=r"main\.yaml:1: provider 'groq' without a model"):
            rt.resolve()


async def test_configuring_another_provider_passes_no_key_on() -> None:
    async with Runtime(environ={}) as rt:
        rt.create(Agent(name="bob"))
        rt.configure(OPENAIS)
        rt.configure(model="anthropic/y")
        assert not {"api_key", "api_base", "extra"} & explained(rt).keys()
        rt["bob"].configure(OPENAIS)
        rt["bob"].configure(model="groq/z")
        assert not {"api_key", "api_base", "extra"} & explained(rt).keys()


async def test_the_source_of_the_key_is_shown(tmp_path: Path) -> None:
    """The call's overrides the agent's, which overrides the main file's; see also `test_keys.py`."""
    bob = "ai_config: {api_key_env: BOBS_KEY}\n"
    async with Runtime(environ={}, project=project(tmp_path, main=MAIN, bob=bob)) as rt:
        assert explained(rt, "alice")["api_key"] == ("os.environ/MY_KEY", "config/main.yaml:9")
        assert explained(rt)["api_key"] == ("os.environ/BOBS_KEY", "agents/bob.yaml:1")
        assert rt["bob"].resolved(AIConfig(api_key="${CALLS_KEY}")).api_key == "os.environ/CALLS_KEY"


async def test_an_invalid_main_file_is_an_error_with_lines(tmp_path: Path) -> None:
    main = "model: openai/x\ntemperature: 9\nseeed: 1\n"
    async with Runtime(environ={}, project=project(tmp_path, main=main)) as rt:
        with pytest.raises(ConfigError) as caught:
            rt.explain("alice")
    lines = [
        re.escape("config/main.yaml:2: temperature 9"),
        re.escape("config/main.yaml:3: unknown config field 'seeed'"),
    ]
    assert [problem for problem in lines if not re.search(problem, str(caught.value))] == []


async def test_a_saved_agent_has_no_literal_key(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="the API key is a literal"):
        agent = Agent(name="bob", config={"model": "openai/x", "api_key": CANARY, "seed": 1})  # type: ignore[arg-type]
    assert CANARY not in repr(agent.document())
    async with Runtime(environ={}, project=tmp_path) as rt:
        rt.create(agent)
        text = rt.save("bob").read_text(encoding="utf-8")
    assert "seed: 1" in text
    assert "api_key" not in text
    assert CANARY not in text


def test_a_price_without_a_model_belongs_to_the_model_that_is_given_with_it() -> None:
    given = AIConfig.of({"price": "free"}, model="openai/x")
    assert given == AIConfig(model="openai/x", price="free")  # type: ignore[arg-type]
    assert Agent(name="bob", model="openai/x", config={"price": "free"}).config == given
    assert AIConfig.of(given, model="openai/y") == AIConfig(model="openai/y")
