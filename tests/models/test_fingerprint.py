"""The fingerprint of a request: equal for what is sent alike, different for each change, and cheap."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.messages import messages
from whisper_nb import AIConfig, ConfigError
from whisper_nb.core.fingerprint import canonical
from whisper_nb.core.messages import (
    AssistantMessage,
    Image,
    Message,
    OutputSchema,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSchema,
    UserMessage,
)
from whisper_nb.models import transcript as module
from whisper_nb.models.model import Request, body_of, server_of
from whisper_nb.models.offline import EchoModel
from whisper_nb.models.openai_format import canonical_piece, encode
from whisper_nb.models.transcript import Transcript

GPT = AIConfig(model="openai/gpt-4o")
ASK = UserMessage("how many?")
ROWS = ToolSchema("rows", "Count rows.", {"type": "object", "properties": {"limit": {"type": "integer"}}})
VERDICT = OutputSchema("Verdict", {"type": "object", "properties": {"ok": {"type": "boolean"}}}, "native")
PNG = Image("image/png", "iVBORw0=")

some_messages = st.lists(messages(), max_size=5)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def plainly(request: Request) -> str:
    """Return the fingerprint as its documentation describes it, without the project's code for it."""

    def dumped(value: object) -> bytes:
        return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()

    document: dict[str, Any] = {"model": request.config.model}
    digests = []
    for message in request.messages:
        read = json.loads(encode(message))
        if isinstance(read["content"], list):
            for part in read["content"]:
                if part["type"] == "image_url":
                    kind, data = part["image_url"]["url"].split(";base64,")
                    part["image_url"]["url"] = f"{kind};sha256,{sha256(data.encode()).hexdigest()}"
        digests.append(sha256(dumped(read)).digest())
    if request.tools:
        document["tools"] = [
            {
                "type": "function",
                "function": {"name": tool.name, "description": tool.description, "parameters": tool.parameters},
            }
            for tool in request.tools
        ]
    if request.output:
        output = request.output
        document["output"] = {"name": output.name, "json_schema": output.json_schema, "mode": output.mode}
    if request.config.temperature is not None:
        document["parameters"] = {"temperature": request.config.temperature}
    return sha256(b"".join([*digests, sha256(dumped(document)).digest()])).hexdigest()


# The definition


#: Requests, with their documents. These never change: what is recorded under a fingerprint is found by it.
VECTORS = [
    (
        Request([SystemMessage("be brief"), ASK], (), GPT),
        (
            '{"messages":[{"content":"be brief","role":"system"},{"content":"how many?","role":"user"}],'
            '"model":"openai/gpt-4o"}'
        ),
        "3c5bd6d74c83bc22c23cfdb1d6a5fc9d2c581ec1711097d70bcaa141457ce719",
    ),
    (
        Request(
            [
                UserMessage("größer? ⟨image 1⟩\n", (PNG,)),
                AssistantMessage("", (ToolCall("c1", "rows", '{"limit": 3}'),), {"reasoning_content": "hm"}),
                ToolMessage("c1", "rows", "3", is_error=True),
            ],
            (ROWS,),
            AIConfig(
                model="openai/gpt-4o",
                temperature=1.0,
                max_tokens=10,
                stop=("END",),
                extra={"top_k": 5, "extra_body": {"a": 0.5}, "extra_headers": {"X-Team": "blue"}},
                api_base="http://localhost:8000/v1/",
            ),
            VERDICT,
        ),
        (
            '{"messages":[{"content":[{"text":"größer? ⟨image 1⟩\\n","type":"text"},'
            '{"image_url":{"url":"data:image/png;base64,iVBORw0="},"type":"image_url"}],"role":"user"},'
            '{"content":null,"reasoning_content":"hm","role":"assistant","tool_calls":[{"function":{"arguments":'
            '"{\\"limit\\": 3}","name":"rows"},"id":"c1","type":"function"}]},'
            '{"content":"3","name":"rows","role":"tool","tool_call_id":"c1"}],'
            '"model":"openai/gpt-4o","output":{"json_schema":{"properties":{"ok":{"type":"boolean"}},"type":"object"},'
            '"mode":"native","name":"Verdict"},"parameters":{"a":0.5,"headers":{"x-team":"blue"},"max_tokens":10,'
            '"stop":["END"],"temperature":1,"top_k":5},"server":"http://localhost:8000/v1","tools":[{"function":'
            '{"description":"Count rows.","name":"rows","parameters":{"properties":{"limit":{"type":"integer"}},'
            '"type":"object"}},"type":"function"}]}'
        ),
        "8f495133477f661e691366792ea4f92d918716161acceda3d556586d9bbce0bf",
    ),
]


