from __future__ import annotations

import pytest

from whisper_nb import Agent, AIConfig, ConfigError
from whisper_nb.tools import FunctionTool


def rows(limit: int = 10) -> list[int]:
    """The first rows."""
    return list(range(limit))


@pytest.mark.parametrize("name", ["bob", "B", "data-scientist_2", "a" * 64])
def test_a_good_name(name: str) -> None:
    assert Agent(name=name).name == name


@pytest.mark.parametrize("name", ["", "2nd", "a b", "a#1", "-a", "é", "a" * 65, "bob\n", None, 5])
def test_a_bad_name(name: str) -> None:
    with pytest.raises(ConfigError, match="is not a letter followed by"):
        Agent(name=name)


@pytest.mark.parametrize("max_turns", [0, -1])
def test_an_agent_takes_at_least_one_turn(max_turns: int) -> None:
    with pytest.raises(ConfigError, match=f"agent 'bob': max_turns {max_turns} is not a whole number of at least 1"):
        Agent(name="bob", max_turns=max_turns)


def test_config_in_any_form() -> None:
    assert Agent(name="bob", config="openai/x").config == AIConfig(model="openai/x")  # type: ignore[arg-type]
    assert Agent(name="bob", config={"max_tokens": 3}).config == AIConfig(max_tokens=3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        Agent(name="bob", config={"modle": "openai/x"})  # type: ignore[arg-type]


def test_functions_become_tools() -> None:
    agent = Agent(name="bob", tools=[rows])  # type: ignore[arg-type]
    assert agent.as_tools == (FunctionTool(rows),)
    assert [tool.name for tool in agent.as_tools] == ["rows"]


def test_what_is_no_tool() -> None:
    with pytest.raises(ConfigError, match="is not a tool"):
        Agent(name="bob", tools=("rows",))  # type: ignore[arg-type]


def test_two_tools_of_one_name() -> None:
    with pytest.raises(ConfigError, match="agent 'bob': two tools named rows"):
        Agent(name="bob", tools=(rows, FunctionTool(rows)))


def test_instructions_are_the_system_prompt_or_a_short_standard_text() -> None:
    assert Agent(name="bob", system_prompt="Use {braces} freely.").instructions == "Use {braces} freely."
    assert Agent(name="bob").instructions.startswith("You are bob")


def test_equal_specs_are_the_same_agent() -> None:
    assert Agent(name="bob", tools=(rows,)) == Agent(name="bob", tools=(rows,))
    assert hash(Agent(name="bob", tools=(rows,))) == hash(Agent(name="bob", tools=(rows,)))
    assert Agent(name="bob") != Agent(name="bob", system_prompt="other")
