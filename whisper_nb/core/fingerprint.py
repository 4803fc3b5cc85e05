"""Canonical JSON and its SHA-256, by which requests are told apart.

Canonical JSON is that of RFC 8785 as far as it is cheap: keys sorted by code point, no spaces, UTF-8, only what must be
escaped is. A float with a whole value below 2**53 is written as an integer; any other number as Python writes it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from .errors import ConfigError
from .text import short_repr, valid_unicode

#: Bytes of a digest.
DIGEST = 32
#: Whole floats up to here have one integer each.
_EXACT = 2**53

_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=True).encode


def canonical(value: Any) -> bytes:
    """Return a JSON value in canonical form. Equal values have one form, however they are ordered and spelled.

    Raises:
        ConfigError: it has NaN, an infinity, or something that JSON does not have.
    """
    try:
        return valid_unicode(_encode(_normal(value))).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{short_repr(value)} cannot be sent as JSON: {error}. Allowed are texts, numbers other than NaN and "
            "infinity, true, false, null, and lists and mappings of these. Nothing was sent."
        ) from None


def digest(data: bytes) -> bytes:
    """Return the SHA-256 of data."""
    return sha256(data).digest()


def _normal(value: Any) -> Any:
    match value:
        case str() | bool() | int() | None:
            return value
        case float():
            return int(value) if value.is_integer() and abs(value) < _EXACT else value
        case Mapping():
            return dict(_normal_items(value))
        case Sequence():
            return [_normal(item) for item in value]
    return value


def _normal_items(value: Mapping[Any, Any]) -> Iterator[tuple[str, Any]]:
    for name, item in value.items():
        if not isinstance(name, str):
            raise TypeError(f"the key {name!r} is not text")
        yield name, _normal(item)
