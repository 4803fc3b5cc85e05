"""The names of types: how people read and write them, and the classes that a notebook's cells define now."""

from __future__ import annotations

import ast
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, Optional, Union, get_args, get_origin

from ..core.errors import ConfigError
from ..core.text import short_repr

FindType = Callable[[str], object]

_PLAIN: Mapping[str, Any] = {one.__name__: one for one in (str, int, float, bool, list, dict, tuple, set)} | {
    "Literal": Literal,
    "Optional": Optional,
    "Union": Union,
}

#: So many types stand in the brackets of these.
_PARTS: Mapping[Any, int] = {list: 1, set: 1, dict: 2}


def label_of(source: Any) -> str:
    """Return a type as people write it: `list[Verdict]`."""
    origin, arguments = get_origin(source), get_args(source)
    if source is None or source is NoneType:
        return "None"
    if source is ...:
        return "..."
    if origin is Annotated:
        return label_of(arguments[0])
    if origin is Literal:
        return f"Literal[{', '.join(map(repr, arguments))}]"
    if origin in (Union, UnionType):
        return " | ".join(map(label_of, arguments))
    if isinstance(origin, type) and arguments:
        return f"{label_of(origin)}[{', '.join(map(label_of, arguments))}]"
    if isinstance(source, type):
        return source.__qualname__.rpartition("<locals>.")[2]
    if isinstance(name := getattr(source, "__name__", None), str):  # of `type X = …`, or a NewType
        return name
    return short_repr(source).replace("typing.", "")


def as_defined_now(source: Any, find: FindType) -> Any:
    """Return a type with the classes that cells define now; the type itself if they are the same.

    Args:
        source: a type.
        find: returns what cells define under a name, or raises ConfigError.
    """
    origin, arguments = get_origin(source), get_args(source)
    if not arguments and isinstance(source, type):
        if source.__module__ != "__main__" or source.__qualname__ != source.__name__:
            return source
        try:
            now = find(source.__name__)
        except Exception:  # it was deleted
            return source
        return now if isinstance(now, type) else source
    if not arguments or origin is Literal:
        return source
    if origin is Annotated:
        base = as_defined_now(arguments[0], find)
        return source if base is arguments[0] else Annotated[(base, *arguments[1:])]
    new = tuple(as_defined_now(argument, find) for argument in arguments)
    if all(now is before for now, before in zip(new, arguments, strict=True)):
        return source
    if origin in (Union, UnionType):
        return Union[new]  # noqa: UP007
    return origin[new]


def type_of_cells(namespace: Mapping[str, Any], text: str) -> Any:
    """Return the type that a text names, as a file or a magic gives it.

    Args:
        namespace: of the notebook. Its classes can be named.
        text: `Verdict`, `list[Verdict]`, `dict[str, int]`, `Literal['yes', 'no']`, `int | None`.

    Raises:
        ConfigError: it is none of these, or the name is not defined.
    """
    try:
        return _evaluated(ast.parse(text.strip(), mode="eval").body, namespace)
    except ConfigError:
        raise
    except Exception:  # of `ast.parse`, which documents five; or of a class that is subscripted
        raise ConfigError(
            f"output type {short_repr(text)} is no type: give the name of a class that a cell defines, or such as "
            "int, list[str], dict[str, int], Literal['yes', 'no']"
        ) from None


def type_of_main(text: str) -> Any:
    """Return the type that a text names, with the classes that the notebook, or the script that runs, defines.

    Raises:
        ConfigError: as `type_of_cells`.
    """
    return type_of_cells(vars(sys.modules["__main__"]), text)


def _evaluated(tree: ast.expr, namespace: Mapping[str, Any]) -> Any:
    """Return the value of an expression of names, subscripts and unions. No code of the notebook is executed."""
    match tree:
        case ast.Name(name):
            return _named(name, namespace)
        case ast.Attribute(value, name):
            return _member(_evaluated_owner(value, namespace), name, ast.unparse(tree))
        case ast.Constant(value=None):
            return None
        case ast.BinOp(left, ast.BitOr(), right):
            return Union[_evaluated(left, namespace), _evaluated(right, namespace)]  # noqa: UP007
        case ast.Subscript(ast.Name("Literal"), inner):
            return Literal[ast.literal_eval(inner)]
        case ast.Subscript(outer, inner):
            within = inner.elts if isinstance(inner, ast.Tuple) else [inner]
            around, parts = _evaluated(outer, namespace), tuple(_evaluated(part, namespace) for part in within)
            if len(parts) != _PARTS.get(around, len(parts)):  # Python itself accepts `list[int, str]`
                raise TypeError
            return around[parts if len(parts) > 1 else parts[0]]
    raise TypeError


def _named(name: str, namespace: Mapping[str, Any]) -> Any:
    found = namespace.get(name, _PLAIN.get(name))
    if found is None:
        remedy = "run the cell that defines it"
        if near := get_close_matches(name, [*_PLAIN, *_classes(namespace)], 1):
            remedy = f"did you mean {near[0]!r}?"
        raise ConfigError(f"output type {name!r} is not defined in this notebook; {remedy}")
    return _checked(name, found)


def _checked(name: str, found: Any) -> Any:
    if not (isinstance(found, type) or get_origin(found) or any(found is one for one in _PLAIN.values())):
        raise ConfigError(f"output type {name!r} is of type {type(found).__name__}; give the name of a class")
    return found


def _evaluated_owner(tree: ast.expr, namespace: Mapping[str, Any]) -> Any:
    """Return the module or class that names with dots lead to."""
    match tree:
        case ast.Name(name):
            if name not in namespace:
                raise ConfigError(f"output type: {name!r} is not defined in this notebook; import it first")
            return namespace[name]
        case ast.Attribute(value, name):
            return _of_owner(_evaluated_owner(value, namespace), name, ast.unparse(tree))
    raise TypeError


def _of_owner(owner: Any, name: str, whole: str) -> Any:
    """Return a member of a module or class, without executing code of it."""
    members = vars(owner) if isinstance(owner, type | ModuleType) else {}
    if name not in members:
        near = get_close_matches(name, _classes(members), 1)
        remedy = f"did you mean {near[0]!r}?" if near else "import the module that has it"
        raise ConfigError(f"output type {whole!r} does not exist; {remedy}")
    return members[name]


def _member(owner: Any, name: str, whole: str) -> Any:
    return _checked(whole, _of_owner(owner, name, whole))


def _classes(namespace: Mapping[str, Any]) -> list[str]:
    return [name for name, value in list(namespace.items()) if isinstance(value, type)]
