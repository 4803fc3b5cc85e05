"""A kernel whose network is this machine."""

from __future__ import annotations

import json
import os
from pathlib import Path

from support.client import Kernel

TESTS = Path(__file__).parents[1]


#: Only this machine can be reached, where the test's provider is; there are no keys.
SITE = """
import os, socket, sys

def refuse(event, args):
    if event == "socket.connect" and args[0].family in (socket.AF_INET, socket.AF_INET6) and args[1][0] != "127.0.0.1":
        raise OSError(f"a test tried to reach {args[1]}")

for name in list(os.environ):
    if name.endswith("_API_KEY") or name == "WHISPER_MODEL":
        del os.environ[name]
sys.addaudithook(refuse)
"""


class OnThisMachine(Kernel):
    """A kernel that can reach only this machine."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._path = python_path(folder)

    def said(self) -> dict[str, str]:
        """All messages that it has published so far."""
        return {f"{at} {one.type}": json.dumps(one.content) for at, one in enumerate(self.messages)}


def python_path(folder: Path) -> str:
    (folder / "site").mkdir()
    (folder / "site/sitecustomize.py").write_text(SITE)
    return os.pathsep.join(map(str, (folder / "site", TESTS)))
