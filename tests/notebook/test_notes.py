from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from itertools import permutations

import pytest
from IPython.core.interactiveshell import InteractiveShell

from support.inprocess import Notebook
from whisper_nb import Agent, Rule, ScriptedModel
from whisper_nb.notebook.notes import Notes
from whisper_nb.notebook.runtime import NotebookRuntime
from whisper_nb.tools.functions import function_of_cells

KEY = "sk-0123456789abcdefghij"
NOTE = (
    "note: this cell contains an API key, which is saved with the notebook. Delete it, and set it by\n"
    '  os.environ["{}"] = getpass.getpass()\n'
)


@pytest.fixture
async def noted(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> AsyncIterator[Notebook]:
    """A notebook whose runtime reads the environment, in which no key is set, and which prints notes below cells."""
    for name in [name for name in os.environ if name.endswith(("_KEY", "_TOKEN")) or name == "WHISPER_MODEL"]:
        monkeypatch.delenv(name)
    for name in ("OPENAI_API_KEY", "MY_TEAM_KEY", "ANTHROPIC_API_KEY", "WHISPER_MODEL", "MY_TEAM"):
        monkeypatch.setenv(name, "")
    async with NotebookRuntime(find_tool=partial(function_of_cells, shell.user_ns)) as runtime:
        notebook = Notebook(shell, runtime, capsys)
        notebook.load()
        notebook.shell.user_ns.update(os=os, typed=lambda: KEY, rt=runtime)
        notes = Notes(shell, runtime)
        shell.events.register("post_run_cell", notes.settle)
        yield notebook


# Keys


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ('os.environ["OPENAI_API_KEY"] = "{key}"', "OPENAI_API_KEY"),
        ("os.environ['MY_TEAM_KEY'] = '{key}'", "MY_TEAM_KEY"),
        ("from os import environ\nenviron['OPENAI_API_KEY'] = '{key}'", "OPENAI_API_KEY"),
        ("del os.environ['MY_TEAM_KEY']\n_ = os.environ.setdefault('MY_TEAM_KEY', '{key}')", "MY_TEAM_KEY"),
        ("os.environ.update(OPENAI_API_KEY='{key}')", "OPENAI_API_KEY"),
        ("os.environ |= {{'OPENAI_API_KEY': '{key}'}}", "OPENAI_API_KEY"),
        ("key = '{key}'\nos.environ['OPENAI_API_KEY'] = key", "OPENAI_API_KEY"),
        ("if True:\n    os.environ['OPENAI_API_KEY'] = '{key}'  # mine", "OPENAI_API_KEY"),
        ("%set_env OPENAI_API_KEY={key}", "OPENAI_API_KEY"),
        ("%env OPENAI_API_KEY={key}", "OPENAI_API_KEY"),
        ("os.environ['MY_TEAM'] = '{key}'", "MY_TEAM"),
        ("os.environ['OPENAI_API_KEY'] = '{key}'\nos.environ['MY_TEAM_KEY'] = '{key}'", "OPENAI_API_KEY MY_TEAM_KEY"),
    ],
)
async def test_a_cell_that_writes_out_a_key_gets_a_note_each_time(noted: Notebook, cell: str, name: str) -> None:
    for _ in range(2):
        said = noted.run(cell.format(key=KEY))
        said = said.removeprefix(f"env: OPENAI_API_KEY={KEY}\n")  # by IPython
        assert said in ("".join(map(NOTE.format, names)) for names in permutations(name.split()))
        assert KEY not in said


@pytest.mark.parametrize(
    "cell",
    [
        "os.environ['OPENAI_API_KEY'] = typed()",
        "os.environ['OPENAI_API_KEY'] = f'{typed()}'",
        "os.environ['OPENAI_API_KEY'] = 'sk-…'",
        "os.environ['OPENAI_API_KEY'] = 'sk-...........'",
        "os.environ['OPENAI_API_KEY'] = '<your key here>'",
        "os.environ['OPENAI_API_KEY'] = 'EMPTY'",
        "os.environ['OPENAI_API_KEY'] = 'sk-no-key-required'",
        "os.environ['OPENAI_API_KEY'] = 'not-needed'",
        f"os.environ['SHELL_OF_MINE'] = '{KEY}'; del os.environ['SHELL_OF_MINE']",
        f"print('os.environ OPENAI_API_KEY = {KEY}')",
        f"other = {{'OPENAI_API_KEY': '{KEY}'}}  # not os.environ",
        f"# os.environ['OPENAI_API_KEY'] = '{KEY}'",
    ],
)
async def test_a_cell_that_writes_out_no_key_gets_no_note(noted: Notebook, cell: str) -> None:
    assert "note" not in noted.run(cell)


async def test_a_cell_that_fails_gets_the_note_of_what_it_set(noted: Notebook) -> None:
    noted.capsys.readouterr()
    noted.shell.run_cell(f"os.environ['OPENAI_API_KEY'] = '{KEY}'\n1 / 0")
    assert NOTE.format("OPENAI_API_KEY") in noted.capsys.readouterr().out
    noted.shell.run_cell(f"os.environ['OPENAI_API_KEY'] = '{KEY}")
    assert "note" not in noted.capsys.readouterr().out


# Models


