"""Messages, tools and parameters in OpenAI's chat format: https://platform.openai.com/docs/api-reference/chat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, assert_never

import msgspec

from ..config.aiconfig import AIConfig
from ..core.errors import ConfigError
from ..core.fingerprint import digest
from ..core.messages import (
    AssistantMessage,
    Image,
    Message,
    SystemMessage,
    ToolCall,
    ToolMessage,
    ToolSchema,
    UserMessage,
)
from ..core.text import mask_keys, valid_unicode

#: Fields of AIConfig that are sent under their own names.
PARAMETERS = ("temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty", "seed")
#: Providers that accept a token budget for reasoning, in LiteLLM's common format.
THINKING = frozenset({"anthropic", "bedrock", "gemini", "vertex_ai", "deepseek"})


#: The beginning of an encoded message with images.
WITH_IMAGES = b'{"content":['

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True).encode


def to_openai(message: Message) -> dict[str, Any]:
    """Return the message in the OpenAI chat format, which LiteLLM translates for every other provider.

    Keys are sorted: the encoded message is canonical JSON, by which requests are told apart.
    """
    match message:
        case SystemMessage(text):
            return {"content": text, "role": "system"}
        case UserMessage(text, ()):
            return {"content": text, "role": "user"}
        case UserMessage(text, images):
            parts: list[dict[str, Any]] = []
            if text:
                parts.append({"text": text, "type": "text"})
            for image in images:
                url = f"data:{image.media_type};base64,{image.data}"
                parts.append({"image_url": {"url": url}, "type": "image_url"})
            return {"content": parts, "role": "user"}
        case AssistantMessage(text, ()):
            return {"content": text, "role": "assistant"}
        case AssistantMessage(text, calls, reasoning):
            return {
                **(reasoning or {}),
                "content": text or None,
                "role": "assistant",
                "tool_calls": [_call_to_openai(call) for call in calls],
            }
        case ToolMessage(call_id, name, text):
            return {"content": text, "name": name, "role": "tool", "tool_call_id": call_id}
        case _:
            assert_never(message)


def encode(message: Message) -> bytes:
    """Return the JSON of the message in OpenAI's chat format, in UTF-8. Lone surrogates are repaired."""
    fields = to_openai(message)
    if not (isinstance(message, AssistantMessage) and message.reasoning):  # which may hold NaN
        with suppress(UnicodeEncodeError):
            return bytes(memoryview(msgspec.json.encode(fields)))  # a copy: the original has room to spare
    return valid_unicode(_to_json(fields)).encode()


def canonical_piece(piece: bytes) -> bytes:
    """Return an encoded message in canonical JSON: as it is, but with a digest in place of the data of each image."""
    if not piece.startswith(WITH_IMAGES):
        return piece
    read: dict[str, Any] = json.loads(piece)
    for part in read["content"]:
        if part["type"] == "image_url":
            kind, _, data = part["image_url"]["url"].partition(";base64,")
            part["image_url"]["url"] = f"{kind};sha256,{digest(data.encode()).hex()}"
    return _to_json(read).encode()


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
            if isinstance(content, str):
                return UserMessage(content)
            return _user_with_images(content)
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
        "function": {"arguments": _json_object(call.arguments), "name": call.name},
        "id": call.id,
        "type": "function",
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


def parameters(config: AIConfig) -> dict[str, Any]:
    """Return the parameters that are set.

    Raises:
        ConfigError: the provider does not support one of them. Nothing was sent.
    """
    given = {name: value for name in PARAMETERS if (value := getattr(config, name)) is not None}
    if config.stop is not None:
        given["stop"] = list(config.stop)
    if config.max_reasoning_tokens is not None:
        given |= _thinking(config, config.max_reasoning_tokens)
    return given


def every_parameter(config: AIConfig) -> dict[str, Any]:
    """Return the parameters that are set, under our names, with those of `extra` as they are sent beside them."""
    given = {
        name: value for name in (*PARAMETERS, "max_reasoning_tokens") if (value := getattr(config, name)) is not None
    }
    if config.stop is not None:
        given["stop"] = list(config.stop)
    extra = dict(config.extra or {})
    body, headers = extra.pop("extra_body", None), extra.pop("extra_headers", None)
    if isinstance(body, Mapping):
        given |= body
    given |= extra
    if isinstance(headers, Mapping) and headers:
        given["headers"] = {str(name).lower(): mask_keys(str(value)) for name, value in headers.items()}
    return given


def tools_of(schemas: Sequence[ToolSchema]) -> list[dict[str, Any]]:
    """Return the tools in OpenAI's format."""
    return [
        {
            "type": "function",
            "function": {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)},
        }
        for tool in schemas
    ]


def _thinking(config: AIConfig, limit: int) -> dict[str, Any]:
    """Return `max_reasoning_tokens` as the provider's own parameter."""
    if config.provider == "openrouter":
        return {"reasoning": {"max_tokens": limit} if limit else {"enabled": False}}
    if config.provider in THINKING:
        return {"thinking": {"type": "enabled", "budget_tokens": limit} if limit else {"type": "disabled"}}
    raise ConfigError(
        f"max_reasoning_tokens: {config.provider} has no limit in tokens; set what it has under extra, such as "
        "extra: {reasoning_effort: low}. Nothing was sent."
    )
