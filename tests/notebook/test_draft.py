"""The input for an agent: its checks are those of YAML and Python, and all three give the same agent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from support.agentfiles import AGENTS, BOB, ODD, PROMPTS, find_tool, rows
from support.drafts import from_python
from whisper_nb import Agent, AIConfig, ConfigError
from whisper_nb.config import keys
from whisper_nb.config.agentfiles import read_agents
from whisper_nb.config.kinds import Params, Price
from whisper_nb.config.yamlfile import MAX_FILE_BYTES
from whisper_nb.core.text import valid_unicode
from whisper_nb.notebook.form.draft import FIELDS, Draft, FieldPath, field_of, python_of, yaml_of

CANARY = "sk-canary-0123456789abcdef"
#: Fields of the config that are plain text, so that null cannot be entered.
AS_TEXT = ("model", "api_base", "api_key")
LINES = ("title", "role", "description")


def draft(**texts: str) -> Draft:
    """A draft; `config_seed` is the seed of its config."""
    return Draft(
        {("config", name[7:]) if name.startswith("config_") else (name,): text for name, text in texts.items()}
    )


def problems(**texts: str) -> dict[FieldPath, str]:
    """The problems of a draft, by field."""
    with pytest.raises(ConfigError) as caught:
        draft(**texts).build(find_tool)
    return {field_of(one): one.text for one in caught.value.problems}


def from_yaml(text: str) -> Agent:
    found = read_agents(text.encode(), BOB, BOB, PROMPTS)
    assert found is not None
    (entry,) = found.values()
    assert (entry.problems, entry.warnings) == ((), ())
    return entry.build(find_tool)


class _Typed(yaml.SafeDumper):
    """YAML in one line, its texts in quotes."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_Typed.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def in_one_line(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Typed, default_flow_style=True, allow_unicode=True, width=10**9)
    return text.removesuffix("...\n").strip()


def typed(agent: Agent) -> Draft:
    """The input that gives this agent."""
    texts = {(name,): getattr(agent, name) for name in ("name", *LINES, "icon", "color", "system_prompt")}
    texts[("tools",)] = ", ".join(tool.name for tool in agent.tools)
    texts[("output_type",)] = agent.output_type.label if agent.output_type else ""
    texts[("max_turns",)] = str(agent.max_turns)
    texts[("memory",)] = str(agent.memory)
    if agent.continuation is not None:
        texts[("continuation",)] = in_one_line(agent.continuation.document())
    for name in ("max_prompt_tokens", "max_total_tokens", "max_cost_usd", "timeout_s"):
        value = getattr(agent, name)
        texts[(name,)] = "" if value is None else repr(value)
    for name, value in agent.config.values().items():
        plain = list(value) if isinstance(value, tuple) else dict(value) if isinstance(value, Params) else value
        plain = value.document() if isinstance(value, Price) else plain
        texts[("config", name)] = (value or "") if name in AS_TEXT else in_one_line(plain)
    return Draft(texts)


# Round trips


@given(AGENTS)
@settings(max_examples=50)
def test_the_input_its_yaml_and_its_python_give_equal_agents(agent: Agent) -> None:
    made = typed(agent).build(find_tool)
    lines = {name: valid_unicode(getattr(agent, name)).strip() for name in LINES}
    config = replace(agent.config, cleared=tuple(name for name in agent.config.cleared if name not in AS_TEXT))
    assert made == replace(agent, **lines, system_prompt=valid_unicode(agent.system_prompt), config=config)
    assert from_yaml(yaml_of(made)) == made
    assert from_python(python_of(made)) == made


TEXTS = st.lists(ODD, max_size=6).map("".join) | st.text(max_size=8) | st.sampled_from(
    ["", "bob", "rows", "rows,rows", "openai/x", "offline/echo", "0.5", "1", "null", "[a, b]", "{a: 1}", "os.environ/X",
     "teal"]
)  # fmt: skip


@given(st.dictionaries(st.sampled_from([*FIELDS]), TEXTS, max_size=5), st.booleans())
@settings(max_examples=120)
def test_any_input_gives_an_agent_or_problems_of_its_fields(texts: dict[FieldPath, str], named: bool) -> None:
    try:
        made = Draft({**texts, **({("name",): "bob"} if named else {})}).build(find_tool)
    except ConfigError as error:
        assert {field_of(one) for one in error.problems} <= FIELDS.keys()
        assert all(one.text and not one.location for one in error.problems)
    else:
        assert from_yaml(yaml_of(made)) == from_python(python_of(made)) == made


def test_a_text_that_is_a_comment_in_yaml_is_told() -> None:
    with pytest.raises(ConfigError, match="stop: '###' is a comment in YAML: put it in quotes"):
        Draft({("name",): "bob", ("config", "stop"): "###"}).build(find_tool)


def test_the_python_of_an_agent_is_readable() -> None:
    agent = Agent(
        name="bob", system_prompt="You are 'Bob'.\nBe brief.", tools=(rows,), max_turns=3,
        config=AIConfig.of(
            {"model": "openai/gpt-4o-mini", "temperature": 0.2, "stop": "END", "seed": None, "extra": {"a": [None]}}
        ),
    )  # fmt: skip
    begin = "import whisper_nb as wnb\n\nrt = wnb.runtime()\n"
    assert python_of(Agent(name="bob")) == begin + "rt.create(wnb.Agent(name='bob'))"
    assert python_of(Agent(name="bob", config="offline/echo")).endswith("(name='bob', model='offline/echo'))")
    assert (
        python_of(agent)
        == begin
        + """\
rt.create(wnb.Agent(
    name='bob',
    system_prompt=(
        "You are 'Bob'.\\n"
        'Be brief.'
    ),
    model='openai/gpt-4o-mini',
    config=wnb.AIConfig(
        temperature=0.2,
        stop=('END',),
        extra={'a': [None]},
        cleared=('seed',),
    ),
    tools=(rows,),
    max_turns=3,
))"""
    )


