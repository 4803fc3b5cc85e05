"""Tokens of messages: the count of LiteLLM's tokenizers, and an estimate for images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from ..core.messages import Image, Message, ToolSchema, UserMessage, without_images
from .litellm_loader import import_litellm
from .openai_format import to_openai, tools_of

#: The most tokens that providers usually charge for one image. Only they know the exact number.
IMAGE_TOKENS = 1_600


def estimate(piece: bytes, images: Sequence[Image] = ()) -> int:
    """Return about as many tokens as an encoded message has: one for 4 characters, and more beyond ASCII.

    Args:
        piece: the message, as JSON.
        images: the images in it, each of which takes IMAGE_TOKENS.
    """
    length = characters = len(piece) - sum(len(image.data) for image in images)
    if not piece.isascii():
        characters -= len(piece) - len(piece.decode(errors="replace"))
    return characters // 4 + (length - characters) * 2 // 5 + IMAGE_TOKENS * len(images)


def image_tokens(messages: Sequence[Message]) -> int:
    """Return about as many tokens as the images of these messages take, which no tokenizer counts."""
    return IMAGE_TOKENS * sum(len(message.images) for message in messages if isinstance(message, UserMessage))


def count_tokens(model: str, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
    """Return the count of LiteLLM's tokenizer for a model.

    Imports LiteLLM, which takes seconds: call it in a thread.
    """
    encoded = [_countable(to_openai(message)) for message in without_images(messages)]
    counted = import_litellm().token_counter(model=model, messages=encoded, tools=tools_of(tools) or None)
    return int(counted) + image_tokens(messages)


def _countable(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message with its reasoning as text: LiteLLM does not count blocks."""
    known = ("content", "tool_calls")
    return {
        name: value if name in known or isinstance(value, str) else json.dumps(value) for name, value in message.items()
    }
