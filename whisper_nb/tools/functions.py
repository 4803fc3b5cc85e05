"""Python functions as tools: the schema comes from the signature and the docstring."""

from __future__ import annotations

import functools
import inspect
import json
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import CellType
from typing import Any, TypeVar, cast

from ..core.errors import ConfigError
from ..core.messages import ToolSchema
from ..core.text import short_repr, shortened
from ..core.threads import in_thread
from .tool import MainThread, Tool

T = TypeVar("T")
#: The most problems with arguments that one message has.
_PROBLEMS = 10
#: The most characters that tell one of them.
_PROBLEM = 400


class FunctionTool:
    """A Python function as a tool: its name, docstring and annotations are the schema.

    A coroutine function runs on the agents' event loop. A plain function runs in a thread, so that it cannot block the
    loop. While agents live in a thread of their own, functions of the notebook and methods of its objects run on the
    main thread instead, between cells.
    """

    __slots__ = ("_adapter", "_function", "_schema")

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function = function
        self._adapter: Any = None
        self._schema: ToolSchema | None = None

    @property
    def name(self) -> str:
        """The name of the function."""
        return self._function.__name__

    @property
    def schema(self) -> ToolSchema:
        """The schema. It is made at the first use, since importing pydantic would slow `%load_ext` down.

        Raises:
            ConfigError: an annotation has no JSON schema.
        """
        if self._schema is None:
            self._schema = self._cached("schema", self._make_schema)
        return self._schema

    def _make_schema(self) -> ToolSchema:
        from pydantic.errors import PydanticUserError

        try:
            parameters = self._checked_arguments().json_schema()
        except (PydanticUserError, NameError) as error:
            reason = str(error).partition(". ")[0]
            raise ConfigError(
                f"tool {self.name}: its arguments have no JSON schema: {reason}. Annotate them with types such as "
                "str, int, list[str] or a dataclass"
            ) from None
        return ToolSchema(self.name, inspect.getdoc(self._function) or "", parameters)

    @property
    def touches_notebook(self) -> bool:
        """Whether the function may use the notebook's variables."""
        return from_notebook(self._function)

    @property
    def runs_in_thread(self) -> bool:
        """Whether the function runs in a thread, and not on an event loop."""
        return not inspect.iscoroutinefunction(self._function)

    @property
    def is_named_in_cells(self) -> bool:
        """Whether cells define the function, under its own name; not inside of another function or of a class."""
        return is_of_cells(self._function) and getattr(self._function, "__qualname__", "") == self.name

    @property
    def definition(self) -> object:
        """The code of the function; None if Python does not show it."""
        return _definition(self._function)

    async def __call__(self, arguments: dict[str, Any], main: MainThread | None = None) -> str:
        """Check the arguments against the annotations, call the function and return its result as text.

        Args:
            arguments: the arguments by name.
            main: the main thread, if the function must run there; None runs it in a thread or on this loop.

        Raises:
            TypeError: the arguments do not fit the annotations. The function was not called.
        """
        # The call of a coroutine function returns its coroutine.
        if not self.runs_in_thread:
            result = self._check_and_call(arguments)
        elif main:
            result = await main.ask_main(self._check_and_call, arguments)
        else:
            result = await in_thread(self._check_and_call, arguments, work="tool")
        if inspect.isawaitable(result):
            work = result if inspect.iscoroutine(result) else _awaited(result)
            if main:
                work = main.await_main(work)
            result = await work
        return _as_text(result)

    def _check_and_call(self, arguments: dict[str, Any]) -> Any:
        from pydantic_core import ArgsKwargs, ValidationError

        try:
            return self._checked_arguments().validate_python(ArgsKwargs((), arguments))  # it does both in one step
        except ValidationError as error:
            inner = error.__traceback__ and error.__traceback__.tb_next
            if inner and inner.tb_next:  # raised by the function: below this frame, the adapter has one
                raise
            problems = error.errors(include_url=False, include_context=False)
        names = ", ".join(self.schema.parameters.get("properties", ())) or "none"
        wrong = "; ".join(in_words(problems, "an argument", "the call"))
        raise TypeError(f"wrong arguments for {self.name}: {wrong}. Its arguments: {names}")

    def _checked_arguments(self) -> Any:
        if self._adapter is None:
            from pydantic import TypeAdapter

            self._adapter = self._cached("adapter", lambda: TypeAdapter[Any](self._function))  # type: ignore[arg-type]
        return self._adapter

    def _cached(self, what: str, make: Callable[[], T]) -> T:
        """Return an object that all tools of this function share. Made once: it takes a millisecond."""
        function = self._function
        name = f"__whisper_nb_{what}__"
        owner, made = getattr(function, name, (None, None))
        if owner is not function:  # not made yet, or copied here by functools.wraps
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


