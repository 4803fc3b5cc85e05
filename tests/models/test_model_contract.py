"""The Model protocol, over every way to a provider: wire and LiteLLM, streaming and whole, two formats."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from support.provider import (
    CUT,
    DONE,
    HANG,
    Pause,
    Provider,
    Refusal,
    Reply,
    Step,
    call,
    chunk,
    data,
    finish,
    says,
    text,
    thought,
    usage,
)
from whisper_nb import AIConfig, ConfigError, ModelError
from whisper_nb.config.keys import Keys
from whisper_nb.core import turns
from whisper_nb.core.messages import (
    AssistantMessage,
    CallDelta,
    Delta,
    Finish,
    Message,
    ReasoningDelta,
    SystemMessage,
    TextDelta,
    ToolCall,
    ToolMessage,
    ToolSchema,
    Usage,
    UserMessage,
)
from whisper_nb.models.model import Model, Request
from whisper_nb.models.pool import Models

pytestmark = pytest.mark.faults

KEY = "sk-this-is-a-secret-0123456789"
ADD = ToolSchema("add", "Add two numbers.", {"type": "object", "properties": {"a": {"type": "integer"}}})


@dataclass(frozen=True)
class Line:
    """A way to a model."""

    transport: str
    name: str
    streams: bool = True

    def __str__(self) -> str:
        return f"{self.transport}-{self.name.partition('/')[0]}-{'stream' if self.streams else 'whole'}"


OPENAI = [
    Line(transport, model, streams)
    for streams in (True, False)
    for transport, models in (
        ("wire", ("openai/test-model", "openrouter/test/model")),
        ("litellm", ("openai/test-model", "hosted_vllm/test-model")),
    )
    for model in models
]
CLAUDE = [Line("litellm", "anthropic/claude-haiku-4-5", streams) for streams in (True, False)]
LINES = [*OPENAI, *CLAUDE]
STREAMS = [line for line in LINES if line.streams]


@dataclass
class Reached:
    """A model, and the provider that it reaches."""

    line: Line
    provider: Provider
    model: Model

    def request(self, *messages: Message, tools: tuple[ToolSchema, ...] = (), **config: Any) -> Request:
        given = AIConfig(model=self.line.name, stream=self.line.streams, **config)
        return Request(messages or (UserMessage("Hi"),), tools, given)

    async def deltas(self, *steps: Step, request: Request | None = None) -> list[Delta]:
        """All deltas of a reply."""
        if steps:
            self.provider.answers.append(steps)
        async with aclosing(self.model.stream(request or self.request())) as stream:
            return [delta async for delta in stream]

    async def broken(self, *steps: Step) -> tuple[list[Delta], ModelError]:
        """The deltas of a call until it fails."""
        self.provider.answers.append(steps)
        heard: list[Delta] = []
        try:
            async with aclosing(self.model.stream(self.request())) as stream:
                async for delta in stream:
                    heard.append(delta)  # noqa: PERF401  # what came before the error counts
        except ModelError as error:
            return heard, error
        raise AssertionError(f"it did not fail, and said {heard}")


@pytest.fixture
async def provider(complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    for name in (
        "OPENAI",
        "OPENROUTER",
        "HOSTED_VLLM",
        "ANTHROPIC",
        "DEEPSEEK",
        "GROQ",
        "MISTRAL",
        "FIREWORKS_AI",
        "MOONSHOT",
        "GEMINI",
        "COHERE",
    ):
        monkeypatch.setenv(f"{name}_API_KEY", KEY)
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def reached(provider: Provider, request: pytest.FixtureRequest) -> AsyncIterator[Reached]:
    line: Line = request.param
    models = Models(Keys(os.environ))
    model = models.open(AIConfig(model=line.name, api_base=provider.url, transport=line.transport))
    yield Reached(line, provider, model)
    await models.aclose()
    while not all(connection.is_closing() for connection in provider.connections):  # noqa: ASYNC110
        await asyncio.sleep(0)  # the provider hears of it in one of the loop's next rounds


def over(lines: list[Line]) -> Any:
    """Run the test over these lines."""
    return pytest.mark.parametrize("reached", lines, ids=str, indirect=True)


def joined(deltas: list[Delta]) -> list[Delta]:
    """Join consecutive deltas of the same kind."""
    found: list[Delta] = []
    for delta in deltas:
        match (found[-1] if found else None), delta:
            case TextDelta(before), TextDelta(text):
                found[-1] = TextDelta(before + text)
            case ReasoningDelta(before), ReasoningDelta(text):
                found[-1] = ReasoningDelta(before + text)
            case _:
                found.append(delta)
    return found


def calls_of(deltas: list[Delta]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of each call, in the order of their indexes."""
    calls: dict[int, tuple[str, str, str]] = {}
    for delta in deltas:
        if isinstance(delta, CallDelta):
            id_, name, arguments = calls.get(delta.index, ("", "", ""))
            calls[delta.index] = (id_ or delta.id, name or delta.name, arguments + delta.arguments)
    return [one for _, one in sorted(calls.items())]


