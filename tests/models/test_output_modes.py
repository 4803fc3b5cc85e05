"""How the form of an answer is asked for, by the config, the price list and the provider."""

from __future__ import annotations

from typing import Any

import pytest

from whisper_nb.config.aiconfig import AIConfig
from whisper_nb.models.offline import ScriptedModel
from whisper_nb.models.output_modes import choose, output_mode
from whisper_nb.models.prices import entry

FUNCTIONS: dict[str, Any] = {"supports_function_calling": True, "supports_tool_choice": True}
SCHEMA: dict[str, Any] = {"supports_response_schema": True, **FUNCTIONS}
NEITHER: dict[str, Any] = {"max_input_tokens": 8192}


@pytest.mark.parametrize(
    ("model", "listed", "mode"),
    [
        ("openai/gpt-4o", SCHEMA, "native"),
        ("openai/gpt-3.5-turbo", FUNCTIONS, "tool"),
        ("openai/davinci", NEITHER, "prompt"),
        ("openai/gpt-9", {}, "native"),
        ("openrouter/openai/gpt-4o-mini", {}, "native"),
        ("openrouter/qwen/qwen9", {}, "tool"),
        ("azure/my-deployment", {}, "tool"),
        ("anthropic/claude-9", {}, "tool"),
        ("anthropic/claude-old", SCHEMA, "tool"),
        ("anthropic/claude-new", {**SCHEMA, "supports_native_structured_output": True}, "native"),
        ("vertex_ai/claude-old", SCHEMA, "tool"),
        ("vertex_ai/gemini-flash", SCHEMA, "native"),
        ("huggingface/someone/model", {}, "prompt"),
        ("bedrock/writer", {"supports_function_calling": True}, "prompt"),
        ("cohere/command", SCHEMA, "tool"),
        ("gmi/some/model", SCHEMA, "prompt"),
        ("perplexity/sonar", NEITHER, "native"),
        ("deepseek/deepseek-chat", SCHEMA, "tool"),
        ("deepseek/deepseek-reasoner", {"supports_response_schema": True}, "prompt"),
        ("ollama/llama3:8b", {}, "native"),
        ("ollama/codegeex4", {"supports_function_calling": False}, "native"),
        ("lm_studio/x", {}, "native"),
        ("llamafile/x", {}, "native"),
        ("vllm/x", {}, "native"),
        ("hosted_vllm/x", {}, "native"),
        ("offline/echo", {}, "native"),
        ("offline/script:rules.yaml", {}, "native"),
        ("offline/mine", {}, "prompt"),
    ],
)
def test_a_model_is_asked_in_the_best_way_that_it_is_known_for(model: str, listed: dict[str, Any], mode: str) -> None:
    config = AIConfig(model=model)
    assert output_mode(config, listed) == mode
    assert choose(config, listed).source


@pytest.mark.parametrize("word", ["native", "tool", "prompt"])
def test_the_config_decides_first(word: str) -> None:
    config = AIConfig(model="openai/gpt-4o", output_mode=word)
    assert choose(config, SCHEMA, ScriptedModel([])) == (word, "")


def test_a_server_behind_openai_constrains_replies_whatever_is_listed() -> None:
    own = AIConfig(model="openai/gpt-3.5-turbo", api_base="http://localhost:8080/v1")
    assert output_mode(own, FUNCTIONS) == "native"
    assert output_mode(AIConfig(model="openai/gpt-3.5-turbo"), FUNCTIONS, address="http://box:1/v1") == "native"


def test_the_address_of_a_known_provider_is_no_server_of_ones_own() -> None:
    config = AIConfig(model="openai/gpt-3.5-turbo", api_base="https://api.openai.com/v1")
    assert output_mode(config, FUNCTIONS) == "tool"


@pytest.mark.parametrize(
    ("model", "listed", "api_base", "mode"),
    [
        ("openai/gpt-4o", SCHEMA, None, "native"),
        ("anthropic/claude-haiku-4-5", SCHEMA, None, "tool"),
        ("groq/openai/gpt-oss-20b", SCHEMA, None, "tool"),
        ("gemini/gemini-flash-latest", SCHEMA, None, "tool"),
        ("openai/tiny", {}, "http://localhost:8137/v1", "tool"),
        ("hosted_vllm/tiny", {}, None, "tool"),
        ("openai/davinci", NEITHER, None, "prompt"),
        ("bedrock/writer", {"supports_function_calling": True}, None, "tool"),
        ("offline/echo", {}, None, "native"),
    ],
)
def test_beside_tools_few_providers_constrain_a_reply(
    model: str, listed: dict[str, Any], api_base: str | None, mode: str
) -> None:
    assert output_mode(AIConfig(model=model, api_base=api_base), listed, tools=True) == mode


def test_a_model_of_ones_own_states_its_mode() -> None:
    class Mine(ScriptedModel):
        output_mode = "tool"

    assert choose(AIConfig(model="offline/mine"), {}, Mine([])) == ("tool", "the model itself")


def test_a_model_that_states_another_word_is_refused() -> None:
    class Mine(ScriptedModel):
        output_mode = "json"

    with pytest.raises(ValueError, match="'json' is not native, tool or prompt"):
        output_mode(AIConfig(model="offline/mine"), {}, Mine([]))


@pytest.mark.parametrize(
    ("model", "mode"),
    [("openai/gpt-4o-mini", "native"), ("anthropic/claude-haiku-4-5", "native"), ("cerebras/llama3.1-8b", "tool")],
)
def test_the_list_that_comes_with_litellm_has_the_facts(model: str, mode: str) -> None:
    assert output_mode(AIConfig(model=model), entry(model)) == mode
