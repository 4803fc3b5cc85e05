"""LiteLLM over a real socket: its own behaviour.

What every way to a model does is in test_model_contract and test_faults.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import traceback
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from support.doubles import published
from support.pictures import PNG
from support.provider import (
    CUT,
    DONE,
    Answer,
    Provider,
    Refusal,
    Reply,
    Request,
    call,
    chunk,
    finish,
    says,
    text,
    usage,
)
from whisper_nb import Agent, AIConfig, ConfigError, ModelError, RunFailed, Runtime, Session
from whisper_nb.config.keys import Keys
from whisper_nb.core.events import TextStreamed
from whisper_nb.core.messages import AssistantMessage, Finish, Image, TextDelta, ToolCall, UserMessage
from whisper_nb.models.lite import LiteLLMModel
from whisper_nb.models.model import Request as ModelRequest
from whisper_nb.models.tokens import IMAGE_TOKENS, count_tokens

KEY = "sk-this-is-a-secret-0123456789"
#: LiteLLM's ways: OpenAI's SDK, its own client, and its own client with a handler of the
#: provider.
ROUTES = ["openai/test-model", "hosted_vllm/test-model", "openrouter/test/model"]


@pytest.fixture
async def provider(complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    for name in (
        "OPENAI_API_KEY",
        "OPENROUTER_API_KEY",
        "HOSTED_VLLM_API_KEY",
        "ANTHROPIC_API_KEY",
        "GEMINI_API_KEY",
        "AZURE_API_KEY",
    ):
        monkeypatch.setenv(name, KEY)
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def rt(provider: Provider) -> AsyncIterator[Runtime]:
    async with Runtime() as rt:
        yield rt


def hire(rt: Runtime, provider: Provider, model: str = ROUTES[0], name: str = "bob", **fields: Any) -> Session:
    given = {"transport": "litellm", "retries": 0, **fields.pop("config", {})}
    config = AIConfig(model=model, api_base=provider.url, **given)
    return rt.create(Agent(name=name, config=config, **fields))


async def failure(bob: Session, **options: Any) -> tuple[ModelError, str]:
    """The error of a run that fails, and the text that it keeps."""
    run = bob.submit("Hi", **options)
    with pytest.raises(RunFailed):
        await run
    assert isinstance(run.error, ModelError)
    return run.error, run.text


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error with its causes and contexts, suppressed ones included."""
    seen: list[BaseException] = []
    queue = [error]
    while queue:
        if (one := queue.pop()) is not None and one not in seen:
            seen.append(one)
            queue += [one.__cause__, one.__context__]
    yield from seen


def everything_told_by(error: BaseException) -> str:
    """All text that a traceback of any kind could show, with the values of all variables."""
    words: list[str] = []
    for one in chain(error):
        told = traceback.TracebackException.from_exception(one, capture_locals=True)
        words += [repr(one), str(one.args), *told.format()]
    return "\n".join(words)


# Requests and replies


@pytest.mark.parametrize("model", ROUTES)
async def test_tool_calls_and_results_pass_through_litellm(rt: Runtime, provider: Provider, model: str) -> None:
    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    provider.answers.append(
        [*call(0, "add", '{"a": 1', ', "b": 2}'), *call(1, "add", '{"a": 3, "b": 4}'), finish("tool_calls"), DONE]
    )
    provider.answers.append(says("3 and 7"))

    assert await hire(rt, provider, model, tools=(add,)).submit("Add") == "3 and 7"

    first, second = provider.requests
    [tool] = first.body["tools"]
    assert tool["function"]["name"] == "add"
    assert tool["function"]["description"] == "Add two numbers."
    assert set(tool["function"]["parameters"]["properties"]) == {"a", "b"}
    asked, *answers = second.body["messages"][2:]
    assert [json.loads(one["function"]["arguments"]) for one in asked["tool_calls"]] == [
        {"a": 1, "b": 2},
        {"a": 3, "b": 4},
    ]
    assert [(one["tool_call_id"], one["content"]) for one in answers] == [("call_0", "3"), ("call_1", "7")]


