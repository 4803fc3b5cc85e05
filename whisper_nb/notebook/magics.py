"""`%agent`, `%%agent`, `%agents` and their `%whisper` twins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import needs_local_scope, no_var_expand

from ..errors import ConfigError, WhisperError
from .commands import ASK, CELL, COMMANDS, order, overview, split_ask
from .team import Team

_ROOTS = ("agent", "whisper")


@dataclass(frozen=True, slots=True)
class Names:
    """The names under which the magics are registered here."""

    roots: tuple[str, ...]
    lists: tuple[str, ...]

    @property
    def root(self) -> str:
        """The one to tell people."""
        return self.roots[0]


def register(shell: InteractiveShell, team: Team) -> Names:
    """Register the magics. A name that another extension owns is left to it; `%whisper` and `%%whisper` always are ours."""
    magic, panel = _magic(team), _panel(team)
    roots = tuple(name for name in _ROOTS if name == "whisper" or _is_free(shell, name, magic))
    lists = tuple(name for name in ("agents",) if _is_free(shell, name, panel))
    for name in roots:
        shell.register_magic_function(magic, "line_cell", name)
    for name in lists:
        shell.register_magic_function(panel, "line", name)
    team.root = roots[0]
    return Names(roots, lists)


def unregister(shell: InteractiveShell, names: Names) -> None:
    """Take the magics off again."""
    for kind, owned in (("line", (*names.roots, *names.lists)), ("cell", names.roots)):
        for name in owned:
            shell.magics_manager.magics[kind].pop(name, None)


def _is_free(shell: InteractiveShell, name: str, ours: Callable[..., Any]) -> bool:
    taken = [shell.magics_manager.magics[kind].get(name) for kind in ("line", "cell")]
    return all(magic is None or getattr(magic, "__module__", None) == ours.__module__ for magic in taken)


def _magic(team: Team) -> Callable[..., object]:
    @no_var_expand
    @needs_local_scope
    def agent(line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> object:
        try:
            if cell is not None:
                args = CELL.parser(f"%{team.root}").parse_args(team.words(line, local_ns))
                team.launch(order(args, cell.strip("\n")), local_ns)
                return None
            return _dispatch(team, line.strip(), local_ns)
        except (WhisperError, TimeoutError) as error:
            raise UsageError(str(error)) from None

    agent.__doc__ = overview("agent")
    return agent


def _panel(team: Team) -> Callable[..., object]:
    @no_var_expand
    def agents(line: str) -> None:
        """The team at a glance."""
        _dispatch(team, "list", None)

    return agents


def _dispatch(team: Team, line: str, local_ns: Mapping[str, Any] | None) -> object:
    word, _, rest = line.partition(" ")
    command = COMMANDS.get(word or "list")
    if command is None:
        raise ConfigError(f"no command {word!r}; there are {', '.join(COMMANDS)} (%{team.root} help)")
    parser = command.parser(team.root)
    if rest.strip() in ("-h", "--help", "?"):
        print(parser.format_help())  # noqa: T201
        return None
    if command is ASK:
        head, prompt = split_ask(rest)
        return team.launch(order(parser.parse_args(head), prompt), local_ns)
    return command.function(team, parser.parse_args(team.words(rest, local_ns)))
