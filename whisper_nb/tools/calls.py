"""Tool calls: run the tool that a model asks for, and return its result or its error as a message."""

from __future__ import annotations

import asyncio
import json
import threading
import traceback
from pathlib import Path
from typing import Any

from ..core.messages import ToolCall, ToolMessage
from ..core.text import error_text, valid_unicode
from .functions import FunctionTool, from_notebook
from .tool import MainThread, Tool

#: The most characters of a result: it stays in the history, where every later call pays for it.
RESULT_LIMIT = 100_000


async def call_tool(tools: dict[str, Tool], call: ToolCall, main: MainThread | None = None) -> ToolMessage:
    """Run one tool call. Every failure becomes a result, which the model can read and act on.

    Args:
        tools: the agent's tools, by name.
        call: the model's request.
        main: runs tools that touch the notebook's variables; None runs them like all others.

    Raises:
        CancelledError: the run was cancelled.
        KeyboardInterrupt: it was raised on the main thread's event loop, and is the user's.
        BaseException: the outcome of a test runner, such as pytest's `Failed`.
    """
    tool = tools.get(call.name)
    if tool is None:
        known = ", ".join(tools) or "none"
        return _error(call, f"no tool named {call.name!r}; there are: {known}")
    try:
        arguments = json.loads(call.arguments or "{}")
        if not isinstance(arguments, dict):
            raise TypeError(f"arguments must be a JSON object, not {type(arguments).__name__}")
        return ToolMessage(call.id, call.name, _capped(valid_unicode(await _run(tool, arguments, main))))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Not the run but something inside the tool was cancelled: the call still needs a result.
        return _error(call, "something that the tool awaited was cancelled")
    except BaseException as error:  # a tool is a user's code: even its sys.exit() must not end the agent
        if not _is_failure(error, tool):
            raise
        return _error(call, f"{type(error).__name__}: {error_text(error)}{_location(error)}")


async def _run(tool: Tool, arguments: dict[str, Any], main: MainThread | None) -> str:
    if isinstance(tool, FunctionTool):
        return await tool(arguments, main if tool.touches_notebook else None)
    if main is not None and from_notebook(type(tool)):
        return await main.await_main(tool(arguments))
    return await tool(arguments)


def _is_failure(error: BaseException, tool: Tool) -> bool:
    if isinstance(error, KeyboardInterrupt):
        # Python raises it on the main thread alone. Where the loop is another's, or the tool runs in a thread, it came
        # with the tool's outcome: the user has interrupted the tool and not the agent.
        on_main_thread = threading.current_thread() is threading.main_thread()
        return not on_main_thread or (isinstance(tool, FunctionTool) and tool.runs_in_thread)
    return isinstance(error, Exception | SystemExit | GeneratorExit)


def _error(call: ToolCall, text: str) -> ToolMessage:
    return ToolMessage(call.id, call.name, f"error: {text}", True)


def _capped(text: str) -> str:
    if len(text) <= RESULT_LIMIT:
        return text
    return f"{text[:RESULT_LIMIT]}\n… {len(text) - RESULT_LIMIT:,} more characters were cut: ask for less at once"


def _location(error: BaseException) -> str:
    """Return where in the user's code the error was raised; empty if it was raised here, about the arguments."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or Path(frames[-1].filename).parent == Path(__file__).parent:
        return ""
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno}, in {frames[-1].name})"
