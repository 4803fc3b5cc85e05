"""Tab completion: subcommands, agents, runs, flags and their values."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import get_args

from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher
from IPython.core.interactiveshell import InteractiveShell

from ..config import KINDS
from ..home import Where
from ..images import is_picture
from ..providers import known_models
from ..runs import Run
from .commands import COMMANDS
from .grammar import CELL, Command
from .magics import Names
from .team import Team

_SETTINGS = [f"{field}=" for field in KINDS]
#: `%agent …`, `%%agent …`, `x = %agent …`, up to the cursor.
_LINE = re.compile(r"\s*(?:[\w, ]+=\s*)?(?P<percent>%%?)(?P<root>\w+)\s+(?P<words>.*)")


def register(shell: InteractiveShell, team: Team, names: Names) -> Callable[[], None]:
    """Complete after every name of the magic; the function that is returned ends it."""

    @context_matcher(identifier="whisper_nb")
    def matcher(context: CompletionContext) -> SimpleMatcherResult:
        line = _LINE.fullmatch(context.text_until_cursor)
        if line is None or line["root"] not in names.roots:
            return {"completions": [], "suppress": False}
        typed, found = complete(team, line["words"], is_cell=line["percent"] == "%%")
        completions = [SimpleCompletion(word) for word in found]
        return {"completions": completions, "matched_fragment": typed, "suppress": bool(found)}

    shell.Completer.custom_matchers.append(matcher)
    return lambda: shell.Completer.custom_matchers.remove(matcher)


def complete(team: Team, line: str, *, is_cell: bool) -> tuple[str, list[str]]:
    """The word that is being typed at the end of what follows the magic's name, and what it may become."""
    *before, typed = line.split(" ")
    before = [word for word in before if word]
    flag, equals, value = typed.rpartition("=")
    if equals:
        before, typed = [*before, flag], value
    return typed, [word for word in _candidates(team, before, is_cell) if word.startswith(typed)]


def _candidates(team: Team, before: Sequence[str], is_cell: bool) -> list[str]:
    if is_cell:
        command = CELL
    elif not before:
        return list(COMMANDS)
    elif before[0] not in COMMANDS:
        return []
    else:
        command, before = COMMANDS[before[0]], before[1:]
    valued = command.valued
    if before and before[-1] in valued and before[-1].startswith("-"):
        return _values(team, command, before[-1])
    given = [word for last, word in zip(("", *before), before, strict=False) if word[0] != "-" and last not in valued]
    return [*_named(team, command, given), *command.flags]


def _values(team: Team, command: Command, flag: str) -> list[str]:
    match flag:
        case "--model":
            return known_models()
        case "--tools":
            user = team.shell.user_ns.items()
            return [name for name, value in user if inspect.isroutine(value) and not name.startswith("_")]
        case "--set":
            return _SETTINGS
        case "--image":
            return [
                name for name, value in team.shell.user_ns.items() if is_picture(value) and not name.startswith("_")
            ]
        case _:
            return [
                value for flags, options in command.arguments if flag in flags for value in options.get("choices", ())
            ]


def _named(team: Team, command: Command, given: Sequence[str]) -> list[str]:
    """What may stand without a flag, after the words that were given."""
    agents = [session.name for session in team.runtime.sessions]
    match command.arguments[0][0][0] if command.arguments else "":
        case "names":
            return agents
        case "runs":
            unfinished = [run.id for session in team.runtime.sessions for run in session.unfinished]
            variables = [
                name for name, value in team.shell.user_ns.items() if isinstance(value, Run) and name[0] != "_"
            ]
            return [*agents, *unfinished, *variables]
        case "where":
            return [] if given else [*get_args(Where)]
        case "topic":
            return [] if given else list(COMMANDS)
        case "name" | "target" if not given:
            return agents
        case "name" if any(flags == ("values",) for flags, _ in command.arguments):
            return _SETTINGS
        case _:
            return []
