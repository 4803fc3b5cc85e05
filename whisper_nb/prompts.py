"""System prompts as files: `agents/prompts/NAME`, and fragments that many share, `agents/prompts/shared/NAME.md`.

A name is looked up in the project first, then in the package. What is looked in are files that have been read already,
so no name can lead anywhere else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath

from .errors import ConfigError
from .files import Files
from .messages import whole

FOLDER = "agents/prompts"


class Prompts:
    """The prompts of some folders, the first that has a name wins."""

    __slots__ = ("_places",)

    def __init__(self, *places: Files) -> None:
        self._places = places

    def text(self, name: str, fragments: Sequence[str] = ()) -> str:
        """A prompt with the fragments after it.

        Raises:
            ConfigError: one is missing (it says where it was looked for), is not text, or would leave its folder.
        """
        paths = [name, *(f"shared/{fragment}.md" for fragment in fragments)]
        return "\n\n".join(self._read(path) for path in paths if path)

    def _read(self, name: str) -> str:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or "\\" in name or not name.isprintable():
            raise ConfigError(f"prompt file {name!r} leaves {FOLDER}/: give a path below it")
        path = f"{FOLDER}/{pure}"
        for files in self._places:
            if reason := files.refused.get(path):
                raise ConfigError(f"{files.name(path)} {reason}")
            if path in files.data:
                return _decoded(files.data[path], files.name(path))
        looked = " and ".join(files.name(path) for files in self._places)
        raise ConfigError(f"no prompt file {name!r}: looked for {looked}")


def _decoded(data: bytes, name: str) -> str:
    try:
        text = whole(data.decode("utf-8")).strip()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 (byte {error.start})") from None
    if not text:
        raise ConfigError(f"{name} is empty")
    return text
