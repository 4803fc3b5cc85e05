"""Where things are: the project, the files that come with the package, and what is the user's alone."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path

from ..core.errors import ConfigError, sealed
from .files import AGENTS, MAIN

#: Where trust is kept, instead of the user's config folder.
HOME_VARIABLE = "WHISPER_NB_HOME"


def packaged() -> Path:
    """The folder of the `config/` and `agents/` that come with whisper_nb: in the wheel, or the checkout."""
    here = Path(__file__).parents[1]
    wheel = here / "data"
    return wheel if wheel.is_dir() else here.parent


def project_root(start: Path) -> Path:
    """The nearest folder at or above `start` that has `agents/` or `config/main.yaml`; else `.git` or `pyproject.toml`; else `start`."""
    folders = [start, *start.parents]
    for marks in ((AGENTS, MAIN), (".git", "pyproject.toml")):
        for folder in folders:
            if any(os.path.exists(folder / mark) for mark in marks):
                return folder
    return start


@sealed
def user_folder(environ: Mapping[str, str] | None = None) -> Path:
    """The folder that is the user's, outside every project; by default as the process's environment says.

    Raises:
        ConfigError: `WHISPER_NB_HOME` names a user who is not there.
    """
    if said := (os.environ if environ is None else environ).get(HOME_VARIABLE):
        try:
            return Path(said).expanduser()
        except RuntimeError:
            raise ConfigError(f"{HOME_VARIABLE} {said!r}: there is no such user's folder") from None
    import platformdirs

    return platformdirs.user_config_path("whisper_nb", appauthor=False)


def sockets_folder() -> Path:
    """The folder of the sockets by which this user's processes reach this user's kernels."""
    import platformdirs

    with warnings.catch_warnings(action="ignore"):  # of there being no session that says one
        return platformdirs.user_runtime_path("whisper_nb", appauthor=False)
