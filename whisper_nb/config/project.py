"""The project: the `config/` and `agents/` of a folder, in force only while the user trusts them.

A notebook may lie in someone else's repository. So no file is used before the user has reviewed and trusted its exact
bytes. After an edit, the earlier version stays in force until the new bytes are trusted and have no problems.
"""

from __future__ import annotations

import functools
import os
from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

from ..core.errors import ConfigError, sealed
from ..core.text import short_repr
from .agentfiles import Entry
from .files import AGENTS, MAIN, Files, Signature, read_files, signature, with_files
from .layers import Layer
from .mainfile import Main, read_main
from .paths import packaged
from .plainfiles import replace_plain
from .projectconfig import ProjectConfig, checked, edited, parse_project
from .trust import TrustFile

#: The length of the code, the start of a digest, by which a user trusts it: 64 bits.
CODE_LENGTH = 16


class Review(Struct, frozen=True):
    """The files of a project at one moment, for its user to review."""

    root: Path
    found: ProjectConfig
    """The files as they are."""
    used: ProjectConfig
    """The version that is in force."""
    after: ProjectConfig
    """The version that will be in force when the user trusts the files."""
    held_back: bool
    is_always_trusted: bool
    trust_problem: str
    """Why the user's earlier trust cannot be used; empty if nothing is wrong."""

    @property
    def code(self) -> str:
        """The code by which the user trusts these files."""
        return self.found.files.digest[:CODE_LENGTH]


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
        self._named: tuple[str, ...] = ()
        self._shown = ""  # the digest of the files that the user was shown last
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
        """The code by which the user trusts the files as they are now. Who reads it has reviewed them: see `show`."""
        return self.show(self.review())

    def review(self) -> Review:
        """Return the files as they are now."""
        self.refresh()
        problem = self._trust.problem(self.root) if self._trust else ""
        after = edited(self.used, self.found)
        return Review(self.root, self.found, self.used, after, self.held_back, self.is_always_trusted, problem)

    def show(self, review: Review) -> str:
        """Return the code of files that the user has been shown. From now on they, and no others, can be trusted."""
        self._shown = review.found.files.digest
        return review.code

    def refresh(self) -> None:
        """Read the files if they have changed, and put them in force if they are trusted and have no problems."""
        seen = self._signature()
        if seen == self._seen:
            return
        self._seen = seen
        self.found = self._read()
        if self._named != self.found.named:  # the signature covers them from now on
            self._named = self.found.named
            self._seen = self._signature()
        self._put_in_force()

    def trust(self, code: str) -> None:
        """Trust the files as they are now, and put them in force.

        Args:
            code: the code of the files that the user has reviewed. Files that have changed since are not trusted.

        Raises:
            ConfigError: this kernel has not shown these files, the code is not theirs, or the trust cannot be written.
        """
        self.refresh()
        digest = self.found.files.digest
        remedy = "review them with %agent trust, and give the code that it shows"
        if not self._shown:
            raise ConfigError(f"this kernel has not shown the files of {self.root} yet: {remedy}")
        if len(code) < CODE_LENGTH or not self._shown.startswith(code.lower()):
            raise ConfigError(f"{short_repr(code)} is not the code of the files in {self.root}: {remedy}")
        if digest != self._shown:
            raise ConfigError(f"the files of {self.root} have changed since they were shown: {remedy}")
        self._news.clear()  # about files that were held back
        self._record(digest)

    def distrust(self) -> None:
        """Stop using the files, from the next run on.

        Raises:
            ConfigError: the end of the trust cannot be written. This kernel does not use the files all the same.
        """
        self.used = ProjectConfig(Files(self.root))
        self._record("")

    def news(self) -> list[str]:
        """Return the news for the user since the last call, one per line."""
        news, self._news = self._news, []
        return news

    def tell(self, line: str) -> None:
        """Add a line to the news."""
        self._news.append(line)

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
            replace_plain(path, text)
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
        self._put_in_force()

    def _signature(self) -> Signature:
        return signature(self.root, self._named)

    def _read(self) -> ProjectConfig:
        config = parse_project(read_files(self.root), package_files())
        if config.env_file:
            config = replace(config, files=with_files(config.files, config.env_file))
        missing = (path for path in config.named if path not in config.files.data)
        return checked(replace(config, files=with_files(config.files, *missing)))

    def _trusts(self, files: Files) -> bool:
        return self._trust is None or self._trust.digest(self.root) == files.digest

    def _put_in_force(self) -> None:
        self._news += [f"{name} belongs to another program: ignored" for name in self.found.foreign]
        if self.held_back:
            if self._trust and (problem := self._trust.problem(self.root)):
                self._news.append(problem)
            self._news.append(self._held_back_text())
            return
        self._tell_problems()
        self.used = edited(self.used, self.found)
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

    def _tell_problems(self) -> None:
        """Add the problems of the files to the news, each with what stays in force in place of what is wrong."""
        before = self.used
        if main := self.found.main:
            keeps = before.main is not None and not before.main.problems
            self._add_problems(main, "the config stays as it was" if keeps else "")
        for name, entry in self.found.team.items():
            earlier = before.team.get(name)
            keeps = earlier is not None and not earlier.problems
            self._add_problems(entry, f"{name} stays as it was" if keeps else "")

    def _add_problems(self, part: Main | Entry, consequence: str) -> None:
        note = consequence and f" ({consequence})"
        self._news += [f"{problem}{note}" for problem in part.problems]


def team_of(project: Project | None) -> dict[str, Entry]:
    """Return the agents that files in force describe, by name. The project's override the package's."""
    team = dict(package().team)
    if project:
        team |= project.used.team
    return team
