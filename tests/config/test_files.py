from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.hostile import put
from whisper_nb.config.files import MAX_FILES, Files, read_files, signature, with_files
from whisper_nb.config.yamlfile import MAX_FILE_BYTES


def read(root: Path) -> dict[str, bytes]:
    files = read_files(root)
    assert files.refused == {}
    return dict(files.data)


# Files that are read


def test_only_config_agent_and_prompt_files_are_read(tmp_path: Path) -> None:
    ours = (
        "config/main.yaml", "agents/a.yaml", "agents/b.yml", "agents/c.md", "agents/prompts/d.md",
        "agents/prompts/e.txt", "agents/prompts/shared/f.md", "agents/prompts/x/y/g.md",
    )  # fmt: skip
    others = (
        "main.yaml", "config/other.yaml", "config/main.yml", "agents/a.json", "agents/a.py", "agents/.hidden.yaml",
        "agents/sub/a.yaml", "agents/prompts/a.yaml", "agents/prompts/x/y/z/too_deep.md", "agents/prompts/.git/a.md",
        "agents/a.yaml~", "agents/#a.yaml#", ".env", "README.md", "prompts/a.md",
    )  # fmt: skip
    for name in (*ours, *others):
        put(tmp_path, name, name)
    assert read(tmp_path) == {name: name.encode() for name in ours}


def test_a_folder_without_such_files_is_empty(tmp_path: Path) -> None:
    files = read_files(tmp_path)
    assert (dict(files.data), dict(files.refused), bool(files)) == ({}, {}, False)
    assert signature(tmp_path) == ()


@pytest.mark.parametrize("name", ["config", "agents"])
def test_a_plain_file_in_place_of_a_folder_is_ignored(tmp_path: Path, name: str) -> None:
    put(tmp_path, name, "a file")
    assert read(tmp_path) == {}
    assert signature(tmp_path) == ()


def test_additional_files_are_read_and_earlier_contents_are_kept(tmp_path: Path) -> None:
    main = put(tmp_path, "config/main.yaml", "one")
    put(tmp_path, "keys/.env", "A=1")
    files = read_files(tmp_path, label="whisper_nb's")
    main.write_text("two")
    both = with_files(files, "keys/.env", "nothing.env")
    assert dict(both.data) == {"config/main.yaml": b"one", "keys/.env": b"A=1"}
    assert (both.root, both.name("x")) == (tmp_path, "whisper_nb's x")
    assert dict(files.data) == {"config/main.yaml": b"one"}


def test_links_within_their_folder_are_followed(tmp_path: Path) -> None:
    put(tmp_path, "agents/prompts/real.md", "text")
    (tmp_path / "agents/linked.md").symlink_to("prompts/real.md")
    (tmp_path / "agents/prompts/again.md").symlink_to(tmp_path / "agents/prompts/real.md")
    assert set(read(tmp_path).values()) == {b"text"}
    assert len(read(tmp_path)) == 3


def test_a_project_behind_a_link_is_a_project(tmp_path: Path) -> None:
    put(tmp_path, "real/agents/a.yaml", "text")
    (tmp_path / "link").symlink_to("real")
    assert read(tmp_path / "link") == {"agents/a.yaml": b"text"}


# Files that are refused


def leaves(target: str) -> str:
    return f"is a link that leaves {target}/"


@pytest.mark.parametrize(
    ("name", "target", "reason"),
    [
        ("agents/a.yaml", "../outside/a.yaml", leaves("agents")),
        ("agents/a.yaml", "../config/main.yaml", leaves("agents")),
        ("agents/a.yaml", "/dev/zero", leaves("agents")),
        ("agents/a.yaml", "/proc/self/environ", leaves("agents")),
        ("agents/a.yaml", "nothing.yaml", "is a link to nothing"),
        ("agents/a.yaml", "a.yaml", "cannot be read: Too many levels of symbolic links"),
        ("agents/prompts/a.md", "../../outside/a.md", leaves("agents")),
        ("agents/prompts/shared/a.md", "../../../config/main.yaml", leaves("agents")),
        ("keys/.env", "../config/main.yaml", leaves("keys")),
    ],
)
def test_a_link_out_of_its_folder_is_not_followed(tmp_path: Path, name: str, target: str, reason: str) -> None:
    for known in ("outside/a.yaml", "outside/a.md", "config/main.yaml", "agents/other.yaml"):
        put(tmp_path, known, "secret")
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)
    files = with_files(read_files(tmp_path), "keys/.env")
    assert dict(files.refused) == {name: reason}
    assert name not in files.data


