"""A conversation that is kept encoded: it returns the same messages, and encodes and counts each once."""

from __future__ import annotations

import json
import tracemalloc
from copy import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.messages import messages
from whisper_nb.core.messages import (
    AssistantMessage,
    Image,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    replace,
)
from whisper_nb.models import transcript as module
from whisper_nb.models.openai_format import encode
from whisper_nb.models.tokens import IMAGE_TOKENS
from whisper_nb.models.transcript import Transcript

SYSTEM, ASK, ANSWER = SystemMessage("be brief"), UserMessage("how many?"), AssistantMessage("three")
CALL = AssistantMessage("", (ToolCall("c1", "rows", "{}"),))
RESULT = ToolMessage("c1", "rows", "3")
TALK = [SYSTEM, ASK, CALL, RESULT, ANSWER, UserMessage("why?")]

some_messages = st.lists(messages(), max_size=4)


@given(some_messages)
def test_a_transcript_returns_the_same_messages(some: list[Message]) -> None:
    transcript = Transcript(some)
    assert list(transcript) == some
    assert [transcript[index] for index in range(-len(some), len(some))] == some + some
    assert list(reversed(transcript)) == some[::-1]
    assert transcript.pieces == [encode(message) for message in some]
    assert transcript.to_openai() == [json.loads(encode(message)) for message in some]
    assert all(type(one) is type(other) for one, other in zip(transcript, some, strict=True))


@given(some_messages, some_messages, st.slices(4))
def test_a_transcript_behaves_like_a_list(some: list[Message], more: list[Message], part: slice) -> None:
    one, other = Transcript(some), Transcript(more)
    for transcript, expected in [
        (one + other, some + more),
        (Transcript.joined(other, one, other), more + some + more),
        (one[part], some[part]),
        ((one + other)[part], (some + more)[part]),
    ]:
        assert transcript == expected
        assert transcript == Transcript(expected)
        assert transcript.size == Transcript(expected).size == sum(transcript.sizes)
        assert transcript.starts == [i for i, message in enumerate(expected) if isinstance(message, UserMessage)]


@given(some_messages, some_messages)
def test_a_transcript_equals_a_list_of_equal_messages(some: list[Message], other: list[Message]) -> None:
    assert (Transcript(some) == Transcript(other)) is (some == other)
    assert (Transcript(some) == other) is (some == other)


def test_messages_with_the_same_encoding_are_not_equal() -> None:
    failed = replace(RESULT, is_error=True)
    assert encode(failed) == encode(RESULT)
    assert Transcript([failed]) == Transcript([failed]) != Transcript([RESULT])
    assert Transcript([ASK]) != "how many?"


def test_messages_can_be_appended_to_a_transcript() -> None:
    transcript = Transcript(TALK[:2])
    transcript.append(CALL)
    transcript.extend([RESULT])
    transcript.extend(Transcript(TALK[4:]))
    assert transcript == TALK
    assert transcript.starts == [1, 5]
    assert len(transcript) == 6
    assert repr(transcript) == f"<Transcript of 6 messages, {transcript.size} tokens at most>"


def test_a_joined_transcript_does_not_grow_with_its_parts() -> None:
    history, draft = Transcript(TALK[:2]), Transcript(TALK[2:])
    both = history + draft
    history.append(ASK)
    assert both == TALK
    both.append(ASK)
    assert draft == TALK[2:]
    assert Transcript(history) == history


def test_each_message_is_encoded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    history = Transcript(TALK)
    monkeypatch.setattr(module, "encode", lambda message: pytest.fail("it was encoded again"))
    both = Transcript.joined(history, history[2:], Transcript(history))
    both.extend(history)
    assert all(any(piece is own for own in history.pieces) for piece in both.pieces)


def test_the_size_bounds_the_tokens_and_an_image_has_its_own_size() -> None:
    plain = Transcript([ASK])
    assert plain.size == len(plain.pieces[0])
    seen = Transcript([UserMessage("how many?", (Image("image/png", "A" * 100_000),))])
    assert IMAGE_TOKENS < seen.size < IMAGE_TOKENS + 200


def test_a_message_that_only_json_can_decode_is_decoded() -> None:
    thoughts = AssistantMessage("", CALL.tool_calls, {"score": float("inf")})
    (sent,) = Transcript([thoughts]).to_openai()
    assert sent["score"] == float("inf")


# Exchanges

few, some_tokens = (st.none() | st.integers(0, most) for most in (6, 200))


