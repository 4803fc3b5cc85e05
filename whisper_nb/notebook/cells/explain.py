"""What `%agent config`, `models`, `cost` and `trust` say: where a value came from, what can be reached, what was spent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from itertools import islice
from typing import Any

from ...config.aiconfig import AIConfig
from ...config.keys import Keys, is_literal, variable_of
from ...config.layers import Layer, layered
from ...config.project import Project, package
from ...config.providers import PROVIDERS
from ...config.yamlfile import dump_yaml
from ...core.errors import ConfigError
from ...core.messages import Spent
from ...core.text import suggestion
from ...engine.runtimes import Runtime
from ...engine.spending import spent_on
from .costs import cost_line

_INDENT = "  "
#: Of a prompt that is new.
_PROMPT = 120


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
    if value is None:
        return "nothing"
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


def cost_rows(runtime: Runtime, names: Sequence[str], last: int) -> list[dict[str, str]]:
    """What agents have cost, each and all of these together.

    Args:
        runtime: whose agents.
        names: which of them; all, removed ones too, where there are none.
        last: how many of the last runs of each are told, too.

    Raises:
        ConfigError: nobody has that name.
    """
    spent = runtime.spent_by_agent()
    for name in names:
        if name not in spent:
            raise ConfigError(f"no agent named {name!r} has been at work here; {suggestion(name, spent)}")
    told = {name: spent[name] for name in names or spent}
    rows: list[dict[str, str]] = []
    for name, one in told.items():
        session = runtime.get(name)
        rows.append(_cost_row(name if session else f"{name} (removed)", _runs(one), one))
        begun = [run for run in (session.runs if session else ()) if run.done or run.started_at is not None]
        rows += [_cost_row(run.id, run.status, spent_on(run)) for run in begun[max(0, len(begun) - last) :]]
    total = sum(told.values(), Spent())
    return [*rows, _cost_row("all together", _runs(total), total)] if rows else []


def _cost_row(who: str, runs: str, spent: Spent) -> dict[str, str]:
    def tokens(count: int) -> str:
        return f"{count:,}" if not spent.uncounted else f"at least {count:,}" if count else "unknown"

    usage = spent.usage
    return {
        "agent": who,
        "runs": runs,
        "tokens in": tokens(usage.input_tokens),
        "tokens out": tokens(usage.output_tokens),
        "cost": cost_line(spent),
    }


def _runs(spent: Spent) -> str:
    return f"{spent.runs} + {spent.at_work} at work" if spent.at_work else str(spent.runs)


def trust_lines(project: Project, config: AIConfig, keys: Keys, root: str) -> Iterator[str]:
    """What a project's files would change, and how to trust them.

    Args:
        project: the project.
        config: what holds now for an agent that says nothing itself.
        keys: where keys are looked up.
        root: the magic's name.
    """
    found = project.found
    if not found and not project.used:
        yield f"{project.root} has no config/main.yaml and no agents: there is nothing to trust"
        return
    if not project.held_back:
        yield f"{project.root} is trusted as it is (%{root} trust --revoke takes that back)"
    else:
        yield f"{project.root} is not trusted{' as it is now' if project.used else ''}. It says:"
    main = found.main.layer if found.main else None
    provider = layered(Layer(config), main).config.provider
    yield from _main_lines(project, config, keys)
    for name in dict.fromkeys([*found.team, *project.used.team]):
        yield from _agent_lines(name, project, keys, provider)
    yield from (f"{_INDENT}{name}: another program's, left alone" for name in found.foreign)
    for problem in (*found.problems, *found.warnings):
        yield f"{_INDENT}! {problem}"
    if mend := _to_mend(project):
        yield f"Mend {mend}. Then look again: %{root} trust"
    elif project.held_back:
        yield f"To use just this: %{root} trust {project.code}"


def _to_mend(project: Project) -> str:
    """What is wrong so that nothing of the project could be used, and why; empty where something can."""
    main, before, team = project.found.main, project.used.main, project.found.team.values()
    if main and main.problems and not (before and before.layer):
        return "config/main.yaml: until then no agent could run"
    if main is None and team and all(entry.problems for entry in team) and not project.used:
        return "what is marked !: nothing else is there to use"
    return ""


def _wrong(is_kept: object) -> str:
    return f": wrong{'; what you trusted of it holds on' if is_kept else ''}"


def _main_lines(project: Project, config: AIConfig, keys: Keys) -> Iterator[str]:
    before, after = project.used.main, project.found.main
    if after and after.problems:
        yield f"{_INDENT}config/main.yaml, for all agents{_wrong(before and before.layer)}"
    elif before and before is not after:
        yield f"{_INDENT}config/main.yaml, for all agents: {'changed' if after else 'gone'}"
        yield from _edit_lines(before.document(), after.document() if after else {})
    elif after:
        yield f"{_INDENT}config/main.yaml, for all agents"
        for name, value in after.document().items():
            now = getattr(config, name, None)
            changes = f" (now {_value(name, now)})" if now not in (None, value) else ""
            yield f"{_INDENT * 2}{name}: {_value(name, value)}{changes}"
    if after and after.layer:
        yield from _destination(after.layer.config, keys, config.provider)


def _edit_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What is said no more, and what is said now, line by line."""
    lines = unified_diff(dump_yaml(before).splitlines(), dump_yaml(after).splitlines(), lineterm="", n=0)
    for line in islice(lines, 2, None):
        if not line.startswith("@@"):
            yield f"{_INDENT * 2}{line[0]} {line[1:]}"


def _destination(said: AIConfig, keys: Keys, provider: str) -> Iterator[str]:
    """Where prompts go, and with which key, if that is said."""
    if said.api_base or said.api_key:
        key = "a key that the file holds" if is_literal(said.api_key) else variable_of(said.api_key)
        provider = said.provider or provider
        known = PROVIDERS.get(provider)
        key = key or next(iter(known.variables if known else ()), "no key")
        state = "" if is_literal(said.api_key) or key == "no key" else " (set)" if keys.get(key) else " (not set)"
        yield f"{_INDENT * 2}→ prompts and {key}{state} go to {said.api_base or provider}"


def _agent_lines(name: str, project: Project, keys: Keys, provider: str) -> Iterator[str]:
    before, entry = project.used.team.get(name), project.found.team.get(name)
    head = f"{_INDENT}agent {name}"
    if entry is None:
        yield f"{head}: gone"
        return
    if entry.problems:
        yield f"{head} ({entry.location}){_wrong(before and before.agent)}"
        return
    if before and before != entry:
        yield f"{head} ({entry.location}), changed"
        yield from _edit_lines(before.document(), entry.document())
    else:
        new = "as it is" if before else "in place of whisper_nb's" if name in package().team else "new"
        said = entry.document()
        about = f": {said['description']}" if said.get("description") else ""
        yield f"{head} ({entry.location}), {new}{about}"
        if not before:
            yield from _said_lines(said)
    if entry.agent:
        yield from _destination(entry.agent.config, keys, provider)


def _said_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """What an agent's file says beside what it is called."""
    for key in ("ai_config", "limits"):
        yield from (f"{_INDENT * 2}{name}: {_value(name, value)}" for name, value in document.get(key, {}).items())
    if prompt := document.get("system_prompt", ""):
        yield f"{_INDENT * 2}prompt, {len(prompt):,} characters: {prompt[:_PROMPT].strip()}{'…' * (len(prompt) > _PROMPT)}"
    if tools := document.get("tools"):
        yield f"{_INDENT * 2}tools of this notebook: {', '.join(tools)}"
