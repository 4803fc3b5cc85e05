"""Layers of config: an AIConfig together with the source of each value, and their merge."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from ..core.errors import ConfigError
from .aiconfig import CONFIG_FIELDS, AIConfig
from .formats import OF_A_MODEL, overlay
from .keys import Keys
from .kinds import problem_with
from .providers import PROVIDERS

MODEL_VARIABLE = "WHISPER_MODEL"


class Layer(Struct, frozen=True):
    """A config, with the source of each of its values."""

    config: AIConfig
    source: str = ""
    """The source of every value that is not in `sources`."""
    sources: Mapping[str, str] = {}
    """Field → the source of its value: `agents/bob.yaml:7`."""

    def place(self, name: str) -> str:
        """Return the source of a field's value."""
        return self.sources.get(name, self.source)


def layered(*layers: Layer | None) -> Layer:
    """Merge layers, the lowest first: the value of a field is that of the last layer that sets or clears it.

    A layer with the model of another provider drops the address, the key and the provider's parameters of the layers
    below it.

    Returns:
        The config, with the source of each of its values.
    """
    given = [layer for layer in layers if layer is not None]
    config = merged(*(layer.config for layer in given))
    sources = {name: layer.place(name) for layer in given for name in layer.config.values()}
    return Layer(config, sources={name: sources[name] for name in config.values()})


@lru_cache(maxsize=1024)  # most runs have the layers of an earlier one, and validation takes time
def merged(*configs: AIConfig) -> AIConfig:
    """Return the config of `layered`, without the sources."""
    values: dict[str, Any] = {}
    for config in configs:
        above = config.values()
        if above.get("model") and not values.get("model"):  # what lower layers set was for a model of the environment
            values = {name: value for name, value in values.items() if name not in OF_A_MODEL}
        values = overlay(values, above)
    return AIConfig(**{name: value for name, value in values.items() if value is not None})


def from_environment(keys: Keys, offline: str) -> Layer:
    """Return a layer with the model that the environment selects.

    It is the value of `WHISPER_MODEL`; else the model of the first provider in `PROVIDERS` whose key is set; else
    `offline`.

    Raises:
        ConfigError: the value of `WHISPER_MODEL` is not a model.
    """
    if model := keys.get(MODEL_VARIABLE):
        if text := problem_with(CONFIG_FIELDS["model"], MODEL_VARIABLE, model):
            raise ConfigError(text)
        return Layer(_of_model(model), keys.source(MODEL_VARIABLE))
    for provider in PROVIDERS.values():
        if not provider.model:
            continue
        for variable in provider.variables:
            if keys.get(variable):
                return Layer(_of_model(provider.model), keys.source(variable))
    return Layer(_of_model(offline), "default: no provider's key is set")


@lru_cache(maxsize=64)  # a run has the model of an earlier one
def _of_model(model: str) -> AIConfig:
    return AIConfig(model=model)
