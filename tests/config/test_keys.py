from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.config.aiconfig import AIConfig
from whisper_nb.config.keys import Key, Keys, Vault, is_literal, is_written_in, reference_to, variable_of
from whisper_nb.core.errors import ConfigError
from whisper_nb.core.text import mask_keys

CANARY = "sk-canary-0123456789abcdef"


def words_of(thing: Any) -> Iterator[str]:
    """The reprs of an object and of its attributes and methods."""
    yield from (repr(thing), str(thing), f"{thing}")
    for name in dir(thing):
        value = getattr(thing, name)
        yield from (repr(value), str(value))


def key_of(config: AIConfig, **environ: str) -> str:
    """The key that a call with this config sends."""
    key = Keys(environ).key(config.provider, config.api_key)
    return key.reveal() if key else ""


# References to keys


@pytest.mark.parametrize(
    "said",
    [
        {"api_key": "os.environ/MY_KEY"},
        {"api_key": "${MY_KEY}"},
        {"api_key_env": "MY_KEY"},
        {"api_key_name": "MY_KEY"},
        {"provider": "openai", "model": "x", "generation_params": {"api_key_env": "MY_KEY"}},
        {"openai": {"model": "x", "api_key": "${MY_KEY}"}},
    ],
)
def test_an_api_key_is_a_reference_to_its_variable(said: dict[str, Any]) -> None:
    config = AIConfig.of(said)
    assert config.api_key == "os.environ/MY_KEY"
    assert variable_of(config.api_key) == "MY_KEY"
    assert key_of(config, MY_KEY="k-mine", OPENAI_API_KEY="k-other") == "k-mine"


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "MY_KEY_2", "_MY_KEY"])
def test_the_name_of_a_variable_is_not_a_key_and_the_error_says_what_to_write(name: str) -> None:
    with pytest.raises(ConfigError, match=f"api_key is the name of a variable, not a key; write os.environ/{name}"):
        AIConfig(api_key=name)


@pytest.mark.parametrize("said", ["", "  ", f"{CANARY} and more", f"Bearer {CANARY}", f"{CANARY}\nx"])
def test_an_invalid_key_is_an_error_that_does_not_show_it(said: str) -> None:
    with pytest.raises(ConfigError, match=r"api_key is empty or contains spaces; write os\.environ/NAME") as caught:
        AIConfig(api_key=said)
    assert CANARY not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [
        "os.environ/MY-KEY",
        "os.environ/",
        "os.environ/A/B",
        "os.environ/2ND",
        "${}",
        "${MY-KEY}",
        "$MY_KEY",
        "${MY_KEY:-x}",
    ],
)
def test_a_malformed_reference_is_an_error_and_not_a_key(said: str) -> None:
    with pytest.raises(ConfigError, match=r"os\.environ/NAME"):
        AIConfig(api_key=said)


@pytest.mark.parametrize("said", ["os.environ/MY_KEY ", " ${MY_KEY}", "os.environ/MY_KEY\n"])
def test_space_around_a_reference_is_ignored(said: str) -> None:
    assert AIConfig(api_key=said).api_key == "os.environ/MY_KEY"


@pytest.mark.parametrize("said", ["os.environ/MY_KEY", "${MY_KEY}"])
def test_a_reference_is_accepted_in_place_of_a_variable_name(said: str) -> None:
    assert AIConfig.of({"api_key_env": said}).api_key == "os.environ/MY_KEY"


@pytest.mark.parametrize("said", [CANARY, "", "MY-KEY", "two words"])
def test_an_invalid_variable_name_is_an_error(said: str) -> None:
    with pytest.raises(ConfigError, match=r"os\.environ/NAME|name of a variable") as caught:
        AIConfig.of({"api_key_env": said})
    assert CANARY not in str(caught.value)


# Literal keys


@pytest.fixture
def literal() -> AIConfig:
    with pytest.warns(UserWarning, match=r"the API key is a literal: it works, .* write os\.environ/NAME") as told:
        config = AIConfig.of({"model": "openai/x", "api_key": CANARY})
    assert len(told) == 1
    return config


def test_a_literal_key_works(literal: AIConfig) -> None:
    assert is_literal(literal.api_key)
    assert key_of(literal, OPENAI_API_KEY="k-other") == CANARY
    assert Keys({}).missing("openai", literal.api_key, own_server=False) == ""


def test_configs_with_the_same_literal_key_are_equal(literal: AIConfig) -> None:
    with pytest.warns(UserWarning, match="the API key is a literal"):
        again = AIConfig(model="openai/x", api_key=f" {CANARY}\n")
    assert again == literal
    with pytest.warns(UserWarning, match="the API key is a literal"):
        assert AIConfig(model="openai/x", api_key=f"{CANARY}0") != literal


def test_a_literal_key_is_recognised_in_a_text(literal: AIConfig) -> None:
    assert is_written_in(f"api_key={CANARY}", literal.api_key)
    assert not is_written_in("api_key={{ key }}", literal.api_key)
    assert not is_written_in("os.environ/MY_KEY", "os.environ/MY_KEY")
    assert not is_written_in("", None)


