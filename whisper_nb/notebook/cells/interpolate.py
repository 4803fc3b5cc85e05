"""`{{ expression }}`, images and functions of a cell, evaluated in the user's namespace.

Only for text that the user wrote in a cell, never for a model's text.
"""

from __future__ import annotations

import ast
import os
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence, ValuesView
from contextlib import suppress
from typing import Any, TypeVar

from ...core.errors import ConfigError
from ...core.messages import Image
from ...core.text import clip, mask_keys, short_repr
from ...engine.images import as_image, is_picture, reason
from ...engine.runs import Run
from ...engine.session import Session

#: The most characters from `{{` to its `}}`, and the deepest nesting of brackets. Beyond these it is text: a bound
#: for large prompts.
_LONGEST = 2_000
_DEEPEST = 20
#: The tokens that decide where an expression ends: strings and comments, brackets, and a quote that nothing closes.
_TOKEN = re.compile(
    r"""
    \"{3}(?:\\.|[^\\])*?\"{3} | '{3}(?:\\.|[^\\])*?'{3} | "(?:\\.|[^"\\\n])*" | '(?:\\.|[^'\\\n])*' | \#[^\n]*
    | (?P<opens>[\[({]) | (?P<closes>[\])}]) | (?P<broken>["'])
    """,
    re.DOTALL | re.VERBOSE,
)
#: A word that a parser would take for a flag.
_FLAG = re.compile(r"--?[a-zA-Z][\w-]*(=.*)?", re.DOTALL)
T = TypeVar("T")
_UNCHANGED = ", or pass the braces unchanged with --no-interpolate"

_MARK = "\ue000"  # of the private use area: stands for a value while the line is split
#: `{expression}` in a magic's line. Not in quoted text, nor after `FIELD=`, where it may be a dict in YAML.
_NAMED = re.compile(r"""("(?:\\.|[^"\\])*"|'[^']*'|(?<!\S)\w+=[^\s"']*)|(?<![${])\{(?P<source>[^{}]{1,2000})\}(?!\})""")
#: The type after `--schema`, such as `Literal["yes", "no"]`: its quotes are a part of it.
_TYPE = re.compile(rf"""((?<!\S)--schema(?:\s+|=))((?:\[[^\[\]{_MARK}]*\]|[^\s"'{_MARK}])+)""")


def interpolate(
    text: str, namespace: Mapping[str, Any], tell: Callable[[str], object] = lambda note: None
) -> list[str | Image | Run]:
    """Return the text in pieces, with each `{{ … }}` that parses as a Python expression replaced by its value.

    A Run stays a Run: the prompt will wait for it. So do those of a list, with a blank line between them. A figure or a
    PIL image becomes an Image. Anything else becomes `str(value)`. Other uses of braces, such as JSON and LaTeX, stay
    unchanged. Braces in a value are not evaluated.

    Args:
        text: the prompt.
        namespace: the user's variables.
        tell: called with a line about each table whose text leaves out a part of it.

    Raises:
        ConfigError: an expression fails, for example because a name is undefined.
    """
    parts: list[str | Image | Run] = []
    end = 0
    for start, stop, source, code in expressions(text):

        def convert(value: Any, source: str = source) -> Sequence[str | Image | Run]:
            pieces = _parts(value)
            if whole := _whole(value, pieces[0]):
                tell(f"{{{{ {clip(mask_keys(source), 60)} }}}} is shortened, as print shows it: .{whole} sends all")
            return pieces

        parts += [text[end:start], *_value(f"{{{{ {source} }}}}", code, namespace, convert, _UNCHANGED)]
        end = stop
    return [part for part in (*parts, text[end:]) if part != ""]


def _whole(value: Any, text: object) -> str:
    """Return the method that gives all of a table or an array of which `text`, its `str()`, leaves out a part.

    Empty if nothing is left out. No library is imported: the class's module tells which one it is of.
    """
    libraries = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    if not isinstance(text, str):
        return ""
    if "numpy" in libraries and "..." in text and hasattr(value, "tolist"):
        return "tolist()"
    if "pandas" in libraries and hasattr(value, "to_csv"):
        has_all_rows = len(value) <= text.count("\n") + 1
        if not has_all_rows or ("..." in text and text.count("...") > value.to_csv().count("...")):
            return "to_csv()"
    return ""


