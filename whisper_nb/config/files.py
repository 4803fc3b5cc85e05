"""The files of a project that whisper_nb reads: all at once, within bounds, before any is parsed.

So the bytes that are hashed for trust are the bytes that are used. No file outside its folder is read, also not through
a link; and only regular files, so that reading cannot hang.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

from .plainfiles import read_plain
from .yamlfile import MAX_FILE_BYTES

MAIN = "config/main.yaml"
AGENTS = "agents"
MAX_FILES = 500
_PROMPT_DEPTH = 3
#: Begins what is hashed. Another one for another set of files, so that no earlier trust covers more than was shown.
_DIGEST_KIND = b"whisper_nb 2\0"
_YAML = (".yaml", ".yml")
#: Changes when one of the files changes: name, times, size and inode of each.
Signature = tuple[tuple[str, int, int, int, int], ...]


@dataclass(frozen=True, slots=True)
class Files:
    """The content of files at one moment."""

    root: Path
    """The folder with `config/` and `agents/`."""
    data: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    """Path below `root`, with slashes → content."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """Path → why it was not read, as a predicate: `is a link that leaves agents/`."""
    label: str = ""
    """A prefix of file names in messages: `whisper_nb's`."""

    @property
    def digest(self) -> str:
        """The SHA-256 of all names and contents."""
        digest = hashlib.sha256(_DIGEST_KIND)
        for name, content in sorted(self.data.items()):
            digest.update(f"{name}\0{len(content)}\0".encode("utf-8", "surrogatepass"))
            digest.update(content)
        for name in sorted(self.refused):
            digest.update(f"{name}\0refused\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def name(self, path: str) -> str:
        """Return the name of a file for messages."""
        return f"{self.label} {path}".strip()

    def __bool__(self) -> bool:
        return bool(self.data or self.refused)


def read_files(root: Path, label: str = "") -> Files:
    """Read `config/main.yaml`, `agents/*.yaml`, `agents/*.md` and `agents/prompts/` below a folder."""
    return with_files(Files(root, label=label), *_names(root))


def with_files(files: Files, *paths: str) -> Files:
    """Return these files together with those at `paths`, which are read now."""
    data, refused = dict(files.data), dict(files.refused)
    yaml_bytes = sum(len(content) for path, content in data.items() if path.endswith(_YAML))
    base = Path(os.path.realpath(files.root))
    for path in paths:
        if len(data) + len(refused) >= MAX_FILES:
            refused[path] = f"is one file too many: at most {MAX_FILES} are allowed"
            break
        first, slash, _ = path.partition("/")
        content = _read(files.root / path, base / (slash and first))
        if isinstance(content, bytes) and path.endswith(_YAML):
            yaml_bytes += len(content)
        if yaml_bytes > MAX_FILE_BYTES:
            refused[path] = f"exceeds the {MAX_FILE_BYTES:,} bytes that all YAML files of a project may have together"
            break
        if isinstance(content, bytes):
            data[path] = content
        elif content:
            refused[path] = content
    return replace(files, data=data, refused=refused)


def path_below(root: Path, path: str) -> str:
    """Return the path of a file that a config names, below the folder of the project; empty if it is outside of it."""
    pure = PurePosixPath(path)
    if pure.is_absolute() and pure.is_relative_to(root):
        pure = pure.relative_to(root)
    if pure.is_absolute() or ".." in pure.parts or not path.isprintable() or "\\" in path or path.startswith("~"):
        return ""
    return str(pure)


def signature(root: Path, more: tuple[str, ...] = ()) -> Signature:
    """Return a value that changes when one of the files does. It takes a stat of each file, and reads none."""
    found = []
    for path in (*_names(root), *more):
        try:
            status = os.stat(root / path)
        except (OSError, ValueError):  # no such file, or a NUL in its name
            continue
        found.append((path, status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino))
        if len(found) > MAX_FILES:
            break
    return tuple(found)


def _names(root: Path) -> Iterator[str]:
    yield MAIN
    yield from _below(root, AGENTS, (*_YAML, ".md"), 1)
    yield from _below(root, f"{AGENTS}/prompts", (".md", ".txt"), _PROMPT_DEPTH)


def _below(root: Path, folder: str, endings: tuple[str, ...], depth: int) -> Iterator[str]:
    try:
        with os.scandir(root / folder) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if entry.name.startswith("."):
            continue
        if depth > 1 and entry.is_dir(follow_symlinks=False):
            yield from _below(root, f"{folder}/{entry.name}", endings, depth - 1)
        elif entry.name.endswith(endings):
            yield f"{folder}/{entry.name}"


def _read(path: Path, folder: Path) -> bytes | str:
    """Return the content of a file, or the reason why it is not read; an empty text if there is no file."""
    try:
        if not Path(os.path.realpath(path, strict=True)).is_relative_to(folder):
            return f"is a link that leaves {folder.name}/"
        content = read_plain(path, MAX_FILE_BYTES)
    except NotADirectoryError:  # there is a file in place of the folder
        return ""
    except FileNotFoundError:
        if os.path.islink(path):
            return "is a link to nothing"
        return ""
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except ValueError as error:  # not a regular file, or a NUL in its name
        if str(error).startswith("is "):
            return str(error)
        return f"cannot be read: {error}"
    if len(content) > MAX_FILE_BYTES:
        return f"has more than {MAX_FILE_BYTES:,} bytes, which is the limit"
    return content
