from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.configs import FIELDS, GOOD
from whisper_nb.config.aiconfig import CONFIG_FIELDS, AIConfig
from whisper_nb.config.kinds import Params
from whisper_nb.config.mainfile import SETTINGS, Main, read_main
from whisper_nb.config.project import package
from whisper_nb.config.yamlfile import dump_yaml

NAME = "config/main.yaml"
PLACE = re.compile(r"config/main\.yaml:[1-9][0-9]*")
#: A file of an AIWhisperer user.
ORIGINAL = """\
# How models are reached
openrouter:
  model: google/gemini-2.5-flash-preview-05-20:thinking
  params:
    temperature: 0.7
    max_tokens: 8000
    max_reasoning_tokens: 0
  site_url: http://localhost:8000
  app_name: Mine

prompts: {}
workspace_ignore_patterns:
  - ".git"
  - "*.pyc"
use_refactored_async_agents: true
async_agents:
  max_concurrent_agents: 5
  max_tasks_per_agent: 20
  default_check_mail_interval: 30
"""


def read(text: str) -> Main:
    main = read_main(text.encode(), NAME)
    assert main is not None
    return main


def config(text: str) -> AIConfig:
    """The values of a valid file."""
    main = read(text)
    assert main.problems == ()
    assert main.layer is not None
    return main.layer.config


def problems(text: str) -> list[str]:
    main = read(text)
    assert main.layer is None
    assert main.settings == {}
    return list(map(str, main.problems))


def test_a_file_of_aiwhisperer_loads_completely() -> None:
    main = read(ORIGINAL)
    assert config(ORIGINAL) == AIConfig(
        model="openrouter/google/gemini-2.5-flash-preview-05-20:thinking",
        temperature=0.7,
        max_tokens=8000,
        max_reasoning_tokens=0,
        extra=Params({"extra_headers": {"HTTP-Referer": "http://localhost:8000", "X-Title": "Mine"}}),
    )
    assert main.settings == {"max_concurrent_calls": 5, "max_queued_runs": 20}
    assert main.layer is not None
    assert {name: main.layer.place(name) for name in ("model", "max_tokens", "extra")} == {
        "model": f"{NAME}:3",
        "max_tokens": f"{NAME}:6",
        "extra": f"{NAME}:2",
    }


@pytest.mark.parametrize("text", [ORIGINAL, ORIGINAL.replace("  app_name", "  cache: true\n  app_name")])
def test_keys_that_are_not_used_here_give_one_warning(text: str) -> None:
    (warning,) = read(text).warnings
    dead = ["prompts", "workspace_ignore_patterns", "use_refactored_async_agents", "default_check_mail_interval"]
    dead += ["cache"] if "cache" in text else []
    assert [name for name in dead if name not in warning.text] == []
    assert PLACE.fullmatch(warning.location)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", {}),
        ("# nothing\n", {}),
        ("{}", {}),
        ("model: openai/x\ntemperature: 0.5\n", {"model": "openai/x", "temperature": 0.5}),
        ("model: anthropic:claude-x\n", {"model": "anthropic/claude-x"}),
        ("provider: openrouter\nmodel: openai/x\ngeneration_params: {seed: 1}\n",
         {"model": "openrouter/openai/x", "seed": 1}),
        ("anthropic:\n  model: claude-x\n  api_key: ${MY_KEY}\n",
         {"model": "anthropic/claude-x", "api_key": "os.environ/MY_KEY"}),
        ("openrouter: {model: a/b}\nseed: 1\n", {"model": "openrouter/a/b", "seed": 1}),
        ("temperature: null\nstop: [END]\n", {"temperature": None, "stop": ("END",)}),
        ("max_queued_runs: 5\n", {}),
    ],
)  # fmt: skip
def test_the_main_file_may_have_any_of_the_formats(text: str, meant: dict[str, Any]) -> None:
    assert config(text).values() == meant


