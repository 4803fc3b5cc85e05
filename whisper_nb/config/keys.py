"""API keys: how they are said (never by value), where they are found, and what must not be shown.

A config holds a *reference*: `os.environ/NAME`. A key that somebody wrote out is put away in this process and becomes a
reference too, `literal/…`, so that no repr, pickle, log, traceback or saved file of a config can hold it.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from difflib import SequenceMatcher

from ..core.errors import ConfigError, sealed
from ..core.text import mask_keys
from .providers import PROVIDERS

_ENVIRONMENT, _LITERAL = "os.environ/", "literal/"
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE = re.compile(rf"os\.environ/({_VARIABLE.pattern})|\$\{{({_VARIABLE.pattern})\}}")
_SECRET_NAME = re.compile("KEY|TOKEN|SECRET|PASSWORD")
_SECRET_LENGTH = 8
_PART_LENGTH = 12


class Vault:
    """Keys that were written out: reference → key. It does not print."""

    __slots__ = ("_keys",)

    def __init__(self) -> None:
        self._keys: dict[str, Key] = {}

    def put(self, key: str) -> str:
        """Put a key away; its reference, which means nothing in another process."""
        for reference, known in self._keys.items():
            if known.reveal() == key:
                return reference
        reference = f"{_LITERAL}{secrets.token_hex(4)}"
        self._keys[reference] = Key("", key)
        return reference

    def get(self, reference: str) -> Key | None:
        """The key that a reference of this process stands for."""
        return self._keys.get(reference)

    def __iter__(self) -> Iterator[str]:
        return (key.reveal() for key in self._keys.values())

    def __repr__(self) -> str:
        return f"<{len(self._keys)} keys>"


class Key:
    """An API key that does not print, neither by itself nor among the locals of a traceback."""

    __slots__ = ("_reveal", "variable")

    def __init__(self, variable: str, value: str) -> None:
        self.variable = variable
        """The environment variable that it came from; empty for none."""
        self._reveal: Callable[[], str] = lambda: value

    def __repr__(self) -> str:
        return f"<key from {self.variable or 'nowhere'}>"

    def reveal(self) -> str:
        """The key itself; empty where none is needed."""
        return self._reveal()


_vault = Vault()


def is_literal(reference: str | None) -> bool:
    """Whether a reference stands for a key that was written out."""
    return bool(reference) and str(reference).startswith(_LITERAL)


def is_written_in(text: str, reference: object) -> bool:
    """Whether a text holds the key that a reference stands for, where that was written out."""
    key = _vault.get(str(reference))
    return key is not None and key.reveal() in text


def variable_of(reference: str | None) -> str:
    """The environment variable that a reference names; empty for none."""
    return str(reference or "").removeprefix(_ENVIRONMENT) if (reference or "").startswith(_ENVIRONMENT) else ""


def reference_to(said: str) -> str:
    """The reference that `os.environ/NAME`, `${NAME}` or a key means. A key is put away.

    Raises:
        ValueError: neither; the message does not repeat it.
    """
    said = said.strip()
    if found := _REFERENCE.fullmatch(said):
        return _ENVIRONMENT + (found[1] or found[2])
    if said.startswith((_ENVIRONMENT, "$")):
        raise ValueError("does not name a variable; write os.environ/NAME, of letters, digits and _")
    if said.startswith(_LITERAL):
        return said
    if not said or any(character.isspace() for character in said):
        raise ValueError("is empty or has spaces in it; write os.environ/NAME")
    if _VARIABLE.fullmatch(said) and said.isupper() and "_" in said:
        raise ValueError(f"is the name of a variable, not a key; write os.environ/{said}")
    return _vault.put(said)


def _without_parts(text: str, key: str) -> str:
    """The text without any twelve characters in a row of a key."""
    while len(key) >= _PART_LENGTH:
        found = SequenceMatcher(None, text, key, autojunk=False).find_longest_match()
        if found.size < _PART_LENGTH:
            break
        text = f"{text[: found.a]}[redacted]{text[found.a + found.size :]}"
    return text


class Keys:
    """Where keys are looked up: environment variables, then the files that the user named. It does not print.

    Args:
        environ: a live mapping; a variable that is set later is found.
    """

    __slots__ = ("_files", "_lookup", "_names", "_used")

    def __init__(self, environ: Mapping[str, str]) -> None:
        # Functions, not the mapping: a verbose traceback shows the attributes of a line's names.
        self._lookup: Callable[[str], str] = lambda name: environ.get(name, "").strip()
        self._names: Callable[[], tuple[str, ...]] = lambda: tuple(environ)
        self._files: dict[str, tuple[Key, str]] = {}
        self._used: set[str] = set()  # variables that held a key

    def __repr__(self) -> str:
        return "<Keys>"

    def get(self, name: str) -> str:
        """The value of a variable; empty where it is not set. A file never overrides the environment."""
        if value := self._lookup(name):
            return value
        found = self._files.get(name)
        return found[0].reveal() if found else ""

    def environment(self, name: str) -> str:
        """The value of a variable of the process's own environment, for what no file may say: where a key is sent."""
        return self._lookup(name)

    def source(self, name: str) -> str:
        """Where a variable that is set was found: `env NAME`, or `.env:3`."""
        return f"env {name}" if self._lookup(name) or name not in self._files else self._files[name][1]

    @sealed
    def read(self, text: str, name: str) -> list[str]:
        """Take the variables of a `.env` file, instead of those of the file before; the names that it sets.

        They are used for keys and for `WHISPER_MODEL` alone, and never reach the process's environment: a variable such
        as OPENAI_API_BASE would send a key elsewhere.

        Raises:
            ConfigError: a line that is none of a `.env` file, with its place.
        """
        if not text:  # most projects have none: importing dotenv would delay `%load_ext`
            self._files = {}
            return []
        import io

        from dotenv.parser import parse_stream

        found: dict[str, tuple[Key, str]] = {}
        for binding in parse_stream(io.StringIO(text)):
            said = binding.original.string
            blank = said[: len(said) - len(said.lstrip())].count("\n")  # the parser counts from the blank lines before
            place = f"{name}:{binding.original.line + blank}"
            if binding.error:
                raise ConfigError(f"{place}: not a line of the form NAME=value")
            if binding.key is not None:
                found[binding.key] = (Key(binding.key, (binding.value or "").strip()), place)
        self._files = found
        return list(found)

    def key(self, provider: str, reference: str | None) -> Key | None:
        """The key for a provider: what a reference stands for, else the provider's own variable; None where there is none.

        Raises:
            ConfigError: the key was written out in another process.
        """
        if is_literal(reference):
            if key := _vault.get(str(reference)):
                return key
            raise ConfigError("a key that was written out stays in its process: name a variable, os.environ/NAME")
        known = PROVIDERS.get(provider)
        named = variable_of(reference)
        for variable in (named,) if named else known.variables if known else ():
            if value := self.get(variable):
                self._used.add(variable)
                return Key(variable, value)
        return None

    def missing(self, provider: str, reference: str | None, own_server: bool) -> str:
        """The variable that would have to hold a key and does not; empty where no key is known to be missing."""
        if is_literal(reference) or self.key(provider, reference):
            return ""
        known = PROVIDERS.get(provider)
        asked = known and known.variables and known.needs_key and not own_server
        return variable_of(reference) or (known.variables[0] if known and asked else "")

    def redact(self, text: str, sent: Key | None = None) -> str:
        """The text without any key that is known here, and without what the environment else keeps secret.

        Of the key that was `sent`, which the environment may no longer have, no part is left either.
        """
        text = _without_parts(mask_keys(text), sent.reveal()) if sent else text
        names = {name for name in (*self._names(), *self._files) if _SECRET_NAME.search(name.upper())}
        named = [self.get(name) for name in names | self._used]
        hidden = {value for value in (*_vault, *named) if len(value) >= _SECRET_LENGTH}
        for secret in sorted(hidden, key=len, reverse=True):
            text = text.replace(secret, "[redacted]")
        return text