@pytest.mark.parametrize("folder", ["agents", "config", "agents/prompts"])
@pytest.mark.parametrize("target", ["outside", "."])
def test_a_folder_that_is_a_link_to_elsewhere_is_not_read(tmp_path: Path, folder: str, target: str) -> None:
    for name in ("a.yaml", "a.md", "main.yaml"):
        put(tmp_path, f"outside/{name}", "secret")
        put(tmp_path, f"project/{name}", "not where it should be")
    (tmp_path / "project" / folder).parent.mkdir(exist_ok=True)
    (tmp_path / "project" / folder).symlink_to(tmp_path / "project" / target if target == "." else tmp_path / target)
    files = read_files(tmp_path / "project")
    assert dict(files.data) == {}
    assert set(files.refused.values()) == {leaves(folder.partition("/")[0])}


@pytest.mark.parametrize("path", ["../x", "a/../../x", "agents/../../x", "agents/../x/../../x", "agents/../secret"])
def test_a_path_out_of_its_folder_is_not_followed(tmp_path: Path, path: str) -> None:
    put(tmp_path, "x", "secret")
    for name in ("agents/a.yaml", "a/b", "secret", "x/y"):
        put(tmp_path, f"project/{name}", "text")
    assert "leaves" in with_files(read_files(tmp_path / "project"), path).refused[path]


def test_reading_does_not_block_on_special_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config/main.yaml").mkdir(parents=True)
    (tmp_path / "agents").mkdir()
    os.mkfifo(tmp_path / "agents/pipe.yaml")
    monkeypatch.chdir(tmp_path / "agents")  # a socket's path may not be long
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.yaml")
    files = read_files(tmp_path)
    assert dict(files.data) == {}
    assert files.refused["config/main.yaml"] == files.refused["agents/pipe.yaml"] == "is not a regular file"
    assert files.refused["agents/socket.yaml"].startswith("cannot be read: ")


def test_a_file_over_256_kb_is_refused(tmp_path: Path) -> None:
    os.truncate(put(tmp_path, "agents/a.yaml", ""), MAX_FILE_BYTES)
    os.truncate(put(tmp_path, "agents/b.yaml", ""), MAX_FILE_BYTES + 1)
    os.truncate(put(tmp_path, "agents/c.yaml", ""), 10**12)  # it takes no room on the disk
    files = read_files(tmp_path)
    assert set(files.data) == {"agents/a.yaml"}
    assert set(files.refused) == {"agents/b.yaml", "agents/c.yaml"}
    assert set(files.refused.values()) == {"has more than 262,144 bytes, which is the limit"}


def test_more_than_500_files_are_refused(tmp_path: Path) -> None:
    for number in range(MAX_FILES):
        put(tmp_path, f"agents/{number:03}.yaml", "x")
    assert len(read(tmp_path)) == MAX_FILES
    for number in range(MAX_FILES, MAX_FILES + 10):
        put(tmp_path, f"agents/{number:03}.yaml", "x")
    files = read_files(tmp_path)
    assert len(files.data) == MAX_FILES
    assert dict(files.refused) == {"agents/500.yaml": "is one file too many: at most 500 are allowed"}


NOT_UTF_8 = os.fsdecode(b"agents/\xff.yaml")
ODD = ["agents/\n.yaml", "agents/\x1b[2J.yaml", "agents/a b.yaml", "agents/ü.yaml", "agents/-.yaml", NOT_UTF_8]


@pytest.mark.parametrize("name", ODD)
def test_a_file_with_an_unusual_name_is_read_and_hashed(tmp_path: Path, name: str) -> None:
    before = read_files(tmp_path).digest
    put(tmp_path, name, "x")
    files = read_files(tmp_path)
    assert {**files.data, **files.refused}.keys() == {name}
    assert files.digest != before
    assert [entry[0] for entry in signature(tmp_path)] == [name]