def test_the_settings_of_the_team_are_read() -> None:
    text = "max_concurrent_calls: 3\nmax_queued_runs: 7\nenv_file: keys/.env\nloop: thread\n"
    settings = {"max_concurrent_calls": 3, "max_queued_runs": 7, "env_file": "keys/.env", "loop": "thread"}
    assert read(text).settings == settings
    assert (
        read("async_agents: {max_concurrent_agents: 3}\nmax_concurrent_calls: 4\n").settings["max_concurrent_calls"]
        == 4
    )
    assert read("max_queued_runs: null\nasync_agents:\n").settings == {}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("a: 1\nmodle: openai/x\nmodel: openai/x\n", ":2: unknown config field 'modle'; did you mean 'model'?"),
        ("modle: openai/x\n", ":1: unknown config field 'modle'; did you mean 'model'?"),
        ("model: gpt-4o\n", ":1: model 'gpt-4o' is not provider/model"),
        ("seed: 1\ntemperature: 9\n", ":2: temperature 9 is not a number from 0 to 2"),
        ("temperature: no\n", ":1: temperature 'no' is not a number"),
        ("openai:\n  model: x\n  params:\n    top_p: 2\n", ":4: top_p 2 is not a number from 0 to 1"),
        ("openai:\n  model: x\n  tempreature: 1\n",
         ":3: unknown config field 'tempreature'; did you mean 'temperature'?"),
        ("openai: {model: x}\n\nazure: {model: y}\n", ":3: two providers, openai and azure"),
        ("seed: 1\nmax_concurrent_calls: 0\n", ":2: max_concurrent_calls 0 is not a whole number of at least 1"),
        ("max_queued_runs: true\n", ":1: max_queued_runs True is not a whole number"),
        ("env_file: /etc/passwd\n", ":1: env_file '/etc/passwd' is not the path of a file in the project"),
        ("env_file: ~/.env\n", ":1: env_file '~/.env' is not the path of a file in the project"),
        ("seed: 1\nloop: mars\n", ":2: loop 'mars' is not notebook or thread"),
        ("async_agents: 5\n", ":1: async_agents 5 is not a mapping"),
        ("async_agents:\n  max_concurrent_agent: 5\n",
         ":2: unknown key 'max_concurrent_agent'; did you mean 'max_concurrent_agents'?"),
        ("async_agents:\n  max_tasks_per_agent: 0\n", ":2: max_tasks_per_agent 0 is not a whole number of at least 1"),
        ("openrouter:\n  model: a/b\n  api_key: MY_KEY\n",
         ":3: api_key is the name of a variable, not a key; write os.environ/MY_KEY"),
        ("model: a/b\nmodel: a/c\n", ":2: the key 'model' appears twice"),
        ("model: a/b\n  - x: [\n", ":2: not YAML"),
        ("model: &a a/b\nseed: *a\n", ":2: aliases"),
        ("1: 2\n", ":1: the key "),
    ],
)  # fmt: skip
def test_an_error_has_its_line_and_the_allowed_values(text: str, found: str) -> None:
    assert any(one.startswith(f"{NAME}{found}") for one in problems(text)), problems(text)


def test_all_errors_are_reported_together() -> None:
    text = "temperature: 9\nmodel: gpt\nmax_queued_runs: 0\nasync_agents: {x: 1}\nmodle: 1\n"
    lines = sorted(int(one.location.rpartition(":")[2]) for one in read(text).problems)
    assert lines == [1, 2, 3, 4, 5]


def test_a_literal_key_works_with_a_warning_and_is_not_shown() -> None:
    main = read("openai:\n  model: x\n  api_key: sk-canary-0123456789abcdef\n")
    (warning,) = main.warnings
    assert warning.location == f"{NAME}:3"
    assert "os.environ/NAME" in warning.text
    assert main.layer is not None
    assert str(main.layer.config.api_key).startswith("literal/")
    assert "canary" not in repr(main)


@pytest.mark.parametrize(
    "text",
    [
        "name: my app\nversion: 3\ndatabase: {host: h}\n",
        "server: {port: 80}\ntimeout: 5\nlogging: {level: info}\n",
        "- a list\n",
        "just text",
        "5",
        "model: resnet50\nepochs: 10\noptimizer: adam\n",
        "defaults: [_self_, {db: mysql}]\nhydra: {run: {dir: out}}\nseed: 1\n",
    ],
)
def test_a_file_of_another_program_is_ignored(text: str) -> None:
    assert read_main(text.encode(), NAME) is None


