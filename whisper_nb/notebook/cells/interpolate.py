"""`{{ expression }}` in a cell: evaluated in the user's namespace. It is the user's own cell, never a model's text."""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Iterator, Mapping
from typing import Any

from ...core.errors import ConfigError
from ...core.messages import Image
from ...engine.images import as_image, is_picture, reason
from ...engine.runs import Run

#: How far from `{{` its `}}` may be, and how deep brackets may nest: what is more is text, and large prompts stay quick.
_LONGEST = 2_000
_DEEPEST = 20
#: What decides where an expression ends: strings and comments, then brackets, then a quote that nothing closes.
_TOKEN = re.compile(
    r"""
    \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3} | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | \#[^\n]*
    | (?P<opens>[\[({]) | (?P<closes>[\])}]) | (?P<broken>["'])
    """,
    re.DOTALL | re.VERBOSE,
)
_MARK = "\ue000"  # private use: stands for a value while the line is split


def interpolate(text: str, namespace: Mapping[str, Any]) -> list[str | Image | Run]:
    """The text in pieces, each `{{ … }}` that parses as a Python expression replaced by its value.

    A Run stays a Run: the prompt will wait for it. A figure and a PIL image become an Image. Anything else becomes
    `str(value)`. JSON, LaTeX and every other use of braces that is not `{{ expression }}` passes untouched, and what a
    value contains is not looked at again.

    Raises:
        ConfigError: an expression fails, a name is undefined, say. Nothing has been sent.
    """
    parts: list[str | Image | Run] = []
    end = 0
    for start, stop, source, code in expressions(text):
        parts += [text[end:start], _value(source, code, namespace)]
        end = stop
    return [part for part in (*parts, text[end:]) if part != ""]


def words(line: str, namespace: Mapping[str, Any]) -> list[str]:
    """The words of a line, split as a shell does; the value of a `{{ … }}` stays within its word.

    Raises:
        ConfigError: an expression fails, gives an image or a run that has no text yet, or a quote is not closed.
    """
    values: list[str] = []
    marked, end = "", 0
    for start, stop, source, code in expressions(line):
        value = _value(source, code, namespace)
        if isinstance(value, Run) and value.status != "succeeded":
            raise ConfigError(f"{{{{ {source} }}}} is {value.id}, which is {value.status}: wait for it first")
        if isinstance(value, Image):
            raise ConfigError(f"{{{{ {source} }}}} is an image: write --image {source}, without braces")
        marked += f"{line[end:start]}{_MARK}{len(values)}{_MARK}"
        values.append(str(value))
        end = stop
    try:
        split = shlex.split(marked + line[end:])
    except ValueError as error:
        raise ConfigError(f"{str(error).lower()} in {line!r}: put text with an apostrophe in double quotes") from None
    return [re.sub(f"{_MARK}(\\d+){_MARK}", lambda match: values[int(match[1])], word) for word in split]


def expressions(text: str) -> Iterator[tuple[int, int, str, ast.Expression]]:
    """Each `{{ … }}` that holds an expression: where it begins and ends, its source, and the parsed expression."""
    position = 0
    while (start := text.find("{{", position)) >= 0:
        found = _expression_at(text, start)
        if found is None:
            position = start + 1
        else:
            yield (start, *found)
            position = found[0]


def _expression_at(text: str, start: int) -> tuple[int, str, ast.Expression] | None:
    end = _end_of_expression(text, start + 2)
    source = "" if end is None else text[start + 2 : end].strip()
    if end is None or not source or source.startswith("#"):
        return None
    try:
        return end + 2, source, ast.parse(f"({source}\n)", mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _end_of_expression(text: str, start: int) -> int | None:
    """Where the `}}` is that no bracket or string inside the expression holds."""
    depth = 0
    for token in _TOKEN.finditer(text, start, start + _LONGEST):
        if token["opens"] and depth < _DEEPEST:
            depth += 1
        elif token["closes"] and depth:
            depth -= 1
        elif token["closes"] and text.startswith("}}", token.start()):
            return token.start()
        elif token.lastgroup:
            return None
    return None


def image(word: str, namespace: Mapping[str, Any]) -> Image:
    """The image that a word means: as an expression, or else as the path of a file.

    Raises:
        ConfigError: it means none.
    """
    failed, value = "", word
    try:
        value = _evaluate(ast.parse(f"({word}\n)", mode="eval"), namespace)
    except SyntaxError:
        pass
    except NameError as error:
        failed = f"no variable {error.name!r}, and "
    except Exception as error:
        failed = f"{reason(error)}, and "
    if failed and os.path.isfile(os.path.expanduser(word)):
        failed = ""
    try:
        return as_image(value)
    except ConfigError as error:
        raise ConfigError(f"--image {word}: {failed}{error}") from None


def _evaluate(code: ast.Expression, namespace: Mapping[str, Any]) -> Any:
    return eval(compile(code, "{{ }}", "eval"), dict(namespace))  # noqa: S307 - the user's cell, the user's kernel


def _value(source: str, code: ast.Expression, namespace: Mapping[str, Any]) -> str | Image | Run:
    try:
        value = _evaluate(code, namespace)
        return value if isinstance(value, Run) else as_image(value) if is_picture(value) else str(value)
    except Exception as error:
        raise ConfigError(
            f"{{{{ {source} }}}} failed: {type(error).__name__}: {error}. "
            "Nothing was sent: correct it, or pass the braces as they are with --no-interpolate."
        ) from None
