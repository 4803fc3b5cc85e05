from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from whisper_nb.errors import ConfigError
from whisper_nb.yamlfile import MAX_BYTES, load_yaml


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "file.yaml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def test_a_document(tmp_path: Path) -> None:
    assert load_yaml(write(tmp_path, "a: [1, two]\nü: {}\n")) == {"a": [1, "two"], "ü": {}}


def test_an_empty_file_is_none(tmp_path: Path) -> None:
    assert load_yaml(write(tmp_path, "")) is None


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read .*no\.yaml: No such file"):
        load_yaml(tmp_path / "no.yaml")


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        load_yaml(tmp_path)


def test_a_large_file_is_refused(tmp_path: Path) -> None:
    assert load_yaml(write(tmp_path, "#" * MAX_BYTES)) is None
    with pytest.raises(ConfigError, match=r"262,144 bytes"):
        load_yaml(write(tmp_path, "#" * (MAX_BYTES + 1)))


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="needs an endless file")
def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="bytes"):
        load_yaml(Path("/dev/zero"))


def test_not_utf_8(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not UTF-8 \(byte 3\)"):
        load_yaml(write(tmp_path, b"a: \xff"))


def test_a_syntax_error_has_its_place(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"file\.yaml:3: "):
        load_yaml(write(tmp_path, "a: 1\nb: 2\nc: ]\n"))


def test_python_objects_are_not_made(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="tags are not read"):
        load_yaml(write(tmp_path, "!!python/object/apply:os.system ['true']"))


def test_deep_nesting_is_an_error_and_no_crash(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nested deeper than 32"):
        load_yaml(write(tmp_path, "[" * 5_000))


@pytest.mark.parametrize(
    "text",
    [
        "n: !!int ''",
        "b: !!bool perhaps",
        "t: !!timestamp soon",
        "f: !!float x",
        "? [1]\n: 2",
        "x: \x00",
    ],
)
def test_a_value_that_yaml_cannot_build(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match=r"file\.yaml"):
        load_yaml(write(tmp_path, text))


@given(st.text("abx: -[]{}!&*?|>'\"#%@`\n\t019._~<=,", max_size=40) | st.text(max_size=40))
@example("!!int 0b")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_hostile_text_gives_a_value_or_our_error(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text.encode("utf-8", "surrogatepass"))
    with suppress(ConfigError):
        load_yaml(path)
