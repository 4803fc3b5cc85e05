"""Cells that wait, and the cells that are queued behind them."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.client import Kernel

pytestmark = pytest.mark.kernel


async def test_cells_queued_behind_a_wait_are_answered_in_order_after_it(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nslow")
    wait = kernel.send("%agent wait\nprint(ans.status)")
    behind = [kernel.send(f"print('cell', {n}, ans.status)") for n in range(5)]
    counts = [(await cell.ok()).contents("execute_input")[0]["execution_count"] for cell in (wait, *behind)]
    assert counts == sorted(counts)
    assert "succeeded · in " in wait.text
    assert [cell.text for cell in behind] == [f"cell {n} succeeded\n" for n in range(5)]
    printed = [message.parent for message in kernel.messages if message.type == "stream"][-6:]
    assert printed == [cell.id for cell in (wait, *behind)]


async def test_a_click_in_the_panel_is_executed_while_a_cell_waits_and_cells_keep_their_order(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nforever")
    panel = await kernel.value("rt.panel().model_id")
    wait = kernel.send("%agent wait")
    behind = [kernel.send(f"print('cell', {n}, ans.status)") for n in range(5)]
    await wait.until(lambda: wait.contents("execute_input") != [])
    kernel.tell(panel, {"do": "cancel", "run": "bob#1", "view": "abcd", "id": 1})
    behind += [kernel.send(f"print('cell', {n}, ans.status)") for n in range(5, 8)]
    assert (await wait.ok()).text == "1 cancelled (bob#1)\n"
    assert [(await cell.ok()).text for cell in behind] == [f"cell {n} cancelled\n" for n in range(8)]
    order = [message.parent for message in kernel.messages if message.type == "execute_input"][-9:]
    assert order == [cell.id for cell in (wait, *behind)]


async def test_run_all_of_launches_and_waits_answers_every_cell(kernel: Kernel) -> None:
    codes = [
        "%agent new amy",
        "%%agent bob -o one\nslow",
        "%%agent amy -o two --block\nslow {{ one }}",
        "one.result()",
        "await two",
        "%agent wait",
        "%agents",
        "print(one.text, two.text)",
    ]
    cells = [kernel.send(code, f"cell-{n}") for n, code in enumerate(codes)]
    for cell in cells:
        await cell.ok()
    assert cells[-1].text == "a slow answer a slow answer\n"


@pytest.mark.parametrize(
    ("setup", "code"),
    [
        ("", "%%agent bob --block -o ans\nslow"),
        ("%%agent bob -o ans\nslow", "def f(run):\n    return run.result()\n\nassert f(ans) == 'a slow answer'"),
        ("%%agent bob -o ans\nslow", "%time ans.result()"),
        ("%%agent bob -o ans\nslow", "await asyncio.sleep(0)\nassert ans.result() == 'a slow answer'"),
        ("%%agent bob -o ans\nslow", "async def f():\n    return ans.result()\n\nassert await f() == 'a slow answer'"),
        ("%%agent bob -o ans\nslow", "assert [r.result() for r in (ans, ans)] == ['a slow answer'] * 2"),
        ("%%agent bob -o ans\nslow", "assert await ans == 'a slow answer'"),
        ("%%agent bob -o ans\nslow", "assert await asyncio.gather(ans, ans) == ['a slow answer'] * 2"),
    ],
)
async def test_every_way_to_wait_in_a_cell_works(kernel: Kernel, setup: str, code: str) -> None:
    if setup:
        await kernel.run(setup)
    first, second = kernel.send(code), kernel.send("print(ans.status)")
    await first.ok()
    assert (await second.ok()).text == "succeeded\n"


async def test_pandas_apply_can_wait_for_one_run_after_the_other(kernel: Kernel) -> None:
    cell = kernel.send(
        "import pandas as pd\n"
        "said = pd.Series(['a', 'b', 'c']).map(lambda word: rt['bob'].submit(word).result())\n"
        "print(list(said))"
    )
    behind = kernel.send("print(len(said))")
    assert (await cell.ok()).text == "['heard: a', 'heard: b', 'heard: c']\n"
    assert (await behind.ok()).text == "3\n"


async def test_waits_can_be_nested(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nslow")
    cell = await kernel.run(
        "inner = []\n"
        "def nested():\n"
        "    inner.append(ans.result())\n"
        "asyncio.get_running_loop().call_soon(nested)\n"
        "outer = ans.result()\n"
        "print(inner == [outer])"
    )
    assert cell.text == "True\n"
    assert (await kernel.run("await asyncio.sleep(0); print('alive')")).text == "alive\n"


async def test_a_wait_that_times_out_ends_and_the_run_continues(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nforever")
    assert "bob#1" in await kernel.send("%agent wait --timeout 0.2").error()
    assert "TimeoutError" in await kernel.send("ans.result(timeout=0.2)").error()
    assert await kernel.value("ans.status") == "running"


async def test_waiting_inside_an_agents_own_tool_is_an_error_that_says_await(kernel: Kernel) -> None:
    await kernel.run(
        "async def peek() -> str:\n"
        "    'Look.'\n"
        "    return rt['amy'].submit('hello').result()\n"
        "async def look() -> str:\n"
        "    'Look.'\n"
        "    return await rt['amy'].submit('hello')\n"
        "def read() -> str:\n"
        "    'In a thread of its own.'\n"
        "    return rt['amy'].submit('hello').result()\n"
        "%agent new amy\n"
        "%agent new bob --tools peek,look,read"
    )
    said = [
        (await kernel.run(f"print(await rt['bob'].submit('tool {name}'))")).text for name in ("peek", "look", "read")
    ]
    assert "would block every agent: write `await run`" in said[0]
    assert said[1:] == ["it said: heard: hello\n"] * 2


async def test_a_wait_for_a_paused_agent_ends_with_the_reason(kernel: Kernel) -> None:
    await kernel.run("%agent pause bob\n%agent ask bob -o ans hi")
    for code in ("%agent wait", "ans.result()", "%agent wait ans"):
        assert "bob is paused (%agent resume bob)" in await kernel.send(code).error()
    await kernel.run("%agent resume bob\n%agent wait")


async def test_other_threads_may_submit_wait_and_cancel(kernel: Kernel) -> None:
    cell = await kernel.run(
        "from concurrent.futures import ThreadPoolExecutor\n"
        "def work(n):\n"
        "    return rt['bob'].submit(f'number {n}').result()\n"
        "with ThreadPoolExecutor(4) as pool:\n"
        "    loop = asyncio.get_running_loop()\n"
        "    said = await asyncio.gather(*(loop.run_in_executor(pool, work, n) for n in range(20)))\n"
        "print(said == [f'heard: number {n}' for n in range(20)])"
    )
    assert cell.text == "True\n"
    cell = await kernel.run(
        "def work():\n"
        "    run = rt['bob'].submit('forever')\n"
        "    run.cancel()\n"
        "    try:\n"
        "        run.result()\n"
        "    except wnb.RunCancelled:\n"
        "        return run.status\n"
        "print(await asyncio.to_thread(work))"
    )
    assert cell.text == "cancelled\n"


async def test_a_submit_from_a_thread_wakes_an_idle_kernel(kernel: Kernel) -> None:
    cell = await kernel.run(
        "import threading\n"
        "def work():\n"
        "    print('said:', rt['bob'].submit('from a thread').result(), flush=True)\n"
        "threading.Timer(0.2, work).start()"
    )
    await cell.until(lambda: any("said: heard: from a thread" in str(m.content) for m in kernel.messages))


async def test_a_threads_output_stays_in_the_waiting_cell_after_a_click(kernel: Kernel, tmp_path: Path) -> None:
    """Not during it: ipykernel has one parent for all threads, and it is the click's while that is handled."""
    await kernel.run("%%agent bob -o ans\nforever")
    panel = await kernel.value("rt.panel().model_id")
    cell = kernel.send(
        "import os, threading, time\n"
        "def talk():\n"
        "    print('before')\n"
        "    while not os.path.exists('clicked'): time.sleep(0.05)\n"
        "    print('after')\n"
        "thread = threading.Thread(target=talk)\n"
        "thread.start()\n"
        "ans.wait()\n"
        "thread.join()"
    )
    await cell.says("before")
    before = len(kernel.messages)
    kernel.tell(panel, {"do": "ping", "view": "abcd", "id": 1})
    await cell.until(lambda: any("'kind': 'done'" in str(one.content) for one in kernel.messages[before:]))
    (tmp_path / "clicked").touch()
    await cell.says("after")
    kernel.tell(panel, {"do": "cancel", "run": "bob#1", "view": "abcd", "id": 2})
    assert (await cell.ok()).text.split() == ["before", "after"]