@pytest.mark.parametrize(
    ("model", "spent", "tokens", "cost"),
    [
        pytest.param("openrouter/test/model", [usage(7, 2, cost=0.25)], (7, 2), 0.25, id="told"),
        pytest.param("openrouter/test/model", [usage(7, 2, cost=0)], (7, 2), 0.0, id="told to be free"),
        pytest.param("openai/gpt-4o-mini", [usage(1000, 100)], (1000, 100), 0.00021, id="by the price map"),
        pytest.param("openai/test-model", [usage(7, 2)], (7, 2), None, id="no known price"),
        pytest.param("ollama_chat/test", [], None, 0.0, id="free, on this machine"),
        pytest.param("openai/gpt-4o-mini", [], None, None, id="tokens unknown"),
    ],
)
async def test_usage_and_cost_are_the_providers_figures_or_unknown(
    rt: Runtime, provider: Provider, model: str, spent: list[Any], tokens: tuple[int, int] | None, cost: float | None
) -> None:
    provider.answers.append([*text("Hello"), finish(), *spent, DONE])
    if model.startswith("ollama"):
        lines = [
            {"model": "test", "message": {"role": "assistant", "content": "Hello"}, "done": False},
            {"model": "test", "message": {"content": ""}, "done": True, "done_reason": "stop"},
        ]
        provider.answers[0] = [json.dumps(line).encode() + b"\n" for line in lines]
    run = hire(rt, provider, model).submit("Hi")

    assert await run == "Hello"
    assert (run.usage and (run.usage.input_tokens, run.usage.output_tokens)) == tokens
    assert run.cost == (None if cost is None else pytest.approx(cost))


async def test_chunks_without_choices_are_ignored(rt: Runtime, provider: Provider) -> None:
    provider.answers.append([b": comment\n\n", chunk(prompt_filter_results=[]), *says("Hello")])
    assert await hire(rt, provider).submit("Hi") == "Hello"


async def test_providers_with_their_own_format_answer(rt: Runtime, provider: Provider) -> None:
    def event(kind: str, **fields: Any) -> bytes:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n".encode()

    start = {
        "id": "1",
        "role": "assistant",
        "content": [],
        "model": "m",
        "usage": {"input_tokens": 25, "output_tokens": 1},
    }
    anthropic = [
        event("message_start", message=start),
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": "Hello"}),
        event("message_delta", delta={"stop_reason": "end_turn"}, usage={"output_tokens": 15}),
        event("message_stop"),
    ]
    said = {"content": {"parts": [{"text": "Hello"}]}, "finishReason": "STOP"}
    gemini = [
        b"data: "
        + json.dumps(
            {"candidates": [said], "usageMetadata": {"promptTokenCount": 25, "candidatesTokenCount": 15}}
        ).encode()
        + b"\r\n\r\n"
    ]
    completion = [
        chunk() | {"choices": [{"index": 0, "text": "Hello", "finish_reason": None}]},
        chunk() | {"choices": [{"index": 0, "text": "", "finish_reason": "stop"}]},
        usage(25, 15),
        DONE,
    ]
    for model, answer in [
        ("anthropic/claude-haiku-4-5", anthropic),
        ("gemini/gemini-2.5-flash", gemini),
        ("text-completion-openai/test", completion),
        ("azure_text/test", completion),
    ]:
        provider.answers.append(answer)
        run = hire(rt, provider, model, model.partition("/")[0]).submit("Hi")
        assert await run == "Hello"
        assert run.usage is not None
        assert (run.usage.input_tokens, run.usage.output_tokens) == (25, 15)


# Incomplete replies


@pytest.mark.parametrize("end", [[], [DONE], [usage(1, 1), DONE], [CUT]], ids=["end", "done", "usage", "cut"])
async def test_a_text_completion_that_is_truncated_fails(rt: Runtime, provider: Provider, end: list[Any]) -> None:
    provider.answers.append([chunk() | {"choices": [{"index": 0, "text": "Hel"}]}, *end])
    bob = hire(rt, provider, "azure_text/test")

    error, kept = await failure(bob)
    assert error.retryable
    assert kept == "Hel"
    assert bob.history == ()


async def test_text_that_litellm_takes_for_the_end_is_kept_or_an_error(rt: Runtime, provider: Provider) -> None:
    """Some versions of LiteLLM lose it with some providers: the reply is then an error, and never a part of it."""
    provider.answers.extend([says("It ends in ", "[DONE]", ".")] * 2)
    for name, model in (("bob", "openai/test-model"), ("amy", "openrouter/test/model")):
        run = hire(rt, provider, model, name).submit("Hi")
        try:
            assert await run == "It ends in [DONE]."
        except RunFailed:
            assert "[DONE]" in str(run.error)


async def test_binary_event_streams_pass_unchecked_and_text_under_their_type_is_an_error(provider: Provider) -> None:
    from whisper_nb.models.http.guard import GuardedClient

    kind = {"Content-Type": "application/vnd.amazon.eventstream"}
    provider.answers.extend([Reply([b"\0\0\0\x10", bytes(range(12))], headers=kind), Reply(says("Hi"), headers=kind)])
    client = GuardedClient(5.0)
    assert (await client.post(provider.url, json={"messages": []})).content == b"\0\0\0\x10" + bytes(range(12))
    with pytest.raises(ValueError, match="it is not application"):
        await client.post(provider.url, json={"messages": []})
    await client.close()


