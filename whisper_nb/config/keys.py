"""API keys: references to them, where they are looked up, and how they are kept out of texts.

A config has a *reference*, `os.environ/NAME`, never a key. A literal key is kept in this process alone, and replaced by
a reference too, `literal/…`, so that no repr, pickle, log, traceback or saved file of a config contains it.
"""

from __future__ import annotations

import copy
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import SequenceMatcher

from ..core.errors import ConfigError, sealed
from ..core.text import mask_keys
from .providers import PROVIDERS, Provider

_ENVIRONMENT, _LITERAL = "os.environ/", "literal/"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(rf"os\.environ/({_VARIABLE.pattern})|\$\{{({_VARIABLE.pattern})\}}")
_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSWORD")
_SECRET_LENGTH = 8
#: What stands in place of a key: for servers that need none, and in texts about keys.
_PLACEHOLDER = re.compile(r"no[-_]?key|not[-_]|dummy|empty|fake|your|xxx|\.\.\.|[…<>\s]", re.IGNORECASE)
_PART_LENGTH = 12


class Vault:
    """The literal keys of this process, by reference. Its repr shows none."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}

    def put(self, key: str) -> str:
        """Keep a key and return its reference, which is valid in this process alone."""
        for reference, known in self._keys.items():
            if known.reveal() == key:
                return reference
        reference = f"{_LITERAL}{secrets.token_hex(4)}"
        self._keys[reference] = Key("", key)
        return reference

    def get(self, reference: str) -> Key | None:
        """Return the key of a reference; None if it is not one of this process."""
        return self._keys.get(reference)

    def __iter__(self) -> Iterator[str]:
        return (key.reveal() for key in self._keys.values())

    def __repr__(self) -> str:
        return f"<{len(self._keys)} keys>"


class Key:
    """An API key that is not displayed: neither by its repr nor among the local variables of a traceback."""

    __slots__ = ("_reveal", "variable")

    def __init__(self, variable: str, value: str) -> None:
        self.variable = variable
        """The environment variable that it came from; empty for a literal key."""
        self._reveal: Callable[[], str] = lambda: value

    def __repr__(self) -> str:
        return f"<key from {self.variable or 'nowhere'}>"

    def reveal(self) -> str:
        """Return the key itself."""
        return self._reveal()


_vault = Vault()


def is_literal(reference: str | None) -> bool:
    """Whether a reference is one to a literal key."""
    return bool(reference) and str(reference).startswith(_LITERAL)


def is_written_in(text: str, reference: object) -> bool:
    """Whether a text contains the literal key of a reference."""
    key = _vault.get(str(reference))
    return key is not None and key.reveal() in text


def variable_of(reference: str | None) -> str:
    """Return the environment variable that a reference names; empty if it names none."""
    if reference and reference.startswith(_ENVIRONMENT):
        return reference.removeprefix(_ENVIRONMENT)
    return ""


def reference_to(written: str) -> str:
    """Return the reference for `os.environ/NAME`, `${NAME}` or a literal key, which is kept in this process.

    Raises:
        ValueError: it is none of these. The message does not repeat it, for it may be a key.
    """
    written = written.strip()
    if found := _REFERENCE.fullmatch(written):
        return _ENVIRONMENT + (found[1] or found[2])
    if written.startswith((_ENVIRONMENT, "$")):
        raise ValueError("does not name a variable; write os.environ/NAME, with letters, digits and _")
    if written.startswith(_LITERAL):
        return written
    if not written or any(character.isspace() for character in written):
        raise ValueError("is empty or contains spaces; write os.environ/NAME")
    if _VARIABLE.fullmatch(written) and written.isupper() and "_" in written:
        raise ValueError(f"is the name of a variable, not a key; write os.environ/{written}")
    return _vault.put(written)


def _without_parts(text: str, key: str) -> str:
    """Redact every sequence of twelve characters or more that is in the key."""
    while len(key) >= _PART_LENGTH:
        found = SequenceMatcher(None, text, key, autojunk=False).find_longest_match()
        if found.size < _PART_LENGTH:
            break
        text = f"{text[: found.a]}[redacted]{text[found.a + found.size :]}"
    return text


@sealed
def variables(text: str, name: str) -> dict[str, Key]:
    """Return the variables of a `.env` file with their values, none of which is displayed.

    Raises:
        ConfigError: a line is not of the form NAME=value.
    """
    return {variable: key for variable, (key, _) in _parsed(text, name).items()}


def _parsed(text: str, name: str) -> dict[str, tuple[Key, str]]:
    """Return the variables of a `.env` file: the value of each, and its file and line."""
    found: dict[str, tuple[Key, str]] = {}
    if not text:  # most projects have none: importing dotenv would delay `%load_ext`
        return found
    import io

    from dotenv.parser import parse_stream

    for binding in parse_stream(io.StringIO(text)):
        original = binding.original.string
        blank = original[: len(original) - len(original.lstrip())].count("\n")  # the parser counts these lines too
        location = f"{name}:{binding.original.line + blank}"
        if binding.error:
            raise ConfigError(f"{location}: not a line of the form NAME=value")
        if binding.key is not None:
            found[binding.key] = (Key(binding.key, (binding.value or "").strip()), location)
    return found


class Keys:
    """Looks keys up in environment variables, then in the `.env` file of the project. Its repr shows none.

    Args:
        environ: a live mapping: a variable that is set later is found.
    """

    __slots__ = ("_files", "_lookup", "_names", "_used")

    def __init__(self, environ: Mapping[str, str]) -> None:
        # Functions and not the mapping: a verbose traceback shows the attributes of every variable of a line.
        self._lookup: Callable[[str], str] = lambda name: environ.get(name, "").strip()
        self._names: Callable[[], tuple[str, ...]] = lambda: tuple(environ)
        self._files: dict[str, tuple[Key, str]] = {}  # variable → its key, and its file and line
        self._used: set[str] = set()  # the variables from which a key was taken

    def __repr__(self) -> str:
        return "<Keys>"

    def get(self, name: str) -> str:
        """Return the value of a variable; empty if it is not set. The environment takes precedence over a file."""
        if value := self._lookup(name):
            return value
        if name in self._files:
            return self._files[name][0].reveal()
        return ""

    def environment(self, name: str) -> str:
        """Return the value of a variable of the process's own environment: for settings that no file may change."""
        return self._lookup(name)

    def source(self, name: str) -> str:
        """Return the source of a variable's value: `env NAME`, or `.env:3`."""
        if name in self._files and not self._lookup(name):
            return self._files[name][1]
        return f"env {name}"

    @sealed
    def read(self, text: str, name: str) -> list[str]:
        """Replace the variables of the `.env` file, and return their names.

        They are used only for keys and for `WHISPER_MODEL`, and are not put into the process's environment: there a
        variable such as OPENAI_API_BASE would send a key to another server.

        Args:
            text: the content of the file.
            name: the file, for messages.

        Raises:
            ConfigError: a line is not of the form NAME=value; the message has its number.
        """
        self._files = _parsed(text, name)
        return list(self._files)

    def with_file(self, text: str, name: str) -> Keys:
        """Return these keys with another `.env` file in place of the present one. Raises as `read` does."""
        keys = copy.copy(self)
        keys.read(text, name)
        return keys

    def named_in(self, text: str) -> list[str]:
        """Return the variables of the environment that may have a secret and whose name is in a text."""
        return [name for name in self._names() if name in text and self._is_secret(name)]

    def _is_secret(self, name: str) -> bool:
        """Whether a variable may have a secret, by its name or its value."""
        return bool(_SECRET_NAME.search(name.upper())) or mask_keys(self._lookup(name)) != self._lookup(name)

    def written_out(self, names: Iterable[str], literals: Iterable[str]) -> list[str]:
        """Return those of these variables whose key is among literal strings, alone or as in `NAME=key`."""
        found: list[str] = []
        for name in names:
            key = self._lookup(name)
            forms = {key, f"{name}={key}", f"{name} {key}"}
            if len(key) >= _SECRET_LENGTH and not _PLACEHOLDER.search(key) and not forms.isdisjoint(literals):
                found.append(name)
        return found

    def key(self, provider: str, reference: str | None) -> Key | None:
        """Return the key of a reference or, without a reference, that of the provider's own variable; None if unset.

        Raises:
            ConfigError: the reference is one to a literal key of another process.
        """
        if is_literal(reference):
            if key := _vault.get(str(reference)):
                return key
            raise ConfigError(
                "api_key refers to a literal key of another process: write os.environ/NAME, and set the variable NAME"
            )
        for variable in self._variables(provider, reference):
            if value := self.get(variable):
                self._used.add(variable)
                return Key(variable, value)
        return None

    def missing(self, provider: str, reference: str | None, own_server: bool) -> str:
        """Return the variable that must have a key and is not set; empty if no key is known to be missing."""
        if is_literal(reference) or self.key(provider, reference):
            return ""
        known = PROVIDERS.get(provider)
        if variable_of(reference) or (known and known.needs_key and not own_server):
            return next(iter(self._variables(provider, reference)), "")
        return ""

    def _variables(self, provider: str, reference: str | None) -> tuple[str, ...]:
        """Return the variables that may have the key, the preferred one first."""
        if named := variable_of(reference):
            return (named,)
        return PROVIDERS.get(provider, Provider()).variables

    def redact(self, text: str, sent: Key | None = None) -> str:
        """Return the text without any known key, and without the other secrets of the environment.

        Args:
            text: the text.
            sent: the key of the call that the text is about. Parts of it are removed too, and it is removed even if
                the environment does not have it any more.
        """
        if sent:
            text = _without_parts(mask_keys(text), sent.reveal())
        variables = {name for name in (*self._names(), *self._files) if _SECRET_NAME.search(name.upper())}
        values = [self.get(name) for name in variables | self._used]
        secrets_ = {value for value in (*_vault, *values) if len(value) >= _SECRET_LENGTH}
        for secret in sorted(secrets_, key=len, reverse=True):
            text = text.replace(secret, "[redacted]")
        return text
