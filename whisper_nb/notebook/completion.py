"""Tab completion: subcommands, agents, runs, flags and their values."""

from __future__ import annotations

from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from .commands import CELL, COMMANDS, Command, known_models
from .magics import Names
from .team import Team


def register(shell: InteractiveShell, team: Team, names: Names) -> None:
    """Complete after every name of the magic."""
    for root in names.roots:
        for key in (f"%{root}", f"%%{root}"):
            shell.set_hook("complete_command", lambda _, event: complete(team, event), str_key=key)


def complete(team: Team, event: Any) -> list[str]:
    """The words that may stand where the cursor is."""
    words = event.line[: len(event.text_until_cursor)].split() if event.line else []
    typed = event.symbol
    before = words[1:-1] if typed and words and words[-1].endswith(typed) else words[1:]
    return [
        word
        for word in candidates(team, words[0].startswith("%%") if words else False, before)
        if word.startswith(typed)
    ]


def candidates(team: Team, is_cell: bool, before: list[str]) -> list[str]:
    """What may follow the words `before`."""
    agents = [session.name for session in team.runtime.sessions]
    if is_cell:
        return agents if not before else [*_values(CELL, before[-1]), *CELL.flags]
    if not before:
        return list(COMMANDS)
    command = COMMANDS.get(before[0])
    if command is None:
        return []
    if values := _values(command, before[-1]):
        return values
    unfinished = [run.id for session in team.runtime.sessions for run in session.unfinished]
    return [
        *agents,
        *(unfinished if before[0] in ("wait", "cancel") else []),
        *command.flags,
        *(COMMANDS if before[0] == "help" else []),
    ]


def _values(command: Command, flag: str) -> list[str]:
    if flag == "--model" and flag in command.flags:
        return known_models()
    for flags, options in command.arguments:
        if flag in flags and flag.startswith("-"):
            return list(options.get("choices", ()))
    return []
