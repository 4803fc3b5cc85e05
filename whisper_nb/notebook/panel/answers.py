"""The JSON text of a typed answer as a table of its fields, in the tree of tags and texts that the page draws. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from ...core.text import clip, printable
from ...tools.json_text import without_fence
from ..cells.markdown import Node

#: The rows and columns of a table, and the characters of one value and of all, that are shown. The text has the rest.
ROWS, COLUMNS, VALUE, ALL = 100, 12, 2_000, 24_000
#: Characters of each value that are shown however many there are; characters of a text that is read.
_LEAST, _READ = 40, 500_000
#: The key of an object that stands around an answer which is none.
AROUND = "answer"


def answer_tree(text: str) -> list[Node] | None:
    """Return the answer as a tree; None if the text is not JSON, alone or in a fence.

    An object is a table of its fields, a list of objects a table with a column for each field, and another list a list.
    """
    try:
        answer = json.loads(without_fence(text[:_READ]))
    except (ValueError, RecursionError):
        return None
    if isinstance(answer, dict) and answer.keys() == {AROUND}:
        answer = answer[AROUND]
    if isinstance(answer, dict) and answer:
        return _table(("field", "value"), answer.items(), len(answer))
    if isinstance(answer, list) and any(answer) and all(isinstance(one, dict) for one in answer):
        columns = list(dict.fromkeys(name for one in answer[:ROWS] for name in one))[:COLUMNS]
        return _table(columns, ([one.get(name, "") for name in columns] for one in answer), len(answer))
    if isinstance(answer, list) and answer:
        most = _most(min(ROWS, len(answer)))
        items: list[Node] = [["li", "", _text(one, most)] for one in answer[:ROWS]]
        return [["ul", "", *items], *_more(len(answer))]
    return [["p", "", _text(answer, VALUE)]]


def _table(columns: Sequence[str], rows: Iterable[Iterable[Any]], size: int) -> list[Node]:
    most = _most(min(ROWS, size) * len(columns))
    heads: list[Node] = [["th", "", _text(name, _LEAST)] for name in columns]
    body: list[Node] = [["tr", "", *(["td", "", _text(value, most)] for value in row)] for row in islice(rows, ROWS)]
    table: Node = ["table", "", ["thead", "", ["tr", "", *heads]], ["tbody", "", *body]]
    return [table, *_more(size)]


def _more(size: int) -> list[Node]:
    if size <= ROWS:
        return []
    return [["p", "", f"… {size - ROWS:,} more"]]


def _most(values: int) -> int:
    """Return how many characters of each of so many values are shown."""
    return max(_LEAST, min(VALUE, ALL // values))


def _text(value: Any, most: int) -> str:
    """Return a value as text, at most so long: texts, numbers and words as Python prints them, others as JSON."""
    if isinstance(value, str):
        return printable(value[:most]) + ("…" if len(value) > most else "")
    if isinstance(value, dict | list):
        return clip(json.dumps(value, ensure_ascii=False), most)
    return str(value)
