"""Messages in OpenAI's chat format, as objects and as bytes: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import json
from typing import Any, assert_never

from ..core.messages import (
    AssistantMessage,
    Image,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    UserMessage,
)
from ..core.text import valid_unicode

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def to_openai(message: Message) -> dict[str, Any]:
    """Return the message in the OpenAI chat format, which LiteLLM translates for every other provider."""
    match message:
        case SystemMessage(text):
            return {"role": "system", "content": text}
        case UserMessage(text, ()):
            return {"role": "user", "content": text}
        case UserMessage(text, images):
            parts: list[dict[str, Any]] = [{"type": "text", "text": text}] if text else []
            for image in images:
                url = f"data:{image.media_type};base64,{image.data}"
                parts.append({"type": "image_url", "image_url": {"url": url}})
            return {"role": "user", "content": parts}
        case AssistantMessage(text, ()):
            return {"role": "assistant", "content": text}
        case AssistantMessage(text, calls, reasoning):
            return {
                **(reasoning or {}),
                "role": "assistant",
                "content": text or None,
                "tool_calls": [_call_to_openai(call) for call in calls],
            }
        case ToolMessage(call_id, name, text):
            return {"role": "tool", "tool_call_id": call_id, "name": name, "content": text}
        case _:
            assert_never(message)


def encode(message: Message) -> bytes:
    """Return the JSON of the message in OpenAI's chat format, in UTF-8. Lone surrogates are repaired."""
    text = _to_json(to_openai(message))
    try:
        return text.encode()
    except UnicodeEncodeError:
        return valid_unicode(text).encode()


def decode(piece: bytes) -> Message:
    """Return the message that `encode` made the piece from, as far as the piece holds it.

    OpenAI's format has no place for `is_error` and reasoning; the JSON of arguments and lone surrogates were repaired.
    """
    read: dict[str, Any] = json.loads(piece)
    content = read["content"]
    match read["role"]:
        case "system":
            return SystemMessage(content)
        case "user":
            return UserMessage(content) if isinstance(content, str) else _user_with_images(content)
        case "assistant":
            calls = [
                ToolCall(call["id"], call["function"]["name"], call["function"]["arguments"])
                for call in read.get("tool_calls", ())
            ]
            return AssistantMessage(content or "", tuple(calls))
        case "tool":
            return ToolMessage(read["tool_call_id"], read["name"], content)
        case role:
            raise ValueError(f"cannot decode a message: role {role!r}. Expected system, user, assistant or tool.")


def _user_with_images(parts: list[dict[str, Any]]) -> UserMessage:
    texts = [part["text"] for part in parts if part["type"] == "text"]
    images: list[Image] = []
    for part in parts:
        if part["type"] == "image_url":
            media_type, _, data = part["image_url"]["url"].removeprefix("data:").partition(";base64,")
            images.append(Image(media_type, data))
    return UserMessage("".join(texts), tuple(images))


def _call_to_openai(call: ToolCall) -> dict[str, Any]:
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.name, "arguments": _json_object(call.arguments)},
    }


def _json_object(arguments: str) -> str:
    """Return the arguments as every provider accepts them: a JSON object that UTF-8 can encode.

    A provider refuses a history with any other arguments, so that each later call would fail.
    """
    try:
        read = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return "{}"
    if not isinstance(read, dict):
        return "{}"
    if "\\u" not in arguments:
        return arguments or "{}"
    return valid_unicode(json.dumps(read, ensure_ascii=False))
