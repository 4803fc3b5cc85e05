"""The config and the agents that the files of a project describe: parsed, checked, and merged with earlier versions."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import ConfigError, Problem
from ..core.text import short_repr
from .agentfiles import Entry, read_agents
from .aiconfig import AIConfig
from .files import AGENTS, MAIN, Files, path_below
from .keys import variables
from .layers import MODEL_VARIABLE
from .mainfile import Main, read_main
from .promptfiles import FOLDER as PROMPTS
from .promptfiles import Prompts
from .providers import rules_path

WITHOUT_MODEL = "without a model: write model beside it, so that it belongs to the provider of that model alone"


#: The most bytes of a `.env` file: as many as are parsed within a second.
MAX_ENV_BYTES = 64 * 1024


class ProjectConfig(Struct, frozen=True):
    """The config and the agents that files describe."""

    files: Files
    main: Main | None = None
    team: Mapping[str, Entry] = {}
    foreign: tuple[str, ...] = ()
    """Files that belong to another program."""

    def __bool__(self) -> bool:
        return self.main is not None or bool(self.team)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """The problems of all files."""
        return tuple(problem for part in self._parts for problem in part.problems)

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """The warnings of all files: values that work or are ignored, but that the user should know of."""
        return tuple(warning for part in self._parts for warning in part.warnings)

    @property
    def _parts(self) -> tuple[Main | Entry, ...]:
        if self.main is None:
            return tuple(self.team.values())
        return (self.main, *self.team.values())

    @property
    def settings(self) -> Mapping[str, Any]:
        """The settings of `config/main.yaml` beside the config."""
        if self.main is None:
            return {}
        return self.main.settings

    @property
    def env_file(self) -> str:
        """The `.env` file that `config/main.yaml` names; empty for none."""
        return str(self.settings.get("env_file", ""))

    @property
    def model(self) -> str | None:
        """The model that `config/main.yaml` sets for all agents."""
        return self.main.layer.config.model if self.main and self.main.layer else None

    def env(self) -> tuple[str, str]:
        """Return the text of the `.env` file and its name; both empty for none.

        Raises:
            ConfigError: the file cannot be read.
        """
        name = self.env_file
        if not name:
            return "", ""
        if name not in self.files.data:
            raise ConfigError(f"env_file {name}: it {self.files.refused.get(name, 'is not there')}")
        if len(self.files.data[name]) > MAX_ENV_BYTES:
            raise ConfigError(f"env_file {name}: it has more than {MAX_ENV_BYTES:,} bytes, which is the limit")
        return self.files.data[name].decode("utf-8", "replace"), name

    @property
    def env_model(self) -> str:
        """The model that the `.env` file selects, unless the environment selects another; empty for none."""
        with suppress(ConfigError):  # it is reported where the file is used
            return _model_in(self.env()[0])
        return ""

    def rules(self, path: str) -> bytes | None:
        """Return the rules of `offline/script:PATH`; None if the project has no file of that path."""
        return self.files.data.get(path_below(self.files.root, path))

    @property
    def named(self) -> tuple[str, ...]:
        """The paths of files that the config and the agents name: the `.env` file, and rules of `offline/script`."""
        models = [entry.agent.config.model for entry in self.team.values() if entry.agent]
        if self.main and self.main.layer:
            models.append(self.main.layer.config.model)
        models.append(self.env_model)
        paths = [self.env_file, *(path_below(self.files.root, rules_path(model)) for model in models if model)]
        return tuple(dict.fromkeys(path for path in paths if path and path != "."))


@functools.lru_cache(maxsize=8)  # a large file takes a second, and each look at a project asks
def _model_in(text: str) -> str:
    """Return the model that the text of a `.env` file selects; empty for none. Raises as `variables` does."""
    key = variables(text, "").get(MODEL_VARIABLE)
    return key.reveal() if key else ""


def parse_project(files: Files, *below: Files) -> ProjectConfig:
    """Parse the files of a project. Prompts that it does not have are looked up in the files `below`."""
    prompts = Prompts(files, *below)
    foreign: list[str] = []
    team: dict[str, Entry] = {}
    main: Main | None = None
    for path, reason in files.refused.items():
        problem = Problem((), f"it {reason}", files.name(path))
        if path == MAIN:
            main = Main(problems=(problem,))
        elif not path.startswith(f"{PROMPTS}/"):
            stem = path.rpartition("/")[2].rpartition(".")[0]
            team[stem] = Entry(stem, files.name(path), None, problems=(problem,))
    for path, data in files.data.items():
        name = files.name(path)
        if path == MAIN:
            main = read_main(data, name)
            if main is None:
                foreign.append(name)
        elif path.startswith(f"{AGENTS}/") and not path.startswith(f"{PROMPTS}/"):
            entries = read_agents(data, path, name, prompts)
            if entries is None and not path.endswith(".md"):
                foreign.append(name)
            for entry in (entries or {}).values():
                first = team.setdefault(entry.name, entry)
                if first is not entry:
                    team[entry.name] = _conflicting(first, entry)
    return ProjectConfig(files, main, team, tuple(foreign))


def _conflicting(first: Entry, second: Entry) -> Entry:
    text = f"the agent {second.name} is described here and in {first.location}: remove one"
    return replace(first, agent=None, problems=(*first.problems, Problem((), text, second.location)))


def edited(before: ProjectConfig, found: ProjectConfig) -> ProjectConfig:
    """Return files as they were found, but with the earlier config and agents in place of those with problems."""
    main, files = found.main, found.files
    if main and main.problems and before.main and not before.main.problems:
        main = before.main
        if before.env_file in before.files.data:  # the earlier config needs its .env file
            kept = {before.env_file: before.files.data[before.env_file]}
            files = dataclasses.replace(files, data={**files.data, **kept})
    team = dict(found.team)
    for name, entry in found.team.items():
        earlier = before.team.get(name)
        if earlier is not None and not earlier.problems and entry.problems:
            team[name] = earlier
    # A file that cannot be parsed may describe any agent that it described earlier.
    wrong = {entry.file for entry in found.team.values() if entry.problems}
    for name, earlier in before.team.items():
        if earlier.file in wrong:
            team.setdefault(name, earlier)
    used = replace(found, files=files, main=main, team=team)
    # Earlier parts need their files of rules.
    rules = {path: before.files.data[path] for path in used.named if path in before.files.data}
    return checked(replace(used, files=dataclasses.replace(files, data={**rules, **files.data})))


def checked(config: ProjectConfig) -> ProjectConfig:
    """Return the config, with problems for rules that cannot be read, and for a key or an address without a provider.

    Without a model beside it, or in `config/main.yaml`, an address would get the keys of all providers, one by one.
    """
    main, team = config.main, dict(config.team)
    shared = None
    if main and (layer := main.layer):
        shared = layer.config.model
        problems = (
            *_rules_problem(config, config.env_model, config.env_file),
            *_problems_of(config, layer.config, None, layer.sources, f"{MAIN}:1"),
        )
        if problems:
            shared, main = None, replace(main, layer=None, problems=(*main.problems, *problems))
    for name, entry in config.team.items():
        if entry.agent is None:
            continue
        if problems := _problems_of(config, entry.agent.config, shared, entry.sources, entry.location):
            team[name] = replace(entry, agent=None, problems=(*entry.problems, *problems))
    return replace(config, main=main, team=team)


def _problems_of(
    config: ProjectConfig, own: AIConfig, shared: str | None, sources: Mapping[str, str], location: str
) -> tuple[Problem, ...]:
    """Return what is wrong with a config in the files, given the model that all agents share."""
    problems = [*_rules_problem(config, own.model, sources.get("model", location))]
    if field := unbound(own, shared):
        problems.append(Problem((field,), f"{field} {WITHOUT_MODEL}", sources.get(field, location)))
    return tuple(problems)


def unbound(own: AIConfig, shared: str | None) -> str:
    """Return the field with an address or a key that belongs to no provider, or an empty text.

    Args:
        own: the config of an agent, or of all agents.
        shared: the model in `config/main.yaml` that the agent has without one of its own.
    """
    if own.model is not None or (shared is not None and "model" not in own.cleared):
        return ""
    return next((field for field in ("api_base", "api_key") if getattr(own, field) is not None), "")


def _rules_problem(config: ProjectConfig, model: str | None, location: str) -> Iterator[Problem]:
    """Yield the problem with the file of rules that a model names, if it cannot be used."""
    rules = rules_path(model)
    if not rules or config.rules(rules) is not None:
        return
    path = path_below(config.files.root, rules)
    reason = config.files.refused.get(path, "is not there")
    if not path:
        reason = "is outside of the project"
    yield Problem(("model",), f"model {short_repr(model)}: the file {reason}", location)