def unfinished(text: str, namespace: Mapping[str, Any]) -> list[str]:
    """Return a line about each `{{ … }}` that takes the `.text` of a variable's run, or runs, before they are done."""
    lines: dict[str, None] = {}
    for _, _, source, code in expressions(text):
        nodes = list(ast.walk(code))
        if not any(isinstance(node, ast.Attribute) and node.attr == "text" for node in nodes):
            continue
        for name in dict.fromkeys(node.id for node in nodes if isinstance(node, ast.Name)):
            value = namespace.get(name)
            runs = value if isinstance(value, list | tuple) else [value]
            if open_ := [run for run in runs if isinstance(run, Run) and not run.done]:
                written, which = clip(mask_keys(source), 60), f"{open_[0].id} is {open_[0].status}"
                lines[f"{{{{ {written} }}}} is the text so far ({which}): {{{{ {name} }}}} waits for the answer"] = None
    return list(lines)


def words(line: str, namespace: Mapping[str, Any]) -> list[str]:
    """Split a line into words as a shell does. The value of a `{{ … }}` or `{…}` stays within its word.

    A `{{ … }}` is evaluated everywhere; a `{…}`, as IPython does it in magics, outside of quoted text. An agent gives
    its name. A run gives its id where a name stands, and else its text: in quoted text and after a flag.

    Raises:
        ConfigError: an expression fails; its value is an image, a flag or a run without a text yet; or a quote is not
            closed.
    """
    values: list[str] = []

    def mark(value: str) -> str:
        values.append(value)
        return f"{_MARK}{len(values) - 1}{_MARK}"

    def named(found: re.Match[str]) -> str:
        code = _named_expression(found["source"] or "")
        return mark(_value(found[0], code, namespace, _name)) if code else found[0]

    marked, end = "", 0
    for start, stop, source, code in expressions(line):
        value = _value(f"{{{{ {source} }}}}", code, namespace, _part)
        if isinstance(value, Run) and _is_name(line, start, stop):
            value = value.id
        if isinstance(value, Run) and value.status != "succeeded":
            raise ConfigError(f"{{{{ {source} }}}} is {value.id}, which is {value.status}: wait for it first")
        if isinstance(value, Image):
            raise ConfigError(f"{{{{ {source} }}}} is an image: write --image {source}, without braces")
        marked += line[end:start] + mark(value.answer_text if isinstance(value, Run) else str(value))
        end = stop
    try:
        typed = _TYPE.sub(lambda found: found[1] + mark(found[2]), marked + line[end:])
        split = shlex.split(_NAMED.sub(named, typed))
    except ValueError as error:
        raise ConfigError(f"{str(error).lower()} in {line!r}: put text with an apostrophe in double quotes") from None
    found = [re.sub(f"{_MARK}(\\d+){_MARK}", lambda match: values[int(match[1])], word) for word in split]
    for word, value in zip(split, found, strict=True):
        if word.startswith(_MARK) and _FLAG.fullmatch(value):
            raise ConfigError(f"{short_repr(value)} is the value of an expression, not a flag: write flags out")
    return found


def expressions(text: str) -> Iterator[tuple[int, int, str, ast.Expression]]:
    """Yield each `{{ … }}` that contains an expression: start, end, source, and the parsed expression."""
    position = 0
    while (start := text.find("{{", position)) >= 0:
        found = _expression_at(text, start)
        if found is None:
            position = start + 1
        else:
            yield (start, *found)
            position = found[0]


def _is_name(line: str, start: int, stop: int) -> bool:
    """Whether this part of a line is a word of its own that is not the value of a flag."""
    before, after = line[:start], line[stop:]
    is_quoted = before.count('"') % 2 or before.count("'") % 2
    is_value = any(word.startswith("-") for word in before.split()[-1:])
    return not (is_quoted or is_value or before[-1:].strip() or after[:1].strip())