def in_words(problems: Sequence[Any], kind: str, whole: str) -> list[str]:
    """Return pydantic's problems with a value in words for a model: the part, the problem, the value.

    Args:
        problems: as `ValidationError.errors` returns them.
        kind: a part is called so: `an argument`.
        whole: the value is called so.
    """
    lines: list[str] = []
    for problem in problems[:_PROBLEMS]:
        place = ".".join(map(str, problem["loc"])) or whole
        if problem["type"].startswith("missing"):
            lines.append(f"{place} is missing")
        elif problem["type"].startswith("unexpected") or problem["type"] == "extra_forbidden":
            lines.append(f"{place} is not {kind}")
        elif problem["type"] == "json_invalid":
            lines.append(f"{whole} is no JSON: {problem['msg'].partition(': ')[2] or problem['msg']}")
        else:
            lines.append(f"{place} is {short_repr(problem['input'])}: {problem['msg']}")
    lines = [shortened(line, _PROBLEM) for line in lines]  # keys and messages may have the whole value in them
    if len(problems) > _PROBLEMS:
        lines.append(f"and {len(problems) - _PROBLEMS} more")
    return lines


async def _awaited(work: Awaitable[T]) -> T:
    return await work


def from_notebook(source: Any) -> bool:
    """Whether a function or class was defined in a cell, or is a method of an object."""
    if source.__module__ == "__main__":
        return True
    if getattr(inspect.unwrap(source), "__globals__", None) is sys.modules["__main__"].__dict__:
        return True
    owner = getattr(source, "__self__", None)
    return not (owner is None or inspect.ismodule(owner) or inspect.isclass(owner))


def _as_text(result: object) -> str:
    if not isinstance(result, dict | list | tuple | int | float | None):
        return str(result)  # for example a table, as it prints
    try:
        return json.dumps(result, default=str, ensure_ascii=False)
    except (TypeError, ValueError):  # keys that JSON does not allow, or a value that contains itself
        return str(result)


def _identity(function: Callable[..., Any]) -> tuple[object, ...]:
    """Return a value that is equal for two functions of the same code, defaults and closure."""
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


def function_in(namespace: Mapping[str, Any], name: str) -> Callable[..., Any]:
    """Return the function `name` or `module.name`, for a tool.

    Raises:
        ConfigError: there is none.
    """
    first, *rest = name.split(".")
    try:
        function = functools.reduce(getattr, rest, namespace[first])
    except (KeyError, AttributeError):
        raise ConfigError(f"tool {name!r} is not defined in this notebook; run the cell that defines it") from None
    if not callable(function):
        raise ConfigError(f"tool {name!r} is of type {type(function).__name__}; give the name of a function")
    return cast(Callable[..., Any], function)


def is_of_cells(value: Any) -> bool:
    """Whether a value is a function that the user's cells define, or a tool that they have made.

    All else in a notebook, such as `open`, `get_ipython` and what modules define, was not meant for agents.
    """
    if inspect.isroutine(value):
        # A function that functools.cache has wrapped is none for `isfunction`.
        return inspect.isfunction(inspect.unwrap(value)) and value.__module__ == "__main__"
    return isinstance(value, Tool) and not inspect.isclass(value)


def function_of_cells(namespace: Mapping[str, Any], name: str) -> Callable[..., Any]:
    """Return the function `name` for a tool that a file names.

    Raises:
        ConfigError: the user's cells define none of that name.
    """
    function = function_in(namespace, name)
    if not is_of_cells(function):
        raise ConfigError(
            f"tool {name!r} is not a function that a cell of this notebook defines, and a file can name no other. "
            "Define a function that calls it"
        )
    return function


def function_of_main(name: str) -> Callable[..., Any]:
    """Return the function of this name that the notebook, or the script that runs, defines.

    Raises:
        ConfigError: it defines none.
    """
    return function_of_cells(vars(sys.modules["__main__"]), name)


def as_defined_now(tool: Tool, find: Callable[[str], Tool | Callable[..., Any]]) -> Tool:
    """Return the tool of the function that cells define now under this tool's name; the tool itself if it is the same.

    It is also the same where both come from one `def`: a loop may give each agent a function of its own.

    Args:
        tool: a tool of an agent. Other tools than functions of cells are returned as they are.
        find: returns the function of a name that cells define, or raises ConfigError.
    """
    if not isinstance(tool, FunctionTool) or not tool.is_named_in_cells:
        return tool
    try:
        function = find(tool.name)
    except (
        Exception
    ):  # it was deleted, or is another object's name: even a proxy's, whose `__class__` may raise anything
        return tool
    if not inspect.isroutine(function) or _definition(function) is tool.definition:
        return tool
    now = FunctionTool(function)
    return now if now.is_named_in_cells and now.name == tool.name and now != tool else tool


def _definition(function: Callable[..., Any]) -> object:
    """Return the code of a function, without decorators. It is one object for all functions of one executed `def`."""
    return getattr(inspect.unwrap(function), "__code__", None)


def as_tool(source: Tool | Callable[..., Any] | str) -> Tool:
    """Return `source` itself if it is a tool, else a FunctionTool of it.

    Args:
        source: a tool; a function; or the name of a function that the notebook, or the script that runs, defines.

    Raises:
        ConfigError: it is neither a tool nor a named function.
    """
    if isinstance(source, str):
        try:
            source = function_in(vars(sys.modules["__main__"]), source)
        except ConfigError as error:
            raise ConfigError(f"{error}. In a script, pass the function itself: tools=({source},)") from None
    if inspect.isroutine(source):
        if getattr(source, "__name__", "<lambda>") != "<lambda>":
            return FunctionTool(source)
    elif isinstance(source, FunctionTool) or (isinstance(source, Tool) and not inspect.isclass(source)):
        return source
    raise ConfigError(
        f"{source!r} is not a tool: give a named function; its docstring and annotations are sent to the model"
    )
