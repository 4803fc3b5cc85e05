"""AIConfig: how to reach a model, and its parameters. The one adapter for every format of a config."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..core.errors import ConfigError, Problem, sealed
from ..core.text import short_repr
from .formats import ParsedConfig, overlay, read_config
from .keys import Keys, is_literal
from .kinds import (
    Address,
    Choice,
    Extra,
    Flag,
    KeyReference,
    Kind,
    ModelName,
    Number,
    Params,
    Price,
    PriceOfTokens,
    Words,
)
from .providers import address_variables, is_own


def _field(kind: Kind) -> Any:
    return field(default=None, metadata={"kind": kind})


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AIConfig:
    """A model: its name, the way to reach it, and its parameters.

    A field that is None is unset: another layer may set it; else it is not sent.

    Raises:
        ConfigError: one or more values are not allowed. One error has all of them, each with what is allowed.
    """

    model: str | None = _field(ModelName())
    """LiteLLM's `provider/model`, or `offline/echo`, or `offline/script:RULES.yaml`."""
    api_base: str | None = _field(Address())
    """The address of the provider, for a server of your own."""
    api_key: str | None = _field(KeyReference())
    """A reference to the key: `os.environ/NAME` or `${NAME}`; unset: the provider's own variable. A literal key works,
    with a warning; the field then becomes `literal/…`, which is valid in this process alone."""
    temperature: float | None = _field(Number(0, 2))
    """0 to 2."""
    top_p: float | None = _field(Number(0, 1))
    """0 to 1."""
    max_tokens: int | None = _field(Number(1, whole=True))
    """The limit of one reply, in tokens; at least 1."""
    max_reasoning_tokens: int | None = _field(Number(0, whole=True))
    """The limit of reasoning before one reply, in tokens; 0 turns reasoning off."""
    context_tokens: int | None = _field(Number(1, whole=True))
    """The size of the model's context, in tokens. If it is unset, it is that of the price list, or what the server
    tells. It is not sent: older exchanges are left out so that a call fits."""
    frequency_penalty: float | None = _field(Number(-2, 2))
    """-2 to 2."""
    presence_penalty: float | None = _field(Number(-2, 2))
    """-2 to 2."""
    stop: tuple[str, ...] | None = _field(Words())
    """Texts that end a reply."""
    seed: int | None = _field(Number(whole=True))
    """The seed of sampling, for reproducible replies; not every provider supports it."""
    timeout_s: float | None = _field(Number(0, above=True, unit="seconds"))
    """The timeout of a model call, in seconds."""
    token_timeout_s: float | None = _field(Number(0, above=True, unit="seconds"))
    """The timeout of the first token, and from each token to the next, in seconds."""
    retries: int | None = _field(Number(0, 10, whole=True))
    """The most retries of a call that fails for a transient reason before its first token; 0 to 10."""
    output_retries: int | None = _field(Number(0, 10, whole=True))
    """The most further turns in which the model corrects an answer that does not fit the output type; 0 to 10."""
    requests_per_minute: int | None = _field(Number(1, whole=True, unit="requests"))
    """The most calls in a minute, of all agents together, to the provider with the same key. Further ones wait."""
    tokens_per_minute: int | None = _field(Number(1, whole=True, unit="tokens"))
    """The most tokens in a minute, sent and received, otherwise as `requests_per_minute`. A call counts before it is
    sent with its prompt and `max_tokens`, and after it with what it took."""
    allow_empty: bool | None = _field(Flag())
    """Whether a reply without text, tool calls and reasoning is an answer; otherwise it is an EmptyReply."""
    stream: bool | None = _field(Flag())
    """Whether a reply is streamed token by token; false for a server that cannot stream."""
    transport: str | None = _field(Choice(("wire", "litellm")))
    """The way to the provider: `wire`, in OpenAI's format and without LiteLLM, or `litellm`. If it is unset, `wire` for
    providers with that format, else `litellm`."""
    output_mode: str | None = _field(Choice(("native", "tool", "prompt")))
    """How an answer with a schema is asked for: `native`, the provider constrains the reply; `tool`, the reply is the
    call of a tool; `prompt`, by the system prompt alone. If it is unset, the best that the model is known for."""
    price: Price | None = _field(PriceOfTokens())  # noqa: RUF009
    """The price of this model: `free`, or `{input: 0.15, output: 0.6}`, in US dollars per million tokens. If it is
    unset, it is that of the price list. It is not sent, and another model does not have it."""
    extra: Params | None = _field(Extra())  # noqa: RUF009
    """Parameters that only this provider has, sent as they are. A mapping becomes an immutable one."""
    cleared: tuple[str, ...] = ()
    """Fields that are set to null: values of other layers are dropped, and nothing is sent."""

    def __post_init__(self) -> None:
        given = {name: value for name in CONFIG_FIELDS if (value := getattr(self, name)) is not None}
        parsed = read_config(given, CONFIG_FIELDS)
        if not isinstance(self.cleared, tuple) or not all(isinstance(name, str) for name in self.cleared):
            raise ConfigError(f"cleared {short_repr(self.cleared)} is not a tuple of names of fields")
        unknown = [name for name in self.cleared if name not in CONFIG_FIELDS]
        problems = [*parsed.problems, *(Problem(("cleared",), f"cleared: no field {name!r}") for name in unknown)]
        if problems:
            raise ConfigError.of(problems)
        for name, value in parsed.values.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "cleared", tuple(sorted(set(self.cleared) - parsed.values.keys())))
        _warn(parsed)

    def __repr__(self) -> str:
        return repr_of(self)

    @classmethod
    @sealed
    def of(cls, source: AIConfig | Mapping[str, Any] | str | None = None, **overrides: Any) -> AIConfig:
        """Return the config of `source`, with `overrides` on top.

        Args:
            source: an AIConfig; a model string; None for an empty config; or a dict, with these fields, in a format of
                AIWhisperer (`{model, provider, generation_params}`, `{openrouter: {model, params}}`), or a mix. A null
                in a dict clears the field.
            **overrides: fields of AIConfig; None leaves the value of `source`.

        Raises:
            ConfigError: a field is unknown (the message suggests the nearest), or a value has a wrong type or range.
        """
        overrides = {name: value for name, value in overrides.items() if value is not None}
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
                    f"a config cannot be made of {type(source).__name__}: give an AIConfig, a dict or a model string"
                )
        return from_values(overlay(values, _read(overrides)))

    def values(self) -> dict[str, Any]:
        """The fields that are set; a cleared field is None."""
        set_ = {name: value for name in CONFIG_FIELDS if (value := getattr(self, name)) is not None}
        return set_ | dict.fromkeys(self.cleared)

    @property
    def provider(self) -> str:
        """The part of `model` before the first slash; empty if no model is set."""
        return (self.model or "").partition("/")[0]


