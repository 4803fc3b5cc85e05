"""The JSON text of a typed answer as a table, in the tree of tags and texts that the page draws. Pure."""

from __future__ import annotations

import json

from ...tools.json_text import without_fence
from ...tools.outputs import ANSWER
from ..cells.answers import answer_rows, left_out, value_line
from ..cells.markdown import Node

#: The characters of a value in a table and of one alone, and of a text that is read. The reply's text has the rest.
_CELL, _ALONE, _READ = 200, 2_000, 500_000


def answer_tree(text: str) -> list[Node] | None:
    """Return the answer as a tree: a table of its fields or items, as in a cell, or its value.

    None if the text is not JSON, alone or in a fence.
    """
    try:
        answer = json.loads(without_fence(text[:_READ]))
    except (ValueError, RecursionError):
        return None
    if isinstance(answer, dict) and answer.keys() == {ANSWER}:
        answer = answer[ANSWER]
    rows = answer_rows(answer, _CELL)
    if not rows:
        return [["p", "", value_line(answer, _ALONE)]]
    head: Node = ["tr", "", *(["th", "", name] for name in rows[0])]
    body: list[Node] = [["tr", "", *(["td", "", value] for value in row.values())] for row in rows]
    more: list[Node] = [["p", "", line] for line in left_out(answer)]
    return [["table", "", ["thead", "", head], ["tbody", "", *body]], *more]
