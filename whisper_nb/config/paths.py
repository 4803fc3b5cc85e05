"""Folders: of the project, of the package's own files, and of the user."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import ConfigError, sealed
from .files import AGENTS, MAIN

#: Names the folder for trust, in place of the user's config folder.
HOME_VARIABLE = "WHISPER_NB_HOME"


def packaged() -> Path:
    """Return the folder with whisper_nb's own `config/` and `agents/`, in the wheel or the checkout."""
    here = Path(__file__).parents[1]
    wheel = here / "data"
    if wheel.is_dir():
        return wheel
    return here.parent


def project_root(start: Path) -> Path:
    """Return the project's folder: the nearest at or above `start` with `agents/` or `config/main.yaml`.

    If there is none, the nearest with `.git` or `pyproject.toml`; else `start`.
    """
    folders = [start, *start.parents]
    for marks in ((AGENTS, MAIN), (".git", "pyproject.toml")):
        for folder in folders:
            if any(os.path.exists(folder / mark) for mark in marks):
                return folder
    return start


@sealed
def user_folder(environ: Mapping[str, str] | None = None) -> Path:
    """Return the user's own folder, outside every project.

    Args:
        environ: the environment with `WHISPER_NB_HOME`; by default the process's.

    Raises:
        ConfigError: `WHISPER_NB_HOME` is the home of an unknown user.
    """
    if environ is None:
        environ = os.environ
    if folder := environ.get(HOME_VARIABLE):
        try:
            return Path(folder).expanduser()
        except RuntimeError:
            raise ConfigError(
                f"{HOME_VARIABLE} {folder!r} is the home of an unknown user: give an absolute path"
            ) from None
    import platformdirs

    return platformdirs.user_config_path("whisper_nb", appauthor=False)


def sockets_folder() -> Path:
    """Return the folder of the sockets by which this user's processes reach this user's kernels."""
    import platformdirs

    with warnings.catch_warnings(action="ignore"):  # about a session without a runtime folder
        return platformdirs.user_runtime_path("whisper_nb", appauthor=False)
