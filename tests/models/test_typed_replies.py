"""Answers with a schema over real sockets: three modes, wire and LiteLLM, two formats, streaming and whole."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

import pytest

from support.provider import DONE, Provider, Refusal, Step, call, chunk, finish, text, usage
from whisper_nb import AIConfig, ConfigError, ModelError
from whisper_nb.config.keys import Keys
from whisper_nb.core.messages import (
    AssistantMessage,
    Finish,
    OutputMode,
    OutputSchema,
    ToolCall,
    ToolSchema,
    Usage,
    UserMessage,
)
from whisper_nb.core.turns import Reply
from whisper_nb.models.model import Model, Request
from whisper_nb.models.pool import Models

KEY = "sk-this-is-a-secret-0123456789"
SCHEMA = {
    "type": "object",
    "title": "Verdict",
    "description": "Of a film.",
    "properties": {
        "good": {"type": "boolean", "title": "Good"},
        "why": {"type": "string", "default": "", "title": "Why"},
    },
    "required": ["good"],
}
STRICT = {
    "type": "object",
    "description": "Of a film.",
    "properties": {"good": {"type": "boolean"}, "why": {"type": "string", "description": '(default: "")'}},
    "required": ["good", "why"],
    "additionalProperties": False,
}
OPEN = {"type": "object", "properties": {"count": {"type": "object", "additionalProperties": {"type": "integer"}}}}
GIVES = "Gives the final answer. Call it once, when the answer is complete."
ADD = ToolSchema("add", "Add two numbers.", {"type": "object", "properties": {"a": {"type": "integer"}}})
ADD_SENT = {
    "type": "function",
    "function": {"name": "add", "description": ADD.description, "parameters": ADD.parameters},
}
#: In pieces that cut an escape, a character of two units in JSON and a name.
PIECES = ('{"go', 'od": true, "why": "wei\\', "u00df 🦉 }{ ``", '`"}')
ANSWER = "".join(PIECES)
VALUE = {"good": True, "why": "weiß 🦉 }{ ```"}


@dataclass(frozen=True)
class Line:
    """A way to a model."""

    transport: str
    name: str
    streams: bool

    def __str__(self) -> str:
        return f"{self.transport}-{self.name.partition('/')[2]}-{'stream' if self.streams else 'whole'}"

    @property
    def anthropic(self) -> bool:
        return self.name.startswith("anthropic/")


#: LiteLLM asks newer models of Anthropic by a schema, and older ones by a tool.
NEW, OLD = "anthropic/claude-haiku-4-5", "anthropic/claude-opus-4-1"
LINES = [
    Line(transport, name, streams)
    for streams in (True, False)
    for transport, name in (
        ("wire", "openai/test-model"),
        ("litellm", "openai/test-model"),
        ("litellm", "hosted_vllm/test-model"),
        ("litellm", NEW),
        ("litellm", OLD),
    )
]
MODES: tuple[OutputMode, ...] = ("native", "tool", "prompt")


@dataclass
class Reached:
    """A model, and the provider that it reaches."""

    line: Line
    provider: Provider
    model: Model

    def request(self, mode: OutputMode, *tools: ToolSchema, schema: Any = SCHEMA, **config: Any) -> Request:
        given = AIConfig(model=self.line.name, stream=self.line.streams, **config)
        return Request((UserMessage("Hi"),), tools, given, OutputSchema("Verdict", schema, mode))

    async def reply(self, request: Request, *steps: Step) -> tuple[AssistantMessage, Finish, str]:
        """The complete reply, and the text that was shown meanwhile."""
        self.provider.answers.append(steps)
        reply = Reply(self.line.name, request.output)
        shown = ""
        async with aclosing(self.model.stream(request)) as stream:
            async for delta in stream:
                shown += "".join(piece.text for piece in reply.add(delta))
        message, end = reply.complete()
        return message, end, shown

    @property
    def asked(self) -> dict[str, Any]:
        """What the last body has besides messages and the like."""
        plain = ("model", "messages", "stream", "stream_options", "max_tokens")
        return {name: value for name, value in self.provider.requests[-1].body.items() if name not in plain}


@pytest.fixture
async def provider(complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    for name in ("OPENAI_API_KEY", "HOSTED_VLLM_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, KEY)
    async with Provider() as provider:
        yield provider


@pytest.fixture(params=LINES, ids=str)
async def at(request: pytest.FixtureRequest, provider: Provider) -> AsyncIterator[Reached]:
    line = request.param
    models = Models(Keys(os.environ))
    config = AIConfig(model=line.name, api_base=provider.url, transport=line.transport)
    yield Reached(line, provider, models.open(config))
    await models.aclose()


def answers(line: Line, mode: OutputMode) -> list[Step]:
    """A good answer, as a model of this line gives it in this mode."""
    end = [usage(7, 4), DONE]
    if mode == "tool" or (mode == "native" and line.name == OLD):
        return [*call(0, "Verdict" if mode == "tool" else "json_tool_call", *PIECES), finish("tool_calls"), *end]
    return [*text(*PIECES), finish("stop"), *end]


# Good answers


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_is_the_text_of_the_reply(at: Reached, mode: OutputMode) -> None:
    message, end, shown = await at.reply(at.request(mode), *answers(at.line, mode))
    assert json.loads(message.text) == VALUE
    assert shown == message.text
    assert message.tool_calls == ()
    assert (end.reason, end.usage) == ("stop", Usage(7, 4))


@pytest.mark.parametrize("mode", MODES)
async def test_the_body_asks_for_the_form_of_the_answer(at: Reached, mode: OutputMode) -> None:
    await at.reply(at.request(mode), *answers(at.line, mode))
    asked: dict[str, Any] = {}
    if at.line.anthropic:
        tool = {"name": "Verdict", "type": "custom", "description": f"{GIVES} Of a film."}
        asked_tool = at.asked.get("tools", [{}])[0]
        if mode == "native" and at.line.name == NEW:
            asked = {"output_format": {"type": "json_schema", "schema": STRICT}}
        elif mode == "native":
            asked = {
                "tools": [{"name": "json_tool_call", "input_schema": STRICT}],
                "tool_choice": {"type": "tool", "name": "json_tool_call"},
            }
        elif mode == "tool":
            schema = asked_tool["input_schema"]
            assert (schema["type"], schema["required"], [*schema["properties"]]) == (
                "object",
                ["good"],
                ["good", "why"],
            )
            asked = {"tools": [{**tool, "input_schema": schema}], "tool_choice": {"type": "any"}}
    elif mode == "native":
        named = {"name": "Verdict", "strict": True, "schema": STRICT}
        asked = {"response_format": {"type": "json_schema", "json_schema": named}}
    elif mode == "tool":
        function = {"name": "Verdict", "description": f"{GIVES} Of a film.", "parameters": SCHEMA}
        asked = {"tools": [{"type": "function", "function": function}], "tool_choice": "required"}
    assert at.asked == asked


async def test_beside_other_tools_no_call_is_forced(at: Reached) -> None:
    message, _, _ = await at.reply(at.request("tool", ADD), *answers(at.line, "tool"))
    assert json.loads(message.text) == VALUE
    names = [tool.get("name") or tool["function"]["name"] for tool in at.asked["tools"]]
    assert names == ["add", "Verdict"]
    assert "tool_choice" not in at.asked


async def test_beside_other_tools_the_native_form_is_sent_with_them(at: Reached) -> None:
    if at.line.anthropic:
        pytest.skip("an agent with tools asks Anthropic's models by a tool")
    await at.reply(at.request("native", ADD), *answers(at.line, "native"))
    assert at.asked["tools"] == [ADD_SENT]
    assert at.asked["response_format"]["json_schema"]["strict"] is True


async def test_a_schema_outside_the_strict_subset_is_sent_as_it_is(at: Reached) -> None:
    if at.line.anthropic:
        pytest.skip("LiteLLM makes Anthropic's form of it")
    count = '{"count": {"a": 1}}'
    message, _, _ = await at.reply(at.request("native", schema=OPEN), *text(count), finish(), usage(7, 4), DONE)
    assert message.text == count
    assert at.asked["response_format"]["json_schema"] == {"name": "Verdict", "schema": OPEN}


# Answers as weaker models give them


async def test_an_answer_in_text_counts_though_a_call_was_required(at: Reached) -> None:
    fenced = f"Sure:\n```json\n{ANSWER}\n```"
    message, end, shown = await at.reply(at.request("tool"), *text(*fenced), finish(), usage(7, 4), DONE)
    assert (message.text, shown, message.tool_calls, end.reason) == (fenced, fenced, (), "stop")


async def test_text_before_the_answer_counts_as_thoughts(at: Reached) -> None:
    message, end, _ = await at.reply(at.request("tool"), *text("Well, "), *answers(at.line, "tool"))
    assert json.loads(message.text) == VALUE
    assert end.thoughts == "Well,"


async def test_of_two_answers_the_first_counts(at: Reached) -> None:
    both = [*call(0, "Verdict", ANSWER), *call(1, "Verdict", '{"good": false}')]
    message, _, _ = await at.reply(at.request("tool"), *both, finish("tool_calls"), usage(7, 4), DONE)
    assert json.loads(message.text) == VALUE
    assert message.tool_calls == ()


@pytest.mark.parametrize("first", [True, False])
async def test_an_answer_beside_a_call_of_a_tool_is_too_early(at: Reached, first: bool) -> None:
    order = [*call(0, "Verdict", ANSWER), *call(1, "add", '{"a": 1}')]
    if not first:
        order = [*call(0, "add", '{"a": 1}'), *call(1, "Verdict", ANSWER)]
    message, end, _ = await at.reply(at.request("tool", ADD), *order, finish("tool_calls"), usage(7, 4), DONE)
    assert message == AssistantMessage("", (ToolCall(f"call_{int(first)}", "add", '{"a": 1}'),))
    assert end.reason == "tool_calls"


@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
async def test_half_an_answer_that_ends_well_is_kept_for_the_check(at: Reached, reason: str) -> None:
    if at.line.anthropic and not at.line.streams:
        pytest.skip("Anthropic's whole replies have parsed arguments")
    message, _, _ = await at.reply(
        at.request("tool"), *call(0, "Verdict", '{"good": tr'), finish(reason), usage(7, 4), DONE
    )
    assert message == AssistantMessage('{"good": tr')


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_that_hits_the_limit_of_tokens_is_an_error_with_its_text(at: Reached, mode: OutputMode) -> None:
    if at.line.name == OLD and mode == "native" and not at.line.streams:
        pytest.skip("LiteLLM says `stop`, which is why these models are asked by a tool")
    half = [step for step in answers(at.line, mode) if isinstance(step, dict)][:3]
    at.provider.answers.append([*half, finish("length"), usage(7, 4), DONE])
    reply = Reply(at.line.name, at.request(mode).output)
    async with aclosing(at.model.stream(at.request(mode))) as stream:
        shown = "".join([piece.text async for delta in stream for piece in reply.add(delta)])
    with pytest.raises(ModelError, match="hit the token limit"):
        reply.complete()
    assert shown.startswith('{"go') or not at.line.streams


@pytest.mark.parametrize("mode", MODES)
async def test_an_answer_that_is_cut_off_is_an_error(at: Reached, mode: OutputMode) -> None:
    half = [step for step in answers(at.line, mode) if isinstance(step, dict)][:3]
    with pytest.raises(ModelError) as caught:
        await at.reply(at.request(mode), *half)
    assert caught.value.retryable


@pytest.mark.parametrize("mode", MODES)
async def test_an_empty_answer_is_an_error(at: Reached, mode: OutputMode) -> None:
    with pytest.raises(ModelError) as caught:
        await at.reply(at.request(mode), *text(""), finish(), usage(7, 0), DONE)
    assert caught.value.retryable


@pytest.mark.parametrize("mode", MODES)
async def test_a_refusal_is_the_text_of_the_reply(at: Reached, mode: OutputMode) -> None:
    if at.line.anthropic:
        pytest.skip("Anthropic has no such field")
    refusal = [chunk({"role": "assistant", "content": None, "refusal": one}) for one in ("I can't ", "say.")]
    message, end, _ = await at.reply(at.request(mode), *refusal, finish(), usage(7, 4), DONE)
    assert (message.text, end.reason) == ("I can't say.", "stop")


# Refused calls


@pytest.mark.parametrize(
    ("mode", "said"),
    [
        ("native", "Invalid parameter: 'response_format' of type 'json_schema' is not supported with this model."),
        ("native", "Invalid schema for response_format 'Verdict': In context=(), 'oneOf' is not permitted."),
        ("tool", "deepseek-reasoner does not support this tool_choice"),
        ("tool", "tiny does not support tools"),
    ],
)
async def test_a_refusal_of_the_form_names_the_setting(at: Reached, mode: OutputMode, said: str) -> None:
    at.provider.answers.append(Refusal(400, said))
    with pytest.raises(ModelError, match=rf"output_mode {mode}.*set output_mode: .*prompt") as caught:
        await at.reply(at.request(mode))
    assert not caught.value.retryable
    assert said.partition(":")[0] in str(caught.value)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("mode", MODES)
async def test_a_refusal_of_something_else_does_not(at: Reached, mode: OutputMode) -> None:
    at.provider.answers.append(Refusal(400, "temperature must be at most 1"))
    with pytest.raises(ModelError, match="temperature must be") as caught:
        await at.reply(at.request(mode))
    assert "output_mode" not in str(caught.value)


async def test_a_tool_with_the_name_of_the_answer_is_an_error_before_the_call(at: Reached) -> None:
    verdict = ToolSchema("Verdict", "Mine.")
    with pytest.raises(ConfigError, match=r"a tool has the name of the answer's type, Verdict: rename"):
        await at.reply(at.request("tool", verdict))
    assert at.provider.requests == []


# Models that reason


@pytest.mark.parametrize("config", [{"extra": {"reasoning_effort": "low"}}, {"extra": {"thinking": {"type": "x"}}}])
async def test_no_call_is_forced_where_the_model_reasons(provider: Provider, config: dict[str, Any]) -> None:
    models = Models(Keys(os.environ))
    line = Line("wire", "openai/test-model", True)
    at = Reached(line, provider, models.open(AIConfig(model=line.name, api_base=provider.url, transport="wire")))
    await at.reply(at.request("tool", **config), *answers(line, "tool"))
    assert "tool_choice" not in at.asked
    await models.aclose()
