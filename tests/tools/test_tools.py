from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import sys
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import pytest
from pydantic import TypeAdapter

from whisper_nb.core.errors import ConfigError
from whisper_nb.core.messages import ToolCall, ToolMessage, ToolSchema
from whisper_nb.tools.calls import RESULT_LIMIT, call_tool
from whisper_nb.tools.functions import FunctionTool, as_tool
from whisper_nb.tools.tool import Tool


def rows(table: str, limit: int = 10, kind: Literal["head", "tail"] = "head") -> list[dict[str, Any]]:
    """The first rows of a table.

    As a list of records.
    """
    return [{"table": table, "row": row, "kind": kind} for row in range(limit)]


async def double(number: int) -> int:
    await asyncio.sleep(0)
    return 2 * number


class Clock:
    """A tool that is not a function."""

    @property
    def name(self) -> str:
        return "clock"

    @property
    def schema(self) -> ToolSchema:
        return ToolSchema("clock", "The time.")

    async def __call__(self, arguments: dict[str, Any]) -> str:
        return "noon"

    def hour(self) -> int:
        return 12


async def call(function: Callable[..., Any] | Tool, arguments: str = "{}") -> ToolMessage:
    tool = as_tool(function)
    return await call_tool({tool.name: tool}, ToolCall("c1", tool.name, arguments))


# Schemas


def test_the_schema_is_derived_from_the_functions_signature_and_docstring() -> None:
    schema = FunctionTool(rows).schema
    assert schema.name == "rows"
    assert schema.description == "The first rows of a table.\n\nAs a list of records."
    assert schema.parameters["type"] == "object"
    assert schema.parameters["required"] == ["table"]
    assert schema.parameters["properties"]["limit"]["type"] == "integer"
    assert schema.parameters["properties"]["kind"]["enum"] == ["head", "tail"]


def test_the_schema_of_a_function_is_created_once() -> None:
    tool = FunctionTool(rows)
    assert tool.schema is tool.schema


def test_a_function_without_docstring_and_annotations_is_a_tool() -> None:
    def quiet(anything):  # type: ignore[no-untyped-def]
        return anything

    assert FunctionTool(quiet).schema.description == ""
    assert list(FunctionTool(quiet).schema.parameters["properties"]) == ["anything"]


def test_annotations_without_a_json_schema_are_an_error_that_names_the_tool() -> None:
    def strange(event: threading.Event) -> None: ...

    with pytest.raises(ConfigError, match=r"tool strange: .*threading\.Event"):
        _ = FunctionTool(strange).schema


# Values that are tools


def test_a_tool_object_is_used_unchanged() -> None:
    clock, tool = Clock(), FunctionTool(rows)
    assert as_tool(clock) is clock
    assert as_tool(tool) is tool
    assert as_tool(clock.hour) == FunctionTool(clock.hour)


@pytest.mark.parametrize("source", [5, None, lambda: 1, functools.partial(rows, "t"), Clock])
def test_a_value_that_is_not_a_tool_is_an_error(source: Any) -> None:
    with pytest.raises(ConfigError, match="is not a tool: give a named function"):
        as_tool(source)


def test_a_function_defined_again_is_the_same_tool() -> None:
    def define(offset: int, step: int = 1, *, sign: int = 1) -> Callable[[int], int]:
        def shift(number: int, step: int = step, *, sign: int = sign) -> int:
            return number + offset + step * sign

        return shift

    assert FunctionTool(define(1)) == FunctionTool(define(1))
    assert hash(FunctionTool(define(1))) == hash(FunctionTool(define(1)))
    assert FunctionTool(define(1)) != FunctionTool(define(2))
    assert FunctionTool(define(1, 2)) != FunctionTool(define(1, 3))
    assert FunctionTool(define(1, sign=1)) != FunctionTool(define(1, sign=-1))
    assert FunctionTool(rows) != FunctionTool(double)
    assert FunctionTool(rows) != rows
    assert repr(FunctionTool(rows)) == "FunctionTool(rows)"


def test_methods_of_two_objects_are_two_tools() -> None:
    one, other = Clock(), Clock()
    assert FunctionTool(one.hour) == FunctionTool(one.hour)
    assert FunctionTool(one.hour) != FunctionTool(other.hour)


def test_a_function_with_an_unbound_closure_variable_can_be_compared() -> None:
    def define() -> tuple[Callable[[], int], Callable[[], int]]:
        def early() -> int:
            return later

        copy = early
        assert FunctionTool(early) == FunctionTool(copy)
        later = 1
        return early, copy

    early, copy = define()
    assert FunctionTool(early) == FunctionTool(copy)


# Calls


async def test_a_plain_function_runs_in_a_thread() -> None:
    def where() -> int:
        return threading.get_ident()

    assert (await call(where)).text != str(threading.get_ident())


async def test_a_coroutine_function_runs_on_the_loop() -> None:
    async def where() -> int:
        return threading.get_ident()

    assert (await call(where)).text == str(threading.get_ident())


async def test_arguments_are_checked_and_converted() -> None:
    assert (await call(double, '{"number": "21"}')).text == "42"
    wrong = await call(double, '{"number": "many"}')
    assert wrong.is_error
    assert "number" in wrong.text
    missing = await call(double)
    assert missing.is_error
    unknown = await call(double, '{"number": 1, "colour": "red"}')
    assert unknown.is_error


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("as it is", "as it is"),
        (None, "null"),
        ({"ü": [1, 2.5]}, '{"ü": [1, 2.5]}'),
        ({1, }, "{1}"),
        ({("a", 1): 2}, "{('a', 1): 2}"),
    ],
)  # fmt: skip
async def test_the_result_of_a_tool_is_converted_to_text(value: object, text: str) -> None:
    def give() -> Any:
        return value

    result = await call(give)
    assert not result.is_error
    assert result.text in (text, json.dumps(text))


