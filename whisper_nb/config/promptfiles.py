"""System prompts as files: `agents/prompts/NAME`, and shared fragments, `agents/prompts/shared/NAME.md`.

A name is looked up in the project first, then in the package, among files that have been read already: so no name can
lead to another file.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from ..core.errors import ConfigError
from ..core.text import short_repr, valid_unicode
from .files import Files
from .yamlfile import MAX_FILE_BYTES

FOLDER = "agents/prompts"


class Prompts:
    """The prompt files of several folders, the first folder with a name taking precedence."""

    __slots__ = ("_folders", "_texts")

    def __init__(self, *folders: Files) -> None:
        self._folders = folders
        self._texts: dict[str, str] = {}  # path → text: a file that many agents share is decoded once

    def text(self, name: str, fragments: Sequence[str] = ()) -> str:
        """Return a prompt with fragments after it.

        Args:
            name: the path of the prompt file below `agents/prompts/`; empty for the fragments alone.
            fragments: the names of the fragments.

        Raises:
            ConfigError: a file is missing, is not text, or is outside the folder.
        """
        for fragment in fragments:
            if not re.fullmatch(r"[\w-]+", fragment):
                path = f"shared/{fragment}.md"
                raise ConfigError(f"prompt file {path!r} leaves {FOLDER}/: give the name of a fragment, without a path")
        paths = [name, *(f"shared/{fragment}.md" for fragment in fragments)]
        texts: list[str] = []
        for path in filter(None, paths):
            texts.append(self._read(path))
            if sum(map(len, texts)) > MAX_FILE_BYTES:
                raise ConfigError(
                    f"prompt file {short_repr(path)}: the prompt is longer than {MAX_FILE_BYTES:,} characters"
                )
        return "\n\n".join(texts)

    def _read(self, name: str) -> str:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or not name.isprintable():
            raise ConfigError(f"prompt file {name!r} leaves {FOLDER}/: give a path below it")
        path = f"{FOLDER}/{pure}"
        for files in self._folders:
            if reason := files.refused.get(path):
                raise ConfigError(f"{files.name(path)} {reason}")
            if path in files.data:
                if path not in self._texts:
                    self._texts[path] = _decoded(files.data[path], files.name(path))
                return self._texts[path]
        candidates = " and ".join(files.name(path) for files in self._folders)
        raise ConfigError(f"no prompt file {name!r}: looked for {candidates}")


def _decoded(data: bytes, name: str) -> str:
    try:
        text = valid_unicode(data.decode("utf-8")).strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 (byte {error.start}): save it as UTF-8") from None
    if not text:
        raise ConfigError(f"{name} is empty")
    return text
