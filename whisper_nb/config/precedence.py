"""The config of a run, from all its layers.

call > session > `configure` > agent > `config/main.yaml` > environment > default
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec.structs import replace

from ..core.errors import ConfigError
from .agentfiles import Entry
from .agents import Agent
from .aiconfig import UNSET, AIConfig
from .keys import Keys
from .layers import Layer, from_environment, layered, merged
from .project import Project, defaults


def config_layers(
    project: Project | None,
    team: Mapping[str, Entry],
    agent: Agent | None,
    configured: Iterable[tuple[AIConfig | None, str]],
) -> list[Layer]:
    """Return every layer but the environment, the lowest first.

    Args:
        project: the project whose `config/main.yaml` is used.
        team: the agents that files describe, by name.
        agent: the agent of the run; None for what holds for all agents.
        configured: configs that are set in Python, each with its source, the lowest first.

    Raises:
        ConfigError: `config/main.yaml` is wrong, and no earlier version of it is in force.
    """
    layers = [defaults()]
    main = project.used.main if project else None
    if main and main.layer:
        layers.append(main.layer)
    elif main:
        raise ConfigError.of(main.problems)
    if agent:
        layers.append(_agent_layer(agent, team.get(agent.name)))
    layers += [Layer(config, source) for config, source in configured if config and config is not UNSET]
    return layers


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
