"""The context of a local model: its size is learned, and an agent whose history fills it goes on."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest

from support.provider import Provider
from whisper_nb import Agent, AIConfig, FunctionModel, LengthExceeded, RunFailed, Runtime, Session
from whisper_nb.config.keys import Keys
from whisper_nb.core.events import HistoryTrimmed
from whisper_nb.core.messages import Delta, Finish, TextDelta, Usage
from whisper_nb.models.contexts import Contexts
from whisper_nb.models.model import Request

#: Of this length, ten exchanges fill a context of 1,000 words.
PROMPT = "word " * 99
#: As llama.cpp's server tells it, and vLLM's.
LISTED = {"data": [{"id": "other", "meta": {"n_ctx": 5}}, {"id": "mine", "meta": {"n_ctx": 1000, "n_ctx_train": 8192}}]}
LISTED_ALONE = {"data": [{"id": "/models/mine.gguf", "max_model_len": 1000}]}
PROPERTIES = {"default_generation_settings": {"n_ctx": 1000}, "total_slots": 4}


class Local(FunctionModel):
    """A model with a context of 1,000 tokens whose size no list has. It refuses longer prompts.

    Args:
        per_word: the tokens of a word, of which one is counted.
        tells: whether a refusal tells the sizes.
    """

    def __init__(self, per_word: int = 1, *, tells: bool = False) -> None:
        super().__init__(self._reply)
        self._per_word = per_word
        self._tells = tells
        self.sent: list[int] = []
        """The tokens of each call."""

    def count_tokens(self, messages: Any, tools: Any = ()) -> int:
        """Count words."""
        return sum(len(message.text.split()) for message in messages)

    async def _reply(self, request: Request) -> AsyncGenerator[Delta, None]:
        tokens = self._per_word * self.count_tokens(request.messages)
        self.sent.append(tokens)
        if tokens > 1000:
            error = LengthExceeded("openai/mine: the prompt is too long", model="openai/mine", status=400)
            if self._tells:
                error.context_tokens, error.prompt_tokens = 1000, tokens
            raise error
        yield TextDelta("noted")
        yield Finish("stop", Usage(tokens, 1))


@pytest.fixture
async def provider() -> AsyncIterator[Provider]:
    async with Provider() as provider:
        yield provider


@pytest.fixture
async def rt() -> AsyncIterator[Runtime]:
    async with Runtime(environ={}) as rt:
        yield rt


def hire(rt: Runtime, provider: Provider, model: FunctionModel, **config: Any) -> Session:
    rt.models["openai/mine"] = model
    given = AIConfig(model="openai/mine", api_base=provider.url, retries=0, **config)
    return rt.create(Agent(name="bob", system_prompt="be brief", config=given))


def trimmed(bob: Session) -> bool:
    return any(isinstance(record.event, HistoryTrimmed) for record in bob.runs[-1].events)


@pytest.mark.parametrize("per_word", [1, 2, 3])
async def test_the_size_is_learned_from_an_error(rt: Runtime, provider: Provider, per_word: int) -> None:
    model = Local(per_word, tells=True)
    bob = hire(rt, provider, model)
    for _ in range(15):
        assert await bob.submit(PROMPT) == "noted"
    assert trimmed(bob)
    assert len(bob.history) == 30
    assert sum(tokens > 1000 for tokens in model.sent) == 1, "one refusal is enough"


@pytest.mark.parametrize(
    "facts",
    [
        {"/v1/models": LISTED},
        {"/v1/models": LISTED_ALONE},
        {"/props": PROPERTIES},
        {"/v1/models": {"data": [{"id": "mine"}]}, "/props": PROPERTIES},
        {"/v1/models": ["odd"], "/props": PROPERTIES},
    ],
)
async def test_the_server_is_asked_for_the_size(rt: Runtime, provider: Provider, facts: dict[str, Any]) -> None:
    provider.facts = facts
    model = Local()
    bob = hire(rt, provider, model)
    for _ in range(15):
        assert await bob.submit(PROMPT) == "noted"
    assert trimmed(bob)
    # A quarter is kept free for the reply.
    assert 600 < max(model.sent) <= 750
    assert provider.looked_up.count("/v1/models") == 1


async def test_tokens_that_are_counted_otherwise_are_learned_from_usage(rt: Runtime, provider: Provider) -> None:
    provider.facts = {"/props": PROPERTIES}
    model = Local(per_word=2)
    bob = hire(rt, provider, model)
    for _ in range(15):
        assert await bob.submit(PROMPT) == "noted"
    assert max(model.sent[-5:]) <= 750


async def test_a_refusal_without_sizes_is_answered_by_asking_and_a_margin(rt: Runtime, provider: Provider) -> None:
    provider.facts = {"/props": PROPERTIES}
    model = Local(per_word=3)
    bob = hire(rt, provider, model)
    bob.configure({"context_tokens": 5_000})  # a user may be wrong
    for _ in range(8):
        assert await bob.submit(PROMPT) == "noted"
    assert trimmed(bob)


async def test_a_refusal_that_teaches_nothing_fails_the_run_at_once(rt: Runtime, provider: Provider) -> None:
    model = Local(per_word=3)
    bob = hire(rt, provider, model)
    for _ in range(3):
        await bob.submit(PROMPT)
    with pytest.raises(RunFailed, match="the prompt is too long"):
        await bob.submit(PROMPT)
    assert len(model.sent) == 4


async def test_a_prompt_that_is_too_long_alone_is_sent_once(rt: Runtime, provider: Provider) -> None:
    model = Local(tells=True)
    bob = hire(rt, provider, model)
    await bob.submit("hello")
    with pytest.raises(RunFailed, match="tokens and only 1,000 fit, even without the history"):
        await bob.submit("word " * 1_500)
    assert len(model.sent) == 2
    assert await bob.submit("hello") == "noted"


async def test_a_configured_size_is_not_asked_for(rt: Runtime, provider: Provider) -> None:
    model = Local()
    bob = hire(rt, provider, model, context_tokens=500)
    for _ in range(8):
        await bob.submit(PROMPT)
    assert trimmed(bob)
    assert max(model.sent) <= 375
    bob.configure({"context_tokens": 500, "max_tokens": 50})
    await bob.submit(PROMPT)
    assert 375 < model.sent[-1] <= 450, "max_tokens takes the place of the quarter"
    assert provider.looked_up == []


async def test_a_short_conversation_asks_nothing(rt: Runtime, provider: Provider) -> None:
    await hire(rt, provider, Local()).submit("hello")
    assert provider.looked_up == []


async def test_a_provider_is_not_asked() -> None:
    contexts = Contexts(Keys({"OPENAI_API_KEY": "sk-of-a-test-0123456789"}))
    for config in (AIConfig(model="openai/x"), AIConfig(model="openai/x", api_base="https://api.openai.com/v1")):
        await contexts.ask(config)
        assert not contexts.of(config).asked


async def test_a_key_is_sent_to_the_server_alone(provider: Provider) -> None:
    """No redirect is followed."""
    keys = Keys({"OPENAI_API_KEY": "sk-of-a-test-0123456789"})
    provider.facts = {"/v1/models": LISTED}
    contexts = Contexts(keys)
    config = AIConfig(model="openai/mine", api_base=provider.url)
    await contexts.ask(config)
    assert contexts.of(config).tokens == 1000
    assert contexts.of(AIConfig(model="openai/mine", api_base="http://127.0.0.1:9/v1")).tokens is None


# The words of a reply that ended for its length


@pytest.mark.parametrize(
    ("config", "usage", "facts", "says"),
    [
        (
            {"max_tokens": 20},
            Usage(10, 20),
            {},
            r"raise max_tokens, which is 20 \(%agent config bob max_tokens=…\), or ask for less",
        ),
        (
            {"max_tokens": 20},
            None,
            {},
            r"raise max_tokens, which is 20 \(%agent config bob max_tokens=…\), or ask for less",
        ),
        ({}, Usage(10, 985), {"/props": PROPERTIES}, "the model's context of 1,000 tokens is full: ask for less"),
        ({}, None, {"/props": PROPERTIES}, "the model's context of 1,000 tokens is full"),
        ({"max_tokens": 900}, Usage(500, 500), {"/props": PROPERTIES}, "was reached: ask for less"),
        ({"max_tokens": 900, "context_tokens": 1000}, Usage(500, 499), {}, "context of 1,000 tokens is full"),
        ({}, Usage(10, 100), {"/props": PROPERTIES}, "was reached: set max_tokens if the model allows more"),
        ({}, Usage(10, 100), {}, "was reached: set max_tokens if the model allows more"),
    ],
)
async def test_the_advice_after_a_long_reply_names_what_was_reached(
    rt: Runtime, provider: Provider, config: dict[str, Any], usage: Usage | None, facts: dict[str, Any], says: str
) -> None:
    async def reply(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("Once upon a time")
        yield Finish("length", usage)

    provider.facts = facts
    run = hire(rt, provider, FunctionModel(reply), **config).submit("Tell me more")
    with pytest.raises(RunFailed, match=rf"token limit .*finish_reason=length\).* {says}"):
        await run
    assert ("raise max_tokens" in str(run.error)) is ("raise" in says)
    assert "%agent reset" not in str(run.error)  # it has no history
    assert isinstance(run.error, LengthExceeded)


@pytest.mark.parametrize(("size", "helps"), [(1000, True), (40, False)])
async def test_a_reset_is_advised_only_if_the_call_had_history(rt: Runtime, size: int, helps: bool) -> None:
    """Where all of it was left out, a reset frees nothing."""
    calls = 0

    async def reply(request: Request) -> AsyncGenerator[Delta, None]:
        nonlocal calls
        calls += 1
        yield TextDelta("Once upon a time")
        yield Finish("stop" if calls == 1 else "length", Usage(500, 500))

    rt.models["offline/x"] = FunctionModel(reply, context_tokens=size)
    bob = rt.create(Agent(name="bob", system_prompt="Brief.", config="offline/x"))
    await bob.submit("one " * 20)
    with pytest.raises(RunFailed) as caught:
        await bob.submit("two " * 20)
    assert ("%agent reset bob" in str(caught.value)) is helps
