from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from support.agentfiles import AGENTS, BOB, PROMPTS, find_tool, rows
from whisper_nb import Agent, AIConfig, ConfigError, Runtime
from whisper_nb.config.agentfiles import Entry, agent_file, read_agents
from whisper_nb.config.project import package
from whisper_nb.config.yamlfile import dump_yaml
from whisper_nb.tools.outputs import OutputType


def team(text: str, path: str = BOB) -> dict[str, Entry]:
    found = read_agents(text.encode("utf-8", "surrogatepass"), path, path, PROMPTS)
    assert found is not None
    return found


def entry(text: str, path: str = BOB) -> Entry:
    """The only agent of a file."""
    (only,) = team(text, path).values()
    return only


def agent(text: str, path: str = BOB) -> Agent:
    """The agent of a file without problems and warnings."""
    found = entry(text, path)
    assert (found.problems, found.warnings) == ((), ())
    return found.build(find_tool)


def problems(text: str, path: str = BOB) -> list[str]:
    found = entry(text, path)
    assert found.agent is None
    with pytest.raises(ConfigError) as caught:
        found.build(find_tool)
    assert set(found.problems) <= set(caught.value.problems)
    return list(map(str, found.problems))


# agents/NAME.yaml


def test_a_file_defines_an_agent_of_its_name() -> None:
    text = """\
title: Bob the Builder
role: builder
description: "Builds: all of it"
icon: 👷
color: "#9C27B0"
prompt_file: bob.prompt.md
fragments: [end, more]
ai_config:
  provider: openrouter
  model: openai/gpt-4o
  generation_params:
    temperature: 0.2
tools: [rows]
limits: {max_turns: 3, max_total_tokens: 9000, max_cost_usd: 0.5, timeout_s: 60}
"""
    assert agent(text) == Agent(
        name="bob",
        title="Bob the Builder",
        role="builder",
        description="Builds: all of it",
        icon="👷",
        color="#9C27B0",
        system_prompt="You are Bob.\n\nThe end.\n\nMore.",
        config=AIConfig(model="openrouter/openai/gpt-4o", temperature=0.2),
        tools=(rows,),
        max_turns=3,
        max_total_tokens=9000,
        max_cost_usd=0.5,
        timeout_s=60,
    )
    found = entry(text)
    assert (found.location, found.tools) == ("agents/bob.yaml:1", ("rows",))
    assert found.sources == {"model": "agents/bob.yaml:10", "temperature": "agents/bob.yaml:12"}


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("system_prompt: Hi\n", {"system_prompt": "Hi"}),
        ("prompt: |\n  Many\n  lines\n", {"system_prompt": "Many\nlines\n"}),
        ("prompt: Hi\nfragments: end\n", {"system_prompt": "Hi\n\nThe end."}),
        ("prompt_file: ./bob.prompt.md\n", {"system_prompt": "You are Bob."}),
        ("fragments: [end]\n", {"system_prompt": "The end."}),
        ("model: openai/x\n", {"config": AIConfig(model="openai/x")}),
        ("provider: openrouter\nmodel: a/b\n", {"config": AIConfig(model="openrouter/a/b")}),
        ("ai_config: openai/x\n", {"config": AIConfig(model="openai/x")}),
        ("config: {seed: 1}\n", {"config": AIConfig(seed=1)}),
        ("ai_config: {temperature: null}\n", {"config": AIConfig.of({"temperature": None})}),
        ("ai_config: {openai: {model: x, params: {seed: 1}}}\n", {"config": AIConfig(model="openai/x", seed=1)}),
        ("continuation_config: {max_iterations: 5, timeout: 300}\n", {"max_turns": 5, "timeout_s": 300}),
        ("name: robert\nrole: x\n", {"name": "robert", "role": "x"}),
        ("name: Bob the Builder\nrole: x\n", {"title": "Bob the Builder", "role": "x"}),
        ("tools: rows\n", {"tools": (rows,)}),
        ("prompt: x\nmemory: none\n", {"memory": "none", "system_prompt": "x"}),
        ("prompt: x\nmemory: {last: 10}\n", {"memory": {"last": 10}, "system_prompt": "x"}),
        ("prompt: x\nmemory: tokens:4000\n", {"memory": "tokens:4000", "system_prompt": "x"}),
        ("limits: {max_prompt_tokens: 9000}\n", {"max_prompt_tokens": 9000}),
        ("title: ~\nicon:\nprompt_file: null\nai_config:\nlimits:\ntools:\n", {}),
    ],
)
def test_an_agent_file_accepts_these_keys(text: str, same: dict[str, Any]) -> None:
    assert agent(text) == Agent(**{"name": "bob", **same})


