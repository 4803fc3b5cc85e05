from __future__ import annotations

import json
from pathlib import Path

import pytest

from whisper_nb.config.trust import TrustFile
from whisper_nb.core.errors import ConfigError

ONE, TWO = "1" * 64, "2" * 64


def test_nothing_is_trusted_at_first_and_a_check_writes_nothing(tmp_path: Path) -> None:
    assert TrustFile(tmp_path / "home").digest(Path("/folder")) == ""
    assert list(tmp_path.iterdir()) == []


def test_trust_is_shared_between_processes(tmp_path: Path) -> None:
    TrustFile(tmp_path / "deep/home").record(Path("/folder"), ONE)
    assert TrustFile(tmp_path / "deep/home").digest(Path("/folder")) == ONE


def test_trust_applies_to_one_folder(tmp_path: Path) -> None:
    trust = TrustFile(tmp_path)
    trust.record(Path("/folder"), ONE)
    for other in ("/", "/folder/sub", "/folder2", "/folde", "/Folder", "folder", "/folder "):
        assert trust.digest(Path(other)) == ""
    trust.record(Path("/other"), TWO)
    assert (trust.digest(Path("/folder")), trust.digest(Path("/other"))) == (ONE, TWO)


def test_new_trust_replaces_the_previous_and_none_forgets_the_project(tmp_path: Path) -> None:
    trust = TrustFile(tmp_path)
    trust.record(Path("/folder"), ONE)
    trust.record(Path("/other"), ONE)
    trust.record(Path("/folder"), TWO)
    assert trust.digest(Path("/folder")) == TWO
    trust.record(Path("/folder"), "")
    assert trust.digest(Path("/folder")) == ""
    assert json.loads((tmp_path / "trust.json").read_text()) == {"/other": ONE}


CORRUPT = {
    "nothing": b"",
    "half of it": b'{"/folder": "1',
    "a list": b'["/folder"]',
    "a text": b'"/folder"',
    "null": b"null",
    "no UTF-8": b'{"/folder": "\xff"}',
    "UTF-16": json.dumps({"/folder": ONE}).encode("utf-16"),
    "another kind of value": b'{"/folder": true}',
    "a list for a value": json.dumps({"/folder": [ONE]}).encode(),
    "too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("name", CORRUPT)
def test_a_corrupt_file_trusts_nothing_and_can_be_rewritten(tmp_path: Path, name: str) -> None:
    (tmp_path / "trust.json").write_bytes(CORRUPT[name])
    trust = TrustFile(tmp_path)
    assert trust.digest(Path("/folder")) == ""
    trust.record(Path("/folder"), TWO)
    assert trust.digest(Path("/folder")) == TWO


def test_valid_entries_of_a_partly_invalid_file_are_kept(tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_text(json.dumps({"/folder": ONE, "/other": 5}))
    assert TrustFile(tmp_path).digest(Path("/folder")) == ONE
    assert TrustFile(tmp_path).digest(Path("/other")) == ""


def test_trust_that_cannot_be_stored_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "home/trust.json").mkdir(parents=True)
    for folder in ("file", "home"):
        with pytest.raises(ConfigError, match=rf"cannot write .*{folder}/trust\.json"):
            TrustFile(tmp_path / folder).record(Path("/folder"), ONE)


def test_the_file_is_private_to_the_user_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    for digest in (ONE, TWO, ""):
        TrustFile(tmp_path).record(Path("/folder"), digest)
    (path,) = tmp_path.iterdir()
    assert (path.name, path.stat().st_mode & 0o077) == ("trust.json", 0)


@pytest.mark.parametrize("name", ["/wörk", "/a b", "/a\nb", "/\udcff"])
def test_a_folder_of_any_name_can_be_trusted(tmp_path: Path, name: str) -> None:
    TrustFile(tmp_path).record(Path(name), ONE)
    assert TrustFile(tmp_path).digest(Path(name)) == ONE
