"""Candidates of tab completion: commands, agents, runs, flags and their values. Imported at the first tab."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, get_args

from ...config.aiconfig import CONFIG_FIELDS
from ...config.providers import known_models
from ...engine.home import Where
from ...engine.images import is_picture
from ...engine.runs import Run
from ...engine.session import Session
from ...tools.functions import is_of_cells
from ..form.choices import type_choices
from ..workbench import Workbench
from .commands.runs import ask
from .commands.table import COMMANDS
from .grammar import CELL, Command

#: Runs of an agent that are offered although they are finished.
_LAST = 20
_SETTINGS = {f"{field}=": "field" for field in CONFIG_FIELDS}


def complete(bench: Workbench, line: str, *, is_cell: bool) -> tuple[str, dict[str, str]]:
    """Return the word being typed, and its candidates with their kinds, the likeliest first.

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
    if any(word.startswith("#") for word in before):
        return typed, {}
    found = _candidates(bench, before, typed, is_cell)
    return typed, {word: kind for word, kind in found.items() if word.startswith(typed)}


def _candidates(bench: Workbench, before: Sequence[str], typed: str, is_cell: bool) -> dict[str, str]:
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
        return _values(bench, command, before[-1], typed)
    given = [word for last, word in zip(("", *before), before, strict=False) if word[0] != "-" and last not in valued]
    if command is ask and (len(given) > 1 or "--" in before):
        return {}  # the prompt has begun
    return _positional(bench, command, given, typed) | _all("flag", command.flags)


def _all(kind: str, words: Iterable[str]) -> dict[str, str]:
    return dict.fromkeys(words, kind)


def _variables(bench: Workbench, is_one: Callable[[Any], bool]) -> list[str]:
    found: list[str] = []
    for name, value in bench.shell.user_ns.items():
        with suppress(Exception):  # of a proxy of a user's class, even `__class__` may raise anything
            if not name.startswith("_") and is_one(value):
                found.append(name)
    return sorted(found)


def _runs(bench: Workbench, of_agent: Callable[[Session], Iterable[Run]], typed: str) -> dict[str, str]:
    """Return runs and variables that hold one. After `bob#`, runs of bob alone."""
    name, hash_, _ = typed.partition("#")
    sessions = [one for one in bench.runtime.sessions if not hash_ or one.name == name]
    runs = [run.id for session in sessions for run in of_agent(session)]
    return _all("run", [*runs, *_variables(bench, lambda value: isinstance(value, Run))])


def _queued(session: Session) -> list[Run]:
    return [run for run in session.unfinished if run is not session.current]


def _newest(session: Session) -> list[Run]:
    """Return the unfinished runs and the last ones, the newest first."""
    return sorted({*session.unfinished, *session.runs[-_LAST:]}, key=lambda run: -run.number)


def _values(bench: Workbench, command: Command, flag: str, typed: str) -> dict[str, str]:
    match flag:
        case "--before":
            return _runs(bench, _queued, typed)
        case "--model":
            return _all("model", known_models())
        case "--tools":
            names = typed.split(",")[:-1]  # a list without spaces
            found = [name for name in _variables(bench, is_of_cells) if name not in names]
            return _all("function", (",".join([*names, name]) for name in found))
        case "--set":
            return _SETTINGS
        case "--schema":
            return _all("type", (one.name for one in type_choices(bench.shell.user_ns)))
        case "--memory":
            return _all("value", ("all", "none", "last:10", "tokens:4000"))
        case "--image":
            return _all("image", _variables(bench, is_picture))
        case _:
            choices = (options.get("choices", ()) for flags, options in command.arguments if flag in flags)
            return _all("value", (value for some in choices for value in some))


def _positional(bench: Workbench, command: Command, given: Sequence[str], typed: str) -> dict[str, str]:
    """Return the candidates for a word without a flag, after the given ones."""
    if not command.arguments:
        return {}
    agents = _all("agent", (session.name for session in bench.runtime.sessions if session.name not in given))
    match command.arguments[0][0][0]:
        case "names":
            return agents
        case "runs":
            found = agents | _runs(bench, lambda session: session.unfinished, typed)
            return {word: kind for word, kind in found.items() if word not in given}
        case "run" if not given:
            return _runs(bench, _queued, typed)
        case "target" if not given:
            return agents | _runs(bench, _newest, typed)
        case "where" if not given:
            return _all("value", get_args(Where))
        case "topic" if not given:
            return _all("command", COMMANDS)
        case "name" if not given:
            return agents
        case "name" if any(flags == ("values",) for flags, _ in command.arguments):
            return _SETTINGS
        case _:
            return {}