@pytest.mark.parametrize("path", ["agents/bob.yaml", "agents/bob.yml", "agents/bob.agent.yaml", "agents/bob.agent.md"])
def test_the_name_of_the_agent_is_that_of_the_file(path: str) -> None:
    text = "---\ndescription: x\n---\n" if path.endswith("md") else "description: x\n"
    assert entry(text, path).name == "bob"


# Validation


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("prompt: Hi\nicon: a b\n", ":2: icon 'a b' is not an emoji"),
        ("prompt: Hi\ncolor: 5\n", ":2: color 5 is not a color such as '#2F7DE1' or teal"),
        ("prompt: Hi\nmax_turns: 3\n", ":2: unknown key 'max_turns' of an agent; write it under limits, as limits: {"),
        ("prompt: Hi\nseed: 3\n", ":2: unknown key 'seed' of an agent; write it under ai_config, as ai_config: {seed"),
        ("prompt: Hi\ntitel: x\n", ":2: unknown key 'titel' of an agent; did you mean 'title'?"),
        ("prompt: Hi\nai_config:\n  temperature: 9\n", ":3: temperature 9 is not a number from 0 to 2"),
        ("prompt: Hi\nai_config:\n  modle: openai/x\n", ":3: unknown config field 'modle'; did you mean 'model'?"),
        ("ai_config:\n  provider: openai\n  generation_params:\n    seed: x\n  model: x\n",
         ":4: seed 'x' is not a whole number"),
        ("prompt: Hi\nai_config: 5\n", ":2: ai_config 5 is not a mapping or a model"),
        ("prompt: Hi\nai_config: gpt-4o\n", ":2: model 'gpt-4o' is not provider/model"),
        ("ai_config: {}\nconfig: {}\n", ": the config is given twice"),
        ("ai_config: {seed: 1}\nmodel: openai/x\n", ": the config is given twice: write all of it under ai_config"),
        ("limits:\n  max_turns: 0\n", ":2: max_turns 0 is not a whole number of at least 1"),
        ("limits:\n  max_turn: 1\n", ":2: unknown limit 'max_turn'; did you mean 'max_turns'?"),
        ("limits: 5\n", ":1: limits 5 is not a mapping"),
        ("prompt: Hi\nmemory: {last: 0}\n", ":2: memory {'last': 0} is not one of all, none, last:N (the newest N"),
        ("continuation_config:\n  timeout: x\n", ":2: timeout 'x' is not a number of seconds above 0"),
        ("tools: 5\n", ":1: tools 5 is not a list of names"),
        ("tools: [os.system]\n",
         ":1: tools: 'os.system' is not the name of a function of the notebook; a file cannot load code"),
        ("tools: [tools/x.py]\n", ":1: tools: 'tools/x.py' is not the name of a function"),
        ("prompt: Hi\nprompt_file: bob.prompt.md\n", ":2: the prompt is given twice"),
        ("prompt: Hi\nsystem_prompt: Hi\n", ":2: system_prompt and another key both set system_prompt"),
        ("prompt: Hi\nprompt_file: [x]\n", ":2: prompt_file ['x'] is not the name of a file"),
        ("prompt: Hi\nfragments: [1]\n", ":2: fragments [1] is not a list of non-empty texts"),
        ("prompt_file: ''\n", ":1: prompt_file"),
        ("prompt: [a]\n", ":1: prompt ['a'] is not text"),
        ("prompt: Hi\nprompt: Hi\n", ":2: the key 'prompt' appears twice"),
        ("prompt: *a\n", ":1: aliases"),
        ("prompt: [\n", ":2: not YAML"),
    ],
)  # fmt: skip
def test_an_error_has_its_line_and_the_allowed_values(text: str, found: str) -> None:
    told = problems(text)
    assert any(re.match(rf"agents/bob\.yaml(:\d+)?{re.escape(found)}", one) for one in told), told
    assert all(re.match(r"agents/bob\.yaml:[1-9]", one) for one in told)


