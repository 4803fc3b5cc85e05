"""The project: the `config/` and `agents/` of a folder, in force only while the user trusts them.

A notebook may lie in someone else's repository. So no file is used before the user has reviewed and trusted its exact
bytes. After an edit, the earlier version stays in force until the new bytes are trusted and have no problems.
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

#: The length of the code, the start of a digest, by which a user trusts it.
CODE_LENGTH = 8


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


@functools.cache
def package_files() -> Files:
    """Return the files that come with whisper_nb, unparsed."""
    return read_files(packaged(), label="whisper_nb's")


@functools.cache
def package() -> ProjectConfig:
    """Return the defaults and the agents that are part of whisper_nb."""
    return parse_project(package_files())


@functools.cache
def defaults() -> Layer:
    """Return the lowest layer of config.

    Raises:
        ConfigError: the package's own file is missing. Without it, calls would have no timeout.
    """
    files = package_files()  # without parsing the agents beside it, which would delay `%load_ext`
    main = read_main(files.data[MAIN], files.name(MAIN)) if MAIN in files.data else None
    if main is None or main.layer is None:
        raise ConfigError(f"{packaged()} has no valid {MAIN}: install whisper_nb again")
    return Layer(main.layer.config, "default")


class Project:
    """A folder with its files, and the version of them that is in force.

    Args:
        root: the folder.
        trust: the user's trust; None trusts the folder always, for a script that names its own.
    """

    def __init__(self, root: Path, trust: TrustFile | None = None) -> None:
        self.root = root
        self._trust = trust
        self._seen: Signature | None = None
        self._env_file = ""
        self.found = ProjectConfig(Files(root))
        """The files as they are now."""
        self.used = self.found
        """The version that is in force."""
        self._news: list[str] = []

    @property
    def held_back(self) -> bool:
        """Whether the files are not in force because the user does not trust them."""
        return bool(self.found or self.used) and not self._trusts(self.found.files)

    @property
    def is_always_trusted(self) -> bool:
        """Whether the files need no trust: whisper_nb's own folder, and one that a script names."""
        return self._trust is None

    @property
    def code(self) -> str:
        """The code by which the user trusts the files as they are now."""
        return self.found.files.digest[:CODE_LENGTH]

    def refresh(self) -> None:
        """Read the files if they have changed, and put them in force if they are trusted and have no problems."""
        seen = self._signature()
        if seen == self._seen:
            return
        self._seen = seen
        self.found = self._read()
        if self._env_file != self.found.env_file:  # the signature covers it from now on
            self._env_file = self.found.env_file
            self._seen = self._signature()
        self._put_in_force()

    def trust(self, code: str) -> None:
        """Trust the files as they are now, and put them in force.

        Args:
            code: the code of the files that the user has reviewed. Files that have changed since are not trusted.

        Raises:
            ConfigError: the code is not that of the files, or the trust cannot be written.
        """
        self.refresh()
        digest = self.found.files.digest
        if len(code) < CODE_LENGTH or not digest.startswith(code.lower()):
            raise ConfigError(
                f"{code!r} is not the code of the files in {self.root}: "
                "review them with %agent trust, and give the code that it shows"
            )
        self._news.clear()  # about files that were held back
        self._record(digest)

    def distrust(self) -> None:
        """Stop using the files, from the next run on."""
        self._record("")

    def news(self) -> list[str]:
        """Return the news for the user since the last call, one per line."""
        news, self._news = self._news, []
        return news

    def tell(self, line: str) -> None:
        """Add a line to the news."""
        self._news.append(line)

    def env(self) -> tuple[str, str]:
        """Return the text of the `.env` file that is in force, and its name; both empty for none.

        Raises:
            ConfigError: the file cannot be read.
        """
        name, files = self.used.env_file, self.used.files
        if not name:
            return "", ""
        if name not in files.data:
            raise ConfigError(f"env_file {name}: it {files.refused.get(name, 'is not there')}")
        return files.data[name].decode("utf-8", "replace"), name

    @sealed
    def save(self, name: str, text: str, overwrite: bool) -> Path:
        """Write a file into `agents/`. If the project was trusted, it is trusted with this file too.

        Args:
            name: the name of the file.
            text: the content.
            overwrite: whether to replace a file with other content.

        Raises:
            ConfigError: the file exists with other content, or cannot be written.
        """
        self.refresh()
        before = self.found.files.data
        trusted = self._trust is not None and not self.held_back
        path = self._checked_path(name, text.encode(), overwrite)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # else a link would be followed
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ConfigError(f"cannot write {path}: {error.strerror}") from None
        self._seen = self._signature()
        self.found = self._read()
        if trusted and self.found.files.data == {**before, f"{AGENTS}/{name}": text.encode()}:
            self._record(self.found.files.digest)
        else:
            self._put_in_force()
        return path

    def _checked_path(self, name: str, content: bytes, overwrite: bool) -> Path:
        """Return the path of a file in `agents/` that may be written."""
        path = self.root / AGENTS / name
        if os.path.realpath(path.parent) != os.path.join(os.path.realpath(self.root), AGENTS):
            raise ConfigError(f"{AGENTS}/ of {self.root} is a link to another folder: nothing is written through it")
        entry = self.found.team.get(path.stem)
        if entry and entry.file != f"{AGENTS}/{name}":
            raise ConfigError(f"{path.stem} is described by {entry.file}: change it there")
        is_same = self.found.files.data.get(f"{AGENTS}/{name}") == content
        if not overwrite and not is_same and (path.exists() or path.is_symlink()):
            raise ConfigError(f"{path} exists with other content: save with overwrite=True (--force) to replace it")
        return path

    def _record(self, digest: str) -> None:
        if self._trust is not None:
            self._trust.record(self.root, digest)
        if not digest:
            self.used = ProjectConfig(Files(self.root))
        self._put_in_force()

    def _signature(self) -> Signature:
        return signature(self.root, tuple(filter(None, (self._env_file,))))

    def _read(self) -> ProjectConfig:
        config = parse_project(read_files(self.root), package_files())
        if not config.env_file:
            return config
        return replace(config, files=with_files(config.files, config.env_file))

    def _trusts(self, files: Files) -> bool:
        return self._trust is None or self._trust.digest(self.root) == files.digest

    def _put_in_force(self) -> None:
        self._news += [f"{name} belongs to another program: ignored" for name in self.found.foreign]
        if self.held_back:
            self._news.append(self._held_back_text())
            return
        self.used = self._without_bad_edits(self.used)
        self._news += [str(warning) for warning in self.found.warnings]

    def _held_back_text(self) -> str:
        if self.used:
            return (
                f"files of {self.root.name}/ have changed: the version that you trusted stays in force; "
                "%agent trust shows the changes"
            )
        parts = []
        if self.found.main:
            parts.append(MAIN)
        if team := len(self.found.team):
            parts.append(f"{team} agent{'s' * (team > 1)}")
        return f"held back until %agent trust: {' and '.join(parts)} of {self.root.name}/"

    def _without_bad_edits(self, before: ProjectConfig) -> ProjectConfig:
        """Return the files as they are now, but with the earlier config and agents in place of those with problems."""
        files, main = self._config_or_earlier(before)
        team = dict(self.found.team)
        for name, entry in self.found.team.items():
            earlier = before.team.get(name)
            keeps = earlier is not None and not earlier.problems
            self._add_problems(entry, f"{name} stays as it was" if keeps else "")
            if earlier is not None and keeps and entry.problems:
                team[name] = earlier
        # A file that cannot be parsed may describe any agent that it described earlier.
        wrong = {entry.file for entry in self.found.team.values() if entry.problems}
        for name, earlier in before.team.items():
            if earlier.file in wrong:
                team.setdefault(name, earlier)
        return replace(self.found, files=files, main=main, team=team)

    def _config_or_earlier(self, before: ProjectConfig) -> tuple[Files, Main | None]:
        files, main = self.found.files, self.found.main
        if main is None or not main.problems:
            return files, main
        keeps = before.main is not None and not before.main.problems
        self._add_problems(main, "the config stays as it was" if keeps else "")
        if not keeps:
            return files, main
        if before.env_file in before.files.data:  # the earlier config needs its .env file
            kept = {before.env_file: before.files.data[before.env_file]}
            files = dataclasses.replace(files, data={**files.data, **kept})
        return files, before.main

    def _add_problems(self, part: Main | Entry, consequence: str) -> None:
        note = consequence and f" ({consequence})"
        self._news += [f"{problem}{note}" for problem in part.problems]
