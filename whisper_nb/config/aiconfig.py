"""AIConfig: how to reach and drive a model. The one adapter for every way to say it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..core.errors import ConfigError, Problem, sealed
from ..core.text import short_repr
from .formats import ParsedConfig, over, read_config
from .keys import Keys, is_literal
from .kinds import Address, Choice, Extra, Flag, KeyReference, Kind, ModelName, Number, Params, Words


def _field(kind: Kind) -> Any:
    return field(default=None, metadata={"kind": kind})


@dataclass(frozen=True, slots=True, kw_only=True)
class AIConfig:
    """How to reach and drive a model. A field that is None is unset: another layer's value holds, else nothing is sent.

    Raises:
        ConfigError: values that are not allowed, all of them in one error, each with what is.
    """

    model: str | None = _field(ModelName())
    """LiteLLM's `provider/model`, or `offline/echo`, or `offline/script:RULES.yaml`."""
    api_base: str | None = _field(Address())
    """The provider's address, for a server of your own."""
    api_key: str | None = _field(KeyReference())
    """Where the key is found: `os.environ/NAME` or `${NAME}`; unset: the provider's own variable. A key that is written
    out works, with a warning; the field then says `literal/…`, which means something in this process alone."""
    temperature: float | None = _field(Number(0, 2))
    """0 to 2."""
    top_p: float | None = _field(Number(0, 1))
    """0 to 1."""
    max_tokens: int | None = _field(Number(1, whole=True))
    """Of one reply; at least 1."""
    max_reasoning_tokens: int | None = _field(Number(0, whole=True))
    """Of thinking before one reply; 0 turns it off."""
    frequency_penalty: float | None = _field(Number(-2, 2))
    """-2 to 2."""
    presence_penalty: float | None = _field(Number(-2, 2))
    """-2 to 2."""
    stop: tuple[str, ...] | None = _field(Words())
    """Texts at which a reply ends."""
    seed: int | None = _field(Number(whole=True))
    """For replies that can be had again, where the provider can."""
    timeout_s: float | None = _field(Number(0, above=True, unit="seconds"))
    """Seconds for one whole model call."""
    token_timeout_s: float | None = _field(Number(0, above=True, unit="seconds"))
    """Seconds from one token to the next, and to the first."""
    retries: int | None = _field(Number(0, 10, whole=True))
    """How often a call that failed for a passing reason, before a token came, is made again; 0 to 10."""
    stream: bool | None = _field(Flag())
    """Whether a reply comes token by token; false asks for it whole, where a server cannot stream."""
    transport: str | None = _field(Choice(("wire", "litellm")))
    """How the provider is reached: over the `wire` in OpenAI's format, or through `litellm`; unset: as the provider's format has it."""
    extra: Params | None = _field(Extra())  # noqa: RUF009
    """Parameters of the provider's own, sent as they are. A mapping becomes an immutable one."""
    cleared: tuple[str, ...] = ()
    """Fields that were said to be null: what other layers say of them does not hold, and nothing is sent."""

    def __post_init__(self) -> None:
        reading = read_config(
            {name: value for name in CONFIG_FIELDS if (value := getattr(self, name)) is not None}, CONFIG_FIELDS
        )
        if not isinstance(self.cleared, tuple) or not all(isinstance(name, str) for name in self.cleared):
            raise ConfigError(f"cleared {short_repr(self.cleared)} is not a tuple of names of fields")
        unknown = [
            Problem(("cleared",), f"cleared: no field {name!r}") for name in self.cleared if name not in CONFIG_FIELDS
        ]
        if reading.problems or unknown:
            raise ConfigError.of([*reading.problems, *unknown])
        for name, value in reading.values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "cleared", tuple(sorted(set(self.cleared) - reading.values.keys())))
        _warn(reading)

    @classmethod
    @sealed
    def of(cls, source: AIConfig | Mapping[str, Any] | str | None = None, **overrides: Any) -> AIConfig:
        """The config that `source` says, with `overrides` on top.

        Args:
            source: an AIConfig; a model string; None for nothing set; or a dict: of these fields, in either format of
                AIWhisperer (`{model, provider, generation_params}`, `{openrouter: {model, params}}`), or a mix of them. A null
                in a dict clears the field.
            **overrides: fields of AIConfig; None leaves what `source` says.

        Raises:
            ConfigError: an unknown field (the nearest known one is named), a wrong type, a value out of range.
        """
        if source is None and not overrides:
            return UNSET
        match source:
            case None:
                values: dict[str, Any] = {}
            case AIConfig():
                values = source.values()
            case str():
                values = {"model": source}
            case Mapping():
                values = _read(source)
            case _:
                raise ConfigError(
                    f"cannot read a config from {type(source).__name__}: give an AIConfig, a dict or a model string"
                )
        return from_values(over(values, _read({name: value for name, value in overrides.items() if value is not None})))

    def values(self) -> dict[str, Any]:
        """The fields that are set; one that was cleared is None."""
        set_ = {name: value for name in CONFIG_FIELDS if (value := getattr(self, name)) is not None}
        return set_ | dict.fromkeys(self.cleared)

    @property
    def provider(self) -> str:
        """The part of `model` before the first slash; empty while no model is set."""
        return (self.model or "").partition("/")[0]


AIConfig.__init__ = sealed(AIConfig.__init__)  # type: ignore[method-assign]

#: Field → what it may be.
CONFIG_FIELDS: Mapping[str, Kind] = {
    one.name: one.metadata["kind"] for one in fields(AIConfig) if "kind" in one.metadata
}


def from_values(values: Mapping[str, Any]) -> AIConfig:
    """The config of these fields, of which a None clears one: the opposite of `AIConfig.values`."""
    set_ = {name: value for name, value in values.items() if value is not None}
    return AIConfig(**set_, cleared=tuple(values.keys() - set_))


def plain(config: AIConfig) -> dict[str, Any]:
    """The fields that are set, as a file can say them; a key that was written out is left out."""
    values = config.values()
    if is_literal(config.api_key):
        del values["api_key"]
    if config.extra is not None:
        values["extra"] = dict(config.extra)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _read(source: Mapping[str, Any]) -> dict[str, Any]:
    reading = read_config(source, CONFIG_FIELDS)
    if reading.problems:
        raise ConfigError.of(reading.problems)
    _warn(reading)
    return reading.values


def _warn(reading: ParsedConfig) -> None:
    left_out = [f"left out, for it has no meaning here: {', '.join(reading.dead)}"] if reading.dead else []
    for warning in (*reading.warnings, *left_out):
        warnings.warn(f"AIConfig: {warning}", UserWarning, stacklevel=5)


#: Nothing is set: one for all.
UNSET = AIConfig()


def missing_key(config: AIConfig, keys: Keys) -> str:
    """The variable that would have to hold this config's key and does not; empty where no key is known to be missing."""
    return keys.missing(config.provider, config.api_key, own_server=config.api_base is not None)
