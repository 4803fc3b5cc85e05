"""whisper_nb: a team of LLM agents that works in the background of your notebook.

`%load_ext whisper_nb` in a notebook; `async with whisper_nb.Runtime() as rt` in a script.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from .config.agents import Agent as Agent
    from .config.aiconfig import AIConfig as AIConfig
    from .core.errors import BudgetExceeded as BudgetExceeded
    from .core.errors import ConfigError as ConfigError
    from .core.errors import ContentFiltered as ContentFiltered
    from .core.errors import EmptyReply as EmptyReply
    from .core.errors import LengthExceeded as LengthExceeded
    from .core.errors import LimitExceeded as LimitExceeded
    from .core.errors import ModelError as ModelError
    from .core.errors import OutputInvalid as OutputInvalid
    from .core.errors import PromptLimitExceeded as PromptLimitExceeded
    from .core.errors import RunCancelled as RunCancelled
    from .core.errors import RunFailed as RunFailed
    from .core.errors import SessionClosed as SessionClosed
    from .core.errors import SessionError as SessionError
    from .core.errors import TurnLimitExceeded as TurnLimitExceeded
    from .core.errors import WhisperError as WhisperError
    from .core.events import Record as Record
    from .engine.preview import Preview as Preview
    from .engine.runs import Run as Run
    from .engine.session import Session as Session
    from .models.offline import FunctionModel as FunctionModel
    from .models.offline import Rule as Rule
    from .models.offline import ScriptedModel as ScriptedModel
    from .notebook.extension import configure as configure
    from .notebook.extension import runtime as runtime
    from .notebook.runtime import Runtime as Runtime
    from .store.store import Store as Store
    from .team.budgets import Budget as Budget
    from .tools.tool import Tool as Tool

__version__ = "0.1.0"

#: Public name → its module. Loaded at first use: `import whisper_nb` and `%load_ext` stay quick.
_HOMES = {
    "AIConfig": "config.aiconfig",
    "Agent": "config.agents",
    "Budget": "team.budgets",
    "BudgetExceeded": "core.errors",
    "ConfigError": "core.errors",
    "ContentFiltered": "core.errors",
    "EmptyReply": "core.errors",
    "FunctionModel": "models.offline",
    "LengthExceeded": "core.errors",
    "LimitExceeded": "core.errors",
    "ModelError": "core.errors",
    "OutputInvalid": "core.errors",
    "Preview": "engine.preview",
    "PromptLimitExceeded": "core.errors",
    "Record": "core.events",
    "Rule": "models.offline",
    "Run": "engine.runs",
    "RunCancelled": "core.errors",
    "RunFailed": "core.errors",
    "Runtime": "notebook.runtime",
    "ScriptedModel": "models.offline",
    "Session": "engine.session",
    "SessionClosed": "core.errors",
    "SessionError": "core.errors",
    "Store": "store.store",
    "Tool": "tools.tool",
    "TurnLimitExceeded": "core.errors",
    "WhisperError": "core.errors",
    "configure": "notebook.extension",
    "runtime": "notebook.extension",
}
__all__ = [*_HOMES, "load_ipython_extension", "unload_ipython_extension"]  # noqa: PLE0604


def __getattr__(name: str) -> Any:
    if name == "events":
        return import_module(".events", __name__)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    value.__module__ = __name__  # where users import it from, in tracebacks and help()
    value.__name__ = value.__qualname__ = name
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__", "events"])


def load_ipython_extension(shell: InteractiveShell) -> None:
    """`%load_ext whisper_nb`: register the magics, print one line."""
    from .notebook.extension import load

    load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """`%unload_ext whisper_nb`: take the magics off. Agents live on in `whisper_nb.runtime()`."""
    from .notebook.extension import unload

    unload(shell)
