"""Hypothesis strategies for agents, and the tools and prompts that their files name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from hypothesis import strategies as st

from support.configs import CONFIGS
from whisper_nb import Agent, ConfigError
from whisper_nb.config.agents import AGENT_NAME
from whisper_nb.config.files import Files
from whisper_nb.config.promptfiles import Prompts

PROMPTS = Prompts(
    Files(
        Path("project"),
        {"agents/prompts/bob.prompt.md": b"You are Bob.\n", "agents/prompts/shared/end.md": b"The end."},
    ),
    Files(Path("package"), {"agents/prompts/shared/more.md": b"More."}, label="whisper_nb's"),
)


BOB = "agents/bob.yaml"


def rows(limit: int = 10) -> list[int]:
    """The first rows."""
    return list(range(limit))


def find_tool(name: str) -> Any:
    if name == "rows":
        return rows
    raise ConfigError(f"no function {name!r}")


ODD = st.sampled_from(
    ["\n", "\n\n", "\r\n", "\r", "\t", " ", "\x85", "\u2028", "\u2029", "\ufeff", "\0", "\x7f", "\ud800", "💡", "é",
     "---", "...", "{{ x }}", "# ", ": ", "- ", "'", '"', "\\", "%", "|", ">", "a", "long words " * 12]
)  # fmt: skip


PROSE = st.lists(ODD, max_size=8).map("".join) | st.text(max_size=30)


LINE = (PROSE | st.sampled_from(["no", "1e3", "0x1f", "12:30:45", "~", "null", "=", "<<", "2024-01-01"])).filter(
    lambda text: len(text.splitlines()) <= 1
)


#: How an agent answers: an output type and a continuation exclude each other.
ANSWERS = [
    *((one, None) for one in (None, int, list[str], dict[str, float], Literal["yes", "no"], int | None)),
    *((None, one) for one in (3, {"max_iterations": 7, "until": "it's: FINISHED"})),
]


def _agent(answers: tuple[Any, Any], **fields: Any) -> Agent[Any]:
    output_type, continuation = answers
    return Agent(output_type=output_type, continuation=continuation, **fields)


AGENTS = st.builds(
    _agent,
    answers=st.sampled_from(ANSWERS),
    name=st.from_regex(AGENT_NAME, fullmatch=True) | st.sampled_from(["no", "null", "True", "e1"]),
    title=LINE,
    role=LINE,
    description=LINE,
    icon=st.sampled_from(["", "💡", "👩‍💻", "#", "-", "[x]"]),
    color=st.sampled_from(["", "#9C27B0", "#000", "teal"]),
    system_prompt=PROSE,
    config=CONFIGS,
    tools=st.sampled_from([(), (rows,)]),
    max_turns=st.integers(1, 10**9),
    max_total_tokens=st.none() | st.integers(1, 10**9),
    max_cost_usd=st.none() | st.floats(0, exclude_min=True, allow_infinity=False),
    timeout_s=st.none() | st.floats(0, exclude_min=True, allow_infinity=False) | st.integers(1, 10**6),
    max_prompt_tokens=st.none() | st.integers(1, 10**9),
    memory=st.sampled_from(["all", "none", "last:10", {"tokens": 4000}]),
)
