from __future__ import annotations

import math
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from whisper_nb.config.yamlfile import MAX_DEPTH, MAX_FILE_BYTES, MAX_NODES, dump_yaml, load_yaml, parse_yaml
from whisper_nb.core.errors import ConfigError


def read(text: str | bytes) -> Any:
    return parse_yaml(text.encode() if isinstance(text, str) else text, "agents/bob.yaml").data


# Values of the core schema of YAML 1.2


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("no", "no"), ("yes", "yes"), ("on", "on"), ("Off", "Off"), ("y", "y"),
        ("12:30:45", "12:30:45"), ("2026-01-31", "2026-01-31"), ("1.2.3", "1.2.3"), ("1_000", "1_000"),
        ("010", 10), ("+1", 1), ("-0", 0), ("0x10", "0x10"), ("0o7", "0o7"), ("0b1", "0b1"),
        ("1e5", 1e5), ("1.", 1.0), (".5", 0.5), ("-1.5E-3", -0.0015), (".inf", ".inf"), (".nan", ".nan"), (".", "."),
        ("true", True), ("FALSE", False), ("tRue", "tRue"), ("~", None), ("NULL", None), ("nUll", "nUll"), ("", None),
        ("'1'", "1"), ('"true"', "true"), ('"\\u0041"', "A"), ("<<", "<<"), ("=", "="),
        ("|\n  1\n", "1\n"), (">-\n  a\n  b\n", "a b"), ("a\n  b", "a b"),
        ("[a, 1, [], {}]", ["a", 1, [], {}]), ("{b: 2, a: 1}", {"b": 2, "a": 1}), ("&anchor x", "x"),
    ],
)  # fmt: skip
def test_scalars_have_the_expected_type_and_value(said: str, meant: object) -> None:
    (value,) = read(f"key: {said}").values()
    assert (value, type(value)) == (meant, type(meant))


def test_a_long_integer_is_exact() -> None:
    assert read("9" * 100) == int("9" * 100)


@pytest.mark.parametrize("key", ["no", "12:30", "'1'", '"true"', "<<", "ü", "2nd", "a b"])
def test_keys_are_read_as_text(key: str) -> None:
    assert read(f"{key}: x") == {key.strip("'\""): "x"}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "---\n...\n", "~", "\ufeff"])
def test_an_empty_document_is_none(text: str) -> None:
    assert read(text) is None


@pytest.mark.parametrize("text", ["\ufeffa: 1", "%YAML 1.1\n---\na: 1", "---\na: 1\n...\n", "a: 1\r\n", "a: 1\r"])
def test_byte_order_marks_and_line_endings_of_editors_are_accepted(text: str) -> None:
    assert read(text) == {"a": 1}


# Limits, each from both sides


def test_a_large_file_is_refused() -> None:
    assert read(b"#" * MAX_FILE_BYTES) is None
    with pytest.raises(ConfigError, match=r"agents/bob\.yaml:1: the file has more than 262,144 bytes"):
        read(b"#" * (MAX_FILE_BYTES + 1))


@pytest.mark.parametrize(("opens", "closes"), [("[", "]"), ("{a: ", "}"), ("- ", "")])
def test_a_deep_file_is_refused(opens: str, closes: str) -> None:
    deepest = MAX_DEPTH - 1
    assert read(opens * deepest + "x" + closes * deepest)
    with pytest.raises(ConfigError, match=r"agents/bob\.yaml:1: nested deeper than 32 levels"):
        read(opens * MAX_DEPTH + "x" + closes * MAX_DEPTH)


