"""`%agent`, `%%agent`, `%agents` and their `%whisper` twins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import needs_local_scope, no_var_expand

from ...config.keys import is_written_in
from ...core.errors import WhisperError
from ...core.text import printable
from ..workbench import Workbench
from .commands.runs import ask
from .commands.table import find, overview
from .grammar import CELL, Arguments, Command, first_word, order

_HELP = ("-h", "--help", "?")
_ROOTS = ("agent", "whisper")
_KEY_NOTE = (
    "note: a key stands in this cell, and is saved with the notebook: delete it here, put it into an environment variable "
    '(os.environ["NAME"] = getpass.getpass()), and write api_key=os.environ/NAME'
)


@dataclass(frozen=True, slots=True)
class Names:
    """The names under which the magics are registered here."""

    roots: tuple[str, ...]
    lists: tuple[str, ...]

    @property
    def root(self) -> str:
        """The one to tell people."""
        return self.roots[0]

    def with_body(self, lines: list[str]) -> list[str]:
        """A cell that is `%%agent …` alone, with an empty line beneath: else IPython answers it, with a remedy that is none."""
        first = lines[0].split(None, 1)[:1] if len(lines) == 1 else []
        return [*lines, "\n"] if first in [[f"%%{root}"] for root in self.roots] else lines


def register(shell: InteractiveShell, bench: Workbench) -> Names:
    """Register the magics. A name that another extension owns is left to it; `%whisper` and `%%whisper` always are ours."""
    magic, panel = _magic(bench), _panel(bench)
    roots = tuple(name for name in _ROOTS if name == "whisper" or _is_free(shell, name, magic))
    lists = tuple(name for name in ("agents",) if _is_free(shell, name, panel))
    for name in roots:
        shell.register_magic_function(magic, "line_cell", name)
    for name in lists:
        shell.register_magic_function(panel, "line", name)
    bench.root = roots[0]
    names = Names(roots, lists)
    shell.input_transformer_manager.line_transforms.insert(0, names.with_body)  # before IPython's own of cell magics
    return names


def unregister(shell: InteractiveShell, names: Names) -> None:
    """Take the magics off again."""
    shell.input_transformer_manager.line_transforms.remove(names.with_body)
    for kind, owned in (("line", (*names.roots, *names.lists)), ("cell", names.roots)):
        for name in owned:
            shell.magics_manager.magics[kind].pop(name, None)


def _is_free(shell: InteractiveShell, name: str, ours: Callable[..., Any]) -> bool:
    taken = [shell.magics_manager.magics[kind].get(name) for kind in ("line", "cell")]
    return all(magic is None or getattr(magic, "__module__", None) == ours.__module__ for magic in taken)


def _magic(bench: Workbench) -> Callable[..., object]:
    @no_var_expand
    @needs_local_scope
    def agent(line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> object:
        try:
            if cell is not None:
                bench.take_up_edits()
                arguments = _parsed(bench, CELL, line, local_ns)
                bench.launch(order(arguments, cell.strip("\n")), local_ns)
                return None
            return _dispatch(bench, line.strip(), local_ns)
        except (WhisperError, TimeoutError) as error:
            said = printable(str(error))
        raise UsageError(said)  # not above, where the error, whose frames may hold a key, would become its context

    agent.__doc__ = overview("agent")
    return agent


def _panel(bench: Workbench) -> Callable[..., object]:
    @no_var_expand
    def agents(line: str) -> None:
        """Watch and steer the team in a live panel."""
        _dispatch(bench, f"panel {line}", None)

    return agents


def _dispatch(bench: Workbench, line: str, local_ns: Mapping[str, Any] | None) -> object:
    word, rest = first_word(line)
    if rest.strip() in _HELP:
        word, rest = "help", word
    elif word in _HELP:
        word = "help"
    command = find(word or "list", bench)
    if command.name != "trust":  # which tells of them itself
        bench.take_up_edits()
    if command is ask:
        head, prompt = command.split(rest)
        return bench.launch(order(_parsed(bench, command, head, local_ns), prompt), local_ns)
    return command.function(bench, _parsed(bench, command, rest, local_ns))


def _parsed(bench: Workbench, command: Command, line: str, local_ns: Mapping[str, Any] | None) -> Arguments:
    """The arguments that a line gives; a key that stands in it is told, each time."""
    arguments = command.parse(f"%{bench.root}" if command is CELL else bench.root, bench.words(line, local_ns))
    settings = [*getattr(arguments, "set", ()), *getattr(arguments, "values", ())]
    if any(is_written_in(line, value) for _, value in settings):
        print(_KEY_NOTE)  # noqa: T201
    return arguments
