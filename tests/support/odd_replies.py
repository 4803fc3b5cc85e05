"""Good replies in the odd forms of real servers, as data: what the server sends, and what becomes of it.

Each row is one form, and each has its counterpart among the faults. `add` is the one tool; after a call the server says
"fine".
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from support.provider import CUT, DONE, Answer, Pause, Raw, Reply, Step, call, chunk, data, event, finish, text, usage
from whisper_nb.core.messages import Usage


@dataclass(frozen=True)
class Odd:
    """One form of a good reply."""

    name: str
    stream: Answer | None
    """The server's answer to a request for a stream; None: there is no such form."""
    whole: Answer | None = None
    """The server's answer to a request for a complete reply."""
    says: str = "Hello"
    calls: tuple[tuple[int, int], ...] = ()
    """The arguments with which `add` is called."""
    tokens: Usage | None = None
    """Of the whole run."""
    model: str = "openai/test-model"
    served: tuple[str, ...] = ()
    """The tools that the provider has run itself."""
    transports: tuple[str, ...] = ("wire", "litellm")


_HELLO = [*text("Hel", "lo"), finish(), usage(7, 2), DONE]
_EVENTS = b"".join(data(one) for one in _HELLO[:-1] if isinstance(one, dict))
_ADD, _SUM = '{"a": 1, "b": 2}', '{"a": 3, "b": 4}'
ONE, BOTH = ((1, 2),), ((1, 2), (3, 4))
COUNTED = Usage(7, 2)


def _message(reason: str | None = "stop", used: Any = None, **message: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", "content": None, **message}, "finish_reason": reason}
        ],
        **({"usage": used} if used is not None else {}),
    }


def _json(body: object, **headers: str) -> Reply:
    encoded = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply([encoded], headers={name.replace("_", "-"): value for name, value in headers.items()})


def _head(**headers: str) -> bytes:
    lines = ["HTTP/1.1 200 OK", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode()


def _chunked(*pieces: bytes) -> bytes:
    return b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces)


def _piece(**fields: Any) -> dict[str, Any]:
    """A piece of a tool call: name and arguments go into its function."""
    function = {name: fields.pop(name) for name in ("name", "arguments") if name in fields}
    return chunk({"tool_calls": [{**fields, "function": function}]})


def _whole_call(**fields: Any) -> dict[str, Any]:
    return {"id": "a", "type": "function", "function": {"name": "add", "arguments": _ADD}} | fields


_CALLED = finish("tool_calls")
_COUNTS = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
_LOOKS = {"finish_reason": "tool_calls", "message": {"role": "assistant", "content": "I look."}}
_CALLS = {
    "finish_reason": "tool_calls",
    "message": {"role": "assistant", "content": None, "tool_calls": [_whole_call()]},
}