def test_all_errors_are_reported_together() -> None:
    text = """\
icon: a b
foo: 1
prompt_file: gone.md
ai_config:
  temperature: 9
  modle: x
limits:
  max_turns: 0
tools: [a b]
"""
    lines = sorted(int(one.location.rpartition(":")[2]) for one in entry(text).problems)
    assert lines == [1, 2, 3, 5, 6, 8, 9]
    assert len(problems(text)) == 7


def test_yaml_and_python_give_the_same_errors() -> None:
    for name, value in [("icon", "a b"), ("color", "5"), ("max_turns", 0), ("timeout_s", -1), ("description", "a\nb")]:
        limits = name in ("max_turns", "timeout_s")
        (told,) = entry(
            dump_yaml({"prompt": "Hi", **({"limits": {name: value}} if limits else {name: value})})
        ).problems
        with pytest.raises(ConfigError) as caught:
            Agent(name="bob", **{name: value})  # type: ignore[arg-type]
        assert [one.text.removeprefix("agent 'bob': ") for one in caught.value.problems] == [told.text]


@pytest.mark.parametrize("path", ["agents/my bob.yaml", "agents/2nd.yaml", "agents/é.yaml"])
def test_an_invalid_file_name_is_an_error_that_explains_the_name(path: str) -> None:
    (told,) = problems("prompt: Hi\n", path)
    assert "is not a letter followed by" in told
    assert "an agent is named by its file, or by its key under agents" in told


def test_a_mistyped_key_does_not_make_it_a_file_of_another_program() -> None:
    (told,) = problems("title: Bob\nsytem_prompt: Hi\n")
    assert told.startswith("agents/bob.yaml:2: unknown key 'sytem_prompt' of an agent; did you mean 'system_prompt'?")


def test_a_file_with_only_a_mistyped_key_is_an_error() -> None:
    (told,) = problems("sytem_prompt: Hi\n")
    assert "did you mean 'system_prompt'?" in told


def test_unclosed_front_matter_is_an_error() -> None:
    (told,) = problems("---\nname: bob\nYou are Bob.\n", "agents/bob.md")
    assert told == "agents/bob.md:1: the front matter does not end: add a line of ---"


@pytest.mark.parametrize("what", ["prompt_file: gone.md", "prompt: Hi\nfragments: [end, gone]"])
def test_a_missing_prompt_is_an_error_that_lists_the_searched_places(what: str) -> None:
    (told,) = problems(f"role: x\n{what}\n")
    path = "agents/prompts/gone.md" if "prompt_file" in what else "agents/prompts/shared/gone.md"
    assert re.match(r"agents/bob\.yaml:[23]: no prompt file ", told)
    assert told.endswith(f"looked for {path} and whisper_nb's {path}")


@pytest.mark.parametrize("name", ["../x.md", "/etc/passwd", "a/../../x", "..\\x.md", "shared/../../../x"])
def test_a_prompt_file_cannot_lead_out_of_its_folder(name: str) -> None:
    (told,) = problems(dump_yaml({"prompt_file": name}))
    assert "leaves agents/prompts/" in told
    (told,) = problems(dump_yaml({"prompt": "Hi", "fragments": [name]}))
    assert re.search(r"leaves agents/prompts/|no prompt file", told)


def test_a_missing_tool_is_an_error_with_its_line_when_the_agent_is_created() -> None:
    with pytest.raises(ConfigError, match=r"^agents/bob\.yaml:2: no function 'gone'$"):
        entry("role: x\ntools: [rows, gone]\n").build(find_tool)


def test_a_literal_key_works_with_a_warning_and_is_not_shown() -> None:
    found = entry("ai_config:\n  model: openai/x\n  api_key: sk-canary-0123456789abcdef\n")
    (warning,) = found.warnings
    assert (warning.location, "os.environ/NAME" in warning.text) == ("agents/bob.yaml:3", True)
    built = found.build(find_tool)
    assert str(built.config.api_key).startswith("literal/")
    assert built.document() == {"name": "bob", "ai_config": {"model": "openai/x"}}
    assert "canary" not in f"{found!r} {built!r} {dump_yaml(built.document())}"


# Several agents in one file, as in AIWhisperer