# Replies


@over(LINES)
async def test_a_reply_is_text_and_then_a_finish_with_usage(reached: Reached) -> None:
    deltas = await reached.deltas(*text("Hel", "lo", " world"), finish(), usage(7, 3), DONE)
    assert joined(deltas) == [TextDelta("Hello world"), Finish("stop", Usage(7, 3), priced(reached))]


def priced(reached: Reached) -> float | None:
    """Claude's cost of 7 and 3 tokens by the price list; the others are unknown."""
    return pytest.approx(7e-6 + 15e-6) if reached.line in CLAUDE else None


@over(LINES)
async def test_no_compressed_reply_is_requested(reached: Reached) -> None:
    await reached.deltas(*text("Hello"), finish(), usage(7, 3), DONE)
    assert reached.provider.requests[-1].headers["Accept-Encoding"] == "identity"


@over([line for line in OPENAI if line.streams])
async def test_data_after_the_end_is_ignored(reached: Reached) -> None:
    deltas = await reached.deltas(*text("Hello"), finish(), DONE, b"data: {oops}\n\n")
    assert joined(deltas) == [TextDelta("Hello"), Finish("stop")]


@over(STREAMS)
async def test_a_delta_is_yielded_as_soon_as_it_arrives(reached: Reached) -> None:
    more = asyncio.Event()
    reached.provider.answers.append([*text("Hel"), more, *text("lo"), finish(), DONE])
    async with aclosing(reached.model.stream(reached.request())) as stream:
        assert await anext(stream) == TextDelta("Hel")
        more.set()
        assert joined([delta async for delta in stream])[0] == TextDelta("lo")


@over(LINES)
async def test_missing_usage_is_unknown(reached: Reached) -> None:
    [*_, end] = await reached.deltas(*text("Hello"), finish(), DONE)
    assert isinstance(end, Finish)
    assert (end.usage, end.cost_usd) == (None, None)


@over(OPENAI)
@pytest.mark.parametrize(("cost", "told"), [(0.25, 0.25), (0, 0.0), (None, None)])
async def test_the_providers_own_cost_is_used(reached: Reached, cost: float | None, told: float | None) -> None:
    [*_, end] = await reached.deltas(*text("Hello"), finish(), usage(7, 3, cost=cost), DONE)
    assert isinstance(end, Finish)
    assert (end.usage, end.cost_usd) == (Usage(7, 3), told)


@over([line for line in OPENAI if line.streams])
async def test_usage_may_come_with_the_finish_reason_or_in_every_chunk(reached: Reached) -> None:
    counted = [{"prompt_tokens": 7, "completion_tokens": n, "total_tokens": 7 + n} for n in range(4)]
    steps = [
        chunk({"content": "a"}, usage=counted[1]),
        chunk({"content": "b"}, usage=counted[2]),
        chunk({}, "stop", usage=counted[3]),
    ]
    [*_, end] = await reached.deltas(*steps, DONE)
    assert end == Finish("stop", Usage(7, 3))


