"""The type of an answer: its JSON Schema, and the way from the answer's text to an instance (pydantic)."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args, get_origin

from msgspec import Struct

from ..core.errors import ConfigError
from ..core.events import OutputReference
from ..core.messages import OutputMode, OutputSchema
from ..core.text import error_text, short_repr, shortened
from ..core.threads import load
from .functions import in_words
from .json_text import values_in, without_fence
from .type_names import FindType, as_defined_now, label_of, type_of_main

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    T_co = TypeVar("T_co", covariant=True, default=str)
else:
    from typing import TypeVar

    T_co = TypeVar("T_co", covariant=True)

#: The key around an answer that is no JSON object, because providers require one.
ANSWER = "answer"
#: The most characters of a label and of a name, as the model sees it.
_LABEL, _NAME = 80, 64
#: The types whose adapters are kept.
_KEPT = 256


class Checked(Struct, frozen=True):
    """The result of checking an answer."""

    value: Any = None
    """The instance."""
    problems: tuple[str, ...] = ()
    """In words, for the model and for people; empty if the answer fits."""


class OutputType:
    """The type of a run's answer: all that pydantic has a JSON Schema for.

    For example a pydantic model, a dataclass, a TypedDict, `list[T]`, `dict[str, T]`, a `Literal`, an enum, a union, or
    `Annotated` with constraints. `str` means text: it has no schema, and every answer fits.

    Two types of one name with the same schema are equal, as where a cell that defines a class is run again.
    """

    __slots__ = ("_made", "label", "source")

    def __init__(self, source: Any) -> None:
        self.source = source
        """The type itself. It is never changed."""
        self.label = shortened(label_of(source), _LABEL)
        """For people: `list[Verdict]`."""
        self._made: _Made | None = None if source is str else _made_for(source, self.label)

    @classmethod
    def of(cls, source: Any) -> OutputType:
        """Return the output type of a type. Imports pydantic, unless that is `str`.

        Args:
            source: a type; its name in the notebook, or the script that runs; or an OutputType, which is returned
                itself.

        Raises:
            ConfigError: it is no type, or has no JSON Schema.
        """
        if isinstance(source, OutputType):
            return source
        return cls(type_of_main(source) if isinstance(source, str) else source)

    @property
    def is_text(self) -> bool:
        """Whether every answer fits, and is its text."""
        return self._made is None

    @property
    def name(self) -> str:
        """The name for the model: letters, digits and `_`."""
        return re.sub(r"[^A-Za-z0-9_]+", "_", self.label).strip("_")[:_NAME] or ANSWER

    @property
    def json_schema(self) -> Mapping[str, Any]:
        """The JSON Schema of the answer: an object, or the object `{"answer": …}` around it. Empty for text."""
        return self._made.schema if self._made else {}

    @property
    def reference(self) -> OutputReference:
        """The type as records have it."""
        return OutputReference(self.label, self.json_schema)

    def schema(self, mode: OutputMode, *, taken: frozenset[str] = frozenset()) -> OutputSchema:
        """Return the form of the answer as a request has it.

        Args:
            mode: how the model is asked for it.
            taken: the names of the agent's tools, which the name of the answer must differ from.
        """
        name = self.name
        while name in taken:
            name = f"{name[: _NAME - 1]}_"
        return OutputSchema(name, self.json_schema, mode)

    def check(self, text: str) -> Checked:
        """Check an answer, and return the instance, or the problems with it.

        The text is JSON: alone, in a fence, or with other text around it, of which the last value that fits is taken.
        An answer that is no object may have the object `{"answer": …}` around it, or not; and where it is no JSON at
        all, it counts as a string. Types are converted as pydantic does it for JSON, not strictly: `"3"` is an int.

        The validators of the type are executed. What they raise, other than ValueError and AssertionError, is raised.
        """
        made = self._made
        if made is None:
            return Checked(text)
        try:
            return Checked(made.readers[0](text))  # most answers
        except made.error:
            pass
        failures: list[tuple[int, Any]] = []
        for candidate, is_word in _candidates(text, made):
            for read in made.readers:
                try:
                    return Checked(read(candidate))
                except made.error as error:
                    failures.append((_distance(error, is_word=is_word), error))
        closest = min(failures, key=lambda failure: failure[0])[1]
        return Checked(problems=_problems(closest, made))

    def bare(self, text: str) -> str:
        """Return an answer without the object `{"answer": …}` around it, if it has one that the type itself has not.

        Args:
            text: an answer that fits.
        """
        made = self._made
        if made is None or len(made.readers) == 1:
            return text
        content = without_fence(text)
        for candidate in (content, *values_in(content)):
            try:
                value = json.loads(candidate)
            except ValueError:
                continue
            if isinstance(value, dict) and value.keys() == {ANSWER}:
                inner = value[ANSWER]
                return inner if isinstance(inner, str) else json.dumps(inner, ensure_ascii=False)
        return text

    def as_defined_now(self, find: FindType) -> OutputType:
        """Return the type with the classes that cells define now, so that answers are instances of those.

        Args:
            find: returns what cells define under a name, or raises ConfigError.

        Raises:
            ConfigError: the new type has no JSON Schema.
        """
        now = as_defined_now(self.source, find)
        return self if now is self.source else OutputType(now)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, OutputType):
            return NotImplemented
        if self.source is other.source:
            return True
        # By their text, too: Python takes `True`, 1 and 1.0 for equal.
        one, two = self.json_schema, other.json_schema
        return self.label == other.label and one == two and repr(one) == repr(two)

    def __hash__(self) -> int:
        return hash(self.label)

    def __reduce__(self) -> tuple[Any, ...]:
        return OutputType, (self.source,)

    def __repr__(self) -> str:
        return self.label


def json_of(value: object) -> str:
    """Return the JSON of an instance of an output type.

    Raises:
        ConfigError: it has none.
    """
    load("pydantic", "pydantic.type_adapter")
    from pydantic_core import PydanticSerializationError, to_json

    try:
        return to_json(value).decode()
    except PydanticSerializationError as error:
        raise ConfigError(f"{short_repr(value)} has no JSON: {error}") from None


class _Made(NamedTuple):
    """A type as pydantic reads it."""

    schema: Mapping[str, Any]
    readers: tuple[Callable[[str], Any], ...]
    """Functions of JSON that return the instance: with the object around it, if it has one; then without."""
    error: type[Exception]
    """The error that they raise."""


class _Key:
    """A type as the key of a cache. Unions that differ in order are different; `Literal[1]` is not `Literal[True]`."""

    __slots__ = ("parts", "source")

    def __init__(self, source: Any) -> None:
        self.source = source
        self.parts = _parts_of(source)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Key) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


def _parts_of(source: Any) -> Any:
    origin, arguments = get_origin(source), get_args(source)
    if origin is Literal:
        return (origin, *((type(value), value) for value in arguments))
    if arguments:
        return (origin, *map(_parts_of, arguments))
    return source


def _made_for(source: Any, label: str) -> _Made:
    """Return what pydantic makes of a type; once for each type.

    Raises:
        ConfigError: it is no type, or has no JSON Schema.
    """
    if not (isinstance(source, type) or get_origin(source) or source in (None, Any) or _is_named(source)):
        raise ConfigError(
            f"output_type {short_repr(source)} is no type: give a pydantic model, a dataclass, a TypedDict, an enum, "
            "list[…], dict[str, …], Literal[…], int, float, bool or str"
        )
    load("pydantic", "pydantic.type_adapter")
    from pydantic.errors import PydanticUserError

    try:
        key = _Key(source)
        try:
            hash(key)
        except TypeError:  # Annotated with something mutable
            return _make(key)
        return _make_once(key)
    except (PydanticUserError, NameError) as error:
        reason = str(error).partition(". ")[0].partition("\n")[0].rstrip(".")
    except (Exception, SystemExit) as error:  # of the type's own code, which makes its schema
        reason = error_text(error)
    raise ConfigError(
        f"output_type {label} has no JSON Schema: {reason}. Use pydantic models, dataclasses, lists, dicts, "
        "Literal, enums, str, int, float and bool in it"
    )


def _make(key: _Key) -> _Made:
    from pydantic import TypeAdapter, ValidationError, create_model

    adapter: TypeAdapter[Any] = TypeAdapter(key.source)
    schema = dict(adapter.json_schema())
    definitions = schema.pop("$defs", {})
    root = schema
    if "$ref" in schema:  # of a type that refers to itself
        root = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
        del root["$ref"]
    read = adapter.validator.validate_json
    readers: tuple[Callable[[str], Any], ...] = (read,)
    if root.get("type") != "object":
        around: Any = create_model(ANSWER, answer=(key.source, ...))
        read_around = around.__pydantic_validator__.validate_json
        readers = (lambda text: read_around(text).answer, read)
        root = {"type": "object", "properties": {ANSWER: schema}, "required": [ANSWER], "additionalProperties": False}
    if definitions:
        root["$defs"] = definitions
    return _Made(root, readers, ValidationError)


_make_once = functools.lru_cache(maxsize=_KEPT)(_make)


def _is_named(source: Any) -> bool:
    """Whether it is a `type X = …` statement of Python 3.12, or a NewType."""
    return hasattr(source, "__value__") or hasattr(source, "__supertype__")


def _candidates(text: str, made: _Made) -> Iterator[tuple[str, bool]]:
    """Yield texts that may be the JSON of an answer, the likeliest first, and whether it is a word made a string."""
    yield text, False
    content = without_fence(text)
    if content != text:
        yield content, False
    for value in values_in(content):
        if value != content:
            yield value, False
    if len(made.readers) > 1 and not content.startswith(("{", "[")):
        yield json.dumps(content), True


def _distance(error: Any, *, is_word: bool) -> int:
    """Return how far a text was from an answer: 0 for JSON whose content is wrong; more the less of it is there."""
    if error.error_count() > 1:
        return 0
    (problem,) = error.errors(include_url=False, include_context=False, include_input=False)
    if problem["type"] == "json_invalid":
        return 3
    is_around = error.title == ANSWER and (problem["type"] == "missing" or not problem["loc"])
    if is_word:
        return 4 if is_around else 2
    return 1 if is_around else 0


def _problems(error: Any, made: _Made) -> tuple[str, ...]:
    problems = error.errors(include_url=False, include_context=False)
    if len(made.readers) > 1 and error.title != ANSWER:  # named as where the object is around it
        problems = [problem | {"loc": (ANSWER, *problem["loc"])} if problem["loc"] else problem for problem in problems]
    return tuple(in_words(problems, "a part of it", "the answer"))
