"""A typed answer as a table of its fields or items, as plain text and as HTML. From its JSON alone; all is escaped."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.errors import ConfigError
from ...core.text import clip
from ...engine.runs import Run
from ...tools.outputs import json_of
from .markdown import NO_MATH, PLAIN
from .tables import table_html, table_text

#: The rows and the columns of a table that are shown; `run.output` has all.
ROWS, COLUMNS = 20, 12
#: The characters of a value that are shown, in HTML and in plain text.
WIDE, NARROW = 400, 60
#: The most characters of a value that is shown large.
_LARGE = 80
_LARGE_STYLE = 'style="font-size:1.5em;font-weight:600;margin:.2em 0"'


def answer_data(run: Run[Any]) -> tuple[Any] | None:
    """Return the output of a run that succeeded as JSON values, in a tuple; None if it is text, or has no JSON."""
    if run.output_type is None or run.output_type.is_text or run.status != "succeeded":
        return None
    try:
        return (json.loads(json_of(run.output)),)
    except (ConfigError, ValueError, RecursionError):  # its type may have a serializer of its own
        return None


def answer_text(data: Any) -> str:
    """Return an answer as plain text: a table, or a value."""
    rows = answer_rows(data, NARROW)
    if not rows:
        return value_line(data, WIDE)
    return "\n".join([table_text(rows, ""), *left_out(data)])


def answer_html(data: Any) -> str:
    """Return an answer as HTML: a table, or a value in large letters."""
    rows = answer_rows(data, WIDE)
    if rows:
        more = "".join(f"<small>{html.escape(line)}</small>" for line in left_out(data))
        return table_html(rows, "") + more
    value = value_line(data, WIDE)
    style = _LARGE_STYLE if len(value) <= _LARGE else PLAIN
    return f"<div {NO_MATH}><p {style}>{html.escape(value)}</p></div>"


def answer_rows(data: Any, width: int) -> list[dict[str, str]]:
    """Return the rows of a table, all with the same columns; none for a single value."""
    if isinstance(data, Mapping):
        return [
            {"field": clip(name, width), "value": value_line(value, width)} for name, value in [*data.items()][:ROWS]
        ]
    if not isinstance(data, Sequence) or isinstance(data, str):
        return []
    items = data[:ROWS]
    if not all(isinstance(item, Mapping) for item in items):
        return [{"#": str(number), "value": value_line(item, width)} for number, item in enumerate(items)]
    columns = _columns(data)[:COLUMNS]
    return [
        {"#": str(number), **{clip(name, width): _cell(item, name, width) for name in columns}}
        for number, item in enumerate(items)
    ]


def _cell(item: Mapping[str, Any], name: str, width: int) -> str:
    return value_line(item[name], width) if name in item else ""


def _columns(items: Sequence[Any]) -> list[str]:
    """Return the names of fields of the items that are shown, in the order of their first appearance."""
    return list(dict.fromkeys(name for item in items[:ROWS] if isinstance(item, Mapping) for name in item))


def left_out(data: Any) -> list[str]:
    """Return a line about the rows and columns that are not shown, if there are any."""
    words = "fields" if isinstance(data, Mapping) else "rows"
    counts = {words: len(data) - ROWS}
    if not isinstance(data, Mapping):
        counts["columns"] = len(_columns(data)) - COLUMNS
    facts = [f"{count:,} more {word}" for word, count in counts.items() if count > 0]
    return [f"… {' and '.join(facts)} in run.output"] if facts else []


def value_line(value: Any, width: int) -> str:
    """Return a value in a line: text as it is, objects and lists as JSON, others as Python writes them."""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False)
    return clip(str(value), width)
