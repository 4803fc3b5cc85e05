"""AIConfig: how to reach and drive a model. The one adapter for every way to say it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from .errors import ConfigError

#: Provider → (the environment variable that holds its key, the model that a key alone selects).
#: The order is the order of preference where several keys are set.
PROVIDERS: dict[str, tuple[str, str]] = {
    "openrouter": ("OPENROUTER_API_KEY", "openrouter/openai/gpt-4o-mini"),
    "anthropic": ("ANTHROPIC_API_KEY", "anthropic/claude-haiku-4-5"),
    "openai": ("OPENAI_API_KEY", "openai/gpt-4o-mini"),
    "gemini": ("GEMINI_API_KEY", "gemini/gemini-flash-latest"),
    "mistral": ("MISTRAL_API_KEY", "mistral/mistral-small-latest"),
    "groq": ("GROQ_API_KEY", "groq/openai/gpt-oss-20b"),
    "deepseek": ("DEEPSEEK_API_KEY", "deepseek/deepseek-flash"),
    "xai": ("XAI_API_KEY", "xai/grok-4.3-latest"),
    "together_ai": ("TOGETHERAI_API_KEY", "together_ai/openai/gpt-oss-120b"),
}
MODEL_VARIABLE = "WHISPER_MODEL"
_KINDS: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "str | None": ("a string", str),
    "int | None": ("a whole number", int),
    "float | None": ("a number", (int, float)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class AIConfig:
    """How to reach and drive a model. A field that is None is unset: another layer's value holds, else nothing is sent."""

    model: str | None = None
    """LiteLLM's `provider/model`, or `offline/echo`, or `offline/script:RULES.yaml`."""
    api_base: str | None = None
    """The provider's address, for a server of your own."""
    api_key_env: str | None = None
    """The name of the environment variable that holds the key; unset: the provider's own."""
    temperature: float | None = None
    """0 to 2."""
    max_tokens: int | None = None
    """Of one reply; at least 1."""
    timeout_s: float | None = None
    """Seconds for one whole model call."""
    token_timeout_s: float | None = None
    """Seconds from one token to the next, and to the first."""

    def __post_init__(self) -> None:
        """Check types and ranges, so that a bad value fails here and not at the first call.

        Raises:
            ConfigError: with the field, its value and what is allowed.
        """
        for field in fields(self):
            value, (kind, types) = getattr(self, field.name), _KINDS[str(field.type)]
            if value is not None and (isinstance(value, bool) or not isinstance(value, types)):
                raise ConfigError(f"{field.name} {value!r} is a {type(value).__name__}, not {kind}")
        if self.model is not None:
            provider, slash, name = self.model.partition("/")
            if not (provider and slash and name):
                raise ConfigError(
                    f"model {self.model!r} is not provider/model, such as openai/gpt-4o-mini or offline/echo"
                )
        if self.temperature is not None and not 0 <= self.temperature <= 2:
            raise ConfigError(f"temperature {self.temperature!r} is not between 0 and 2")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ConfigError(f"max_tokens {self.max_tokens!r} is not at least 1")
        for name in ("timeout_s", "token_timeout_s"):
            seconds = getattr(self, name)
            if seconds is not None and not seconds > 0:
                raise ConfigError(f"{name} {seconds!r} is not more than 0 seconds")

    @classmethod
    def of(cls, source: AIConfig | Mapping[str, Any] | str | None = None, **overrides: Any) -> AIConfig:
        """The config that `source` says, with `overrides` on top.

        Args:
            source: an AIConfig, a dict of its fields, a model string, or None for nothing set.
            **overrides: fields of AIConfig; None leaves what `source` says.

        Raises:
            ConfigError: an unknown field (the nearest known one is named), a wrong type or a value out of range.
        """
        match source:
            case None:
                values: dict[str, Any] = {}
            case AIConfig():
                values = source.values()
            case str():
                values = {"model": source}
            case Mapping():
                values = dict(source)
            case _:
                raise ConfigError(
                    f"cannot read a config from {type(source).__name__}: give an AIConfig, a dict or a model string"
                )
        values |= {name: value for name, value in overrides.items() if value is not None}
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                nearest = difflib.get_close_matches(str(name), known, 1)
                hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; known are {', '.join(known)}"
                raise ConfigError(f"unknown config field {name!r}{hint}")
        return cls(**values)

    def values(self) -> dict[str, Any]:
        """The fields that are set."""
        return {field.name: value for field in fields(self) if (value := getattr(self, field.name)) is not None}

    @property
    def provider(self) -> str:
        """The part of `model` before the first slash; empty while no model is set."""
        return (self.model or "").partition("/")[0]


DEFAULTS = AIConfig(timeout_s=600.0, token_timeout_s=120.0)


def layered(*layers: AIConfig | None) -> AIConfig:
    """One config from many: in each field the last layer that sets it wins.

    A layer that goes to another provider leaves the address and the key variable of the layers below behind, so that
    no key is sent to somebody else's host.
    """
    config = AIConfig()
    for layer in layers:
        if layer is not None:
            moves = layer.provider not in ("", config.provider) and config.provider != ""
            below = replace(config, api_base=None, api_key_env=None) if moves else config
            config = AIConfig(**(below.values() | layer.values()))
    return config


def missing_key(config: AIConfig, environ: Mapping[str, str]) -> str | None:
    """The variable that would have to hold this config's key and does not; None where no key is known to be missing."""
    variable, _ = PROVIDERS.get(config.provider, ("", ""))
    variable = config.api_key_env or ("" if config.api_base else variable)
    return variable if variable and not environ.get(variable) else None


def from_environment(environ: Mapping[str, str], offline: str) -> AIConfig:
    """The model that the environment selects.

    `WHISPER_MODEL` names it; else the first provider in `PROVIDERS` whose key is set; else `offline`.
    """
    if model := environ.get(MODEL_VARIABLE):
        return AIConfig(model=model)
    for variable, model in PROVIDERS.values():
        if environ.get(variable):
            return AIConfig(model=model)
    return AIConfig(model=offline)
