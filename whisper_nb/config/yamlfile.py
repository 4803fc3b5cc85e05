"""The one reader and writer of YAML: the core of YAML 1.2, bounded, every value with its line, in errors of ours.

PyYAML's own loaders let the last of two equal keys win, read `no` as False and `12:30:45` as 45045; its C loader crashes
on deep nesting, and aliases grow without bound. So the pure-Python parser makes nodes, and this module makes values of
them: strings, whole and other numbers, true and false, null, lists, and mappings of strings.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..core.errors import ConfigError, KeyPath, Problem

if TYPE_CHECKING:
    import yaml

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32
#: KeyPath, values, lists and mappings: what is read within a second.
MAX_NODES = 5_000
_INTEGER = re.compile(r"[-+]?[0-9]{1,100}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
#: Ends a line for YAML and would not come back as it was.
_ODD_BREAK = re.compile("[\r\x85\u2028\u2029]")
_NULLS = ("", "~", "null", "Null", "NULL")


class Document(Struct, frozen=True):
    """What a file says, and on which line."""

    data: Any
    name: str
    """The file, as people know it: `agents/bob.yaml`."""
    lines: Mapping[KeyPath, int]
    """The keys that lead to a value → its line, from 1."""

    def place(self, path: KeyPath) -> str:
        """`agents/bob.yaml:7`, of the value that these keys lead to, or of what would hold it."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines.get(path, 1)}"


def read_plain(path: Path) -> bytes:
    """A file's content, of which only so much is read that it shows whether it is more than MAX_BYTES.

    Raises:
        OSError, ValueError: it cannot be read, or is no plain file but a folder, a pipe or a device.
    """
    # Without O_NONBLOCK, opening a pipe would wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError("is not a plain file")
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_BYTES + 1)


def load_yaml(path: Path) -> Any:
    """The data in a YAML file that somebody named.

    Raises:
        ConfigError: the file is missing, or what `parse_yaml` raises.
    """
    try:
        data = read_plain(path)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return parse_yaml(data, str(path)).data


def parse_yaml(data: bytes, name: str, first_line: int = 1) -> Document:
    """The document in a file's bytes.

    Args:
        data: the whole file.
        name: of the file, for messages.
        first_line: which line of it the data begins with.

    Raises:
        ConfigError: larger than 256 KB, not UTF-8, not YAML, nested deeper than 32, more than 5,000 values; an alias, a
            tag, two equal keys, or a key that is no string. With file and line.
    """
    reader = _YamlReader(name, first_line)
    if len(data) > MAX_BYTES:
        raise reader.error(f"it has more than {MAX_BYTES:,} bytes, which is all that is read")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise reader.error(f"it is not UTF-8 (byte {error.start})", data.count(b"\n", 0, error.start)) from None
    root = reader.compose(text)
    value = None if root is None else reader.value(root, ())
    return Document(value, name, reader.lines)


def dump_yaml(data: Any) -> str:
    """The data as YAML that `parse_yaml` reads back to the same; text of several lines as a block."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        quoted = _ODD_BREAK.search(value) or _scalar(value) != value
        style = '"' if quoted else "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_list(value))
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)


def _scalar(text: str) -> Any:
    """What a scalar without quotes means."""
    if text in _NULLS:
        return None
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _NUMBER.fullmatch(text) else text


def _value_of(node: Any) -> Any:
    return node.value if node.style else _scalar(node.value)  # in quotes, or a block, it is text


class _YamlReader:
    """Makes a value of one file's nodes, within bounds."""

    def __init__(self, name: str, first_line: int) -> None:
        self._name = name
        self._first = first_line
        self.lines: dict[KeyPath, int] = {}

    def error(self, text: str, line: int = 0) -> ConfigError:
        """The error at a line, counted from 0 in this text."""
        return ConfigError.of([Problem((), text, f"{self._name}:{self._first + line}")])

    def compose(self, text: str) -> yaml.Node | None:
        """The node of the only document in the text; None for none."""
        import yaml

        reader = self

        class Loader(yaml.SafeLoader):
            nodes = depth = 0

            def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
                event: Any = self.peek_event()  # type: ignore[no-untyped-call]
                line = event.start_mark.line
                if isinstance(event, yaml.AliasEvent):
                    raise reader.error("aliases (*name) are not read: write the value out", line)
                if event.tag is not None:
                    raise reader.error(f"tags are not read: {event.tag[:40]!r}", line)
                self.nodes += 1
                self.depth += 1
                if self.depth > MAX_DEPTH:
                    raise reader.error(f"nested deeper than {MAX_DEPTH} levels", line)
                if self.nodes > MAX_NODES:
                    raise reader.error(f"more than {MAX_NODES:,} values", line)
                node = super().compose_node(parent, index)
                self.depth -= 1
                return node

        loader = None
        try:
            loader = Loader(text)
            return loader.get_single_node()
        except yaml.reader.ReaderError as error:
            line = text.count("\n", 0, error.position)
            raise self.error(f"the character U+{ord(text[error.position]):04X} is not allowed in YAML", line) from None
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self.error(f"not YAML: {error.problem or error.context}", mark.line if mark else 0) from None
        except (yaml.YAMLError, ValueError, LookupError, OverflowError) as error:  # what PyYAML itself stumbles over
            raise self.error(f"not YAML: {error}", loader.line if loader else 0) from None

    def value(self, node: Any, path: KeyPath) -> Any:
        """The value of a node; its line is noted."""
        self.lines.setdefault(path, self._first + node.start_mark.line)
        if isinstance(node.value, str):
            return _value_of(node)
        if node.id == "sequence":
            return [self.value(item, (*path, number)) for number, item in enumerate(node.value)]
        return self._mapping(node, path)

    def _mapping(self, node: Any, path: KeyPath) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key_node, item in node.value:
            line = key_node.start_mark.line
            key = _value_of(key_node) if key_node.id == "scalar" else None
            if not isinstance(key, str):
                raise self.error(f"the key {repr(key)[:40]} is not text: put it in quotes", line)
            if key in values:
                raise self.error(f"the key {key[:40]!r} is here twice", line)
            self.lines[(*path, key)] = self._first + line
            values[key] = self.value(item, (*path, key))
        return values
