"""Conversations that Hypothesis draws, and the rule that a whole one follows."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from whisper_nb.core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """What a run's messages are, in the order of their events, when it goes on to its end."""
    messages: list[Message] = [UserMessage(draw(st.text(max_size=3)))]
    for turn in range(draw(st.integers(0, 3))):
        calls = tuple(
            ToolCall(f"c{index}", f"tool{turn}", "{}") for index in range(draw(st.integers(1, 3)))
        )  # the same ids in every turn, as some providers do
        messages.append(AssistantMessage(draw(st.text(max_size=3)), calls))
        messages += draw(st.permutations([ToolMessage(call.id, call.name, f"{turn}") for call in calls]))
    messages.append(AssistantMessage("the end"))
    return messages


def assert_whole(messages: Sequence[Message]) -> None:
    """Right after each message with calls stand their results, each once and in order; no result stands elsewhere."""
    left = list(messages)
    while left:
        match left.pop(0):
            case AssistantMessage(_, calls):
                for call in calls:
                    result = left.pop(0)
                    assert isinstance(result, ToolMessage)
                    assert (result.call_id, result.name) == (call.id, call.name)
            case other:
                assert isinstance(other, UserMessage)