@given(some_messages, some_messages, few, some_tokens)
def test_the_newest_exchanges_are_whole_and_as_many_as_fit(
    first: list[Message], more: list[Message], exchanges: int | None, tokens: int | None
) -> None:
    history = Transcript([ASK, *first])
    for message in more:  # it grows between the questions
        history.append(message)
        start = history.since(exchanges, tokens)
        kept = history[start:]
        assert start in (*history.starts, len(history))
        assert exchanges is None or len(kept.starts) <= exchanges
        assert tokens is None or kept.estimate <= tokens
        if start:  # one more would be too many
            wider = history[max(one for one in history.starts if one < start) :]
            too_many = exchanges is not None and len(wider.starts) > exchanges
            assert too_many or (tokens is not None and wider.estimate > tokens)


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [  # the counts of OpenAI's tokenizers for gpt-4o and gpt-4
        ("The quick brown fox jumps over the lazy dog. " * 100, 1_011, 1_012),
        ('{"id": 7, "name": "user 7", "amount": 103.72, "active": false}, ' * 100, 2_714, 2_714),
        ("103.721,88.204,97.001,140.338\n" * 100, 1_607, 1_607),
        ("    for name, value in sorted(found.items()):\n" * 100, 1_010, 1_010),
        ("Быстрая лиса прыгает через ленивую собаку. " * 100, 1_514, 2_312),
        ("敏捷的棕色狐狸跳过了懒狗。" * 100, 1_407, 2_507),
    ],
)
def test_tokens_are_estimated_from_the_text(text: str, least: int, most: int) -> None:
    plain = Transcript([UserMessage(text)])
    assert 0.75 * least <= plain.estimate <= 1.25 * most
    seen = Transcript([UserMessage(text, (Image("image/png", "A" * 100_000),))])
    assert seen.estimate == pytest.approx(plain.estimate + IMAGE_TOKENS, abs=60)
    assert (plain + seen).estimate == plain.estimate + seen.estimate == sum(one.estimate for one in (plain, seen))


# Measures


class Counted:
    """A measure that counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, message: Message) -> int:
        self.calls += 1
        return len(message.text)


@given(some_messages, some_messages, some_messages)
def test_a_measure_of_messages_is_summed(some: list[Message], more: list[Message], rest: list[Message]) -> None:
    measure = Counted()
    history, draft = Transcript(some), Transcript(more)
    both = history + draft
    history.extend(rest)
    assert history.measured(measure) == sum(len(message.text) for message in some + rest)
    assert both.measured(measure) == sum(len(message.text) for message in some + more)
    both.append(ASK)
    assert both.measured(measure) == sum(len(message.text) for message in [*some, *more, ASK])


def test_a_message_is_measured_once() -> None:
    measure, history = Counted(), Transcript(TALK)
    for turn in range(10):
        assert Transcript.joined(Transcript(), history).measured(measure) == history.measured(measure)
        assert measure.calls == len(TALK) + turn
        history.append(ASK)


def test_a_transcript_can_be_extended_by_itself() -> None:
    transcript = Transcript(TALK)
    transcript.extend(transcript)
    assert transcript == TALK * 2
    assert transcript.size == 2 * Transcript(TALK).size


def test_a_list_of_messages_can_be_added() -> None:
    assert Transcript(TALK) + [ASK] == [*TALK, ASK]  # noqa: RUF005 (this is what is tested)
    with pytest.raises(TypeError):
        Transcript(TALK) + 3  # type: ignore[operator]


def test_a_copy_grows_alone() -> None:
    transcript = Transcript(TALK)
    copied = copy(transcript)
    copied.append(ASK)
    assert (list(transcript), list(copied)) == (TALK, [*TALK, ASK])
    assert copied.size > transcript.size


# Memory


@pytest.mark.parametrize(
    "kind",
    [
        lambda text: UserMessage(text),
        lambda text: AssistantMessage(text),
        lambda text: ToolMessage("call_1", "rows", text),
        lambda text: ToolMessage("call_1", "rows", text, True),
        lambda text: AssistantMessage("", (ToolCall("call_1", "rows", f'{{"text": "{text}"}}'),)),
    ],
)
@pytest.mark.parametrize("length", [1, 100, 10_000])
def test_a_kept_message_takes_little_more_than_its_text(kind: Any, length: int) -> None:
    count = 200
    tracemalloc.start()
    try:
        transcript = Transcript(kind("word " * (length // 5) + f"{number:04}") for number in range(count))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(transcript) == count
    assert kept / count <= 1.3 * (length + 4) + 300
