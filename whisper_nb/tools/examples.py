"""A value that fits a JSON Schema, for the offline model that answers without knowing anything."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

#: Levels of objects and arrays below which optional parts are left out, so that recursive schemas end.
_DEPTH = 6
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.org",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "time": "12:00:00Z",
    "uri": "https://example.org/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def example_of(schema: Mapping[str, Any], text: str) -> Any:
    """Return a value that fits the schema: the first choices, the least numbers, one item in each list.

    Patterns and conditions of a type's own validators are not regarded.

    Args:
        schema: as pydantic makes them.
        text: stands where the schema asks for text.
    """
    return _Examples(schema.get("$defs", {}), text).of(schema, 0)


class _Examples:
    def __init__(self, definitions: Mapping[str, Any], text: str) -> None:
        self._definitions = definitions
        self._text = text

    def of(self, schema: Mapping[str, Any], depth: int) -> Any:
        """Return a value that fits a part of the schema, so many levels below its root."""
        if "$ref" in schema:
            schema = self._definitions[schema["$ref"].rpartition("/")[2]]
        for key in ("const", "default"):
            if key in schema:
                return schema[key]
        for key in ("enum", "examples"):
            if schema.get(key):
                return schema[key][0]
        if choices := schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf"):
            return self.of(choices[-1] if depth > _DEPTH else choices[0], depth)  # the last is null, in most
        match schema.get("type"):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number":
                return _number(schema)
            case "boolean":
                return True
            case "null":
                return None
        return self._string(schema)

    def _object(self, schema: Mapping[str, Any], depth: int) -> dict[str, Any]:
        required = schema.get("required", ())
        value = {
            name: self.of(part, depth + 1)
            for name, part in schema.get("properties", {}).items()
            if name in required or depth < _DEPTH
        }
        more = schema.get("additionalProperties")
        if isinstance(more, Mapping) and not value:
            value = {f"key {number}": self.of(more, depth + 1) for number in range(1, 2)}
        return value

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        first = [self.of(part, depth + 1) for part in schema.get("prefixItems", ())]
        least = schema.get("minItems", min(1, schema.get("maxItems", 1)) if depth < _DEPTH else 0)
        rest = max(0, least - len(first)) if "prefixItems" in schema else least
        return first + [self.of(schema.get("items", {}), depth + 1) for _ in range(rest)]

    def _string(self, schema: Mapping[str, Any]) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = self._text.ljust(schema.get("minLength", 0), ".")
        return text[: schema.get("maxLength", len(text))]


def _number(schema: Mapping[str, Any]) -> float:
    """Return the least number that fits; 0 without a least one."""
    whole = schema["type"] == "integer"
    step = schema.get("multipleOf", 1 if whole else 0)
    least = schema.get("minimum", schema.get("exclusiveMinimum"))
    if least is None:
        most = schema.get("maximum", schema.get("exclusiveMaximum", 0))
        least = min(0, most - (1 if most == schema.get("exclusiveMaximum") else 0))
    number = math.ceil(least / step) * step if step else least
    if number == schema.get("exclusiveMinimum"):
        number += step or _half_way(schema)
    return int(number) if whole else number


def _half_way(schema: Mapping[str, Any]) -> float:
    """Return half of the way from an exclusive minimum to the maximum; 1 without one."""
    most = schema.get("maximum", schema.get("exclusiveMaximum"))
    return 1 if most is None else (most - schema["exclusiveMinimum"]) / 2