async def test_a_result_that_contains_itself_is_converted_to_text() -> None:
    def endless() -> Any:
        loop: list[Any] = []
        loop.append(loop)
        return loop

    assert await call(endless) == ToolMessage("c1", "endless", "[[...]]")


async def test_an_object_with_the_tool_protocol_is_called() -> None:
    assert await call(Clock()) == ToolMessage("c1", "clock", "noon")


async def test_a_decorated_coroutine_function_is_awaited() -> None:
    @functools.wraps(double)
    def wrapped(*args: Any, **kwargs: Any) -> Coroutine[Any, Any, int]:
        return double(*args, **kwargs)

    assert await call(wrapped, '{"number": 4}') == ToolMessage("c1", "double", "8")


async def test_a_plain_function_sees_the_context_of_its_caller() -> None:
    cell = contextvars.ContextVar("cell", default="none")

    def where() -> str:
        return cell.get()

    cell.set("In[3]")
    assert (await call(where)).text == "In[3]"


# Errors


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"tabel": "t"}, "table is missing; tabel is not an argument"),
        ({"table": 3}, "table is 3: Input should be a valid string"),
        (
            {"table": "t", "limit": "many", "kind": "x"},
            (
                "limit is 'many': Input should be a valid integer, unable to parse string as an integer; "
                "kind is 'x': Input should be 'head' or 'tail'"
            ),
        ),
    ],
)
async def test_wrong_arguments_are_told_to_the_model_in_words(arguments: dict[str, Any], said: str) -> None:
    result = await call(rows, json.dumps(arguments))
    assert result.text == f"error: TypeError: wrong arguments for rows: {said}. Its arguments: table, limit, kind"


async def test_many_wrong_arguments_are_told_in_part() -> None:
    def total(numbers: list[int]) -> int:
        return sum(numbers)

    said = (await call(total, json.dumps({"numbers": ["x"] * 500}))).text
    assert "numbers.9 is 'x'" in said
    assert "; and 490 more. Its arguments: numbers" in said
    assert len(said) < 1500


async def test_a_validation_error_of_the_function_itself_is_told_as_its_own() -> None:
    def check(age: str) -> int:
        return TypeAdapter(int).validate_python(age)

    said = (await call(check, '{"age": "old"}')).text
    assert said.startswith("error: ValidationError: 1 validation error for int")


@pytest.mark.parametrize("arguments", ["{", "[1]", "null", '"text"', "{}{}", " "])
async def test_arguments_that_are_not_a_json_object_are_an_error_result(arguments: str) -> None:
    result = await call(double, arguments)
    assert result.is_error
    assert result.text.startswith("error: ")


async def test_empty_arguments_are_an_empty_object() -> None:
    assert (await call(Clock(), "")).text == "noon"


async def test_a_call_of_an_unknown_tool_names_the_known_tools() -> None:
    result = await call_tool({"rows": FunctionTool(rows)}, ToolCall("c1", "row", "{}"))
    assert result == ToolMessage("c1", "row", "error: no tool named 'row'; there are: rows", True)
    nothing = await call_tool({}, ToolCall("c1", "row", "{}"))
    assert nothing.text.endswith("there are: none")


@pytest.mark.parametrize(
    "error", [ValueError("no such table"), KeyError("t"), AssertionError(), RecursionError("deep")]
)
async def test_any_error_of_a_tool_is_its_result(error: Exception) -> None:
    def sync() -> None:
        raise error

    async def coroutine() -> None:
        raise error

    for function in (sync, coroutine):
        result = await call(function)
        assert result.is_error
        assert type(error).__name__ in result.text
        assert str(error) in result.text


async def test_a_stop_iteration_of_a_tool_is_its_result() -> None:
    def sync() -> None:
        next(iter(()))

    async def coroutine() -> None:
        next(iter(()))

    for function in (sync, coroutine):
        result = await call(function)
        assert result.is_error
        assert "raised StopIteration" in result.text


async def test_a_tool_that_exits_ends_its_call_and_not_the_process() -> None:
    def sync() -> None:
        sys.exit("usage: …")

    async def coroutine() -> None:
        sys.exit("usage: …")

    for function in (sync, coroutine):
        result = await call(function)
        assert result.is_error
        assert result.text.startswith("error: SystemExit: usage: … (test_tools.py:")


async def test_an_interrupt_of_a_tool_in_a_thread_is_its_result() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    result = await call(interrupted)
    assert result.is_error
    assert result.text.startswith("error: KeyboardInterrupt: KeyboardInterrupt (test_tools.py:")


async def test_an_interrupt_on_the_main_threads_loop_passes_through() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        await call(interrupted)


def test_an_interrupt_cannot_end_the_loop_of_another_thread() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with ThreadPoolExecutor(1) as pool:
        result = pool.submit(asyncio.run, call(interrupted)).result()
    assert result.text.startswith("error: KeyboardInterrupt")


async def test_a_test_runners_outcome_passes_through_a_tool_call() -> None:
    def sync() -> None:
        pytest.fail("from the tool")

    async def coroutine() -> None:
        pytest.fail("from the tool")

    for function in (sync, coroutine):
        with pytest.raises(pytest.fail.Exception, match="from the tool"):
            await call(function)


async def test_cancellation_passes_through() -> None:
    started = asyncio.Event()

    async def slow() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(call(slow))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_very_long_result_is_truncated_and_says_so() -> None:
    async def flood() -> str:
        return "x" * (RESULT_LIMIT + 5)

    text = (await call(flood)).text
    assert text.startswith("x" * RESULT_LIMIT + "\n")
    assert text.endswith("5 more characters were cut: ask for less at once")
