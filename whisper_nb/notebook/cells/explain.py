"""The rows and lines that `%agent config`, `models` and `cost` show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from ...config.agents import LIMITS, Agent
from ...config.aiconfig import AIConfig, own_address
from ...config.keys import Keys, is_literal, variable_of
from ...config.layers import Layer
from ...config.providers import PROVIDERS, public
from ...core.costs import dollars
from ...core.errors import ConfigError
from ...core.messages import Spent
from ...core.text import suggestion
from ...engine.fitting import recalled
from ...models.output_modes import choose
from ...models.prices import entry
from ...models.transcript import Transcript
from ...team.runtimes import Runtime
from ...team.spending import Group
from .costs import about, cost_line


def config_rows(layer: Layer, keys: Keys) -> list[dict[str, str]]:
    """Return each value of a config with its source. Of an API key, only its reference is shown."""
    config = layer.config
    rows = [
        {"field": name, "value": value_text(name, value), "from": layer.place(name)}
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
    address, variable = own_address(config, keys)
    if variable:
        rows.insert(1, {"field": "api_base", "value": public(address), "from": f"env {variable}"})
    return rows


def mode_rows(config: AIConfig, model: object, keys: Keys, *, tools: bool) -> list[dict[str, str]]:
    """Return the output mode of a model, with what decides it, as a row; no row where the config sets it.

    Reads the price list, which takes some milliseconds.

    Args:
        config: with its model.
        model: of one's own, if one is registered under that name.
        keys: where addresses are looked up.
        tools: whether the agent has tools.
    """
    if config.output_mode:
        return []
    chosen = choose(config, entry(config.model or ""), model, own_address(config, keys)[0], tools=tools)
    return [{"field": "output_mode", "value": chosen.mode, "from": f"default: {chosen.source}"}]


def _key_source(keys: Keys, variable: str) -> str:
    if keys.get(variable):
        return keys.source(variable)
    return f"{variable} is not set"


def value_text(name: str, value: Any) -> str:
    """Return a value of a config as text."""
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
    """Return the limits of each run of an agent: `10 turns, 60 s, 50,000 tokens a prompt`."""
    line = f"{agent.max_turns} turns"
    if agent.max_total_tokens:
        line += f", {agent.max_total_tokens:,} tokens"
    if agent.max_cost_usd:
        line += f", {dollars(agent.max_cost_usd)}"
    if agent.timeout_s:
        line += f", {agent.timeout_s:g} s"
    if agent.max_prompt_tokens:
        line += f", {agent.max_prompt_tokens:,} tokens a prompt"
    if agent.continuation is not None:
        line += f", goes on by itself {agent.continuation}"
    return line


def agent_rows(agent: Agent) -> list[dict[str, str]]:
    """Return the memory, the continuation and the limits of an agent, as rows of its config."""
    return [
        {"field": name, "value": value_text(name, value), "from": f"agent {agent.name}"}
        for name in ("memory", "continuation", *LIMITS)
        if (value := getattr(agent, name)) is not None
    ]


def history_line(history: Transcript) -> str:
    """Return the size of a history: `24 messages, ~1.2k tokens`."""
    return f"{len(history)} messages, {about(history.estimate)} tokens"


def memory_line(agent: Agent, history: Transcript) -> str:
    """Return an agent's memory, and how much of the history it is: `last:2 (4 of 24 messages, ~200 tokens)`."""
    part = recalled(history, agent, fresh=False)
    if len(part) == len(history):
        return str(agent.memory)
    return f"{agent.memory} ({len(part)} of {len(history)} messages, {about(part.estimate)} tokens)"


def agent_configs(runtime: Runtime) -> list[AIConfig]:
    """Return the configs of all agents that can run."""
    configs: list[AIConfig] = []
    for session in runtime.sessions:
        with suppress(ConfigError):  # it is told where the agent runs
            configs.append(session.config)
    return configs


def model_rows(
    keys: Keys, local: Mapping[str, list[str]], price: Mapping[str, str], own: Mapping[str, list[str]]
) -> list[dict[str, str]]:
    """Return the models that can be used now.

    Args:
        keys: where API keys are looked up.
        local: provider → the models of its server on this machine.
        price: model → its price.
        own: an agent's `api_base` → the models of its server.
    """
    found = [("offline/echo", "always available", "$0")]
    for name, provider in PROVIDERS.items():
        variable = next((one for one in provider.variables if keys.get(one)), "")
        address, set_by = own_address(AIConfig(model=f"{name}/-"), keys)
        reached = [keys.source(variable)] if variable else []
        server = f"{name} on this machine"
        if set_by:
            reached.append(f"{public(address)} (env {set_by})")
            if not provider.address:
                server = f"{name} at {public(address)}"
        if variable or (set_by and name in local):
            model = f"{name}/…" if set_by else provider.model or f"{name}/…"
            found.append((model, ", at ".join(reached), price.get(model, "unknown")))
        cost = "$0" if provider.address else "unknown"
        found += [(model, server, cost) for model in local.get(name, ())]
    for base, models in own.items():
        found += [(model, f"{public(base)} (api_base)", "unknown") for model in models]
    return [dict(zip(("model", "reached by", "price per million tokens"), row, strict=True)) for row in found]


def cost_tables(runtime: Runtime, names: Sequence[str], last: int, group: Group | None) -> list[list[dict[str, str]]]:
    """Return the tokens and the cost, each and in total, as the rows of one or more tables.

    Args:
        runtime: the runtime of the agents.
        names: the agents that count; empty for all, including removed ones.
        last: the number of the newest runs of each agent to show, too.
        group: what the one table is about. None: agents; and then models and days, where there are several.

    Raises:
        ConfigError: no agent has one of the names.
    """
    agents = _cost_rows(runtime, names, last)
    if group == "agent" or not agents:
        return [agents]
    tables: list[list[dict[str, str]]] = []
    for one in (group,) if group else ("model", "day"):
        spent = runtime.spent_by(one, names or None)
        rows = [_cost_row(name, _runs(part), part, one) for name, part in spent.items()]
        if group or len(rows) > 1:
            total = sum(spent.values(), Spent())
            tables.append([*rows, _cost_row("total", _runs(total), total, one)] if rows else [])
    return tables if group else [agents, *tables]


def _cost_rows(runtime: Runtime, names: Sequence[str], last: int) -> list[dict[str, str]]:
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
        rows += [_cost_row(run.id, run.status, run.spent) for run in started[max(0, len(started) - last) :]]
    total = sum(shown.values(), Spent())
    return [*rows, _cost_row("total", _runs(total), total)]


def _cost_row(name: str, runs: str, spent: Spent, group: Group = "agent") -> dict[str, str]:
    def tokens(count: int) -> str:
        if not spent.uncounted:
            return f"{count:,}"
        if not count:
            return "unknown"
        return f"at least {count:,}"

    usage = spent.usage
    return {
        group: name,
        "runs": runs,
        "tokens in": tokens(usage.input_tokens),
        "tokens out": tokens(usage.output_tokens),
        "cost": cost_line(spent),
    }


def _runs(spent: Spent) -> str:
    if spent.at_work:
        return f"{spent.runs} + {spent.at_work} running"
    return str(spent.runs)
