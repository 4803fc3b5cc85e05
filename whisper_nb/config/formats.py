"""The formats of a config, each converted to the same flat fields.

    model: openai/gpt-4o-mini              fields of AIConfig
    temperature: 0.2

    model: openai/gpt-4o                   the agent format of AIWhisperer
    provider: openrouter
    generation_params: {temperature: 0.2}

    openrouter:                            its main format; any provider in place of openrouter
      model: openai/gpt-4o
      params: {temperature: 0.2}
      api_key: os.environ/NAME

The formats may be mixed: fields beside the section of a provider take precedence over those in it. This module is pure
and knows no files.
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
#: Fields that belong to one provider. With another provider's model they are dropped, so that it gets no foreign key.
OF_A_PROVIDER = ("api_base", "api_key", "context_tokens", "extra")
#: Fields that belong to one model. With any other model they are dropped, so that no model is taken for a free one.
OF_A_MODEL = ("price",)
#: Mappings whose entries are fields.
_NESTED = ("generation_params", "params")
#: Keys of AIWhisperer that whisper_nb ignores.
_IGNORED_FIELDS = ("cache",)
#: OpenRouter's headers that identify the caller, by their names in AIWhisperer.
_HEADERS = {"site_url": "HTTP-Referer", "app_name": "X-Title"}
LITERAL_KEY = (
    "the API key is a literal: it works, but everyone with this file or notebook has it. "
    "Put it into an environment variable and write os.environ/NAME"
)


class ParsedConfig(Struct):
    """The fields of a config, the keys that lead to each, and the problems."""

    values: dict[str, Any] = {}
    """Field → its value in canonical form; None for one that is set to null."""
    paths: dict[str, KeyPath] = {}
    """Field → the keys that lead to it."""
    problems: list[Problem] = []
    warnings: list[Problem] = []
    """Values that work, but that a user should know of."""
    ignored: list[str] = []
    """Keys that have no meaning for whisper_nb."""


def is_section(key: str, value: object) -> bool:
    """Whether a key with its value is the section of a provider, in the main format."""
    if key in _NESTED or not isinstance(value, Mapping):
        return False
    return key in PROVIDERS or bool({"model", "params"} & set(value))


def read_config(source: Mapping[Any, Any], kinds: Mapping[str, Kind], path: KeyPath = ()) -> ParsedConfig:
    """Parse a mapping in any of the formats.

    Args:
        source: the mapping.
        kinds: field → its kind.
        path: the keys that lead to the mapping.
    """
    sections = [key for key, value in source.items() if key not in kinds and is_section(str(key), value)]
    above = _parse_flat({key: value for key, value in source.items() if key not in sections}, kinds, path)
    if not sections:
        return above
    provider = sections[0]
    below = _parse_flat({"provider": provider, **source[provider]}, kinds, (*path, provider), is_section=True)
    if len(sections) > 1:
        text = f"two providers, {' and '.join(map(str, sections))}: a config has one; remove the others"
        above.problems.insert(0, Problem((*path, sections[1]), text))
    # The name of the provider decides whose api_key it is, also in a section without a model.
    section = {"model": f"{provider}/"}
    values = overlay(section | below.values, above.values)
    if values["model"] == section["model"]:
        del values["model"]
        if not below.problems and len(sections) == 1:
            text = f"provider {provider!r} without a model: write model under it; its key is sent to no other provider"
            above.problems.append(Problem((*path, provider), text))
    return ParsedConfig(
        values,
        below.paths | above.paths,
        below.problems + above.problems,
        below.warnings + above.warnings,
        below.ignored + above.ignored,
    )


def overlay(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Return fields with others on top of them.

    If `above` has another model, or null, the fields of the model below are dropped; if it is that of another provider,
    also the fields of the provider.
    """
    if below.get("model") and "model" in above and above["model"] != below["model"]:
        below = {name: value for name, value in below.items() if name not in OF_A_MODEL}
    before, after = (str(fields.get("model") or "").partition("/")[0] for fields in (below, above))
    if before and "model" in above and before != after:
        below = {name: value for name, value in below.items() if name not in OF_A_PROVIDER}
    return below | above


def _parse_flat(
    source: Mapping[Any, Any], kinds: Mapping[str, Kind], path: KeyPath, *, is_section: bool = False
) -> ParsedConfig:
    parsed = ParsedConfig()
    provider = _provider(source, path, parsed)
    headers: dict[str, str] = {}
    for key, value, at in _entries(source, path, parsed):
        name = ALIASES.get(key, key)
        if name in kinds:
            _set(parsed, name, _canonical(key, value, provider), kinds[name], at)
        elif key in _HEADERS and provider == "openrouter" and isinstance(value, str | None):
            if value:
                headers[_HEADERS[key]] = value
        elif key in _IGNORED_FIELDS:
            parsed.ignored.append(key)
        else:
            parsed.problems.append(Problem(at, f"unknown config field {key!r}; {suggestion(key, kinds)}"))
    if headers:
        extra = dict(parsed.values.get("extra") or {})
        if isinstance(given := extra.get("extra_headers"), dict):
            headers |= given
        extra["extra_headers"] = headers
        _set(parsed, "extra", extra, kinds["extra"], parsed.paths.get("extra", path))
    if provider and "model" not in source and not is_section:
        text = f"provider {provider!r} without a model: write model beside it"
        parsed.problems.append(Problem((*path, "provider"), text))
    return parsed


def _provider(source: Mapping[Any, Any], path: KeyPath, parsed: ParsedConfig) -> str:
    provider = source.get("provider")
    if provider is None:
        return ""
    if isinstance(provider, str) and provider.isprintable() and provider.strip("/ ") == provider:
        return provider
    text = f"provider {short_repr(provider)} is not the name of a provider, such as openrouter"
    parsed.problems.append(Problem((*path, "provider"), text))
    return ""


def _entries(source: Mapping[Any, Any], path: KeyPath, parsed: ParsedConfig) -> Iterator[tuple[str, Any, KeyPath]]:
    """Yield every key but `provider`; those of nested mappings first, for the keys beside them take precedence."""
    for key in _NESTED:
        nested = source.get(key)
        if isinstance(nested, Mapping):
            yield from ((str(name), value, (*path, key, name)) for name, value in nested.items())
        elif nested is not None:
            text = f"{key} {short_repr(nested)} is not a mapping of parameters"
            parsed.problems.append(Problem((*path, key), text))
    for key, value in source.items():
        if key != "provider" and key not in _NESTED:
            yield str(key), value, (*path, key)


def _canonical(key: str, value: Any, provider: str) -> Any:
    if not isinstance(value, str):
        return value
    if key in ("api_key_env", "api_key_name") and not value.startswith(("os.environ/", "${")):
        return f"os.environ/{value}"
    if key == "model" and value:
        return canonical(value, provider)
    return value


def _set(parsed: ParsedConfig, name: str, value: Any, kind: Kind, at: KeyPath) -> None:
    """Set a field, or add the problem with its value."""
    parsed_value = None
    if value is not None:
        if text := problem_with(kind, name, value):
            parsed.problems.append(Problem(at, text))
            return
        parsed_value = kind.read(value)
    parsed.values[name] = parsed_value
    parsed.paths[name] = at
    if name == "api_key" and is_literal(parsed_value) and value != parsed_value:
        parsed.warnings.append(Problem(at, LITERAL_KEY))