# Keys and providers


async def test_the_key_is_read_at_each_call(rt: Runtime, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    bob = hire(rt, provider, config={"api_key": "os.environ/MY_KEY"})
    run = bob.submit("Hi")
    with pytest.raises(RunFailed, match="MY_KEY"):
        await run
    assert isinstance(run.error, ConfigError)
    assert provider.requests == []

    for key in ("sk-first", "sk-second"):
        monkeypatch.setenv("MY_KEY", f" {key}\n")
        await bob.submit("Hi")
    assert [request.key for request in provider.requests] == ["sk-first", "sk-second"]


async def test_a_custom_server_needs_no_key(rt: Runtime, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, model in enumerate(ROUTES):
        monkeypatch.delenv(f"{model.partition('/')[0].upper()}_API_KEY")
        assert await hire(rt, provider, model, f"bob{number}").submit("Hi") == "Hello world"


@pytest.mark.parametrize(
    ("model", "says"), [("nonsense/x", "knows no provider 'nonsense'"), ("cerebras/x", "CEREBRAS_API_KEY")]
)
async def test_parameters_that_litellm_rejects_are_an_error_before_anything_is_sent(
    rt: Runtime, model: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CEREBRAS_API_KEY", raising=False)
    rt.models[model] = LiteLLMModel(AIConfig(model=model), rt.keys)
    run = rt.create(Agent(name="bob", config=AIConfig(model=model))).submit("Hi")
    with pytest.raises(RunFailed, match=says):
        await run
    assert isinstance(run.error, ConfigError)


async def test_tokens_are_estimated_until_litellm_is_imported(provider: Provider) -> None:
    model = LiteLLMModel(AIConfig(model="openai/gpt-4o-mini", api_base=provider.url), Keys({}))
    prompt = [UserMessage("one two three four")]
    assert model.context_tokens is None
    assert 0 < model.count_tokens(prompt) < 40
    assert model.count_tokens([UserMessage("", (Image("image/png", "A" * 100_000),))]) < 40 + IMAGE_TOKENS

    async with aclosing(model.stream(ModelRequest(prompt, [], AIConfig()))) as deltas:
        assert [type(delta) async for delta in deltas] == [TextDelta, TextDelta, Finish]
    assert model.context_tokens == 128_000
    assert model.count_tokens(prompt) == 11
    seen = UserMessage(prompt[0].text, (Image("image/png", "A" * 100_000),))
    assert model.count_tokens([seen]) == 11 + IMAGE_TOKENS
    await model.aclose()


@pytest.mark.parametrize(
    "thoughts",
    [
        {"thinking_blocks": [{"type": "thinking", "thinking": "hm " * 1_000, "signature": "s"}]},
        {"reasoning_details": [{"type": "reasoning.encrypted", "data": "QUJD" * 1_000}]},
        {"reasoning_content": "hm " * 1_000},
    ],
    ids=lambda one: next(iter(one)),
)
def test_reasoning_is_counted_as_tokens(thoughts: dict[str, Any]) -> None:
    said = AssistantMessage("", (ToolCall("1", "add", "{}"),), thoughts)
    assert (
        count_tokens("openai/gpt-4o-mini", [said])
        > 1_000
        > 50
        > count_tokens("openai/gpt-4o-mini", [replace(said, reasoning=None)])
    )


@pytest.mark.parametrize("model", ROUTES)
async def test_an_image_is_sent_as_a_part_of_the_message(rt: Runtime, provider: Provider, model: str) -> None:
    await hire(rt, provider, model).submit(["what is this?", PNG])
    (request,) = provider.requests
    text, image = request.body["messages"][-1]["content"]
    assert text == {"type": "text", "text": "what is this? ⟨image 1⟩"}
    assert image["image_url"]["url"] == f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


@pytest.mark.parametrize("model", ROUTES)
async def test_a_refusal_that_quotes_the_image_does_not_show_it(rt: Runtime, provider: Provider, model: str) -> None:
    url = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"
    provider.answers.append(Refusal(400, f"this model cannot see {url} at all"))
    run = hire(rt, provider, model, config={"retries": 0}).submit(["what is this?", PNG])
    with pytest.raises(RunFailed, match=r"this model cannot see \[an image\] at all"):
        await run


# Closing and concurrency


async def test_a_hundred_streams_run_concurrently(rt: Runtime, provider: Provider) -> None:
    all_here = asyncio.Event()

    def answer(request: Request) -> Answer:
        if len(provider.requests) == 100:
            all_here.set()
        return [all_here, *text("I am ", request.prompt), finish(), usage(1, 2), DONE]

    provider.default = answer
    runs = [hire(rt, provider, name=f"bob{n}").submit(str(n)) for n in range(100)]
    assert await asyncio.gather(*(wait(run) for run in runs)) == [f"I am {n}" for n in range(100)]


async def wait(run: Any) -> str:
    return str(await run)


async def test_closing_one_runtime_does_not_end_the_calls_of_another(rt: Runtime, provider: Provider) -> None:
    more = asyncio.Event()
    provider.answers.append([*text("Hel"), more, *says("lo")])
    run = hire(rt, provider).submit("Hi")
    await published(rt, TextStreamed, run=run)
    async with Runtime() as other:
        await hire(other, provider).submit("Hi")
    more.set()
    assert await run == "Hello"


# In a separate process

MISSING_KEY = """
import asyncio, sys
from whisper_nb import Agent, AIConfig, ConfigError, Runtime, RunFailed

async def main():
    async with Runtime() as rt:
        run = rt.create(Agent(name="bob", config=AIConfig(model="openai/gpt-4o-mini"))).submit("Hi")
        try:
            await run
        except RunFailed as error:
            print(type(run.error) is ConfigError, error, "litellm" in sys.modules)

asyncio.run(main())
"""

CANCELLED_AT_ANY_MOMENT = """
import asyncio, gc, sys
from contextlib import suppress
from whisper_nb import Agent, AIConfig, RunCancelled, Runtime

async def main():
    async with Runtime() as rt:
        for model in ("openai/test-model", "hosted_vllm/test-model"):
            bob = rt.create(Agent(name="bob", config=AIConfig(model=model, api_base=sys.argv[1])))
            assert await bob.submit("Hi") == "Hello world"
            for moment in range(60):
                run = bob.submit("Hi")
                for _ in range(moment):
                    await asyncio.sleep(0)
                run.cancel()
                with suppress(RunCancelled):
                    await run
    del bob, run, rt
    gc.collect()

asyncio.run(main())
gc.collect()
"""

STRANGERS_ADDRESS = """
import asyncio, os, socket
from whisper_nb import Agent, AIConfig, Runtime, RunFailed

asked = []
def getaddrinfo(host, *args, **kwargs):
    asked.append(host)
    raise OSError("no network here")
socket.getaddrinfo = getaddrinfo

async def main():
    async with Runtime() as rt:
        run = rt.create(Agent(name="bob", config=AIConfig(model="openai/gpt-4o-mini"))).submit("Hi")
        try:
            await run
        except RunFailed:
            print(set(asked), os.environ.get("OPENAI_API_BASE"))

asyncio.run(main())
"""


async def python(script: str, *arguments: str, folder: Path, **variables: str) -> str:
    """Run a Python script. Return what it prints to stdout and stderr."""
    known = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "always::ResourceWarning", "-W", "always::RuntimeWarning", "-c", script, *arguments,
        cwd=folder, env={**known, **variables}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return output.decode()


async def test_a_missing_key_is_found_before_litellm_is_imported(tmp_path: Path) -> None:
    said = await python(MISSING_KEY, folder=tmp_path)
    assert said.startswith("True bob#1 failed: openai/gpt-4o-mini needs a key: set OPENAI_API_KEY")
    assert said.endswith("False\n")


async def test_calls_and_cancelled_calls_print_and_log_nothing(provider: Provider, tmp_path: Path) -> None:
    assert await python(CANCELLED_AT_ANY_MOMENT, provider.url, folder=tmp_path, OPENAI_API_KEY=KEY) == ""


async def test_an_env_file_in_the_working_folder_is_not_read(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"OPENAI_API_BASE={provider.url}\n")
    assert await python(STRANGERS_ADDRESS, folder=tmp_path, OPENAI_API_KEY=KEY) == "{'api.openai.com'} None\n"
    assert provider.requests == []


async def test_extra_cannot_set_what_litellm_takes_for_itself(rt: Runtime, provider: Provider) -> None:
    bob = hire(rt, provider, config={"extra": {"guardrails": ["x"], "top_k": 1}})
    with pytest.raises(RunFailed, match=r"extra: LiteLLM takes guardrails for a setting of its own.* Nothing was sent"):
        await bob.submit("hello")
    assert provider.requests == []