@pytest.mark.parametrize(("most", "each"), [(MAX_NODES - 1, "- x\n"), (MAX_NODES // 2 - 1, "{number}: \n")])
def test_a_file_of_many_values_is_refused(most: int, each: str) -> None:
    lines = [each.replace("{number}", f"k{number}") for number in range(most)]
    assert len(read("".join(lines))) == most
    with pytest.raises(ConfigError, match=rf"agents/bob\.yaml:{most + 1}: more than 5,000 values"):
        read("".join([*lines, each.replace("{number}", "k"), each.replace("{number}", "l")]))


# Lines


DOCUMENT = """\
# a comment

name: bob
ai_config:
  model: openai/x
  stop: [END,
    FIN]
"a b": |
  text
"""


@pytest.mark.parametrize(
    ("keys", "line"),
    [
        ((), 3), (("name",), 3), (("ai_config",), 4), (("ai_config", "model"), 5), (("ai_config", "stop", 0), 6),
        (("ai_config", "stop", 1), 7), (("a b",), 8),
        (("ai_config", "modle"), 4), (("ai_config", "stop", 7), 6), (("nothing", "here"), 3),
    ],
)  # fmt: skip
def test_each_value_has_its_line_and_a_missing_value_that_of_its_parent(keys: tuple[str | int, ...], line: int) -> None:
    assert parse_yaml(DOCUMENT.encode(), "agents/bob.yaml").location(keys) == f"agents/bob.yaml:{line}"


def test_lines_are_counted_from_the_start_of_the_file() -> None:
    assert parse_yaml(b"a: 1\nb: 2\n", "bob.md", first_line=2).location(("b",)) == "bob.md:3"
    for bad in (b"a: 1\nb: ]", b"a: 1\nb: \xff", b"a: 1\nb: !x y", b"a: 1\na: 2"):
        with pytest.raises(ConfigError, match=r"bob\.md:3: "):
            parse_yaml(bad, "bob.md", first_line=2)


def test_an_error_has_its_location_as_an_attribute() -> None:
    with pytest.raises(ConfigError) as caught:
        read("a: 1\na: 2\n")
    (problem,) = caught.value.problems
    assert (problem.location, problem.text) == ("agents/bob.yaml:2", "the key 'a' appears twice")


def test_the_message_of_an_error_is_short_though_the_file_is_long() -> None:
    long = "x" * 100_000
    for text in (f"a: !{long} x", f"? {long}\n: 1\n? {long}\n: 2\n", f"? [{long}]\n: 1\n"):
        with pytest.raises(ConfigError) as caught:
            read(text)
        assert len(str(caught.value)) < 500


# Files


def test_a_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file.yaml").write_text("a: [1, two]\nü: {}\n", encoding="utf-8")
    assert load_yaml(tmp_path / "file.yaml") == {"a": [1, "two"], "ü": {}}


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*no\.yaml: No such file"):
        load_yaml(tmp_path / "no.yaml")


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_yaml(tmp_path)


def test_an_impossible_file_name_is_an_error() -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_yaml(Path("a\0b"))


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs an endless file")
def test_reading_an_endless_file_stops_at_the_limit() -> None:
    with pytest.raises(ConfigError):
        load_yaml(Path("/dev/zero"))


def test_reading_does_not_block_on_a_pipe(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(ConfigError, match=r"pipe\.yaml"):
        load_yaml(tmp_path / "pipe.yaml")


# Arbitrary text; for hostile files see test_hostile.py


@given(st.text("abx: -[]{}!&*?|>'\"#%@`\n\t019._~<=,\\U", max_size=40) | st.text(max_size=40))
@example("!!int 0b")
@example('"\\UFFFFFFFF"')
@example('"\\U00110000"')
@settings(max_examples=150)
def test_any_text_gives_a_value_or_a_config_error_with_its_line(text: str) -> None:
    try:
        read(text)
    except ConfigError as error:
        (problem,) = error.problems
        name, _, line = problem.location.rpartition(":")
        assert name == "agents/bob.yaml"
        assert 1 <= int(line) <= len(text.splitlines()) + 1


@given(st.binary(max_size=40))
def test_any_bytes_give_a_value_or_a_config_error(data: bytes) -> None:
    with suppress(ConfigError):
        read(data)


TEXTS = (
    st.text()
    | st.text(st.characters(), max_size=30)
    | st.text("a1:-#'\"\\ \n\t\r\x85\u2028|>&*!%@[]{},~é", max_size=30)
)
SCALARS = (
    st.none() | st.booleans() | st.integers(-(10**99), 10**99) | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS
)  # fmt: skip
DATA = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4))


@given(DATA)
@example({"a": "no", "b": "010", "c": "1e5", "d": "12:30", "e": "", "f": "~", "g": "a\nb\n", "h": " \n a", "i": "\n"})
@example("a " * 200)
@example(["\x85", "\u2028", "\ufeff", "\x7f", "\ud800", "\r\n", "\t", "a\t\nb", "#", "a: b", "- a", "---", "..."])
@example({"x" * 2_000: {"y\nz": 1}})
@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
def test_written_data_is_read_back_unchanged(data: Any) -> None:
    found = read(dump_yaml(data))
    assert found == data
    assert repr(found) == repr(data), "1 is not True, and 1.0 not 1"


def test_text_of_several_lines_is_written_as_a_block() -> None:
    assert dump_yaml({"prompt": "One.\nTwo: 2.\n", "no": "no"}) == "prompt: |\n  One.\n  Two: 2.\n'no': 'no'\n"


def test_a_repeated_value_is_written_without_an_alias() -> None:
    shared = [1]
    assert read(dump_yaml({"a": shared, "b": shared})) == {"a": [1], "b": [1]}
    assert read(dump_yaml({"a": (1, 2)})) == {"a": [1, 2]}


def test_a_number_that_overflows_is_not_finite() -> None:
    assert read("1e999") == math.inf
