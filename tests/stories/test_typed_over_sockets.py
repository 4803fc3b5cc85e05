"""Runs with an output type over real sockets: every mode, wire and LiteLLM, two formats, streaming and whole."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from pydantic import BaseModel

from support.provider import DONE, Provider, Refusal, Step, call, finish, text, usage
from whisper_nb import Agent, AIConfig, ModelError, OutputInvalid, RunFailed, Runtime, Session
from whisper_nb.core.messages import AssistantMessage, UserMessage

Line = tuple[str, str, bool]
LINES: list[Line] = [
    (transport, model, streams)
    for streams in (True, False)
    for transport, model in (
        ("wire", "openai/test-model"),
        ("litellm", "openai/test-model"),
        ("litellm", "anthropic/claude-haiku-4-5"),
    )
]
MODES = ["native", "tool", "prompt"]
GOOD = '{"label": "good", "score": 4}'


class Verdict(BaseModel):
    """Of a review."""

    label: Literal["good", "bad"]
    score: int


@pytest.fixture
async def provider(complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.setenv(name, "sk-this-is-a-secret-0123456789")
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def rt(provider: Provider) -> AsyncIterator[Runtime]:
    async with Runtime() as rt:
        yield rt


def hire(rt: Runtime, provider: Provider, line: Line, mode: str, **fields: Any) -> Session[Verdict]:
    transport, model, streams = line
    config = AIConfig(
        model=model, api_base=provider.url, transport=transport, stream=streams, retries=0, output_mode=mode
    )
    return rt.create(Agent(name="bob", config=config, output_type=Verdict, **fields))


def answer(mode: str, *pieces: str) -> list[Step]:
    """An answer as a model gives it in a mode."""
    if mode == "tool":
        return [*call(0, "Verdict", *pieces), finish("tool_calls"), usage(7, 4), DONE]
    return [*text(*pieces), finish(), usage(7, 4), DONE]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("line", LINES, ids=str)
async def test_an_answer_is_corrected_and_the_history_is_the_same_in_all_modes(
    rt: Runtime, provider: Provider, line: Line, mode: str
) -> None:
    bob = hire(rt, provider, line, mode)
    wrong = '{"label": "so-so", "score": "many"}'
    provider.answers += [answer(mode, wrong[:9], wrong[9:]), answer(mode, GOOD[:9], GOOD[9:])]
    run = bob.submit("It lasts.")
    assert await run == Verdict(label="good", score=4)
    assert run.text == GOOD
    history = list(bob.history)
    assert history[:2] == [UserMessage("It lasts."), AssistantMessage(wrong)]
    assert isinstance(history[2], UserMessage)
    assert "label is 'so-so': Input should be 'good' or 'bad'" in history[2].text
    assert history[3:] == [AssistantMessage(GOOD)]
    first, second = provider.requests
    assert len(second.body["messages"]) == len(first.body["messages"]) + 2
    assert ("JSON Schema" in str(first.body)) is (mode == "prompt")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("line", LINES, ids=str)
async def test_an_answer_that_never_fits_keeps_its_text_and_problems(
    rt: Runtime, provider: Provider, line: Line, mode: str
) -> None:
    bob = hire(rt, provider, line, mode)
    provider.default = lambda _: answer("prompt", "no JSON at all")
    run = bob.submit("It lasts.")
    with pytest.raises(OutputInvalid, match="also after 2 more turns"):
        await run
    assert len(provider.requests) == 3
    assert run.text == "no JSON at all"


@pytest.mark.parametrize("line", LINES, ids=str)
async def test_tools_are_called_before_the_answer(rt: Runtime, provider: Provider, line: Line) -> None:
    called: list[int] = []

    def rows(limit: int) -> int:
        """Count the rows."""
        called.append(limit)
        return 5

    bob = hire(rt, provider, line, "tool", tools=[rows])
    early = [*call(0, "rows", '{"limit": 3}'), *call(1, "Verdict", '{"label": "bad", "score": 0}')]
    provider.answers += [[*early, finish("tool_calls"), usage(7, 4), DONE], answer("tool", GOOD)]
    assert await bob.submit("It lasts.") == Verdict(label="good", score=4)
    assert called == [3]
    assert [message.text for message in bob.history] == ["It lasts.", "", "5", GOOD]
    assert all("tool_choice" not in request.body for request in provider.requests)


@pytest.mark.parametrize("line", LINES, ids=str)
async def test_the_text_of_an_answer_streams_in_the_mode_tool(rt: Runtime, provider: Provider, line: Line) -> None:
    bob = hire(rt, provider, line, "tool")
    provider.answers.append(answer("tool", *GOOD))
    assert "".join([piece async for piece in bob.submit("It lasts.").stream_text()]).replace(" ", "") == (
        GOOD.replace(" ", "")
    )


@pytest.mark.parametrize("mode", ["native", "tool"])
@pytest.mark.parametrize("line", LINES, ids=str)
async def test_a_model_that_refuses_the_form_is_named_with_the_remedy(
    rt: Runtime, provider: Provider, line: Line, mode: str
) -> None:
    bob = hire(rt, provider, line, mode)
    provider.answers.append(Refusal(400, "tool_choice and response_format are not supported by this model"))
    run = bob.submit("It lasts.")
    with pytest.raises(RunFailed, match=f"output_mode {mode}.*output_mode=prompt"):
        await run
    assert isinstance(run.error, ModelError)
    bob.configure({"output_mode": "prompt"})
    provider.answers.append(answer("prompt", f"Here:\n```json\n{GOOD}\n```"))
    assert await bob.submit("It lasts.") == Verdict(label="good", score=4)