@over([line for line in OPENAI if line.streams])
@pytest.mark.parametrize("told", [{"prompt_tokens": -7}, {"prompt_tokens": None}, {}], ids=str)
async def test_invalid_usage_does_not_fail_the_reply(reached: Reached, told: dict[str, Any]) -> None:
    deltas = await reached.deltas(*text("Hello"), finish(), chunk(usage=told), DONE)
    assert [type(delta) for delta in joined(deltas)] == [TextDelta, Finish]
    assert deltas[-1] == Finish("stop")


@over(LINES)
@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_finish_reasons_for_a_truncated_reply_have_one_name(reached: Reached, reason: str) -> None:
    [*_, end] = await reached.deltas(*text("Hel"), finish(reason), usage(7, 1), DONE)
    assert isinstance(end, Finish)
    assert end.reason == reason


@over(LINES)
async def test_a_reply_without_a_finish_reason_has_no_finish(reached: Reached) -> None:
    """No deltas are as good as an error: the run fails either way."""
    try:
        heard = await reached.deltas(*text("Hel"), usage(7, 1), DONE)
    except ModelError as error:
        assert error.retryable
        return
    assert not any(isinstance(delta, Finish) for delta in heard)
    assert joined(heard) == [TextDelta("Hel")]


@over(STREAMS)
async def test_text_before_a_cut_off_is_kept(reached: Reached) -> None:
    heard, error = await reached.broken(*text("Hel"), Pause(0.02), CUT)
    assert (heard, error.retryable, error.free) == ([TextDelta("Hel")], True, False)


@over(LINES)
async def test_reasoning_is_kept_and_is_not_text(reached: Reached) -> None:
    field = "reasoning" if reached.line.name.startswith("openrouter") else "reasoning_content"
    deltas = await reached.deltas(*thought("I ", "think.", field=field), *text("Hello"), finish(), usage(7, 3), DONE)
    assert joined(deltas)[:2] == [ReasoningDelta("I think."), TextDelta("Hello")]


@over([line for line in OPENAI if line.transport == "wire"])
@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
async def test_both_field_names_of_reasoning_are_read(reached: Reached, field: str) -> None:
    deltas = await reached.deltas(*thought("I ", "think.", field=field), *text("Hello"), finish(), DONE)
    assert joined(deltas)[:2] == [ReasoningDelta("I think."), TextDelta("Hello")]


#: Providers that refuse tool results without the reasoning before the calls, and the form that they require.
THOUGHT: dict[str, dict[str, Any]] = {
    "openrouter": {
        "reasoning_details": [
            {"type": "reasoning.text", "text": "I think.", "signature": "sig", "index": 0, "format": "x"},
            {"type": "reasoning.encrypted", "data": "abc", "index": 1},
            {"type": "reasoning.encrypted", "data": "def", "index": 1},
        ]
    },
    "deepseek": {"reasoning_content": "I think."},
    "anthropic": {"thinking_blocks": [{"type": "thinking", "thinking": "I think.", "signature": "sig"}]},
}
DETAILS = [
    {"type": "reasoning.text", "text": "I ", "signature": None, "index": 0, "format": "x"},
    {"type": "reasoning.text", "text": "think.", "index": 0},
    {"type": "reasoning.text", "signature": "sig", "index": 0},
    {"type": "reasoning.encrypted", "data": "abc", "index": 1},
    {"type": "reasoning.encrypted", "data": "def", "index": 1},
]
THINKERS = [
    Line(transport, name, streams)
    for transport, name in (
        ("wire", "openrouter/test/model"),
        ("litellm", "openrouter/test/model"),
        ("wire", "deepseek/test-model"),
        ("litellm", "deepseek/test-model"),
        ("litellm", "anthropic/claude-haiku-4-5"),
    )
    for streams in (True, False)
]


