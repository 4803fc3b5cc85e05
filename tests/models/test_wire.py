"""The wire: addresses, parameters and connections of calls, all without LiteLLM."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest

from support.leaks import UNLIKE, hits, texts_of
from support.provider import (
    CUT,
    DONE,
    Pause,
    Provider,
    Raw,
    Refusal,
    Reply,
    call,
    chunk,
    data,
    finish,
    says,
    text,
    usage,
)
from whisper_nb import Agent, AIConfig, ConfigError, ModelError, RunFailed, Runtime
from whisper_nb.config.keys import Keys
from whisper_nb.config.providers import PROVIDERS
from whisper_nb.core.errors import ContentFiltered, LengthExceeded
from whisper_nb.core.events import HistoryTrimmed
from whisper_nb.core.messages import TextDelta, Usage, UserMessage
from whisper_nb.models.http.connections import Connections
from whisper_nb.models.model import Request
from whisper_nb.models.offload import Offloaded
from whisper_nb.models.pool import Models
from whisper_nb.models.wire import OpenAIWireModel

KEYS = {
    "OPENAI_API_KEY": "sk-of-openai-0123456789",
    "MISTRAL_API_KEY": "sk-of-mistral-012345",
    "OPENROUTER_API_KEY": "sk-or-0123456789abc",
}


@pytest.fixture
async def provider(complaints: list[str]) -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def rt(provider: Provider) -> AsyncIterator[Runtime]:
    async with Runtime(environ=KEYS) as rt:
        yield rt


async def sent(rt: Runtime, provider: Provider, model: str, **config: Any) -> Any:
    """The body that arrives for one run."""
    config = {"api_base": provider.url, **config}
    await rt.create(Agent(name="bob", config=AIConfig(model=model, **config))).submit("Hi")
    return provider.requests[-1].body


# The choice between wire and LiteLLM


@pytest.mark.parametrize("provider_name", [name for name, one in PROVIDERS.items() if name != "offline"])
def test_providers_that_speak_the_format_are_reached_over_the_wire(provider_name: str) -> None:
    models, config = Models(Keys({})), AIConfig(model=f"{provider_name}/x")
    speaks = PROVIDERS[provider_name].wire is not None
    assert isinstance(models.open(config), OpenAIWireModel if speaks else Offloaded)


def test_transport_selects_the_wire_or_litellm() -> None:
    models = Models(Keys({}))
    assert isinstance(models.open(AIConfig(model="openai/x", transport="litellm")), Offloaded)
    assert isinstance(models.open(AIConfig(model="anthropic/x", transport="wire")), OpenAIWireModel)


def test_one_model_is_opened_for_each_endpoint_whatever_the_parameters() -> None:
    models = Models(Keys({}))
    first = models.open(AIConfig(model="openai/x", temperature=0.1))
    assert models.open(AIConfig(model="openai/x", temperature=0.9)) is first
    assert models.open(AIConfig(model="openai/x", api_base="http://localhost:1/v1")) is not first


CALL = """
import asyncio, sys
from whisper_nb import Agent, AIConfig, Runtime

async def main():
    async with Runtime() as rt:
        bob = rt.create(Agent(name="bob", config=AIConfig(model="openai/gpt-4o-mini", api_base=sys.argv[1])))
        print(await bob.submit("Hi"), bob.runs[-1].cost)
    print([name for name in ("litellm", "httpx", "openai", "tiktoken") if name in sys.modules])

