"""The subset of JSON Schema that OpenAI accepts as `strict`.

A schema outside of it would be refused with status 400. Other providers that constrain replies accept it, too:
https://developers.openai.com/api/docs/guides/structured-outputs
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

#: What tells nothing that a reply must obey, and is refused in places.
_DROPPED = frozenset(
    {"$comment", "$id", "$schema", "deprecated", "discriminator", "readOnly", "title", "writeOnly"}
)  # fmt: skip
#: Constraints that are refused, or that not every model has. The description tells them; the answer is checked anyway.
_TOLD = frozenset(
    {"contains", "contentEncoding", "contentMediaType", "examples", "maxContains", "maxLength", "maxProperties",
     "minContains", "minLength", "minProperties", "uniqueItems"}
)  # fmt: skip
#: What is sent as it is.
_KEPT = frozenset(
    {"description", "exclusiveMaximum", "exclusiveMinimum", "format", "maxItems", "maximum", "minItems", "minimum",
     "multipleOf", "pattern"}
)  # fmt: skip
_FORMATS = frozenset({"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"})
_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
_NAMES = frozenset({*_TYPES.values(), "array", "object"})
#: The limits of one schema: levels of objects and arrays, properties, values of enums, and characters of all names.
_DEPTH, _PROPERTIES, _VALUES, _CHARACTERS = 10, 5_000, 1_000, 120_000
#: A long enum of strings may have this many characters.
_LONG_ENUM, _LONG_ENUM_CHARACTERS = 250, 15_000

Schema = Mapping[str, Any]


class NotStrict(ValueError):
    """The schema cannot be expressed in the subset."""


def rooted(schema: Schema) -> dict[str, Any]:
    """Return the schema with an object at its root, in the place of a reference to one, as recursive types have it."""
    root = dict(schema)
    seen: set[str] = set()
    while isinstance(reference := root.get("$ref"), str) and reference not in seen:
        seen.add(reference)
        target = root.get("$defs", {}).get(reference.removeprefix("#/$defs/"))
        if not isinstance(target, Mapping):
            break
        del root["$ref"]
        root = {**target, **root}
    return root


def strict(schema: Schema) -> dict[str, Any] | None:
    """Return the schema in OpenAI's subset; None if that is impossible.

    Everything that fits the result fits the schema, but for constraints that only the description tells. All properties
    are required: one with a default has it in its description.
    """
    try:
        root = _node(rooted(schema), 0)
        _check(root)
    except NotStrict:
        return None
    return root


def _node(schema: Any, depth: int) -> dict[str, Any]:
    """Return one schema within another, in the subset.

    Args:
        schema: the schema.
        depth: the objects and arrays around it.

    Raises:
        NotStrict: it cannot be expressed.
    """
    if not isinstance(schema, Mapping) or depth > _DEPTH:  # `true` is any value
        raise NotStrict
    node: dict[str, Any] = {}
    told: list[str] = []
    for key, value in schema.items():
        if _is_told(key, value):
            told.append(f"{key}: {_json(value)}")
        elif key == "default":
            told += [] if value is None else [f"default: {_json(value)}"]
        elif key == "$defs":
            node[key] = {name: _node(one, depth) for name, one in value.items()}
        elif key in ("anyOf", "oneOf"):
            if "anyOf" in node:
                raise NotStrict
            node["anyOf"] = [_node(one, depth) for one in value]
        elif key in _KEPT or key in ("$ref", "type"):
            node[key] = value
        elif not (key in _DROPPED or key in _STRUCTURE or key.startswith("x-")):
            raise NotStrict
    _add_structure(node, schema, depth)
    if told:
        node["description"] = f"{node.get('description', '')} ({', '.join(told)})".lstrip()
    return _checked(node)


#: The keywords that `_add_structure` reads.
_STRUCTURE = frozenset({"additionalProperties", "allOf", "const", "enum", "items", "properties", "required"})


def _add_structure(node: dict[str, Any], schema: Schema, depth: int) -> None:
    """Add what an object, an array, an enum or a schema around another one consists of."""
    if "const" in schema or "enum" in schema:
        values = [schema["const"]] if "const" in schema else list(schema["enum"])
        node["enum"] = values
        node["type"] = _type_of(values)
    if "allOf" in schema:
        if len(schema["allOf"]) != 1:
            raise NotStrict
        inner = _node(schema["allOf"][0], depth)
        node |= {key: value for key, value in inner.items() if key not in node}
    types = _types(node)
    if "object" in types:
        if schema.get("additionalProperties", "properties" not in schema) is not False:
            raise NotStrict  # an object of any properties
        properties = {name: _node(one, depth + 1) for name, one in schema.get("properties", {}).items()}
        if not set(schema.get("required", ())) <= properties.keys():
            raise NotStrict
        node |= {"properties": properties, "required": [*properties], "additionalProperties": False}
    if "array" in types:
        node["items"] = _node(schema.get("items"), depth + 1)


def _checked(node: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that says which type it is, in one way.

    Raises:
        NotStrict: it says none, or two.
    """
    ways = [key for key in ("$ref", "anyOf", "type") if key in node]
    if len(ways) != 1 or not _types(node) <= _NAMES:
        raise NotStrict
    if "$ref" in node:
        reference = node["$ref"]
        if not isinstance(reference, str) or not reference.startswith("#/$defs/"):
            raise NotStrict
        beside = node.keys() - {"$ref", "$defs"}
        if beside:  # which is refused beside a reference, and accepted beside anyOf
            del node["$ref"]
            node["anyOf"] = [{"$ref": reference}]
    return node


def _is_told(key: str, value: Any) -> bool:
    """Whether a constraint stands in the description alone."""
    if key == "format":
        return value not in _FORMATS
    if key == "pattern":
        return "(?" in str(value)  # a look-around, as pydantic writes for decimals
    return key in _TOLD


def _types(node: Schema) -> set[str]:
    types = node.get("type", ())
    return {types} if isinstance(types, str) else set(types)


def _type_of(values: list[Any]) -> str | list[str]:
    """Return the type of the values of an enum."""
    try:
        types = list(dict.fromkeys(_TYPES[type(value)] for value in values))
    except KeyError:
        raise NotStrict from None
    if not types:
        raise NotStrict
    return types[0] if len(types) == 1 else types


def _check(root: Schema) -> None:
    """Check a whole schema.

    Raises:
        NotStrict: it is not an object, refers to nothing, or is larger than is allowed.
    """
    defined = root.get("$defs", {})
    properties = values = 0
    characters = sum(map(len, defined))
    if root.get("type") != "object":
        raise NotStrict
    for node in _nodes(root):
        if "$ref" in node and node["$ref"].removeprefix("#/$defs/") not in defined:
            raise NotStrict
        names, enum = node.get("properties", ()), node.get("enum", ())
        size = sum(len(str(value)) for value in enum)
        if len(enum) > _LONG_ENUM and size > _LONG_ENUM_CHARACTERS:
            raise NotStrict
        properties += len(names)
        values += len(enum)
        characters += size + sum(map(len, names))
    if properties > _PROPERTIES or values > _VALUES or characters > _CHARACTERS:
        raise NotStrict


def _nodes(node: Schema) -> Iterator[Schema]:
    """Yield a schema and all within it."""
    yield node
    inner = [*node.get("properties", {}).values(), *node.get("$defs", {}).values(), *node.get("anyOf", ())]
    if "items" in node:
        inner.append(node["items"])
    for one in inner:
        yield from _nodes(one)


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, default=str)
