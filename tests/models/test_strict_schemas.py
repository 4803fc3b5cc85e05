"""The subset of JSON Schema that OpenAI accepts as strict: what is sent is in it, and its answers fit the type."""

from __future__ import annotations

import datetime
import enum
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, TypeAdapter, create_model
from typing_extensions import TypedDict

from whisper_nb.models.strict_schemas import rooted, strict

#: All keywords that the documentation of structured outputs allows, but `const`, which is written as an enum.
ALLOWED = frozenset(
    {"$defs", "$ref", "additionalProperties", "anyOf", "description", "enum", "exclusiveMaximum", "exclusiveMinimum",
     "format", "items", "maxItems", "maximum", "minItems", "minimum", "multipleOf", "pattern", "properties", "required",
     "type"}
)  # fmt: skip
FORMATS = {"date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time", "uuid"}


def nodes(schema: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    yield schema
    inner = [*schema.get("properties", {}).values(), *schema.get("$defs", {}).values(), *schema.get("anyOf", ())]
    for one in [*inner, *([schema["items"]] if "items" in schema else [])]:
        yield from nodes(one)


def assert_accepted(schema: Mapping[str, Any]) -> None:
    """Assert all that OpenAI checks, as its documentation and its error messages say."""
    assert schema["type"] == "object"
    json.dumps(schema, allow_nan=False)
    for node in nodes(schema):
        assert node.keys() <= ALLOWED
        assert len({"type", "$ref", "anyOf"} & node.keys()) == 1
        if "$ref" in node:
            assert node.keys() == {"$ref"}
            assert node["$ref"].removeprefix("#/$defs/") in schema["$defs"]
        types = node.get("type", [])
        if "object" in types:
            assert node["additionalProperties"] is False
            assert node["required"] == [*node["properties"]]
        if "array" in types:
            assert isinstance(node["items"], dict)
        assert node.get("format", "date") in FORMATS


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Node(BaseModel):
    value: int
    children: list[Node] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: Annotated[int, Field(ge=0, le=9)] = 9


class Dog(BaseModel):
    """Barks."""

    kind: Literal["dog"]
    good: bool | None = None


class Owner(BaseModel):
    """Somebody."""

    name: Annotated[str, Field(min_length=1, max_length=40, description="In full.", examples=["Ann Lee"])]
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]
    colour: Annotated[Colour, Field(description="Of the door.")] = Colour.RED
    levels: Annotated[list[Level], Field(min_length=1)]
    tags: set[str] = set()
    price: Decimal = Decimal("1.5")
    page: HttpUrl | None = None
    born: datetime.date
    key: UUID
    odd: Literal[1, "a", None, True]


@dataclass
class Point:
    x: float
    y: float = 0.0
    names: list[str] = field(default_factory=list)


class Partial(TypedDict, total=False):
    a: int


class Empty(BaseModel):
    pass


@pytest.mark.parametrize("kind", [Node, Owner, Point, Partial, Cat, Empty])
def test_types_of_all_kinds_can_be_strict(kind: Any) -> None:
    schema = strict(TypeAdapter(kind).json_schema())
    assert schema is not None
    assert_accepted(schema)


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")
    a: int


@pytest.mark.parametrize(
    "kind",
    [
        create_model("HasDict", a=dict[str, int]),
        create_model("HasAny", a=Any),
        create_model("HasBare", a=list),
        create_model("HasTuple", a=tuple[int, str]),
        create_model("HasObject", a=(Annotated[int, Field(json_schema_extra={"not": {"const": 3}})])),
        Open,
    ],
)
def test_what_the_subset_lacks_is_not_strict(kind: Any) -> None:
    assert strict(TypeAdapter(kind).json_schema()) is None


@pytest.mark.parametrize(
    "schema",
    [
        {},
        {"type": "string"},
        {"anyOf": [{"type": "object", "properties": {}}]},
        {"type": "object", "properties": {"a": True}},
        {"type": "object", "properties": {"a": {}}},
        {"type": "object", "properties": {"a": {"description": "Anything."}}},
        {"type": "object", "properties": {"a": {"type": "thing"}}},
        {"type": "object", "properties": {"a": {"type": "array"}}},
        {"type": "object", "properties": {"a": {"type": "integer", "anyOf": [{"type": "integer"}]}}},
        {"type": "object", "properties": {"a": {"anyOf": [{"type": "null"}], "oneOf": [{"type": "null"}]}}},
        {"type": "object", "properties": {"a": {"allOf": [{"type": "integer"}, {"minimum": 3}]}}},
        {"type": "object", "properties": {"a": {"enum": []}}},
        {"type": "object", "properties": {"a": {"enum": [[1]]}}},
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/Missing"}}},
        {"type": "object", "properties": {"a": {"$ref": "https://example.com/schema"}}},
        {"type": "object", "properties": {"a": {"$ref": 3}}},
        {"type": "object", "properties": {}, "required": ["b"]},
        {"type": "object", "properties": {}, "patternProperties": {"a": {"type": "null"}}},
        {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}},
        {"$ref": "#/$defs/Missing"},
        {"type": "object", "properties": {"a": {"enum": [str(n) for n in range(1001)]}}},
        {"type": "object", "properties": {"a": {"enum": ["x" * 60 + str(n) for n in range(251)]}}},
        {"type": "object", "properties": {f"p{n}": {"type": "null"} for n in range(5001)}},
        {"type": "object", "properties": {"x" * 120_001: {"type": "null"}}},
    ],
)
def test_a_schema_that_would_be_refused_is_not_strict(schema: dict[str, Any]) -> None:
    assert strict(schema) is None


