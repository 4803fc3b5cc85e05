"""HTTP: a request on a kept connection that the server has closed is sent again, and nothing else is."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator

import pytest

from support.provider import CUT, Answer, Provider, Raw, Request, says
from whisper_nb import Agent, AIConfig, Run, RunFailed, Runtime, Session

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


async def meet(bob: Session, provider: Provider, *answers: Answer, prompt: str = "2") -> tuple[Run, list[Request]]:
    """Submit until a request comes over a kept connection, and give it and those after it these answers.

    A client that stops reading before the end of a stream closes the connection: the next request then opens another.

    Returns:
        The run, ended, and its requests.
    """
    left, met = deque(answers), False

    def answer(request: Request) -> Answer:
        nonlocal met
        met = met or request.reused
        return left.popleft() if met and left else says("two")

    provider.default = answer
    while True:
        first = len(provider.requests)
        run = bob.submit(prompt)
        try:
            await run
        except RunFailed:
            if not met:
                raise
        if met:
            return run, provider.requests[first:]


@pytest.mark.parametrize("line", LINES, ids=str)
@pytest.mark.parametrize("end", [CLOSED, RESET], ids=["closed", "reset"])
async def test_a_call_over_a_stale_connection_is_sent_again(
    rt: Runtime, provider: Provider, line: tuple[str, str, bool], end: Answer
) -> None:
    run, requests = await meet(hire(rt, provider, line), provider, end)
    assert await run == "two"
    # It is no retry: `retries` is 0, nothing is reported, and the usage is known.
    assert [type(record.event).__name__ for record in run.events if "Call" in type(record.event).__name__] == []
    assert run.usage is not None
    assert run.usage.input_tokens == 7
    assert [request.body for request in requests] == [requests[0].body] * 2


@pytest.mark.parametrize("line", LINES, ids=str)
async def test_a_call_is_sent_again_once(rt: Runtime, provider: Provider, line: tuple[str, str, bool]) -> None:
    run, requests = await meet(hire(rt, provider, line), provider, CLOSED, CLOSED)
    with pytest.raises(RunFailed, match="broke off"):
        await run
    assert len(requests) == 2


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
    run, requests = await meet(hire(rt, provider, line), provider, Raw([b"HTTP/1.1 200 OK\r\n", CUT]))
    with pytest.raises(RunFailed):
        await run
    assert len(requests) == 1


@pytest.mark.parametrize("line", LINES[:2], ids=str)
async def test_each_of_many_stale_connections_costs_one_more_request(
    rt: Runtime, provider: Provider, line: tuple[str, str, bool]
) -> None:
    """After a restart of the server all kept connections are stale: a call must not try them one after the other."""
    asked: Counter[str] = Counter()
    closed: list[Request] = []
    everybody_is_here = asyncio.Event()

    def answer(request: Request) -> Answer:
        asked[request.prompt] += 1
        if request.prompt.startswith("again"):
            if not request.reused or asked[request.prompt] > 1:
                return says("two")
            closed.append(request)
            return CLOSED
        if asked["first"] == len(team):
            everybody_is_here.set()
        return [everybody_is_here, *says("one")]  # at the same time, each over a connection of its own

    provider.default = answer
    team = [hire(rt, provider, line, f"bob{number}") for number in range(5)]
    await asyncio.gather(*(bob.submit("first") for bob in team))
    assert await asyncio.gather(*(bob.submit(f"again, {bob.name}") for bob in team)) == ["two"] * 5
    assert len(provider.requests) == 10 + len(closed)


async def test_a_large_prompt_is_sent_again_whole(rt: Runtime, provider: Provider) -> None:
    prompt = "x" * 2_000_000
    run, requests = await meet(hire(rt, provider), provider, CLOSED, prompt=prompt)
    assert await run == "two"
    assert [request.prompt == prompt for request in requests] == [True, True]
