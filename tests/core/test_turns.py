from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.conversations import assert_whole, conversations
from whisper_nb.core.errors import EmptyReply, ModelError
from whisper_nb.core.events import TextStreamed
from whisper_nb.core.messages import (
    AssistantMessage,
    CallDelta,
    Delta,
    Finish,
    Message,
    OutputSchema,
    ReasoningDelta,
    SystemMessage,
    TextDelta,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from whisper_nb.core.turns import THOUGHTS, CallModel, CallTools, Done, Reply, close_turn, next_step

SYSTEM = SystemMessage("you are bob")
PROMPT = UserMessage("how many rows?")
ONE, TWO = ToolCall("c1", "rows", "{}"), ToolCall("c2", "columns", "{}")
ASKS = AssistantMessage("", (ONE, TWO))


# The next step


def test_the_next_step_after_a_prompt_is_a_model_call() -> None:
    assert next_step([PROMPT]) == CallModel()
    assert next_step([SYSTEM, PROMPT]) == CallModel()


def test_a_reply_without_tool_calls_is_the_output() -> None:
    assert next_step([PROMPT, AssistantMessage("three")]) == Done("three")


def test_tool_calls_without_results_are_the_next_step() -> None:
    assert next_step([PROMPT, ASKS]) == CallTools((ONE, TWO))
    assert next_step([PROMPT, ASKS, ToolMessage("c2", "columns", "4")]) == CallTools((ONE,))


def test_the_next_step_after_all_results_is_a_model_call() -> None:
    results: list[Message] = [ToolMessage("c2", "columns", "4"), ToolMessage("c1", "rows", "3")]
    assert next_step([PROMPT, ASKS, *results]) == CallModel()


def test_a_new_prompt_after_a_finished_exchange_calls_the_model() -> None:
    assert next_step([PROMPT, AssistantMessage("three"), UserMessage("and now?")]) == CallModel()


def test_a_result_of_an_earlier_turn_does_not_answer_a_call_with_the_same_id() -> None:
    history: list[Message] = [
        PROMPT,
        AssistantMessage("", (ONE,)),
        ToolMessage("c1", "rows", "3"),
        AssistantMessage("", (ONE,)),
    ]
    assert next_step(history) == CallTools((ONE,))


@pytest.mark.parametrize("history", [[], [SYSTEM], [ToolMessage("c1", "rows", "3")]])
def test_a_history_without_a_prompt_is_an_error(history: list[Message]) -> None:
    with pytest.raises(ValueError, match="no prompt"):
        next_step(history)


# A reply that is assembled from deltas


def reply_of(*deltas: Delta, allow_empty: bool = False) -> tuple[AssistantMessage, Finish]:
    reply = Reply("openai/x")
    for delta in deltas:
        reply.add(delta)
    return reply.complete(allow_empty=allow_empty)


@pytest.mark.parametrize("cost", [math.nan, math.inf, "5"])
def test_a_cost_that_is_no_amount_is_unknown(cost: Any) -> None:
    _, finish = reply_of(TextDelta("hi"), Finish("stop", Usage(1, 1), cost))
    assert finish == Finish("stop", Usage(1, 1), None)


def test_text_deltas_are_joined() -> None:
    finish = Finish("stop", Usage(3, 2), 0.1)
    assert reply_of(TextDelta("Hel"), TextDelta("lo"), finish) == (AssistantMessage("Hello"), finish)


def test_pieces_of_a_tool_call_are_joined_by_index() -> None:
    message, _ = reply_of(
        CallDelta(1, "b", "columns", "{"),
        CallDelta(0, "a", "rows", '{"limit"'),
        CallDelta(1, arguments="}"),
        CallDelta(0, arguments=": 3}"),
        Finish("tool_calls"),
    )
    assert message.tool_calls == (ToolCall("a", "rows", '{"limit": 3}'), ToolCall("b", "columns", "{}"))


def test_a_tool_name_that_is_sent_twice_is_used_once() -> None:
    message, _ = reply_of(CallDelta(0, "a", "rows"), CallDelta(0, "a", "rows", "{}"), Finish("tool_calls"))
    assert message.tool_calls == (ToolCall("a", "rows", "{}"),)


@given(st.lists(st.sampled_from(["", "a", "call_0_0", "call_1_0", "call_1_1", "call_2_1", "call_2_2"]), max_size=6))
def test_every_tool_call_gets_a_unique_id(ids: list[str]) -> None:
    deltas = [CallDelta(index, id_, f"tool{index}") for index, id_ in enumerate(ids)]
    message, _ = reply_of(*deltas, Finish("tool_calls" if deltas else "stop"), allow_empty=True)
    assert [call.name for call in message.tool_calls] == [delta.name for delta in deltas]
    assert all(call.id for call in message.tool_calls)
    assert len({call.id for call in message.tool_calls}) == len(ids)
    # An id that is present and unused is kept: the provider may know it.
    assert {id_ for id_ in ids if id_} <= {call.id for call in message.tool_calls}


@pytest.mark.parametrize("delta", [TextDelta("Hel"), ReasoningDelta("hm"), CallDelta(0, "a", "rows")])
def test_a_reply_begins_with_its_first_token(delta: Delta) -> None:
    reply = Reply("openai/x")
    reply.add(TextDelta(""))
    assert not reply.begun
    reply.add(delta)
    assert reply.begun


def test_a_stream_without_a_finish_is_an_error() -> None:
    with pytest.raises(ModelError, match="openai/x: the reply was cut off") as caught:
        reply_of(TextDelta("half a sen"))
    assert caught.value.retryable
    assert caught.value.model == "openai/x"


def test_half_a_tool_call_is_an_error() -> None:
    with pytest.raises(ModelError, match="cut off"):
        reply_of(CallDelta(0, "a", "delete", '{"path": "/tmp'))


@pytest.mark.parametrize(
    ("reason", "said"), [("length", "hit the token limit .*raise max_tokens"), ("content_filter", "content filter")]
)
def test_an_incomplete_reply_is_an_error(reason: str, said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        reply_of(TextDelta("half"), Finish(reason))
    assert not caught.value.retryable


def test_a_reply_with_an_unknown_finish_reason_is_an_error() -> None:
    with pytest.raises(ModelError, match=r"unknown reason \('abort'\)") as caught:
        reply_of(TextDelta("half"), Finish("abort", Usage(1, 2)))
    assert caught.value.finish == Finish("abort", Usage(1, 2))


@pytest.mark.parametrize("deltas", [[], [TextDelta("")]])
def test_a_reply_with_nothing_in_it_is_an_error_unless_it_is_allowed(deltas: list[Delta]) -> None:
    finish = Finish("stop", Usage(7, 0), 0.1)
    with pytest.raises(EmptyReply, match=r"the reply is empty.*allow_empty") as caught:
        reply_of(*deltas, finish)
    assert (caught.value.retryable, caught.value.finish) == (True, finish)
    assert reply_of(*deltas, finish, allow_empty=True) == (AssistantMessage(""), finish)


def test_a_reply_of_reasoning_alone_is_not_empty() -> None:
    assert reply_of(ReasoningDelta("hm"), Finish("stop"))[0] == AssistantMessage("")


@pytest.mark.parametrize("deltas", [[], [TextDelta("I look.")], [ReasoningDelta("hm")]])
@pytest.mark.parametrize("allow_empty", [False, True])
def test_announced_tool_calls_that_are_missing_are_an_error(deltas: list[Delta], allow_empty: bool) -> None:
    with pytest.raises(ModelError, match="announces tool calls, and there are none") as caught:
        reply_of(*deltas, Finish("tool_calls"), allow_empty=allow_empty)
    assert caught.value.retryable


def test_calls_that_the_provider_runs_are_kept_apart() -> None:
    search, rows = CallDelta(0, "s", "web_search", "{}", True), CallDelta(1, "a", "rows", "{}")
    message, _ = reply_of(search, rows, CallDelta(0, arguments="", served=True), Finish("tool_calls"))
    assert message == AssistantMessage("", (ToolCall("a", "rows", "{}"),), None, (ToolCall("s", "web_search", "{}"),))
    assert next_step([PROMPT, reply_of(search, TextDelta("News."), Finish("stop"))[0]]) == Done("News.")


def test_of_long_reasoning_the_beginning_is_kept() -> None:
    pieces = [ReasoningDelta("a" * (THOUGHTS - 1)), ReasoningDelta("bc"), ReasoningDelta("d"), TextDelta("ok")]
    _, finish = reply_of(*pieces, Finish("stop"))
    assert finish.thoughts == "a" * (THOUGHTS - 1) + "b"


def test_reasoning_is_not_part_of_the_reply_text() -> None:
    message, _ = reply_of(ReasoningDelta("hm"), TextDelta("o"), ReasoningDelta("ah"), TextDelta("k"), Finish("stop"))
    assert message == AssistantMessage("ok")


def test_a_complete_reply_may_have_unknown_usage_and_cost() -> None:
    message, finish = reply_of(TextDelta("ok"), Finish("stop"))
    assert message == AssistantMessage("ok")
    assert finish.usage is None
    assert finish.cost_usd is None


# The answer's tool

VERDICT = OutputSchema("Verdict", {"type": "object"}, "tool")
ANSWER = '{"good": true, "why": "a\\"}{ – 🦉"}'


def answered(*deltas: Delta, output: OutputSchema = VERDICT) -> tuple[AssistantMessage, Finish, str]:
    """Return the complete reply, and the text that was streamed meanwhile."""
    reply = Reply("openai/x", output)
    pieces = [piece for delta in deltas for piece in reply.add(delta)]
    streamed = "".join(piece.text for piece in pieces if piece.channel == "final")
    message, finish = reply.complete()
    return message, finish, streamed


@given(st.lists(st.integers(0, len(ANSWER)), max_size=5))
def test_the_call_of_the_answer_becomes_the_text_however_it_is_cut(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(ANSWER)]
    pieces = [CallDelta(0, arguments=ANSWER[i:j]) for i, j in pairwise(places)]
    usage = Usage(3, 4)
    message, finish, streamed = answered(CallDelta(0, "a", "Verdict"), *pieces, Finish("tool_calls", usage, 0.1))
    assert message == AssistantMessage(ANSWER)
    assert streamed == ANSWER
    assert finish == Finish("stop", usage, 0.1)


@given(st.text(st.characters(codec=None, min_codepoint=0xD7F0, max_codepoint=0xE00F), max_size=9))
def test_a_streamed_answer_is_valid_unicode(text: str) -> None:
    message, _, streamed = answered(
        CallDelta(0, "a", "Verdict"), *(CallDelta(0, arguments=one) for one in text), Finish("tool_calls")
    )
    message.text.encode()
    streamed.encode()


@pytest.mark.parametrize("reason", ["stop", "tool_calls"])
def test_an_answer_in_text_is_an_answer_too(reason: str) -> None:
    calls = [CallDelta(0, "a", "Verdict", "{}")] if reason == "tool_calls" else []
    message, finish, _ = answered(TextDelta('{"good"'), TextDelta(": true}"), *calls, Finish(reason))
    assert message.text == ("{}" if calls else '{"good": true}')
    assert message.tool_calls == ()
    assert finish.reason == "stop"


def test_text_before_the_call_of_the_answer_counts_as_thoughts() -> None:
    message, finish, streamed = answered(
        ReasoningDelta("Hm. "), TextDelta("I see."), CallDelta(0, "a", "Verdict", ANSWER), Finish("tool_calls")
    )
    assert message == AssistantMessage(ANSWER)
    assert finish.thoughts == "Hm. I see."
    assert streamed == "I see." + ANSWER


def test_of_two_answers_the_first_counts() -> None:
    second = CallDelta(1, "b", "Verdict", '{"good": false}')
    message, _, streamed = answered(CallDelta(0, "a", "Verdict", ANSWER), second, Finish("tool_calls"))
    assert message == AssistantMessage(ANSWER)
    assert streamed == ANSWER


@pytest.mark.parametrize("first", [True, False])
def test_an_answer_beside_calls_of_other_tools_is_dropped(first: bool) -> None:
    rows, verdict = CallDelta(int(first), "r", "rows", "{}"), CallDelta(1 - int(first), "v", "Verdict", ANSWER)
    calls = [verdict, rows] if first else [rows, verdict]
    reasoning = {"reasoning": "Hm."}
    message, finish, streamed = answered(TextDelta("So"), *calls, Finish("tool_calls", reasoning=reasoning))
    assert message == AssistantMessage("So", (ToolCall("r", "rows", "{}"),), reasoning)
    assert finish.reason == "tool_calls"
    assert streamed == ("So" + ANSWER if first else "So")


def test_an_answer_without_arguments_is_an_empty_object() -> None:
    assert answered(CallDelta(0, "a", "Verdict"), Finish("tool_calls"))[0] == AssistantMessage("{}")


@pytest.mark.parametrize("arguments", ['{"good": tr', "not JSON", "[1]"])
def test_an_answer_that_is_no_object_is_kept_as_it_is(arguments: str) -> None:
    assert answered(CallDelta(0, "a", "Verdict", arguments), Finish("stop"))[0] == AssistantMessage(arguments)


@pytest.mark.parametrize(("reason", "error"), [("length", "hit the token limit"), (None, "cut off")])
def test_half_an_answer_is_an_error_and_was_streamed(reason: str | None, error: str) -> None:
    reply = Reply("openai/x", VERDICT)
    assert reply.add(CallDelta(0, "a", "Verdict", '{"go')) == (TextStreamed('{"go'),)
    if reason:
        reply.add(Finish(reason))
    with pytest.raises(ModelError, match=error):
        reply.complete()


@pytest.mark.parametrize("mode", ["native", "prompt"])
def test_in_other_modes_a_call_of_that_name_is_a_call(mode: Any) -> None:
    output = OutputSchema("Verdict", {"type": "object"}, mode)
    message, _, streamed = answered(CallDelta(0, "a", "Verdict", ANSWER), Finish("tool_calls"), output=output)
    assert message.tool_calls == (ToolCall("a", "Verdict", ANSWER),)
    assert streamed == ""


def test_a_call_of_another_tool_is_a_call() -> None:
    message, _, _ = answered(CallDelta(0, "a", "rows", "{}"), Finish("tool_calls"))
    assert message.tool_calls == (ToolCall("a", "rows", "{}"),)


# Closing an unfinished turn


def test_a_draft_without_a_reply_is_dropped() -> None:
    assert close_turn([]) == []
    assert close_turn([PROMPT]) == []


def test_a_complete_draft_is_kept_as_it_is() -> None:
    draft: list[Message] = [
        PROMPT,
        ASKS,
        ToolMessage("c1", "rows", "3"),
        ToolMessage("c2", "columns", "4"),
        AssistantMessage("3x4"),
    ]
    assert close_turn(draft) == draft


def test_a_call_without_a_result_gets_a_cancelled_result_in_call_order() -> None:
    closed = close_turn([PROMPT, ASKS, ToolMessage("c2", "columns", "4")])
    assert closed[:2] == [PROMPT, ASKS]
    cancelled, result = closed[2:]
    assert isinstance(cancelled, ToolMessage)
    assert (cancelled.call_id, cancelled.name, cancelled.is_error) == ("c1", "rows", True)
    assert "cancelled before it finished" in cancelled.text
    assert result == ToolMessage("c2", "columns", "4")


@given(conversations(), st.data())
def test_history_holds_whole_turns_wherever_a_run_ends(messages: list[Message], data: st.DataObject) -> None:
    draft = messages[: data.draw(st.integers(0, len(messages)), "cut")]
    closed = close_turn(draft)
    assert_whole(closed)
    # Only cancelled results are added, and no message is lost.
    missing = Counter(map(repr, draft)) - Counter(map(repr, closed))
    assert not missing or draft == [messages[0]]
    invented = Counter(map(repr, closed)) - Counter(map(repr, draft))
    assert all("cancelled before it finished" in text for text in invented)
    # A closed history can be continued.
    assert next_step([*closed, PROMPT]) == CallModel()


@given(conversations())
def test_a_run_replayed_takes_the_same_steps(messages: list[Message]) -> None:
    for end in range(1, len(messages)):
        step = next_step(messages[:end])
        if isinstance(messages[end], AssistantMessage):
            assert step == CallModel()
        else:
            assert isinstance(step, CallTools)
            assert messages[end].call_id in [call.id for call in step.pending]  # type: ignore[union-attr]
    assert next_step(messages) == Done("the end")