@pytest.mark.parametrize(("request_", "document", "fingerprint"), VECTORS)
def test_the_fingerprints_of_these_requests_never_change(request_: Request, document: str, fingerprint: str) -> None:
    assert request_.description.decode() == document
    assert request_.fingerprint == fingerprint


@given(some_messages, st.none() | st.just(0.5), st.sampled_from(((), (ROWS,))), st.sampled_from((None, VERDICT)))
def test_it_is_what_its_documentation_says(
    some: list[Message], temperature: float | None, tools: tuple[ToolSchema, ...], output: OutputSchema | None
) -> None:
    request = Request(some, tools, AIConfig(model="openai/gpt-4o", temperature=temperature), output)
    assert request.fingerprint == plainly(request)
    assert Request(Transcript(some), tools, request.config, output).fingerprint == request.fingerprint


# What it depends on

BASE = Request([SystemMessage("be brief"), ASK], (ROWS,), AIConfig(model="openai/gpt-4o", seed=1), VERDICT)


def changed(**fields: Any) -> Request:
    return msgspec.structs.replace(BASE, **fields)


def configured(**values: Any) -> Request:
    return changed(config=AIConfig.of(BASE.config, **values))


CHANGES = {
    "a message": changed(messages=[SystemMessage("be brief"), UserMessage("how many")]),
    "a role": changed(messages=[UserMessage("be brief"), ASK]),
    "the order of messages": changed(messages=[ASK, SystemMessage("be brief")]),
    "one more": changed(messages=[SystemMessage("be brief"), ASK, ASK]),
    "none": changed(messages=[]),
    "two in one": changed(messages=[SystemMessage("be briefhow many?")]),
    "an image": changed(messages=[SystemMessage("be brief"), UserMessage("how many?", (PNG,))]),
    "another image": changed(
        messages=[SystemMessage("be brief"), UserMessage("how many?", (Image("image/png", "AA"),))]
    ),
    "its type": changed(
        messages=[SystemMessage("be brief"), UserMessage("how many?", (Image("image/gif", PNG.data),))]
    ),
    "no tools": changed(tools=()),
    "a tool's description": changed(tools=(msgspec.structs.replace(ROWS, description="Count."),)),
    "a tool's parameters": changed(tools=(msgspec.structs.replace(ROWS, parameters={}),)),
    "two tools": changed(tools=(ROWS, ROWS)),
    "no schema": changed(output=None),
    "the mode": changed(output=msgspec.structs.replace(VERDICT, mode="tool")),
    "the schema": changed(output=msgspec.structs.replace(VERDICT, json_schema={})),
    "the model": configured(model="openai/gpt-4.1"),
    "the provider": configured(model="openrouter/gpt-4o"),
    "the seed": configured(seed=2),
    "a parameter more": configured(temperature=0.0),
    "a stop": configured(stop=("END",)),
    "reasoning": configured(max_reasoning_tokens=0),
    "an extra one": configured(extra={"top_k": 4}),
    "in the body": configured(extra={"extra_body": {"top_k": 5}}),
    "a header": configured(extra={"extra_headers": {"X-Team": "blue"}}),
    "a server": configured(api_base="http://localhost:8000/v1"),
    "another server": configured(api_base="http://localhost:8001/v1"),
    "of the environment": changed(server="http://localhost:8002/v1"),
}


