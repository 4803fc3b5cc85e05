"""Reading chunks in OpenAI's format: the fast and the lenient decoder give the same deltas."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.config.providers import PROVIDERS
from whisper_nb.core.messages import CallDelta, Delta, Finish, ReasoningDelta, TextDelta, Usage
from whisper_nb.models import wire_format
from whisper_nb.models.reading import REPLY_LIMIT, InvalidReply
from whisper_nb.models.wire_format import ProviderError, ReplyStream, WholeReply, WireReader

_value: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.sampled_from(["", "stop", "word", "error"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["text", "type", "id", "name", "function", "index"]), inner, max_size=3)
    ),
    max_leaves=4,
)


def _record(*fields: str, **known: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Objects with some of the fields, with any values; rarely another value in place of the object."""
    own = st.fixed_dictionaries({}, optional={**dict.fromkeys(fields, _value), **known, "unknown": _value})
    return own | _value


_part = _record(
    "content", "refusal", "reasoning", "reasoning_content", "reasoning_details", "tool_calls", "function_call"
)
_choice = _record("index", "finish_reason", "usage", "error", "text", delta=_part, message=_part)
_chunks = _record(
    "usage", "x_groq", "service_tier", "object", "type", "detail", "error", choices=st.lists(_choice, max_size=2)
)


def outcome(data: str) -> Any:
    """The deltas and the end of a chunk, or its error."""
    reader, deltas = WireReader("reasoning_details"), list[Delta]()
    try:
        reader.add(data, deltas)
        return deltas, reader.finish(), reader.usage
    except (InvalidReply, ProviderError) as error:
        return type(error)


@given(_chunks.map(json.dumps))
def test_the_fast_and_the_lenient_decoder_agree(data: str) -> None:
    quick = outcome(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wire_format, "_chunk", lambda data: wire_format.parsed(data, whole=False))
        assert outcome(data) == quick


@pytest.mark.parametrize("name", [name for name, one in PROVIDERS.items() if one.wire is not None and one.reasoning])
def test_the_reasoning_of_each_provider_is_read(name: str) -> None:
    field = PROVIDERS[name].reasoning
    reader = WireReader(field)
    reader.read(json.dumps({"choices": [{"delta": {field: "hm"}, "finish_reason": "stop"}]}))
    assert reader.finish() == Finish("stop", None, None, {field: "hm"})


@pytest.mark.parametrize(
    ("extra", "text"),
    [('"text": "\\ud83e"', "word"), ('"logprob": NaN', "word"), ('"seed": 1e999', "word"), (f'"n": {10**40}', "word")],
)
def test_everything_that_json_accepts_is_read(extra: str, text: str) -> None:
    data = f'{{"choices": [{{"delta": {{"content": "{text}"}}}}], {extra}}}'
    assert WireReader().read(data) == [TextDelta(text)]


def test_a_lone_surrogate_is_read() -> None:
    assert WireReader().read('{"choices": [{"delta": {"content": "\\ud83e"}}]}') == [TextDelta("\ud83e")]


def test_text_that_arrives_together_is_one_delta() -> None:
    reply = ReplyStream(WireReader())
    events = [{"delta": {"content": word}} for word in ("one ", "two ", "three")]
    sent = "".join(f"data: {json.dumps({'choices': [event]})}\n\n" for event in events)
    assert reply.feed(sent.encode()) == [TextDelta("one two three")]
    assert not reply.done


def test_one_chunk_may_hold_all_kinds_of_deltas() -> None:
    call = {"index": 0, "id": "c1", "function": {"name": "rows", "arguments": "{}"}}
    delta = {"content": "a", "refusal": "b", "reasoning_content": "c", "tool_calls": [call]}
    choices = [{"index": 1, "delta": {"content": "another reply"}}, {"index": 0, "delta": delta}]
    reader = WireReader()
    assert reader.read(json.dumps({"choices": choices})) == [
        ReasoningDelta("c"),
        TextDelta("a"),
        TextDelta("b"),
        CallDelta(0, "c1", "rows", "{}"),
    ]


def test_deltas_before_an_error_are_kept() -> None:
    reply = ReplyStream(WireReader())
    good = 'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
    assert reply.feed(f'{good}data: {{"error": {{"message": "full", "code": 503}}}}\n\n{good}'.encode()) == [
        TextDelta("a")
    ]
    assert isinstance(reply.failure, ProviderError)
    assert (reply.done, reply.failure.text, reply.failure.code) == (True, "full", 503)


def streamed(*choices: dict[str, Any]) -> ReplyStream:
    """A stream that was read to its end, with one chunk for each choice."""
    reply = ReplyStream(WireReader())
    for choice in choices:
        reply.feed(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())
    return reply


CALL = {"index": 0, "id": "c1", "function": {"name": "rows", "arguments": "{}"}}


@pytest.mark.parametrize(
    "choice",
    [
        {"message": {"content": "Hello"}},
        {"message": {"content": "Hello"}, "delta": None},
        {"message": {"content": "Hello"}, "delta": {}},
        {"message": {"content": None, "refusal": "No."}},
        {"message": {"content": None, "tool_calls": [CALL]}},
        {"message": "Hello"},
        {"text": "Hello"},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("before", [[], [{"delta": {"role": "assistant", "reasoning_content": "hm"}}]])
def test_a_stream_with_its_content_outside_of_deltas_is_refused(
    before: list[dict[str, Any]], choice: dict[str, Any]
) -> None:
    reply = streamed(*before, {**choice, "finish_reason": "stop"})
    assert reply.done
    assert isinstance(reply.failure, InvalidReply)


@pytest.mark.parametrize("last", [{}, {"delta": {"content": "lo"}}])
def test_a_message_that_repeats_the_deltas_is_ignored(last: dict[str, Any]) -> None:
    message = {"role": "assistant", "content": "Hello", "tool_calls": [CALL]}
    deltas = [{"delta": {"content": "Hel"}, "message": {"content": "Hel"}}, {"delta": {"tool_calls": [CALL]}}]
    reply = streamed(*deltas, {**last, "message": message, "text": "Hello", "finish_reason": "stop"})
    assert reply.failure is None


@pytest.mark.parametrize("kind", [ReplyStream, WholeReply])
def test_a_reply_has_a_size_limit(kind: type[ReplyStream | WholeReply]) -> None:
    reply = kind(WireReader())
    while not reply.done:
        assert reply.feed(b": \n" * 2**20) == []
    assert isinstance(reply.failure, InvalidReply)
    assert reply._size <= REPLY_LIMIT + 2**22


def test_a_complete_reply_is_read_at_its_end() -> None:
    sent = json.dumps({
        "choices": [{"message": {"content": "a"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }).encode()  # fmt: skip
    reader = WireReader()
    reply = WholeReply(reader)
    assert [reply.feed(sent[:9]), reply.feed(sent[9:]), reply.done] == [[], [], False]
    assert (reply.feed(b""), reply.done) == ([TextDelta("a")], True)
    assert reader.finish() == Finish("stop", Usage(3, 1))
