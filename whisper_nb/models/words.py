"""Extract the message for people from the body of an error, in all the shapes that servers and proxies send."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from msgspec import Struct

#: The most characters that are searched for an error within a text.
_READ = 20_000
_DEPTH = 8
#: The most parts of a list that are told.
_PARTS = 5
#: The fields with the words, the most specific first: `error` may be a mere title, such as "Bad Request".
_FIELDS = (
    "message", "Message", "faultstring", "detail", "error_description", "msg", "errors", "error", "fault", "x_groq",
    "reason", "title", "description", "error_msg", "error_message", "errorMessage", "status_msg", "err", "exception",
    "base_resp", "Error", "ResponseMetadata",
)  # fmt: skip
#: Bytes as Python's repr shows them, which some proxies pass on.
_BYTES = re.compile(r"""\bb(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", re.S)
#: Codes that are no error.
_FINE = (None, 0, 200, "0", "200", "", "success")
_CODES = ("code", "type", "status", "object")
#: How servers tell the size of the context, and of the prompt that does not fit.
_CONTEXT = (
    re.compile(r"[\d,]{1,12} \+ [\d,]{1,12} > ([\d,]{1,12})"),
    re.compile(
        # Not MiniMax's "context window exceeds limit (2013)": that is a code.
        r"(?:context (?:size|length|window|limit)|contextWindow)(?! exceeds limit \()"
        r"\D{0,40}?\(?([\d,]{1,12})(?: tokens)?",
        re.I,
    ),
    re.compile(r"tokens? > ([\d,]{1,12}) maximum", re.I),
    re.compile(r"(?:maximum (?:model|prompt|input) length (?:of|is)|limit is|must be <=) ([\d,]{1,12})", re.I),
    re.compile(r"maximum (?:number of )?(?:input )?tokens\D{0,40}?([\d,]{1,12})", re.I),
    re.compile(r"([\d,]{1,12})(?: tokens?)? ?(?:maximum )?context (?:size|length|window)", re.I),
    re.compile(r"tokens?: [\d,]{1,12} > ([\d,]{1,12})", re.I),
    re.compile(
        r"(?:cannot exceed|must have less than|limit of|tokens? limit:?|max_seq_len|max size:|maximum context of"
        r"|maximum (?:input|prompt) length|input length should be \[\d{1,3},) ([\d,]{1,12})",
        re.I,
    ),
)
_PROMPT = (
    re.compile(r"([\d,]{1,12}) \+ [\d,]{1,12} > [\d,]{1,12}"),
    re.compile(r"(?:request|prompt|input)\D{0,20}?\(([\d,]{1,12}) tokens\)", re.I),
    re.compile(r"([\d,]{1,12}) tokens? > [\d,]{1,12} maximum", re.I),
    re.compile(
        r"(?:Requested tokens \(|token count (?:is )?\(?|current length is |\(length |Given: )([\d,]{1,12})", re.I
    ),
    re.compile(r"([\d,]{1,12}) (?:tokens )?(?:(?:in|from) (?:the|your)|of text) (?:messages|prompt|input)", re.I),
    re.compile(
        r"(?:(?:input|prompt) length|token count of|input tokens|number of tokens \(|keep the first|\(requested:|passed"
        r"|received) ?([\d,]{1,12})",
        re.I,
    ),
    re.compile(r"too (?:long|many tokens): ([\d,]{1,12})", re.I),
    re.compile(
        r"(?:requested|resulted in|contains(?: at least)?|prompt has|has) (?:about )?([\d,]{1,12})(?: input)? tokens",
        re.I,
    ),
)


class Said(Struct, frozen=True):
    """A server's description of a failure."""

    text: str
    """Its words; empty if it said none."""
    codes: str = ""
    """Its own codes and types of errors."""
    context_tokens: int | None = None
    """The size of the model's context, if it told it."""
    prompt_tokens: int | None = None
    """The size of the prompt, if it told it."""


def said(body: Any) -> Said:
    """Return what the body of an error says: parsed JSON, or text."""
    if isinstance(body, bytes):
        body = body.decode(errors="replace")
    if isinstance(body, str):
        body = _parsed(body) or body
    text = words(body)
    found: dict[str, Any] = {}
    for part in _mappings(body):
        for name, value in part.items():
            if isinstance(value, str | int) and not isinstance(value, bool):
                found.setdefault(str(name), value)
    codes = " ".join(str(found[name]) for name in _CODES if name in found)
    return Said(
        text,
        codes[:_READ],
        _size(found.get("n_ctx")) or _first(_CONTEXT, text),
        _size(found.get("n_prompt_tokens")) or _first(_PROMPT, text),
    )


def words(body: Any, depth: int = 0) -> str:
    """Return the words of an error: its message, without the braces around it."""
    if depth > _DEPTH:
        return ""
    match body:
        case str():
            return _plain(body, depth)
        case bytes():
            return _plain(body.decode(errors="replace"), depth)
        case list() | tuple():
            parts = (words(one, depth + 1) for one in body[:_PARTS])
            return "; ".join(dict.fromkeys(filter(None, parts)))
        case Mapping():
            return _of_mapping(body, depth)
        case None:
            return ""
    return str(body)


def error_in(reply: Any) -> Any:
    """Return the error that stands in the place of a reply, or of a piece of it, or None.

    Args:
        reply: parsed JSON.
    """
    if isinstance(reply, list):
        return next(filter(None, map(error_in, reply[:_PARTS])), None)
    if not isinstance(reply, Mapping):
        return None
    if error := reply.get("error"):
        return error
    groq = reply.get("x_groq")
    if isinstance(groq, Mapping) and groq.get("error"):
        return {"message": groq["error"]}
    if reply.get("choices") is not None:
        return None
    told = "error" in (reply.get("object"), reply.get("type")) or reply.get("success") is False
    # In the words of Chinese gateways.
    coded = reply.get("code") not in _FINE and isinstance(reply.get("message") or reply.get("msg"), str)
    if told or coded or reply.get("detail") or reply.get("errors"):
        return reply
    return None


def _of_mapping(body: Mapping[str, Any], depth: int) -> str:
    if isinstance(body.get("loc"), list) and body.get("msg"):  # of FastAPI's list of problems
        return f"{'.'.join(map(str, body['loc'][:_PARTS]))}: {body['msg']}"
    text = next(filter(None, (words(body.get(name), depth + 1) for name in _FIELDS)), "")
    metadata = body.get("metadata")
    if isinstance(metadata, Mapping):  # OpenRouter's: what the provider behind it said
        upstream = words(metadata.get("raw"), depth + 1)
        if upstream and upstream not in text:
            provider = metadata.get("provider_name")
            text = ": ".join(filter(None, (text, upstream)))
            if isinstance(provider, str) and provider:
                text += f" ({provider})"
    if text:
        return text
    return json.dumps(body, default=str, ensure_ascii=False) if body else ""


def _plain(text: str, depth: int) -> str:
    """Return a text with the errors that stand in it as data replaced by their words."""
    text = text[:_READ]
    if (whole := _parsed(text)) is not None:
        return words(whole, depth + 1)
    text = _BYTES.sub(lambda found: _of_bytes(found[0], depth), text)
    start = text.find("{")
    if start < 0:
        return text
    end = text.rfind("}") + 1
    part = _parsed(text[start:end])
    if part is None or not part.keys() & {*_FIELDS}:
        return text
    return f"{text[:start]}{words(part, depth + 1)}{text[end:]}"


def _of_bytes(literal: str, depth: int) -> str:
    try:
        read = ast.literal_eval(literal).decode(errors="replace")
    except (ValueError, SyntaxError):
        return literal
    return words(read, depth + 1)


def _parsed(text: str) -> Any:
    """Return the object or list that a text is, in JSON or as Python shows it; None for other texts."""
    text = text.strip()
    if text[:1] not in ("{", "[") or text[-1:] not in ("}", "]"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        read = ast.literal_eval(text[:_READ])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
    if isinstance(read, dict | list):
        return read
    return None


def _mappings(body: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """Yield the mappings within a body, the outermost first."""
    if depth > _DEPTH:
        return
    if isinstance(body, Mapping):
        yield body
        body = list(body.values())
    if isinstance(body, list):
        for one in body[:_READ]:
            yield from _mappings(one, depth + 1)


def _size(value: Any) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 10**9:
        return value
    return None


def _first(patterns: tuple[re.Pattern[str], ...], text: str) -> int | None:
    """Return the number that the first pattern finds."""
    for pattern in patterns:
        if (found := pattern.search(text)) and (size := _size(int(found[1].replace(",", "") or 0))):
            return size
    return None
