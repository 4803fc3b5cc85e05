"""The projects that the user trusts, by the hash of their files. Kept outside of projects: none can trust itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..core.errors import ConfigError
from ..core.logs import quiet
from .plainfiles import replace_plain

#: Begins every entry of the present kind. Those of another kind are kept, and trust nothing.
_KIND = "2:"


class TrustFile:
    """`trust.json` in the user's folder: project → digest of the files that are trusted.

    A file that cannot be read trusts nothing, and is never replaced: `problem` says what is wrong with it.

    Args:
        folder: the user's folder.
        lock_s: seconds to wait for another kernel that writes.
    """

    def __init__(self, folder: Path, lock_s: float = 5.0) -> None:
        self._folder = folder
        self._lock_s = lock_s
        self._path = folder / "trust.json"

    def digest(self, root: Path) -> str:
        """Return the digest that is trusted for a project; empty for none."""
        try:
            entry = self._read().get(str(root), "")
        except ConfigError:
            return ""
        return entry.removeprefix(_KIND) if entry.startswith(_KIND) else ""

    def problem(self, root: Path) -> str:
        """Return why the user's trust in a project cannot be used; empty if nothing is wrong."""
        try:
            entry = self._read().get(str(root), "")
        except ConfigError as error:
            return str(error)
        if entry and not entry.startswith(_KIND):
            return f"{root} was trusted by an earlier version of whisper_nb, which covered fewer files: review it again"
        return ""

    def record(self, root: Path, digest: str) -> None:
        """Trust the files with this digest, and no others of the project. An empty digest trusts none.

        Raises:
            ConfigError: `trust.json` cannot be read or written. Nothing is changed.
        """
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked():
                known = self._read()
                known.pop(str(root), None)
                if digest:
                    known[str(root)] = f"{_KIND}{digest}"
                replace_plain(self._folder.resolve() / self._path.name, json.dumps(known, indent=1), mode=0o600)
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror}; the trust is unchanged") from None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other kernels from writing: what they add between our reading and writing would be lost."""
        import filelock

        quiet("filelock")
        try:
            with filelock.FileLock(self._folder / "trust.lock", timeout=self._lock_s, mode=0o600):
                yield
        except filelock.Timeout:
            raise ConfigError(
                f"another process has locked {self._path} for {self._lock_s:g} s; the trust is unchanged. Try again"
            ) from None

    def _read(self) -> dict[str, str]:
        """Return the entries.

        Raises:
            ConfigError: the file cannot be read.
        """
        reason = "it is not a mapping of projects to digests"
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except OSError as error:
            known, reason = None, f"it cannot be read ({error.strerror})"
        except (ValueError, RecursionError):
            known, reason = None, "it is not JSON"
        if not isinstance(known, dict) or not all(isinstance(entry, str) for entry in known.values()):
            raise ConfigError(
                f"{self._path}: {reason}. No project is trusted, and nothing in it is changed: "
                "correct it, or move it away and review your projects again"
            )
        return known
