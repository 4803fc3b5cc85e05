from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from support.conversations import assert_whole, conversations
from whisper_nb.core.messages import AssistantMessage, Message, SystemMessage, ToolCall, ToolMessage, UserMessage
from whisper_nb.core.turns import close_turn
from whisper_nb.engine.fitting import trim
from whisper_nb.models.transcript import Transcript


def words(messages: Sequence[Message]) -> int:
    return sum(len(message.text.split()) for message in messages)


PROMPT = UserMessage("how many rows?")
HISTORY = Transcript(
    [
        SystemMessage("you are bob"),
        UserMessage("first question"),
        AssistantMessage("", (ToolCall("c1", "rows", "{}"),)),
        ToolMessage("c1", "rows", "3"),
        AssistantMessage("first answer"),
        UserMessage("second question"),
        AssistantMessage("second answer"),
        UserMessage("third question"),
    ]
)


def test_messages_that_fit_stay() -> None:
    assert trim(HISTORY, words(HISTORY), words) == HISTORY


def test_the_oldest_exchange_goes_first_and_whole() -> None:
    assert trim(HISTORY, words(HISTORY) - 1, words) == [HISTORY[0], *HISTORY[5:]]
    assert trim(HISTORY, 8, words) == [HISTORY[0], HISTORY[7]]


def test_the_system_prompt_and_the_last_prompt_stay_even_over_the_limit() -> None:
    assert trim(HISTORY, 0, words) == [HISTORY[0], HISTORY[7]]
    assert trim(Transcript([PROMPT]), 0, words) == [PROMPT]
    assert trim(Transcript(), 0, words) == []


def test_a_history_without_a_system_prompt() -> None:
    assert trim(HISTORY[1:], 2, words) == [HISTORY[7]]


@given(st.lists(conversations(), min_size=1, max_size=4), st.integers(0, 30), st.booleans(), st.integers(0, 20))
def test_a_call_and_its_result_are_left_out_together(
    runs: list[list[Message]], limit: int, system: bool, guess: int
) -> None:
    history = [message for run in runs for message in close_turn(run)]
    messages = [*([HISTORY[0]] if system else []), *history, PROMPT]
    kept = list(trim(Transcript(messages), limit, words, guess))
    assert kept == list(trim(Transcript(messages), limit, words))
    body = kept[1:] if system else kept
    assert_whole(body)
    assert kept[-1] == PROMPT
    assert messages[len(messages) - len(body) :] == body
    assert words(kept) <= limit or body == [PROMPT]


def test_the_last_cut_is_reused_if_it_still_fits() -> None:
    counted: list[int] = []

    def count(messages: Sequence[Message]) -> int:
        counted.append(len(messages))
        return words(messages)

    long = Transcript([HISTORY[0], *(message for _ in range(500) for message in HISTORY[5:7]), PROMPT])
    kept = trim(long, 100, words)
    assert trim(long, 100, count, len(long) - len(kept)) == kept
    assert len(counted) == 2
