"""The ways in which a config is written, each brought to the same flat fields.

    model: openai/gpt-4o-mini              fields of AIConfig
    temperature: 0.2

    model: openai/gpt-4o                   the agent format of AIWhisperer
    provider: openrouter
    generation_params: {temperature: 0.2}

    openrouter:                            its main format; any provider in that place
      model: openai/gpt-4o
      params: {temperature: 0.2}
      api_key: os.environ/NAME

A mix is understood too: the section of the provider lies below what stands beside it. Pure; nothing here knows of files.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

from ..core.errors import KeyPath, Problem
from ..core.text import short_repr, suggestion
from .keys import is_literal
from .kinds import Kind, problem_with
from .providers import PROVIDERS, canonical

#: Another name of a field → the field.
ALIASES = {
    "api_key_env": "api_key", "api_key_name": "api_key", "base_url": "api_base", "timeout": "timeout_s",
    "timeout_seconds": "timeout_s",
}  # fmt: skip
#: What is said of one provider: with another's model it means nothing, and no key may be sent to somebody else's host.
OF_A_PROVIDER = ("api_base", "api_key", "extra")
#: Mappings whose entries stand for fields beside them.
_NESTED = ("generation_params", "params")
#: Keys of AIWhisperer's that mean nothing here.
_DEAD = ("cache",)
#: OpenRouter's headers for who is calling, by the names that AIWhisperer gave them.
_HEADERS = {"site_url": "HTTP-Referer", "app_name": "X-Title"}
LITERAL_KEY = (
    "a key is written out: it works, but whoever gets the file or the notebook in which it stands has it; delete it there, "
    "put it into an environment variable, and write os.environ/NAME"
)


class ParsedConfig(Struct):
    """What was read: the value of each field, where it stands, and what is wrong."""

    values: dict[str, Any] = {}
    """Field → its value in its one form; None where it was said to be null."""
    paths: dict[str, KeyPath] = {}
    """Field → the keys that lead to it."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    """What works, and should be known."""
    dead: list[str] = []
    """Keys that mean nothing here and are left out."""


def is_section(key: str, value: object) -> bool:
    """Whether a key with its value is the section of a provider, in the main format."""
    return (
        key not in _NESTED
        and isinstance(value, Mapping)
        and (key in PROVIDERS or bool({"model", "params"} & set(value)))
    )


def read_config(source: Mapping[Any, Any], kinds: Mapping[str, Kind], path: KeyPath = ()) -> ParsedConfig:
    """Read a mapping in any of the formats.

    Args:
        source: the mapping.
        kinds: field → what it may be.
        path: the keys that lead to the mapping.
    """
    sections = [key for key, value in source.items() if key not in kinds and is_section(str(key), value)]
    reading, below = ParsedConfig(), ParsedConfig()
    if len(sections) > 1:
        names = " and ".join(map(str, sections))
        reading.problems.append(Problem((*path, sections[1]), f"two providers, {names}: a config says one"))
    for key in sections[:1]:
        _read_flat({"provider": key, **source[key]}, kinds, (*path, key), below, is_section=True)
    _read_flat({key: value for key, value in source.items() if key not in sections}, kinds, path, reading)
    section = {"model": f"{sections[0]}/"} if sections else {}  # whose key it says, also without a model
    values = over(section | below.values, reading.values)
    if section and values["model"] == section["model"]:
        del values["model"]
        if not below.problems and len(sections) == 1:
            text = (
                f"provider {sections[0]!r} without a model: write model under it, so that its key is sent nowhere else"
            )
            reading.problems.append(Problem((*path, sections[0]), text))
    return ParsedConfig(
        values, below.paths | reading.paths,
        below.problems + reading.problems, below.warnings + reading.warnings, below.dead + reading.dead,
    )  # fmt: skip


def over(below: dict[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Fields on top of others. With a model of another provider, or of none, what was said of the one below is left behind."""
    before, after = (str(fields.get("model") or "").partition("/")[0] for fields in (below, said))
    gone = OF_A_PROVIDER if before and "model" in said and before != after else ()
    return {name: value for name, value in below.items() if name not in gone} | said


def _read_flat(
    source: Mapping[Any, Any],
    kinds: Mapping[str, Kind],
    path: KeyPath,
    reading: ParsedConfig,
    *,
    is_section: bool = False,
) -> None:
    provider = _provider(source, path, reading)
    headers: dict[str, Any] = {}
    for key, value, at in _entries(source, path, reading):
        name = ALIASES.get(key, key)
        if name in kinds:
            _take(name, _meant(key, value, provider), kinds[name], at, reading)
        elif key in _HEADERS and provider == "openrouter" and isinstance(value, str | None):
            headers |= {_HEADERS[key]: value} if value else {}
        elif key in _DEAD:
            reading.dead.append(key)
        else:
            reading.problems.append(Problem(at, f"unknown config field {key!r}; {suggestion(key, kinds)}"))
    if headers:
        extra = dict(reading.values.get("extra") or {})
        given = extra.get("extra_headers")
        extra["extra_headers"] = headers | given if isinstance(given, dict) else headers
        _take("extra", extra, kinds["extra"], reading.paths.get("extra", path), reading)
    if provider and "model" not in source and not is_section:
        text = f"provider {provider!r} without a model: write model beside it"
        reading.problems.append(Problem((*path, "provider"), text))


def _provider(source: Mapping[Any, Any], path: KeyPath, reading: ParsedConfig) -> str:
    provider = source.get("provider")
    if provider is None or (isinstance(provider, str) and provider.isprintable() and provider.strip("/ ") == provider):
        return provider or ""
    text = f"provider {short_repr(provider)} is not the name of a provider, such as openrouter"
    reading.problems.append(Problem((*path, "provider"), text))
    return ""


def _entries(source: Mapping[Any, Any], path: KeyPath, reading: ParsedConfig) -> Iterator[tuple[str, Any, KeyPath]]:
    """Every key but the provider's, those of nested mappings first: what stands beside them holds."""
    for key in _NESTED:
        nested = source.get(key)
        if isinstance(nested, Mapping):
            yield from ((str(name), value, (*path, key, name)) for name, value in nested.items())
        elif nested is not None:
            reading.problems.append(Problem((*path, key), f"{key} {short_repr(nested)} is not a mapping of parameters"))
    for key, value in source.items():
        if key != "provider" and key not in _NESTED:
            yield str(key), value, (*path, key)


def _meant(key: str, value: Any, provider: str) -> Any:
    if not isinstance(value, str):
        return value
    if key in ("api_key_env", "api_key_name"):
        return value if value.startswith(("os.environ/", "${")) else f"os.environ/{value}"
    return canonical(value, provider) if key == "model" and value else value


def _take(name: str, value: Any, kind: Kind, at: KeyPath, reading: ParsedConfig) -> None:
    if value is not None and (text := problem_with(kind, name, value)):
        reading.problems.append(Problem(at, text))
        return
    reading.values[name] = None if value is None else kind.read(value)
    reading.paths[name] = at
    if name == "api_key" and is_literal(reading.values[name]) and value != reading.values[name]:
        reading.warnings.append(Problem(at, LITERAL_KEY))
