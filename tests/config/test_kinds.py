from __future__ import annotations

import math
import pickle
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from whisper_nb.config.kinds import (
    Address,
    Extra,
    KeyReference,
    Kind,
    ModelName,
    Number,
    Params,
    Text,
    Words,
    problem_with,
)

JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé -#\n", max_size=4), inner, max_size=3),
    max_leaves=6,
)
#: Values of all Python types, which no field expects.
THINGS: st.SearchStrategy[Any] = JSON | st.sampled_from(
    [math.nan, math.inf, -math.inf, 1j, b"x", (), {1}, object(), int, np.nan,
     np.int64(3), np.bool_(True), np.zeros(2), "\ud800", "\0", ("a", 1), {1: 2}, [[]] * 3]
)  # fmt: skip
KINDS: list[Kind] = [
    Number(), Number(0, 2), Number(1, whole=True), Number(0, above=True, unit="seconds"), Number(whole=True), Text(),
    Text(lines=True), ModelName(), Address(), Words(), Extra(),
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS, ids=repr)
@given(value=THINGS)
def test_any_value_is_accepted_or_refused_with_a_message(kind: Kind, value: Any) -> None:
    problem = problem_with(kind, "field", value)
    assert not problem or problem.startswith("field ")
    if not problem:
        taken = kind.read(value)
        hash(taken)
        assert kind.read(taken) == taken


@pytest.mark.parametrize("depth", [100, 100_000])
def test_a_value_that_contains_itself_is_refused_with_a_message(depth: int) -> None:
    value: Any = []
    for _ in range(depth):
        value = [value]
    assert "is not a number from 0 to 2" in problem_with(Number(0, 2), "temperature", value)


@pytest.mark.parametrize(
    ("kind", "allowed"),
    [
        (Number(0, 2), "a number from 0 to 2"),
        (Number(1, whole=True), "a whole number of at least 1"),
        (Number(0, above=True, unit="seconds"), "a number of seconds above 0"),
        (Number(whole=True), "a whole number"),
        (Number(0, 10, whole=True), "a whole number from 0 to 10"),
    ],
)
def test_a_refused_number_names_the_allowed_range(kind: Number, allowed: str) -> None:
    assert kind.allowed == allowed
    assert problem_with(kind, "field", "5") == f"field '5' is not {allowed}"


@pytest.mark.parametrize(
    ("value", "same", "type_"),
    [
        (1, 1, int),
        (np.int8(1), 1, int),
        (np.float64(0.5), 0.5, float),
        (np.float32(0.5), 0.5, float),
        (Fraction(1, 2), 0.5, float),
        (-0.0, 0, float),
    ],
)
def test_a_number_of_another_library_becomes_a_python_number(value: Any, same: float, type_: type) -> None:
    number = Number(0, 2).read(value)
    assert number == same
    assert type(number) is type_


@pytest.mark.parametrize("value", [True, False, np.bool_(True), math.nan, np.nan, math.inf, -math.inf, "1", None, 1j])
def test_a_value_that_is_not_a_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - its text is problem_with's to make
        Number().read(value)


@pytest.mark.parametrize("value", [10**400, -(10**400), Fraction(10**400)], ids=["large", "low", "fraction"])
def test_a_number_that_overflows_is_out_of_range(value: Any) -> None:
    assert problem_with(Number(0, 2), "temperature", value).endswith("is not a number from 0 to 2")


@pytest.mark.parametrize(
    ("said", "model"),
    [
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("anthropic:claude-x", "anthropic/claude-x"),
        ("ollama/llama3:8b", "ollama/llama3:8b"),
        ("openrouter/x/y:thinking", "openrouter/x/y:thinking"),
        ("offline/script:my rules.yaml", "offline/script:my rules.yaml"),
        ("made-up/model", "made-up/model"),
    ],
)
def test_a_valid_model_is_accepted(said: str, model: str) -> None:
    assert ModelName().read(said) == model


@pytest.mark.parametrize(
    "said", ["gpt-4o", "/gpt", "openai/", "/", "", " /x", "open ai/x", "openai/ x", "mine:x", "anthropic:", 5, None]
)
def test_an_invalid_model_is_refused(said: Any) -> None:
    assert "is not provider/model, such as openai/gpt-4o-mini" in problem_with(ModelName(), "model", said)


@pytest.mark.parametrize(
    "said", ["http://localhost:8000/v1", "https://api.example.com", "http://[::1]:8000", "http://h#x"]
)
def test_a_valid_address_is_accepted(said: str) -> None:
    assert Address().read(said) == said


