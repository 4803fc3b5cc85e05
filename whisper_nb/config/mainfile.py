"""`config/main.yaml`: the config of all agents, and settings. AIWhisperer's file of that name is accepted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import ConfigError, KeyPath, Problem
from ..core.text import short_repr, suggestion
from .aiconfig import CONFIG_FIELDS, from_values, ignored_text, plain
from .formats import ALIASES, is_section, read_config
from .kinds import Flag, Kind, Number, Text, problem_with
from .layers import Layer
from .yamlfile import Document, parse_yaml

#: Setting → its kind.
SETTINGS: Mapping[str, Kind] = {
    "max_concurrent_calls": Number(1, whole=True),
    "max_queued_runs": Number(1, whole=True),
    "loop": Text(pattern="notebook|thread", allowed="notebook or thread"),
    "budget_usd": Number(0, 1_000_000, unit="US dollars"),
    "allow_unpriced": Flag(),
    "env_file": Text(allowed="the path of a file in the project", pattern=r"[^/\\~].*"),
}
#: AIWhisperer's names of settings, under `async_agents` → the setting.
_ASYNC_AGENTS = {"max_concurrent_agents": "max_concurrent_calls", "max_tasks_per_agent": "max_queued_runs"}
#: Keys of AIWhisperer that whisper_nb ignores.
_IGNORED_SETTINGS = frozenset({"prompts", "workspace_ignore_patterns", "use_refactored_async_agents", "output_dir"})
_IGNORED_ASYNC = frozenset({"default_check_mail_interval", "enabled"})
#: A key of agents' files that is easily written here, too.
_OF_AGENTS = "ai_config"
#: Keys that no other program uses: a file with one of them is meant for whisper_nb.
_OWN_SETTINGS = {
    "api_key", "budget_usd", "max_concurrent_calls", "max_queued_runs", "max_reasoning_tokens", "max_tokens",
    "requests_per_minute", "temperature", "token_timeout_s", "tokens_per_minute", "top_p",
}  # fmt: skip
_KNOWN_SETTINGS = (
    *CONFIG_FIELDS,
    *ALIASES,
    "provider",
    "generation_params",
    *SETTINGS,
    "async_agents",
    *_IGNORED_SETTINGS,
)


class Main(Struct, frozen=True):
    """The content of the file."""

    layer: Layer | None = None
    """The config for all agents; None if there are problems."""
    settings: Mapping[str, Any] = {}
    problems: tuple[Problem, ...] = ()
    warnings: tuple[Problem, ...] = ()

    def document(self) -> dict[str, Any]:
        """Return the content as data for a file, without a literal key; empty if there are problems."""
        if self.layer is None:
            return dict(self.settings)
        return plain(self.layer.config) | dict(self.settings)


def read_main(data: bytes, name: str) -> Main | None:
    """Parse the file; return None if it belongs to another program.

    Args:
        data: the content.
        name: the file, for messages.
    """
    try:
        document = parse_yaml(data, name)
    except ConfigError as error:
        return Main(problems=error.problems)
    source: Any = {}
    if document.data is not None:
        source = document.data
    if not isinstance(source, dict) or not _is_own(source):
        return None
    settings, problems, ignored = _read_settings(source)
    others = {*SETTINGS, *_IGNORED_SETTINGS, "async_agents", _OF_AGENTS}
    config = {key: value for key, value in source.items() if key not in others}
    parsed = read_config(config, CONFIG_FIELDS)
    problems += parsed.problems
    ignored += parsed.ignored
    warnings = list(parsed.warnings)
    if ignored:
        warnings.insert(0, Problem((ignored[0].partition(".")[0],), ignored_text(ignored)))
    located = _located(document, warnings)
    if problems:
        return Main(problems=_located(document, problems), warnings=located)
    sources = {field_: document.location(path) for field_, path in parsed.paths.items()}
    return Main(Layer(from_values(parsed.values), name, sources), settings, warnings=located)


def _read_settings(source: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem], list[str]]:
    """Return the settings, the problems with them, and the keys that are ignored."""
    given: dict[str, tuple[KeyPath, Any]] = {key: ((key,), source[key]) for key in SETTINGS if key in source}
    problems: list[Problem] = []
    ignored = sorted(_IGNORED_SETTINGS & set(source))
    team = source.get("async_agents")
    if not isinstance(team, dict | None):
        problems.append(Problem(("async_agents",), f"async_agents {short_repr(team)} is not a mapping"))
        team = None
    for key, value in (team or {}).items():
        path: KeyPath = ("async_agents", key)
        if key in _IGNORED_ASYNC:
            ignored.append(f"async_agents.{key}")
        elif key not in _ASYNC_AGENTS:
            problems.append(Problem(path, f"unknown key {key!r}; {suggestion(key, _ASYNC_AGENTS)}"))
        elif given.get(_ASYNC_AGENTS[key], ((), None))[1] is None:
            given[_ASYNC_AGENTS[key]] = (path, value)
    if _OF_AGENTS in source:
        text = f"unknown key {_OF_AGENTS!r}: it belongs in an agent's file; write its fields here at the top level"
        problems.append(Problem((_OF_AGENTS,), text))
    settings: dict[str, Any] = {}
    for setting, (at, value) in given.items():
        if value is None:
            continue
        if text := problem_with(SETTINGS[setting], str(at[-1]), value):
            problems.append(Problem(at, text))
        settings[setting] = value
    return settings, problems, ignored


def _located(document: Document, problems: list[Problem]) -> tuple[Problem, ...]:
    return tuple(replace(problem, location=document.location(problem.path)) for problem in problems)


def _is_own(source: Mapping[str, Any]) -> bool:
    """Whether the file is meant for whisper_nb: another program's may have the same name, and some of the same keys."""
    unknown = [key for key in source if key not in _KNOWN_SETTINGS and not is_section(key, source[key])]
    if not unknown or _OWN_SETTINGS & set(source):
        return True
    if any(key in (_OF_AGENTS, "async_agents", "generation_params") or is_section(key, source[key]) for key in source):
        return True
    if all(suggestion(key, _KNOWN_SETTINGS).startswith("did you mean") for key in unknown):  # typing errors
        return True
    return isinstance(source.get("model"), str) and "/" in source["model"]