def test_configs_derived_from_one_with_a_literal_key_do_not_warn_again(literal: AIConfig) -> None:
    assert AIConfig.of(literal, seed=1).api_key == AIConfig.of(literal.values()).api_key == literal.api_key


def test_a_literal_key_of_another_process_is_an_error(literal: AIConfig) -> None:
    script = f"""
import pickle, warnings
from whisper_nb import AIConfig, ConfigError
from whisper_nb.config.keys import Keys
warnings.simplefilter("ignore")
AIConfig(api_key="sk-of-this-process-0123")
config = pickle.loads({pickle.dumps(literal)!r})
try:
    print(Keys({{"OPENAI_API_KEY": "k-of-the-environment"}}).key(config.provider, config.api_key).reveal())
except ConfigError as error:
    print("ConfigError:", error)
"""
    said = subprocess.run([sys.executable, "-c", script], text=True, capture_output=True, check=True).stdout
    assert said.startswith("ConfigError: api_key refers to a literal key of another process")
    assert "os.environ/NAME" in said


def test_a_made_up_reference_to_a_literal_key_is_an_error(literal: AIConfig) -> None:
    for made_up in ("literal/", "literal/00000000", f"literal/{CANARY}"):
        with pytest.raises(ConfigError, match="a literal key of another process"):
            Keys({"OPENAI_API_KEY": "k"}).key("openai", made_up)


# Finding keys


def test_the_named_variable_or_else_the_providers_gives_the_key() -> None:
    keys = Keys({"OPENAI_API_KEY": "k-own", "MY_KEY": "k-mine"})
    found = keys.key("openai", None), keys.key("openai", "os.environ/MY_KEY"), keys.key("groq", None)
    assert [key and (key.variable, key.reveal()) for key in found] == [
        ("OPENAI_API_KEY", "k-own"),
        ("MY_KEY", "k-mine"),
        None,
    ]


def test_a_named_variable_that_is_unset_is_not_replaced_by_the_providers() -> None:
    keys = Keys({"OPENAI_API_KEY": "k-own"})
    assert keys.key("openai", "os.environ/MY_KEY") is None
    assert keys.missing("openai", "os.environ/MY_KEY", own_server=False) == "MY_KEY"


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"GEMINI_API_KEY": "a", "GOOGLE_API_KEY": "b"}, "GEMINI_API_KEY"),
        ({"GOOGLE_API_KEY": "b"}, "GOOGLE_API_KEY"),
        ({"GEMINI_API_KEY": " ", "GOOGLE_API_KEY": "b"}, "GOOGLE_API_KEY"),
    ],
)
def test_gemini_accepts_googles_key(environ: dict[str, str], variable: str) -> None:
    key = Keys(environ).key("gemini", None)
    assert key is not None
    assert key.variable == variable
    assert Keys(environ).missing("gemini", None, own_server=False) == ""


@pytest.mark.parametrize(
    ("provider", "reference", "own_server", "missing"),
    [
        ("openai", None, False, "OPENAI_API_KEY"),
        ("gemini", None, False, "GEMINI_API_KEY"),
        ("openai", None, True, ""),
        ("openai", "os.environ/MY_KEY", True, "MY_KEY"),
        ("groq", None, False, ""),
        ("ollama", None, False, ""),
        ("offline", None, False, ""),
        ("unheard-of", None, False, ""),
        ("unheard-of", "os.environ/MY_KEY", False, "MY_KEY"),
        ("", None, False, ""),
    ],
)
def test_the_missing_variable_is_named(provider: str, reference: str | None, own_server: bool, missing: str) -> None:
    keys = Keys({"GROQ_API_KEY": "k", "OPENAI_API_KEY": "", "MY_KEY": " "})
    assert keys.missing(provider, reference, own_server) == missing


def test_a_key_that_is_set_later_is_found() -> None:
    environ: dict[str, str] = {}
    keys = Keys(environ)
    environ["OPENAI_API_KEY"] = " k-late\n"
    assert keys.get("OPENAI_API_KEY") == "k-late"
    assert keys.source("OPENAI_API_KEY") == "env OPENAI_API_KEY"


# .env files

ENV = """# my keys

OPENAI_API_KEY=sk-of-the-file   # not this
export GROQ_API_KEY='k groq'

EMPTY_KEY=
MISTRAL_API_KEY="k-mistral"
"""


def test_an_env_file_is_read_with_the_line_of_each_key() -> None:
    keys = Keys({})
    names = ["OPENAI_API_KEY", "GROQ_API_KEY", "EMPTY_KEY", "MISTRAL_API_KEY"]
    assert keys.read(ENV, ".env") == names
    assert [keys.get(name) for name in names] == ["sk-of-the-file", "k groq", "", "k-mistral"]
    assert [keys.source(name) for name in names] == [".env:3", ".env:4", ".env:6", ".env:7"]