@pytest.mark.parametrize(
    "said",
    ["localhost:8000", "ftp://host", "file:///etc/passwd", "http://", "http:///v1", "http://a b", "http://a\nb",
    "http://[", "", 5]
)  # fmt: skip
def test_an_invalid_address_is_refused(said: Any) -> None:
    assert "is not an address such as http://localhost:8000/v1" in problem_with(Address(), "api_base", said)


@pytest.mark.parametrize("scheme", ["https", "htp"])
@pytest.mark.parametrize("rest", ["me:hunter2@host/v1", "hunter2@host", "host/v1?key=hunter2", "me:hunter2@ho st"])
def test_an_address_with_a_password_is_refused_and_not_shown(scheme: str, rest: str) -> None:
    problem = problem_with(Address(), "api_base", f"{scheme}://{rest}")
    assert problem
    assert "hunter2" not in problem


def test_a_text_may_be_limited_to_one_line() -> None:
    assert Text(lines=True).read("a\nb") == "a\nb"
    assert problem_with(Text(), "title", "a\nb") == r"title 'a\nb' has more than one line"
    assert problem_with(Text(), "title", 5) == "title 5 is not text"


@pytest.mark.parametrize(("said", "words"), [("a", ("a",)), (["a", "b"], ("a", "b")), (("\n",), ("\n",))])
def test_valid_words_are_accepted(said: Any, words: tuple[str, ...]) -> None:
    assert Words().read(said) == words


@pytest.mark.parametrize("said", ["", [], (), [""], ["a", 1], b"ab", {"a": 1}, {"a"}, 5, None])
def test_invalid_words_are_refused(said: Any) -> None:
    assert "is not a list of non-empty texts" in problem_with(Words(), "stop", said)


def test_a_key_that_is_not_text_is_not_shown() -> None:
    problem = problem_with(KeyReference(), "api_key", ["sk-0123456789abcdef"])
    assert problem == "api_key must be text, not list; write os.environ/NAME"


@given(st.dictionaries(st.text("abcé -#\n", max_size=4), JSON, max_size=4))
@example({"a": [{"b": None}, True, 1.5, "x"]})
def test_params_equal_the_given_dict_and_are_immutable_and_hashable(values: dict[str, Any]) -> None:
    params = Params(values)
    assert dict(params) == values
    assert len(params) == len(values)
    assert params == Params(dict(reversed(values.items())))
    assert hash(params) == hash(Params(values))
    assert pickle.loads(pickle.dumps(params)) == params


def test_params_cannot_be_changed_from_outside() -> None:
    inner = {"b": [1]}
    params = Params({"a": inner})
    before = hash(params)
    inner["b"].append(2)
    params["a"]["b"].append(3)
    assert params["a"] == {"b": [1]}
    assert hash(params) == before
    with pytest.raises(TypeError):
        params["a"] = 1  # type: ignore[index]


@pytest.mark.parametrize(
    "value", [5, "x", ["a"], {1: 2}, {"a": math.nan}, {"a": {1, 2}}, {"a": object()}, {"a": np.int64(1)}, {"a": b"x"}]
)
def test_extra_accepts_json_values_only(value: Any) -> None:
    assert "is not a mapping of JSON values" in problem_with(Extra(), "extra", value)


def test_extra_that_contains_itself_is_refused() -> None:
    value: dict[str, Any] = {}
    value["a"] = value
    assert "JSON" in problem_with(Extra(), "extra", value)


@pytest.mark.parametrize(
    "name",
    ["apiKey", "X-Api-Key", "key", "secret", "password", "auth_token", "Authorization", "aws_secret_access_key",
     "Ocp-Apim-Subscription-Key", "credentials", "accessToken", "clientSecret", "Cookie"]
)  # fmt: skip
def test_extra_refuses_secrets_at_any_depth(name: str) -> None:
    for value in ({name: "hunter2"}, {"extra_headers": {name: "hunter2"}}, {"a": [{"b": {name: "hunter2"}}]}):
        problem = problem_with(Extra(), "extra", value)
        assert f"extra must not contain {name}, which would be displayed; put a key into api_key" in problem


@pytest.mark.parametrize("name", ["max_completion_tokens", "logit_bias", "keyboard", "monkey", "top_k", "tokens"])
def test_a_parameter_with_a_similar_name_is_not_a_secret(name: str) -> None:
    assert Extra().read({name: 1}) == Params({name: 1})


