"""Layers of config: an AIConfig together with the source of each value, and their merge."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from msgspec import Struct

from ..core.errors import ConfigError
from .aiconfig import CONFIG_FIELDS, AIConfig
from .formats import over
from .keys import Keys
from .kinds import problem_with
from .providers import PROVIDERS

MODEL_VARIABLE = "WHISPER_MODEL"


class Layer(Struct, frozen=True):
    """A config and, beside it, where its values were said."""

    config: AIConfig
    source: str = ""
    """Of all values that `places` does not have."""
    places: Mapping[str, str] = {}
    """Field → `agents/bob.yaml:7`."""

    def place(self, name: str) -> str:
        """Where the value of a field was said."""
        return self.places.get(name, self.source)


def layered(*layers: Layer | None) -> Layer:
    """One config from many, the lowest first: in each field the last layer that says something of it wins.

    A layer that goes to another provider leaves the address, the key and the provider's own parameters of the layers
    below behind.

    Returns:
        The config, with the place of each of its values.
    """
    said = [layer for layer in layers if layer is not None]
    config = merged(*(layer.config for layer in said))
    places = {name: layer.place(name) for layer in said for name in layer.config.values()}
    return Layer(config, places={name: places[name] for name in config.values()})


@lru_cache(maxsize=1024)  # run after run has the same layers, and to check what they come to takes its time
def merged(*configs: AIConfig) -> AIConfig:
    """The config that `layered` gives, without the places."""
    values: dict[str, Any] = {}
    for config in configs:
        values = over(values, config.values())
    return AIConfig(**{name: value for name, value in values.items() if value is not None})


def from_environment(keys: Keys, offline: str) -> Layer:
    """The model that the environment selects.

    `WHISPER_MODEL` names it; else the first provider in `PROVIDERS` whose key is set; else `offline`.
    """
    if model := keys.get(MODEL_VARIABLE):
        if text := problem_with(CONFIG_FIELDS["model"], MODEL_VARIABLE, model):
            raise ConfigError(text)
        return Layer(AIConfig(model=model), keys.source(MODEL_VARIABLE))
    for provider in PROVIDERS.values():
        for variable in provider.variables if provider.model else ():
            if keys.get(variable):
                return Layer(AIConfig(model=provider.model), keys.source(variable))
    return Layer(AIConfig(model=offline), "default: no provider's key is set")
