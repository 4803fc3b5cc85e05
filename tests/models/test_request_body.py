"""The body of a call: the same JSON however the messages are kept, and only the messages differ from call to call."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.messages import messages
from whisper_nb import AIConfig, ConfigError
from whisper_nb.core.messages import Message, OutputSchema, ToolSchema, UserMessage
from whisper_nb.models.http.request_body import RequestBodies
from whisper_nb.models.model import Request
from whisper_nb.models.openai_format import to_openai
from whisper_nb.models.transcript import Transcript

CONFIG = AIConfig(model="openai/gpt-4o-mini", api_base="http://localhost:1/v1")
ROWS = ToolSchema("rows", "The rows.", {"type": "object"})
ASK = (UserMessage("Hi"),)


def body(config: AIConfig, some: Any = ASK, tools: Any = (), bodies: RequestBodies | None = None) -> Any:
    built, _ = (bodies or RequestBodies(config)).build(Request(some, tools, config))
    assert isinstance(built, bytes)
    return json.loads(built)


@given(st.lists(messages(repairable=False), max_size=4))
def test_a_transcript_and_a_list_give_the_same_body(some: list[Message]) -> None:
    assert body(CONFIG, Transcript(some)) == body(CONFIG, some)
    assert body(CONFIG, some)["messages"] == [to_openai(message) for message in some]


def test_a_body_has_its_own_config_and_tools() -> None:
    bodies = RequestBodies(CONFIG)
    for _ in range(2):
        for temperature in range(3):
            config = AIConfig(model=CONFIG.model, api_base=CONFIG.api_base, temperature=temperature / 2)
            assert body(config, bodies=bodies)["temperature"] == temperature / 2
        tools = [ROWS]
        assert [tool["function"]["name"] for tool in body(CONFIG, tools=tools, bodies=bodies)["tools"]] == ["rows"]
        tools.append(ToolSchema("now", "The time."))
        assert len(body(CONFIG, tools=tools, bodies=bodies)["tools"]) == 2
        assert "tools" not in body(CONFIG, bodies=bodies)


def test_values_that_python_takes_for_equal_are_sent_as_they_are() -> None:
    bodies = RequestBodies(CONFIG)
    for value in (1, True, 1.0):
        (tool,) = body(CONFIG, tools=[ToolSchema("f", "", {"x": {"default": value}})], bodies=bodies)["tools"]
        assert repr(tool["function"]["parameters"]["x"]["default"]) == repr(value)


def test_what_comes_before_the_messages_is_encoded_once_for_an_output_type() -> None:
    bodies = RequestBodies(CONFIG)

    def start(output: OutputSchema | None) -> bytes:
        return bodies._rest(Request(ASK, [ROWS], CONFIG, output)).start

    def verdict(mode: Any = "native") -> OutputSchema:
        return OutputSchema("Verdict", {"type": "object", "properties": {}}, mode)

    native = start(verdict())
    assert start(verdict()) is native
    others = [start(None), start(verdict("tool")), start(verdict("prompt")), start(verdict())]
    assert [b"Verdict" in other for other in others] == [False, True, False, True]
    assert others[3] == native


def test_the_number_of_kept_configs_is_limited() -> None:
    bodies = RequestBodies(CONFIG)
    for seed in range(200):
        config = AIConfig(model=CONFIG.model, seed=seed)
        assert body(config, bodies=bodies)["seed"] == seed
    assert len(bodies._kept) <= 64


def test_headers_are_not_shared_between_calls() -> None:
    config = AIConfig(model="openai/x", extra={"extra_headers": {"X-Team": 1}})
    bodies = RequestBodies(config)
    request = Request([UserMessage("Hi")], [], config)
    _, headers = bodies.build(request)
    headers["Authorization"] = "Bearer key"
    assert bodies.build(request)[1] == {
        "Content-Type": "application/json", "Accept-Encoding": "identity", "X-Team": "1"
    }  # fmt: skip


def test_extra_headers_that_are_not_a_mapping_are_an_error() -> None:
    with pytest.raises(ConfigError, match="extra_headers 'X' is not a mapping"):
        body(AIConfig(model="openai/x", extra={"extra_headers": "X"}))


async def test_a_large_body_is_sent_in_blocks_with_a_content_length() -> None:
    request = Request(Transcript([UserMessage("ä" * 2**20)]), [], CONFIG)
    blocks, headers = RequestBodies(CONFIG).build(request)
    assert not isinstance(blocks, bytes)
    pieces = [block async for block in blocks]
    assert max(map(len, pieces)) == 2**18
    assert len(b"".join(pieces)) == int(headers["Content-Length"])
    assert json.loads(b"".join(pieces))["messages"] == [{"role": "user", "content": "ä" * 2**20}]
