"""What `%agent config`, `models` and `trust` say: where a value came from, what can be reached, what a project wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..agentfiles import Entry
from ..config import AIConfig, Layer, layered
from ..keys import Keys, is_literal, variable_of
from ..project import Project, Said, package
from ..providers import PROVIDERS

_INDENT = "  "


def config_rows(layer: Layer, keys: Keys) -> list[dict[str, str]]:
    """Each value of a config, and where it came from; the key by its reference alone."""
    config = layer.config
    rows = [
        {"field": name, "value": _value(name, value), "from": layer.place(name)}
        for name, value in config.values().items()
    ]
    if config.api_key is None and config.provider in PROVIDERS and PROVIDERS[config.provider].variables:
        variables = PROVIDERS[config.provider].variables
        found = next((name for name in variables if keys.get(name)), "")
        said = keys.source(found) if found else f"{variables[0]} is not set"
        rows.append({"field": "api_key", "value": f"os.environ/{found or variables[0]}", "from": said})
    elif variable := variable_of(config.api_key):
        row = next(row for row in rows if row["field"] == "api_key")
        row["from"] += f"; {keys.source(variable) if keys.get(variable) else f'{variable} is not set'}"
    return rows


def _value(name: str, value: Any) -> str:
    if name == "api_key" and is_literal(value):
        return "a key that was written out"
    return (
        ", ".join(map(repr, value))
        if isinstance(value, tuple)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def model_rows(keys: Keys, local: Mapping[str, list[str]], price: Mapping[str, str]) -> list[dict[str, str]]:
    """Models that can be reached now.

    Args:
        keys: where keys are looked up.
        local: provider → the models of its server on this machine.
        price: model → its price.
    """
    found = [("offline/echo", "always here", "$0")]
    for name, provider in PROVIDERS.items():
        variable = next((one for one in provider.variables if keys.get(one)), "")
        if variable:
            model = provider.model or f"{name}/…"
            found.append((model, keys.source(variable), price.get(model, "unknown")))
        found += [(model, f"{name} on this machine", "$0") for model in local.get(name, ())]
    return [dict(zip(("model", "reached by", "price per million tokens"), row, strict=True)) for row in found]


def trust_lines(project: Project, config: AIConfig, keys: Keys, root: str) -> Iterator[str]:
    """What a project's files would change, and how to trust them.

    Args:
        project: the project.
        config: what holds now for an agent that says nothing itself.
        keys: where keys are looked up.
        root: the magic's name.
    """
    found = project.found
    if not found:
        yield f"{project.root} has no config/main.yaml and no agents: there is nothing to trust"
        return
    if not project.held_back:
        yield f"{project.root} is trusted as it is (%{root} trust --revoke takes that back)"
    else:
        yield f"{project.root} is not trusted{' as it is now' if project.used else ''}. It says:"
    yield from _main_lines(found, config, keys)
    main = found.main.layer if found.main else None
    provider = layered(Layer(config), main).config.provider
    for name, entry in found.team.items():
        yield from _agent_lines(name, entry, keys, provider)
    yield from (f"{_INDENT}{name}: another program's, left alone" for name in found.foreign)
    for problem in (*found.problems, *found.warnings):
        yield f"{_INDENT}! {problem}"
    if project.held_back:
        yield f"To use just this: %{root} trust {project.code}"


def _main_lines(found: Said, config: AIConfig, keys: Keys) -> Iterator[str]:
    main = found.main
    if main is None:
        return
    yield f"{_INDENT}config/main.yaml, for all agents"
    if main.layer:
        yield from _config_lines(main.layer.config, keys, config, config.provider)
    for name, value in main.settings.items():
        yield f"{_INDENT * 2}{name}: {value}{': keys are taken from it' if name == 'env_file' else ''}"


def _config_lines(said: AIConfig, keys: Keys, now: AIConfig, provider: str) -> Iterator[str]:
    for name, value in said.values().items():
        before = getattr(now, name)
        changes = f" (now {_value(name, before)})" if before not in (None, value) else ""
        yield f"{_INDENT * 2}{name}: {'nothing' if value is None else _value(name, value)}{changes}"
    if said.api_base or said.api_key:
        key = "a key that the file holds" if is_literal(said.api_key) else variable_of(said.api_key)
        provider = said.provider or provider
        known = PROVIDERS.get(provider)
        key = key or next(iter(known.variables if known else ()), "no key")
        state = "" if is_literal(said.api_key) or key == "no key" else " (set)" if keys.get(key) else " (not set)"
        yield f"{_INDENT * 2}→ prompts and {key}{state} go to {said.api_base or provider}"


def _agent_lines(name: str, entry: Entry, keys: Keys, provider: str) -> Iterator[str]:
    agent = entry.agent
    new = "in place of whisper_nb's" if name in package().team else "new"
    yield f"{_INDENT}agent {name} ({entry.place}), {new}{f': {agent.description}' if agent and agent.description else ''}"
    if agent:
        yield from _config_lines(agent.config, keys, AIConfig(), provider)
    if agent and agent.system_prompt:
        yield f"{_INDENT * 2}prompt, {len(agent.system_prompt):,} characters: {agent.system_prompt[:120].strip()}…"
    if entry.tools:
        yield f"{_INDENT * 2}tools of this notebook: {', '.join(entry.tools)}"
