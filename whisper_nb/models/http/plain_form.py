"""Replies in OpenAI's chat format, put into the form of OpenAI itself for LiteLLM.

LiteLLM drops, misreads or fails on what other servers send: a refusal, parts of a content, counts elsewhere, calls in
another choice. What the wire's reader understands is passed on here in plain words; what is plain passes unchanged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from ...core.costs import token_count
from ..prices import reported_cost
from ..wire_format import normal_form

_Reason = Literal["stop", "length", "tool_calls", "content_filter"]
#: What LiteLLM reads of a message besides the parts that every reply has.
_KEPT = ("reasoning", "reasoning_content", "reasoning_details", "thinking_blocks", "provider_specific_fields")
_COUNTS = ("prompt_tokens", "completion_tokens", "total_tokens")
_DETAILS = ("prompt_tokens_details", "completion_tokens_details")


# A plain chunk, as far as its fields matter to LiteLLM. Other fields are allowed.


class _Function(Struct, gc=False):
    name: str | None = None
    arguments: str | None = None


class _Call(Struct, gc=False):
    index: int
    function: _Function
    id: str | None = None
    type: Literal["function"] | None = None


class _Delta(Struct, gc=False):
    role: str | None = None
    content: str | None = None
    refusal: None = None
    function_call: None = None
    tool_calls: list[_Call] | None = None


class _Choice(Struct, gc=False):
    index: int
    delta: _Delta
    finish_reason: _Reason | None = None
    message: None = None
    text: None = None
    usage: None = None


class _Usage(Struct, gc=False):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    cost: float | None = None


class _Chunk(Struct, gc=False):
    id: str
    object: str
    created: int
    model: str
    choices: list[_Choice]
    usage: _Usage | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    x_groq: None = None


_decode = msgspec.json.Decoder(_Chunk).decode


def plain_chunk(data: str) -> str:
    """Return a chunk, which the wire's reader has accepted, in plain form and in ASCII."""
    try:
        _decode(data)
    except msgspec.DecodeError:  # also for lone surrogates
        return json.dumps(_plain(json.loads(data), whole=False))
    if data.isascii():
        return data.replace("\n", " ")
    # LiteLLM takes some characters for the end of a line.
    return json.dumps(json.loads(data))


def plain_reply(data: str, *, streams: bool) -> str:
    """Return a complete reply, which the wire's reader has accepted, in plain form.

    Args:
        data: its JSON.
        streams: whether to return it as the one chunk of a stream.
    """
    return json.dumps(_plain(json.loads(data), whole=True, streams=streams))


def _plain(read: Mapping[str, Any], *, whole: bool, streams: bool = True) -> dict[str, Any]:
    normal = normal_form(read, whole)
    groq = read.get("x_groq")
    usage = normal["usage"] or (groq.get("usage") if isinstance(groq, Mapping) else None)
    plain: dict[str, Any] = {
        "id": str(read.get("id") or "chatcmpl"),
        "object": "chat.completion.chunk" if streams else "chat.completion",
        "created": token_count(read.get("created")) or 0,
        "model": str(read.get("model") or "model"),
        "choices": [_choice(choice, streams) for choice in normal["choices"]],
    }
    if isinstance(usage, Mapping) and usage:
        plain["usage"] = _usage(usage)
    if whole:
        plain["service_tier"] = None  # LiteLLM's reader for Groq fails without it
    return plain


def _choice(normal: Mapping[str, Any], streams: bool) -> dict[str, Any]:
    part = normal["delta"]
    message = {name: part[name] for name in _KEPT if part.get(name)}
    message["content"] = (part["content"] or "") + (part["refusal"] or "") or None
    if not streams or message["content"]:
        message["role"] = "assistant"
    if part["tool_calls"]:
        message["tool_calls"] = [_call(call) for call in part["tool_calls"]]
    return {"index": 0, "delta" if streams else "message": message, "finish_reason": normal["finish_reason"]}


def _call(normal: Mapping[str, Any]) -> dict[str, Any]:
    given = {name: normal[name] for name in ("index", "id") if normal[name] is not None}
    return {**given, "type": "function", "function": normal["function"]}


def _usage(read: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts that are counts, and the cost as a number."""
    usage: dict[str, Any] = {name: read[name] for name in _COUNTS if token_count(read.get(name)) is not None}
    for name in _DETAILS:
        details = read.get(name)
        if isinstance(details, Mapping):
            usage[name] = {key: value for key, value in details.items() if token_count(value) is not None}
    if (cost := reported_cost(read)) is not None:
        usage["cost"] = cost
    return usage
