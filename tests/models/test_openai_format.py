"""Messages in OpenAI's chat format: as objects, encoded, and decoded again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given

from support.messages import messages
from whisper_nb.core.messages import (
    AssistantMessage,
    Image,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
    without_reasoning,
)
from whisper_nb.models.openai_format import decode, encode, to_openai

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


@given(messages(repairable=False))
def test_decoding_restores_the_encoded_messages(message: Message) -> None:
    assert decode(encode(message)) == message
    assert json.loads(encode(message)) == to_openai(message)


@given(messages())
def test_every_message_can_be_sent_again(message: Message) -> None:
    piece = encode(without_reasoning(message))
    assert encode(decode(piece)) == piece


def test_text_is_encoded_without_escapes() -> None:
    assert encode(UserMessage("größer\n")) == '{"content":"größer\\n","role":"user"}'.encode()


@pytest.mark.parametrize(
    ("text", "encoded"), [("\ud83e\udd2f", "🤯"), ("cut \ud83e", "cut �"), ("\udd2f", "�"), ('"\ud83e"', '"�"')]
)
def test_lone_surrogates_are_repaired(text: str, encoded: str) -> None:
    assert decode(encode(UserMessage(text))) == UserMessage(encoded)


@pytest.mark.parametrize("arguments", ["", "not JSON", "[1]", '{"cut', "[" * 100_000])
def test_arguments_that_are_not_a_json_object_are_sent_as_an_empty_one(arguments: str) -> None:
    sent: Any = json.loads(encode(AssistantMessage("", (ToolCall("c1", "rows", arguments),))))
    assert sent["tool_calls"][0]["function"]["arguments"] == "{}"


def test_images_are_decoded_with_their_type_and_data() -> None:
    message = UserMessage("⟨image 1⟩?", (Image("image/png", "AAAA"), Image("image/webp", "BBBB")))
    assert decode(encode(message)) == message


@pytest.mark.parametrize("role", ["developer", ""])
def test_an_unknown_role_is_an_error(role: str) -> None:
    with pytest.raises(ValueError, match=r"role .* Expected system, user, assistant or tool"):
        decode(json.dumps({"role": role, "content": "x"}).encode())
