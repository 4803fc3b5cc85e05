"""The projects that the user trusts, by the hash of their files. Kept outside of projects: none can trust itself."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from ..core.errors import ConfigError


class TrustFile:
    """`trust.json` in the user's folder: project → digest of the files that are trusted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "trust.json"

    def digest(self, root: Path) -> str:
        """Return the digest that is trusted for a project; empty for none, or if `trust.json` cannot be read."""
        return self._read().get(str(root), "")

    def record(self, root: Path, digest: str) -> None:
        """Trust the files with this digest, and no others of the project. An empty digest trusts none.

        Raises:
            ConfigError: `trust.json` cannot be written.
        """
        known = self._read() | {str(root): digest}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix="trust-")  # readable by the user alone
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({project: value for project, value in known.items() if value}, file, indent=1)
            os.replace(name, self._path)
        except OSError as error:
            raise ConfigError(f"cannot write {self._path}: {error.strerror}; the trust is unchanged") from None

    def _read(self) -> dict[str, str]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        if not isinstance(known, dict):
            return {}
        return {project: value for project, value in known.items() if isinstance(value, str)}
