"""Good replies in odd forms, over each way to a model: none is refused, loses a part or is counted wrongly."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from support.doubles import settled
from support.odd_replies import FAMILIES, Odd
from support.provider import Provider, says
from whisper_nb import Agent, AIConfig, Run, Runtime
from whisper_nb.core.events import ModelReplied, ToolFinished

pytestmark = pytest.mark.faults

LINES = [(transport, streams) for transport in ("wire", "litellm") for streams in (True, False)]


@pytest.fixture
async def provider(complaints: list[str], monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Provider]:
    for name in ("OPENAI", "AZURE", "XAI", "GROQ", "ANTHROPIC"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-this-is-a-secret-0123456789")
    async with Provider(lambda _: says("fine")) as provider:
        yield provider


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize(("transport", "streams"), LINES, ids=lambda one: str(one))
async def test_a_good_reply_in_an_odd_form_is_read(
    provider: Provider, family: str, transport: str, streams: bool
) -> None:
    wrong: dict[str, str] = {}
    async with Runtime() as runtime:
        for odd in FAMILIES[family]:
            if (odd.stream if streams else odd.whole) is not None and transport in odd.transports:
                wrong[odd.name] = await outcome(runtime, provider, odd, transport, streams)
    assert {name: found for name, found in wrong.items() if found} == {}


async def outcome(runtime: Runtime, provider: Provider, odd: Odd, transport: str, streams: bool) -> str:
    """What is wrong with the outcome of a run; empty if nothing is."""
    # Warnings, such as those of pydantic about values that LiteLLM does not expect, are errors here.
    called: list[tuple[int, int]] = []

    def add(a: int, b: int = 0) -> int:
        """Add two numbers."""
        called.append((a, b))
        return a + b

    answer = odd.stream if streams else odd.whole
    assert answer is not None
    provider.answers.append(answer)
    extra = {"api_version": "2024-10-21"} if odd.model.startswith("azure") else None
    config = AIConfig(
        model=odd.model, api_base=provider.url, transport=transport, stream=streams, retries=0, extra=extra,
        timeout_s=120, token_timeout_s=60,
    )  # fmt: skip
    agent = Agent(name="bob", config=config, tools=(add,))
    run = runtime.create(agent).submit("Hi")
    await settled(run)
    found = facts(run), sorted(called)
    expected = (odd.says, odd.served, not odd.calls and odd.tokens), sorted(odd.calls)
    provider.answers.clear()
    runtime.sessions[0].reset()
    if found == expected:
        return ""
    return f"{found}, not {expected}: {run.error!r}"


def facts(run: Run) -> tuple[str, tuple[str, ...], object]:
    """The output of a run, the tools that the provider ran, and the tokens of a run without tool calls."""
    replies = [record.event for record in run.events if isinstance(record.event, ModelReplied)]
    served = tuple(call.name for reply in replies for call in reply.message.served)
    tools = any(isinstance(record.event, ToolFinished) for record in run.events)
    return run.text if run.status == "succeeded" else run.status, served, not tools and run.usage