MEMBER = """\
  {id}:
    name: {title}
    role: {role}
    description: "What {role}s do: one line."
    tool_tags: ["filesystem", "analysis"]
    prompt_file: "bob.prompt.md"
    context_sources: ["workspace_structure", "recent_changes"]
    color: "{color}"
    icon: "{icon}"
    tool_sets: ["readonly_filesystem"]
    capabilities: ["planning", "writing"]
    configuration:
      depth: 3
      output: {{format: markdown, strict: true}}
    continuation_config:
      require_explicit_signal: false
      max_iterations: {turns}
      timeout: 300
      continuation_patterns: ["TO BE CONTINUED", "next:"]
    ai_config:
      provider: openrouter
      model: openai/gpt-4o
      generation_params: {{temperature: 0.{turns}}}
"""
MEMBERS = [
    ("p", "Paula the Planner", "planner", "#9C27B0", "📋", 1),
    ("a", "Ada the Assistant", "assistant", "#4CAF50", "🤖", 2),
    ("t", "Theo the Tester", "tester", "#FF5722", "🧪", 3),
    ("d", "Dora the Debugger", "debugger", "#F44336", "🐛", 4),
    ("e", "Ed the Splitter", "decomposer", "#2196F3", "✂️", 5),
]
AGENTS_YAML = "agents:\n" + "".join(
    MEMBER.format(id=id_, title=title, role=role, color=color, icon=icon, turns=turns)
    for id_, title, role, color, icon, turns in MEMBERS
)


def test_a_file_of_aiwhisperer_loads_completely() -> None:
    found = team(AGENTS_YAML, "agents/agents.yaml")
    assert {id_: one.problems for id_, one in found.items()} == {id_: () for id_, *_ in MEMBERS}
    assert {id_: one.build(find_tool) for id_, one in found.items()} == {
        id_: Agent(
            name=id_,
            title=title,
            role=role,
            description=f"What {role}s do: one line.",
            color=color,
            icon=icon,
            system_prompt="You are Bob.",
            max_turns=turns,
            timeout_s=300,
            config=AIConfig(model="openrouter/openai/gpt-4o", temperature=turns / 10),
        )
        for id_, title, role, color, icon, turns in MEMBERS
    }
    assert found["a"].location == "agents/agents.yaml:25"
    assert found["a"].sources["model"] == "agents/agents.yaml:46"


def test_keys_that_are_not_used_here_give_one_warning_for_each_agent() -> None:
    dead = (
        "tool_tags context_sources tool_sets capabilities configuration require_explicit_signal continuation_patterns"
    )
    for one in team(AGENTS_YAML + "      cache: true\n", "agents/agents.yaml").values():
        (warning,) = one.warnings
        assert [name for name in dead.split() if name not in warning.text] == []
        assert re.fullmatch(r"agents/agents\.yaml:[1-9]\d*", warning.location)
        assert ("cache" in warning.text) == (one.name == "e")


def test_one_invalid_agent_does_not_affect_the_others() -> None:
    found = team("agents:\n  p: {role: x, icon: a b}\n  a:\n    role: y\n  not good: {}\n", "agents/agents.yaml")
    assert {id_: [one.location for one in each.problems] for id_, each in found.items()} == {
        "p": ["agents/agents.yaml:2"],
        "a": [],
        "not good": ["agents/agents.yaml:5"],
    }
    assert found["a"].build(find_tool) == Agent(name="a", role="y")


def test_an_unknown_key_beside_agents_is_an_error() -> None:
    (told,) = problems("agents: {a: {role: x}}\nagent: {}\n")
    assert told == "agents/bob.yaml:2: unknown key 'agent' beside agents"


@pytest.mark.parametrize("said", ["oops", "5", "[x]"])
def test_an_agent_that_is_not_a_mapping_is_an_error_and_the_others_load(said: str) -> None:
    found = team(f"agents:\n  a: {{role: x, prompt: Hi}}\n  p: {said}\n", "agents/agents.yaml")
    assert found["a"].build(find_tool) == Agent(name="a", role="x", system_prompt="Hi")
    assert [one.location for one in found["p"].problems] == ["agents/agents.yaml:3"]


# Markdown files, as users of other tools have them

