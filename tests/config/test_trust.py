from __future__ import annotations

import json
from pathlib import Path

import pytest

from whisper_nb.config.trust import TrustFile
from whisper_nb.core.errors import ConfigError

ONE, TWO = "1" * 64, "2" * 64


def test_nothing_is_trusted_at_first_and_asking_writes_nothing(tmp_path: Path) -> None:
    assert TrustFile(tmp_path / "home").digest(Path("/folder")) == ""
    assert list(tmp_path.iterdir()) == []


def test_what_was_trusted_is_known_to_another_process(tmp_path: Path) -> None:
    TrustFile(tmp_path / "deep/home").record(Path("/folder"), ONE)
    assert TrustFile(tmp_path / "deep/home").digest(Path("/folder")) == ONE


def test_trust_of_one_folder_is_not_anothers(tmp_path: Path) -> None:
    trust = TrustFile(tmp_path)
    trust.record(Path("/folder"), ONE)
    for other in ("/", "/folder/sub", "/folder2", "/folde", "/Folder", "folder", "/folder "):
        assert trust.digest(Path(other)) == ""
    trust.record(Path("/other"), TWO)
    assert (trust.digest(Path("/folder")), trust.digest(Path("/other"))) == (ONE, TWO)


def test_trust_in_one_thing_replaces_the_last_and_trust_in_nothing_forgets_the_project(tmp_path: Path) -> None:
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
def test_a_corrupt_file_trusts_nothing_and_can_be_written_anew(tmp_path: Path, name: str) -> None:
    (tmp_path / "trust.json").write_bytes(CORRUPT[name])
    trust = TrustFile(tmp_path)
    assert trust.digest(Path("/folder")) == ""
    trust.record(Path("/folder"), TWO)
    assert trust.digest(Path("/folder")) == TWO


def test_what_is_right_in_a_file_that_is_wrong_elsewhere_is_kept(tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_text(json.dumps({"/folder": ONE, "/other": 5}))
    assert TrustFile(tmp_path).digest(Path("/folder")) == ONE
    assert TrustFile(tmp_path).digest(Path("/other")) == ""


def test_trust_that_cannot_be_kept_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "home/trust.json").mkdir(parents=True)
    for folder in ("file", "home"):
        with pytest.raises(ConfigError, match=rf"cannot write .*{folder}/trust\.json"):
            TrustFile(tmp_path / folder).record(Path("/folder"), ONE)


def test_the_file_is_its_users_alone_and_nothing_is_left_beside_it(tmp_path: Path) -> None:
    for digest in (ONE, TWO, ""):
        TrustFile(tmp_path).record(Path("/folder"), digest)
    (path,) = tmp_path.iterdir()
    assert (path.name, path.stat().st_mode & 0o077) == ("trust.json", 0)


@pytest.mark.parametrize("name", ["/wörk", "/a b", "/a\nb", "/\udcff"])
def test_folders_of_any_name(tmp_path: Path, name: str) -> None:
    TrustFile(tmp_path).record(Path(name), ONE)
    assert TrustFile(tmp_path).digest(Path(name)) == ONE
