"""Cells that are rerun, run all at once, and run in any order."""

from __future__ import annotations

import re

import pytest

from support.client import Kernel

pytestmark = pytest.mark.kernel


async def test_rerunning_a_cell_cancels_its_unfinished_run_and_says_so(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nforever", "c1")
    await kernel.run("first = ans")
    again = await kernel.run("%%agent bob -o ans\nhello", "c1")
    assert again.text == "bob#1, launched by this cell before, was not finished: cancelled\n"
    assert (await kernel.run("await ans")).result == "'heard: hello'"
    assert await kernel.value("[first.status, ans.id]") == ["cancelled", "bob#2"]


async def test_rerunning_a_cell_whose_run_is_done_cancels_nothing(kernel: Kernel) -> None:
    for number in (1, 2):
        cell = await kernel.run("%%agent bob -o ans\nhello", "c1")
        assert cell.text == ""
        await kernel.run("await ans", "c2")
        assert await kernel.value("[ans.id, ans.status]") == [f"bob#{number}", "succeeded"]


async def test_the_same_text_in_another_cell_does_not_cancel_the_first_run(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o one\nforever", "c1")
    cell = await kernel.run("%%agent bob -o two\nforever", "c2")
    assert cell.text == ""
    assert await kernel.value("[one.done, two.done]") == [False, False]
    await kernel.run("%agent cancel --all")


async def test_without_cell_ids_the_same_text_cancels_nothing(kernel: Kernel) -> None:
    """As nbconvert runs a notebook in which two cells have the same text."""
    for _ in range(2):
        assert (await kernel.run("%%agent bob\nslow")).text == ""
    assert (await kernel.run("%agent wait")).text.startswith("2 succeeded · in ")


async def test_launches_of_one_execution_do_not_cancel_each_other_and_a_rerun_cancels_them_all(kernel: Kernel) -> None:
    code = "runs = []\nfor word in ('a', 'b', 'c'):\n    run = %agent ask bob forever {{ word }}\n    runs.append(run)"
    assert (await kernel.run(code, "c1")).text == ""
    await kernel.run("first = runs")
    assert await kernel.value("[run.done for run in first]") == [False] * 3
    again = await kernel.run(code.replace("forever", "hello"), "c1")
    assert again.text.count("was not finished: cancelled") == 3
    await kernel.run("await asyncio.gather(*runs)")
    assert await kernel.value("[run.status for run in first]") == ["cancelled"] * 3


async def test_a_rerun_that_sends_nothing_cancels_nothing(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nforever", "c1")
    await kernel.run("%%agent bob --dry-run\nhello", "c1")
    await kernel.send("%%agent bob\n{{ nobody }}", "c1").error()
    await kernel.send("%%agent nobody\nhello", "c1").error()
    assert await kernel.value("ans.done") is False
    await kernel.run("%agent cancel --all")


async def test_run_all_twice_gives_every_cell_its_answer(kernel: Kernel) -> None:
    codes = [
        "%load_ext whisper_nb",
        "def look(path: str = '.') -> int:\n    'Look.'\n    return 42",
        "%agent new bob --tools look\n%agent new amy --prompt 'You are amy.'",
        "%%agent bob -o one\ntool look",
        "%%agent amy -o two\nthen {{ one }}",
        "print(1 + 1)",
        "%agent wait",
        "print(one.text, '|', two.text)",
    ]
    for time in (1, 2):
        cells = [kernel.send(code, f"c{number}") for number, code in enumerate(codes)]
        for cell in cells:
            await cell.ok()
        assert cells[-1].text == "it said: 42 | heard: then it said: 42\n"
        assert await kernel.value("[s.revision for s in rt.sessions]") == [2, 1], "of bob, who was another before"
        assert await kernel.value("[len(s.runs) for s in rt.sessions]") == [time, time]


async def test_run_all_again_cancels_the_unfinished_runs_of_the_first(kernel: Kernel) -> None:
    codes = ["%%agent bob -o one\nslow", "%%agent bob -o two\nslow {{ one }}"]
    for number, code in enumerate(codes * 2):
        await kernel.run(code, f"c{number % 2}")
    await kernel.run("await two")
    assert await kernel.value("[one.id, two.id, one.status, two.status]") == [
        "bob#3",
        "bob#4",
        "succeeded",
        "succeeded",
    ]
    assert await kernel.value("[r.done for r in rt['bob'].runs]") == [True] * 4


async def test_the_flag_o_binds_the_variable_at_once(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --model offline/held")
    launch, use = kernel.send("%%agent bob -o ans\nhi"), kernel.send("print(ans.id, ans.done)")
    await launch.ok()
    assert (await use.ok()).text == "bob#1 False\n"
    await kernel.run("held.calls[0].release()\nawait ans")
    assert (await kernel.run("print(str(ans))")).text == "partial and done\n"


async def test_a_prompt_may_contain_an_unfinished_run(kernel: Kernel) -> None:
    await kernel.run("%agent new amy --model offline/held\n%agent ask amy -o ans hi")
    await kernel.run("%%agent bob -o more\nSum up: {{ ans }}!")
    assert await kernel.value("[more.status, more.prompt]") == ["queued", "Sum up: ⟨amy#1⟩!"]
    await kernel.run("held.calls[0].release()")
    assert (await kernel.run("print(await more)")).text == "heard: Sum up: partial and done!\n"


async def test_a_prompt_with_a_failed_run_fails_and_names_it(kernel: Kernel) -> None:
    await kernel.run("%agent new amy\n%agent ask amy -o ans fail")
    await kernel.run("%%agent bob -o more\nSum up: {{ ans }}!")
    error = await kernel.send("await more").error()
    assert error == "RunFailed: bob#1 failed: it needs amy#1, which failed: no more"


async def test_an_error_of_a_magic_is_one_line_in_a_kernel(kernel: Kernel) -> None:
    cell = kernel.send("%%agent nobody\nhi")
    assert (await cell.error()).startswith("UsageError: no agent named 'nobody'")
    assert cell.text.count("\n") <= 1


async def completed(kernel: Kernel, code: str, after: str = "") -> list[str]:
    """The completions of this code, with more code after the cursor."""
    answer = await kernel.request("complete_request", code=code + after, cursor_pos=len(code))
    assert answer["cursor_end"] == len(code)
    return [code[: answer["cursor_start"]] + match for match in answer["matches"]]


async def test_a_kernel_completes_the_magics(kernel: Kernel) -> None:
    await kernel.run("%agent new amy\n%agent ask bob -o ans forever")
    assert await completed(kernel, "%agent wa") == ["%agent wait"]
    assert await completed(kernel, "%agent cancel bob#") == ["%agent cancel bob#1"]
    assert (await completed(kernel, "%%agent "))[:3] == ["%%agent bob", "%%agent amy", "%%agent -o"]
    assert (await completed(kernel, "%%agent ", "\nhello"))[:2] == ["%%agent bob", "%%agent amy"]
    assert (await completed(kernel, "x = 1\n%agent ask ", "\ny = 2"))[0] == "x = 1\n%agent ask bob"
    await kernel.run("%agent ask bob -o more hi")
    assert await completed(kernel, "%agent move bob#", " --priority high") == ["%agent move bob#2"]
    assert (await completed(kernel, "%agent move "))[0] == "%agent move bob#2"
    assert await completed(kernel, "%%agent bob --priority ur") == ["%%agent bob --priority urgent"]
    assert await completed(kernel, "%agent new eve --model offline/e") == ["%agent new eve --model offline/echo"]
    assert set(await completed(kernel, "ans.")) >= {"ans.text", "ans.result", "ans.cancel", "ans.status"}
    await kernel.run("%agent cancel --all")


async def test_a_prompt_that_ends_in_a_question_mark_is_not_a_request_for_help(kernel: Kernel) -> None:
    await kernel.run("ans = %agent ask bob is x = y?")
    assert (await kernel.run("print(await ans)")).text == "heard: is x = y?\n"


async def test_reloading_the_extension_keeps_agents_runs_and_outputs(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --model offline/held")
    launch = await kernel.run("%%agent bob -o ans\nhi", "c1")
    assert (await kernel.run("%reload_ext whisper_nb")).text.count("\n") == 1
    assert await kernel.value("[s.name for s in rt.sessions] + [rt is wnb.runtime()]") == ["bob", True]
    await kernel.run("held.calls[0].release()")
    await launch.until(lambda: "partial and done" in str(kernel.shown(launch.displays[0])[-1].content))
    await kernel.run("%%agent bob -o ans\nhi", "c1")
    await kernel.run("%reload_ext whisper_nb")
    again = await kernel.run("%%agent bob -o ans\nhi", "c1")
    assert "bob#2, launched by this cell before" in again.text
    assert len(again.displays) == 1
    await kernel.run("%agent cancel --all\n%unload_ext whisper_nb")
    assert "`%agent` not found" in await kernel.send("%agent").error()
    await kernel.run("%load_ext whisper_nb\n%agent")


async def test_idle_agents_have_no_task_or_timer_on_the_loop(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nhello")
    await kernel.run("await ans\nawait asyncio.sleep(0.2)")
    names = await kernel.value("[t.get_name() for t in asyncio.all_tasks()]")
    assert [name for name in names if "whisper" in name] == []


async def test_notes_are_below_the_cell_that_they_are_about(kernel: Kernel) -> None:
    key = "sk-0123456789abcdef"
    cell = await kernel.run(f"import os\nos.environ['OPENAI_API_KEY'] = '{key}'")
    note, _, change = cell.text.splitlines()
    assert note.startswith("note: this cell contains an API key")
    assert change.startswith("bob answers with openai/gpt-4o-mini from now on (env OPENAI_API_KEY)")
    assert key not in cell.text
    assert (await kernel.run("del os.environ['OPENAI_API_KEY']")).text.startswith("bob answers with offline/slow")
    assert (await kernel.run("%agent new bob")).text.count("\n") == 1


async def test_an_error_of_python_in_a_cell_shows_the_users_line_and_the_message(kernel: Kernel) -> None:
    for line, says in {
        "wnb.Agent(nme='x')": "ConfigError: Agent() has no argument 'nme'; did you mean 'name'?",
        "await rt['bob'].submit('fail')": "RunFailed: bob#1 failed: no more",
        "rt['bob'].submit('forever').result(0.01)": "TimeoutError: bob#2 is running after 0.01 s, and goes on",
    }.items():
        cell = kernel.send(f"import whisper_nb as wnb\nrt = wnb.runtime()\n{line}")
        assert await cell.error() == says
        shown = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join((await cell.reply())["traceback"]))
        assert f"----> 3 {line}" in shown
        assert "whisper_nb/" not in shown
    await kernel.run("%agent cancel --all")
