"""The rows and lines that `%agent config`, `models`, `cost` and `trust` show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import unified_diff
from itertools import islice
from typing import Any

from ...config.agents import Agent
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
#: How many characters of a new prompt are shown.
_PROMPT = 120


def config_rows(layer: Layer, keys: Keys) -> list[dict[str, str]]:
    """Return each value of a config with its source. Of an API key, only its reference is shown."""
    config = layer.config
    rows = [
        {"field": name, "value": _value(name, value), "from": layer.place(name)}
        for name, value in config.values().items()
    ]
    if config.api_key is None and config.provider in PROVIDERS and PROVIDERS[config.provider].variables:
        variables = PROVIDERS[config.provider].variables
        found = next((name for name in variables if keys.get(name)), "")
        variable = found or variables[0]
        rows.append({"field": "api_key", "value": f"os.environ/{variable}", "from": _key_source(keys, variable)})
    elif variable := variable_of(config.api_key):
        row = next(row for row in rows if row["field"] == "api_key")
        row["from"] += f"; {_key_source(keys, variable)}"
    return rows


def _key_source(keys: Keys, variable: str) -> str:
    if keys.get(variable):
        return keys.source(variable)
    return f"{variable} is not set"


def _value(name: str, value: Any) -> str:
    if value is None:
        return "nothing"
    if name == "api_key" and is_literal(value):
        return "a literal key"
    if isinstance(value, tuple):
        return ", ".join(map(repr, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value)


def limits_line(agent: Agent) -> str:
    """Return the limits of each run of an agent: `10 turns, 60 s`."""
    line = f"{agent.max_turns} turns"
    if agent.timeout_s:
        line += f", {agent.timeout_s:g} s"
    return line


def model_rows(keys: Keys, local: Mapping[str, list[str]], price: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the models that can be used now.

    Args:
        keys: where API keys are looked up.
        local: provider → the models of its server on this machine.
        price: model → its price.
    """
    found = [("offline/echo", "always available", "$0")]
    for name, provider in PROVIDERS.items():
        variable = next((one for one in provider.variables if keys.get(one)), "")
        if variable:
            model = provider.model or f"{name}/…"
            found.append((model, keys.source(variable), price.get(model, "unknown")))
        found += [(model, f"{name} on this machine", "$0") for model in local.get(name, ())]
    return [dict(zip(("model", "reached by", "price per million tokens"), row, strict=True)) for row in found]


def cost_rows(runtime: Runtime, names: Sequence[str], last: int) -> list[dict[str, str]]:
    """Return the tokens and the cost of agents, each and in total.

    Args:
        runtime: the runtime of the agents.
        names: the agents to show; empty for all, including removed ones.
        last: the number of the newest runs of each agent to show, too.

    Raises:
        ConfigError: no agent has one of the names.
    """
    spent = runtime.spent_by_agent()
    for name in names:
        if name not in spent:
            raise ConfigError(f"no agent named {name!r} has run here; {suggestion(name, spent)}")
    shown = {name: spent[name] for name in names or spent}
    if not shown:
        return []
    rows: list[dict[str, str]] = []
    for name, one in shown.items():
        session = runtime.get(name)
        if session is None:
            rows.append(_cost_row(f"{name} (removed)", _runs(one), one))
            continue
        rows.append(_cost_row(name, _runs(one), one))
        started = [run for run in session.runs if run.done or run.started_at is not None]
        rows += [_cost_row(run.id, run.status, spent_on(run)) for run in started[max(0, len(started) - last) :]]
    total = sum(shown.values(), Spent())
    return [*rows, _cost_row("total", _runs(total), total)]


def _cost_row(name: str, runs: str, spent: Spent) -> dict[str, str]:
    def tokens(count: int) -> str:
        if not spent.uncounted:
            return f"{count:,}"
        if not count:
            return "unknown"
        return f"at least {count:,}"

    usage = spent.usage
    return {
        "agent": name,
        "runs": runs,
        "tokens in": tokens(usage.input_tokens),
        "tokens out": tokens(usage.output_tokens),
        "cost": cost_line(spent),
    }


def _runs(spent: Spent) -> str:
    if spent.at_work:
        return f"{spent.runs} + {spent.at_work} running"
    return str(spent.runs)