REVIEWER = """\
---
name: code-reviewer
description: Reviews code for faults. Use after a change.
tools: Read, Grep
model: sonnet
color: purple
memory: project
---

You review code.

---

Be brief.
"""


def test_a_markdown_file_of_another_tool_is_an_agent() -> None:
    found = entry(REVIEWER, "agents/reviewer.md")
    assert found.build(find_tool) == Agent(
        name="code-reviewer",
        description="Reviews code for faults. Use after a change.",
        color="purple",
        system_prompt="You review code.\n\n---\n\nBe brief.",
    )
    assert list(map(str, found.warnings)) == [
        "agents/reviewer.md:7: ignored another program's memory, 'project': all of the history is sent",
        "agents/reviewer.md:5: ignored another program's name of a model, 'sonnet': the default model answers",
        "agents/reviewer.md:4: ignored another program's tools: Read, Grep",
    ]


@pytest.mark.parametrize(
    ("said", "same"),
    [
        ("description: x\nmodel: openai/x", {"config": AIConfig(model="openai/x")}),
        ("description: x\nai_config: {seed: 1}\ntools: [rows]", {"config": AIConfig(seed=1), "tools": (rows,)}),
        ("description: x\nlimits: {max_turns: 3}", {"max_turns": 3}),
        ("description: x\nfragments: [end]", {"system_prompt": "The body.\n\nThe end."}),
        ("name: Bob the Builder\ndescription: x", {"title": "Bob the Builder"}),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_front_matter_accepts_the_keys_of_a_yaml_file(said: str, same: dict[str, Any], newline: str) -> None:
    text = f"---\n{said}\n---\nThe body.\n".replace("\n", newline)
    whole = {"name": "bob", "description": "x", "system_prompt": "The body.", **same}
    assert agent(text, "agents/bob.md") == Agent(**whole)
    assert agent(f"\ufeff{text}", "agents/bob.md") == Agent(**whole)


@pytest.mark.parametrize("model", ["inherit", "sonnet", "opus", "haiku"])
def test_a_models_alias_of_another_tool_is_left_out_and_reported(model: str) -> None:
    found = entry(f"---\nname: bob\nmodel: {model}\n---\nHi", "agents/bob.md")
    assert found.build(find_tool) == Agent(name="bob", system_prompt="Hi")
    (warning,) = found.warnings
    assert warning.location == "agents/bob.md:3"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("---\nname: bob\nmodel: gpt-4o\n---\nHi", ":3: model 'gpt-4o' is not provider/model"),
        ("---\nname: bob\ncolor: 5\n---\nHi", ":3: color 5 is not a color"),
        ("---\nname: bob\ntool: rows\n---\nHi", ":3: unknown key 'tool' of an agent; did you mean 'tools'?"),
        ("---\nname: bob\nprompt: Hi\n---\nHi", ": the prompt is given twice"),
        ("---\nname: bob\nprompt_file: bob.prompt.md\n---\nHi", ":3: the prompt is given twice"),
        ("---\nname: bob\nname: bob\n---\nHi", ":3: the key 'name' appears twice"),
        ("---\nname: bob\nx: [\n---\nHi", ": not YAML"),
    ],
)
def test_an_error_in_front_matter_has_its_line(text: str, found: str) -> None:
    told = problems(text, "agents/bob.md")
    assert any(re.match(rf"agents/bob\.md(:[1-5])?{re.escape(found)}", one) for one in told), told
    assert all(re.match(r"agents/bob\.md:[1-5]: ", one) for one in told)


def test_a_body_that_is_not_text_is_an_error_with_its_line() -> None:
    found = read_agents(b"---\nname: bob\n---\nfine\n\xff\n", "agents/bob.md", "agents/bob.md", PROMPTS)
    assert found is not None
    assert [str(one) for one in found["bob"].problems] == ["agents/bob.md:5: the file is not UTF-8: save it as UTF-8"]


