"""The one reader and writer of YAML: the core schema of YAML 1.2, bounded, with the line of every value.

PyYAML's own loaders keep the last of two equal keys, and read `no` as False and `12:30:45` as 45045. Its C loader
crashes on deep nesting, and aliases expand without bound. So PyYAML's Python parser makes nodes, and this module
converts them to values: strings, numbers, booleans, null, lists, and mappings with strings as keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from ..core.errors import ConfigError, KeyPath, Problem
from .plainfiles import read_plain

if TYPE_CHECKING:
    import yaml

#: The most bytes of a file, and of all YAML files of a project together.
MAX_FILE_BYTES = 256 * 1024
MAX_DEPTH = 32
#: The most keys, values, lists and mappings: as many as are read within a second.
MAX_NODES = 5_000
_INTEGER = re.compile(r"[-+]?[0-9]{1,100}")
_NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
#: Line breaks of YAML that would be read back as other ones.
_ODD_BREAK = re.compile("[\r\x85\u2028\u2029]")
_NULLS = ("", "~", "null", "Null", "NULL")


class Document(Struct, frozen=True):
    """The data of a file, with the line of each value."""

    data: Any
    name: str
    """The file, for messages: `agents/bob.yaml`."""
    lines: Mapping[KeyPath, int]
    """The keys that lead to a value → its line, from 1."""

    def location(self, path: KeyPath) -> str:
        """Return the file and line of the value at `path`, or of the nearest value around it: `agents/bob.yaml:7`."""
        while path and path not in self.lines:
            path = path[:-1]
        return f"{self.name}:{self.lines.get(path, 1)}"


def load_yaml(path: Path) -> Any:
    """Return the data of a YAML file.

    Raises:
        ConfigError: the file cannot be read, or `parse_yaml` fails.
    """
    try:
        data = read_plain(path, MAX_FILE_BYTES)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return parse_yaml(data, str(path)).data


def parse_yaml(data: bytes, name: str, first_line: int = 1) -> Document:
    """Parse a file of one document.

    Args:
        data: the content.
        name: the file, for messages.
        first_line: the line of the file at which the data begins.

    Raises:
        ConfigError: the data is larger than 256 KB, not UTF-8, not YAML, nested deeper than 32 levels or has more than
            5,000 values; or it has an alias, a tag, two equal keys or a key that is not a string. The message has the
            file and the line.
    """
    reader = _YamlReader(name, first_line)
    if len(data) > MAX_FILE_BYTES:
        raise reader.error(f"the file has more than {MAX_FILE_BYTES:,} bytes, which is the limit")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise reader.error(
            f"the file is not UTF-8 (byte {error.start}): save it as UTF-8", data.count(b"\n", 0, error.start)
        ) from None
    root = reader.compose(text)
    if root is None:
        return Document(None, name, {})
    return Document(reader.value(root, ()), name, reader.lines)


def dump_yaml(data: Any) -> str:
    """Return the data as YAML, which `parse_yaml` reads back to the same data. Several lines of text become a block."""
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.Node:
        style = None
        if _ODD_BREAK.search(value) or _scalar(value) != value:
            style = '"'
        elif "\n" in value:
            style = "|"
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    Dumper.add_representer(tuple, lambda dumper, value: dumper.represent_list(value))
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=100)


def _scalar(text: str) -> Any:
    """Return the value of a scalar without quotes."""
    if text in _NULLS:
        return None
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if _NUMBER.fullmatch(text):
        return float(text)
    return text


def _value_of(node: Any) -> Any:
    if node.style:  # in quotes, or a block: text
        return node.value
    return _scalar(node.value)


class _YamlReader:
    """Converts the nodes of one file to values, within bounds."""

    def __init__(self, name: str, first_line: int) -> None:
        self._name = name
        self._first = first_line
        self.lines: dict[KeyPath, int] = {}

    def error(self, text: str, line: int = 0) -> ConfigError:
        """Return an error at a line, counted from 0 in the text."""
        return ConfigError.of([Problem((), text, f"{self._name}:{self._first + line}")])

    def compose(self, text: str) -> yaml.Node | None:
        """Return the root node of the text; None for an empty text."""
        import yaml

        reader = self

        class Loader(yaml.SafeLoader):
            nodes = depth = 0

            def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
                event: Any = self.peek_event()  # type: ignore[no-untyped-call]
                line = event.start_mark.line
                if isinstance(event, yaml.AliasEvent):
                    raise reader.error("aliases (*name) are not allowed: write the value itself", line)
                if event.tag is not None:
                    raise reader.error(f"tags are not allowed: remove {event.tag[:40]!r}", line)
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
            raise self.error(f"not YAML: {error.problem or error.context}", getattr(mark, "line", 0)) from None
        except (yaml.YAMLError, ValueError, LookupError, OverflowError) as error:  # errors in PyYAML itself
            raise self.error(f"not YAML: {error}", getattr(loader, "line", 0)) from None

    def value(self, node: Any, path: KeyPath) -> Any:
        """Return the value of a node, and record its line."""
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
                raise self.error(f"the key {key[:40]!r} appears twice", line)
            self.lines[(*path, key)] = self._first + line
            values[key] = self.value(item, (*path, key))
        return values
