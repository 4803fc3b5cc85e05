"""The one reader of YAML: the safe subset, bounded in size, in errors of ours."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import ConfigError

MAX_BYTES = 256 * 1024


def load_yaml(path: Path) -> Any:
    """The document in a YAML file.

    The pure-Python loader on purpose: the C one crashes the process on deep nesting.

    Raises:
        ConfigError: the file is missing, larger than 256 KB, not UTF-8, or not YAML; with the place.
    """
    import yaml

    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path} has more than {MAX_BYTES:,} bytes, which is all that is read")
    try:
        return yaml.load(data.decode("utf-8"), Loader=yaml.SafeLoader)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 (byte {error.start})") from None
    # PyYAML lets through whatever its constructors stumble over: `2024-13-45`, `!!int ''`, `!!bool perhaps`.
    except (yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: {getattr(error, 'problem', None) or 'not YAML'}") from None
