"""What servers say in errors, in all the shapes that they and proxies give it, is shown as words."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.provider import DONE, Provider, Reply, data, finish, says, text
from whisper_nb import Agent, AIConfig, LengthExceeded, ModelError, RunFailed, Runtime
from whisper_nb.config.keys import Key, Keys
from whisper_nb.core.events import CallRetried
from whisper_nb.models.failures import Failures, is_too_long
from whisper_nb.models.words import said, words

NO_ROOM = "request (4039 tokens) exceeds the available context size (2048 tokens), try increasing it"
INNER = json.dumps({"error": {"message": "it can't be", "type": "server_error"}})
RAW = {"raw": "glm is rate-limited upstream", "provider_name": "BaseTen"}

#: A body, and its words.
SHAPES: list[tuple[Any, str]] = [
    ({"error": {"message": "no", "type": "x", "code": 5}}, "no"),
    ({"error": "no"}, "no"),
    ({"message": "no"}, "no"),
    ({"error": {"error": {"message": "no"}}}, "no"),
    ({"error": {"message": {"detail": "no"}, "code": None}}, "no"),
    ({"error": {"message": INNER}}, "it can't be"),
    ({"error": "Bad Request", "message": "model is required", "statusCode": 400}, "model is required"),
    ({"error": "invalid_grant", "error_description": "it expired"}, "it expired"),
    # FastAPI's
    ({"detail": "Not Found"}, "Not Found"),
    ({"detail": {"error": "busy"}}, "busy"),
    ({"detail": [{"loc": ["body", "messages", 0], "msg": "Field required"}, {"loc": ["body"], "msg": "too big"}]},
        "body.messages.0: Field required; body: too big"),
    # OpenRouter's
    ({"error": {"message": "Provider returned error", "code": 429, "metadata": RAW}},
        "Provider returned error: glm is rate-limited upstream (BaseTen)"),
    ({"error": {"message": "Provider returned error", "metadata": {"raw": INNER}}},
        "Provider returned error: it can't be"),
    ({"error": {"message": "no", "metadata": {"raw": None, "reasons": ["x"]}}}, "no"),
    # Groq's, Google's, Cloudflare's, Apigee's, AWS's
    ({"x_groq": {"id": "r", "error": "over capacity"}}, "over capacity"),
    ([{"error": {"code": 503, "message": "The model is overloaded", "status": "UNAVAILABLE"}}],
        "The model is overloaded"),
    ({"success": False, "errors": [{"code": 7003, "message": "No route"}], "result": None}, "No route"),
    ({"fault": {"faultstring": "Quota violation", "detail": {"errorcode": "policies.x"}}}, "Quota violation"),
    ({"Message": "User is not authorized"}, "User is not authorized"),
    # Baidu's, MiniMax's, Volcengine's
    ({"error_code": 110, "error_msg": "the token is invalid"}, "the token is invalid"),
    ({"base_resp": {"status_code": 1004, "status_msg": "login fail"}}, "login fail"),
    ({"ResponseMetadata": {"Error": {"Code": "X", "Message": "no such service"}}}, "no such service"),
    # bytes and dicts as Python shows them, which LiteLLM's proxy passes on
    ({"error": {"message": f"litellm.InternalServerError: {INNER.encode()!r}. Received Model Group=x"}},
        "litellm.InternalServerError: it can't be. Received Model Group=x"),
    (f"Error code: 400 - {json.loads(INNER)!r}", "Error code: 400 - it can't be"),
    (INNER.encode(), "it can't be"),
    # no words, or nothing but words
    ("", ""), (b"", ""), ({}, ""), (None, ""), ("plain {text}", "plain {text}"), ("b'", "b'"), ("{", "{"),
    ({"code": 5}, '{"code": 5}'),
    ('{"query": 1} is not allowed', '{"query": 1} is not allowed'),
]  # fmt: skip


@pytest.mark.parametrize(("body", "expected"), SHAPES)
def test_the_words_of_an_error_are_found_in_any_shape(body: Any, expected: str) -> None:
    assert said(body).text == expected
    if isinstance(body, dict | list):
        assert said(json.dumps(body)).text == expected


@given(st.recursive(st.none() | st.text() | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(
    st.sampled_from(["error", "message", "detail", "loc", "msg", "metadata", "raw", "x"]), inner)))  # fmt: skip
def test_no_body_is_too_odd(body: Any) -> None:
    assert isinstance(said(body).text, str)
    assert isinstance(said(json.dumps(body)).text, str)


@pytest.mark.parametrize(
    "text", ["{" * 50_000, "b'" * 50_000, "b'\\" * 50_000, "[" * 50_000 + "]" * 50_000, "context size " * 5_000]
)
def test_a_long_body_is_read_to_a_limit(text: str) -> None:
    assert len(words(text)) <= 20_000


@pytest.mark.parametrize(
    ("body", "context", "prompt"),
    [
        ({"error": {"message": NO_ROOM, "type": "exceed_context_size_error", "n_prompt_tokens": 4039, "n_ctx": 2048}},
            2048, 4039),
        (NO_ROOM, 2048, 4039),
        ("This model's maximum context length is 8192 tokens. However, you requested 9000 tokens (8000 in the prompt)",
            8192, 8000),
        ("This model's maximum context length is 4,096 tokens. However, your messages resulted in 5,000 tokens.",
            4096, 5000),
        ("This model's maximum context length is 8192 tokens and your request has 9000 input tokens", 8192, 9000),
        ("prompt is too long: 210000 tokens > 200000 maximum", 200_000, 210_000),
        ("input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000", 200_000, 199_000),
        ("This model's maximum prompt length is 131072 but the request contains 200000 tokens.", 131_072, 200_000),
        ("The input token count (1500000) exceeds the maximum number of tokens allowed (1048576).", 2**20, 1_500_000),
        ("Please reduce the length of the messages. Current length is 9000 while limit is 8192", 8192, 9000),
        ("Requested tokens (2500) exceed context window of 2048", 2048, 2500),
        ("The decoder prompt (length 5000) is longer than the maximum model length of 4096.", 4096, 5000),
        ("The input (5000 tokens) is longer than the model's context length (4096 tokens).", 4096, 5000),
        ("`inputs` tokens + `max_new_tokens` must be <= 4096. Given: 5000 `inputs` tokens", 4096, 5000),
        ("Prompt contains 40000 tokens, too large for model with 32768 maximum context length", 32_768, 40_000),
        ("Invalid request: Your request exceeded model token limit: 8192 (requested: 9000)", 8192, 9000),
        ("prompt token count of 70000 exceeds the limit of 64000", 64_000, 70_000),
        ("Request body too large for gpt-4o model. Max size: 8000 tokens.", 8000, None),
        ("Input validation error: `inputs` must have less than 1024 tokens. Given: 2000", 1024, 2000),
        ("Prompt length 5000 is greater than max_seq_len 4096", 4096, 5000),
        ("the number of input tokens 5000 cannot exceed the total tokens limit 4096 for this model", 4096, 5000),
        ("too many tokens: total number of tokens in the prompt cannot exceed 4081 - received 5000.", 4081, 5000),
        ("<400> InternalError.Algo.InvalidParameter: Range of input length should be [1, 30720]", 30_720, None),
        ("maximum context length is 32768 tokens. You requested about 40000 tokens (39000 of text input)",
            32_768, 39_000),
        ("The total number of tokens (9000) exceeds the model's maximum context of 8192", 8192, 9000),
        ("Trying to keep the first 5000 tokens. However, the model is loaded with context length of only 4096 tokens",
            4096, 5000),
        ("invalid params, context window exceeds limit (2013)", None, None),  # a code
        ("max_tokens must be at least 1, got -500.", None, None),
        ("the prompt is too long", None, None),
        ("context size 99999999999999999999 tokens", None, None),
    ],
)  # fmt: skip
def test_the_sizes_of_context_and_prompt_are_found(body: Any, context: int | None, prompt: int | None) -> None:
    answer = said(body)
    assert is_too_long(answer)
    assert (answer.context_tokens, answer.prompt_tokens) == (context, prompt)


@pytest.mark.parametrize(
    "text",
    [
        "Unknown parameter: 'context_length'",
        "max_tokens is too large: 99999. This model supports at most 4096 completion tokens.",
        "Rate limit reached on tokens per min (TPM): Limit 10000, Used 9000, Requested 3000.",
        "messages: too many images",
    ],
)
def test_other_limits_are_not_those_of_the_context(text: str) -> None:
    assert not is_too_long(said({"error": {"message": text}}))


LINES = [("wire", "openai/m"), ("litellm", "openai/m"), ("litellm", "hosted_vllm/m")]
GOOD_END = [finish("stop"), DONE]


async def failed(answer: Any, line: tuple[str, str], monkeypatch: pytest.MonkeyPatch, retries: int = 0) -> ModelError:
    """The error of a run whose calls all get this answer."""
    for name in ("OPENAI", "HOSTED_VLLM"):
        monkeypatch.setenv(f"{name}_API_KEY", "sk-of-a-test-0123456789")
    async with Provider(lambda _: answer) as provider, Runtime() as rt:
        config = AIConfig(model=line[1], api_base=provider.url, transport=line[0], retries=retries)
        run = rt.create(Agent(name="bob", config=config)).submit("Hi")
        with pytest.raises(RunFailed):
            await run
        retried = sum(isinstance(record.event, CallRetried) for record in run.events)
        assert len(provider.requests) == 1 + retried
        assert isinstance(run.error, ModelError)
        assert retried == retries * run.error.retryable
        assert f"Server: {provider.url}" in str(run.error)
        return run.error


@pytest.mark.parametrize("line", LINES, ids=str)
@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (429, {"error": {"message": "Provider returned error", "metadata": RAW}}, "rate-limited upstream (BaseTen)"),
        (422, {"detail": [{"loc": ["body", "model"], "msg": "Field required"}]}, "Reason: body.model: Field required"),
        (400, [{"error": {"message": "API key not valid"}}], "Reason: API key not valid"),
        (400, INNER.encode(), "Reason: it can't be"),
        (500, {"error": {"message": f"proxied: {INNER.encode()!r}"}}, "Reason: proxied: it can't be"),
    ],
)
async def test_a_refusal_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, line: tuple[str, str], status: int, body: Any, expected: str
) -> None:
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    error = await failed(Reply([sent], status, {"Content-Type": "application/json"}), line, monkeypatch)
    assert error.status == status
    assert expected in str(error)
    assert "{" not in str(error)


@pytest.mark.parametrize("line", LINES, ids=str)
@pytest.mark.parametrize(
    "piece",
    [
        data({"error": {"error": {"message": "it is out of order"}}}),
        data({"error": {"message": {"detail": "it is out of order"}, "code": None}}),
        data({"id": "c", "choices": [], "x_groq": {"id": "r", "error": "it is out of order"}}),
        data({"detail": "it is out of order"}),
        data([{"error": {"code": 503, "message": "it is out of order"}}]),
        b'error: {"error": {"message": "it is out of order"}}\n\n',
    ],
)
async def test_an_error_within_a_stream_is_told_in_words(
    monkeypatch: pytest.MonkeyPatch, line: tuple[str, str], piece: bytes
) -> None:
    error = await failed([*text("Hel"), piece, *GOOD_END], line, monkeypatch)
    assert "Reason: it is out of order" in str(error)
    assert error.retryable


@pytest.mark.parametrize("line", LINES, ids=str)
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"error": {"code": 400, "message": NO_ROOM, "type": "exceed_context_size_error", "n_ctx": 2048}}),
        (500, {"error": {"message": f"litellm.ContextWindowExceededError: {NO_ROOM}", "type": "None"}}),
        (400, {"error": {"message": "too much", "code": "context_length_exceeded"}}),
        (413, {"detail": "Input is too long for requested model."}),
        (422, {"error": "Input validation error: maximum input tokens is 1024"}),
        (200, {"error": {"message": NO_ROOM, "code": "context_length_exceeded"}}),
    ],
)
async def test_a_prompt_that_is_too_long_is_not_retried(
    monkeypatch: pytest.MonkeyPatch, line: tuple[str, str], status: int, body: Any
) -> None:
    sent = data(body) if status == 200 else json.dumps(body).encode()
    kind = "text/event-stream" if status == 200 else "application/json"
    error = await failed(Reply([sent], status, {"Content-Type": kind}), line, monkeypatch, retries=2)
    assert isinstance(error, LengthExceeded)
    assert "the prompt is too long" in str(error)


@pytest.mark.parametrize("line", LINES, ids=str)
@pytest.mark.parametrize(
    ("status", "message", "retryable"),
    [
        (500, "image input is not supported - hint: if this is unexpected, you may need to provide the mmproj", False),
        (500, "tools param requires --jinja flag", False),
        (501, "This endpoint is not supported.", False),
        (500, "out of memory", True),
        (503, "Loading model, not supported yet", True),
    ],
)
async def test_what_a_server_cannot_do_is_not_retried(
    monkeypatch: pytest.MonkeyPatch, line: tuple[str, str], status: int, message: str, retryable: bool
) -> None:
    monkeypatch.setattr("whisper_nb.engine.calls.RETRY_S", 0.001)
    body = json.dumps({"error": {"code": status, "message": message, "type": "server_error"}}).encode()
    answer = Reply([body], status, {"Content-Type": "application/json"})
    error = await failed(answer, line, monkeypatch, retries=1)
    assert error.retryable is retryable


async def test_an_address_of_the_environment_is_named_in_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server of your own needs no key, wherever its address is from."""
    async with Provider() as provider:
        environ = {"OPENAI_BASE_URL": provider.url}
        async with Runtime(environ=environ) as rt:
            bob = rt.create(Agent(name="bob", config=AIConfig(model="openai/m", retries=0)))
            provider.answers += [says("fine"), Reply([b"no"], 404), Reply([b"no"], 401)]
            assert await bob.submit("Hi") == "fine"
            assert provider.requests[0].key == ""
            expected = rf"model's name and OPENAI_BASE_URL\..* {provider.url} \(from OPENAI_BASE_URL\)"
            with pytest.raises(RunFailed, match=expected):
                await bob.submit("Hi")
            expected = rf"refused access \(401\).* Server: {provider.url} \(from OPENAI_BASE_URL\)"
            with pytest.raises(RunFailed, match=expected):
                await bob.submit("Hi")
            environ["OPENAI_BASE_URL"] = "http://127.0.0.1:9/v1"
            expected = r"nothing answers at http://127.0.0.1:9/v1 \(from OPENAI_BASE_URL\).*Check OPENAI_BASE_URL, and"
            with pytest.raises(RunFailed, match=expected):
                await bob.submit("Hi")