@over(THINKERS)
async def test_reasoning_is_sent_back_with_the_results_of_tools(reached: Reached) -> None:
    provider = reached.line.name.partition("/")[0]
    thoughts = [chunk({"reasoning_details": [one]}) for one in DETAILS]
    if provider != "openrouter":
        thoughts = thought("I ", "think.")
    steps = [*thoughts, *text("So"), *call(0, "add", '{"a": 1}'), finish("tool_calls"), usage(7, 3), DONE]
    [*_, end] = await reached.deltas(*steps, request=reached.request(tools=(ADD,)))
    assert isinstance(end, Finish)
    assert end.reasoning == THOUGHT[provider]

    said = AssistantMessage("So", (ToolCall("call_0", "add", '{"a": 1}'),), end.reasoning)
    asked = reached.request(UserMessage("Hi"), said, ToolMessage("call_0", "add", "2"), tools=(ADD,))
    await reached.deltas(*text("2"), finish(), DONE, request=asked)
    sent = reached.provider.requests[-1].body["messages"][1]
    if provider == "anthropic":
        assert sent["content"][0] == THOUGHT[provider]["thinking_blocks"][0]
    else:
        assert {**sent, **THOUGHT[provider]} == sent


@over([*THINKERS, *LINES])
@pytest.mark.parametrize(
    "steps",
    [
        [],
        text("<thi", "nk>I ", "think.</thin", "k>\n\n", "Four."),
        text("<|channel|>analysis<|message|>I think.<|e", "nd|><|start|>assistant<|channel|>final<|message|>", "Four."),
    ],
    ids=["field", "tags", "harmony"],
)
async def test_reasoning_is_apart_from_the_text_however_it_comes(reached: Reached, steps: list[Step]) -> None:
    reply = turns.Reply(reached.line.name)
    if not steps:
        own = "reasoning" if reached.line.name.startswith("openrouter/") else "reasoning_content"
        steps = [*thought("I ", "think.", field=own), *text("Four.")]
    for delta in await reached.deltas(*steps, finish(), usage(7, 3), DONE):
        reply.add(delta)
    message, end = reply.complete()
    assert (message.text.lstrip(), end.thoughts) == ("Four.", "I think.")


@over([THINKERS[0]])
@pytest.mark.parametrize("bad", [7, "x", [7, None], {"type": "x"}], ids=str)
async def test_reasoning_in_an_unknown_form_does_not_fail_the_reply(reached: Reached, bad: Any) -> None:
    deltas = await reached.deltas(chunk({"reasoning_details": bad}), *text("Hello"), finish(), DONE)
    assert [type(delta) for delta in deltas] == [TextDelta, Finish]


# Content types

#: Content types that are unspecific or wrong for the body.
LABELS = [
    "text/plain",
    "application/octet-stream",
    "application/problem+json",
    "application/vnd.api+json",
    "application/x-ndjson",
    "application/vnd.amazon.eventstream",
    "text/event-stream",
    "application/json",
]
BROKEN_OFF: list[list[Step]] = [
    [*text("Hel"), b"data: {oops}\n\n", *text("lo"), finish(), DONE],
    [*text("Hel"), finish("error"), DONE],
    [*text("Hel"), json.dumps(text("lo")[0]).encode() + b"\n\n", finish(), DONE],
    [*text("Hel"), b'{"error": {"message": "upstream died"}}\n\n', finish(), DONE],
]


@over(LINES)
@pytest.mark.parametrize("label", LABELS)
async def test_a_fault_is_an_error_under_every_content_type(reached: Reached, label: str) -> None:
    for steps in BROKEN_OFF if reached.line.streams else BROKEN_OFF[1:2]:
        reached.provider.answers.append(Reply(steps, headers={"Content-Type": label}))
        assert not await replied(reached)


#: Providers that LiteLLM reaches by clients that it creates itself, each in another way.
OTHERS = [
    Line("litellm", name)
    for name in (
        "groq/test-model",
        "mistral/test-model",
        "fireworks_ai/test-model",
        "ollama_chat/test",
        "moonshot/test",
    )
]


