from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from IPython.core.completer import provisionalcompleter

from support.inprocess import Notebook
from whisper_nb.notebook.magics import completion
from whisper_nb.notebook.magics.commands.table import COMMANDS


def completed(notebook: Notebook, code: str) -> list[str]:
    """Return the code completed with each completion."""
    with provisionalcompleter():
        found = list(notebook.shell.Completer.completions(code, len(code)))
    return [code[: item.start] + item.text for item in found]


@pytest.fixture
async def notebook(notebook: Notebook) -> Notebook:
    """With agents bob and amy; bob is paused and has one run, which is `ans`."""
    notebook.run("%agent new amy\n%agent pause bob\ndef look(path: str) -> str:\n    'Read.'\n    return path")
    notebook.run("ans = %agent ask bob hi")
    return notebook


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("%agent wa", ["%agent wait"]),
        ("%whisper pau", ["%whisper pause"]),
        ("  %agent wa", ["  %agent wait"]),
        ("ans = %agent as", ["ans = %agent ask"]),
        ("ans = %agent ask b", ["ans = %agent ask bob"]),
        ("%agent show ", ["%agent show bob", "%agent show amy"]),
        ("%agent show a", ["%agent show amy"]),
        ("%agent  show  a", ["%agent  show  amy"]),
        ("%agent pause bob a", ["%agent pause bob amy"]),
        ("%agent config b", ["%agent config bob"]),
        ("%agent config bob temp", ["%agent config bob temperature="]),
        ("%agent config bob seed=1 top", ["%agent config bob seed=1 top_p="]),
        ("%agent ask --set str", ["%agent ask --set stream="]),
        ("%agent wait b", ["%agent wait bob", "%agent wait bob#1"]),
        ("%agent wait bob#", ["%agent wait bob#1"]),
        ("%agent cancel bob#1", ["%agent cancel bob#1"]),
        ("%agent move ", ["%agent move bob#1", "%agent move ans"]),
        ("%agent move bob#", ["%agent move bob#1"]),
        ("%agent move bob#1 --before bo", ["%agent move bob#1 --before bob#1"]),
        ("%agent move bob#1 --priority=u", ["%agent move bob#1 --priority=urgent"]),
        ("%agent log ", ["%agent log bob", "%agent log amy", "%agent log bob#1", "%agent log ans"]),
        ("%agent log bob#", ["%agent log bob#1"]),
        ("%agent cancel bob#1 ", ["%agent cancel bob#1 bob", "%agent cancel bob#1 amy", "%agent cancel bob#1 ans"]),
        ("%agent remove bob ", ["%agent remove bob amy"]),
        ("%agent cancel an", ["%agent cancel ans"]),
        ("%agent loop t", ["%agent loop thread"]),
        ("%agent help wa", ["%agent help wait"]),
        ("%agent ask bob --mo", ["%agent ask bob --model"]),
        ("%agent ask bob --priority h", ["%agent ask bob --priority high"]),
        ("%agent new amy --memory l", ["%agent new amy --memory last:10"]),
        ("%agent new x --model offline/", ["%agent new x --model offline/echo"]),
        ("%agent new x --model openai/gp", ["%agent new x --model openai/gpt-4o-mini"]),
        ("%agent new x --tools lo", ["%agent new x --tools look"]),
        ("%agent new x --tools other,lo", ["%agent new x --tools other,look"]),
        ("%agent new x --tools other,", ["%agent new x --tools other,look"]),
        ("%agent new x --tools=other,l", ["%agent new x --tools=other,look"]),
        ("%agent stop --", ["%agent stop --all"]),
        ("%%agent ", ["%%agent bob", "%%agent amy"]),
        ("%%agent b", ["%%agent bob"]),
        ("%%whisper a", ["%%whisper amy"]),
        ("%%agent bob --pri", ["%%agent bob --priority"]),
        ("%%agent bob --priority ", [f"%%agent bob --priority {p}" for p in ("urgent", "high", "normal", "low")]),
        ("%%agent bob --priority=u", ["%%agent bob --priority=urgent"]),
        ("%%agent bob --model off", ["%%agent bob --model offline/echo"]),
    ],
)
async def test_completion_offers_commands_names_flags_and_values(
    notebook: Notebook, typed: str, found: list[str]
) -> None:
    flags = not typed.split(" ")[-1].startswith("-")
    words = [text for text in completed(notebook, typed) if not (flags and text.split(" ")[-1].startswith("-"))]
    assert words == found


@pytest.mark.parametrize("line", ["%%agent ", "%agent ask ", "ans = %agent ask ", "%agent pause ", "%agent log "])
async def test_agents_come_first_and_flags_last(notebook: Notebook, line: str) -> None:
    words = [text.removeprefix(line) for text in completed(notebook, line)]
    assert words[:2] == ["bob", "amy"]
    flags = [word.startswith("-") for word in words]
    assert any(flags)
    assert flags == sorted(flags)