@pytest.mark.parametrize(
    "name", ["model", "messages", "stream", "tools", "api_base", "base_url", "timeout", "num_retries"]
)
def test_extra_cannot_set_values_that_whisper_nb_sends_itself(name: str) -> None:
    assert f"extra must not contain {name}: set the field of AIConfig instead" in problem_with(
        Extra(), "extra", {name: 1, "x": 2}
    )


@pytest.mark.parametrize(
    "name",
    ["temperature", "top_p", "max_tokens", "frequency_penalty", "presence_penalty", "stop", "seed"],
)
def test_extra_cannot_repeat_a_field(name: str) -> None:
    """It would override a higher layer, and evade the field's range."""
    assert f"extra must not contain {name}" in problem_with(Extra(), "extra", {name: 9})


@pytest.mark.parametrize("name", ["custom_llm_provider", "fallbacks"])
def test_extra_cannot_redirect_litellm_to_another_provider(name: str) -> None:
    """With `fallbacks: [{model: …, api_base: …}]` the key would go to that address."""
    assert f"extra must not contain {name}" in problem_with(Extra(), "extra", {name: "groq"})


@pytest.mark.parametrize("name", ["n", "N", "best_of", "candidateCount", "num_return_sequences", "numResults"])
@pytest.mark.parametrize("places", [[], ["extra_body"], ["extra_body"] * 2, ["generationConfig"], ["parameters"]])
def test_extra_cannot_ask_for_replies_that_nobody_reads(name: str, places: list[str]) -> None:
    value: dict[str, Any] = {name: 2}
    for place in places:
        value = {place: value}
    assert f"extra must not contain {name}: one reply is read, and all are billed" in problem_with(
        Extra(), "extra", value
    )


@pytest.mark.parametrize(
    "name",
    ["mock_response", "ssl_verify", "use_litellm_proxy", "litellm_credential_name", "aws_bedrock_runtime_endpoint",
     "azure_endpoint", "input_cost_per_token", "client", "no-log", "_skip_mcp_handler", "headers", "prompt",
     "functions", "Model", "MESSAGES", "success_callback"]
)  # fmt: skip
def test_extra_cannot_change_how_a_model_is_called(name: str) -> None:
    assert f"extra must not contain {name}:" in problem_with(Extra(), "extra", {name: "x"})


@pytest.mark.parametrize(
    "name",
    ["Host", "host", "HOST", "Content-Length", "content-length", "Transfer-Encoding", "Connection", "Content-Type",
     "Content-Encoding", "Accept-Encoding", "Expect", "Upgrade", "TE", "Trailer", "Keep-Alive", "Proxy-Connection",
     "X-Forwarded-Host", "Content_Length", "Content-MD5", "Range", "X-HTTP-Method-Override"]
)  # fmt: skip
def test_extra_cannot_set_headers_that_follow_from_the_call(name: str) -> None:
    problem = problem_with(Extra(), "extra", {"extra_headers": {name: "1"}})
    assert f"extra must not contain the header {name}: it follows from the call" in problem


@pytest.mark.parametrize("name", ["", "X Team", "X-Team:", "X-Team\r\nHost", "X-Teäm", ":authority", "X\0"])
def test_a_header_must_have_the_name_of_one(name: str) -> None:
    assert "extra contains a header with the name" in problem_with(Extra(), "extra", {"extra_headers": {name: "1"}})


@pytest.mark.parametrize("value", ["a\r\nHost: evil.example", "a\nb", "\0", "\x1b[2J", ["a"], {"a": 1}, None, True])
def test_a_header_has_one_line_of_text(value: Any) -> None:
    problem = problem_with(Extra(), "extra", {"extra_headers": {"X-Team": value}})
    assert "extra contains the header X-Team with a value that is not a line of text" in problem


def test_headers_and_parameters_of_a_provider_are_allowed() -> None:
    value = {"extra_headers": {"X-Team": 1, "HTTP-Referer": "http://me"}, "top_k": 3, "route": "fallback",
             "provider": {"order": ["a"]}, "reasoning_effort": "low", "extra_body": {"min_p": 0.1}}  # fmt: skip
    assert Extra().read(value) == Params(value)


def test_the_repr_of_parameters_has_no_key() -> None:
    assert repr(Params({"user": "sk-0123456789abcdef"})) == '{"user": "[redacted]"}'
