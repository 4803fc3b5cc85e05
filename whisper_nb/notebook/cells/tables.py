"""Tables as plain text and as HTML. Every value is escaped."""

from __future__ import annotations

import html
import time
from collections.abc import Sequence

from .markdown import LEFT, NO_MATH


def table_bundle(rows: Sequence[dict[str, str]], empty: str, *, stale: bool = True) -> dict[str, str]:
    """Return rows as text/plain and text/html.

    Args:
        rows: the rows, all with the same columns.
        empty: the text to show for no rows.
        stale: whether the values change, so that a saved table must say from when it is.
    """
    text = table_text(rows, empty)
    markup = table_html(rows, empty)
    if not rows or not stale:
        return {"text/plain": text, "text/html": markup}
    clock = f"as of {time.strftime('%H:%M:%S')}"
    return {"text/plain": f"{text}\n{clock}", "text/html": f"{markup}<small>{clock}</small>"}


def table_text(rows: Sequence[dict[str, str]], empty: str) -> str:
    """Return rows in aligned columns."""
    if not rows:
        return empty
    columns = {key: max(len(key), *(len(row[key]) for row in rows)) for key in rows[0]}
    lines = ["  ".join(key.ljust(width) for key, width in columns.items())]
    lines += ["  ".join(row[key].ljust(width) for key, width in columns.items()) for row in rows]
    return "\n".join(line.rstrip() for line in lines)


def table_html(rows: Sequence[dict[str, str]], empty: str) -> str:
    """Return rows as an HTML table. MathJax leaves it alone: dollar signs in it are money."""
    if not rows:
        return f"<div {NO_MATH}><p>{html.escape(empty)}</p></div>"
    head = "".join(f"<th {LEFT}>{html.escape(key)}</th>" for key in rows[0])
    cells = ("".join(f"<td {LEFT}>{html.escape(value)}</td>" for value in row.values()) for row in rows)
    body = "".join(f"<tr>{row}</tr>" for row in cells)
    return f"<div {NO_MATH}><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
