from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.core.channels import Channel
from whisper_nb.core.errors import EmptyReply, LengthExceeded
from whisper_nb.core.events import ModelReplied, TextStreamed
from whisper_nb.core.messages import AssistantMessage, CallDelta, Finish, ReasoningDelta, TextDelta, ToolCall
from whisper_nb.core.turns import THOUGHTS, Reply

ANALYSIS, FINAL = "<|channel|>analysis<|message|>", "<|channel|>final<|message|>"

#: The text that a server sends → the thoughts and the text of the reply.
SAID = {
    "Four.": ("", "Four."),
    "\n\nFour.\n": ("", "\n\nFour.\n"),
    "<think>2 + 2</think>Four.": ("2 + 2", "Four."),
    "\n<think>\n2 + 2\n</think>\n\nFour.\n": ("2 + 2", "Four.\n"),
    "<thinking>2 + 2</thinking> Four.": ("2 + 2", "Four."),
    "<think>\n\n</think>\n\nFour.": ("", "Four."),
    "<think>one</think><think>two</think>Four.": ("one\n\ntwo", "Four."),
    "<think>a < b, </thin, <think> and </thinking>?</think>Yes.": ("a < b, </thin, <think> and </thinking>?", "Yes."),
    "<think>2 + 2 is": ("2 + 2 is", ""),
    "<think>2 + 2 is</thi": ("2 + 2 is</thi", ""),
    "The tag <think> begins</think> it.": ("", "The tag <think> begins</think> it."),
    "`<think>`": ("", "`<think>`"),
    "assistant": ("", "assistant"),
    "<table><think>": ("", "<table><think>"),
    "<": ("", "<"),
    "<thin": ("", "<thin"),
    "<think>hm</think> <": ("hm", "<"),
    f"{ANALYSIS}2 + 2<|end|><|start|>assistant{FINAL}Four.<|return|>": ("2 + 2", "Four."),
    f"<|start|>assistant{ANALYSIS}2 + 2<|start|>assistant{FINAL}Four <| four": ("2 + 2", "Four <| four"),
    f"{ANALYSIS}2<|end|><|channel|>commentary<|message|>I add.<|end|>{ANALYSIS}4<|end|>{FINAL}Four.": (
        "2\n\n4",
        "I add.\n\nFour.",
    ),
    f"{FINAL}Four.<|end|>\n": ("", "Four."),
    f"{ANALYSIS}2 + 2<|end|> Four. <think>": ("2 + 2", "Four. <think>"),
    "<|channel|>other<|message|>Four.": ("", "<|channel|>other<|message|>Four."),
}


def told(pieces: Sequence[str], finish: str = "stop") -> tuple[Reply, list[tuple[Channel, str]]]:
    """Return the reply of these pieces, and what it gave for its stream."""
    reply = Reply("x/y")
    streamed = [event for text in pieces for event in reply.add(TextDelta(text))]
    streamed += reply.add(Finish(finish))
    return reply, [(event.channel, event.text) for event in streamed]


@pytest.mark.parametrize("text", SAID)
def test_reasoning_between_tags_at_the_beginning_is_not_text(text: str) -> None:
    reply, _ = told([text])
    message, finish = reply.complete(allow_empty=True)
    assert (finish.thoughts, message) == (SAID[text][0], AssistantMessage(SAID[text][1]))


@given(st.sampled_from(list(SAID)), st.lists(st.integers(0, 120)))
def test_tags_may_be_split_over_deltas(text: str, cuts: list[int]) -> None:
    bounds = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    reply, streamed = told([text[start:end] for start, end in pairwise(bounds)])
    message, finish = reply.complete(allow_empty=True)
    assert (finish.thoughts, message.text) == SAID[text]
    # What is streamed is what is kept, apart by channel.
    assert "".join(piece for channel, piece in streamed if channel == "analysis").strip() == finish.thoughts
    assert "".join(piece for channel, piece in streamed if channel != "analysis") == message.text
    assert all(piece for _, piece in streamed)


@given(st.text())
def test_text_without_a_tag_at_its_beginning_is_unchanged(text: str) -> None:
    if not text.lstrip().startswith("<"):
        reply, streamed = told([*text])
        assert reply.complete(allow_empty=True)[0].text == "".join(piece for _, piece in streamed)
        assert len("".join(piece for _, piece in streamed)) == len(text)


def test_the_channels_that_a_model_names_are_streamed() -> None:
    begin = "<|channel|>commentary<|message|>I add.<|end|>"
    assert told([begin, f"{FINAL}Four."])[1] == [("commentary", "I add."), ("final", "\n\nFour.")]


def test_reasoning_streams_as_far_as_it_is_kept() -> None:
    reply = Reply("x/y")
    assert reply.add(ReasoningDelta("a" * (THOUGHTS - 1))) == (TextStreamed("a" * (THOUGHTS - 1), "analysis"),)
    assert reply.add(ReasoningDelta("bc")) == (TextStreamed("b", "analysis"),)
    assert reply.add(ReasoningDelta("d")) == ()


@pytest.mark.parametrize("text", ["a", "channel", ".", "<b", "<|x"])
def test_text_that_begins_no_tag_is_streamed_at_once(text: str) -> None:
    assert list(Reply("x/y").add(TextDelta(text))) == [TextStreamed(text)]


def test_a_reply_that_began_with_a_part_of_a_tag_has_begun() -> None:
    reply = Reply("x/y")
    reply.add(TextDelta("<thi"))
    assert reply.begun


def test_a_reply_of_an_empty_pair_of_tags_is_empty() -> None:
    with pytest.raises(EmptyReply):
        told(["<think>\n</think>\n"])[0].complete()


def test_reasoning_that_reaches_the_limit_of_tokens_is_an_error_as_text_is() -> None:
    with pytest.raises(LengthExceeded):
        told(["<think>and so on"], "length")[0].complete()


def test_text_beside_tool_calls_is_commentary() -> None:
    reply = Reply("x/y")
    for delta in (TextDelta("<think>hm</think>I look."), CallDelta(0, "a", "rows", "{}"), Finish("tool_calls")):
        reply.add(delta)
    message, finish = reply.complete()
    assert message == AssistantMessage("I look.", (ToolCall("a", "rows", "{}"),))
    assert ModelReplied(message, None, None, finish.thoughts).channel == "commentary"
    assert ModelReplied(AssistantMessage("Three."), None, None).channel == "final"