CALLS = [
    Odd(
        "ids that are numbers",
        [_piece(index=0, id=123, name="add", arguments=""), _piece(index=0, arguments=_ADD), _CALLED, DONE],
        _json(_message("tool_calls", tool_calls=[_whole_call(id=123)])),
        "fine",
        ONE,
    ),
    Odd(
        "the legacy function_call",
        [
            chunk({"function_call": {"name": "add", "arguments": ""}}),
            chunk({"function_call": {"arguments": _ADD[:5]}}),
            chunk({"function_call": {"arguments": _ADD[5:]}}),
            finish("function_call"),
            DONE,
        ],
        _json(_message("stop", function_call={"name": "add", "arguments": _ADD})),
        "fine",
        ONE,
    ),
    Odd(
        "the legacy function_call beside its call",
        [
            chunk({"function_call": {"name": "add", "arguments": _ADD}, "tool_calls": [_whole_call(index=0)]}),
            _CALLED,
            DONE,
        ],
        _json(_message("tool_calls", tool_calls=[_whole_call()], function_call={"name": "add", "arguments": _ADD})),
        "fine",
        ONE,
    ),
    Odd(
        "an index that is text",
        [
            _piece(index="0", id="a", name="add", arguments=_ADD[:5]),
            _piece(index="0", arguments=_ADD[5:]),
            _CALLED,
            DONE,
        ],
        None,
        "fine",
        ONE,
    ),
    Odd(
        "an empty function_call beside text",
        [chunk({"content": "Hello", "function_call": {"name": "", "arguments": ""}}), finish(), DONE],
        _json(_message(content="Hello", function_call={"name": "", "arguments": ""}, tool_calls=[])),
    ),
    Odd(
        "an empty call beside text",
        [chunk({"content": "Hello", "tool_calls": [{"index": 0, "function": {}}]}), finish(), DONE],
        _json(_message(content="Hello", tool_calls=[{}])),
    ),
    Odd(
        "another id with each piece",
        [
            _piece(index=0, id="u1", name="add", arguments=_ADD[:4]),
            _piece(index=0, id="u2", name=None, arguments=_ADD[4:8]),
            _piece(index=0, id="u3", arguments=_ADD[8:]),
            _CALLED,
            DONE,
        ],
        None,
        "fine",
        ONE,
    ),
    Odd(
        "another id with each piece, and the name",
        [
            _piece(index=0, id="u1", name="add", arguments=_ADD[:4]),
            _piece(index=0, id="u2", name="add", arguments=_ADD[4:8]),
            _piece(index=0, id="u3", name="add", arguments=_ADD[8:]),
            _CALLED,
            DONE,
        ],
        None,
        "fine",
        ONE,
    ),
    Odd(
        "index 0 for all calls",
        [
            _piece(index=0, id="a", name="add", arguments=_ADD),
            _piece(index=0, id="b", name="add", arguments=_SUM),
            _CALLED,
            DONE,
        ],
        None,
        "fine",
        BOTH,
    ),
    Odd(
        "index 0 for all calls, and no ids",
        [_piece(index=0, name="add", arguments=_ADD), _piece(index=0, name="add", arguments=_SUM), _CALLED, DONE],
        None,
        "fine",
        BOTH,
    ),
    Odd(
        "one id for two calls",
        [
            _piece(index=0, id="s", name="add", arguments=_ADD[:5]),
            _piece(index=0, id="s", arguments=_ADD[5:]),
            _piece(index=1, id="s", name="add", arguments=_SUM[:5]),
            _piece(index=1, id="s", arguments=_SUM[5:]),
            _CALLED,
            DONE,
        ],
        None,
        "fine",
        BOTH,
    ),
    Odd(
        "no index",
        [
            _piece(id="a", name="add", arguments=_ADD[:5]),
            _piece(id=None, arguments=_ADD[5:]),
            _piece(id="b", name="add", arguments=_SUM[:5]),
            _piece(arguments=_SUM[5:]),
            _CALLED,
            DONE,
        ],
        None,
        "fine",
        BOTH,
    ),
    Odd(
        "another index for the arguments",
        [
            _piece(index=1, id="a", name="add", arguments=""),
            _piece(index=0, id=None, name=None, arguments=_ADD),
            _CALLED,
            DONE,
        ],
        None,
        "fine",
        ONE,
    ),
    Odd(
        "a function that is null",
        [*call(0, "add", _ADD), chunk({"tool_calls": [{"index": 0, "function": None}]}), _CALLED, DONE],
        None,
        "fine",
        ONE,
    ),
    Odd(
        "null among the calls",
        [chunk({"tool_calls": [None, _whole_call(index=1)]}), _CALLED, DONE],
        _json(_message("tool_calls", tool_calls=[None, _whole_call()])),
        "fine",
        ONE,
    ),
    Odd(
        "one call without its list",
        [chunk({"tool_calls": _whole_call(index=0)}), _CALLED, DONE],
        _json(_message("tool_calls", tool_calls=_whole_call())),
        "fine",
        ONE,
    ),
    Odd(
        "arguments that are an object",
        [_piece(index=0, id="a", name="add", arguments={"a": 1, "b": 2}), _CALLED, DONE],
        _json(
            _message("tool_calls", tool_calls=[_whole_call(function={"name": "add", "arguments": {"a": 1, "b": 2}})])
        ),
        "fine",
        ONE,
    ),
    Odd(
        "a call in a second choice",
        None,
        _json(_message() | {"choices": [_LOOKS | {"index": 0}, _CALLS | {"index": 1}]}),
        "fine",
        ONE,
    ),
    Odd(
        "a call in a second choice without an index",
        None,
        _json(_message() | {"choices": [_LOOKS, _CALLS]}),
        "fine",
        ONE,
    ),
    Odd(
        "a reason with a hyphen",
        [*call(0, "add", _ADD), finish("tool-calls"), DONE],
        _json(_message("tool-calls", tool_calls=[_whole_call()])),
        "fine",
        ONE,
    ),
    Odd(
        "a tool that the provider runs",
        [
            *text("Hel"),
            _piece(index=0, id="srvtoolu_1", name="web_search", arguments=""),
            _piece(index=0, arguments='{"query": "x"}'),
            *text("lo"),
            finish(),
            DONE,
        ],
        _json(
            _message(
                content="Hello",
                tool_calls=[_whole_call(id="srvtoolu_1", function={"name": "web_search", "arguments": "{}"})],
            )
        ),
        served=("web_search",),
    ),
]