def test_each_change_of_what_is_sent_changes_it() -> None:
    prints = [BASE.fingerprint, *(request.fingerprint for request in CHANGES.values())]
    assert len(set(prints)) == len(prints)


@given(some_messages, some_messages)
def test_it_is_equal_for_equal_messages_alone(one: list[Message], other: list[Message]) -> None:
    as_sent = (
        [canonical_piece(encode(message)) for message in one],
        [canonical_piece(encode(message)) for message in other],
    )
    equal = Request(one, (), GPT).fingerprint == Request(other, (), GPT).fingerprint
    assert equal == (as_sent[0] == as_sent[1])


@pytest.mark.parametrize(
    "values",
    [
        {"api_key": "os.environ/ANOTHER"},
        {"timeout_s": 5.0, "token_timeout_s": 2.0},
        {"retries": 5, "allow_empty": True, "context_tokens": 9_000},
        {"requests_per_minute": 60, "tokens_per_minute": 90_000},
        {"stream": False},
        {"transport": "litellm"},
        {"api_base": "https://api.openai.com/v1/"},
        {"output_mode": "tool"},
    ],
    ids=str,
)
def test_what_is_not_sent_does_not_change_it(values: Mapping[str, Any]) -> None:
    assert configured(**values).fingerprint == BASE.fingerprint


def test_a_config_of_equal_values_has_the_same() -> None:
    for one, other in [
        ({"temperature": 1}, {"temperature": 1.0}),
        ({"extra": {"a": 1, "b": {"c": 2, "d": 3}}}, {"extra": {"b": {"d": 3.0, "c": 2}, "a": 1.0}}),
        ({"extra": {"extra_body": {"top_k": 5}}}, {"extra": {"top_k": 5}}),
        ({"extra": {"extra_headers": {"X-Team": "1"}}}, {"extra": {"extra_headers": {"x-team": 1}}}),
        ({"api_base": "http://localhost:8000/v1"}, {"api_base": "http://localhost:8000/v1/chat/completions"}),
    ]:
        assert configured(**one).fingerprint == configured(**other).fingerprint


def test_reasoning_counts_within_its_run_since_it_is_sent() -> None:
    call = (ToolCall("c1", "rows", "{}"),)
    thought = AssistantMessage("", call, {"reasoning_details": [{"type": "t", "text": "x"}], "b": 1})
    again = AssistantMessage("", call, {"b": 1, "reasoning_details": [{"text": "x", "type": "t"}]})
    prints = [Request([ASK, one], (), GPT).fingerprint for one in (thought, again, AssistantMessage("", call))]
    assert prints[0] == prints[1] != prints[2]


def test_what_a_provider_never_gets_does_not_count() -> None:
    answer, failed = (
        AssistantMessage("three", served=(ToolCall("s", "web", "{}"),)),
        ToolMessage("c", "rows", "3", True),
    )
    assert Request([answer, failed], (), GPT).fingerprint == (
        Request([AssistantMessage("three"), ToolMessage("c", "rows", "3")], (), GPT).fingerprint
    )


@given(some_messages)
def test_stored_messages_have_the_same(some: list[Message]) -> None:
    some = [message for message in some if _is_valid(message)]
    stored = msgspec.json.decode(msgspec.json.encode(some), type=list[Message])
    assert Request(stored, (), GPT).fingerprint == Request(some, (), GPT).fingerprint
    assert Request([*Transcript(some)], (), GPT).fingerprint == Request(some, (), GPT).fingerprint


def _is_valid(message: Message) -> bool:
    try:
        msgspec.json.encode(message)
    except UnicodeEncodeError:
        return False
    return True


def test_an_address_has_no_password_in_it() -> None:
    request = changed(server="http://me:hush@localhost:8002/v1?key=hush")
    assert b"hush" not in request.description
    assert server_of("openai", "https://api.openai.com/v1") == server_of("openai", "") == ""
    assert server_of("mine", "http://localhost:1/v1/") == "http://localhost:1/v1"


