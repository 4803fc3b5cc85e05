"""The script and the style of a widget, each composed from the files of a folder: a widget has one of each."""

from __future__ import annotations

import re
from pathlib import Path

_IMPORT = re.compile(r'^import \{[^}]*\} from "(\.[./\w]*/\w+\.js)";\n', re.MULTILINE)


def script(entry: Path) -> str:
    """Return an ES module and those that it imports as one module: each once, before those that import it.

    Each import is of a file by its relative path, at the start of a line. Names of a file are visible in all of them,
    so that no two files may declare the same name.
    """
    sources: dict[Path, str] = {}
    _collect(entry, sources)
    return "\n".join(sources.values())


def _collect(file: Path, sources: dict[Path, str]) -> None:
    if file in sources:
        return
    text = file.read_text(encoding="utf-8")
    for imported in _IMPORT.findall(text):
        _collect((file.parent / imported).resolve(), sources)
    sources[file] = _IMPORT.sub("", text)


def style(folder: Path) -> str:
    """Return the style sheets of a folder as one: `theme.css` with the variables, then the others by name."""
    files = sorted(folder.glob("*.css"), key=lambda file: (file.name != "theme.css", file.name))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)
