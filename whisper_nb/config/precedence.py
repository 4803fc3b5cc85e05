"""The config of a run, from all its layers.

call > session > `configure` > agent > `config/main.yaml` > environment > default
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from msgspec.structs import replace

from ..core.errors import ConfigError
from .agentfiles import Entry
from .agents import Agent
from .aiconfig import UNSET, AIConfig, from_values
from .formats import OF_A_PROVIDER
from .keys import Keys
from .layers import Layer, from_environment, layered, merged
from .project import defaults
from .projectconfig import ProjectConfig


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
    """Return the config for all agents without the key and the address that it sets for another provider.

    A key or an address without a model belongs to one provider: that of the model which all agents share.
    """
    if everywhere.model or not (everywhere.api_base or everywhere.api_key or everywhere.extra):
        return everywhere
    own = merged(*(layer.config for layer in layers)).provider
    first = merged(*(layer.config for layer in shared)).provider or environment().config.provider
    if own in ("", first) or first == "offline":
        return everywhere
    return from_values({name: value for name, value in everywhere.values().items() if name not in OF_A_PROVIDER})


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