def test_a_schema_that_json_does_not_have_is_refused() -> None:
    for parameters in ({"default": float("nan")}, {"default": object()}, {1: 2}):
        tool = msgspec.structs.replace(ROWS, parameters=parameters)
        with pytest.raises(ConfigError, match=r"cannot be sent as JSON: .* Nothing was sent"):
            _ = changed(tools=(tool,)).fingerprint


def test_a_model_without_json_of_its_own_has_the_description_as_its_body() -> None:
    assert body_of(EchoModel(), BASE) == BASE.description


# Canonical JSON


@given(json_values)
def test_canonical_json_is_json_of_the_same_value(value: Any) -> None:
    written = canonical(value)
    assert json.loads(written) == value
    assert canonical(json.loads(written)) == written


@given(st.dictionaries(st.text(max_size=3), json_values, max_size=4))
def test_the_order_of_keys_does_not_matter(value: dict[str, Any]) -> None:
    assert canonical(dict(reversed(value.items()))) == canonical(value)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (1.0, "1"),
        (-0.0, "0"),
        (0.1, "0.1"),
        (2.0**53, "9007199254740992.0"),
        (2**60, "1152921504606846976"),
        (True, "true"),
        ([1, (2,)], "[1,[2]]"),
        ({"b": "ä\n\x7f", "a": None}, '{"a":null,"b":"ä\\n\x7f"}'),
        ("\ud800", '"\ufffd"'),
    ],
    ids=str,
)
def test_values_in_canonical_json(value: Any, written: str) -> None:
    assert canonical(value) == written.encode()


# Its cost


@pytest.fixture
def hashed(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """The pieces that were hashed, in order."""
    pieces: list[bytes] = []

    def noted(piece: bytes) -> Any:
        pieces.append(piece)
        return sha256(piece)

    monkeypatch.setattr(module, "sha256", noted)
    return pieces


def said(number: int) -> list[Message]:
    return [UserMessage(f"question {number}"), AssistantMessage(f"answer {number}")]


def test_each_message_is_hashed_once_whatever_it_is_joined_with(hashed: list[bytes]) -> None:
    system, history = Transcript([SystemMessage("be brief")]), Transcript()
    for number in range(20):
        draft = Transcript([said(number)[0]])
        for part in (history, history[-4:], history[:0]):
            joined = Transcript.joined(system, part, draft)
            assert Request(joined, (), GPT).fingerprint == Request([*joined], (), GPT).fingerprint
            del hashed[-len(joined) :]  # of the plain list
        draft.append(said(number)[1])
        history.extend(draft)
    assert len(hashed) == len(set(hashed)) == 1 + 2 * 20 - 1  # the last answer was not sent


@given(st.lists(st.tuples(some_messages, st.integers(0, 9), st.booleans()), max_size=6))
def test_it_is_right_after_any_sequence_of_changes(steps: list[tuple[list[Message], int, bool]]) -> None:
    system, history = Transcript([SystemMessage("be brief")]), Transcript()
    for draft, cut, keeps in steps:
        joined = Transcript.joined(system, history[cut:], history[5:cut], Transcript(draft))
        assert Request(joined, (), GPT).fingerprint == Request([*joined], (), GPT).fingerprint
        if cut == 0:
            history = Transcript(history[1:])
        if keeps:
            history.extend(Transcript(draft) if len(draft) % 2 else joined)


def test_values_that_python_takes_for_equal_are_told_apart() -> None:
    """Also right after each other, where what was made for the last request is kept."""
    for make in (
        lambda value: Request([ASK], [ToolSchema("f", "", {"x": {"default": value}})], GPT),
        lambda value: Request([ASK], [], GPT, OutputSchema("V", {"x": {"default": value}}, "native")),
    ):
        one, true, again = (make(value) for value in (1, True, 1))
        assert one.fingerprint != true.fingerprint == plainly(true)
        assert again.fingerprint == one.fingerprint