def trust_lines(project: Project, config: AIConfig, keys: Keys, root: str) -> Iterator[str]:
    """Yield the changes that a project's files would make, and how to trust them.

    Args:
        project: the project.
        config: the current config of an agent without one of its own.
        keys: where API keys are looked up.
        root: the magic's name.
    """
    found = project.found
    if not found and not project.used:
        yield f"{project.root} has no config/main.yaml and no agents/: nothing to trust"
        return
    if project.is_always_trusted:
        yield f"{project.root} needs no trust: it is whisper_nb's own folder, or a script named it"
    elif not project.held_back:
        yield f"{project.root} is trusted as it is (%{root} trust --revoke ends that)"
    elif project.used:
        yield f"{project.root} is not trusted as it is now. Its files contain:"
    else:
        yield f"{project.root} is not trusted. Its files contain:"
    main = found.main.layer if found.main else None
    provider = layered(Layer(config), main).config.provider
    yield from _main_lines(project, config, keys)
    for name in dict.fromkeys([*found.team, *project.used.team]):
        yield from _agent_lines(name, project, keys, provider)
    yield from (f"{_INDENT}{name}: belongs to another program, ignored" for name in found.foreign)
    for problem in (*found.problems, *found.warnings):
        yield f"{_INDENT}! {problem}"
    if wrong := _to_correct(project):
        yield f"Correct {wrong}. Then run %{root} trust again"
    elif project.held_back:
        yield f"To use just this: %{root} trust {project.code}"


def _to_correct(project: Project) -> str:
    """Return what must be corrected before anything of the project can be used; empty if something can be used now."""
    main, before = project.found.main, project.used.main
    team = project.found.team.values()
    if main and main.problems and not (before and before.layer):
        return "config/main.yaml: no agent could run with it"
    if main is None and team and all(entry.problems for entry in team) and not project.used:
        return "the lines marked !: there is nothing else to use"
    return ""


def _wrong(is_kept: object) -> str:
    if is_kept:
        return ": wrong; its trusted version stays in use"
    return ": wrong"


def _main_lines(project: Project, config: AIConfig, keys: Keys) -> Iterator[str]:
    before, after = project.used.main, project.found.main
    head = f"{_INDENT}config/main.yaml, for all agents"
    if after is None:
        if before:
            yield f"{head}: gone"
            yield from _edit_lines(before.document(), {})
        return
    if after.problems:
        yield f"{head}{_wrong(before and before.layer)}"
    elif before and before.document() != after.document():
        yield f"{head}: changed"
        yield from _edit_lines(before.document(), after.document())
    else:
        yield head
        for name, value in after.document().items():
            now = getattr(config, name, None)
            changes = f" (now {_value(name, now)})" if now not in (None, value) else ""
            yield f"{_INDENT * 2}{name}: {_value(name, value)}{changes}"
    if after.layer:
        yield from _destination(after.layer.config, keys, config.provider)


def _edit_lines(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Yield the removed and the added lines of a document."""
    lines = unified_diff(dump_yaml(before).splitlines(), dump_yaml(after).splitlines(), lineterm="", n=0)
    for line in islice(lines, 2, None):
        if not line.startswith("@@"):
            yield f"{_INDENT * 2}{line[0]} {line[1:]}"


def _destination(config: AIConfig, keys: Keys, provider: str) -> Iterator[str]:
    """Yield where prompts are sent, and with which API key, if the config sets one of them."""
    if config.api_base or config.api_key:
        provider = config.provider or provider
        yield f"{_INDENT * 2}→ prompts and {_key(config, keys, provider)} go to {config.api_base or provider}"


def _key(config: AIConfig, keys: Keys, provider: str) -> str:
    if is_literal(config.api_key):
        return "a literal key in the file"
    variable = variable_of(config.api_key)
    if not variable and provider in PROVIDERS:
        variable = next(iter(PROVIDERS[provider].variables), "")
    if not variable:
        return "no key"
    if keys.get(variable):
        return f"{variable} (set)"
    return f"{variable} (not set)"


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
        kind = "new"
        if before:
            kind = "unchanged"
        elif name in package().team:
            kind = "replaces whisper_nb's"
        document = entry.document()
        about = f": {document['description']}" if document.get("description") else ""
        yield f"{head} ({entry.location}), {kind}{about}"
        if not before:
            yield from _document_lines(document)
    if entry.agent:
        yield from _destination(entry.agent.config, keys, provider)


def _document_lines(document: Mapping[str, Any]) -> Iterator[str]:
    """Yield the config, the prompt and the tools of an agent's file."""
    for key in ("ai_config", "limits"):
        yield from (f"{_INDENT * 2}{name}: {_value(name, value)}" for name, value in document.get(key, {}).items())
    if prompt := document.get("system_prompt", ""):
        more = "…" if len(prompt) > _PROMPT else ""
        yield f"{_INDENT * 2}prompt, {len(prompt):,} characters: {prompt[:_PROMPT].strip()}{more}"
    if tools := document.get("tools"):
        yield f"{_INDENT * 2}tools of this notebook: {', '.join(tools)}"