async def test_agents_whose_model_a_key_changes_are_named_once(noted: Notebook) -> None:
    noted.run("%agent new bob\n%agent new amy\n%agent new eve --model offline/echo")
    assert noted.run("os.environ['OPENAI_API_KEY'] = typed()") == (
        "bob, amy answer with openai/gpt-4o-mini from now on (env OPENAI_API_KEY), no longer with\n  offline/echo\n"
    )
    assert noted.run("1") == "Out[0]: 1\n"
    assert noted.run("os.environ['OPENAI_API_KEY'] = ''") == (
        "bob, amy answer with offline/echo from now on (default: no provider's key is set), no longer with\n"
        "  openai/gpt-4o-mini\n"
    )


async def test_agents_whose_model_configure_changes_are_named_once(noted: Notebook) -> None:
    noted.run("%agent new bob\n%agent new eve --model openai/gpt-4o")
    said = noted.run("rt.configure(model='groq/x')")
    assert said.splitlines() == [
        "bob answers with groq/x from now on (configure), no longer with offline/echo",
        "eve answers with groq/x from now on (configure), no longer with openai/gpt-4o",
    ]
    assert noted.run("rt.configure(temperature=0.5)") == ""


async def test_what_a_command_changes_and_says_is_not_said_again(noted: Notebook) -> None:
    noted.run("%agent new bob")
    noted.run("%agent config bob model=offline/test")
    noted.run("%agent new amy")
    assert "from now on" not in noted.run("%agent new amy --model offline/echo")
    assert noted.run("os.environ['OPENAI_API_KEY'] = typed()") == ""
    assert noted.run("%agent new dan") == "dan is ready; answers with openai/gpt-4o-mini\n"


async def test_of_many_agents_some_are_named(noted: Notebook) -> None:
    for number in range(8):
        noted.runtime.create(Agent(name=f"a{number}"))
    noted.run("1")
    said = noted.run("os.environ['WHISPER_MODEL'] = 'groq/x'")
    assert said.startswith("a0, a1, a2, a3, a4 and 3 more answer with groq/x from now on (env WHISPER_MODEL), no")
    assert max(map(len, said.splitlines())) <= 100


async def test_a_config_that_is_wrong_is_left_to_the_run(noted: Notebook) -> None:
    noted.run("%agent new bob")
    assert noted.run("os.environ['WHISPER_MODEL'] = 'nonsense'") == ""
    assert noted.run("os.environ['WHISPER_MODEL'] = ''") == ""


# Tools


TOOL = 'def ver(x: str = "") -> str:\n    "v"\n    return {!r}'
NEW_TOOL = "ver: {} the new function from the next run on\n"


async def test_a_tool_that_a_cell_defines_anew_is_used_and_noted_once(noted: Notebook) -> None:
    noted.run(TOOL.format("one") + "\nother = 1")
    noted.run("%agent new bob --tools ver\n%agent new amy --tools ver\n%agent new eve")
    assert noted.run(TOOL.format("one")) == ""
    assert noted.run(TOOL.format("two")) == NEW_TOOL.format("bob, amy use")
    assert noted.run("other = 2") == ""
    assert await _answer(noted, "bob") == "two"
    assert noted.run("%agent new amy --tools ver") == (
        "amy: revision 2 (tools), history kept; answers with offline/echo\n"
    )
    assert noted.run(TOOL.format("three")) == NEW_TOOL.format("bob, amy use")
    for gone in ("del ver", "ver = 3", "class Odd:\n    __class__ = property(lambda self: 1 / 0)\nver = Odd()"):
        assert noted.run(gone) == ""
        assert await _answer(noted, "bob") == "two"


async def test_functions_of_one_definition_stay_with_their_agents(noted: Notebook) -> None:
    noted.run(
        "from whisper_nb import Agent\nfor word in ('one', 'two'):\n"
        "    def ver(word: str = word) -> str:\n        return word\n"
        "    rt.create(Agent(name=word, tools=(ver,)))"
    )
    assert noted.run("1") == "Out[0]: 1\n"
    assert [await _answer(noted, name) for name in ("one", "two")] == ["one", "two"]


@pytest.mark.parametrize(
    "cell",
    [
        "def make():\n    def ver() -> str:\n        return 'one'\n    return ver\nold = make()",
        "class Shop:\n    def ver(self) -> str:\n        return 'one'\nold = Shop().ver",
        "def named() -> str:\n    return 'one'\nold = named\nold.__name__ = 'ver'",
    ],
)
async def test_functions_without_a_name_of_their_own_in_cells_stay(noted: Notebook, cell: str) -> None:
    noted.run(cell)
    noted.run("from whisper_nb import Agent\n_ = rt.create(Agent(name='bob', tools=(old,)))")
    assert noted.run(TOOL.format("two")) == ""
    assert await _answer(noted, "bob") == "one"


async def _answer(noted: Notebook, name: str) -> str:
    """Return what the tool `ver` of this agent returns in its next run."""
    noted.runtime.models["offline/calls"] = ScriptedModel(
        [Rule(match="(.+)", role="tool", reply=r"\1"), Rule(match="go", calls=[{"name": "ver", "arguments": {}}])]
    )
    return await noted.runtime[name].submit("go", config="offline/calls")


# The budget


async def test_a_line_below_a_cell_says_once_for_each_limit_that_most_of_a_budget_is_spent(noted: Notebook) -> None:
    noted.runtime.set_budget(usd=1.0)
    assert "budget" not in noted.run("pass")
    noted.runtime._budget.charge("bob", 0.85)
    said = " ".join(noted.run("pass").split())
    assert said == "85 % of the budget of $1.0000 are spent ($0.8500); `%agent budget $2` raises it"
    assert noted.run("pass") == ""
    noted.runtime.set_budget(usd=1.05)
    assert noted.run("pass").startswith("80 % of the budget of $1.0500")