async def test_a_panel_that_a_front_end_closed_is_created_again(kernel: Kernel) -> None:
    first = await kernel.value("rt.panel().model_id")
    kernel.post(kernel.client.session.msg("comm_close", {"comm_id": first, "data": {}}))
    second = await kernel.value("rt.panel().model_id")
    assert second != first
    await kernel.run("%%agent bob -o ans\nforever")
    wait = kernel.send("%agent wait")
    await wait.until(lambda: wait.contents("execute_input") != [])
    kernel.tell(second, {"do": "cancel", "run": "bob#1", "view": "abcd", "id": 1})
    assert (await wait.ok()).text == "1 cancelled (bob#1)\n"


MANY = (
    "rt.models['offline/busy'] = wnb.ScriptedModel([wnb.Rule('', 'w ' * 50, tokens_per_second=2000)])\n"
    "team = [rt.create(wnb.Agent(name=f'm{n}', config='offline/busy')) for n in range(60)]"
)


async def test_the_first_wait_in_the_middle_of_a_loop_iteration_does_not_break_the_kernel(kernel: Kernel) -> None:
    """asyncio counts the ready callbacks before it runs them, and fails where a nested loop has run one already."""
    await kernel.run(MANY)
    await kernel.run(
        "for one in team:\n    for _ in range(3): one.submit('hi')\nawait asyncio.sleep(0.05)\n%agent wait"
    )
    assert await kernel.value("{run.status for one in team for run in one.runs} == {'succeeded'}")
    assert "IndexError" not in kernel.stderr.read_text()