async def test_flags_are_offered_until_the_prompt_begins(notebook: Notebook) -> None:
    assert "%agent ask bob --out" in completed(notebook, "%agent ask bob ")
    assert "%agent ask --block bob --out" in completed(notebook, "%agent ask --block bob --o")
    for line in ("%agent ask bob how ", "%agent ask bob -- "):
        assert not [text for text in completed(notebook, line) if text.split()[-1].startswith("--")]


async def test_the_last_runs_of_an_agent_are_offered_for_its_log(notebook: Notebook) -> None:
    runs = [notebook.runtime["amy"].submit(f"run {number}") for number in range(30)]
    for run in runs:
        await run
    words = completed(notebook, "%agent log amy#")
    assert words == [f"%agent log amy#{number}" for number in range(30, 10, -1)]
    assert "%agent move amy#1" not in completed(notebook, "%agent move amy#"), "none of them is queued"


async def test_variables_that_raise_are_passed_over(notebook: Notebook) -> None:
    class Proxy:
        @property
        def __class__(self) -> Any:
            raise RuntimeError("unbound")

    notebook.shell.user_ns["proxy"] = Proxy()
    assert completed(notebook, "%agent move an") == ["%agent move ans"]
    assert completed(notebook, "%agent new x --tools lo") == ["%agent new x --tools look"]


async def test_nothing_is_offered_in_a_comment(notebook: Notebook) -> None:
    assert not {"%agent pause bob # amy", "%agent pause bob # --all"} & {
        *completed(notebook, "%agent pause bob # a"),
        *completed(notebook, "%agent pause bob # "),
    }


async def test_each_completion_has_a_type(notebook: Notebook) -> None:
    def types(typed: str) -> set[tuple[str, str]]:
        with provisionalcompleter():
            return {(item.text, item.type) for item in notebook.shell.Completer.completions(typed, len(typed))}

    assert ("wait", "command") in types("%agent wa")
    assert {("bob", "agent"), ("bob#1", "run"), ("ans", "run"), ("--all", "flag")} <= types("%agent cancel ")
    assert types("%agent config bob temp") == {("temperature=", "field")}
    assert types("%agent new x --model offline/") == {("offline/echo", "model")}
    assert types("%agent new x --tools lo") == {("look", "function")}
    notebook.run("from os import system\nloader = open")
    assert types("%agent new x --tools lo") == {("look", "function")}, "what an agent's file can name"
    assert types("%agent new x --tools sy") == types("%agent new x --tools op") == set()
    assert ("high", "value") in types("%%agent bob --priority ")
    assert ("thread", "value") in types("%agent loop ")


async def test_completion_after_the_magic_offers_only_commands(notebook: Notebook) -> None:
    assert sorted(completed(notebook, "%agent ")) == sorted(f"%agent {name}" for name in COMMANDS)


async def test_a_name_that_is_already_in_the_line_is_not_offered(notebook: Notebook) -> None:
    assert "%agent history bob amy" not in completed(notebook, "%agent history bob ")
    assert "%agent show bob bob" not in completed(notebook, "%agent show bob ")
    assert "%agent log -n 3 bob amy" not in completed(notebook, "%agent log -n 3 bob a")
    assert "%agent log -n 3 amy" in completed(notebook, "%agent log -n 3 a")


async def test_ipython_completes_where_the_magic_offers_nothing(
    notebook: Notebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "who_amy_is.md").touch()
    for line in ("%agent new amy --prompt-file who_", "%agent frobnicate who_", "%time who_"):
        assert f"{line}amy_is.md" in completed(notebook, line)


async def test_the_body_of_a_cell_is_not_completed(notebook: Notebook) -> None:
    assert not {"bob", "amy"} & set(completed(notebook, "%%agent bob\n"))


async def test_a_foreign_magic_is_not_completed(notebook: Notebook) -> None:
    assert "%agents bob" not in completed(notebook, "%agents b")
    assert "%%time bob" not in completed(notebook, "%%time b")


async def test_completion_can_be_removed(notebook: Notebook) -> None:
    before = list(notebook.shell.Completer.custom_matchers)
    undo = completion.register(notebook.shell, notebook.bench, notebook.magic_names)
    undo()
    assert notebook.shell.Completer.custom_matchers == before


@pytest.mark.parametrize(
    ("variable", "found"),
    [("ans", "result"), ("rt", "create"), ("bob", "submit"), ("bob.agent", "title"), ("bob.config", "model")],
)
async def test_the_members_of_the_objects_that_a_cell_gets_are_completed(
    notebook: Notebook, variable: str, found: str
) -> None:
    """Jedi gives none for an object with a property whose annotation it cannot read, and says nothing."""
    notebook.shell.user_ns.update(rt=notebook.runtime, bob=notebook.runtime["bob"])
    assert f"{variable}.{found}" in completed(notebook, f"{variable}.")
    assert not [name for name in completed(notebook, f"{variable}.") if "._" in name]