# Files that are not agents


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("agents/README.md", "# Agents\n\nWhat they are.\n"),
        ("agents/README.md", "# Agents\n\n---\nname: x\n---\n"),
        ("agents/README.md", "---\n\nA rule, and no front matter.\n"),
        ("agents/README.md", "---\nlayout: page\ntitle: Agents\n---\nHi\n"),
        ("agents/README.md", ""),
        ("agents/ci.yaml", "on: push\njobs: {test: {steps: []}}\n"),
        ("agents/crew.yaml", "researcher:\n  role: x\n  goal: y\n  backstory: z\n"),
        ("agents/app.yaml", "name: app\nversion: 1\nservices: {db: {image: postgres}}\n"),
        ("agents/list.yaml", "- a\n- b\n"),
        ("agents/text.yaml", "just text"),
        ("agents/empty.yaml", ""),
        ("agents/empty.yaml", "{}"),
        ("agents/fleet.yaml", "agents: [one, two]\nport: 80\n"),
    ],
)
def test_a_file_of_another_program_is_ignored(path: str, text: str) -> None:
    assert read_agents(text.encode(), path, path, PROMPTS) is None


# Round trips


@given(AGENTS, st.sampled_from(["bob", "other name"]))
@example(Agent(name="bob"), "bob")
@example(Agent(name="bob", system_prompt=" \n  a\n\tb \n\n\n"), "bob")
@settings(max_examples=40)
def test_any_agent_is_equal_after_it_was_written_and_read(spec: Agent, stem: str) -> None:
    text = dump_yaml(spec.document())
    path = f"agents/{stem}.yaml"
    found = read_agents(text.encode(), path, path, PROMPTS)
    assert found is not None
    assert [one.problems + one.warnings for one in found.values()] == [()]
    assert found[spec.name].build(find_tool) == spec


@given(AGENTS)
@settings(max_examples=30)
def test_any_agents_are_equal_in_one_file(spec: Agent) -> None:
    document = {key: value for key, value in spec.document().items() if key != "name"}
    found = team(dump_yaml({"agents": {spec.name: document, "other": {"role": "x"}}}), "agents/agents.yaml")
    assert found[spec.name].build(find_tool) == spec


async def test_a_saved_agent_loads_as_an_equal_agent(tmp_path: Path) -> None:
    spec = Agent(
        name="bob", title="Bob", system_prompt="Many\n\n  lines\u2028 {{ x }}\n",
        config=AIConfig.of({"seed": 1, "stop": None}),
        tools=(rows,), max_turns=3, timeout_s=0.5,
    )  # fmt: skip
    async with Runtime(environ={}, project=tmp_path, find_tool=find_tool) as rt:
        rt.create(spec)
        assert rt.save("bob") == tmp_path / "agents/bob.yaml"
    async with Runtime(environ={}, project=tmp_path, find_tool=find_tool) as rt:
        assert rt.described("bob") == rt["bob"].agent == spec


# Any text

KEYS = ["name", "title", "prompt", "system_prompt", "prompt_file", "fragments", "ai_config", "config", "model",
        "provider", "tools", "generation_params", "limits", "continuation_config", "color", "icon", "tool_sets",
        "agents", "foo", "sytem_prompt", "1", "max_turns", "temperature", "description"]  # fmt: skip
SCALARS = ["x", "openai/x", "5", "0.5", "-1", "true", "~", "''", "[a, 1]", "{}", "{model: openai/x, seed: 1}",
           "{max_turns: 2}", "bob.prompt.md", "../x", "end", "rows", "inherit", "*a", "|\n  a\n   b", "!!int 5", "[",
           "\"", "\u2028", "a: b"]  # fmt: skip
LINES = st.builds(
    lambda indent, key, value: f"{indent}{key}: {value}",
    st.sampled_from(["", "", "", "  ", "    "]),
    st.sampled_from(KEYS),
    st.sampled_from(SCALARS),
)
TEXTS = st.lists(LINES | st.sampled_from(["agents:", "  bob:", "prompt: Hi", "---", "ai_config:"]), max_size=6).map(
    "\n".join
)


@given(TEXTS | st.text("abx: -[]{}!&*?|>'\"#%@`\n\t019._~<=,\x00\x85", max_size=30), st.booleans())
@settings(max_examples=100)
def test_any_text_is_read_or_an_error_with_file_and_line(text: str, markdown: bool) -> None:
    path = "agents/bob.md" if markdown else BOB
    data = (f"---\n{text}\n---\nThe body." if markdown else text).encode()
    place = re.compile(rf"{re.escape(path)}:[1-9]\d*")
    for name, one in (read_agents(data, path, path, PROMPTS) or {}).items():
        assert all(place.fullmatch(each.location) and each.text for each in (*one.problems, *one.warnings))
        assert place.fullmatch(one.location)
        assert (one.agent is None) == bool(one.problems)
        if one.agent:
            assert all(place.fullmatch(each) for each in one.sources.values())
            again = read_agents(dump_yaml(one.agent.document()).encode(), BOB, BOB, PROMPTS)
            assert again is not None
            assert again[name].agent == one.agent