@pytest.mark.parametrize(
    ("model", "step"),
    [
        ("ollama/x", "Start its server, or set api_base to its address, then submit again"),
        ("groq/x", "Check the network, then submit again"),
    ],
)
def test_a_server_of_this_machine_that_does_not_run_is_to_be_started(model: str, step: str) -> None:
    failures = Failures(AIConfig(model=model), Keys({}), Key("", ""))
    assert step in str(failures.unreached("refused", sent=False))


@pytest.mark.parametrize("line", LINES[:2], ids=str)
async def test_a_password_in_an_address_of_the_environment_is_not_shown(line: tuple[str, str]) -> None:
    for address in ("http://me:hunter22@127.0.0.1:9/v1", "http://127.0.0.1:9/v1?token=hunter22"):
        async with Runtime(environ={"OPENAI_BASE_URL": address}) as rt:
            config = AIConfig(model=line[1], transport=line[0], retries=0)
            with pytest.raises(RunFailed, match=r"127\.0\.0\.1:9/v1 \(from OPENAI_BASE_URL") as caught:
                await rt.create(Agent(name="bob", config=config)).submit("Hi")
            assert "hunter22" not in str(caught.value)


async def test_an_address_of_the_environment_that_is_none_is_an_error_of_the_call() -> None:
    async with Runtime(environ={"OPENAI_BASE_URL": "http://[::1/v1"}) as rt:
        run = rt.create(Agent(name="bob", config=AIConfig(model="openai/m", retries=0))).submit("Hi")
        with pytest.raises(RunFailed, match="is not an address"):
            await run
