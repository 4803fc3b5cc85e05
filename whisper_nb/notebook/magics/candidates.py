"""Candidates of tab completion: commands, agents, runs, flags and their values. Imported at the first tab."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, get_args

from ...config.aiconfig import CONFIG_FIELDS
from ...config.providers import known_models
from ...engine.home import Where
from ...engine.images import is_picture
from ...engine.runs import Run
from ..cells.interpolate import is_of_cells
from ..workbench import Workbench
from .commands.table import COMMANDS
from .grammar import CELL, Command

_SETTINGS = {f"{field}=": "field" for field in CONFIG_FIELDS}


def complete(bench: Workbench, line: str, *, is_cell: bool) -> tuple[str, dict[str, str]]:
    """Return the word being typed, and its candidates with their kinds.

    Args:
        bench: the workbench.
        line: the text between the magic's name and the cursor.
        is_cell: whether it is a cell magic.
    """
    *before, typed = line.split(" ")
    before = [word for word in before if word]
    flag, equals, value = typed.rpartition("=")
    if equals:
        before, typed = [*before, flag], value
    found = _candidates(bench, before, is_cell)
    return typed, {word: kind for word, kind in found.items() if word.startswith(typed)}


def _candidates(bench: Workbench, before: Sequence[str], is_cell: bool) -> dict[str, str]:
    if is_cell:
        command = CELL
    elif not before:
        return _all("command", COMMANDS)
    elif before[0] not in COMMANDS:
        return {}
    else:
        command = COMMANDS[before[0]]
        before = before[1:]
    valued = command.valued
    if before and before[-1] in valued and before[-1].startswith("-"):
        return _values(bench, command, before[-1])
    given = [word for last, word in zip(("", *before), before, strict=False) if word[0] != "-" and last not in valued]
    return _positional(bench, command, given) | _all("flag", command.flags)


def _all(kind: str, words: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(words, kind)


def _variables(bench: Workbench, is_one: Callable[[Any], bool]) -> list[str]:
    return [name for name, value in bench.shell.user_ns.items() if is_one(value) and not name.startswith("_")]


def _values(bench: Workbench, command: Command, flag: str) -> dict[str, str]:
    match flag:
        case "--model":
            return _all("model", known_models())
        case "--tools":
            return _all("function", _variables(bench, is_of_cells))
        case "--set":
            return _SETTINGS
        case "--image":
            return _all("image", _variables(bench, is_picture))
        case _:
            choices = (options.get("choices", ()) for flags, options in command.arguments if flag in flags)
            return _all("value", (value for some in choices for value in some))


def _positional(bench: Workbench, command: Command, given: Sequence[str]) -> dict[str, str]:
    """Return the candidates for a word without a flag, after the given ones."""
    if not command.arguments:
        return {}
    agents = _all("agent", (session.name for session in bench.runtime.sessions))
    match command.arguments[0][0][0]:
        case "names":
            return agents
        case "runs":
            unfinished = [run.id for session in bench.runtime.sessions for run in session.unfinished]
            return agents | _all("run", [*unfinished, *_variables(bench, lambda value: isinstance(value, Run))])
        case "where" if not given:
            return _all("value", get_args(Where))
        case "topic" if not given:
            return _all("command", COMMANDS)
        case "name" | "target" if not given:
            return agents
        case "name" if any(flags == ("values",) for flags, _ in command.arguments):
            return _SETTINGS
        case _:
            return {}
