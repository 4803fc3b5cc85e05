"""The card of a dry run: where a prompt would go, what it would cost, its parts with their origin, and the exact JSON.

All of it may be hostile: it is escaped, and what looks like a key is masked.
"""

from __future__ import annotations

import html
import json
from collections.abc import Iterator, Sequence
from typing import Any

from ...core.costs import dollars
from ...core.text import clip, mask_keys, printable
from ...engine.preview import Part, Preview
from ...team.budgets import Budget
from .costs import about, budget_line
from .markdown import NO_MATH
from .tables import table_html, table_text

#: Digits of a fingerprint that are shown; all of them are in its tooltip, and in the plain text.
SHORT = 12
#: Characters of one text in the JSON, and of all of it, as HTML and as plain text.
TEXT, IN_HTML, IN_PLAIN = 20_000, 60_000, 6_000
#: Parts of a list in the JSON that are shown at its beginning and at its end; so also of the history in the table.
FIRST, LAST = 10, 20
_FIRST_OF_HISTORY, _LAST_OF_HISTORY = 2, 4
#: Characters of a part in the table.
_PART = 110
#: Characters in which the address of an image's data has its type.
_OF_DATA = 100
_WORDS = {"system": "system prompt", "left out": "not sent", "parameter": "parameter"}
_WAYS = {"wire": "over the wire", "litellm": "through LiteLLM", "here": "in this process"}
_PRE = 'style="white-space:pre-wrap;overflow-wrap:anywhere;max-height:32em;overflow:auto;margin:.4em 0"'
_FACT = 'style="opacity:.7;padding-right:1em;vertical-align:top;white-space:nowrap;text-align:left"'
_VALUE = 'style="text-align:left;overflow-wrap:anywhere"'


def preview_bundle(preview: Preview, budget: Budget | None) -> dict[str, str]:
    """Return a preview as text/plain and text/html, with what is left of the budget, if there is one."""
    return {"text/plain": _safe(_text(preview, budget)), "text/html": _safe(_html(preview, budget))}


def json_text(body: bytes, most: int) -> str:
    """Return a body indented, as far as it can be shown in so many characters. It says how much is missing."""
    shown = json.dumps(_cut(json.loads(body)), ensure_ascii=False, indent=2)
    if len(shown) > most:
        shown = f"{shown[:most]}\n… {len(shown) - most:,} more characters"
    return shown


def _safe(text: str) -> str:
    return printable(mask_keys(text))


def _text(preview: Preview, budget: Budget | None) -> str:
    facts = [*_facts(preview, budget), ("fingerprint", preview.fingerprint)]
    width = max(len(name) for name, _ in facts)
    return "\n".join(
        [
            _head(preview),
            *(f"  {name.ljust(width)}  {value}" for name, value in facts),
            *(f"  note: {note}" for note in preview.notes),
            "",
            table_text([*_rows(preview.parts)], ""),
            "",
            _json_title(preview),
            json_text(preview.body, IN_PLAIN),
            "Nothing was sent.",
        ]
    )


def _html(preview: Preview, budget: Budget | None) -> str:
    facts = "".join(
        f"<tr><td {_FACT}>{html.escape(name)}</td><td {_VALUE}>{html.escape(value)}</td></tr>"
        for name, value in _facts(preview, budget)
    )
    fingerprint = f'<code title="SHA-256 {preview.fingerprint}">{preview.fingerprint[:SHORT]}</code>'
    facts += f"<tr><td {_FACT}>fingerprint</td><td {_VALUE}>{fingerprint}</td></tr>"
    notes = "".join(f"<div>⚠ {html.escape(note)}</div>" for note in preview.notes)
    body = html.escape(json_text(preview.body, IN_HTML))
    return (
        f"<div {NO_MATH}><div><b>{html.escape(_head(preview))}</b> Nothing was sent.</div>"
        f"<table><tbody>{facts}</tbody></table>{notes}{table_html([*_rows(preview.parts)], '')}"
        f"<details><summary>{html.escape(_json_title(preview))}</summary><pre {_PRE}>{body}</pre></details></div>"
    )


def _head(preview: Preview) -> str:
    return f"dry run: {preview.agent} would call {preview.model}."


def _facts(preview: Preview, budget: Budget | None) -> Iterator[tuple[str, str]]:
    way = _WAYS[preview.transport]
    yield "to", f"{preview.address}, {way}" if preview.address else way
    if output := preview.request.output:
        yield "answer", f"{output.name}, mode {output.mode}"
    yield "tokens", f"{preview.tokens:,}, counted" if preview.counted else f"about {preview.tokens:,}, estimated"
    yield "price", _price(preview)
    if budget is not None and budget.limited:
        yield "budget", budget_line(budget).removeprefix("budget ")


def _price(preview: Preview) -> str:
    if preview.input_usd is None:
        return "unknown"
    line = f"{dollars(preview.input_usd)} for the prompt; with the reply about {dollars(preview.likely_usd)}"
    if preview.most_usd is None:
        return f"{line}, without a limit (no max_tokens)"
    return f"{line}, at most {dollars(preview.most_usd)}"


def _json_title(preview: Preview) -> str:
    what = "the arguments of LiteLLM's call" if preview.transport == "litellm" else "the JSON that is sent"
    return f"{what}, {len(preview.body):,} bytes (indented here; preview.json has all, as it is)"


def _rows(parts: Sequence[Part]) -> Iterator[dict[str, str]]:
    history = [part for part in parts if part.kind == "history"]
    left = history[_FIRST_OF_HISTORY:-_LAST_OF_HISTORY]
    hidden = {id(part) for part in left[1:]}
    for part in parts:
        if left[1:] and part is left[0]:
            yield _row(f"… {len(left):,} more messages", part.source, sum(one.tokens for one in left))
        elif id(part) not in hidden:
            yield _row(_words(part), part.source, part.tokens)


def _row(text: str, source: str, tokens: int) -> dict[str, str]:
    return {"part": text, "from": clip(source, _PART), "tokens": about(tokens) if tokens else ""}


def _words(part: Part) -> str:
    word = _WORDS.get(part.kind, part.kind)
    return clip(mask_keys(part.text if part.kind == "history" else f"{word}: {part.text}"), _PART)


def _cut(value: Any) -> Any:
    """Return a JSON value with its long texts and lists cut, and without the data of images."""
    if isinstance(value, str) and value.startswith("data:") and ";base64," in value[:_OF_DATA]:
        kind, _, data = value.partition(";base64,")
        return f"{kind};base64,… {len(data):,} characters"
    if isinstance(value, str) and len(value) > TEXT:
        return f"{value[:TEXT]}… {len(value) - TEXT:,} more characters"
    if isinstance(value, dict):
        return {name: _cut(one) for name, one in value.items()}
    if isinstance(value, list):
        left = len(value) - FIRST - LAST
        if left > 1:
            value = [*value[:FIRST], f"… {left:,} more", *value[-LAST:]]
        return [_cut(one) for one in value]
    return value
