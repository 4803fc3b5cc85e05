"""The models that agents talk to: the protocol, and the pool that opens one per config."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..config import AIConfig
from ..errors import ConfigError
from ..keys import Keys
from ..messages import Delta, Message, ToolSchema


@dataclass(frozen=True, slots=True)
class Request:
    """One model call."""

    messages: Sequence[Message]
    tools: Sequence[ToolSchema]
    config: AIConfig


class Model(Protocol):
    """Answers one call at a time per session, and many at once over all."""

    @property
    def context_tokens(self) -> int | None:
        """The most tokens that a request may hold; None where nobody knows."""

    def count_tokens(self, messages: Sequence[Message]) -> int:
        """The tokens of these messages, as exactly as can be told without asking the provider."""

    def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The reply, delta by delta, closed by one Finish.

        Closing the generator, or cancelling the task that reads it, ends the call and lets go of its connection.

        Raises:
            ModelError: the call failed. No key is ever part of the message.
            ConfigError: the call cannot be made, for example without a key.
        """

    async def aclose(self) -> None:
        """Let go of connections."""


class Models:
    """The pool: one model per config, shared by all sessions.

    `models["offline/mine"] = ScriptedModel(...)` puts a model of your own behind a name.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._named: dict[str, Model] = {}
        self._opened: dict[AIConfig, Model] = {}

    def __setitem__(self, name: str, model: Model) -> None:
        """Answer every config whose `model` is `name` with this one."""
        AIConfig(model=name)
        self._named[name] = model

    def open(self, config: AIConfig) -> Model:
        """The model for a config.

        Raises:
            ConfigError: the config names no model, or an offline one that does not exist.
        """
        assert config.model is not None
        if named := self._named.get(config.model):
            return named
        # Parameters travel with each request; what makes a model is where it is.
        place = AIConfig(model=config.model, api_base=config.api_base, api_key=config.api_key)
        if place not in self._opened:
            self._opened[place] = self._make(place)
        return self._opened[place]

    @property
    def opened(self) -> bool:
        """Whether any is open."""
        return bool(self._opened)

    async def aclose(self) -> None:
        """Close every model that the pool opened."""
        while self._opened:
            _, model = self._opened.popitem()
            await model.aclose()

    def _make(self, place: AIConfig) -> Model:
        if place.provider != "offline":
            from .lite import LiteLLMModel

            return LiteLLMModel(place, self._keys)
        from .offline import EchoModel, ScriptedModel

        kind, _, path = (place.model or "").removeprefix("offline/").partition(":")
        if kind == "echo":
            return EchoModel()
        if kind == "script" and path:
            return ScriptedModel.load(path)
        known = ", ".join(["offline/echo", "offline/script:RULES.yaml", *self._named])
        raise ConfigError(f"no offline model {place.model!r}; there are {known}")