def test_an_env_file_never_overrides_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "k-set")
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    keys = Keys(os.environ)
    before = dict(os.environ)
    keys.read(ENV, ".env")
    assert (keys.get("OPENAI_API_KEY"), keys.source("OPENAI_API_KEY")) == ("k-set", "env OPENAI_API_KEY")
    assert keys.get("GROQ_API_KEY") == "k groq"
    assert dict(os.environ) == before


def test_an_env_file_replaces_the_previous_one() -> None:
    keys = Keys({})
    keys.read("A_KEY=1\nB_KEY=2", ".env")
    keys.read("B_KEY=3", "other.env")
    assert (keys.get("A_KEY"), keys.get("B_KEY"), keys.source("B_KEY")) == ("", "3", "other.env:1")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("this is junk", 1),
        ("A=1\nthis is junk\n", 2),
        ("A=1\n\n\nthis is junk", 4),
        ('A=1\nB="open\nC=3', 2),
        ("=x", 1),
    ],
)
def test_an_invalid_line_of_an_env_file_is_named_and_changes_nothing(text: str, line: int) -> None:
    keys = Keys({})
    keys.read("A=before", ".env")
    with pytest.raises(ConfigError, match=rf"^\.env:{line}: not a line of the form NAME=value") as caught:
        keys.read(text, ".env")
    assert "junk" not in str(caught.value)
    assert keys.get("A") == "before"


@given(st.text("AB=\"'# \n\\$x", max_size=30) | st.text(max_size=30))
def test_any_text_is_an_env_file_or_a_config_error(text: str) -> None:
    keys = Keys({})
    try:
        names = keys.read(text, ".env")
    except ConfigError as error:
        assert str(error).startswith(".env:")
    else:
        assert all(keys.source(name).startswith(".env:") for name in names)


# Redaction


def test_known_keys_are_redacted(literal: AIConfig) -> None:
    environ = {
        "MY_API_KEY": "k-0123456789",
        "DB_PASSWORD": "hunter2hunter2",
        "A_TOKEN": "k-0123456789-longer",
        "SHORT_KEY": "abc",
        "HOME": "/somewhere",
    }
    keys = Keys(environ)
    keys.read("FILE_KEY=k-of-the-file", ".env")
    text = f"k-0123456789-longer k-0123456789 hunter2hunter2 {CANARY} k-of-the-file abc /somewhere"
    assert keys.redact(text) == f"{' '.join(['[redacted]'] * 5)} abc /somewhere"


@pytest.mark.parametrize("name", ["MY_OPENAI", "openai_key", "OPENAI_AUTH"])
def test_a_key_is_redacted_whatever_its_variable_is_called(name: str) -> None:
    keys = Keys({name: "k-0123456789"})
    key = keys.key("openai", f"os.environ/{name}")
    assert key is not None
    assert keys.redact(f"refused: {key.reveal()}") == "refused: [redacted]"


def test_no_repr_shows_a_key() -> None:
    keys = Keys({"OPENAI_API_KEY": CANARY})
    keys.read(f"FILE_KEY={CANARY}", ".env")
    vault = Vault()
    reference = vault.put(CANARY)
    key = keys.key("openai", None)
    assert key is not None
    assert key.reveal() == CANARY
    for thing in (keys, vault, key, vault.get(reference), Key("X", CANARY)):
        assert not [one for one in words_of(thing) if CANARY in one]
        with pytest.raises(TypeError):
            vars(thing)
    assert (repr(keys), repr(key), repr(Key("", CANARY))) == (
        "<Keys>",
        "<key from OPENAI_API_KEY>",
        "<key from nowhere>",
    )


@pytest.mark.parametrize("thing", [Keys({"A_KEY": CANARY}), Key("A_KEY", CANARY)], ids=["Keys", "Key"])
def test_objects_with_keys_cannot_be_pickled(thing: Any) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises((pickle.PicklingError, AttributeError, TypeError)) as caught:
            pickle.dumps(thing, protocol)
        assert CANARY not in str(caught.value)


def test_a_vault_keeps_one_reference_for_a_key() -> None:
    vault = Vault()
    first, second = vault.put("k-one"), vault.put("k-two")
    assert vault.put("k-one") == first != second
    assert [key and key.reveal() for key in map(vault.get, (first, second, "literal/x"))] == ["k-one", "k-two", None]


def test_reading_a_reference_twice_changes_nothing() -> None:
    for said in ("os.environ/A", "${A}", "k-something"):
        once = reference_to(said)
        assert reference_to(once) == once


def test_no_file_of_the_package_contains_a_key() -> None:
    """Files that users copy from contain only references."""
    root = Path(__file__).parents[2]
    files = [*root.glob("config/*.yaml"), *root.glob("agents/**/*.*")]
    assert files
    assert [file.name for file in files if mask_keys(text := file.read_text()) != text] == []
