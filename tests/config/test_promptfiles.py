from __future__ import annotations

from pathlib import Path

import pytest

from whisper_nb.config.files import Files
from whisper_nb.config.project import package
from whisper_nb.config.promptfiles import Prompts
from whisper_nb.core.errors import ConfigError


def files(texts: dict[str, str | bytes], refused: dict[str, str] | None = None, label: str = "") -> Files:
    data = {f"agents/prompts/{name}": text.encode() if isinstance(text, str) else text for name, text in texts.items()}
    return Files(
        Path("/nowhere"), data, {f"agents/prompts/{name}": why for name, why in (refused or {}).items()}, label
    )


OURS = files({"bob.md": "Ours.", "shared/tone.md": "Be brief."})
THEIRS = files({"bob.md": "Theirs.", "amy.md": "Amy.", "shared/tone.md": "x", "shared/end.md": "Bye."}, label="its")
PROMPTS = Prompts(OURS, THEIRS)


@pytest.mark.parametrize(
    ("name", "fragments", "text"),
    [
        ("bob.md", (), "Ours."),
        ("amy.md", (), "Amy."),
        ("bob.md", ["end", "tone"], "Ours.\n\nBye.\n\nBe brief."),
        ("", ["tone"], "Be brief."),
        ("shared/tone.md", (), "Be brief."),
        ("./bob.md", (), "Ours."),
        ("", (), ""),
    ],
)
def test_the_project_goes_before_the_package_and_fragments_follow_in_order(
    name: str, fragments: list[str], text: str
) -> None:
    assert PROMPTS.text(name, fragments) == text


def test_text_is_as_it_was_written_but_for_the_space_around_it() -> None:
    assert Prompts(files({"a.md": " \n Say {{ this }}: {braces}, é\r\nno more\n\n"})).text("a.md") == (
        "Say {{ this }}: {braces}, é\r\nno more"
    )


def test_a_missing_prompt_is_an_error_that_lists_where_it_was_looked_for() -> None:
    with pytest.raises(ConfigError) as caught:
        PROMPTS.text("bo.md")
    assert str(caught.value) == ("no prompt file 'bo.md': looked for agents/prompts/bo.md and its agents/prompts/bo.md")
    with pytest.raises(ConfigError, match=r"looked for agents/prompts/shared/tune\.md and its"):
        PROMPTS.text("bob.md", ["tune"])


@pytest.mark.parametrize(
    "name",
    [
        "../bob.md", "../../etc/passwd", "x/../../bob.md", "shared/../bob.md", "..", "/etc/passwd", "//host/share",
        "/agents/prompts/bob.md", "..\\bob.md", "C:\\bob.md", "x\\y", "bob.md\0", "bob.md\n", "bob\x1b[2J.md", "\ud800",
        "bob.md\u202e",
    ],
)  # fmt: skip
def test_no_name_leaves_the_folder(name: str) -> None:
    with pytest.raises(ConfigError, match=r"leaves agents/prompts/: give a path below it"):
        PROMPTS.text(name)
    with pytest.raises(ConfigError):
        PROMPTS.text("bob.md", [name])


@pytest.mark.parametrize("name", ["~/bob.md", "$HOME/bob.md", "%2e%2e/bob.md", "bob.md.bak", "BOB.md", "*.md", ""])
def test_no_name_means_anything_but_itself(name: str) -> None:
    with pytest.raises(ConfigError, match="no prompt file"):
        PROMPTS.text(name, ["nothing"])


def test_a_file_that_was_not_read_is_not_looked_for_elsewhere() -> None:
    prompts = Prompts(files({}, {"bob.md": "is a link that leaves agents/"}), THEIRS)
    with pytest.raises(ConfigError, match=r"^agents/prompts/bob\.md is a link that leaves agents/$"):
        prompts.text("bob.md")


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"abc\xff", r"is not UTF-8 \(byte 3\): save it as UTF-8"), (b"", "is empty"), (b" \n\t", "is empty")],
)
def test_a_file_that_is_no_prompt(data: bytes, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^its agents/prompts/bob\.md {reason}$"):
        Prompts(files({"bob.md": data}, label="its")).text("bob.md")


def test_a_prompt_that_many_fragments_blow_up_is_refused() -> None:
    prompts = Prompts(files({"shared/big.md": "x" * 250_000}))
    with pytest.raises(ConfigError):
        prompts.text("", ["big"] * 100)


def test_every_prompt_of_the_package_can_be_had_by_name() -> None:
    names = [path.removeprefix("agents/prompts/") for path in package().files.data if "/prompts/" in path]
    assert "alice.prompt.md" in names
    for name in names:
        assert Prompts(package().files).text(name)
