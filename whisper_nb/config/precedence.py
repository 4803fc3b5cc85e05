"""The config of a run, from all its layers.

call > session > `configure` > agent > `config/main.yaml` > environment > default
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace

from ..core.errors import ConfigError, sealed
from .agentfiles import Entry
from .agents import Agent
from .aiconfig import UNSET, AIConfig, from_values, reconfigured
from .formats import OF_A_MODEL, OF_A_PROVIDER
from .keys import Keys
from .layers import Layer, from_environment, layered, merged
from .project import Project, defaults, team_of
from .projectconfig import ProjectConfig


class Precedence:
    """The configs of all runs: what is set in Python for all agents, among the layers of the files in force.

    Args:
        keys: the variables for keys and `WHISPER_MODEL`.
        project: the folder whose files are used, if any.
        config: overrides the config of all agents, until `configure` replaces it.
        offline: the offline model that answers while no provider's key is set.
    """

    __slots__ = ("_config", "_keys", "_offline", "_project")

    @sealed
    def __init__(
        self, keys: Keys, project: Project | None, config: AIConfig | Mapping[str, Any] | str | None, offline: str
    ) -> None:
        self._keys = keys
        self._project = project
        self._config = AIConfig.of(config)
        self._offline = AIConfig(model=offline).model or ""

    @sealed
    def configure(
        self, config: AIConfig | Mapping[str, Any] | str | None, offline: str | None, values: Mapping[str, Any]
    ) -> None:
        """Set config for all agents, as `Runtime.configure`.

        Raises:
            ConfigError: nothing is changed.
        """
        model = AIConfig(model=offline or self._offline).model
        if offline is None or config is not None or values:
            self._config = reconfigured(self._config, config, values)
        self._offline = model or ""

    @sealed
    def resolve(self, agent: Agent | None, *above: tuple[AIConfig | None, str]) -> AIConfig:
        """Return the config of an agent's run; of all agents for None.

        Args:
            agent: the run's agent.
            *above: configs that are set in Python for this agent, each with its source, the lowest first.

        Raises:
            ConfigError: `config/main.yaml` is wrong, and nothing is in force in its place.
        """
        return resolve(self._layers(agent, above), self._keys, self._offline)

    @sealed
    def explain(self, agent: Agent | None, *above: tuple[AIConfig | None, str]) -> Layer:
        """Return the config that `resolve` returns, with the source of each value."""
        return explain(self._layers(agent, above), self._keys, self._offline)

    @sealed
    def foresee(self, files: ProjectConfig, keys: Keys, agent: Agent | None = None) -> Layer:
        """Return the config of a run, if these files of the project were in force.

        Args:
            files: the files.
            keys: keys with the `.env` file of these files.
            agent: an agent that they describe; None for agents without a config of their own.

        Raises:
            ConfigError: as `resolve`.
        """
        entry = files.team.get(agent.name) if agent else None
        environment = partial(from_environment, keys, self._offline)
        return explain(config_layers(files, agent, entry, self._config, environment), keys, self._offline)

    def _layers(self, agent: Agent | None, above: Iterable[tuple[AIConfig | None, str]]) -> list[Layer]:
        files = self._project.used if self._project else None
        entry = team_of(self._project).get(agent.name) if agent else None
        environment = partial(from_environment, self._keys, self._offline)
        return config_layers(files, agent, entry, self._config, environment, above)


def config_layers(
    files: ProjectConfig | None,
    agent: Agent | None,
    entry: Entry | None,
    everywhere: AIConfig,
    environment: Callable[[], Layer],
    configured: Iterable[tuple[AIConfig | None, str]] = (),
) -> list[Layer]:
    """Return every layer but the environment, the lowest first.

    Args:
        files: the project's files, with `config/main.yaml`.
        agent: the agent of the run; None for what holds for all agents.
        entry: the agent as a file describes it.
        everywhere: the config that is set in Python for all agents.
        environment: returns the model of the environment: `from_environment`.
        configured: configs that are set in Python for this agent, each with its source, the lowest first.

    Raises:
        ConfigError: `config/main.yaml` is wrong, and no earlier version of it is in force.
    """
    layers = [defaults()]
    main = files.main if files else None
    if main and main.layer:
        layers.append(main.layer)
    elif main:
        raise ConfigError.of(main.problems)
    if agent:
        shared = [*layers, Layer(everywhere)]
        layers.append(_agent_layer(agent, entry))
        everywhere = _bound(everywhere, shared, layers, environment)
    given = ((everywhere, "configure"), *configured)
    layers += [Layer(config, source) for config, source in given if config and config is not UNSET]
    return layers


def _bound(
    everywhere: AIConfig, shared: Sequence[Layer], layers: Sequence[Layer], environment: Callable[[], Layer]
) -> AIConfig:
    """Return the config for all agents without the key, the address and the price that it sets for another model.

    Without a model, they belong to the model which all agents share: a key or an address to its provider, a price to it
    alone.
    """
    if everywhere.model or not (everywhere.api_base or everywhere.api_key or everywhere.extra or everywhere.price):
        return everywhere
    own = merged(*(layer.config for layer in layers))
    first = merged(*(layer.config for layer in shared))
    if not first.model:
        first = environment().config
    dropped: tuple[str, ...] = ()
    if own.provider not in ("", first.provider) and first.provider != "offline":
        dropped = OF_A_PROVIDER
    if own.model not in (None, first.model):
        dropped += OF_A_MODEL
    return from_values({name: value for name, value in everywhere.values().items() if name not in dropped})


def resolve(layers: Sequence[Layer], keys: Keys, offline: str) -> AIConfig:
    """Return the config of these layers, with the environment's model if they set none; see `from_environment`."""
    configs = [layer.config for layer in layers]
    config = merged(*configs)
    if config.model:
        return config
    return merged(from_environment(keys, offline).config, *configs)


def explain(layers: Sequence[Layer], keys: Keys, offline: str) -> Layer:
    """Return the config that `resolve` returns, with the source of each value."""
    found = layered(*layers)
    if found.config.model:
        # The environment sets only the model: a wrong WHISPER_MODEL must not fail a run that has another.
        return found
    return layered(from_environment(keys, offline), found)


def _agent_layer(agent: Agent, entry: Entry | None) -> Layer:
    layer = Layer(agent.config, f"agent {agent.name}")
    if entry and entry.agent and entry.agent.config == agent.config:
        return replace(layer, sources=entry.sources)
    return layer
