"""The project: what a folder's `config/` and `agents/` say, read once, used only while the user trusts it.

The user's notebook may lie in somebody else's repository. So nothing that a file says is used before its user has seen
and trusted just these bytes; and whoever edits a file keeps what was in force until the new bytes are trusted and right.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import ConfigError, Problem, sealed
from .agentfiles import Entry, read_agents
from .files import AGENTS, MAIN, Files, Signature, read_files, signature, with_files
from .layers import Layer
from .mainfile import Main, read_main
from .paths import packaged
from .promptfiles import FOLDER as PROMPTS
from .promptfiles import Prompts
from .trust import TrustFile

#: How much of a digest a person gives to trust it.
CODE_LENGTH = 8


class ProjectConfig(Struct, frozen=True):
    """What files say, read."""

    files: Files
    main: Main | None = None
    team: Mapping[str, Entry] = {}
    foreign: tuple[str, ...] = ()
    """Files that are plainly somebody else's."""

    def __bool__(self) -> bool:
        return self.main is not None or bool(self.team)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything that is wrong."""
        return (
            *(self.main.problems if self.main else ()),
            *(one for each in self.team.values() for one in each.problems),
        )

    @property
    def warnings(self) -> tuple[Problem, ...]:
        """Everything that works, or is left out, and should be known."""
        return (
            *(self.main.warnings if self.main else ()),
            *(one for each in self.team.values() for one in each.warnings),
        )

    @property
    def settings(self) -> Mapping[str, Any]:
        """What `config/main.yaml` sets beside the config."""
        return self.main.settings if self.main else {}

    @property
    def env_file(self) -> str:
        """The file of keys that is named; empty for none."""
        return str(self.settings.get("env_file", ""))


def parse_project(files: Files, *below: Files) -> ProjectConfig:
    """Read what files say; prompts and fragments that they have not got are looked for in those below."""
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
            foreign += [name] if main is None else []
        elif path.startswith("agents/") and not path.startswith(f"{PROMPTS}/"):
            entries = read_agents(data, path, name, prompts)
            foreign += [name] if entries is None and not path.endswith(".md") else []
            for entry in (entries or {}).values():
                team[entry.name] = entry if entry.name not in team else _twice(entry, team[entry.name])
    return ProjectConfig(files, main, team, tuple(foreign))


def _twice(entry: Entry, first: Entry) -> Entry:
    problem = Problem((), f"the agent {entry.name} is described here and in {first.place}", entry.place)
    return replace(first, agent=None, problems=(*first.problems, problem))


@functools.cache
def package_files() -> Files:
    """Return the files that come with whisper_nb, unparsed."""
    return read_files(packaged(), label="whisper_nb's")


@functools.cache
def package() -> ProjectConfig:
    """Return the defaults and the agents that come with whisper_nb."""
    return parse_project(package_files())


@functools.cache
def defaults() -> Layer:
    """What holds where nobody says anything.

    Raises:
        ConfigError: the file is not where the package has it, so that calls would have no time limit.
    """
    files = package_files()  # without parsing the agents beside it, which would delay `%load_ext`
    main = read_main(files.data[MAIN], files.name(MAIN)) if MAIN in files.data else None
    if main is None or main.layer is None:
        raise ConfigError(f"{packaged()} has no {MAIN} that can be read: install whisper_nb again")
    return Layer(main.layer.config, "default")


class Project:
    """A folder, what it says, and what of that is in force.

    Args:
        root: the folder.
        trust: where the user's trust is kept; None trusts the folder as it is and as it changes, for a script that
            names its own.
    """

    def __init__(self, root: Path, trust: TrustFile | None = None) -> None:
        self.root = root
        self._trust = trust
        self._seen: Signature | None = None
        self._env_file = ""
        self.found = ProjectConfig(Files(root))
        """What the folder says now."""
        self.used = self.found
        """What is in force of it."""
        self._news: list[str] = []

    @property
    def held_back(self) -> bool:
        """Whether the folder says something else than what is in force, because the user does not trust it yet."""
        return bool(self.found or self.used) and not self._trusts(self.found.files)

    @property
    def code(self) -> str:
        """What a person says to trust just what the folder says now."""
        return self.found.files.digest[:CODE_LENGTH]

    def refresh(self) -> None:
        """Look whether files have changed, and take up what is trusted and right."""
        seen = self._signature()
        if seen == self._seen:
            return
        self._seen = seen
        self.found = self._read()
        if self._env_file != self.found.env_file:  # its own changes count from now on
            self._env_file = self.found.env_file
            self._seen = self._signature()
        self._take_up()

    def trust(self, code: str) -> None:
        """Trust what the folder says now, and put it in force.

        Args:
            code: the beginning of its digest, as it was shown: what has changed since is not trusted.

        Raises:
            ConfigError: the code is another's, or trust cannot be kept.
        """
        self.refresh()
        digest = self.found.files.digest
        if len(code) < CODE_LENGTH or not digest.startswith(code.lower()):
            raise ConfigError(
                f"{code!r} is not the code of what {self.root} says now: look at it (%agent trust), and give the code shown there"
            )
        self._news.clear()  # of what was held back
        self._record(digest)

    def distrust(self) -> None:
        """Take nothing of the folder any more, from the next run on."""
        self._record("")

    def news(self) -> list[str]:
        """What people should be told since they were told last: a line each."""
        news, self._news = self._news, []
        return news

    def tell(self, line: str) -> None:
        """Have people told."""
        self._news.append(line)

    def env(self) -> tuple[str, str]:
        """The text of the file of keys that is in force, and its name; both empty for none.

        Raises:
            ConfigError: it is named and cannot be read.
        """
        name, files = self.used.env_file, self.used.files
        if not name:
            return "", ""
        if name not in files.data:
            raise ConfigError(f"env_file {name}: it {files.refused.get(name, 'is not there')}")
        return files.data[name].decode("utf-8", "replace"), name

    @sealed
    def save(self, name: str, text: str, overwrite: bool) -> Path:
        """Write a file into `agents/`. What was trusted before is so with this file; what was held back stays so.

        Raises:
            ConfigError: another file is there and `overwrite` is not said; or it cannot be written.
        """
        self.refresh()
        before = self.found.files.data
        trusted = self._trust is not None and not self.held_back
        path = self.root / AGENTS / name
        if os.path.realpath(path.parent) != os.path.join(os.path.realpath(self.root), AGENTS):
            raise ConfigError(f"{AGENTS}/ of {self.root} is a link to another folder: nothing is written through it")
        described = self.found.team.get(path.stem)
        if described and described.file != f"{AGENTS}/{name}":
            raise ConfigError(f"{path.stem} is described by {described.file} already: change it there")
        there = before.get(f"{AGENTS}/{name}")
        if not overwrite and (path.exists() or path.is_symlink()) and there != text.encode():
            raise ConfigError(
                f"{path} is there already, and says something else: save with overwrite (--force) to replace it"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # and not through a link
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        self._seen, self.found = self._signature(), self._read()
        if trusted and self.found.files.data == {**before, f"{AGENTS}/{name}": text.encode()}:
            self._record(self.found.files.digest)
        else:
            self._take_up()
        return path

    def _record(self, digest: str) -> None:
        if self._trust is not None:
            self._trust.record(self.root, digest)
        if not digest:
            self.used = ProjectConfig(Files(self.root))
        self._take_up()

    def _signature(self) -> Signature:
        return signature(self.root, (self._env_file,) if self._env_file else ())

    def _read(self) -> ProjectConfig:
        said = parse_project(read_files(self.root), package_files())
        return replace(said, files=with_files(said.files, said.env_file)) if said.env_file else said

    def _trusts(self, files: Files) -> bool:
        return self._trust is None or self._trust.digest(self.root) == files.digest

    def _take_up(self) -> None:
        self._news += [f"{name} is another program's: left alone" for name in self.found.foreign]
        if self.held_back:
            self._news.append(self._held())
            return
        self.used = self._without_bad_edits(self.used)
        self._news += [str(one) for one in self.found.warnings]

    def _held(self) -> str:
        if self.used:
            return f"files of {self.root.name}/ have changed: what you trusted holds on; %agent trust shows what is new"
        parts = ["config/main.yaml"] if self.found.main else []
        parts += [f"{len(self.found.team)} agent{'s' * (len(self.found.team) != 1)}"] if self.found.team else []
        return f"held back until %agent trust: {' and '.join(parts)} of {self.root.name}/"

    def _without_bad_edits(self, before: ProjectConfig) -> ProjectConfig:
        """What was found, but the config and the agents as they were where they have become wrong."""
        files, main, team = self.found.files, self.found.main, dict(self.found.team)
        if main and main.problems:
            keeps = before.main is not None and not before.main.problems
            self._news += [f"{one}{' (the config stays as it was)' if keeps else ''}" for one in main.problems]
            main = before.main if keeps else main
            if keeps and before.env_file in before.files.data:  # its file of keys stays too
                kept = {before.env_file: before.files.data[before.env_file]}
                files = dataclasses.replace(files, data={**files.data, **kept})
        for name, entry in team.items():
            old = before.team.get(name)
            keeps = old is not None and not old.problems
            self._news += [f"{one}{f' ({name} stays as it was)' if keeps else ''}" for one in entry.problems]
            if entry.problems and old is not None and keeps:
                team[name] = old
        wrong = {entry.file for entry in self.found.team.values() if entry.problems}
        # Of a file that cannot be read at all, nobody knows whom it describes now.
        team |= {name: old for name, old in before.team.items() if name not in team and old.file in wrong}
        return replace(self.found, files=files, main=main, team=team)