def _named_expression(source: str) -> ast.Expression | None:
    """Return the parsed `expression`, or `expression:format` as in an f-string; None if it is neither."""
    if not source.strip() or source.lstrip().startswith("#"):
        return None
    for code in (f"({source}\n)", f'f"""{{{source}}}"""'):
        with suppress(SyntaxError, ValueError, MemoryError, RecursionError):
            return ast.parse(code, mode="eval")
    return None


def _expression_at(text: str, start: int) -> tuple[int, str, ast.Expression] | None:
    end = _end_of_expression(text, start + 2)
    if end is None:
        return None
    source = text[start + 2 : end].strip()
    if not source or source.startswith("#"):
        return None
    try:
        return end + 2, source, ast.parse(f"({source}\n)", mode="eval")
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None


def _end_of_expression(text: str, start: int) -> int | None:
    """Return the position of the first `}}` that is outside the brackets and strings of the expression."""
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
    """Return the image that a word denotes: as an expression, or else as the path of a file.

    Raises:
        ConfigError: it denotes none.
    """
    failed, value = "", word
    try:
        value = _evaluate(f"({word}\n)", namespace, lambda value: value)
    except _Failed as failure:
        match failure.error:
            case SyntaxError():
                pass
            case NameError(name=name):
                failed = f"no variable {name!r}, and "
            case error:
                failed = f"{reason(error)}, and "
    if failed and os.path.isfile(os.path.expanduser(word)):
        failed = ""
    try:
        return as_image(value)
    except ConfigError as error:
        raise ConfigError(f"--image {word}: {failed}{error}") from None


class _Failed(Exception):
    """A user's expression raised an exception."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


def _evaluate(code: ast.Expression | str, namespace: Mapping[str, Any], convert: Callable[[Any], T]) -> T:
    """Evaluate an expression and convert its value.

    Raises:
        _Failed: the expression or the conversion raised an exception.
    """
    try:
        value = eval(compile(code, "{{ }}", "eval"), dict(namespace))  # noqa: S307 - the user's code in the user's kernel
        return convert(value)
    except Exception as error:  # a user's expression, and methods of its value, may raise anything
        raise _Failed(error) from None


def _value(
    written: str, code: ast.Expression, namespace: Mapping[str, Any], convert: Callable[[Any], T], remedy: str = ""
) -> T:
    """Evaluate an expression of the user.

    Args:
        written: the expression as it is written, with its braces.
        code: the parsed expression.
        namespace: the user's variables.
        convert: makes the result of the value.
        remedy: what helps other than to correct it.

    Raises:
        ConfigError: it failed.
    """
    try:
        return _evaluate(code, namespace, convert)
    except _Failed as failure:
        error = failure.error
        raise ConfigError(
            f"{written} failed: {type(error).__name__}: {error}. Nothing was sent: correct it{remedy}."
        ) from None


def _name(value: Any) -> str:
    """Return the name for a value: the id of a run, the name of an agent, else its text."""
    if isinstance(value, Run):
        return value.id
    return str(_part(value))


def _parts(value: Any) -> Sequence[str | Image | Run]:
    """Return the pieces of a prompt for a value: several for a list of runs.

    Raises:
        ConfigError: runs are in a dict or among other values. Its text would not be theirs.
    """
    values = list(value.values()) if isinstance(value, dict) else value
    if not (isinstance(values, list | tuple | set | ValuesView) and any(isinstance(one, Run) for one in values)):
        return [_part(value)]
    if isinstance(value, dict | set) or not all(isinstance(one, Run) for one in values):
        raise ConfigError(f"it is a {type(value).__name__} with runs: write each run by itself, or a list of runs")
    return [part for one in values for part in ("\n\n", one)][1:]


def _part(value: Any) -> str | Image | Run:
    """Return the piece of a prompt or of a line for a value."""
    if isinstance(value, Run):
        return value
    if isinstance(value, Session):
        return value.name
    if is_picture(value):
        return as_image(value)
    return str(value)