asyncio.run(main())
"""


async def test_a_call_with_its_cost_needs_no_litellm(provider: Provider) -> None:
    provider.answers.append([*text("Hello"), finish(), usage(1000, 100), DONE])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", CALL, provider.url, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        env={**os.environ, "OPENAI_API_KEY": "none"},
    )  # fmt: skip
    output, _ = await process.communicate()
    assert output.decode().splitlines() == ["Hello 0.00020999999999999998", "[]"]


# Addresses


@pytest.mark.parametrize(
    ("model", "environ", "address"),
    [
        ("openai/x", {}, "https://api.openai.com/v1/chat/completions"),
        ("openai/x", {"OPENAI_BASE_URL": "http://mine/v1/"}, "http://mine/v1/chat/completions"),
        ("openai/x", {"OPENAI_API_BASE": "http://mine/v1/chat/completions"}, "http://mine/v1/chat/completions"),
        ("ollama/llama3", {}, "http://localhost:11434/v1/chat/completions"),
        ("ollama/llama3", {"OLLAMA_API_BASE": "http://far:11434"}, "http://far:11434/v1/chat/completions"),
        ("lm_studio/x", {}, "http://localhost:1234/v1/chat/completions"),
        ("hosted_vllm/x", {"HOSTED_VLLM_API_BASE": "http://gpu:8000/v1"}, "http://gpu:8000/v1/chat/completions"),
        ("groq/x", {}, "https://api.groq.com/openai/v1/chat/completions"),
    ],
)
async def test_each_provider_has_its_address(model: str, environ: dict[str, str], address: str) -> None:
    connections = Connections()
    keys = Keys({"OPENAI_API_KEY": "none", "GROQ_API_KEY": "none", **environ})
    wire = OpenAIWireModel(AIConfig(model=model), keys, connections)
    await wire.prepare()
    assert str(wire._url) == address
    await connections.aclose()


async def test_a_missing_api_base_is_an_error(rt: Runtime) -> None:
    run = rt.create(Agent(name="bob", config="hosted_vllm/x")).submit("Hi")
    with pytest.raises(RunFailed, match=r"set api_base.*or HOSTED_VLLM_API_BASE"):
        await run
    assert isinstance(run.error, ConfigError)
    assert run.cost == 0.0


async def test_an_env_file_does_not_set_an_address() -> None:
    keys = Keys({"OPENAI_API_KEY": "none"})
    keys.read("OPENAI_API_BASE=http://stranger/v1\nOPENAI_BASE_URL=http://stranger/v1", ".env")
    wire = OpenAIWireModel(AIConfig(model="openai/x"), keys, Connections())
    assert wire._address() == "https://api.openai.com/v1/chat/completions"


async def test_a_proxy_of_the_environment_is_used(
    rt: Runtime, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", provider.url.removesuffix("/v1"))
    monkeypatch.setenv("no_proxy", "direct.example")
    await sent(rt, provider, "openai/x", api_base="http://far.example/v1")
    assert provider.requests[-1].headers["Host"] == "far.example"


async def test_a_changed_address_of_the_environment_holds_from_the_next_call_on(provider: Provider) -> None:
    environ = {**KEYS, "OPENAI_BASE_URL": provider.url}
    async with Provider() as other, Runtime(environ=environ) as rt:
        bob = rt.create(Agent(name="bob", config="openai/x"))
        await bob.submit("Hi")
        environ["OPENAI_BASE_URL"] = other.url
        await bob.submit("Hi")
        del environ["OPENAI_BASE_URL"]
        environ["OPENAI_API_BASE"] = provider.url
        await bob.submit("Hi")
        assert (len(provider.requests), len(other.requests)) == (2, 1)


async def test_a_changed_proxy_of_the_environment_holds_from_the_next_call_on(
    rt: Runtime, provider: Provider, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = AIConfig(model="openai/x", api_base="http://127.0.0.1:1/v1", retries=0)
    bob = rt.create(Agent(name="bob", config=config))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("http_proxy", provider.url.removesuffix("/v1"))
    with pytest.raises(RunFailed, match="nothing answers"):
        await bob.submit("Hi")
    monkeypatch.setenv("no_proxy", "direct.example")
    assert await bob.submit("Hi") == "Hello world"
    assert provider.requests[-1].headers["Host"] == "127.0.0.1:1"


# Parameters


async def test_openai_gets_max_completion_tokens(rt: Runtime, provider: Provider) -> None:
    assert (await sent(rt, provider, "openai/gpt-4o-mini", max_tokens=5))["max_tokens"] == 5
    assert (await sent(rt, provider, "openai/gpt-5-mini", max_tokens=5))["max_completion_tokens"] == 5


async def test_mistral_gets_its_own_parameter_names(rt: Runtime, provider: Provider) -> None:
    body = await sent(rt, provider, "mistral/x", seed=7)
    assert body["random_seed"] == 7
    assert {"seed", "stream_options"}.isdisjoint(body)


async def test_openrouter_is_asked_for_the_cost_and_gets_the_reasoning_limit(rt: Runtime, provider: Provider) -> None:
    body = await sent(rt, provider, "openrouter/a/b", max_reasoning_tokens=100)
    assert (body["model"], body["usage"], body["reasoning"]) == ("a/b", {"include": True}, {"max_tokens": 100})


async def test_extra_parameters_and_headers_are_sent(rt: Runtime, provider: Provider) -> None:
    extra = {"user": "me", "extra_body": {"top_k": 3}, "extra_headers": {"X-Team": "ours"}}
    body = await sent(rt, provider, "openai/x", extra=extra)
    assert (body["user"], body["top_k"]) == ("me", 3)
    assert "extra_body" not in body
    assert provider.requests[-1].headers["X-Team"] == "ours"


async def test_a_complete_reply_is_requested_without_a_stream(rt: Runtime, provider: Provider) -> None:
    assert "stream" not in await sent(rt, provider, "openai/x", stream=False)


@pytest.mark.parametrize("key", ["sk-ünicode-0123456789", "sk-two\nlines-0123456789"])
async def test_a_key_that_is_invalid_in_a_header_is_refused_and_not_shown(provider: Provider, key: str) -> None:
    async with Runtime(environ={"OPENAI_API_KEY": key}) as rt:
        run = rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base=provider.url))).submit("Hi")
        with pytest.raises(RunFailed, match="has a character that cannot be sent"):
            await run
        assert "0123456789" not in str(run.error)
    assert provider.requests == []


# Tokens


async def test_a_history_that_does_not_fit_is_trimmed_by_litellms_token_count(rt: Runtime, provider: Provider) -> None:
    config = AIConfig(model="openai/gpt-4", api_base=provider.url)  # 8,192 tokens
    bob = rt.create(Agent(name="bob", config=config))
    await bob.submit("one " * 5_000)
    trimmed = bob.submit("two " * 5_000)
    await trimmed
    assert [one.event.dropped for one in trimmed.events if isinstance(one.event, HistoryTrimmed)] == [2]
    too_long = bob.submit("three " * 9_000)
    with pytest.raises(RunFailed, match="only 8,192 fit"):
        await too_long
    assert isinstance(too_long.error, LengthExceeded)
    assert (too_long.cost, len(provider.requests)) == (0.0, 2)


# Connections


async def test_one_connection_is_used_for_consecutive_calls(rt: Runtime, provider: Provider) -> None:
    bob = rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base=provider.url)))
    amy = rt.create(Agent(name="amy", config=AIConfig(model="hosted_vllm/y", api_base=provider.url)))
    for _ in range(3):
        await bob.submit("Hi")
        await amy.submit("Hi")
    assert len(provider.connections) == 1


async def test_a_reply_whose_body_does_not_end_is_complete(rt: Runtime, provider: Provider) -> None:
    forever = asyncio.Event()
    provider.answers.append([*says("Hello"), forever])
    bob = rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base=provider.url)))
    assert await bob.submit("Hi") == "Hello"
    forever.set()


_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
_COMPLETE = b"".join(map(data, [*text("Hello"), finish(), usage(1000, 100)])) + DONE
_CHUNK = b"%x\r\n%s\r\n" % (len(_COMPLETE), _COMPLETE)


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param([_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", _CHUNK], id="no last chunk"),
        pytest.param([_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", _CHUNK, Pause(0.02), CUT], id="a reset"),
        pytest.param([_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", _CHUNK, Pause(0.02), b"zz\r\n"], id="a bad chunk"),
        pytest.param([_HEAD + b"Content-Length: 100000\r\n\r\n", _COMPLETE], id="fewer bytes than announced"),
    ],
)
async def test_a_reply_is_complete_at_its_done_event_however_the_connection_ends(
    rt: Runtime, provider: Provider, sent: list[bytes | Pause | object]
) -> None:
    provider.answers.append(Raw(sent))
    config = AIConfig(model="openai/gpt-4o-mini", api_base=provider.url, retries=0)
    bob = rt.create(Agent(name="bob", config=config))
    run = bob.submit("Hi")
    assert await run == "Hello"
    assert (run.usage, run.cost) == (Usage(1000, 100), pytest.approx(0.00021))
    assert await bob.submit("Hi") == "Hello world"
    assert len(provider.connections) == 2


async def test_unused_connections_are_closed(provider: Provider) -> None:
    connections = Connections(kept_s=0.05)
    wire = OpenAIWireModel(AIConfig(model="openai/x", api_base=provider.url), Keys(KEYS), connections)
    async with aclosing(wire.stream(Request([UserMessage("Hi")], [], AIConfig(model="openai/x")))) as deltas:
        assert [delta async for delta in deltas]
    (connection,) = provider.connections
    while not connection.is_closing():  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0.01)
    await connections.aclose()


async def test_unread_data_does_not_fill_memory(provider: Provider) -> None:
    provider.answers.append([*(chunk({"content": "x" * 100_000}) for _ in range(160)), finish(), DONE])
    connections = Connections()
    wire = OpenAIWireModel(AIConfig(model="openai/x", api_base=provider.url), Keys(KEYS), connections)
    await wire.prepare()
    tracemalloc.start()
    try:
        async with aclosing(wire.stream(Request([UserMessage("Hi")], [], AIConfig(model="openai/x")))) as deltas:
            first = await anext(deltas)
            before, _ = tracemalloc.get_traced_memory()
            for _ in range(2_000):
                await asyncio.sleep(0)
            assert tracemalloc.get_traced_memory()[0] - before < 4e6
            assert isinstance(first, TextDelta)
            rest = [len(delta.text) async for delta in deltas if isinstance(delta, TextDelta)]
    finally:
        tracemalloc.stop()
    assert len(first.text) + sum(rest) == 16_000_000
    await connections.aclose()


async def test_a_broken_connection_is_not_reused(rt: Runtime, provider: Provider) -> None:
    bob = rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base=provider.url, retries=0)))
    provider.answers.append([*text("Hel"), CUT])
    run = bob.submit("Hi")
    with pytest.raises(RunFailed):
        await run
    assert await bob.submit("Hi") == "Hello world"
    assert len(provider.connections) == 2


# Kinds of failures


@pytest.mark.parametrize(("reason", "kind"), [("length", LengthExceeded), ("content_filter", ContentFiltered)])
@pytest.mark.parametrize("stream", [True, False])
async def test_a_truncated_reply_has_its_usage_and_cost(
    rt: Runtime, provider: Provider, reason: str, kind: type[Exception], stream: bool
) -> None:
    provider.answers.append(Reply([*text("Hel"), finish(reason), usage(1000, 100), DONE]))
    config = AIConfig(model="openai/gpt-4o-mini", api_base=provider.url, stream=stream)
    run = rt.create(Agent(name="bob", config=config)).submit("Hi")
    with pytest.raises(RunFailed):
        await run
    assert isinstance(run.error, kind)
    assert (run.text, run.usage, run.cost) == ("Hel", Usage(1000, 100), pytest.approx(0.00021))
    assert len(provider.requests) == 1


async def test_an_error_about_missing_credit_is_not_retried(rt: Runtime, provider: Provider) -> None:
    provider.answers.append(
        Refusal(429, "You exceeded your current quota, please check your plan and billing details.")
    )
    run = rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base=provider.url))).submit("Hi")
    with pytest.raises(RunFailed, match=r"no credit left \(429\)"):
        await run
    assert (run.cost, len(provider.requests)) == (0.0, 1)


@pytest.mark.parametrize(
    "says",
    [
        "Rate limit reached. Add a payment method to your account at https://host/account/billing",
        "Too many, 3 credits a call",
    ],
)
async def test_a_rate_limit_whose_text_mentions_money_is_retried(rt: Runtime, provider: Provider, says: str) -> None:
    provider.answers.append(Refusal(429, says, headers={"Retry-After": "0"}))
    bob = rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base=provider.url)))
    assert await bob.submit("Hi") == "Hello world"


async def test_an_invalid_address_is_an_error_at_each_call(rt: Runtime) -> None:
    bob = rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base="http://xn--/v1")))
    for _ in range(2):
        run = bob.submit("Hi")
        with pytest.raises(RunFailed, match="is not an address"):
            await run
        assert (type(run.error), run.cost) == (ConfigError, 0.0)


async def test_a_missing_package_of_litellm_is_not_a_network_error(rt: Runtime) -> None:
    run = rt.create(Agent(name="bob", config=AIConfig(model="vllm/x", transport="litellm"))).submit("Hi")
    with pytest.raises(RunFailed, match="the call cannot be made"):
        await run
    assert run.cost == 0.0
    asked = rt.create(Agent(name="amy", config="vllm/x")).submit("Hi")
    with pytest.raises(RunFailed, match="set api_base"):
        await asked


@pytest.mark.parametrize(
    ("told", "one"),
    [("eos_token", None), ("model_length", LengthExceeded), ("SAFETY", ContentFiltered), ("abort", ModelError)],
)
async def test_finish_reasons_are_mapped_to_a_few_names(
    rt: Runtime, provider: Provider, told: str, one: type[Exception] | None
) -> None:
    provider.answers.append([*text("Hel"), finish(told), finish("stop"), usage(7, 3), DONE])
    run = rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base=provider.url, retries=0))).submit("Hi")
    if one is None:
        assert await run == "Hel"
        return
    with pytest.raises(RunFailed):
        await run
    assert type(run.error) is one  # the first bad reason holds
    assert run.usage == Usage(7, 3)


@pytest.mark.parametrize(
    ("status", "cost"), [(400, 0.0), (429, 0.0), (503, 0.0), (500, None), (502, None), (504, None), (408, None)]
)
async def test_the_cost_of_a_refused_call_depends_on_its_status(
    rt: Runtime, provider: Provider, status: int, cost: float | None
) -> None:
    provider.answers.append(Refusal(status))
    run = rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base=provider.url, retries=0))).submit("Hi")
    with pytest.raises(RunFailed):
        await run
    assert run.cost == cost


@pytest.mark.parametrize(
    "told", [{"cost": 10**400}, {"prompt_tokens": 10**400}, {"prompt_tokens": -(10**6)}, {"completion_tokens": True}]
)
async def test_invalid_usage_has_an_unknown_cost(rt: Runtime, provider: Provider, told: dict[str, Any]) -> None:
    spent = {"prompt_tokens": 1000, "completion_tokens": 100, **told}
    provider.answers.append([*text("Hello"), finish(), chunk(usage=spent), DONE])
    run = rt.create(Agent(name="bob", config=AIConfig(model="openai/gpt-4o-mini", api_base=provider.url))).submit("Hi")
    assert await run == "Hello"
    assert run.cost == (pytest.approx(0.00021) if "cost" in told else None)


async def test_the_upstream_cost_is_added_for_the_users_own_key(rt: Runtime, provider: Provider) -> None:
    own = {"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.5}}
    provider.answers.append([*text("Hello"), finish(), usage(7, 3, **own), DONE])
    run = rt.create(Agent(name="bob", config=AIConfig(model="openrouter/a/b", api_base=provider.url))).submit("Hi")
    await run
    assert run.cost == 0.5


async def test_a_proxys_password_is_not_shown(rt: Runtime, provider: Provider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://user:hunter2hunter2@127.0.0.1:1")
    monkeypatch.setenv("no_proxy", "direct.example")
    run = rt.create(
        Agent(name="bob", config=AIConfig(model="openai/x", api_base="http://far.example/v1", retries=0))
    ).submit("Hi")
    with pytest.raises(RunFailed):
        await run
    assert "hunter2" not in str(run.error)


@pytest.mark.parametrize("extra", [{"extra_body": [1]}, {"extra_headers": ["x"]}])
async def test_an_extra_that_is_not_a_mapping_is_refused_before_anything_is_sent(
    rt: Runtime, provider: Provider, extra: dict[str, Any]
) -> None:
    run = rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base=provider.url, extra=extra))).submit(
        "Hi"
    )
    with pytest.raises(RunFailed, match="is not a mapping"):
        await run
    assert (run.cost, provider.requests) == (0.0, [])


async def test_a_large_prompt_is_sent_with_a_content_length(rt: Runtime, provider: Provider) -> None:
    prompt = "wörd " * 500_000
    await rt.create(Agent(name="bob", config=AIConfig(model="openai/x", api_base=provider.url))).submit(prompt)
    (request,) = provider.requests
    assert request.body["messages"][-1] == {"role": "user", "content": prompt}
    assert int(request.headers["Content-Length"]) > len(prompt.encode())
    assert "Transfer-Encoding" not in request.headers


# What a provider says


SECRET = UNLIKE
PLAIN = {"Content-Type": "text/plain"}
#: Where a provider echoes a text.
ECHOES: dict[str, Any] = {
    "a finish reason": lambda said: [*text("Hel"), finish(said), DONE],
    "an error in the stream": lambda said: [*text("Hel"), data({"error": {"message": said, "code": said}}), CUT],
    "the type of an error": lambda said: [*text("Hel"), data({"error": {"message": "no", "type": said}}), CUT],
    "an event that is an error": lambda said: [f"event: error\ndata: {said}\n\n".encode(), CUT],
    "no JSON": lambda said: [f"data: {said}\n\n".encode(), CUT],
    "the body of a refusal": lambda said: Reply([said.encode()], 400, PLAIN),
    "the message of a refusal": lambda said: Refusal(400, said),
    "the type of the content": lambda said: Reply(
        [b"x"], 200, {"Content-Type": f"text/{said[:200]}".replace(" ", "-")}
    ),
}


@pytest.mark.parametrize("size", [1, 5_000])
@pytest.mark.parametrize("place", ECHOES)
async def test_what_a_provider_says_is_redacted_and_bounded(place: str, size: int, provider: Provider) -> None:
    provider.answers.append(ECHOES[place](f"{SECRET} " * size))
    async with Runtime(environ={"OPENAI_API_KEY": SECRET}) as rt:
        config = AIConfig(model="openai/x", api_base=provider.url, retries=0)
        run = rt.create(Agent(name="bob", config=config, max_turns=1)).submit("Hi")
        with pytest.raises(RunFailed) as caught:
            await run
    words = f"{caught.value} {run.error} {run.events}"
    assert SECRET[:12] not in words
    assert len(words) < 65_536


class Interrupted(BaseException):
    """An interrupt, or the outcome of a test runner."""


class BrokenConnections(Connections):
    """Fails with the headers of the call among the local variables of its frame."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error = error

    async def post(self, url: Any, body: Any, headers: Any, proxy: Any) -> Any:
        assert UNLIKE in str(headers)
        raise self.error


