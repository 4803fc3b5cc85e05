from __future__ import annotations

import copy
import pickle
import re
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb import Agent, AIConfig, ConfigError
from whisper_nb.config.yamlfile import dump_yaml
from whisper_nb.tools.functions import FunctionTool


def rows(limit: int = 10) -> list[int]:
    """The first rows."""
    return list(range(limit))


# Names


@pytest.mark.parametrize("name", ["bob", "B", "data-scientist_2", "a" * 64])
def test_a_valid_name_is_accepted(name: str) -> None:
    assert Agent(name=name).name == name


@pytest.mark.parametrize("name", ["", "2nd", "a b", "a#1", "-a", "é", "a" * 65, "bob\n", None, 5])
def test_an_invalid_name_is_an_error(name: Any) -> None:
    with pytest.raises(ConfigError, match="is not a letter followed by"):
        Agent(name=name)


# Fields

FIELDS: list[tuple[str, list[Any], list[Any]]] = [
    ("title", ["", "Alice the Assistant", "é 💡"], ["two\nlines", 5, ["a"], b"a"]),
    ("role", ["", "planner"], ["two\nlines", 5]),
    ("description", ["", "A line: with 'all' of # it."], ["two\r\nlines", 5]),
    ("icon", ["", "💡", "👩‍💻", "(A)"], ["a b", "123456789", 5]),
    ("color", ["", "#9C27B0", "#fff", "teal"], ["#9C27B", "9C27B0", "red;}", "Teal", "blurple", "url(x)", 5]),
    ("system_prompt", ["", "Many\nlines {of} it.", "\x85\u2028\ud800\0"], [5, ["a"], b"a"]),
    ("max_turns", [1, 10**6], [0, -1, 1.5, True, "5"]),
    ("max_total_tokens", [None, 1, 10**9], [0, -1, 1.5, True, "5"]),
    ("max_cost_usd", [None, 0.001, 5], [0, -1, float("nan"), float("inf"), True, "$5"]),
    ("timeout_s", [None, 0.5, 60], [0, -1, float("nan"), float("inf"), True, "5"]),
    ("config", [None, {}, "openai/x", {"seed": 1}, AIConfig(seed=1)], [5, ["a"], "gpt-4o", {"sede": 1}]),
    ("tools", [(), [], (rows,), [FunctionTool(rows)]], [("rows",), "rows", (5,), [rows, rows], 5, rows]),
]


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, good, _ in FIELDS for value in good])
def test_a_valid_value_is_accepted(name: str, value: Any) -> None:
    agent = Agent(name="bob", **{name: value})
    assert agent == copy.deepcopy(agent)
    assert hash(agent) == hash(Agent(name="bob", **{name: value}))


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, _, bad in FIELDS for value in bad])
def test_an_invalid_value_is_an_error(name: str, value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^agent 'bob': ") as caught:
        Agent(name="bob", **{name: value})
    assert {problem.path[0] for problem in caught.value.problems} == {name}


@pytest.mark.parametrize("name", ["title", "role", "description", "icon", "color", "system_prompt", "max_turns"])
def test_only_optional_fields_accept_none(name: str) -> None:
    with pytest.raises(ConfigError, match=f"agent 'bob': {name} None"):
        Agent(name="bob", **{name: None})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("color", "told"),
    [
        ("turquois", "color 'turquois' is not a color such as '#2F7DE1' or teal; did you mean 'turquoise'?"),
        ("Teal", "did you mean 'teal'?"),
        ("xyz", "color 'xyz' is not a color such as '#2F7DE1' or teal"),
        ("x" * 5_000, "is not a color such as '#2F7DE1' or teal"),
    ],
)
def test_an_unknown_color_is_an_error_with_the_nearest_name(color: str, told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told) + "$"):
        Agent(name="bob", color=color)


@pytest.mark.parametrize("max_turns", [0, -1])
def test_an_error_names_the_agent_the_value_and_the_allowed_values(max_turns: int) -> None:
    with pytest.raises(ConfigError, match=f"agent 'bob': max_turns {max_turns} is not a whole number of at least 1"):
        Agent(name="bob", max_turns=max_turns)


def test_all_problems_are_in_one_error() -> None:
    with pytest.raises(ConfigError) as caught:
        Agent(
            name="bob", icon="a b", max_turns=0, config={"temperature": 9, "modle": "x"}, tools=(5, rows, rows),  # type: ignore[arg-type]
        )  # fmt: skip
    assert sorted(problem.path for problem in caught.value.problems) == [
        ("config", "modle"),
        ("config", "temperature"),
        ("icon",),
        ("max_turns",),
        ("tools",),
        ("tools", 0),
    ]
    assert len(str(caught.value).splitlines()) == 6


def test_numbers_of_other_libraries_become_python_numbers() -> None:
    agent = Agent(name="bob", max_turns=np.int64(3), timeout_s=np.float64(0.5))
    assert agent == Agent(name="bob", max_turns=3, timeout_s=0.5)
    assert (type(agent.max_turns), type(agent.timeout_s)) == (int, float)
    assert "max_turns: 3" in dump_yaml(agent.document())


