"""Notes below a cell that has run: it contains an API key, or agents have another model or tool from now on."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from IPython.core.interactiveshell import InteractiveShell
from msgspec import Struct

from ..config.agents import Agent
from ..config.aiconfig import AIConfig
from ..core.errors import ConfigError
from ..core.text import one_line, paragraph
from ..engine.session import Session
from ..tools.tool import Tool
from .runtime import NotebookRuntime

#: The most agents that a line names.
_NAMED = 5


def key_note(remedy: str) -> str:
    """Return the note about a cell with an API key."""
    return f"note: this cell contains an API key, which is saved with the notebook. Delete it, {remedy}"


class _Told(Struct, frozen=True):
    """The model that a session's next run has, and what it was derived from, beside the config of all agents."""

    agent: Agent
    configured: AIConfig
    model: str | None


class Notes:
    """Prints notes below cells.

    Args:
        shell: runs the cells.
        runtime: has the agents.
    """

    def __init__(self, shell: InteractiveShell, runtime: NotebookRuntime) -> None:
        self._shell, self._runtime = shell, runtime
        self._shared = self._shared_model()
        self._told: WeakKeyDictionary[Session, _Told] = WeakKeyDictionary()
        self._spent_of: float | None = None  # the limit of the budget whose note was printed
        self._tools: WeakKeyDictionary[Session, tuple[Tool, ...]] = WeakKeyDictionary()

    def settle(self, result: Any = None) -> None:
        """After a cell, print its notes.

        Args:
            result: IPython's ExecutionResult.
        """
        source = getattr(getattr(result, "info", None), "raw_cell", None)
        for line in [*self._of_keys(source or ""), *self._of_models(), *self._of_tools(), *self._of_budget()]:
            print(paragraph(line))  # noqa: T201

    def _of_keys(self, source: str) -> Iterator[str]:
        """Yield a note about each variable whose key the cell has set and contains."""
        names = self._runtime.keys.named_in(source) if "env" in source else []
        if not names:
            return
        try:
            tree = ast.parse(self._shell.transform_cell(source))
        except (SyntaxError, ValueError, MemoryError, RecursionError):
            return
        literals = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and type(node.value) is str}
        for name in self._runtime.keys.written_out(names, literals):
            yield key_note(f'and set it by os.environ["{name}"] = getpass.getpass()')

    def _of_models(self) -> Iterator[str]:
        """Yield a note about the agents whose model is another one since the config of all agents was changed."""
        shared = self._shared_model()
        is_changed, self._shared = shared != self._shared, shared
        changed: dict[tuple[str, str], list[Session]] = {}
        for session in self._runtime.sessions:
            told = self._told.get(session)
            is_same = told is not None and told.agent is session.agent and told.configured is session.configured
            if is_same and not is_changed:
                continue
            with suppress(ConfigError):  # it is told where the agent runs
                model = session.config.model
                self._told[session] = _Told(session.agent, session.configured, model)
                if told is not None and is_same and told.model and model and told.model != model:
                    changed.setdefault((told.model, model), []).append(session)
        for (before, after), sessions in changed.items():
            source = self._runtime.explain(sessions[0].name).place("model")
            verb = "answer" if len(sessions) > 1 else "answers"
            yield one_line(f"{_names(sessions)} {verb} with {after} from now on ({source}), no longer with {before}")

    def _of_tools(self) -> Iterator[str]:
        """Yield a note about each function that was defined anew and is a tool of agents."""
        changed: dict[str, list[Session]] = {}
        for session in self._runtime.sessions:
            agent = session.agent
            now = agent.with_tools_of_now(self._runtime.find_tool).tools
            told = self._tools.get(session, ())
            for tool, before in zip(now, agent.tools, strict=True):
                if tool is not before and tool not in told:
                    changed.setdefault(tool.name, []).append(session)
            self._tools[session] = now
        for name, sessions in changed.items():
            verb = "use" if len(sessions) > 1 else "uses"
            yield one_line(f"{name}: {_names(sessions)} {verb} the new function from the next run on")

    def _of_budget(self) -> Iterator[str]:
        """Yield a note that most of the budget is spent, once for each limit."""
        budget = self._runtime.budget
        if budget is not None and budget.limit_usd != self._spent_of and budget.warning:
            self._spent_of = budget.limit_usd
            yield one_line(budget.warning)

    def _shared_model(self) -> str | None:
        with suppress(ConfigError):
            return self._runtime.resolve().model
        return None


def _names(sessions: Sequence[Session]) -> str:
    names = ", ".join(session.name for session in sessions[:_NAMED])
    if len(sessions) > _NAMED:
        names += f" and {len(sessions) - _NAMED} more"
    return names
