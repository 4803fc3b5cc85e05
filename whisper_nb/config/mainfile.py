"""`config/main.yaml`: the config of all agents, and the limits of the team. AIWhisperer's file of that name is understood."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import ConfigError, Problem
from ..core.text import short_repr, suggestion
from .aiconfig import CONFIG_FIELDS, from_values, plain
from .formats import ALIASES, is_section, read_config
from .kinds import Kind, Number, Text, problem_with
from .layers import Layer
from .yamlfile import parse_yaml

#: Setting → what it may be.
SETTINGS: Mapping[str, Kind] = {
    "max_concurrent_calls": Number(1, whole=True),
    "max_queued_runs": Number(1, whole=True),
    "loop": Text(pattern="notebook|thread", allowed="notebook or thread"),
    "env_file": Text(allowed="the path of a file in the project", pattern=r"[^/\\~].*"),
}
#: What AIWhisperer calls them, under `async_agents`.
_ASYNC_AGENTS = {"max_concurrent_agents": "max_concurrent_calls", "max_tasks_per_agent": "max_queued_runs"}
#: Keys of AIWhisperer's that mean nothing here.
_DEAD = frozenset({"prompts", "workspace_ignore_patterns", "use_refactored_async_agents", "output_dir"})
_DEAD_ASYNC = frozenset({"default_check_mail_interval", "enabled"})
#: Nobody else's words: with one of these the file is meant for us, whatever stands beside it.
_TELLING = {"api_key", "max_reasoning_tokens", "max_tokens", "temperature", "token_timeout_s", "top_p", *SETTINGS} - {
    "env_file",
    "loop",
}
_KNOWN = (*CONFIG_FIELDS, *ALIASES, "provider", "generation_params", *SETTINGS, "async_agents", *_DEAD)


class Main(Struct, frozen=True):
    """What the file says."""

    layer: Layer | None = None
    """None where there are problems."""
    settings: Mapping[str, Any] = {}
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def document(self) -> dict[str, Any]:
        """What the file says, in its one form; a key that was written out is left out. Empty where it is wrong."""
        return (plain(self.layer.config) if self.layer else {}) | dict(self.settings)


def read_main(data: bytes, name: str) -> Main | None:
    """Read the file; None where it is plainly somebody else's.

    Args:
        data: its content.
        name: the file in messages.
    """
    try:
        document = parse_yaml(data, name)
    except ConfigError as error:
        return Main(problems=error.problems)
    source = {} if document.data is None else document.data
    if not isinstance(source, dict) or not _is_ours(source):
        return None
    problems: list[Problem] = []
    warnings: list[Problem] = []
    dead = sorted(_DEAD & set(source))
    settings = {key: (key, value) for key, value in source.items() if key in SETTINGS and value is not None}
    team = source.get("async_agents")
    if isinstance(team, dict):
        dead += [f"async_agents.{key}" for key in team if key in _DEAD_ASYNC]
        for key, value in team.items():
            if key in _ASYNC_AGENTS and value is not None:
                settings.setdefault(_ASYNC_AGENTS[key], (key, value))
            elif key not in _DEAD_ASYNC:
                problems.append(
                    Problem(("async_agents", key), f"unknown key {key!r}; {suggestion(key, _ASYNC_AGENTS)}")
                )
    elif team is not None:
        problems.append(Problem(("async_agents",), f"async_agents {short_repr(team)} is not a mapping"))
    for setting, (key, value) in settings.items():
        if problem := problem_with(SETTINGS[setting], key, value):
            at = (key,) if key in source else ("async_agents", key)
            problems.append(Problem(at, problem))
    config = {key: value for key, value in source.items() if key not in {*SETTINGS, *_DEAD, "async_agents"}}
    reading = read_config(config, CONFIG_FIELDS)
    dead += reading.dead
    if dead:
        warnings.append(
            Problem((dead[0].partition(".")[0],), f"left out, for it has no meaning here: {', '.join(dead)}")
        )
    problems += reading.problems
    warnings += reading.warnings
    places = {field_: document.place(at) for field_, at in reading.paths.items()}
    return Main(
        None if problems else Layer(from_values(reading.values), name, places),
        {} if problems else {setting: value for setting, (_, value) in settings.items()},
        tuple(replace(one, place=document.place(one.path)) for one in problems),
        tuple(replace(one, place=document.place(one.path)) for one in warnings),
    )


def _is_ours(source: Mapping[str, Any]) -> bool:
    """Not where another program's file happens to have this name and a key or two of ours."""
    unknown = [key for key in source if key not in _KNOWN and not is_section(key, source[key])]
    if not unknown or any(
        key in ("async_agents", "generation_params") or is_section(key, source[key]) for key in source
    ):
        return True
    if _TELLING & set(source):
        return True
    mistyped = all(suggestion(key, _KNOWN).startswith("did you mean") for key in unknown)
    return mistyped or (isinstance(source.get("model"), str) and "/" in source["model"])