def test_texts_of_other_libraries_can_be_saved() -> None:
    config = AIConfig.of({"model": np.str_("openai/x"), "stop": [np.str_("END")], "api_base": np.str_("http://h")})
    agent = Agent(name="bob", title=np.str_("Bob"), system_prompt=np.str_("Hi"), config=config)
    assert "title: Bob" in dump_yaml(agent.document())


def test_a_model_is_a_short_form_of_a_config_and_takes_precedence() -> None:
    assert Agent(name="bob", model="openai/x") == Agent(name="bob", config="openai/x")
    agent = Agent("bob", model="openai/x", config={"model": "openai/y", "temperature": 0.5})
    assert agent.config == AIConfig(model="openai/x", temperature=0.5)
    with pytest.raises(ConfigError, match="agent 'bob': model 'nonsense' is not provider/model"):
        Agent("bob", model="nonsense")


def test_config_is_accepted_in_any_form() -> None:
    assert Agent(name="bob", config="openai/x").config == AIConfig(model="openai/x")  # type: ignore[arg-type]
    assert Agent(name="bob", config={"max_tokens": 3}).config == AIConfig(max_tokens=3)  # type: ignore[arg-type]
    said = {"openrouter": {"model": "a/b", "params": {"seed": 1}}}
    assert Agent(name="bob", config=said).config == AIConfig(model="openrouter/a/b", seed=1)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="did you mean 'model'"):
        Agent(name="bob", config={"modle": "openai/x"})  # type: ignore[arg-type]


@given(
    st.dictionaries(st.sampled_from([name for name, _, _ in FIELDS]), st.none() | st.integers() | st.text(max_size=9))
)
def test_any_fields_give_an_agent_or_a_config_error(fields: dict[str, Any]) -> None:
    try:
        agent = Agent(name="bob", **fields)
    except ConfigError as error:
        assert all(problem.text.startswith("agent 'bob': ") for problem in error.problems)
    else:
        assert agent == Agent(name="bob", **fields)
        dump_yaml(agent.document())


# Tools


def test_functions_become_tools() -> None:
    agent = Agent(name="bob", tools=[rows])
    assert agent.tools == (FunctionTool(rows),)
    assert [tool.name for tool in agent.tools] == ["rows"]


def test_a_value_that_is_not_a_tool_is_an_error() -> None:
    with pytest.raises(ConfigError, match="agent 'bob': 5 is not a tool"):
        Agent(name="bob", tools=(5,))  # type: ignore[arg-type]


def test_a_tool_may_be_given_by_the_name_of_a_function_of_the_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["__main__"], "rows", rows, raising=False)
    assert Agent(name="bob", tools=("rows",)) == Agent(name="bob", tools=(rows,))


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        (("rows",), r"tool 'rows' is not defined in this notebook; .* pass the function itself: tools=\(rows,\)"),
        ("rows", r"tools 'rows' is not a list of functions; write tools=\('rows',\)"),
        (rows, r"is not a list of functions; write tools=\(rows,\)"),
    ],
)
def test_tools_in_a_wrong_form_are_an_error_that_shows_the_right_one(tools: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Agent(name="bob", tools=tools)


def test_two_tools_with_one_name_are_an_error() -> None:
    with pytest.raises(ConfigError, match="agent 'bob': two tools named rows"):
        Agent(name="bob", tools=(rows, FunctionTool(rows)))


# Equality and documents


def test_instructions_are_the_system_prompt_or_a_short_standard_text() -> None:
    assert Agent(name="bob", system_prompt="Use {braces} freely.").instructions == "Use {braces} freely."
    assert Agent(name="bob").instructions.startswith("You are bob")


def test_equal_specs_are_the_same_agent() -> None:
    assert Agent(name="bob", tools=(rows,)) == Agent(name="bob", tools=(rows,))
    assert hash(Agent(name="bob", tools=(rows,))) == hash(Agent(name="bob", tools=(rows,)))
    assert Agent(name="bob") != Agent(name="bob", system_prompt="other")
    assert pickle.loads(pickle.dumps(Agent(name="bob", config=AIConfig(seed=1)))) == Agent(
        name="bob", config=AIConfig(seed=1)
    )


def test_a_repr_has_the_name_and_what_differs_from_the_default() -> None:
    assert repr(Agent("bob")) == "Agent(name='bob')"
    agent = Agent("bob", model="openai/x", tools=(rows,), max_turns=3)
    assert (
        repr(agent) == "Agent(name='bob', config=AIConfig(model='openai/x'), tools=(FunctionTool(rows),), max_turns=3)"
    )


def test_a_saved_document_has_only_values_that_differ_from_the_default() -> None:
    assert Agent(name="bob").document() == {"name": "bob"}
    config = AIConfig.of({"model": "openai/x", "stop": ["a"], "extra": {"b": {"c": 1}}, "seed": None})
    agent = Agent(
        name="bob", title="Bob", color="teal", system_prompt="Hi", config=config, tools=(rows,), max_turns=3,
        timeout_s=5
    )  # fmt: skip
    assert agent.document() == {
        "name": "bob",
        "title": "Bob",
        "color": "teal",
        "ai_config": {"model": "openai/x", "stop": ["a"], "extra": {"b": {"c": 1}}, "seed": None},
        "tools": ["rows"],
        "limits": {"max_turns": 3, "timeout_s": 5},
        "system_prompt": "Hi",
    }
    assert list(agent.document())[-1] == "system_prompt"
