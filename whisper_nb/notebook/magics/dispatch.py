"""Parse a magic's line and call its command. Imported at the first use of a magic."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...config.keys import is_written_in
from ...core.text import paragraph
from ..cells.misspelt import misspelt
from ..notes import key_note
from ..workbench import Workbench
from .commands.runs import ask
from .commands.table import find
from .comments import without_comment
from .grammar import CELL, Arguments, Command, first_word, order

_HELP = ("-h", "--help", "?")
_KEY_NOTE = key_note(
    'put it into an environment variable (os.environ["NAME"] = getpass.getpass()), and write api_key=os.environ/NAME'
)


def run_cell(bench: Workbench, line: str, cell: str, local_ns: Mapping[str, Any] | None) -> None:
    """Run `%%agent`.

    Raises:
        WhisperError, TimeoutError: it failed.
    """
    bench.take_up_edits()
    arguments = _parsed(bench, CELL, without_comment(line), local_ns)
    bench.launch(order(arguments, cell.strip("\n")), local_ns)


def run_line(bench: Workbench, line: str, local_ns: Mapping[str, Any] | None) -> object:
    """Run `%agent`, and return the command's result.

    Raises:
        WhisperError, TimeoutError: it failed.
    """
    word, rest = first_word(line.strip())
    if word.startswith("#"):
        word, rest = "", ""
    rest = without_comment(rest, has_prompt=word == ask.name)
    if rest.strip() in _HELP:
        word, rest = "help", word
    elif word in _HELP:
        word = "help"
    command = find(word or "list", bench)
    if command.name != "trust":  # it shows the edits itself
        bench.take_up_edits()
    if command is ask:
        head, prompt = command.split(rest)
        return bench.launch(order(_parsed(bench, command, head, local_ns), prompt), local_ns)
    return command.function(bench, _parsed(bench, command, rest, local_ns))


def _parsed(bench: Workbench, command: Command, line: str, local_ns: Mapping[str, Any] | None) -> Arguments:
    """Parse a line, and print a note about a literal API key and about braces in a text that are not evaluated."""
    arguments = command.parse(bench.root, bench.words(line, local_ns))
    settings = [*getattr(arguments, "set", ()), *getattr(arguments, "values", ())]
    if any(is_written_in(line, value) for _, value in settings):
        print(paragraph(_KEY_NOTE))  # noqa: T201
    variables = bench.namespace(local_ns)
    for text in (getattr(arguments, "prompt", None), getattr(arguments, "description", None)):
        if text and text in line:  # else it is the value of an expression, at least in part
            for note in misspelt(text, variables):
                print(paragraph(f"note: {note}"))  # noqa: T201
    return arguments
