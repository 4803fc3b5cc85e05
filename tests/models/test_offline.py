from __future__ import annotations

import asyncio
import contextlib
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb import AIConfig, ConfigError, ModelError, Rule, ScriptedModel
from whisper_nb.config.keys import Keys
from whisper_nb.core.messages import (
    AssistantMessage,
    CallDelta,
    Delta,
    Finish,
    Message,
    SystemMessage,
    TextDelta,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from whisper_nb.models.model import Model, Request
from whisper_nb.models.offline import EchoModel, count_words, tokens_of
from whisper_nb.models.pool import Models


async def deltas_of(model: Model, *messages: Message) -> list[Delta]:
    return [delta async for delta in model.stream(Request(messages, [], AIConfig()))]


async def text_of(model: Model, *messages: Message) -> str:
    return "".join(delta.text for delta in await deltas_of(model, *messages) if isinstance(delta, TextDelta))


ASK = UserMessage("how many rows in sales?")


# Tokens


@given(st.text() | st.text(" \n\tab"))
def test_tokens_joined_are_the_text(text: str) -> None:
    assert "".join(tokens_of(text)) == text


def test_a_token_is_a_word_with_the_space_before_it() -> None:
    assert tokens_of("one  two\nthree\n") == ["one", "  two", "\nthree", "\n"]
    assert tokens_of("") == []


def test_words_in_tool_calls_are_counted() -> None:
    assert count_words([UserMessage("one two")]) == 2
    assert count_words([AssistantMessage("", (ToolCall("c", "rows", '{"a": 1}'),))]) == 3
    assert count_words([]) == 0


# The echo


async def test_the_echo_repeats_the_prompt_and_says_how_to_use_a_real_model() -> None:
    text = await text_of(EchoModel(), SystemMessage("be brief"), ASK)
    assert text.startswith("You said: how many rows in sales?")
    assert "OPENROUTER_API_KEY" in text


async def test_the_echo_does_not_repeat_the_system_prompt() -> None:
    assert (await text_of(EchoModel(), SystemMessage("secret"))).startswith("You said: \n")


async def test_the_echo_streams_and_costs_nothing() -> None:
    *pieces, finish = await deltas_of(EchoModel(), ASK)
    assert len(pieces) > 10
    assert finish == Finish("stop", Usage(5, len(pieces)), 0.0)
    model = EchoModel()
    assert model.count_tokens([ASK]) == 5
    await model.aclose()


@pytest.mark.parametrize("model", [EchoModel(), ScriptedModel([Rule(reply="two words")])])
async def test_a_price_of_the_config_gives_a_call_a_cost(model: Model) -> None:
    request = Request([ASK], [], AIConfig.of(price={"input": 1, "output": 1_000_000}))
    *pieces, finish = [delta async for delta in model.stream(request)]
    assert isinstance(finish, Finish)
    assert finish.cost_usd == pytest.approx(len(pieces) + 5e-6)


async def test_the_echo_streams_at_the_given_rate() -> None:
    loop, model = asyncio.get_running_loop(), EchoModel(tokens_per_second=1000)
    start = loop.time()
    count = len(await deltas_of(model, ASK)) - 1
    assert loop.time() - start >= count / 1000


# Rules


async def test_the_first_rule_that_matches_answers() -> None:
    model = ScriptedModel([Rule(match="sales", reply="3"), Rule(reply="what?")])
    assert await text_of(model, ASK) == "3"
    assert await text_of(model, UserMessage("hello")) == "what?"
    assert [request.messages[-1].text for request in model.requests] == [ASK.text, "hello"]


async def test_a_rule_uses_the_groups_of_its_match() -> None:
    model = ScriptedModel([Rule(match=r"in (?P<table>\w+)", reply=r"\g<table> has \1 rows")])
    assert await text_of(model, ASK) == "sales has sales rows"


async def test_a_match_may_span_lines() -> None:
    assert await text_of(ScriptedModel([Rule(match="a.b", reply="yes")]), UserMessage("a\nb")) == "yes"


@pytest.mark.parametrize("reply", [r"\2", r"\g<nobody>", r"C:\data"])
async def test_a_missing_group_is_an_error(reply: str) -> None:
    with pytest.raises(ModelError, match="write a backslash that does not refer to a group twice"):
        await deltas_of(ScriptedModel([Rule(match="(in)", reply=reply)]), ASK)


async def test_a_prompt_that_no_rule_matches_is_an_error() -> None:
    with pytest.raises(ModelError, match="no rule matches the user message 'how many rows in sales"):
        await deltas_of(ScriptedModel([Rule(match="^no")]), ASK)


async def test_a_rule_may_apply_to_one_role() -> None:
    model = ScriptedModel([Rule(role="tool", reply="a result"), Rule(role="user", reply="a prompt")])
    assert await text_of(model, ASK) == "a prompt"
    assert await text_of(model, ToolMessage("c", "rows", "3")) == "a result"


async def test_a_rule_may_match_the_system_prompt() -> None:
    model = ScriptedModel([Rule(system="critic", reply="bad"), Rule(reply="good")])
    assert await text_of(model, SystemMessage("you are a critic"), ASK) == "bad"
    assert await text_of(model, SystemMessage("you are a fan"), ASK) == "good"
    assert await text_of(model, ASK) == "good"


async def test_a_rule_may_have_a_number_of_uses() -> None:
    model = ScriptedModel([Rule(reply="first", times=2), Rule(reply="then")])
    assert [await text_of(model, ASK) for _ in range(3)] == ["first", "first", "then"]


async def test_a_rule_may_call_tools() -> None:
    calls: list[dict[str, Any]] = [
        {"name": "rows", "arguments": {"table": r"\1", "tags": [r"\1", 2], "deep": {"er": r"<\1>"}}},
        {"name": r"now_\1"},
        {"name": "raw", "arguments": "{not json"},
    ]
    model = ScriptedModel([Rule(match=r"in (\w+)", calls=calls)])
    *asked, finish = await deltas_of(model, ASK)
    assert finish == Finish("tool_calls", Usage(5, 0), 0.0)
    assert [(call.index, call.name) for call in asked if isinstance(call, CallDelta)] == [
        (0, "rows"), (1, "now_sales"), (2, "raw"),
    ]  # fmt: skip
    first, second, third = (call for call in asked if isinstance(call, CallDelta))
    assert json.loads(first.arguments) == {"table": "sales", "tags": ["sales", 2], "deep": {"er": "<sales>"}}
    assert second.arguments == "{}"
    assert third.arguments == "{not json"
    assert len({call.id for call in asked if isinstance(call, CallDelta)}) == 3


async def test_a_rule_may_fail() -> None:
    with pytest.raises(ModelError, match="rate limit") as caught:
        await deltas_of(ScriptedModel([Rule(error="rate limit", retryable=True)]), ASK)
    assert caught.value.retryable


@pytest.mark.parametrize("truncate", [0, 1, 99])
async def test_a_rule_may_cut_the_stream_off(truncate: int) -> None:
    deltas = await deltas_of(ScriptedModel([Rule(reply="one two", truncate=truncate)]), ASK)
    assert [delta for delta in deltas if isinstance(delta, TextDelta)] == [TextDelta("one"), TextDelta(" two")][
        :truncate
    ]
    assert not any(isinstance(delta, Finish) for delta in deltas)


async def test_a_rule_may_set_the_finish_reason() -> None:
    *_, finish = await deltas_of(ScriptedModel([Rule(reply="one", finish="length")]), ASK)
    assert finish == Finish("length", Usage(5, 1), 0.0)


async def test_a_rule_may_delay_its_reply() -> None:
    loop = asyncio.get_running_loop()
    start = loop.time()
    await deltas_of(ScriptedModel([Rule(reply="one two three", delay_s=0.02, tokens_per_second=100)]), ASK)
    assert loop.time() - start >= 0.02 + 2 / 100


async def test_a_scripted_model_counts_words_and_can_be_closed() -> None:
    model = ScriptedModel([], context_tokens=7)
    assert model.context_tokens == 7
    assert model.count_tokens([ASK]) == 5
    await model.aclose()


# Rules in a file


def write(folder: Path, text: str) -> Path:
    path = folder / "rules.yaml"
    path.write_text(text)
    return path


async def test_rules_are_loaded_from_a_file(tmp_path: Path) -> None:
    model = ScriptedModel.load(write(tmp_path, "- {match: sales, reply: three}\n- reply: what?\n"))
    assert await text_of(model, ASK) == "three"
    single = ScriptedModel.load(str(write(tmp_path, "reply: one rule needs no list")))
    assert await text_of(single, ASK) == "one rule needs no list"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {replay: x}", r"rules\.yaml: rule 1: unknown replay; known are match, reply"),
        ("- {reply: x}\n- 5", r"rule 2: unknown int"),
        ("", r"rule 1: unknown NoneType"),
        ("- [", r"rules\.yaml"),
        ("- {1: x}", r"the key 1 is not text"),
        ("- {a: x, 1: y}", r"the key 1 is not text"),
        ("- {match: 5}", r"rule 1: match 5 is not a string"),
        ("- {reply: 4}", r"rule 1: reply 4 is not a string"),
        ("- {match: '('}", r"rule 1: match '\(' is not a regular expression"),
        ("- {system: '['}", r"rule 1: system '\[' is not a regular expression"),
        ("- {role: assistant}", r"rule 1: role 'assistant' is not any, user or tool"),
        ("- {calls: [{arguments: {}}]}", r"rule 1: calls"),
        ("- {calls: now}", r"rule 1: calls"),
    ],
)
def test_an_invalid_rules_file_is_an_error_with_its_place(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        ScriptedModel.load(write(tmp_path, text))


def test_a_missing_rules_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        ScriptedModel.load(tmp_path / "no.yaml")


# The pool


def test_one_offline_model_is_opened_per_name() -> None:
    models = Models(Keys({}))
    echo = models.open(AIConfig(model="offline/echo"))
    assert isinstance(echo, EchoModel)
    assert models.open(AIConfig(model="offline/echo", temperature=1.0)) is echo
    assert models.open(AIConfig(model="offline/echo", api_base="http://localhost")) is not echo


def test_a_custom_model_can_be_registered_under_a_name() -> None:
    models, mine = Models(Keys({})), ScriptedModel([])
    models["offline/mine"] = mine
    assert models.open(AIConfig(model="offline/mine")) is mine
    with pytest.raises(ConfigError, match="is not provider/model"):
        models["mine"] = mine


def test_a_script_is_opened_by_its_path(tmp_path: Path) -> None:
    path = write(tmp_path, "reply: hi")
    model = Models(Keys({})).open(AIConfig(model=f"offline/script:{path}"))
    assert isinstance(model, ScriptedModel)
    assert list(model.rules) == [Rule(reply="hi")]


@pytest.mark.parametrize("name", ["offline/nonsense", "offline/script", "offline/script:"])
def test_an_unknown_offline_model_is_an_error(name: str) -> None:
    models = Models(Keys({}))
    models["offline/mine"] = ScriptedModel([])
    with pytest.raises(ConfigError, match=r"no offline model .*; there are offline/echo, .*offline/mine"):
        models.open(AIConfig(model=name))


async def test_closing_the_pool_closes_its_models(monkeypatch: pytest.MonkeyPatch) -> None:
    closed: list[Any] = []

    async def aclose(self: EchoModel) -> None:
        closed.append(self)

    monkeypatch.setattr(EchoModel, "aclose", aclose)
    models = Models(Keys({}))
    echo = models.open(AIConfig(model="offline/echo"))
    await models.aclose()
    await models.aclose()
    assert closed == [echo]
    assert models.open(AIConfig(model="offline/echo")) is not echo


#: Regular expressions, and messages on which Python's `re` would work for years.
@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(a|aa)+$", "a" * 60 + "b"),
        ("(a|a)*$", "a" * 60 + "b"),
        ("(a*)*b\\1$", "a" * 60),
        ("^(\\w+\\s?)*\\d$", "a " * 30 + "!"),
        (".*.*.*.*.*.*=x", "a" * 5_000),
        ("(?:(?:a?){30}){30}b", "a" * 300),
        ("(.+)+\\1\\1z", "ab" * 500),
    ],
)
async def test_a_regular_expression_cannot_stop_the_event_loop(pattern: str, message: str) -> None:
    begin = time.monotonic()
    for rule in (Rule(match=pattern), Rule(match=message[:10], system=pattern)):
        messages = [SystemMessage(message), UserMessage(message)]
        with contextlib.suppress(ModelError):  # some are searched quickly
            await text_of(ScriptedModel([rule]), *messages)
    assert time.monotonic() - begin < 60


async def test_all_rules_together_have_a_time() -> None:
    model = ScriptedModel([Rule(match=f"(a|aa)+{number}$") for number in range(1_000)])
    with pytest.raises(ModelError, match=r"takes longer than 0\.25 s on 'aaa") as caught:
        await text_of(model, UserMessage("a" * 60 + "b"))
    assert not caught.value.retryable


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        ("(?:(?:(?:a{1000}){1000}){1000}){1000}", "too large"),
        ("a{0,1000000000}", "too large"),
        ("a{" + "9" * 4_900 + "}", "too large"),
        ("a" * 5_001, "too large"),
        ("(?:" * 500 + "a" + ")" * 500, "not a regular expression"),
        ("(" * 1_200 + ")" * 1_200, "not a regular expression"),
    ],
)
def test_a_regular_expression_that_takes_much_memory_is_refused(pattern: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Rule(match=pattern)


async def test_a_reply_that_repeats_a_long_message_is_bounded() -> None:
    model = ScriptedModel([Rule(match="(?=(.*))", reply=r"\1" * 10_000)])
    with pytest.raises(ModelError, match="longer than 10,000,000 characters"):
        await text_of(model, UserMessage("a" * 100_000))
