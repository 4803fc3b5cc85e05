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
def test_project_files_override_packaged_ones_and_fragments_follow_in_order(
    name: str, fragments: list[str], text: str
) -> None:
    assert PROMPTS.text(name, fragments) == text


def test_the_text_of_a_prompt_is_stripped_and_otherwise_unchanged() -> None:
    assert Prompts(files({"a.md": " \n Say {{ this }}: {braces}, é\r\nno more\n\n"})).text("a.md") == (
        "Say {{ this }}: {braces}, é\r\nno more"
    )


def test_a_missing_prompt_is_an_error_that_lists_the_searched_places() -> None:
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
def test_a_name_cannot_lead_out_of_the_folder(name: str) -> None:
    with pytest.raises(ConfigError, match=r"leaves agents/prompts/: give a path below it"):
        PROMPTS.text(name)
    with pytest.raises(ConfigError):
        PROMPTS.text("bob.md", [name])


@pytest.mark.parametrize("name", ["~/bob.md", "$HOME/bob.md", "%2e%2e/bob.md", "bob.md.bak", "BOB.md", "*.md", ""])
def test_a_name_is_not_a_pattern(name: str) -> None:
    with pytest.raises(ConfigError, match="no prompt file"):
        PROMPTS.text(name, ["nothing"])


def test_an_unread_project_file_is_not_replaced_by_a_packaged_one() -> None:
    prompts = Prompts(files({}, {"bob.md": "is a link that leaves agents/"}), THEIRS)
    with pytest.raises(ConfigError, match=r"^agents/prompts/bob\.md is a link that leaves agents/$"):
        prompts.text("bob.md")


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"abc\xff", r"is not UTF-8 \(byte 3\): save it as UTF-8"), (b"", "is empty"), (b" \n\t", "is empty")],
)
def test_a_file_that_is_not_a_prompt_is_an_error(data: bytes, reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^its agents/prompts/bob\.md {reason}$"):
        Prompts(files({"bob.md": data}, label="its")).text("bob.md")


def test_a_prompt_that_is_too_long_with_its_fragments_is_refused() -> None:
    prompts = Prompts(files({"shared/big.md": "x" * 250_000}))
    with pytest.raises(ConfigError):
        prompts.text("", ["big"] * 100)


def test_every_packaged_prompt_can_be_loaded_by_name() -> None:
    names = [path.removeprefix("agents/prompts/") for path in package().files.data if "/prompts/" in path]
    assert "alice.prompt.md" in names
    for name in names:
        assert Prompts(package().files).text(name)