_PARTS = [
    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
    {"type": "text", "text": None},
    {"type": "output_text", "text": "Hel"},
    "lo",
]
_CHUNKS = [*text("H", "e", "l", "lo"), finish()]
_PROXY = {**chunk({"role": "assistant", "content": ""}), "id": "p"}
CONTENTS = [
    Odd("a role in each piece, and another id", [{**one, "id": f"c{n}"} for n, one in enumerate(_CHUNKS)] + [DONE]),
    Odd("a role in each piece", [*_CHUNKS, DONE]),
    Odd("another id in each piece", [{**chunk({"content": one}), "id": one} for one in "Hello"] + [finish(), DONE]),
    Odd(
        "an empty piece of a proxy",
        [*text("Hel"), chunk({"content": "l"}), _PROXY, chunk({"content": "o"}), _PROXY, finish(), DONE],
    ),
    Odd(
        "a last piece of a proxy",
        [*text("Hell"), chunk({"content": "o"}), {**chunk({"role": "assistant", "content": ""}, "stop"), "id": "p"}],
    ),
    Odd("content in parts", [chunk({"content": _PARTS}), finish(), DONE], _json(_message(content=_PARTS))),
    Odd(
        "a refusal among the parts",
        [chunk({"content": [{"type": "refusal", "refusal": "No."}]}), finish(), DONE],
        _json(_message(content=[{"type": "refusal", "refusal": "No."}])),
        "No.",
    ),
    Odd(
        "a refusal beside null",
        [chunk({"role": "assistant", "content": None}), chunk({"refusal": "No."}), finish(), DONE],
        _json(_message(refusal="No.")),
        "No.",
    ),
    Odd(
        "a refusal beside null, of Azure",
        [chunk({"role": "assistant", "content": None}), chunk({"refusal": "No."}), finish(), DONE],
        _json(_message(refusal="No.")),
        "No.",
        model="azure/gpt-4o",
        transports=("litellm",),
    ),
    Odd(
        "choices without a delta, of Azure",
        [
            {**chunk(), "prompt_filter_results": []},
            *text("Hel", "lo"),
            finish(),
            {
                **chunk(),
                "id": "",
                "choices": [{"index": 0, "finish_reason": None, "content_filter_offsets": {"check_offset": 4}}],
                "usage": None,
            },
            usage(7, 2),
            DONE,
        ],
        None,
        tokens=COUNTED,
        model="azure/gpt-4o",
        transports=("litellm",),
    ),
    Odd(
        "a choice without a delta at first",
        [{**chunk(), "choices": [{"index": 0, "finish_reason": None}]}, *_HELLO],
        None,
        tokens=COUNTED,
    ),
    Odd(
        "a delta that is null",
        [*text("Hello"), {**chunk(), "choices": [{"index": 0, "finish_reason": "stop", "delta": None}]}, DONE],
    ),
    Odd(
        "the reason null in words",
        [chunk({"content": "Hel"}, "null"), chunk({"content": "lo"}, "None"), finish(), DONE],
    ),
    Odd("an empty reason", [chunk({"content": "Hello"}, ""), finish("STOP"), DONE]),
    Odd(
        "an index that is text",
        [{**chunk(), "choices": [{"index": "0", "delta": {"content": "Hello"}, "finish_reason": "stop"}]}, DONE],
    ),
    Odd(
        "lone halves of a character",
        [
            b'data: {"choices":[{"delta":{"content":"\\ud83d"}}]}\n\n',
            b'data: {"choices":[{"delta":{"content":"\\ude00"},"finish_reason":"stop"}]}\n\n',
            DONE,
        ],
        None,
        "😀",
    ),
]

