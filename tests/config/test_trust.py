from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock

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
    assert json.loads((tmp_path / "trust.json").read_text()) == {"/other": f"2:{ONE}"}


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
def test_a_corrupt_file_trusts_nothing_and_is_told_and_never_replaced(tmp_path: Path, name: str) -> None:
    (tmp_path / "trust.json").write_bytes(CORRUPT[name])
    trust = TrustFile(tmp_path)
    assert trust.digest(Path("/folder")) == ""
    assert "No project is trusted, and nothing in it is changed" in trust.problem(Path("/folder"))
    for digest in (TWO, ""):
        with pytest.raises(ConfigError, match="correct it, or move it away and review your projects again"):
            trust.record(Path("/folder"), digest)
    assert (tmp_path / "trust.json").read_bytes() == CORRUPT[name]
    (tmp_path / "trust.json").rename(tmp_path / "away")
    trust.record(Path("/folder"), TWO)
    assert (trust.digest(Path("/folder")), trust.problem(Path("/folder"))) == (TWO, "")


def test_entries_of_an_earlier_kind_trust_nothing_and_are_told_and_kept(tmp_path: Path) -> None:
    (tmp_path / "trust.json").write_text(json.dumps({"/folder": ONE, "/other": ONE}))
    trust = TrustFile(tmp_path)
    assert trust.digest(Path("/folder")) == ""
    assert "/folder was trusted by an earlier version of whisper_nb" in trust.problem(Path("/folder"))
    assert trust.problem(Path("/third")) == ""
    trust.record(Path("/folder"), TWO)
    assert (trust.digest(Path("/folder")), trust.problem(Path("/folder"))) == (TWO, "")
    assert json.loads((tmp_path / "trust.json").read_text())["/other"] == ONE


def test_two_processes_that_record_at_once_lose_nothing(tmp_path: Path) -> None:
    """Each one reads the file, and changes it, under a lock."""
    program = (
        "import sys\nfrom pathlib import Path\nfrom whisper_nb.config.trust import TrustFile\n"
        "sys.stdin.readline()\n"
        "for number in range(10):\n"
        "    TrustFile(Path(sys.argv[1])).record(Path(f'/{sys.argv[2]}/{number}'), '1' * 64)\n"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), name], stdin=subprocess.PIPE) for name in "ab"
    ]
    for writer in writers:
        writer.communicate(b"\n")
    assert [writer.returncode for writer in writers] == [0, 0]
    assert len(json.loads((tmp_path / "trust.json").read_text())) == 20


def test_a_lock_that_is_never_released_is_an_error(tmp_path: Path) -> None:
    with FileLock(tmp_path / "trust.lock"), pytest.raises(ConfigError, match=r"another process has locked .*trust"):
        TrustFile(tmp_path, lock_s=0.0).record(Path("/folder"), ONE)
    assert TrustFile(tmp_path).digest(Path("/folder")) == ""


def test_trust_that_cannot_be_stored_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "home/trust.json").mkdir(parents=True)
    for folder, reason in {"file": "cannot write .*", "home": r".*: it cannot be read \(Is a directory\)"}.items():
        with pytest.raises(ConfigError, match=reason):
            TrustFile(tmp_path / folder).record(Path("/folder"), ONE)


def test_the_files_are_private_to_the_user_and_no_temporary_file_is_left(tmp_path: Path) -> None:
    for digest in (ONE, TWO, ""):
        TrustFile(tmp_path).record(Path("/folder"), digest)
    assert {path.name for path in tmp_path.iterdir()} <= {"trust.json", "trust.lock"}
    assert [path.stat().st_mode & 0o077 for path in tmp_path.iterdir()] == [0] * len([*tmp_path.iterdir()])


@pytest.mark.parametrize("name", ["/wörk", "/a b", "/a\nb", "/\udcff"])
def test_a_folder_of_any_name_can_be_trusted(tmp_path: Path, name: str) -> None:
    TrustFile(tmp_path).record(Path(name), ONE)
    assert TrustFile(tmp_path).digest(Path(name)) == ONE
