"""Random conversations, and the rule that a conversation of whole turns follows."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from whisper_nb.core.messages import AssistantMessage, Message, ToolCall, ToolMessage, UserMessage


@st.composite
def conversations(draw: st.DrawFn) -> list[Message]:
    """The messages of a complete run, in the order of their events."""
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
    """Each message with calls is followed by their results, each once and in order; there are no other results."""
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