@over(OTHERS)
async def test_a_fault_is_an_error_with_every_provider_of_litellm(reached: Reached) -> None:
    good: list[Step] = [*text("Hel", "lo"), finish(), DONE]
    lines = [
        b'{"model": "test", "message": {"content": "Hello"}, "done": false}\n',
        b'{"model": "test", "message": {}, "done": true, "done_reason": "stop"}\n',
    ]
    kind = {}
    if reached.line.name.startswith("ollama"):
        good, kind = lines, {"Content-Type": "application/x-ndjson"}
    reached.provider.answers.append(Reply(good, headers=kind))
    assert joined(await reached.deltas()) == [TextDelta("Hello"), Finish("stop")]
    bad = b"{oops}\n" if kind else b"data: {oops}\n\n"
    reached.provider.answers.append(Reply([good[0], bad, *good[1:]], headers=kind))
    assert not await replied(reached)


def gemini(text: str, reason: str | None = None) -> dict[str, Any]:
    candidate = {"content": {"parts": [{"text": text}]}, **({"finishReason": reason} if reason else {})}
    return {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 3, "candidatesTokenCount": 2}}


def cohere(reason: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": [{"type": "text", "text": "Hello"}]}
    usage = {"tokens": {"input_tokens": 3, "output_tokens": 2}}
    return {"id": "1", "finish_reason": reason, "message": message, "usage": usage}


def ollama(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "test", "message": {"content": text}, "done": False} | more


#: Streams and complete replies in formats that only LiteLLM speaks, and whether each is complete.
ENDINGS: list[tuple[str, bool, list[dict[str, Any]], bool]] = [
    ("gemini/test", True, [gemini("Hel"), gemini("lo", "STOP")], True),
    ("gemini/test", True, [gemini("Hel"), gemini("lo")], False),
    ("gemini/test", True, [gemini("Hel"), gemini("lo", "MALFORMED_FUNCTION_CALL")], False),
    ("gemini/test", False, [gemini("Hello", "STOP")], True),
    ("gemini/test", False, [gemini("Hello")], False),
    ("gemini/test", False, [gemini("Hello", "NEWS")], False),
    ("cohere_chat/test", False, [cohere("COMPLETE")], True),
    ("cohere_chat/test", False, [cohere("ERROR")], False),
    ("cohere_chat/test", False, [cohere("MAX_TOKENS")], False),
    ("ollama_chat/test", True, [ollama("", done=True, done_reason="load")], False),
]


@pytest.mark.parametrize(
    ("reached", "pieces", "whole"),
    [(Line("litellm", name, streams), pieces, whole) for name, streams, pieces, whole in ENDINGS],
    indirect=["reached"],
)
async def test_the_end_of_a_reply_is_read_in_each_format(
    reached: Reached, pieces: list[dict[str, Any]], whole: bool
) -> None:
    bodies = [json.dumps(piece).encode() for piece in pieces]
    kind = "application/json"
    if reached.line.streams:
        lines = "ollama" in reached.line.name
        kind = "application/x-ndjson" if lines else "text/event-stream"
        bodies = [b"%s\n" % body if lines else b"data: %s\n\n" % body for body in bodies]
    reached.provider.answers.append(Reply(bodies, headers={"Content-Type": kind}))
    assert await replied(reached) is whole


@over([line for line in OPENAI if line.streams])
async def test_empty_events_and_comments_are_ignored(reached: Reached) -> None:
    said = chunk({"content": "Hel"})
    said["choices"][0]["message"] = {"role": "assistant", "content": "Hel"}  # as some have it beside the delta
    deltas = await reached.deltas(b"data: \n\n", said, b": a comment\n\n", *text("lo"), finish(), DONE)
    assert joined(deltas) == [TextDelta("Hello"), Finish("stop")]


@over([line for line in CLAUDE if not line.streams])
async def test_a_tool_argument_named_stream_does_not_change_the_request(reached: Reached) -> None:
    asked = AssistantMessage("", (ToolCall("call_0", "add", '{"stream": true}'),))
    told = ToolMessage("call_0", "add", "1")
    deltas = await reached.deltas(*says("1"), request=reached.request(UserMessage("Add"), asked, told))
    assert TextDelta("1") in deltas


async def replied(reached: Reached) -> bool:
    """Whether the provider's answer is accepted as a reply."""
    try:
        return any(isinstance(delta, Finish) for delta in await reached.deltas())
    except ModelError:
        return False


# Tool calls


@over(LINES)
async def test_tool_calls_are_deltas(reached: Reached) -> None:
    steps = [*text("So"), *call(0, "add", '{"a": ', "1}"), *call(1, "sub", '{"b": 2}'), finish("tool_calls"), DONE]
    deltas = await reached.deltas(*steps, request=reached.request(tools=(ADD,)))
    calls = [(id_, name, json.loads(arguments)) for id_, name, arguments in calls_of(deltas)]
    assert calls == [("call_0", "add", {"a": 1}), ("call_1", "sub", {"b": 2})]
    assert deltas[0] == TextDelta("So")
    assert isinstance(deltas[-1], Finish)
    assert deltas[-1].reason == "tool_calls"


@over([line for line in OPENAI if line.streams])
async def test_interleaved_parallel_calls_are_joined_by_index(reached: Reached) -> None:
    first, second = call(0, "add", '{"a": ', "1}"), call(1, "sub", '{"b": ', "2}")
    mixed = [one for pair in zip(first, second, strict=True) for one in pair]
    deltas = await reached.deltas(*mixed, finish("tool_calls"), DONE)
    assert calls_of(deltas) == [("call_0", "add", '{"a": 1}'), ("call_1", "sub", '{"b": 2}')]


def without(steps: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    """The chunks of calls without these fields."""
    for step in steps:
        for one in step["choices"][0]["delta"]["tool_calls"]:
            for name in names:
                one.pop(name, None)
    return steps


@over([line for line in OPENAI if line.streams])
async def test_calls_without_ids_are_kept_apart(reached: Reached) -> None:
    steps = without([*call(0, "add", '{"a": 1}'), *call(1, "sub", '{"b": 2}')], "id")
    deltas = await reached.deltas(*steps, finish("tool_calls"), DONE)
    assert [(name, arguments) for _, name, arguments in calls_of(deltas)] == [("add", '{"a": 1}'), ("sub", '{"b": 2}')]


@over([line for line in OPENAI if line.streams])
async def test_calls_that_all_have_index_0_are_kept_apart(reached: Reached) -> None:
    steps = [*call(0, "add", id="call_a"), *call(0, "sub", id="call_b")]
    for step, arguments in zip(steps, ('{"a": 1}', '{"b": 2}'), strict=True):
        step["choices"][0]["delta"]["tool_calls"][0]["function"]["arguments"] = arguments
    deltas = await reached.deltas(*steps, finish("tool_calls"), DONE)
    assert calls_of(deltas) == [("call_a", "add", '{"a": 1}'), ("call_b", "sub", '{"b": 2}')]


@over([line for line in OPENAI if line.transport == "wire" and line.streams])
async def test_calls_without_an_index_are_kept_apart(reached: Reached) -> None:
    steps = without([*call(0, "add", '{"a": ', "1}"), *call(1, "sub", '{"b": 2}')], "index")
    deltas = await reached.deltas(*steps, finish("tool_calls"), DONE)
    assert calls_of(deltas) == [("call_0", "add", '{"a": 1}'), ("call_1", "sub", '{"b": 2}')]


# Requests


@over(OPENAI)
async def test_only_set_values_are_sent(reached: Reached) -> None:
    await reached.deltas(*says("Hello"))
    given = {
        "temperature": 0.0,
        "max_tokens": 5,
        "top_p": 0.5,
        "seed": 1,
        "stop": ("a",),
        "presence_penalty": 0.1,
        "frequency_penalty": 0.2,
    }
    await reached.deltas(*says("Hello"), request=reached.request(tools=(ADD,), **given))
    plain, tuned = (request.body for request in reached.provider.requests)
    assert plain["model"] == reached.line.name.partition("/")[2]
    assert plain["messages"] == [{"role": "user", "content": "Hi"}]
    assert plain.keys() <= {"model", "messages", "stream", "stream_options", "usage"}
    assert plain.get("stream", False) is reached.line.streams
    assert {name: tuned[name] for name in given} == {**given, "stop": ["a"]}
    assert [tool["function"]["name"] for tool in tuned["tools"]] == ["add"]


@over(LINES)
async def test_the_key_is_sent_and_read_at_each_call(reached: Reached, monkeypatch: pytest.MonkeyPatch) -> None:
    variable = f"{reached.line.name.partition('/')[0].upper()}_API_KEY"
    for key in ("sk-first", "sk-second"):
        monkeypatch.setenv(variable, f" {key}\n")
        await reached.deltas(*says("Hello"))
    assert [request.key for request in reached.provider.requests] == ["sk-first", "sk-second"]


@over([LINES[0], LINES[2], CLAUDE[0]])
async def test_without_a_key_nothing_is_sent(reached: Reached, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"{reached.line.name.partition('/')[0].upper()}_API_KEY")
    model = Models(Keys(os.environ)).open(AIConfig(model=reached.line.name, transport=reached.line.transport))
    with pytest.raises(ConfigError, match="needs a key"):
        await model.prepare()
    assert reached.provider.requests == []


@over(OPENAI)
async def test_a_conversation_with_tools_is_sent_completely(reached: Reached) -> None:
    asked = AssistantMessage("", (ToolCall("call_0", "add", '{"a": 1}'),))
    told = ToolMessage("call_0", "add", "1")
    await reached.deltas(
        *says("1"), request=reached.request(SystemMessage("Be brief."), UserMessage("Add"), asked, told)
    )
    system, user, calls, result = reached.provider.requests[0].body["messages"]
    assert (system["content"], user["content"]) == ("Be brief.", "Add")
    assert calls["tool_calls"][0]["id"] == result["tool_call_id"] == "call_0"
    assert result["content"] == "1"


# Closing, failing, concurrency


@over(LINES)
@pytest.mark.parametrize("start", [[], text("Hel")], ids=["before the headers", "in mid-stream"])
async def test_cancelling_closes_the_connection(reached: Reached, start: list[Any]) -> None:
    reached.provider.answers.append([*start, HANG])
    reading = asyncio.ensure_future(reached.deltas())
    request = await reached.provider.arrived()
    await asyncio.sleep(0.02 if start else 0)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    await request.gone.wait()


@over(STREAMS)
async def test_closing_the_generator_closes_the_connection(reached: Reached) -> None:
    reached.provider.answers.append([*text("Hel"), HANG])
    async with aclosing(reached.model.stream(reached.request())) as stream:
        assert await anext(stream) == TextDelta("Hel")
    request = await reached.provider.arrived()
    await request.gone.wait()


@over(LINES)
@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_a_model_does_not_retry(reached: Reached, status: int) -> None:
    reached.provider.answers.append(Refusal(status))
    with pytest.raises(ModelError) as caught:
        await reached.deltas()
    assert (caught.value.retryable, caught.value.free) == (True, status not in (408, 500))
    assert len(reached.provider.requests) == 1


#: LiteLLM stops reading a stream at `[DONE]`: whether the end of its body has arrived by then depends on the machine.
@over([line for line in LINES if line.transport == "wire" or not line.streams])
async def test_connections_are_reused(reached: Reached) -> None:
    for _ in range(3):
        await reached.deltas(*says("Hello"))
    assert len(reached.provider.connections) == 1


@over(LINES)
async def test_many_calls_run_concurrently(reached: Reached) -> None:
    all_here = asyncio.Event()

    def answer(request: Any) -> list[Step]:
        if len(reached.provider.requests) == 50:
            all_here.set()
        return [all_here, *text("I am ", request.prompt), finish(), usage(1, 2), DONE]

    reached.provider.default = answer
    replies = await asyncio.gather(
        *(reached.deltas(request=reached.request(UserMessage(str(n)))) for n in range(50))
    )  # fmt: skip
    assert [joined(deltas)[0] for deltas in replies] == [TextDelta(f"I am {n}") for n in range(50)]


@over(LINES)
async def test_a_closed_model_can_be_opened_again(reached: Reached) -> None:
    await reached.deltas(*says("Hello"))
    await reached.model.aclose()
    assert joined(await reached.deltas(*says("Hello")))[0] == TextDelta("Hello")


# Forms of a stream


EVENTS = [data(one) for one in [*text("Hel", "lo"), finish()]]
FORMS = {
    "CRLF": b"".join(EVENTS).replace(b"\n", b"\r\n") + b"data: [DONE]\r\n\r\n",
    "no space": b"".join(EVENTS).replace(b"data: ", b"data:") + b"data:[DONE]\n\n",
    "comments and fields": b": hello\n\nevent: message\nretry: 10\n".join([b"", *EVENTS]) + b": bye\n\n" + DONE,
    "no DONE": b"".join(EVENTS),
}


@over([line for line in OPENAI if line.streams])
@pytest.mark.parametrize("form", FORMS)
async def test_valid_forms_of_a_stream_are_read(reached: Reached, form: str) -> None:
    deltas = await reached.deltas(FORMS[form])
    assert joined(deltas) == [TextDelta("Hello"), Finish("stop")]


@over([line for line in OPENAI if line.transport == "wire" and line.streams])
@pytest.mark.parametrize("form", ["CR", "a byte-order mark", "data in two lines", "ids"])
async def test_rare_forms_of_a_stream_are_read(reached: Reached, form: str) -> None:
    stream = b"".join(EVENTS) + DONE
    forms = {
        "CR": stream.replace(b"\n", b"\r"),
        "a byte-order mark": b"\xef\xbb\xbf" + stream,
        "ids": b": hello\n\nid: 7\n".join([b"", *EVENTS]) + b": bye\n\n" + DONE,
        "data in two lines": stream.replace(b'"object":', b'\ndata: "object":'),
    }
    assert joined(await reached.deltas(forms[form])) == [TextDelta("Hello"), Finish("stop")]


@over([line for line in OPENAI if line.streams])
async def test_characters_that_arrive_in_pieces_are_joined(reached: Reached) -> None:
    event = b"data: " + json.dumps(text("Zürich 🙂")[0], ensure_ascii=False).encode() + b"\n\n"
    steps: list[Step] = [piece for at in range(0, len(event), 7) for piece in (event[at : at + 7], Pause(0.001))]
    deltas = await reached.deltas(*steps, data(finish()), DONE)
    assert joined(deltas)[0] == TextDelta("Zürich 🙂")


@over([line for line in OPENAI if line.streams])
async def test_a_chunk_of_another_choice_is_ignored(reached: Reached) -> None:
    other = chunk({"content": "another"})
    other["choices"][0]["index"] = 1
    deltas = await reached.deltas(*text("Hello"), other, finish(), DONE)
    assert joined(deltas) == [TextDelta("Hello"), Finish("stop")]


@over([line for line in OPENAI if line.streams])
@pytest.mark.parametrize("space", ["\u2028", "\u2029", "\x85"], ids=ascii)
async def test_unicode_line_separators_do_not_end_a_line(reached: Reached, space: str) -> None:
    said = b"data: " + json.dumps(text(f"Hel{space}lo")[0], ensure_ascii=False).encode() + b"\n\n"
    deltas = await reached.deltas(said, finish(), DONE)
    assert joined(deltas) == [TextDelta(f"Hel{space}lo"), Finish("stop")]


@over([line for line in OPENAI if line.streams])
async def test_an_unrequested_compressed_reply_is_read_and_checked(reached: Reached) -> None:
    def zipped(*steps: bytes) -> Reply:
        return Reply([gzip.compress(b"".join(steps))], headers={"Content-Encoding": "gzip"})

    reached.provider.answers.extend([zipped(*EVENTS, DONE), zipped(EVENTS[0], b"data: {oops}\n\n", *EVENTS, DONE)])
    assert joined(await reached.deltas()) == [TextDelta("Hello"), Finish("stop")]
    assert not await replied(reached)


@over([line for line in OPENAI if line.streams])
async def test_a_stream_is_read_under_any_content_type(reached: Reached) -> None:
    reached.provider.answers.append(Reply(says("Hello"), headers={"Content-Type": "text/event-stream; charset=UTF-8"}))
    assert joined(await reached.deltas())[0] == TextDelta("Hello")