@pytest.mark.parametrize("text", ["tempreature: 0.5\n", "model: openai/x\nfoo: 1\n", "async_agents: {}\nfoo: 1\n"])
def test_a_mistyped_key_does_not_make_it_a_file_of_another_program(text: str) -> None:
    assert "unknown config field" in " ".join(problems(text))


@pytest.mark.parametrize("settings", ["", "env_file: .env\n"])
@pytest.mark.parametrize("config", ["{temperature: 0.3}", "{model: openai/x}", "openai/x"])
def test_the_config_key_of_agents_files_is_an_error_that_says_where_its_fields_belong(
    settings: str, config: str
) -> None:
    (said,) = problems(f"{settings}ai_config: {config}\n")
    assert "unknown key 'ai_config': it belongs in an agent's file; write its fields here at the top level" in said


def test_the_packaged_main_file_sets_only_time_limits() -> None:
    main = package().main
    assert main is not None
    assert main.layer is not None
    assert set(main.layer.config.values()) == {"timeout_s", "token_timeout_s", "retries", "output_retries"}
    assert (main.problems, main.warnings) == ((), ())


# Any text


@given(GOOD["model"], FIELDS)
@settings(max_examples=50)
def test_all_formats_of_one_config_are_equal_in_yaml(name: str, fields: dict[str, Any]) -> None:
    params = {field: value for field, value in fields.items() if field != "model"}
    provider, _, model = name.partition("/")
    said = AIConfig.of({"model": name, **params})
    assert config(dump_yaml({"model": name, **params})) == said
    assert config(dump_yaml({"provider": provider, "model": model, "generation_params": params})) == said
    assert config(dump_yaml({provider: {"model": model, "params": params}})) == said


SCALARS = st.sampled_from(
    ["openai/x", "gpt", "0.5", "9", "-1", "true", "null", "~", "''", "'a b'", "[a, b]", "[]", "{}", "{model: x}",
    "{params: 1}", "os.environ/A", "${A}", "MY_KEY", "http://h", "1e999", "0x1f", "*a", "&a b", "!!int 5", "|\n  a",
    ">", "'", "{", "]", "é\u2028", "99999999999999999999999"]
)  # fmt: skip
KEYS = st.sampled_from(
    [*CONFIG_FIELDS, *SETTINGS, "openrouter", "openai", "provider", "generation_params", "params", "async_agents",
    "prompts", "cache", "max_concurrent_agents", "modle", "foo", "1", "~", "agents", "? x", "- y"]
)  # fmt: skip
LINES = st.builds(
    lambda indent, key, value: f"{indent}{key}: {value}", st.sampled_from(["", "", "  ", "    "]), KEYS, SCALARS
)
RIGHT = st.sampled_from(
    ["model: openai/x", "seed: 1", "temperature: null", "openrouter:\n  model: a/b", "  params:\n    top_p: 0.5",
    "cache: true", "async_agents:\n  max_tasks_per_agent: 5", "env_file: .env", "# a comment", "stop: [a]",
    "extra: {a: {b: [1, ~]}}"]
)  # fmt: skip
TEXTS = st.one_of(st.lists(RIGHT, max_size=4), st.lists(RIGHT | LINES, max_size=6)).map("\n".join)


@given(TEXTS | st.text("abx: -[]{}!&*?|>'\"#%@`\n\t019._~<=,\x00\x85", max_size=30))
@settings(max_examples=100)
def test_any_text_is_read_or_an_error_with_file_and_line(text: str) -> None:
    main = read_main(text.encode(), NAME)
    if main is None:
        return
    assert all(PLACE.fullmatch(one.location) and one.text for one in (*main.problems, *main.warnings))
    assert (main.layer is None) == bool(main.problems)
    if main.layer:
        said = main.layer.config
        assert AIConfig.of(said.values()) == said
        assert all(PLACE.fullmatch(main.layer.place(name)) for name in said.values())


@given(st.binary(max_size=60))
@settings(max_examples=50)
def test_any_bytes_are_read_or_an_error_with_file_and_line(data: bytes) -> None:
    main = read_main(data, NAME)
    assert main is None or all(PLACE.fullmatch(one.location) for one in main.problems)
