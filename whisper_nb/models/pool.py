"""The pool of models: opens one per config, and shares it among all sessions."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from ..config.aiconfig import AIConfig
from ..config.keys import Keys
from ..config.providers import PROVIDERS, rules_path
from ..core.errors import ConfigError
from ..core.threads import preload
from .http.connections import Connections
from .litellm_loader import check_provider
from .model import Model


class Models:
    """The pool: one model per endpoint, shared by all sessions.

    `models["offline/mine"] = ScriptedModel(...)` registers a model of your own under a name.

    Args:
        keys: where keys and addresses are looked up.
        rules: returns the trusted rules for the path in `offline/script:PATH`; None if the project has none. Then they
            are read from the kernel's folder.
    """

    def __init__(self, keys: Keys, rules: Callable[[str], bytes | None] = lambda _: None) -> None:
        self._keys = keys
        self._rules = rules
        self._connections = Connections()
        self._named: dict[str, Model] = {}
        self._opened: dict[tuple[str | bytes | None, ...], Model] = {}

    def __setitem__(self, name: str, model: Model) -> None:
        """Use this model for every config whose `model` is `name`."""
        AIConfig(model=name)
        self._named[name] = model

    @property
    def named(self) -> tuple[str, ...]:
        """The names under which models of one's own are registered."""
        return tuple(self._named)

    def registered(self, config: AIConfig) -> Model | None:
        """Return the model of one's own for a config; None if none has its name."""
        return self._named.get(config.model or "")

    def open(self, config: AIConfig) -> Model:
        """Return the model for a config.

        Raises:
            ConfigError: the config names no model, an offline one that does not exist, or an unknown provider.
        """
        assert config.model is not None
        if named := self._named.get(config.model):
            return named
        path = rules_path(config.model)
        rules = self._rules(path) if path else None
        # Parameters are part of each request: models differ by their endpoint alone.
        endpoint = (config.model, config.api_base, config.api_key, config.transport)
        kept = (*endpoint, rules)  # rules that were edited are another model
        if kept not in self._opened:
            model, api_base, api_key, transport = endpoint
            self._opened[kept] = self._make(
                AIConfig(model=model, api_base=api_base, api_key=api_key, transport=transport), rules
            )
        return self._opened[kept]

    def check(self, config: AIConfig) -> None:
        """Check that there is a provider for a config's model, without importing LiteLLM, and read its rules, if any.

        Raises:
            ConfigError: there is none, or its file of rules is not there or wrong.
        """
        if rules_path(config.model):
            self.open(config)
        own = config.provider == "offline" or config.model in self._named
        if config.model and not own and transport_of(config) == "litellm":
            check_provider(config.model)

    @property
    def opened(self) -> bool:
        """Whether any model is open."""
        return bool(self._opened)

    async def aclose(self) -> None:
        """Close every model that the pool opened, and all connections. The pool can be used again afterwards."""
        await self.let_go()

    def let_go(self) -> Coroutine[Any, Any, None]:
        """Forget every model that the pool opened, at once, and return the coroutine that closes them."""
        opened, self._opened = self._opened, {}
        connections, self._connections = self._connections, Connections()

        async def close() -> None:
            for model in opened.values():
                await model.aclose()
            await connections.aclose()

        return close()

    def _make(self, endpoint: AIConfig, rules: bytes | None) -> Model:
        if endpoint.provider != "offline":
            return self._reach(endpoint)
        from .offline import EchoModel, ScriptedModel

        kind, _, path = (endpoint.model or "").removeprefix("offline/").partition(":")
        if kind == "echo":
            return EchoModel()
        if kind == "script" and path:
            return ScriptedModel.load(path, rules)
        known = ", ".join(["offline/echo", "offline/script:RULES.yaml", *self._named])
        raise ConfigError(f"no offline model {endpoint.model!r}; there are {known}")

    def _reach(self, endpoint: AIConfig) -> Model:
        """Return the model of a real provider: over the wire where it speaks OpenAI's format, else through LiteLLM."""
        self.check(endpoint)
        if transport_of(endpoint) == "wire":
            from .wire import OpenAIWireModel

            preload("aiohttp")  # an agent was created: its first call need not wait for all of the import
            return OpenAIWireModel(endpoint, self._keys, self._connections)
        from .lite import LiteLLMModel
        from .offload import Offloaded

        return Offloaded(LiteLLMModel(endpoint, self._keys))


def transport_of(config: AIConfig) -> str:
    """Return the way to a config's provider, `wire` or `litellm`; see `AIConfig.transport`."""
    known = PROVIDERS.get(config.provider)
    if config.transport or not known or known.wire is None:
        return config.transport or "litellm"
    return "wire"
