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
    ToolCall,
    ToolSchema,
    Usage,
    UserMessage,
)

CALL = ToolCall("c1", "rows", '{"limit": 3}')


@given(st.lists(st.builds(Usage, st.integers(0), st.integers(0))))
def test_usage_adds_up(parts: list[Usage]) -> None:
    total = sum(parts, Usage())
    assert total.input_tokens == sum(part.input_tokens for part in parts)
    assert total.output_tokens == sum(part.output_tokens for part in parts)


def test_messages_are_compared_by_value() -> None:
    assert AssistantMessage("a", (CALL,)) == AssistantMessage("a", (ToolCall("c1", "rows", '{"limit": 3}'),))
    assert len({UserMessage("a"), UserMessage("a")}) == 1


@pytest.mark.parametrize("kind", [partial(AssistantMessage, "a", (CALL,)), partial(Finish, "stop", None, None)])
def test_reasoning_is_compared_and_not_in_the_repr(kind: Callable[[Any], AssistantMessage | Finish]) -> None:
    one, same, other = (kind({"thinking_blocks": [{"thinking": text}]}) for text in ("hm", "hm", "oh"))
    assert one == same != other
    assert len({one, same, other}) == 2
    assert "hm" not in repr(one)


def test_a_schema_takes_no_arguments_by_default() -> None:
    assert ToolSchema("now", "The time.").parameters == {}
