"""The manual of the magics: their commands as data, and its pages as text of 80 columns and as HTML."""

from __future__ import annotations

import html
import re
import textwrap
from collections.abc import Iterator, Sequence
from itertools import chain, zip_longest

from msgspec import Struct

from ..cells.markdown import LEFT, NO_MATH, PLAIN
from .grammar import CELL, Argument, Command

_WIDTH = 80
#: Characters before the text of an option and of a command, in pages of text.
_OPTION, _COMMAND = 24, 19
#: Where code may break: between the arguments of a synopsis, in the names and choices of an option, nowhere.
_ARGUMENTS, _NAMES, _NOWHERE = r" (?=\[)", r" |(?<=\|)", r"(?!)"


class Option(Struct, frozen=True):
    """An argument of a command."""

    names: str
    """`-o, --out VAR`, or `NAME`."""
    text: str


class Entry(Struct, frozen=True):
    """A command, for readers."""

    group: str
    name: str
    """The word after `%agent`; `NAME` for the cell magic."""
    magic: str
    """The magic with the command: `%agent ask`."""
    synopsis: str
    description: str
    options: tuple[Option, ...]
    """Its arguments in their order, flags and others."""
    examples: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The first sentence of the description."""
        return self.description.partition(". ")[0].removesuffix(".") + "."


def entry(command: Command, group: str, root: str, magic: str = "") -> Entry:
    """Return the entry of a command.

    Args:
        command: the command.
        group: its group in the manual.
        root: the magic's name.
        magic: what to write for it, if not the magic's name and its own.
    """
    sign = "%%" if command is CELL else "%"
    magic = magic or f"{sign}{root} {command.name}"
    bits = [_bit(argument) for argument in command.arguments]
    if command is CELL:
        bits = bits[1:]  # its name is that argument
    return Entry(
        group=group,
        name=command.name,
        magic=magic,
        synopsis=" ".join([magic, *bits]),
        description=command.summary,
        options=tuple(Option(_names(argument), argument[1].get("help", "")) for argument in command.arguments),
        examples=tuple(example.replace("%agent", f"%{root}") for example in command.examples),
    )


def _value(argument: Argument) -> str:
    """Return the word for the value of an argument; empty for a flag without one."""
    flags, options = argument
    if "choices" in options:
        return "|".join(options["choices"])
    if flags[0].startswith("-") and options.get("action", "append") != "append":
        return ""
    return str(options["metavar"])


def _bit(argument: Argument) -> str:
    """Return an argument's part of a synopsis."""
    flags, options = argument
    value = _value(argument)
    if flags[0].startswith("-"):
        return f"[{flags[0]} {value}]" if value else f"[{flags[0]}]"
    return {"*": f"[{value} …]", "?": f"[{value}]"}.get(options.get("nargs", ""), value)


def _names(argument: Argument) -> str:
    flags, _ = argument
    if flags[0].startswith("-"):
        return f"{', '.join(flags)} {_value(argument)}".strip()
    return _value(argument)


def page(one: Entry) -> dict[str, str]:
    """Return the page of one command, as text/plain and text/html."""
    usage, *more = _wrapped_synopsis(one)
    lines = [f"usage: {usage}", *(f"       {line}" for line in more), "", *textwrap.wrap(one.description, _WIDTH)]
    lines += ["", *_listed([(f"  {option.names}", option.text) for option in one.options], _OPTION)]
    if one.examples:
        lines += ["", "For example:"]
        lines += [f"  {line}".rstrip() for line in _together(one.examples).split("\n")]
    markup = f"<p>{_code(one.synopsis, _ARGUMENTS)}</p><p>{html.escape(one.description)}</p>"
    markup += _table(((option.names, option.text) for option in one.options), _NAMES)
    markup += _example(_together(one.examples))
    return {"text/plain": "\n".join(lines).rstrip(), "text/html": f"<div {NO_MATH}>{markup}</div>"}


def contents(entries: Sequence[Entry], last: str) -> dict[str, str]:
    """Return the list of all commands by group, each group with an example, as text/plain and text/html.

    Args:
        entries: the commands, in the order of their groups.
        last: the line at the end.
    """
    lines: list[str] = []
    markup = ""
    for group in dict.fromkeys(one.group for one in entries):
        found = [one for one in entries if one.group == group]
        example = next(example for one in found for example in one.examples)
        lines += [group, *_listed([(f"  {one.magic}", one.headline) for one in found], _COMMAND)]
        lines += [*textwrap.indent(f"e.g. {example}", "    ").replace("\n", "\n     ").split("\n"), ""]
        markup += f'<p style="margin-top:1em"><strong>{html.escape(group)}</strong></p>'
        markup += _table(((one.magic, one.headline) for one in found), _NOWHERE)
        markup += _example(example)
    lines += textwrap.wrap(last, _WIDTH)
    return {"text/plain": "\n".join(lines), "text/html": f"<div {NO_MATH}>{markup}<p>{html.escape(last)}</p></div>"}


def _together(examples: Sequence[str]) -> str:
    """Return examples below each other; cells of several lines have an empty line between them."""
    between = "\n\n" if any("\n" in example for example in examples) else "\n"
    return between.join(examples)


def _wrapped_synopsis(one: Entry) -> list[str]:
    """Return the synopsis in lines that break between arguments."""
    glued = one.synopsis.replace(" [", "\0[").replace(" ", "\xa0").replace("\0", " ")
    lines = textwrap.wrap(glued, _WIDTH - 7, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\xa0", " ") for line in lines]


def _listed(rows: Sequence[tuple[str, str]], column: int) -> Iterator[str]:
    """Yield lines of words with their texts in a second column."""
    for word, text in rows:
        lines = textwrap.wrap(text, _WIDTH - column, break_long_words=False, break_on_hyphens=False) or [""]
        if len(word) > column - 2:
            yield word
        else:
            lines[0] = f"{word:{column}}{lines[0]}"
            yield lines.pop(0).rstrip()
        yield from (" " * column + line for line in lines)


def _code(text: str, between: str) -> str:
    """Return text as code that breaks where the pattern matches and nowhere else."""
    pieces = [f'<span style="white-space:nowrap">{html.escape(piece)}</span>' for piece in re.split(between, text)]
    gaps = [html.escape(gap) or "<wbr>" for gap in re.findall(between, text)]
    return f"<code>{''.join(chain(*zip_longest(pieces, gaps, fillvalue='')))}</code>"


def _example(text: str) -> str:
    """Return an example as HTML. JupyterLab breaks lines within words unless told otherwise."""
    return f"<pre {PLAIN}>{html.escape(text)}</pre>"


def _table(rows: Iterator[tuple[str, str]], between: str) -> str:
    """Return rows of a word, as code, and its text."""
    cells = (
        f"<tr><td {LEFT}>{_code(word, between)}</td><td {LEFT}>{html.escape(text)}</td></tr>" for word, text in rows
    )
    return f"<table><tbody>{''.join(cells)}</tbody></table>"