AIConfig.__init__ = sealed(AIConfig.__init__)  # type: ignore[method-assign]

#: Field → its kind.
CONFIG_FIELDS: Mapping[str, Kind] = {
    one.name: one.metadata["kind"] for one in fields(AIConfig) if "kind" in one.metadata
}


def repr_of(spec: Any) -> str:
    """Return the repr of a dataclass with the fields that differ from their defaults alone."""
    shown = [f"{one.name}={value!r}" for one in fields(spec) if (value := getattr(spec, one.name)) != one.default]
    return f"{type(spec).__name__}({', '.join(shown)})"


#: What to write in Python for words of the magics and of files, where an argument `config` exists.
KEYWORDS: Mapping[str, str] = {name: f"config={{{name!r}: …}}" for name in CONFIG_FIELDS} | {
    "ai_config": "config=…",
    "block": "await run, or run.result()",
    "generation_params": "config={'model': …, 'generation_params': …}",
    "image": "a list of texts and images as the prompt",
    "images": "a list of texts and images as the prompt",
    "limits": "max_turns=… and timeout_s=…",
    "out": "run = bob.submit(…)",
    "output_schema": "output_type=…",
    "response_format": "output_type=…",
    "schema": "output_type=…",
    "prompt_file": "system_prompt=Path(…).read_text()",
    "provider": "config={'provider': …, 'model': …}, or model='provider/model'",
}


def from_values(values: Mapping[str, Any]) -> AIConfig:
    """Return the config with these fields; None clears a field. The inverse of `AIConfig.values`."""
    set_ = {name: value for name, value in values.items() if value is not None}
    return AIConfig(**set_, cleared=tuple(values.keys() - set_))


def reconfigured(
    before: AIConfig, config: AIConfig | Mapping[str, Any] | str | None, values: Mapping[str, Any]
) -> AIConfig:
    """Return what `configure` sets.

    Args:
        before: what was set before.
        config: takes its place; None leaves it.
        values: fields on top.

    Raises:
        ConfigError: nothing is given, a value is None or not allowed.
    """
    if config is None and not values:
        raise ConfigError("configure() sets nothing: give a model string, a dict, or fields such as temperature=0.2")
    for name, value in values.items():
        if value is None:
            raise ConfigError(
                f"configure({name}=None) sets nothing: configure({{}}) ends what was configured before, "
                f"and configure({{{name!r}: None}}) drops the agents' own {name}"
            )
    if config is None:
        config = before
    return AIConfig.of(config, **values)


def plain(config: AIConfig) -> dict[str, Any]:
    """Return the fields that are set, as data for a file; without a literal key."""
    values = config.values()
    if is_literal(config.api_key):
        del values["api_key"]
    if config.extra is not None:
        values["extra"] = dict(config.extra)
    if config.price is not None:
        values["price"] = config.price.document()
    return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}


def _read(source: Mapping[str, Any]) -> dict[str, Any]:
    parsed = read_config(source, CONFIG_FIELDS)
    if parsed.problems:
        raise ConfigError.of(parsed.problems)
    _warn(parsed)
    return parsed.values


def _warn(parsed: ParsedConfig) -> None:
    texts = [str(warning) for warning in parsed.warnings]
    if parsed.ignored:
        texts.append(ignored_text(parsed.ignored))
    for text in texts:
        warnings.warn(f"AIConfig: {text}", UserWarning, stacklevel=5)  # at the caller of AIConfig or AIConfig.of


def ignored_text(keys: Iterable[str]) -> str:
    """Return the warning about keys that have no meaning for whisper_nb."""
    return f"ignored, since whisper_nb has no such setting: {', '.join(keys)}"


#: The empty config.
UNSET = AIConfig()


def missing_key(config: AIConfig, keys: Keys) -> str:
    """Return the variable that must have this config's key and is not set; empty if no key is known to be missing."""
    return keys.missing(config.provider, config.api_key, own_server=is_own(own_address(config, keys)[0]))


def own_address(config: AIConfig, keys: Keys) -> tuple[str, str]:
    """Return the address that takes the place of the provider's, and the variable that has it.

    Both are empty without one; the variable also for an `api_base`, which takes precedence.
    """
    if config.api_base:
        return config.api_base, ""
    for variable in address_variables(config.provider):
        # Of the environment alone: a file of a project could send the key to another server.
        if address := keys.environment(variable):
            return address, variable
    return "", ""