@pytest.mark.parametrize("kind", [Interrupted, asyncio.CancelledError, KeyError, MemoryError, DeprecationWarning])
async def test_no_error_of_a_call_shows_the_key_in_its_frames(kind: type[BaseException]) -> None:
    endpoint = AIConfig(model="openai/x", api_base="http://localhost:1/v1")
    connections = BrokenConnections(kind("stop"))
    model = OpenAIWireModel(endpoint, Keys({"OPENAI_API_KEY": UNLIKE}), connections)
    deltas = model.stream(Request([UserMessage("Hi")], (), endpoint))
    with pytest.raises((kind, ModelError)) as caught:
        await anext(deltas)
    await connections.aclose()
    assert hits(texts_of(caught.value)) == []


async def test_a_tool_call_with_an_endless_name_is_refused(provider: Provider) -> None:
    provider.answers.append([*call(0, "x" * 70_000), finish("tool_calls"), DONE])
    async with Runtime(environ=KEYS) as rt:
        config = AIConfig(model="openai/x", api_base=provider.url, retries=0)
        with pytest.raises(RunFailed, match="has an id or a name of more than 65,536 characters"):
            await rt.create(Agent(name="bob", config=config)).submit("Hi")


async def test_a_large_refusal_is_read_to_its_first_64_kb(provider: Provider) -> None:
    provider.answers.append(Reply([b"The model is on holiday. " + b"x" * 10**6], 400, PLAIN))
    async with Runtime(environ=KEYS) as rt:
        config = AIConfig(model="openai/x", api_base=provider.url, retries=0)
        with pytest.raises(RunFailed, match="The model is on holiday"):
            await rt.create(Agent(name="bob", config=config)).submit("Hi")
