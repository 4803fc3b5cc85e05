"""From a config's layers to the request that the provider receives, over a socket, through LiteLLM."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support.provider import Provider, Refusal, Request
from whisper_nb import Agent, AIConfig, RunFailed, Runtime
from whisper_nb.config.kinds import Params
from whisper_nb.core.events import CallRetried
from whisper_nb.core.messages import Usage

KEYS = {"OPENAI_API_KEY": "sk-of-openai-0123456789", "OPENROUTER_API_KEY": "sk-of-openrouter-012345"}
GIVEN: dict[str, Any] = {
    "temperature": 0.5, "top_p": 0.25, "max_tokens": 77, "frequency_penalty": -1.5, "presence_penalty": 1.5,
    "stop": ["END", "FIN"], "seed": 7, "extra": {"user": "me"},
}  # fmt: skip


@pytest.fixture
async def provider(complaints: list[str]) -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def rt(provider: Provider) -> AsyncIterator[Runtime]:
    async with Runtime(environ={**KEYS, "MY_KEY": "sk-mine-0123456789", "AGENT_KEY": "sk-agent-0123456789"}) as rt:
        yield rt


async def asked(rt: Runtime, provider: Provider, agent: Agent, **options: Any) -> Request:
    """The request that the provider receives for one run."""
    await rt.create(agent).submit("Hi", **options)
    return provider.requests[-1]


async def test_every_field_reaches_the_provider(rt: Runtime, provider: Provider) -> None:
    config = AIConfig.of({"model": "openai/test-model", "api_base": provider.url, "generation_params": GIVEN})
    request = await asked(rt, provider, Agent(name="bob", config=config))
    sent = {**GIVEN, "user": "me"}
    del sent["extra"]
    assert {name: request.body.get(name) for name in sent} == sent
    assert request.key == KEYS["OPENAI_API_KEY"]


async def test_unset_values_are_not_sent(rt: Runtime, provider: Provider) -> None:
    config = AIConfig(model="openai/test-model", api_base=provider.url)
    request = await asked(rt, provider, Agent(name="bob", config=config))
    assert set(request.body) == {"messages", "model", "stream", "stream_options"}


LAYERS = ("main", "agent", "configure", "session", "call")


@pytest.mark.parametrize("layer", LAYERS)
async def test_a_value_of_any_layer_reaches_the_model_call(layer: str, provider: Provider, tmp_path: Path) -> None:
    """Each layer sets a temperature; that of the highest layer arrives."""
    (tmp_path / "config").mkdir()
    (tmp_path / "agents").mkdir()
    said = {name: number / 10 for number, name in enumerate(LAYERS[: LAYERS.index(layer) + 1], 1)}
    main = f"openai:\n  model: test-model\n  api_base: {provider.url}\n  params: {{temperature: {said['main']}}}\n"
    (tmp_path / "config/main.yaml").write_text(main)
    agent = f"system_prompt: You are bob.\nai_config:\n  seed: 1\n  temperature: {said.get('agent', 'null')}\n"
    if "agent" not in said:
        agent = agent.rpartition("  temperature")[0]
    (tmp_path / "agents/bob.yaml").write_text(agent)
    async with Runtime(environ=KEYS, project=tmp_path) as rt:
        if "configure" in said:
            rt.configure(temperature=said["configure"])
        if "session" in said:
            rt["bob"].configure({"temperature": said["session"]})
        call = {"config": {"temperature": said["call"]}} if "call" in said else {}
        await rt["bob"].submit("Hi", **call)
        assert rt.explain("bob").config.seed == 1
    assert provider.requests[-1].body["temperature"] == said[layer]
    assert provider.requests[-1].body["seed"] == 1


async def test_a_null_clears_the_value_of_lower_layers(rt: Runtime, provider: Provider) -> None:
    config = {"model": "openai/test-model", "api_base": provider.url, "temperature": 0.7}
    request = await asked(rt, provider, Agent(name="bob", config=config), config={"temperature": None})
    assert "temperature" not in request.body


@pytest.mark.parametrize(
    ("agent", "call", "key"),
    [
        ({}, {}, KEYS["OPENAI_API_KEY"]),
        ({"api_key": "os.environ/AGENT_KEY"}, {}, "sk-agent-0123456789"),
        ({"api_key_env": "AGENT_KEY"}, {"api_key": "${MY_KEY}"}, "sk-mine-0123456789"),
    ],
)
async def test_the_key_of_the_config_or_else_of_the_provider_is_sent(
    agent: dict[str, Any], call: dict[str, Any], key: str, rt: Runtime, provider: Provider
) -> None:
    config = {"model": "openai/test-model", "api_base": provider.url, **agent}
    assert (await asked(rt, provider, Agent(name="bob", config=config), config=call)).key == key  # type: ignore[arg-type]


async def test_a_literal_key_is_sent(rt: Runtime, provider: Provider) -> None:
    with pytest.warns(UserWarning, match="the API key is a literal"):
        config = AIConfig(model="openai/test-model", api_base=provider.url, api_key="sk-literal-0123456789")
    assert (await asked(rt, provider, Agent(name="bob", config=config))).key == "sk-literal-0123456789"
    assert "sk-literal" not in repr(config)


async def test_another_provider_gets_no_key_and_address_of_the_previous_one(rt: Runtime, provider: Provider) -> None:
    rt.configure({"model": "openrouter/a/b", "api_key": "os.environ/MY_KEY", "extra": {"route": "fallback"}})
    call = {"model": "openai/test-model", "api_base": provider.url}
    request = await asked(rt, provider, Agent(name="bob"), config=call)
    assert request.key == KEYS["OPENAI_API_KEY"]
    assert "route" not in request.body


@pytest.mark.parametrize("source", ["api_key: os.environ/MISSING_KEY", "temperature: 0.5"])
async def test_a_missing_key_is_found_before_any_request(source: str, provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/main.yaml").write_text(f"model: groq/x\n{source}\n")
    async with Runtime(environ={}, project=tmp_path) as rt:
        run = rt.create(Agent(name="bob")).submit("Hi")
        with pytest.raises(RunFailed) as caught:
            await run
    said = str(caught.value)
    assert ("MISSING_KEY" if "MISSING" in source else "GROQ_API_KEY") in said
    assert "into config/main.yaml, under groq:" in said
    assert "Nothing was sent" in said
    assert (run.cost, run.usage) == (0.0, Usage()), "nothing was sent, so nothing was spent"
    assert provider.requests == []


async def test_local_providers_need_no_key(provider: Provider) -> None:
    async with Runtime(environ={}) as rt:
        config = AIConfig(model="hosted_vllm/test-model", api_base=provider.url)
        await asked(rt, provider, Agent(name="bob", config=config))
    assert len(provider.requests) == 1


@pytest.mark.parametrize(
    ("model", "limit", "sent"),
    [
        ("openrouter/a/b", 500, {"reasoning": {"max_tokens": 500}}),
        ("openrouter/a/b", 0, {"reasoning": {"enabled": False}}),
    ],
)
async def test_the_reasoning_limit_is_sent_in_the_providers_format(
    model: str, limit: int, sent: dict[str, Any], rt: Runtime, provider: Provider
) -> None:
    config = AIConfig(model=model, api_base=provider.url, max_reasoning_tokens=limit)
    request = await asked(rt, provider, Agent(name="bob", config=config))
    assert {name: request.body.get(name) for name in sent} == sent


async def test_a_reasoning_limit_is_an_error_for_a_provider_without_one(rt: Runtime, provider: Provider) -> None:
    config = AIConfig(model="openai/test-model", api_base=provider.url, max_reasoning_tokens=500)
    with pytest.raises(RunFailed, match=r"max_reasoning_tokens: openai has no limit in tokens; .* Nothing was sent"):
        await asked(rt, provider, Agent(name="bob", config=config))
    assert provider.requests == []


async def test_the_site_url_and_name_are_sent_to_openrouter(rt: Runtime, provider: Provider) -> None:
    config = {
        "openrouter": {"model": "a/b", "site_url": "http://me:8000", "app_name": "Mine"},
        "api_base": provider.url,
    }
    request = await asked(rt, provider, Agent(name="bob", config=config))  # type: ignore[arg-type]
    assert request.headers["HTTP-Referer"] == "http://me:8000"
    assert request.headers["X-Title"] == "Mine"


async def test_a_call_is_retried_as_often_as_configured(rt: Runtime, provider: Provider) -> None:
    config = AIConfig(model="openai/test-model", api_base=provider.url, retries=1)
    provider.answers.append(Refusal(503))
    run = rt.create(Agent(name="bob", config=config)).submit("Hi")
    assert await run == "Hello world"
    (again,) = [record.event for record in run.events if isinstance(record.event, CallRetried)]
    assert "503" in again.reason
    assert "Submit again" not in again.reason  # it does that by itself
    provider.answers.extend([Refusal(503), Refusal(503)])
    with pytest.raises(RunFailed, match="503"):
        await rt["bob"].submit("Hi")
    assert len(provider.requests) == 4


async def test_a_refused_key_is_not_retried(rt: Runtime, provider: Provider) -> None:
    config = AIConfig(model="openai/test-model", api_base=provider.url, retries=5)
    provider.answers.append(Refusal(401, echo=True))
    with pytest.raises(RunFailed, match="refused the key from OPENAI_API_KEY"):
        await rt.create(Agent(name="bob", config=config)).submit("Hi")
    assert len(provider.requests) == 1


async def test_an_env_file_gives_keys_and_nothing_else(provider: Provider, tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    main = f"env_file: .env\nopenai:\n  model: test-model\n  api_base: {provider.url}\n"
    (tmp_path / "config/main.yaml").write_text(main)
    (tmp_path / ".env").write_text("# keys\nOPENAI_API_KEY=sk-of-the-file-0123\nOPENAI_API_BASE=http://127.0.0.1:9\n")
    async with Runtime(environ={}, project=tmp_path) as rt:
        request = await asked(rt, provider, Agent(name="bob"))
    assert request.key == "sk-of-the-file-0123"
    assert "OPENAI_API_BASE" not in os.environ


def test_extra_is_immutable() -> None:
    extra = Params({"a": {"b": 1}})
    extra["a"]["b"] = 2
    assert extra["a"] == {"b": 1}