@pytest.mark.parametrize("name", ["a\0b", "a\ud800b", "a" * 5_000, "a/" * 5_000])
def test_an_impossible_file_name_is_refused(tmp_path: Path, name: str) -> None:
    files = with_files(read_files(tmp_path), name)
    assert name not in files.data
    assert len(files.digest) == 64
    assert signature(tmp_path, (name,)) == ()


# Digests and signatures


def test_the_digest_depends_on_names_and_contents(tmp_path: Path) -> None:
    put(tmp_path, "agents/a.yaml", "one")
    put(tmp_path, "agents/b.yaml", "two")
    first = read_files(tmp_path).digest
    assert read_files(tmp_path).digest == first
    seen = {first}
    put(tmp_path, "agents/a.yaml", "onE")
    seen.add(read_files(tmp_path).digest)
    put(tmp_path, "agents/c.yaml", "")
    seen.add(read_files(tmp_path).digest)
    (tmp_path / "agents/c.yaml").rename(tmp_path / "agents/d.yaml")
    seen.add(read_files(tmp_path).digest)
    (tmp_path / "agents/d.yaml").unlink()
    os.mkfifo(tmp_path / "agents/d.yaml")
    seen.add(read_files(tmp_path).digest)
    assert len(seen) == 5


def test_the_digest_does_not_depend_on_the_projects_path(tmp_path: Path) -> None:
    for place in ("here", "there"):
        put(tmp_path, f"{place}/agents/a.yaml", "text")
    assert read_files(tmp_path / "here").digest == read_files(tmp_path / "there").digest


CONTENTS = st.dictionaries(st.text(max_size=8), st.binary(max_size=8), max_size=3)
REFUSED = st.dictionaries(st.text(max_size=8), st.text(max_size=3), max_size=2)


@given(CONTENTS, REFUSED, CONTENTS, REFUSED)
@example({"a": b"b"}, {}, {"a": b"", "b": b""}, {})
@example({"a": b""}, {}, {}, {"a": ""})
@example({"a": b"b\0refused\0"}, {}, {"a": b""}, {"b": ""})
@example({"a\x001\0b": b""}, {}, {"a": b"b\x000\0"}, {})
def test_two_projects_have_the_same_digest_only_if_their_files_are_equal(
    data: dict[str, bytes], refused: dict[str, str], other: dict[str, bytes], other_refused: dict[str, str]
) -> None:
    one, two = Files(Path(), data, refused), Files(Path(), other, other_refused)
    assert (one.digest == two.digest) == (data == other and refused.keys() == other_refused.keys())


def test_an_empty_project_has_the_digest_of_no_files(tmp_path: Path) -> None:
    assert read_files(tmp_path).digest == Files(tmp_path / "elsewhere").digest


def test_the_signature_changes_with_every_file_that_is_read(tmp_path: Path) -> None:
    main = put(tmp_path, "config/main.yaml", "one")
    put(tmp_path, ".env", "A=1")
    put(tmp_path, "README.md", "not ours")
    first = signature(tmp_path, (".env",))
    assert [entry[0] for entry in first] == ["config/main.yaml", ".env"]
    assert signature(tmp_path, (".env",)) == first
    put(tmp_path, "README.md", "not ours, and longer")
    assert signature(tmp_path, (".env",)) == first
    for name in (".env", "config/main.yaml", "agents/a.yaml", "agents/prompts/x/y.md"):
        before = signature(tmp_path, (".env",))
        put(tmp_path, name, "something longer")
        assert signature(tmp_path, (".env",)) != before
    os.utime(main, ns=(1, 1))
    assert signature(tmp_path, (".env",)) != first
    main.unlink()
    assert "config/main.yaml" not in [entry[0] for entry in signature(tmp_path)]


def test_the_signature_opens_no_file(tmp_path: Path) -> None:
    (tmp_path / "agents").mkdir()
    os.mkfifo(tmp_path / "agents/pipe.yaml")
    assert [entry[0] for entry in signature(tmp_path)] == ["agents/pipe.yaml"]


def test_the_repr_of_files_does_not_show_their_contents() -> None:
    assert "secret" not in repr(Files(Path(), {".env": b"KEY=secret"}))