# Reading text


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("temperature", " 0.2 ", 0.2),
        ("max_tokens", "8000", 8000),
        ("timeout_s", "1e2", 100),
        ("stop", "END", ("END",)),
        ("stop", '["###", END]', ("###", "END")),
        ("extra", "{top_k: 40}", {"top_k": 40}),
        ("model", "anthropic:claude-x ", "anthropic/claude-x"),
        ("model", "12/30", "12/30"),
        ("api_key", "${MY_KEY}", "os.environ/MY_KEY"),
        ("api_key", "os.environ/MY_KEY", "os.environ/MY_KEY"),
        ("seed", "  ", None),
    ],
)
def test_each_config_field_is_read(name: str, text: str, value: Any) -> None:
    made = draft(name="bob", **{f"config_{name}": text}).build(find_tool)
    assert made == Agent(name="bob", config=AIConfig(**{name: value}))


def test_null_clears_a_field_as_in_yaml() -> None:
    made = draft(name="bob", config_temperature="null").build(find_tool)
    assert made == from_yaml("name: bob\nai_config: {temperature: null}\nlimits: {max_turns: null}\n")
    assert draft(name="bob", max_turns="null", timeout_s="~").build(find_tool) == Agent(name="bob")


def test_a_text_field_is_not_parsed_as_yaml() -> None:
    made = draft(name=" no ", title=" null ", description="12:30", system_prompt=" - a\n", icon="#").build(find_tool)
    assert made == Agent(name="no", title="null", description="12:30", system_prompt=" - a\n", icon="#")


# Problems


def test_all_problems_are_reported_together_by_field() -> None:
    found = problems(
        name="b b", icon="a b", tools="gone, rows", timeout_s="-1", max_turns="{", config_temperature="9",
        config_model="gpt-4o", config_stop="[",
    )  # fmt: skip
    assert set(found) == {
        ("name",), ("icon",), ("tools",), ("timeout_s",), ("max_turns",), ("config", "temperature"),
        ("config", "model"), ("config", "stop"),
    }  # fmt: skip
    assert found[("config", "stop")].startswith("stop: not YAML: ")


@pytest.mark.parametrize(
    ("field", "text", "value"),
    [
        ("name", "2nd", "2nd"),
        ("color", "#12", "#12"),
        ("description", "a\nb", "a\nb"),
        ("max_turns", "0", 0),
        ("max_turns", "many", "many"),
        ("config_temperature", "hot", "hot"),
        ("config_retries", "11", 11),
        ("config_extra", "{api_key: x}", {"api_key": "x"}),
        ("config_api_base", "localhost", "localhost"),
    ],
)
def test_the_messages_are_those_of_python(field: str, text: str, value: object) -> None:
    name = field.removeprefix("config_")
    with pytest.raises(ConfigError) as caught:
        AIConfig(**{name: value}) if name != field else Agent(**{"name": "bob", name: value})
    (told,) = problems(**{"name": "bob", field: text}).values()
    assert caught.value.problems[0].text.endswith(told)


def test_a_missing_name_is_a_problem() -> None:
    assert problems() == problems(name="  ") == {("name",): f"the name is missing: {FIELDS[('name',)].allowed}"}


@pytest.mark.parametrize(
    ("tools", "told"),
    [
        ("gone", "no function 'gone'"),
        ("os.system", "tools: 'os.system' is not the name of a function of the notebook"),
        ("rows, rows", "two tools named rows"),
        ("alias", "tool 'alias' has the name 'rows'"),
        ("number", "5 is not a tool"),
    ],
)
def test_tools_are_found_by_name(tools: str, told: str) -> None:
    known = {"alias": rows, "number": 5, "rows": rows}

    def find(name: str) -> Any:
        return known[name] if name in known else find_tool(name)

    with pytest.raises(ConfigError) as caught:
        draft(name="bob", tools=tools).build(find)
    (problem,) = caught.value.problems
    assert field_of(problem) == ("tools",)
    assert told in problem.text


def test_input_that_is_too_long_is_a_problem_and_is_not_parsed() -> None:
    found = problems(name="bob", system_prompt="x" * MAX_FILE_BYTES, tools="gone")
    assert list(found) == [("system_prompt",)]
    assert found[("system_prompt",)].endswith("characters, and a file at most 262,144")


# Keys


@pytest.mark.parametrize(
    "key", [CANARY, "0123456789abcdef", "MY_KEY", f"os.environ/{CANARY}", f"${CANARY}", "literal/12345678"]
)
def test_a_literal_key_is_refused_and_neither_shown_nor_kept(key: str) -> None:
    before = list(keys._vault)
    for length in range(1, len(key) + 1):
        typed_so_far = key[:length]
        if typed_so_far.startswith(("os.environ/", "$")) and length < len(key):
            continue
        (told,) = problems(name="bob", config_api_key=typed_so_far).values()
        assert "os.environ/NAME" in told
        assert length < 4 or typed_so_far not in told.replace("os.environ/NAME", "")
    assert list(keys._vault) == before


@pytest.mark.filterwarnings("ignore:AIConfig. the API key is a literal")
def test_a_literal_key_of_an_agent_is_neither_in_its_yaml_nor_in_its_python() -> None:
    agent = Agent(name="bob", config=AIConfig(model="openai/x", api_key=CANARY))
    assert "literal" not in yaml_of(agent) + python_of(agent)
