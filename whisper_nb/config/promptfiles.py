"""System prompts as files: `agents/prompts/NAME`, and fragments that many share, `agents/prompts/shared/NAME.md`.

A name is looked up in the project first, then in the package. What is looked in are files that have been read already,
so no name can lead anywhere else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from ..core.errors import ConfigError
from ..core.text import short_repr, valid_unicode
from .files import Files
from .yamlfile import MAX_BYTES

FOLDER = "agents/prompts"


class Prompts:
    """The prompts of some folders, the first that has a name wins."""

    __slots__ = ("_places", "_texts")

    def __init__(self, *places: Files) -> None:
        self._places = places
        self._texts: dict[str, str] = {}  # decoded once, however many agents share it

    def text(self, name: str, fragments: Sequence[str] = ()) -> str:
        """A prompt with the fragments after it.

        Raises:
            ConfigError: one is missing (it says where it was looked for), is not text, or would leave its folder.
        """
        for fragment in fragments:
            if not re.fullmatch(r"[\w-]+", fragment):
                raise ConfigError(f"prompt file {f'shared/{fragment}.md'!r} leaves {FOLDER}/: a fragment is a name")
        paths = [name, *(f"shared/{fragment}.md" for fragment in fragments)]
        texts: list[str] = []
        for path in filter(None, paths):
            texts.append(self._read(path))
            if sum(map(len, texts)) > MAX_BYTES:
                raise ConfigError(
                    f"prompt file {short_repr(path)}: with it the prompt has more than {MAX_BYTES:,} characters"
                )
        return "\n\n".join(texts)

    def _read(self, name: str) -> str:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or not name.isprintable():
            raise ConfigError(f"prompt file {name!r} leaves {FOLDER}/: give a path below it")
        path = f"{FOLDER}/{pure}"
        for files in self._places:
            if reason := files.refused.get(path):
                raise ConfigError(f"{files.name(path)} {reason}")
            if path in files.data:
                if path not in self._texts:
                    self._texts[path] = _decoded(files.data[path], files.name(path))
                return self._texts[path]
        looked = " and ".join(files.name(path) for files in self._places)
        raise ConfigError(f"no prompt file {name!r}: looked for {looked}")


def _decoded(data: bytes, name: str) -> str:
    try:
        text = valid_unicode(data.decode("utf-8")).strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 (byte {error.start})") from None
    if not text:
        raise ConfigError(f"{name} is empty")
    return text
