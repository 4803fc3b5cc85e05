"""Python functions as tools: the schema comes from the signature and the docstring."""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Awaitable, Callable
from types import CellType
from typing import Any, TypeVar

from ..core.errors import ConfigError
from ..core.messages import ToolSchema
from ..core.threads import in_thread
from .tool import MainThread, Tool

T = TypeVar("T")


class FunctionTool:
    """A Python function as a tool: its name, docstring and annotations are the schema.

    A coroutine function runs on the agents' loop; a plain function runs in a thread, so that it cannot block them. While
    agents live in a thread of their own, what is defined in the notebook, or is a method of an object, runs on the main
    thread instead, between cells.
    """

    __slots__ = ("_adapter", "_function", "_schema")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._adapter: Any = None
        self._schema: ToolSchema | None = None

    @property
    def name(self) -> str:
        """The function's name."""
        return self._function.__name__

    @property
    def schema(self) -> ToolSchema:
        """Made at the first use: pydantic costs time that `%load_ext` has not got.

        Raises:
            ConfigError: an annotation that no JSON can be checked against.
        """
        if self._schema is None:
            self._schema = self._of_function("schema", self._make_schema)
        return self._schema

    def _make_schema(self) -> ToolSchema:
        from pydantic.errors import PydanticUserError

        try:
            parameters = self._checked_arguments().json_schema()
        except (PydanticUserError, NameError) as error:
            reason = str(error).partition(". ")[0]
            raise ConfigError(f"tool {self.name}: a model cannot be told its arguments: {reason}") from None
        return ToolSchema(self.name, inspect.getdoc(self._function) or "", parameters)

    @property
    def touches_notebook(self) -> bool:
        """Whether what it does may be to the notebook's variables."""
        return from_notebook(self._function)

    async def __call__(self, arguments: dict[str, Any], main: MainThread | None = None) -> str:
        """Check the arguments against the annotations, call the function, and return its result as text."""
        from pydantic_core import ArgsKwargs

        check = self._checked_arguments().validate_python
        value = ArgsKwargs((), arguments)
        # The adapter checks and calls in one step; for a coroutine function the call gives the coroutine.
        if inspect.iscoroutinefunction(self._function):
            result = check(value)
        else:
            result = await (main.ask_main if main else in_thread)(check, value)
        if main and inspect.isawaitable(result):
            result = await main.await_main(result if inspect.iscoroutine(result) else _awaited(result))
        elif inspect.isawaitable(result):
            result = await result
        return _as_text(result)

    def _checked_arguments(self) -> Any:
        if self._adapter is None:
            from pydantic import TypeAdapter

            self._adapter = self._of_function("adapter", lambda: TypeAdapter[Any](self._function))  # type: ignore[arg-type]
        return self._adapter

    def _of_function(self, what: str, make: Callable[[], T]) -> T:
        """What is the same for all tools of a function, and costs a millisecond: kept on the function, and gone with it."""
        function, name = self._function, f"__whisper_nb_{what}__"
        owner, made = getattr(function, name, (None, None))
        if owner is not function:  # functools.wraps has copied it, say
            made = make()
            if inspect.isfunction(function):
                setattr(function, name, (function, made))
        return made  # type: ignore[return-value]

    def __eq__(self, other: object) -> bool:
        # A function defined again by a rerun cell is the same tool as long as it is the same code.
        return isinstance(other, FunctionTool) and _identity(self._function) == _identity(other._function)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"FunctionTool({self.name})"


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def from_notebook(source: Any) -> bool:
    """Whether it was defined in a cell, or belongs to an object that a cell holds."""
    owner = getattr(source, "__self__", None)
    cells = sys.modules["__main__"].__dict__
    mine = source.__module__ == "__main__" or getattr(inspect.unwrap(source), "__globals__", None) is cells
    return mine or not (owner is None or inspect.ismodule(owner) or inspect.isclass(owner))


def _as_text(result: object) -> str:
    if not isinstance(result, dict | list | tuple | int | float | None):
        return str(result)  # a table, say: as it prints
    try:
        return json.dumps(result, default=str, ensure_ascii=False)
    except (TypeError, ValueError):  # keys that JSON has not got, or a value that holds itself
        return str(result)


def _identity(function: Callable[..., Any]) -> tuple[object, ...]:
    return (
        id(getattr(function, "__self__", None)),
        function.__module__,
        function.__qualname__,
        getattr(function, "__code__", function),
        getattr(function, "__defaults__", None),
        getattr(function, "__kwdefaults__", None),
        tuple(_content(cell) for cell in getattr(function, "__closure__", None) or ()),
    )


def _content(cell: CellType) -> int | None:
    try:
        return id(cell.cell_contents)
    except ValueError:  # a name that is not bound yet
        return None


def as_tool(source: Tool | Callable[..., Any]) -> Tool:
    """The tool that `source` is, or a FunctionTool around it.

    Raises:
        ConfigError: it is neither a tool nor a named function.
    """
    if inspect.isroutine(source):
        if getattr(source, "__name__", "<lambda>") != "<lambda>":
            return FunctionTool(source)
    elif isinstance(source, FunctionTool) or (isinstance(source, Tool) and not inspect.isclass(source)):
        return source
    raise ConfigError(
        f"{source!r} is not a tool: give a named function (its docstring and annotations are what the model sees)"
    )
