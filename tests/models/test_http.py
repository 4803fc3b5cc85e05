"""HTTP: a request on a kept connection that the server has closed is sent again, and nothing else is."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator

import pytest

from support.provider import CUT, Answer, Provider, Raw, Request, says
from whisper_nb import Agent, AIConfig, RunFailed, Runtime, Session

MODELS = ["openai/test-model", "hosted_vllm/test-model", "anthropic/claude-haiku-4-5"]
LINES = [
    (transport, model, streams)
    for streams in (True, False)
    for transport, models in (("wire", MODELS[:1]), ("litellm", MODELS))
    for model in models
]
#: How a server may close a connection: by an end, or by a reset.
CLOSED, RESET = Raw([]), Raw([CUT])


@pytest.fixture
async def provider(complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    for name in ("OPENAI", "HOSTED_VLLM", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-of-a-test-0123456789")
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def rt(provider: Provider) -> AsyncIterator[Runtime]:
    async with Runtime() as rt:
        yield rt


def hire(rt: Runtime, provider: Provider, line: tuple[str, str, bool] = LINES[0], name: str = "bob") -> Session:
    transport, model, stream = line
    config = AIConfig(model=model, api_base=provider.url, transport=transport, stream=stream, retries=0)
    return rt.create(Agent(name=name, config=config))


@pytest.mark.parametrize("line", LINES, ids=str)
@pytest.mark.parametrize("end", [CLOSED, RESET], ids=["closed", "reset"])
async def test_a_call_over_a_stale_connection_is_sent_again(
    rt: Runtime, provider: Provider, line: tuple[str, str, bool], end: Answer
) -> None:
    bob = hire(rt, provider, line)
    provider.answers += [says("one"), end, says("two")]
    assert await bob.submit("1") == "one"
    run = bob.submit("2")
    assert await run == "two"
    # It is no retry: `retries` is 0, nothing is reported, and the usage is known.
    assert [type(record.event).__name__ for record in run.events if "Call" in type(record.event).__name__] == []
    assert run.usage is not None
    assert run.usage.input_tokens == 7
    assert len(provider.requests) == 3
    assert provider.requests[1].body == provider.requests[2].body


@pytest.mark.parametrize("line", LINES, ids=str)
async def test_a_call_is_sent_again_once(rt: Runtime, provider: Provider, line: tuple[str, str, bool]) -> None:
    bob = hire(rt, provider, line)
    provider.answers += [says("one"), CLOSED, CLOSED, says("two")]
    assert await bob.submit("1") == "one"
    with pytest.raises(RunFailed, match="broke off"):
        await bob.submit("2")
    assert len(provider.requests) == 3


@pytest.mark.parametrize("line", LINES, ids=str)
async def test_a_call_over_a_new_connection_is_not_sent_again(
    rt: Runtime, provider: Provider, line: tuple[str, str, bool]
) -> None:
    provider.answers.append(CLOSED)
    with pytest.raises(RunFailed, match="broke off"):
        await hire(rt, provider, line).submit("1")
    assert len(provider.requests) == 1


@pytest.mark.parametrize("line", LINES[:2], ids=str)
async def test_a_call_whose_reply_began_is_not_sent_again(
    rt: Runtime, provider: Provider, line: tuple[str, str, bool]
) -> None:
    bob = hire(rt, provider, line)
    provider.answers += [says("one"), Raw([b"HTTP/1.1 200 OK\r\n", CUT])]
    assert await bob.submit("1") == "one"
    with pytest.raises(RunFailed):
        await bob.submit("2")
    assert len(provider.requests) == 2


@pytest.mark.parametrize("line", LINES[:2], ids=str)
async def test_each_of_many_stale_connections_costs_one_more_request(
    rt: Runtime, provider: Provider, line: tuple[str, str, bool]
) -> None:
    """After a restart of the server all kept connections are stale: a call must not try them one after the other."""
    asked: Counter[str] = Counter()
    everybody_is_here = asyncio.Event()

    def answer(request: Request) -> Answer:
        asked[request.prompt] += 1
        if request.prompt.startswith("again"):
            return CLOSED if asked[request.prompt] == 1 else says("two")
        if asked["first"] == len(team):
            everybody_is_here.set()
        return [everybody_is_here, *says("one")]  # at the same time, each over a connection of its own

    provider.default = answer
    team = [hire(rt, provider, line, f"bob{number}") for number in range(5)]
    await asyncio.gather(*(bob.submit("first") for bob in team))
    assert await asyncio.gather(*(bob.submit(f"again, {bob.name}") for bob in team)) == ["two"] * 5
    assert len(provider.requests) == 15


async def test_a_large_prompt_is_sent_again_whole(rt: Runtime, provider: Provider) -> None:
    bob = hire(rt, provider)
    provider.answers += [says("one"), CLOSED, says("two")]
    assert await bob.submit("1") == "one"
    prompt = "x" * 2_000_000
    assert await bob.submit(prompt) == "two"
    assert [request.prompt == prompt for request in provider.requests[1:]] == [True, True]
