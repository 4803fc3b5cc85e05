from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.core.messages import (
    AssistantMessage,
    Finish,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSchema,
    Usage,
    UserMessage,
    to_openai,
)

CALL = ToolCall("c1", "rows", '{"limit": 3}')


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (SystemMessage("be brief"), {"role": "system", "content": "be brief"}),
        (UserMessage("how many?"), {"role": "user", "content": "how many?"}),
        (AssistantMessage("three"), {"role": "assistant", "content": "three"}),
        (ToolMessage("c1", "rows", "3"), {"role": "tool", "tool_call_id": "c1", "name": "rows", "content": "3"}),
    ],
)
def test_messages_in_the_openai_format(message: Message, expected: dict[str, object]) -> None:
    assert to_openai(message) == expected


@pytest.mark.parametrize(("text", "content"), [("", None), ("let me see", "let me see")])
def test_tool_calls_in_the_openai_format(text: str, content: str | None) -> None:
    # Empty text beside tool calls is null: some providers refuse an empty string.
    assert to_openai(AssistantMessage(text, (CALL,))) == {
        "role": "assistant",
        "content": content,
        "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "rows", "arguments": '{"limit": 3}'}}],
    }


@given(st.lists(st.builds(Usage, st.integers(0), st.integers(0))))
def test_usage_adds_up(parts: list[Usage]) -> None:
    total = sum(parts, Usage())
    assert total.input_tokens == sum(part.input_tokens for part in parts)
    assert total.output_tokens == sum(part.output_tokens for part in parts)


def test_messages_are_values() -> None:
    assert AssistantMessage("a", (CALL,)) == AssistantMessage("a", (ToolCall("c1", "rows", '{"limit": 3}'),))
    assert len({UserMessage("a"), UserMessage("a")}) == 1


@pytest.mark.parametrize("kind", [partial(AssistantMessage, "a", (CALL,)), partial(Finish, "stop", None, None)])
def test_thoughts_are_compared_and_not_shown(kind: Callable[[Any], AssistantMessage | Finish]) -> None:
    one, same, other = (kind({"thinking_blocks": [{"thinking": text}]}) for text in ("hm", "hm", "oh"))
    assert one == same != other
    assert len({one, same, other}) == 2
    assert "hm" not in repr(one)


def test_a_schema_takes_no_arguments_by_default() -> None:
    assert ToolSchema("now", "The time.").parameters == {}