# The packaged team

TEAM = {"alice", "patricia", "tessa", "debbie", "eamonn"}


def test_the_packaged_team_loads_without_a_warning() -> None:
    found = package()
    assert set(found.team) == TEAM
    assert (found.problems, found.warnings, found.foreign, found.files.refused) == ((), (), (), {})


def test_packaged_agents_differ_in_every_descriptive_field() -> None:
    agents = [one.build(find_tool) for one in package().team.values()]
    for name in ("title", "role", "description", "icon", "color", "system_prompt"):
        said = {getattr(one, name) for one in agents}
        assert len(said) == len(TEAM)
        assert "" not in said
    assert {one.config for one in agents} == {AIConfig()}


def test_every_packaged_prompt_ends_with_the_shared_fragments() -> None:
    data = package().files.data
    shared = [data[f"agents/prompts/shared/{name}.md"].decode().strip() for name in ("notebook", "handover")]
    for name, one in package().team.items():
        assert one.agent is not None
        prompt = one.agent.system_prompt
        assert prompt.endswith("\n\n".join(["", *shared]))
        assert prompt.count(shared[1]) == 1
        own = data[f"agents/prompts/{name}.prompt.md"].decode().strip()
        assert prompt.startswith(own)
        assert re.match(rf"You are {name.title()}\b", own)


# Output types


class Verdict(BaseModel):
    guilty: bool


@pytest.fixture
def verdict(monkeypatch: pytest.MonkeyPatch) -> type[Verdict]:
    """A class that cells define."""
    monkeypatch.setattr("__main__.Verdict", Verdict, raising=False)
    return Verdict


def test_a_file_names_the_output_type(verdict: type[Verdict]) -> None:
    assert agent("{system_prompt: Judge, output_type: Verdict}") == Agent(
        name="bob", system_prompt="Judge", output_type=verdict
    )
    given = "system_prompt: Count\noutput_type: dict[str, list[int] | None]\n"
    assert agent(given).output_type == OutputType.of(dict[str, list[int] | None])
    assert agent("{system_prompt: Talk, output_type: str}").output_type is None


@pytest.mark.parametrize(
    ("type_", "problem"),
    [
        ("Xyz", "output type 'Xyz' is not defined in this notebook; run the cell that defines it"),
        (
            "list[int",
            ("output type 'list[int' is no type: give the name of a class that a cell defines, or such as int, "
            "list[str], dict[str, int], Literal['yes', 'no']"),
        ),
    ],
)  # fmt: skip
def test_an_unknown_type_is_told_where_the_agent_is_used(type_: str, problem: str) -> None:
    found = entry(f"system_prompt: Judge\noutput_type: {type_}\n")
    assert found.problems == ()
    with pytest.raises(ConfigError) as caught:
        found.build(find_tool)
    assert str(caught.value) == f"{BOB}:2: {problem}"


def test_an_output_type_is_a_text() -> None:
    assert problems("system_prompt: Judge\noutput_type: [int]\n") == [
        f"{BOB}:2: output_type ['int'] is not the name of a type"
    ]


@pytest.mark.parametrize("type_", ["Verdict", "list[Verdict]", "Literal['a', 'b']", "int | None"])
def test_an_output_type_is_saved_by_its_name(type_: str, verdict: type[Verdict]) -> None:
    bob = Agent(name="bob", system_prompt="Judge", output_type=type_)
    _, text = agent_file(bob)
    assert agent(text) == bob
    assert entry(text).document()["output_type"] == type_


@pytest.mark.parametrize("type_", [Verdict, Annotated[int, Field(ge=0)]], ids=str)
def test_a_type_without_a_name_is_not_saved(type_: Any) -> None:
    with pytest.raises(ConfigError, match=r"output_type (Verdict|int) cannot be written to a file: a file names"):
        agent_file(Agent(name="bob", system_prompt="Judge", output_type=type_))