_CUT_LATE: list[Step] = [Pause(0.02), CUT]
_BODY = json.dumps(_message(content="Hello", used=_COUNTS)).encode()
_SSE = {"Content_Type": "text/event-stream"}
FORMS = [
    Odd("no blank line at the end", Reply([_EVENTS[:-2]]), None, tokens=COUNTED),
    Odd("half a line after the reason", Reply([_EVENTS[:-20]])),
    Odd("half a mark of the end", Reply([_EVENTS, b"data: [DO"]), None, tokens=COUNTED),
    Odd(
        "no last chunk after the end",
        Raw([_head(**_SSE, Transfer_Encoding="chunked"), _chunked(_EVENTS, DONE)]),
        Raw([_head(Content_Type="application/json", Transfer_Encoding="chunked"), _chunked(_BODY)]),
        tokens=COUNTED,
    ),
    Odd(
        "no last chunk after the reason",
        Raw([_head(**_SSE, Transfer_Encoding="chunked"), _chunked(_EVENTS)]),
        None,
        tokens=COUNTED,
    ),
    Odd("a cut after the reason", Raw([_head(**_SSE), _EVENTS, *_CUT_LATE]), None, tokens=COUNTED),
    Odd(
        "longer than it is",
        Raw([_head(**_SSE, Content_Length="100000"), _EVENTS, DONE]),
        Raw([_head(Content_Type="application/json", Content_Length="100000"), _BODY]),
        tokens=COUNTED,
    ),
    Odd(
        "longer than it is, without [DONE]",
        Raw([_head(**_SSE, Content_Length="100000"), _EVENTS]),
        None,
        tokens=COUNTED,
    ),
    Odd(
        "one JSON as a stream, and [DONE]",
        Reply([_BODY, b"\n\ndata: [DONE]\n\n"]),
        _json(_BODY + b"\n\ndata: [DONE]\n\n", Content_Type="text/event-stream"),
        tokens=COUNTED,
    ),
    Odd("one JSON for a stream", _json(_BODY, Content_Type="application/json"), None, tokens=COUNTED),
    Odd(
        "a stream that says it is JSON",
        Reply(_HELLO, headers={"Content-Type": "application/json"}),
        None,
        tokens=COUNTED,
    ),
    Odd(
        "an unknown content type",
        Reply(_HELLO, headers={"Content-Type": "application/x-thing"}),
        _json(_BODY, Content_Type="text/x-thing"),
        tokens=COUNTED,
    ),
    Odd(
        "no content type",
        Raw([_head(), _EVENTS, DONE]),
        Raw([_head(Content_Length=str(len(_BODY))), _BODY]),
        tokens=COUNTED,
    ),
    Odd("blank lines first", Reply([b"\n\n \r\n", *_HELLO]), _json(b"\n" * 50 + _BODY), tokens=COUNTED),
    Odd("unknown fields with quotes", Reply([b'x-meta: {"gpu": "a100"}\n\n', *_HELLO]), None, tokens=COUNTED),
    Odd("pings", Reply([b'event: ping\ndata: {"type": "ping"}\n\n: {"x": 1}\n\n', *_HELLO]), None, tokens=COUNTED),
]


def _counted(**used: Any) -> tuple[list[Step], Reply]:
    """A stream and a complete reply with this usage."""
    return [*text("Hello"), finish(), chunk(usage=used), DONE], _json(_message(content="Hello", used=used))


