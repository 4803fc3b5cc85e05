"""The JSON text of a typed answer as a table of its fields, in the tree of tags and texts that the page draws. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from ...core.text import clip, printable
from ..cells.markdown import Node

#: The rows and columns of a table, and the characters of one value, that are shown. The text has all of them.
ROWS, COLUMNS, VALUE = 200, 20, 2_000
#: The key of an object that stands around an answer which is none.
AROUND = "answer"


def answer_tree(text: str) -> list[Node] | None:
    """Return the answer as a tree; None if the text is not JSON.

    An object is a table of its fields, a list of objects a table with a column for each field, and another list a list.
    """
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if isinstance(answer, dict) and answer.keys() == {AROUND}:
        answer = answer[AROUND]
    if isinstance(answer, dict) and answer:
        return _table(("field", "value"), answer.items(), len(answer))
    if isinstance(answer, list) and answer and all(isinstance(one, dict) for one in answer):
        columns = list(dict.fromkeys(name for one in answer[:ROWS] for name in one))[:COLUMNS]
        return _table(columns, ([one.get(name, "") for name in columns] for one in answer), len(answer))
    if isinstance(answer, list) and answer:
        items: list[Node] = [["li", "", _text(one)] for one in answer[:ROWS]]
        return [["ul", "", *items], *_more(len(answer))]
    return [["p", "", _text(answer)]]


def _table(columns: Sequence[str], rows: Iterable[Iterable[Any]], size: int) -> list[Node]:
    heads: list[Node] = [["th", "", _text(name)] for name in columns]
    body: list[Node] = [["tr", "", *(["td", "", _text(value)] for value in row)] for row in islice(rows, ROWS)]
    table: Node = ["table", "", ["thead", "", ["tr", "", *heads]], ["tbody", "", *body]]
    return [table, *_more(size)]


def _more(size: int) -> list[Node]:
    if size <= ROWS:
        return []
    return [["p", "", f"… {size - ROWS:,} more"]]


def _text(value: Any) -> str:
    """Return a value as text: one of JSON's own as in Python, others as JSON."""
    if isinstance(value, str):
        return printable(value[:VALUE]) + ("…" if len(value) > VALUE else "")
    if isinstance(value, dict | list):
        return clip(json.dumps(value, ensure_ascii=False), VALUE)
    return str(value)
