"""Types of answers with values of them, for Hypothesis: nested, of every kind that an output type may be."""

from __future__ import annotations

import dataclasses
import enum
import itertools
from typing import Annotated, Any, Literal, Optional, Union

from hypothesis import strategies as st
from pydantic import Field, create_model
from typing_extensions import TypedDict

_NAMES = itertools.count(1)
Typed = tuple[Any, st.SearchStrategy[Any]]
Color = enum.Enum("Color", {"RED": "red", "GREEN": "green"})
Level = enum.IntEnum("Level", {"LOW": 1, "HIGH": 2})
KEYS = st.text("abcdé \"{}[]'", max_size=5)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)


@dataclasses.dataclass
class Tree:
    """Refers to itself."""

    label: str
    children: list[Tree] = dataclasses.field(default_factory=list)


def _trees(depth: int = 2) -> st.SearchStrategy[Tree]:
    children = st.lists(_trees(depth - 1), max_size=2) if depth else st.just([])
    return st.builds(Tree, TEXT, children)


LEAVES: list[Typed] = [
    (int, st.integers(-(2**70), 2**70)),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (bool, st.booleans()),
    (str, TEXT),
    (Literal["yes", "no"], st.sampled_from(["yes", "no"])),
    (Literal[1, 2], st.sampled_from([1, 2])),
    (Color, st.sampled_from(list(Color))),
    (Level, st.sampled_from(list(Level))),
    (Annotated[int, Field(ge=0, le=9)], st.integers(0, 9)),
    (Annotated[str, Field(min_length=1)], TEXT.filter(bool)),
    (Annotated[list[int], Field(min_length=1)], st.lists(st.integers(), min_size=1, max_size=3)),
    (Tree, _trees()),
]


def _fields(parts: list[Typed]) -> tuple[dict[str, Any], dict[str, st.SearchStrategy[Any]]]:
    types = {f"field_{number}": type_ for number, (type_, _) in enumerate(parts)}
    return types, {f"field_{number}": values for number, (_, values) in enumerate(parts)}


def _model(parts: list[Typed]) -> Typed:
    types, values = _fields(parts)
    model = create_model(f"Model{next(_NAMES)}", **{name: (type_, ...) for name, type_ in types.items()})
    return model, st.builds(model, **values)


def _dataclass(parts: list[Typed]) -> Typed:
    types, values = _fields(parts)
    made = dataclasses.make_dataclass(f"Data{next(_NAMES)}", types.items())
    return made, st.builds(made, **values)


def _typed_dict(parts: list[Typed]) -> Typed:
    types, values = _fields(parts)
    return TypedDict(f"Dict{next(_NAMES)}", types), st.fixed_dictionaries(values)  # type: ignore[operator]


def _list(part: Typed) -> Typed:
    return list[part[0]], st.lists(part[1], max_size=3)  # type: ignore[valid-type]


def _dict(part: Typed) -> Typed:
    return dict[str, part[0]], st.dictionaries(KEYS, part[1], max_size=3)  # type: ignore[valid-type]


def _optional(part: Typed) -> Typed:
    return Optional[part[0]], st.none() | part[1]  # noqa: UP045


def _tuple(parts: list[Typed]) -> Typed:
    return tuple[tuple(type_ for type_, _ in parts)], st.tuples(*(values for _, values in parts))  # type: ignore[misc]


def _union(parts: list[Typed]) -> Typed:
    """A union of two models that differ in a field."""
    models: list[Typed] = []
    for number, part in enumerate(parts[:2]):
        name = f"Choice{next(_NAMES)}"
        model = create_model(name, kind=(Literal[name], ...), value=(part[0], ...))  # type: ignore[call-overload]
        models.append((model, st.builds(model, kind=st.just(name), value=part[1])))
        assert number < 2
    return Union[tuple(model for model, _ in models)], st.one_of(*(values for _, values in models))  # noqa: UP007


def _larger(parts: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    some = st.lists(parts, min_size=1, max_size=3)
    return st.one_of(
        parts.map(_list),
        parts.map(_dict),
        parts.map(_optional),
        some.map(_tuple),
        some.map(_model),
        some.map(_dataclass),
        some.map(_typed_dict),
        st.lists(parts, min_size=2, max_size=2).map(_union),
    )


#: Pairs of a type and a strategy of its values.
TYPES: st.SearchStrategy[Typed] = st.recursive(st.sampled_from(LEAVES), _larger, max_leaves=5)
