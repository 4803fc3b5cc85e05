"""Hypothesis strategies for configs and their fields."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from whisper_nb.config.aiconfig import CONFIG_FIELDS, AIConfig

CANARY = "sk-canary-0123456789abcdef"


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abcé: #-\n", max_size=5), inner, max_size=3),
    max_leaves=5,
)


#: Field → valid values.
GOOD: dict[str, st.SearchStrategy[Any]] = {
    "model": st.sampled_from(["openai/a", "anthropic/b", "openrouter/openai/c:thinking", "ollama/llama3:8b", "x/é:"]),
    "api_base": st.sampled_from(["http://localhost:8000/v1", "https://host"]),
    "api_key": st.sampled_from(["os.environ/A_KEY", "${b_key}"]),
    "temperature": st.floats(0, 2) | st.integers(0, 2),
    "top_p": st.floats(0, 1),
    "max_tokens": st.integers(1),
    "max_reasoning_tokens": st.integers(0),
    "context_tokens": st.integers(1),
    "frequency_penalty": st.floats(-2, 2),
    "presence_penalty": st.integers(-2, 2),
    "stop": st.text(min_size=1, max_size=9) | st.lists(st.text(min_size=1, max_size=9), min_size=1, max_size=4),
    "seed": st.integers(),
    "timeout_s": st.floats(0, exclude_min=True, allow_infinity=False),
    "token_timeout_s": st.integers(1),
    "retries": st.integers(0, 10),
    "output_retries": st.integers(0, 10),
    "requests_per_minute": st.integers(1),
    "tokens_per_minute": st.integers(1),
    "allow_empty": st.booleans(),
    "stream": st.booleans(),
    "transport": st.sampled_from(["wire", "litellm"]),
    "output_mode": st.sampled_from(["native", "tool", "prompt"]),
    "price": st.just("free")
    | st.fixed_dictionaries({"input": st.floats(0, 1e6), "output": st.integers(0, 10**6)}),
    "extra": st.dictionaries(st.text("abcé: #-\n", max_size=5), JSON, max_size=3),
}  # fmt: skip


CONFIGS: st.SearchStrategy[AIConfig] = st.builds(
    lambda values, cleared: AIConfig(**values, cleared=tuple(cleared)),
    st.fixed_dictionaries({}, optional=GOOD),
    st.sets(st.sampled_from([*CONFIG_FIELDS])),
)


FIELDS = st.fixed_dictionaries({}, optional={name: st.none() | values for name, values in GOOD.items()})