@pytest.mark.parametrize(("levels", "fits"), [(9, True), (10, False)])
def test_the_depth_is_limited(levels: int, fits: bool) -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(levels + 1):
        schema = {"type": "object", "properties": {"a": schema}}
    assert (strict(schema) is not None) is fits


def test_what_cannot_be_sent_is_told() -> None:
    schema = strict(TypeAdapter(Owner).json_schema())
    assert schema is not None
    properties = schema["properties"]
    assert properties["name"] == {
        "type": "string",
        "description": 'In full. (examples: ["Ann Lee"], maxLength: 40, minLength: 1)',
    }
    assert properties["colour"] == {
        "anyOf": [{"$ref": "#/$defs/Colour"}],
        "description": 'Of the door. (default: "red")',
    }
    assert properties["pet"] == {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}
    assert properties["tags"] == {
        "type": "array", "items": {"type": "string"}, "description": "(default: [], uniqueItems: true)"
    }  # fmt: skip
    assert properties["levels"] == {"type": "array", "items": {"$ref": "#/$defs/Level"}, "minItems": 1}
    assert properties["odd"] == {"enum": [1, "a", None, True], "type": ["integer", "string", "null", "boolean"]}
    assert properties["born"] == {"type": "string", "format": "date"}
    assert schema["$defs"]["Cat"]["properties"] == {
        "kind": {"type": "string", "enum": ["cat"]},
        "lives": {"type": "integer", "minimum": 0, "maximum": 9, "description": "(default: 9)"},
    }
    assert (schema["description"], schema["$defs"]["Dog"]["description"]) == ("Somebody.", "Barks.")


def test_one_schema_in_all_of_is_the_schema() -> None:
    inner = {"type": "integer", "description": "A number."}
    schema = strict({"type": "object", "properties": {"a": {"allOf": [inner], "description": "Mine.", "x-order": 3}}})
    assert schema is not None
    assert schema["properties"] == {"a": {"type": "integer", "description": "Mine."}}


def test_a_recursive_type_has_an_object_at_its_root() -> None:
    root = rooted(TypeAdapter(Node).json_schema())
    assert (root["type"], root["properties"]["children"]["items"]) == ("object", {"$ref": "#/$defs/Node"})
    assert "$ref" not in root
    Draft202012Validator(root).validate({"value": 1, "children": [{"value": 2, "children": []}]})


def test_the_given_schema_is_not_changed() -> None:
    schema = TypeAdapter(Owner).json_schema()
    before = json.dumps(schema)
    strict(schema)
    rooted(schema)
    assert json.dumps(schema) == before


_PLAIN = st.sampled_from(
    [int, float, bool, str, None, Colour, Level, Cat, Node, Point, datetime.datetime, UUID, Path, Decimal,
     Literal["a", 2], Annotated[int, Field(gt=3)], Annotated[str, Field(pattern="^[a-z]+$")]]
)  # fmt: skip
_TYPES: st.SearchStrategy[Any] = st.recursive(
    _PLAIN,
    lambda inner: (
        inner.map(lambda kind: list[kind])  # type: ignore[valid-type]
        | st.tuples(inner, inner).map(lambda pair: pair[0] | pair[1] if None not in pair else list[int])
        | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3).map(
            lambda fields: create_model("M", **{name: (kind, ...) for name, kind in fields.items()})
        )
    ),
    max_leaves=6,
)


def _sample(node: Mapping[str, Any], root: Mapping[str, Any], depth: int = 0) -> Any:
    """An answer that a server constrained by the schema could give."""
    if "$ref" in node:
        return _sample(root["$defs"][node["$ref"].removeprefix("#/$defs/")], root, depth)
    if "anyOf" in node:
        return _sample(node["anyOf"][depth % len(node["anyOf"])], root, depth)
    if "enum" in node:
        return node["enum"][-1]
    kind = node["type"]
    if kind == "object":
        return {name: _sample(one, root, depth + 1) for name, one in node["properties"].items()}
    if kind == "array":
        return [_sample(node["items"], root, depth + 1)] if depth < 4 else []
    formats = {"date-time": "2026-01-02T03:04:05Z", "uuid": str(UUID(int=5)), "date": "2026-01-02"}
    simple = {"integer": 7, "number": 1.5, "boolean": True, "null": None}
    return simple.get(
        kind, formats.get(node.get("format", ""), "12" if "pattern:" in node.get("description", "") else "abc")
    )


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(st.sampled_from(["one", "two", "three"]), _TYPES, min_size=1, max_size=3))
def test_an_answer_to_the_strict_schema_fits_the_type(fields: dict[str, Any]) -> None:
    kind = create_model("Answer", **{name: (one, ...) for name, one in fields.items()})
    adapter = TypeAdapter(kind)
    given_ = adapter.json_schema()
    schema = strict(given_)
    assert schema is not None
    assert_accepted(schema)
    answer = _sample(schema, schema)
    Draft202012Validator(schema).validate(answer)
    Draft202012Validator(given_).validate(answer)
