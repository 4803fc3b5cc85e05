"""Writes magics.md from the parsers of the magics: `make docs` runs it, and tests/notebook/test_manual.py compares."""

from __future__ import annotations

import textwrap
from pathlib import Path

from whisper_nb.notebook.magics.commands.table import reference

HEAD = """\
# Magics

<!-- Written by docs/magics.py from the parsers: change these, and run `make docs`. -->

`%agent COMMAND …` does something, `%%agent NAME` gives an agent the prompt in the cell, and `%agents` shows the panel.
`%agent` alone lists the agents. `%whisper` and `%%whisper` do the same; they remain if another extension owns `%agent`.

A line may end in a comment, which is not sent: after two spaces and a `#` in a prompt, after one in other lines.
`%agent help COMMAND` shows the same in a notebook.
"""


def text() -> str:
    """Return the page: a section for each command."""
    lines = [HEAD]
    group = ""
    for entry in reference():
        if entry.group != group:
            group = entry.group
            lines += [f"## {group}", ""]
        lines += [f"### {entry.magic}", "", entry.description, "", "```text", *wrap(entry.synopsis), "```", ""]
        if entry.options:
            lines += ["| argument | meaning |", "|---|---|"]
            lines += [f"| `{cell(option.names)}` | {cell(option.text)} |" for option in entry.options]
            lines += [""]
        for example in entry.examples:
            lines += ["```python", example, "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def wrap(synopsis: str) -> list[str]:
    """Break a synopsis between its arguments."""
    return textwrap.wrap(synopsis, 90, subsequent_indent="    ", break_on_hyphens=False, break_long_words=False)


def cell(words: str) -> str:
    """Return the text of a table's cell."""
    return words.replace("|", "\\|")


if __name__ == "__main__":
    Path(__file__).with_suffix(".md").write_text(text(), encoding="utf-8")