_THOUGHT: Mapping[str, Any] = {"completion_tokens_details": {"reasoning_tokens": 290}}
COUNTS = [
    Odd(
        "a count corrected downwards",
        [chunk({"content": "Hello"}, usage={**_COUNTS, "prompt_tokens": 15}), finish(), chunk(usage=_COUNTS), DONE],
        None,
        tokens=COUNTED,
    ),
    Odd(
        "zeros first",
        [chunk({"content": "Hello"}, usage=dict.fromkeys(_COUNTS, 0)), finish(), chunk(usage=_COUNTS), DONE],
        None,
        tokens=COUNTED,
    ),
    Odd(
        "zeros last",
        [chunk({"content": "Hello"}, usage=_COUNTS), finish(), chunk(usage=dict.fromkeys(_COUNTS, 0)), DONE],
        None,
        tokens=COUNTED,
    ),
    Odd("no count of the prompt", *_counted(prompt_tokens=None, completion_tokens=2)),
    Odd("no count of the reply", *_counted(prompt_tokens=7_000, total_tokens=9_000), model="openai/gpt-4o-mini"),
    Odd(
        "a reply of no tokens",
        *_counted(prompt_tokens=7, completion_tokens=0, total_tokens=7),
        model="openai/gpt-4o-mini",
    ),
    Odd(
        "usage that is a list",
        [chunk({"content": "Hello"}, usage={}), finish(), chunk(usage=[]), DONE],
        _json(_message(content="Hello", used=[])),
    ),
    Odd(
        "reasoning beside the reply",
        *_counted(prompt_tokens=12, completion_tokens=1, total_tokens=303, **_THOUGHT),
        tokens=Usage(12, 291),
        model="xai/grok-3-mini",
    ),
    Odd(
        "reasoning within the reply",
        *_counted(prompt_tokens=12, completion_tokens=291, total_tokens=303, **_THOUGHT),
        tokens=Usage(12, 291),
    ),
    Odd(
        "usage in a field of Groq's",
        [chunk({"content": "Hello"}), chunk({}, "stop", x_groq={"id": "r", "usage": _COUNTS}), DONE],
        None,
        tokens=COUNTED,
        model="groq/test-model",
    ),
    Odd(
        "no service tier of Groq's",
        None,
        _json(_message(content="Hello", used=_COUNTS)),
        tokens=COUNTED,
        model="groq/test-model",
    ),
    Odd("a cost in parts", *_counted(**_COUNTS, cost={"total_cost": 0.0051}), tokens=COUNTED),
]


def _start(id: str = "m1") -> bytes:
    used = {"input_tokens": 7, "output_tokens": 1}
    message = {"id": id, "type": "message", "role": "assistant", "model": "m", "content": [], "usage": used}
    return event("message_start", message={**message, "stop_reason": None})


def _block(index: int, block: dict[str, Any], *deltas: dict[str, Any]) -> bytes:
    pieces = b"".join(event("content_block_delta", index=index, delta=delta) for delta in deltas)
    return (
        event("content_block_start", index=index, content_block=block)
        + pieces
        + event("content_block_stop", index=index)
    )


_END = event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 2}) + event("message_stop")
_HELLO_BLOCK = _block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"})
_SEARCH = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search"}
_FOUND = {
    "type": "web_search_tool_result",
    "tool_use_id": "srvtoolu_1",
    "content": [{"type": "web_search_result", "title": "t", "url": "https://example.com", "encrypted_content": "x"}],
}
CLAUDE = {"model": "anthropic/claude-haiku-4-5", "transports": ("litellm",)}
OTHERS = [
    Odd(
        "a web search of Anthropic's",
        [
            _start(),
            _block(0, {**_SEARCH, "input": {}}, {"type": "input_json_delta", "partial_json": '{"query": "news"}'}),
            _block(1, _FOUND),
            _block(2, {"type": "text", "text": ""}, {"type": "text_delta", "text": "Hello"}),
            _END,
        ],
        _json(
            {
                "id": "m1",
                "type": "message",
                "role": "assistant",
                "model": "m",
                "stop_reason": "end_turn",
                "usage": {"input_tokens": 7, "output_tokens": 2},
                "content": [{**_SEARCH, "input": {"query": "news"}}, _FOUND, {"type": "text", "text": "Hello"}],
            }
        ),
        tokens=COUNTED,
        served=("web_search",),
        **CLAUDE,
    ),
    Odd("a start that is sent twice", [_start(), _start(), _HELLO_BLOCK, _END], None, tokens=COUNTED, **CLAUDE),
    Odd(
        "a cut after Anthropic's reason",
        Raw([_head(**_SSE), _start(), _HELLO_BLOCK, _END[: _END.index(b"event: message_stop")], *_CUT_LATE]),
        None,
        tokens=COUNTED,
        **CLAUDE,
    ),
]

FAMILIES = {"calls": CALLS, "contents": CONTENTS, "forms": FORMS, "counts": COUNTS, "others": OTHERS}
