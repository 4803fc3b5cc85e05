"""Tokens of messages: the count of LiteLLM's tokenizers, and an estimate for images."""

from __future__ import annotations

import json
import string
from collections.abc import Sequence
from typing import Any

from ..core.messages import Image, Message, ToolSchema, UserMessage, without_images
from .litellm_loader import import_litellm
from .openai_format import to_openai, tools_of

#: The most tokens that providers usually charge for one image. Only they know the exact number.
IMAGE_TOKENS = 1_600
#: Digits and punctuation, which make more tokens than letters.
_SIGNS = (string.digits + string.punctuation).encode()
#: The most tokens that `estimate` takes a byte for.
MOST_PER_BYTE = 11 / 20


def estimate(piece: bytes, images: Sequence[Image] = ()) -> int:
    """Return about as many tokens as an encoded message has, of OpenAI's tokenizers, by the kinds of its characters.

    Prose, code, JSON and tables of numbers are within a quarter of the count; only digests and the like have more.

    Args:
        piece: the message, as JSON.
        images: the images in it, each of which takes IMAGE_TOKENS.
    """
    for image in images:
        piece = piece.replace(image.data.encode(), b"", 1)
    length = len(piece)
    signs = length - len(piece.translate(None, _SIGNS))
    wide = 0 if piece.isascii() else length - len(piece.decode(errors="replace"))
    # Fitted to the counts of prose in five languages, code, CSV, JSON and numbers.
    return ((length - signs - wide) * 4 + signs * 11 + wide * 7) // 20 + IMAGE_TOKENS * len(images)


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
