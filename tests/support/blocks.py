"""The fenced blocks of a Markdown page, as its readers paste them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

#: Kinds of blocks that readers do not run.
SHOWN = ("text", "yaml", "json", "markdown")


@dataclass(frozen=True)
class Block:
    """A fenced block."""

    kind: str
    """`python` for a cell, `shell` for a terminal, `text` and others to read, or `{…}` for Sphinx."""
    words: str
    """The rest of its opening line."""
    text: str
    page: str
    line: int
    """The line of its fence in the page."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page, in order."""
    found = []
    for token in MarkdownIt().parse(page.read_text()):
        if token.type in ("fence", "code_block") and token.map:
            kind, _, words = token.info.strip().partition(" ")
            found.append(Block(kind, words.strip(), token.content, page.name, token.map[0] + 1))
    return found
