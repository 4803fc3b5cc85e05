"""Which projects the user trusts, by the hash of what they say: kept outside of them, so that none can trust itself."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path

from ..core.errors import ConfigError


class TrustFile:
    """`trust.json` in the user's folder: project → digest of what was trusted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / "trust.json"

    def digest(self, root: Path) -> str:
        """What was trusted of a project; empty for nothing. A file that cannot be read trusts nothing."""
        return self._read().get(str(root), "")

    def record(self, root: Path, digest: str) -> None:
        """Trust what has this digest, and nothing else of this project; an empty one: nothing at all.

        Raises:
            ConfigError: the file cannot be written.
        """
        known = self._read() | {str(root): digest}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=self._folder, prefix="trust-")  # readable by the user alone
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump({place: value for place, value in known.items() if value}, file, indent=1)
            os.replace(name, self._path)
        except OSError as error:
            raise ConfigError(f"cannot keep the trust in {self._path}: {error.strerror}") from None

    def _read(self) -> dict[str, str]:
        try:
            known = json.loads(self._path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return (
            {place: value for place, value in known.items() if isinstance(value, str)}
            if isinstance(known, dict)
            else {}
        )
