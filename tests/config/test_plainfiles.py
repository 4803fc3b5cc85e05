from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from whisper_nb.config.plainfiles import read_plain, replace_plain


@pytest.fixture
def small_disk() -> Iterator[None]:
    """No file may grow beyond 100 bytes, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_file_is_replaced_with_its_permissions(tmp_path: Path) -> None:
    path = tmp_path / "bob.yaml"
    replace_plain(path, "é\n", mode=0o640)
    assert (path.read_text(encoding="utf-8"), stat.S_IMODE(path.stat().st_mode)) == ("é\n", 0o640)
    path.chmod(0o604)
    replace_plain(path, "b")
    assert (path.read_text(), stat.S_IMODE(path.stat().st_mode)) == ("b", 0o604)
    assert os.listdir(tmp_path) == ["bob.yaml"]


@pytest.mark.usefixtures("small_disk")
def test_a_full_disk_leaves_the_earlier_file(tmp_path: Path) -> None:
    path = tmp_path / "bob.yaml"
    path.write_text("earlier")
    with pytest.raises(OSError, match="too large"):
        replace_plain(path, "x" * 1_000)
    assert (path.read_text(), os.listdir(tmp_path)) == ("earlier", ["bob.yaml"])


def test_no_link_is_followed(tmp_path: Path) -> None:
    other, folder = tmp_path / "other.txt", tmp_path / "agents"
    other.write_text("mine")
    folder.mkdir()
    (folder / "bob.yaml").symlink_to(other)
    replace_plain(folder / "bob.yaml", "text")
    assert (other.read_text(), (folder / "bob.yaml").read_text()) == ("mine", "text")
    assert not (folder / "bob.yaml").is_symlink()
    (tmp_path / "link").symlink_to(folder)
    with pytest.raises(OSError, match=r"Not a directory|symbolic links"):
        replace_plain(tmp_path / "link" / "bob.yaml", "other text")
    assert (folder / "bob.yaml").read_text() == "text"


def test_text_that_utf8_cannot_encode_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(UnicodeEncodeError):
        replace_plain(tmp_path / "bob.yaml", "\ud800")
    assert os.listdir(tmp_path) == []


def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(ValueError, match="is not a regular file"):
            read_plain(path, 10)
    (tmp_path / "file").write_text("0123456789abc")
    assert read_plain(tmp_path / "file", 10) == b"0123456789a"
