"""Tool calls: run what a model asks for, and give it the result or the error."""

from __future__ import annotations

import asyncio
import json
import traceback
from pathlib import Path
from typing import Any

from ..core.messages import ToolCall, ToolMessage
from ..core.text import error_text, valid_unicode
from .functions import FunctionTool, from_notebook
from .tool import MainThread, Tool

#: The most characters of a tool's result that go to the model, and into the history, where every later call pays for it.
RESULT_LIMIT = 100_000


async def call_tool(tools: dict[str, Tool], call: ToolCall, main: MainThread | None = None) -> ToolMessage:
    """Run one tool call. Every failure but cancellation becomes a result that the model can read and act on.

    Args:
        tools: by name.
        call: what the model asks for.
        main: where what touches a notebook's variables runs; None: just as everything else.
    """
    tool = tools.get(call.name)
    if tool is None:
        known = ", ".join(tools) or "none"
        return ToolMessage(call.id, call.name, f"error: no tool named {call.name!r}; there are: {known}", True)
    try:
        arguments = json.loads(call.arguments or "{}")
        if not isinstance(arguments, dict):
            raise TypeError(f"arguments must be a JSON object, not {type(arguments).__name__}")
        return ToolMessage(call.id, call.name, _capped(valid_unicode(await _run(tool, arguments, main))))
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        # Nobody cancelled this run: something inside the tool was, and the call still needs a result.
        return ToolMessage(call.id, call.name, "error: something that the tool awaited was cancelled", True)
    except BaseException as error:  # a tool is the user's code: even its sys.exit() is only its result
        return ToolMessage(
            call.id, call.name, f"error: {type(error).__name__}: {error_text(error)}{_place(error)}", True
        )


async def _run(tool: Tool, arguments: dict[str, Any], main: MainThread | None) -> str:
    if isinstance(tool, FunctionTool):
        return await tool(arguments, main if tool.touches_notebook else None)
    if main is not None and from_notebook(type(tool)):
        return await main.await_main(tool(arguments))
    return await tool(arguments)


def _capped(text: str) -> str:
    if len(text) <= RESULT_LIMIT:
        return text
    return f"{text[:RESULT_LIMIT]}\n… {len(text) - RESULT_LIMIT:,} more characters were cut: ask for less at once"


def _place(error: BaseException) -> str:
    """Where in the user's code it happened, for a person to look at and a model to be told."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or Path(frames[-1].filename).parent == Path(__file__).parent:  # the arguments were wrong
        return ""
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno}, in {frames[-1].name})"
