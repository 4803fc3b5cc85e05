"""Faults of providers, as data: the server's answer, and the required outcome of the run.

Each kind is one row. `answer` is what a stream says; who asks for the reply in one JSON hears the same in that form, or
`whole` where the fault has another shape there. A run must fail, unless the row says what it may say instead.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from support.provider import (
    CUT,
    DONE,
    HANG,
    Answer,
    Many,
    Pause,
    Raw,
    Refusal,
    Reply,
    call,
    chunk,
    data,
    event,
    finish,
    says,
    text,
    usage,
)

#: The key that is sent, and that providers repeat: it must not be shown anywhere.
KEY = "sk-canary-4f0c7d1e9b2a8365c1d0e7"

Place = Literal["the provider", "a closed port", "https"]


class _Same:
    """`whole` is what `answer` is, in one JSON."""


SAME = _Same()


@dataclass(frozen=True)
class Fault:
    """One kind of fault, and the required outcome of the run."""

    name: str
    answer: Answer | None
    """The server's answer to a request for a stream; None: there is no such fault."""
    whole: Answer | _Same | None = SAME
    """The server's answer to a request for a complete reply."""
    retryable: bool = True
    """Whether the same call may succeed later."""
    kept: str = ""
    """The start of run.text if the reply was streamed; by default there is no text."""
    says: str = ""
    """A part of the error's message."""
    hangs: bool = False
    """The call hangs until its deadline."""
    may_say: str | None = None
    """The run may also succeed with exactly this output."""
    place: Place = "the provider"
    big: bool = False
    """Tens of megabytes."""
    calls: bool = False
    """A piece of a tool call arrives before it."""

    def shape(self, streams: bool) -> Answer | None:
        """The server's answer; None: there is no such fault in this mode."""
        return self.answer if streams or isinstance(self.whole, _Same) else self.whole

    def silent(self, streams: bool) -> bool:
        """Whether the server closes the connection without a byte: a call over a kept connection is sent again."""
        answer = self.shape(streams)
        return isinstance(answer, Raw) and not any(isinstance(step, bytes | Many | Pause) for step in answer.steps)

    def free(self, streams: bool) -> bool:
        """Whether the call can have cost nothing: it was refused before any work, or it reached no server."""
        answer = self.shape(streams)
        return self.place != "the provider" or (isinstance(answer, Refusal | Reply) and refused(answer.status))


def refused(status: int) -> bool:
    """Whether a status means that no work was done for the call, unlike a gateway's timeout."""
    return (300 <= status < 500 and status != 408) or status in (503, 529)


def _http(status: int, name: str, says: str = "", retryable: bool = False, **headers: str) -> Fault:
    refusal = Refusal(status, "no " * 300, echo=True, headers={key.replace("_", "-"): headers[key] for key in headers})
    return Fault(name, refusal, retryable=retryable, says=says or f"({status})")


def _each(faults: Sequence[Fault], **fields: Any) -> list[Fault]:
    return [replace(fault, **fields) for fault in faults]


REFUSALS = [
    _http(400, "bad request", "the fields of its config"),
    _http(401, "key refused", "refused the key"),
    _http(402, "no credit", "no credit left (402)"),
    _http(403, "forbidden", "refused the key"),
    _http(404, "no such model", "no such model"),
    _http(408, "request timeout", retryable=True),
    _http(409, "conflict", retryable=True),
    _http(413, "too large"),
    _http(422, "unprocessable"),
    _http(429, "too many requests", "too many requests", retryable=True, Retry_After="0"),
    _http(500, "server error", retryable=True),
    _http(502, "bad gateway", retryable=True),
    _http(503, "unavailable", retryable=True),
    _http(504, "gateway timeout", retryable=True),
    _http(529, "overloaded", retryable=True),
    _http(418, "teapot"),
    _http(307, "sent elsewhere", "another address", Location="http://127.0.0.1:9/v1/chat/completions"),
]

_PAGE = b"<!DOCTYPE html><html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
_HTML = {"Content-Type": "text/html; charset=utf-8"}
_JSON = {"Content-Type": "application/json"}
_WHOLE = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "test-model",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello world"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9},
}  # fmt: skip
_ERROR = {"error": {"message": f"upstream died with Bearer {KEY}", "code": 502}}


def _whole(**message: Any) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": "stop"}
    return {**_WHOLE, "choices": [choice]}


def _json(body: object, **more: Any) -> Reply:
    return Reply([body if isinstance(body, bytes) else json.dumps(body).encode()], **more)


def _head(status: str = "200 OK", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


_SSE = _head(Content_Type="text/event-stream", Transfer_Encoding="chunked")
_SIZED = _head(Content_Type="application/json", Content_Length="100000")
_HEL = data(text("Hel")[0])


def _chunked(piece: bytes) -> bytes:
    return f"{len(piece):x}\r\n".encode() + piece + b"\r\n"


NO_ANSWERS = [
    Fault("connection refused", [], place="a closed port"),
    Fault("no TLS there", [], place="https"),
    Fault("closed without a word", Raw([])),
    Fault("reset without a word", Raw([CUT])),
    Fault("reset in the headers", Raw([b"HTTP/1.1 200 OK\r\nContent-Ty", CUT])),
    Fault("no HTTP", Raw([b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n\r\n"])),
    Fault("no HTTP but NULs", Raw([bytes(10_000)])),
    Fault("a header without an end", Raw([b"HTTP/1.1 200 OK\r\nX-Junk: ", Many(b"x" * 10_000, 1_000)])),
    Fault("headers without an end", Raw([b"HTTP/1.1 200 OK\r\n", Many(b"X-Junk: x\r\n" * 1_000, 1_000)])),
    Fault("status 99999", Raw([_head("99999 Odd")])),
    Fault("no content", Reply([], 204)),
    Fault("nothing in it", Reply([])),
]

HANGS = [
    Fault("no reply", [HANG]),
    Fault("headers that drip", Raw([b"HTTP/1.1 200 OK\r\n", *[b"X-Drip: 1\r\n", Pause(0.02)] * 5_000])),
    Fault("headers and then silence", Raw([_SSE, HANG]), Raw([_SIZED, HANG])),
    Fault("text and then silence", [*text("Hel"), HANG], Raw([_SIZED, b'{"id": "1", "cho', HANG]), kept="Hel"),
    Fault("a drip of bytes", Raw([_SSE, *[b"1\r\n:\r\n", Pause(0.02)] * 5_000]),
        Raw([_SIZED, *[b" ", Pause(0.02)] * 5_000])),
    Fault("nothing but pings", [b": ping\n\n", Pause(0.02)] * 5_000, None),
    Fault("nothing but blank lines", [b"\n", Pause(0.02)] * 5_000, None),
    Fault("nothing but chunks that say nothing", [chunk({}), Pause(0.02)] * 5_000, None),
    Fault("pings after text", [*text("Hel"), *[b": ping\n\n", Pause(0.02)] * 5_000], None, kept="Hel"),
    Fault("text without an end", [*text("Hel"), *[*text("."), Pause(0.02)] * 5_000], None, kept="Hel..."),
    Fault("no end after the reason", [*text("Hel"), finish("stop"), HANG], None, kept="Hel", may_say="Hel"),
    Fault("half a tool call and then silence", [*call(0, "add", '{"a": 1'), HANG], None, calls=True),
]  # fmt: skip
HANGS = _each(HANGS, hangs=True)

_MIDDLE = data(text("é")[0]).replace(b"\\u00e9", "é".encode())
_BAD = _MIDDLE.replace("é".encode(), b"\xff\xfe")
_HALF_TOOL = b"".join(data(one) for one in call(0, "add", '{"a": 1'))
_ZIPPED = gzip.compress(b"".join([_HEL, data(finish()), DONE]))

TRUNCATIONS = [
    Fault("text and the end", text("Hel"), kept="Hel"),
    Fault("text and [DONE]", [*text("Hel"), DONE], kept="Hel"),
    Fault("text, tokens and [DONE]", [*text("Hel"), usage(7, 1), DONE], kept="Hel"),
    Fault("text and a cut", [*text("Hel"), CUT], kept="Hel"),
    Fault("[DONE] and nothing else", [DONE], None),
    Fault("tokens and nothing else", [usage(7, 0), DONE], None),
    Fault("a cut in a line", [*text("Hel"), data(text("lo")[0])[:40], CUT], None, kept="Hel"),
    Fault("the end in a line", [*text("Hel"), data(text("lo")[0])[:40]], None, kept="Hel"),
    Fault("the end in a character", [*text("Hel"), _MIDDLE[: _MIDDLE.index(b"\xc3") + 1]], None, kept="Hel"),
    Fault("half a tool call and the end", call(0, "add", '{"a": 1'), calls=True),
    Fault("half a tool call and [DONE]", [*call(0, "add", '{"a": 1'), DONE], calls=True),
    Fault("half a tool call and a cut", [*text("Hel"), *call(0, "add", '{"a": 1'), CUT], kept="Hel", calls=True),
    Fault("a whole tool call and the end", call(0, "add", '{"a": 1, "b": 2}'), calls=True),
    Fault("a whole tool call and [DONE]", [*call(0, "add", '{"a": 1, "b": 2}'), DONE], calls=True),
    Fault("shorter than it said", Raw([_head(Content_Type="text/event-stream", Content_Length="100000"), _HEL]),
        Raw([_SIZED, b'{"id": "1"']), kept="Hel"),
    Fault("chunks of a wrong length", Raw([_SSE, b"zz\r\nxx\r\n"]),
        Raw([_head(Content_Type="application/json", Transfer_Encoding="chunked"), b"zz\r\nxx\r\n"])),
    Fault("a chunk of a wrong length, and the connection stays open", Raw([_SSE, b"zz\r\nxx\r\n", HANG]), None),
    Fault("no last chunk", Raw([_SSE, _chunked(_HEL)]), None, kept="Hel"),
    Fault("no last chunk, half a tool call", Raw([_SSE, _chunked(_HALF_TOOL)]), None, calls=True),
    Fault("gzip that is none", Reply([b"\x00garbage" * 100], headers={"Content-Encoding": "gzip"})),
    Fault("half of a gzip", Reply([_ZIPPED[: len(_ZIPPED) // 2]], headers={"Content-Encoding": "gzip"})),
]  # fmt: skip


def _both(stream: object, whole: object) -> tuple[Answer, Answer]:
    """A stream with an invalid chunk after a valid one, and an invalid body."""
    piece = stream if isinstance(stream, bytes) else data(stream)
    return [*text("Hel"), piece, finish("stop"), DONE], _json(whole)


def chunk_with(more: dict[str, Any], **choice: Any) -> dict[str, Any]:
    return {**chunk(), "choices": [{"index": 0, "finish_reason": "stop", **choice, **more}]}


NONSENSE = [
    Fault("an HTML page", Reply([_PAGE], headers=_HTML)),
    Fault("an HTML page as a stream", Reply([_PAGE])),
    Fault("an HTML page with a 503", Reply([_PAGE], 503, _HTML), says="(503)"),
    Fault("plain text", Reply([b"OK"], headers={"Content-Type": "text/plain"})),
    Fault("a picture", Reply([b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 10], headers={"Content-Type": "image/png"})),
    Fault("one JSON where a stream was asked for", _json(_WHOLE, headers=_JSON), None, may_say="Hello world"),
    Fault("a message instead of deltas", [chunk_with({"message": {"role": "assistant", "content": "Hello"}}), DONE],
        None),
    Fault("a message and deltas that are null",
        [chunk_with({"message": {"role": "assistant", "content": "Hello"}}, delta=None), DONE], None),
    Fault("text instead of deltas", [chunk_with({"text": "Hello"}), DONE], None),
    Fault("a stream where one JSON was asked for", None,
        Reply([b"".join(map(data, [*text("Hello world"), finish()])), DONE],
        headers={"Content-Type": "text/event-stream"}), may_say="Hello world"),
    Fault("a stream that says it is text", Reply(says("Hello", " world"), headers={"Content-Type": "text/plain"}), None,
        may_say="Hello world"),
    Fault("an error with a 200", _json(_ERROR, headers=_JSON)),
    Fault("an error as the first event", [data(_ERROR), DONE], None, says="upstream died"),
    Fault("an error in the middle", [*text("Hel"), data(_ERROR), DONE], None, kept="Hel", says="upstream died"),
    Fault("a reason that is an error", [*text("Hel"), finish("error"), DONE], kept="Hel"),
    Fault("a reason that nobody knows", [*text("Hel"), finish("abort"), DONE], kept="Hel"),
    Fault("a reason that is an object", [*text("Hel"), finish({"stop": True}), DONE], kept="Hel"),
    Fault("an error in a choice", [*text("Hel"), chunk_with(_ERROR, delta={}), DONE],
        _json({**_WHOLE, "choices": [{**_WHOLE["choices"][0], **_ERROR}]}), kept="Hel", may_say="Hello world",
        says="upstream died"),
    Fault("an error event in other words", [*text("Hel"), b'event: error\ndata: {"message": "upstream died"}\n\n',
        finish(), DONE], None, kept="Hel", says="upstream died"),
    Fault("an object that is an error", *_both({"object": "error", "message": "upstream died"},
        {"object": "error", "message": "upstream died"}), kept="Hel", says="upstream died"),
    Fault("a line that is damaged", [*text("Hel"), b'ata: {"choices": []}\n\n', finish(), DONE], None, kept="Hel"),
    Fault("choices are empty", [chunk(), DONE], _json({**_WHOLE, "choices": []})),
    Fault("choices are missing", [data({"id": "1", "object": "chat.completion.chunk"}), DONE], _json({"id": "1"})),
    Fault("choices are null", *_both({**chunk(), "choices": None}, {**_WHOLE, "choices": None}), kept="Hel",
        may_say="Hel"),
    Fault("choices are text", *_both({**chunk(), "choices": "none"}, {**_WHOLE, "choices": "none"}), kept="Hel"),
    Fault("a choice is a number", *_both({**chunk(), "choices": [1]}, {**_WHOLE, "choices": [1]}), kept="Hel"),
    Fault("a delta is null", *_both({**chunk(), "choices": [{"index": 0, "delta": None}]},
        {**_WHOLE, "choices": [{"index": 0, "message": None, "finish_reason": "stop"}]}), kept="Hel", may_say="Hel",
        says="the reply is empty"),
    Fault("content is a number", *_both(chunk({"content": 42}), _whole(content=42)), kept="Hel"),
    Fault("content is an object", *_both(chunk({"content": {"a": 1}}), _whole(content={"a": 1})), kept="Hel"),
    Fault("tool calls are text", *_both(chunk({"tool_calls": "add"}), _whole(tool_calls="add")), kept="Hel"),
    Fault("arguments are a number", [*call(0, "add")[:1],
        chunk({"tool_calls": [{"index": 0, "function": {"arguments": 7}}]}), finish("tool_calls"), DONE],
        _json(_whole(tool_calls=[{"id": "1", "type": "function", "function": {"name": "add", "arguments": 7}}])),
        may_say="fine"),
    Fault("a chunk is null", *_both(None, None), kept="Hel"),
    Fault("a chunk is a list", *_both([1, 2], [1, 2]), kept="Hel"),
    Fault("a chunk is text", *_both("oops", "oops"), kept="Hel"),
    Fault("malformed JSON", *_both(b"data: {\"id\": oops}\n\n", b'{"id": oops}'), kept="Hel"),
    Fault("JSON too deep", *_both(b"data: " + b"[" * 100_000 + b"\n\n", b"[" * 100_000), kept="Hel"),
    Fault("a number of 100,000 digits", *_both(b'data: {"choices": [{"index": ' + b"9" * 100_000 + b"}]}\n\n",
        b'{"choices": [{"index": ' + b"9" * 100_000 + b"}]}"), kept="Hel"),
    Fault("a reason that is an error, and no blank line", [*text("Hel"), data(finish("error"))[:-1]], None, kept="Hel"),
    Fault("no JSON, and no blank line", [*text("Hel"), b"data: {oops}\n"], None, kept="Hel"),
    Fault("2,000 tool calls", [chunk({"tool_calls": [{"index": n, "id": f"c{n}",
        "function": {"name": "add", "arguments": "{}"}} for n in range(2_000)]}), finish("tool_calls"), DONE], None),
    Fault("bad UTF-8 in one packet with text", [b"".join([_HEL, _BAD, data(finish()), DONE])], None, kept="Hel"),
    Fault("a list in one packet with text", [b"".join([_HEL, data([1]), data(finish()), DONE])], None, kept="Hel"),
    Fault("bad UTF-8", *_both(_BAD, json.dumps(_whole(content="é")).replace("\\u00e9", "é").encode("latin-1")),
        kept="Hel"),
]  # fmt: skip

_UPSTREAM = {"message": "upstream died"}


def _told_in(*pieces: bytes) -> list[Any]:
    """A stream in which an error is told after some text, and which then ends well."""
    return [*text("Hel"), *pieces, *text("lo"), finish(), DONE]


def _another(piece: str) -> list[dict[str, Any]]:
    """A reply with an id of its own."""
    chunks = [chunk({"role": "assistant", "content": ""}), chunk({"content": piece}), finish()]
    return [{**one, "id": "2"} for one in chunks]


#: Failures that look like answers: nothing is there, or not what was announced.
DISGUISED = [
    Fault("nothing in a good reply", [chunk({"role": "assistant", "content": ""}), finish(), usage(7, 0), DONE],
        _json(_whole()), says="the reply is empty"),
    Fault("null in a good reply", [chunk({"role": "assistant", "content": None}), finish(), DONE],
        _json(_whole(content=None)), says="the reply is empty"),
    Fault("pictures alone", [chunk({"content": "", "images": [{"type": "image_url"}]}), finish(), DONE],
        _json(_whole(content="", images=[{"type": "image_url"}])), says="the reply is empty"),
    Fault("no message in a choice", None, _json({**_WHOLE, "choices": [{"index": 0, "finish_reason": "stop"}]}),
        says="the reply is empty"),
    Fault("calls that are announced", [chunk({"role": "assistant", "content": None}), finish("tool_calls"), DONE],
        says="announces tool calls"),
    Fault("calls that are announced, by the old name", [finish("function_call"), DONE], says="announces tool calls"),
    Fault("calls that are announced after text", [*text("Hel"), finish("tool_calls"), DONE], kept="Hel",
        says="announces tool calls"),
    Fault("a list of no calls", [*text("Hel"), chunk({"tool_calls": []}), finish("tool_calls"), DONE],
        _json({**_whole(tool_calls=[]), "choices": [{**_whole(tool_calls=[])["choices"][0],
        "finish_reason": "tool_calls"}]}), kept="Hel", says="announces tool calls"),
    Fault("a part of an unknown type", *_both(chunk({"content": [{"type": "audio", "data": "x"}]}),
        _whole(content=[{"type": "audio", "data": "x"}])), kept="Hel", says="not text but audio"),
    Fault("a call instead of deltas", [chunk_with({"message": {"function_call": {"name": "add", "arguments": "{}"}}}),
        DONE], None, says="not a stream"),
    Fault("a message and empty deltas", [chunk_with({"message": {"content": "Hello"}}, delta={}), DONE], None,
        says="not a stream"),
    Fault("text and empty deltas", [chunk_with({"text": "Hello"}, delta={}), DONE], None),
    Fault("an error event of another shape", _told_in(b"event: error\n" + data({"type": "error", **_UPSTREAM})), None,
        kept="Hel", says="upstream died"),
    Fault("an error event that is text", _told_in(b"event: error\ndata: upstream died\n\n"), None, kept="Hel",
        says="upstream died"),
    Fault("an error event without data", _told_in(b"event: error\n\n"), None, kept="Hel", says="broke it off"),
    Fault("an error event and a null error", _told_in(b"event: error\n" + data({"error": None, **_UPSTREAM})), None,
        kept="Hel", says="upstream died"),
    Fault("a type that is an error", _told_in(data({"type": "error", **_UPSTREAM})), None, kept="Hel",
        says="upstream died"),
    Fault("an error in a field of its own", _told_in(b'error: {"error": {"message": "upstream died"}}\n\n'), None,
        kept="Hel", says="upstream died"),
    Fault("an error outside of events", _told_in(b'{"error": {"message": "upstream died"}}\n'), None, kept="Hel",
        says="upstream died"),
    Fault("an error in a list", *_both([{"error": _UPSTREAM}], [{"error": _UPSTREAM}]), kept="Hel",
        says="upstream died"),
    Fault("an error in an error", *_both({"error": {"error": _UPSTREAM}}, {"error": {"error": _UPSTREAM}}), kept="Hel",
        says="upstream died"),
    Fault("an error of Groq's", _told_in(data(chunk(x_groq={"id": "r", "error": "upstream died"}))), None, kept="Hel",
        says="upstream died"),
    Fault("an error beside it", [*text("Hel"), chunk({}, "stop", x_groq={"error": "upstream died"}), DONE], None,
        kept="Hel", says="upstream died"),
    Fault("an error after the reason", [*text("Hel"), finish(), data({"error": _UPSTREAM}), DONE], None, kept="Hel",
        says="upstream died"),
    Fault("an error at the end, and no blank line", [*text("Hel"), finish(), data({"error": _UPSTREAM})[:-2]], None,
        kept="Hel", says="upstream died"),
    Fault("half a reply and then another one", [*text("Hel"), chunk({"content": "l"}), *_another("Hello"), DONE], None,
        kept="Hell", says="another reply begins"),
    Fault("half a reply and then another one in one piece", [*text("Hel"), chunk({"content": "l"}),
        {**chunk({"role": "assistant", "content": "Hello"}), "id": "2"}, finish(), DONE], None, kept="Hell",
        says="another reply begins"),
    Fault("a detail", *_both({"detail": "upstream died"}, {"detail": "upstream died"}), kept="Hel",
        says="upstream died"),
    Fault("a code and a message", *_both({"code": 50507, "msg": "upstream died", "data": None},
        {"code": 50507, "msg": "upstream died", "data": None}), kept="Hel", says="upstream died"),
    Fault("no success", *_both({"success": False, "errors": [_UPSTREAM]}, {"success": False, "errors": [_UPSTREAM]}),
        kept="Hel", says="upstream died"),
    Fault("a reason that is null in words", [*text("Hel"), finish("null"), DONE], kept="Hel"),
]  # fmt: skip

TYPED = [
    Fault("too long", [*text("Hel"), finish("length"), usage(7, 1), DONE], kept="Hel", says="token limit"),
    Fault("filtered", [*text("Hel"), finish("content_filter"), usage(7, 1), DONE], kept="Hel", says="content filter"),
    Fault("half a tool call, too long", [*text("Hel"), *call(0, "add", '{"a": 1'), finish("length"), DONE], kept="Hel",
        says="token limit"),
]  # fmt: skip
TYPED = _each(TYPED, retryable=False)

#: The same, in the words of one format.
TYPED_ODDLY = [
    *(Fault(f"filtered, {word}", [*text("Hel"), finish(word), usage(7, 1), DONE], kept="Hel", says="content filter")
        for word in ("content-filter", "SAFETY", "BLOCKLIST", "IMAGE_SAFETY", "guardrail_intervened", "sensitive")),
    Fault("too long, no message", None, _json({**_WHOLE, "choices": [{"index": 0, "finish_reason": "length"}]}),
        says="token limit"),
]  # fmt: skip
TYPED_ODDLY = _each(TYPED_ODDLY, retryable=False)

_LONG = [data(text("x" * 100_000)[0])]
_BIG_ARGUMENTS = data(chunk({"tool_calls": [{"index": 0, "function": {"arguments": "9" * 100_000}}]}))

_EMPTY = {"id": "1", "type": "message", "role": "assistant", "model": "m", "content": []}
_START = event("message_start", message=_EMPTY | {"usage": {"input_tokens": 7, "output_tokens": 1}})
_TEXT = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hel"})
_END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}) + event("message_stop")
_OVERLOADED = {"type": "overloaded_error", "message": f"Overloaded, Bearer {KEY}"}


def _told(*pieces: bytes) -> list[bytes]:
    return [_START, _TEXT, *pieces]


_MESSAGE = {
    "id": "1", "type": "message", "role": "assistant", "model": "m", "content": [{"type": "text", "text": "Hello"}],
    "stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 7, "output_tokens": 2},
}  # fmt: skip

_AGAIN = event("message_start", message=_EMPTY | {"id": "2", "usage": {"input_tokens": 7, "output_tokens": 1}})

#: Faults of Anthropic's format only.
ANTHROPIC = [
    Fault("the same reply once more", _told(_START, _TEXT, _END), None, kept="Hel", says="another reply begins"),
    Fault("another reply within it", _told(_AGAIN, _TEXT, _END), None, kept="Hel", says="another reply begins"),
    Fault("nothing in a good message", [_START, _END], _json(_MESSAGE | {"content": []}), says="the reply is empty"),
    Fault("a use of tools that is announced", [_START, _END.replace(b"end_turn", b"tool_use")],
        _json(_MESSAGE | {"content": [], "stop_reason": "tool_use"}), says="announces tool calls"),
    Fault("an error event at once", [event("error", error=_OVERLOADED)], None, says="Overloaded"),
    Fault("an error event in the middle", _told(event("error", error=_OVERLOADED)), None, kept="Hel",
        says="Overloaded"),
    Fault("a start and the end", [_START], None),
    Fault("no reason before message_stop", _told(event("message_stop")), None, kept="Hel"),
    Fault("a reason that is null", _told(event("message_delta", delta={"stop_reason": None},
        usage={"output_tokens": 2}), event("message_stop")), None, kept="Hel"),
    Fault("a stop reason that nobody knows", _told(event("message_delta", delta={"stop_reason": "pause_turn"},
        usage={"output_tokens": 2}), event("message_stop")), _json(_MESSAGE | {"stop_reason": "pause_turn"}),
        kept="Hel"),
    Fault("an event of a wrong shape", _told(event("content_block_delta", index=0, delta=None), _END), None,
        kept="Hel", retryable=False, says="LiteLLM failed to read"),
    Fault("an event that is no JSON", _told(b"event: content_block_delta\ndata: {oops}\n\n", _END), None, kept="Hel"),
    Fault("an event that is a list", _told(b"event: content_block_delta\ndata: [1]\n\n", _END), None, kept="Hel"),
    Fault("text that is a number", _told(event("content_block_delta", index=0,
        delta={"type": "text_delta", "text": 42}), _END), None, kept="Hel"),
    Fault("bad UTF-8 in an event", _told(_TEXT.replace(b"Hel", b"\xff\xfe"), _END), None, kept="Hel"),
    Fault("OpenAI's format at Anthropic's address", [data(one) for one in [*text("Hel"), finish()]], None),
    Fault("a whole reply without a reason", None, _json(_MESSAGE | {"stop_reason": None})),
    Fault("a whole reply that is an error", None, _json({"type": "error", "error": _OVERLOADED}), says="Overloaded"),
    Fault("content that is null", None, _json(_MESSAGE | {"content": None}), retryable=False,
        says="LiteLLM failed to read"),
    Fault("an event that is not known", _told(event("news", news=1), _END), None, kept="Hel", may_say="Hel"),
]  # fmt: skip

BIG = [
    Fault("a line without an end", [b'data: {"x": "', Many(b"x" * 100_000, 500)],
        Reply([b'{"x": "', Many(b"x" * 100_000, 500)])),
    Fault("much text", [Many(_LONG[0], 500), finish(), DONE],
        Reply([json.dumps(_whole(content="@")).partition("@")[0].encode(), Many(b"x" * 100_000, 500),
        json.dumps(_whole(content="@")).partition("@")[2].encode()])),
    Fault("much of an error", Reply([Many(b"x" * 100_000, 500)], 500)),
    Fault("much of a refusal", Reply([b'{"error": {"message": "', Many(b"x" * 100_000, 500), b'"}}'], 400, _JSON),
        retryable=False),
    Fault("huge arguments", [*call(0, "add", '{"a": '), Many(_BIG_ARGUMENTS, 500), *call(0, "", "}")[1:],
        finish("tool_calls"), DONE], None),
    Fault("much of nothing", [Many(b": ping\n\n" * 10_000, 625)], Reply([Many(b" " * 100_000, 500)])),
]  # fmt: skip
BIG = _each(BIG, big=True)

FAMILIES = {
    "refusals": REFUSALS,
    "no answers": NO_ANSWERS,
    "hangs": HANGS,
    "truncations": TRUNCATIONS,
    "nonsense": NONSENSE,
    "disguised": DISGUISED,
    "typed": TYPED,
    "typed oddly": TYPED_ODDLY,
    "Anthropic's": ANTHROPIC,
    "big": BIG,
}
FAULTS = [fault for family in FAMILIES.values() for fault in family]
BY_NAME = {fault.name: fault for fault in FAULTS}
assert len(BY_NAME) == len(FAULTS)
