"""`%agent loop thread` in a real kernel: agents continue while a cell blocks, and all else is unchanged."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.client import ROOT, TIMEOUT_S, Cell, Kernel
from support.endings import NAP, NOISE, OURS, WORK, noise
from support.interrupts import SAY_WAITING
from support.provider import HANG, Provider, text
from support.this_machine import OnThisMachine

pytestmark = pytest.mark.kernel


@pytest.fixture
async def kernel(kernel: Kernel) -> AsyncIterator[Kernel]:
    """A kernel whose agents run in a thread."""
    cell = await kernel.run("%agent loop thread\nfrom whisper_nb.core.events import TextStreamed, ToolStarted")
    assert cell.text == "agents run on a loop in their own thread\n"
    yield kernel
    assert noise(kernel.stderr.read_text(), OURS) == []


#: A cell that blocks until there is a file named `go`.
BLOCKED = "import os\nprint('begun', flush=True)\nwhile not os.path.exists('go'): {}"


def last(kernel: Kernel, cell: Cell) -> str:
    """The current text of a run's display in its cell."""
    return str(kernel.shown(cell.displays[0])[-1].content["data"]["text/plain"])


#: `python -m whisper_nb`, with the test's time limit for answers of kernels.
COMMAND = """
import sys
from whisper_nb import __main__
from whisper_nb.team import kernels
kernels.ANSWER_TIMEOUT_S = kernels.END_TIMEOUT_S = float(sys.argv.pop(1))
sys.exit(__main__.main())
"""


async def command(kernel: Kernel, *words: str, patience_s: float) -> tuple[int | None, str]:
    """Run the command in a terminal of the kernel's user. Return its exit code and what it prints."""
    env = {**os.environ, "XDG_RUNTIME_DIR": kernel.runtime_dir, "PYTHONPATH": str(ROOT)}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", COMMAND, str(patience_s), *words),
        env=env,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    said, _ = await process.communicate()
    return process.returncode, said.decode()


CHUNKS = (
    "from whisper_nb import Rule, ScriptedModel\n"
    "rt.models['offline/chunks'] = ScriptedModel([Rule('', 'word ' * 19 + 'word', tokens_per_second=8)])\n"
    "%agent new bob --model offline/chunks\n"
    "heard = []\n"
    "drop = rt.observe(lambda r: heard.append(r) if isinstance(r.event, TextStreamed) else None)"
)


@pytest.mark.parametrize(
    "blocking",
    [
        "while len(heard) < 16: time.sleep(0.5)",
        "while len(heard) < 16: pass",
        "sum(i * i for i in range(10**12) if len(heard) >= 16 and 1 / 0)",
    ],
)
async def test_chunks_arrive_while_a_cell_blocks(kernel: Kernel, blocking: str) -> None:
    await kernel.run(CHUNKS)
    launch = kernel.send("%%agent bob -o ans\nhello")
    cell = await kernel.run(f"try:\n    {blocking}\nexcept ZeroDivisionError: pass")
    painted = [message for message in kernel.shown(launch.displays[0]) if message.time < cell.messages[-1].time]
    assert any(str(message.content).count("word") > 3 for message in painted), "it is painted while the cell blocks"
    assert re.fullmatch(
        r"1 succeeded · in \d+ · out \d+ tokens\nsucceeded\n", (await kernel.run("%agent wait\nprint(ans.status)")).text
    )


async def test_the_output_of_a_run_goes_to_the_launching_cell(kernel: Kernel) -> None:
    await kernel.run(
        "def libs(*functions):\n"
        "    for function in functions: function.__module__ = 'lib'\n"
        "async def talk() -> str:\n    'Talk.'\n    print('spoken')\n    return 'ok'\n"
        "%agent new eve --tools talk"
    )
    launch = await kernel.run("%%agent eve -o ans\ntool talk")
    blocked = kernel.send("time.sleep(0.5)")
    await blocked.ok()
    wait = await kernel.run("%agent wait")
    assert wait.text.startswith("1 succeeded · in ")
    await launch.says("spoken")
    assert "spoken" not in blocked.text + wait.text
    updates = kernel.shown(launch.displays[0])
    assert {message.parent for message in updates} <= {launch.id, blocked.id, wait.id}
    assert "it said: ok" in str(updates[-1].content)
    assert updates[-1].parent == wait.id  # a headless front end saves this one


async def test_a_tool_from_the_notebook_waits_for_the_main_thread(kernel: Kernel) -> None:
    await kernel.run(
        "import threading\n"
        "rows = 1\n"
        "def count() -> str:\n    'Count.'\n    global rows\n    rows += 1\n"
        "    return f'{rows} {threading.current_thread() is threading.main_thread()}'\n"
        "%agent new eve --tools count"
    )
    await kernel.run("%%agent eve -o ans\ntool count")
    cell = await kernel.run(
        "while not any(isinstance(one.event, ToolStarted) for one in ans.events): time.sleep(0.01)\n"
        "print(rows, ans.status, type(ans.events[-1].event).__name__)"
    )
    assert cell.text == "1 running ToolStarted\n"
    text = (await kernel.run("%agent wait\nprint(rows, ans)")).text
    assert re.fullmatch(r"1 succeeded · in \d+ · out \d+ tokens\n2 it said: 2 True\n", text)


async def test_a_tool_may_wait_for_an_agent_whose_tool_needs_the_main_thread(kernel: Kernel) -> None:
    await kernel.run(
        "def inner() -> str:\n    'Inner.'\n    return 'from inside'\n"
        "def outer() -> str:\n    'Outer.'\n    return rt['eve'].submit('tool inner').result()\n"
        "async def around() -> str:\n    'Around.'\n    return await rt['eve'].submit('tool inner')\n"
        "async def peek() -> str:\n    'Peek.'\n    return rt['eve'].submit('tool inner').result()\n"  # not done yet
        "%agent new eve --tools inner\n%agent new bob --tools outer,around,peek"
    )
    for name in ("outer", "around"):
        cell = await kernel.run(f"print(rt['bob'].submit('tool {name}').result())")
        assert cell.text == "it said: it said: from inside\n"
    assert "write `await run` for" in (await kernel.run("print(await rt['bob'].submit('tool peek'))")).text


async def test_a_wait_within_a_wait_that_would_have_to_end_first_is_refused(kernel: Kernel) -> None:
    await kernel.run(CHUNKS)
    await kernel.run(
        "def first() -> str:\n    'First.'\n    global inner\n    inner = rt['eve'].submit('tool second')\n"
        "    return rt['bob'].submit('hello').result()\n"
        "def second() -> str:\n    'Second.'\n    return rt['bob'].submit(['see: ', outer]).result()\n"
        "%agent new ann --tools first\n%agent new eve --tools second"
    )
    cell = await kernel.run("outer = rt['ann'].submit('tool first')\nprint(outer.result()[:13], '|', inner.result())")
    assert cell.text.startswith("it said: word | it said: error: SessionError: ann#1 would wait for itself: bob#2")
    await kernel.run("%agent wait")


async def test_a_cell_cannot_wait_for_a_run_whose_tool_waits_beneath_it(kernel: Kernel) -> None:
    """The tool runs between cells, and the loop that it blocks with answers the next cell."""
    await kernel.run(CHUNKS)
    await kernel.run(
        "import asyncio\nfrom whisper_nb.core.messages import Finish, TextDelta\n"
        "reached, released = asyncio.Event(), asyncio.Event()\n"
        "async def held(request):\n    await released.wait()\n    yield TextDelta('done')\n"
        "    yield Finish('stop', None, 0.0)\n"
        "rt.models['offline/held'] = wnb.FunctionModel(held)\n"
        "def ask() -> str:\n    'Ask.'\n    reached.set()\n    return rt['eve'].submit('hello').result()\n"
        "%agent new eve --model offline/held\n%agent new ann --tools ask\n%agent ask bob hello\n%agent wait"
    )
    await kernel.run("outer = rt['ann'].submit('tool ask')\nawait reached.wait()")
    refused = await kernel.send("%agent wait ann").error()
    assert "waiting for ann#1 would never end: a tool of ann#1 waits on this thread" in refused
    await kernel.run("rt.home.loop.call_soon_threadsafe(released.set)\nprint(await outer)")


async def test_a_run_whose_tool_waits_for_a_cell_can_be_cancelled(kernel: Kernel) -> None:
    await kernel.run(
        "called = []\ndef touch() -> str:\n    'Touch.'\n    called.append(1)\n    return 'done'\n"
        "%agent new eve --tools touch"
    )
    await kernel.run(
        "ans = rt['eve'].submit('tool touch')\n"
        "while not any(isinstance(one.event, ToolStarted) for one in ans.events): time.sleep(0.01)\n"
        "ans.cancel()\n"
        "while not ans.done: time.sleep(0.001)"
    )
    assert await kernel.value("[ans.status, called]") == ["cancelled", []]


async def test_an_interrupt_ends_only_the_tool_on_the_main_thread(kernel: Kernel) -> None:
    await kernel.run(
        "def hang() -> str:\n    'Hang.'\n    print('begun', flush=True)\n    time.sleep(60)\n    return 'done'\n"
        "%agent new eve --tools hang"
    )
    launch = await kernel.run("%%agent eve -o ans\ntool hang")
    await launch.says("begun")
    await kernel.interrupt()
    assert "error: KeyboardInterrupt" in (await kernel.run("print(await ans)")).text


@pytest.mark.parametrize("wait", ["%agent wait", "ans.result()", "await ans"])
async def test_an_interrupt_ends_a_wait_while_a_tool_uses_the_main_thread(kernel: Kernel, wait: str) -> None:
    await kernel.run(
        "def hang() -> str:\n    'Hang.'\n    print('begun', flush=True)\n    time.sleep(60)\n    return 'done'\n"
        "%agent new eve --tools hang"
    )
    cell = kernel.send(f"%agent ask eve -o ans tool hang\n{wait}")
    await cell.says("begun")
    await kernel.interrupt()
    assert (await cell.error()).startswith(("KeyboardInterrupt", "CancelledError", "UsageError"))
    assert "error: KeyboardInterrupt" in (await kernel.run("print(await ans)")).text


async def test_an_interrupt_ends_the_wait_of_a_tool_and_that_of_the_cell_around_it(kernel: Kernel) -> None:
    await kernel.run(
        "def ask() -> str:\n    'Ask.'\n    global inner\n    inner = rt['bob'].submit('forever')\n"
        "    asyncio.get_running_loop().call_soon(partial(print, 'begun', flush=True))\n    return inner.result()\n"
        "from functools import partial\n%agent new eve --tools ask"
    )
    cell = kernel.send("%agent ask eve -o ans tool ask\nans.result()")
    await cell.says("begun")
    await kernel.interrupt()
    assert (await cell.error()).startswith("KeyboardInterrupt")
    said = await kernel.run("print(await ans, inner.status)\n%agent cancel bob\n%agent wait")
    assert said.text.startswith("it said: error: KeyboardInterrupt")
    assert "running" in said.text


async def test_interrupting_a_wait_does_not_end_runs(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nlong")
    wait = kernel.send(f"{SAY_WAITING}%agent wait")
    await wait.says("begun")
    await kernel.interrupt()
    assert "stopped waiting (interrupted); not finished: bob#1" in await wait.error()
    sleep = kernel.send("print('begun', flush=True)\ntime.sleep(60)")
    await sleep.says("begun")
    await kernel.interrupt()
    assert "KeyboardInterrupt" in await sleep.error()
    assert await kernel.value("ans.status") == "running"
    assert (await kernel.run("%agent wait")).text.startswith("1 succeeded · in ")
    assert await kernel.value("ans.text.split() == ['word'] * 150")


async def test_a_click_is_executed_while_a_cell_waits(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nforever")
    panel = await kernel.value("rt.panel().model_id")
    await kernel.run("%agents")
    wait = kernel.send("%agent wait")
    behind = [kernel.send(f"print('cell', {n}, ans.status)") for n in range(3)]
    await wait.until(lambda: wait.contents("execute_input") != [])
    for number, asked in enumerate(({"do": "hello"}, {"do": "cancel", "run": "bob#1"})):
        kernel.tell(panel, {**asked, "view": "abcd", "id": number})
    assert (await wait.ok()).text == "1 cancelled (bob#1)\n"
    assert [(await cell.ok()).text for cell in behind] == [f"cell {n} cancelled\n" for n in range(3)]
    kinds = [
        message.content["data"]["content"]["kind"]
        for message in kernel.messages
        if message.type == "comm_msg" and message.content["data"].get("method") == "custom"
    ]
    assert {"all", "done"} <= set(kinds)


async def test_the_panel_is_updated_while_a_cell_blocks(kernel: Kernel, tmp_path: Path) -> None:
    panel = await kernel.value("rt.panel().model_id")
    kernel.tell(panel, {"do": "hello", "view": "abcd", "id": 1})
    await kernel.run("%%agent bob\nlong")
    cell = kernel.send(BLOCKED.format("pass"))
    await cell.says("begun")
    seen = len(kernel.messages)
    await cell.until(lambda: "running" in str([one for one in kernel.messages[seen:] if one.type == "comm_msg"]))
    assert not cell.answered.done()
    (tmp_path / "go").touch()
    await cell.ok()


async def test_run_all_of_launches_waits_and_moves_answers_every_cell(kernel: Kernel) -> None:
    codes = [
        "%agent new amy",
        "%%agent bob -o one\nslow",
        "time.sleep(0.2)",
        "%%agent amy -o two --block\nslow {{ one }}",
        "one.result()",
        "await two",
        "%agent wait",
        "%agents",
        "%agent list",
        "%agent loop notebook",
        "print(await rt['bob'].submit('again'))",
        "%agent loop thread",
        "print(rt['bob'].submit('again').result(), len(rt['bob'].history))",
        "print(one.text, two.text)",
    ]
    cells = [kernel.send(code, f"cell-{n}") for n, code in enumerate(codes)]
    for cell in cells:
        await cell.ok()
    assert cells[-1].text == "a slow answer a slow answer\n"
    assert [cells[n].text for n in (9, 10, 11, 12)] == [
        "agents run on the notebook's own loop\n",
        "heard: again\n",
        "agents run on a loop in their own thread\n",
        "heard: again 6\n",
    ]


async def test_agents_at_work_cannot_move(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nforever")
    said = await kernel.send("%agent loop notebook").error()
    assert "bob is at work, and agents move to another loop at rest: wait for their runs (%agent wait)" in said
    assert (await kernel.run("%agent loop")).text == "agents run on a loop in their own thread\n"
    assert "invalid choice: 'mars'" in await kernel.send("%agent loop mars").error()
    await kernel.run("%agent cancel --all\n%agent wait\n%agent loop notebook")


async def test_a_trusted_project_can_select_the_thread(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config/main.yaml").write_text("loop: thread\n")
    home = tmp_path / "home"
    load = f"import os\nos.environ['WHISPER_NB_HOME'] = {str(home)!r}\n%load_ext whisper_nb\n%agent loop"
    async with Kernel(tmp_path) as kernel:
        assert "the notebook's own loop" in (await kernel.run(load)).text
        code = await kernel.value("__import__('whisper_nb').runtime().project.code")
        assert "loop: thread" in (await kernel.run("%agent trust")).text
        said = (await kernel.run(f"%agent trust {code}")).text
        assert "loop: thread takes effect when the kernel restarts; %agent loop thread moves agents now" in said
        await kernel.restart()
        assert "a loop in their own thread" in (await kernel.run(load)).text


@pytest.mark.parametrize("before", ["", "%agent wait --timeout 0.1", "await asyncio.wait_for(one, 0.1)"])
async def test_shutting_down_while_agents_work_prints_nothing(kernel: Kernel, before: str) -> None:
    await kernel.run(NAP)
    await kernel.run(WORK.replace("\nawait held.arrived()", ""))
    if before:
        await kernel.send(before).error()
    assert noise(await kernel.shutdown(), NOISE) == []


async def test_shutting_down_while_a_cell_waits_prints_nothing(kernel: Kernel) -> None:
    await kernel.run("%%agent bob\nforever")
    cell = kernel.send("print('begun', flush=True)\n%agent wait")
    await cell.says("begun")
    assert noise(await kernel.shutdown(), OURS) == []


async def test_a_tool_that_blocks_the_agents_loop_delays_neither_an_interrupt_nor_the_shutdown(
    kernel: Kernel, tmp_path: Path
) -> None:
    (tmp_path / "lib.py").write_text(
        "import threading, time\nbegun = threading.Event()\n"
        "async def stick() -> str:\n    'Stick.'\n    begun.set()\n    threading.Event().wait()\n    return ''\n"
        "def tell() -> None:\n"
        "    time.sleep(0.3)  # the main thread waits by then, and no longer prints\n    print('stuck', flush=True)\n"
    )
    await kernel.run("import lib\nstick = lib.stick\n%agent new eve --tools stick\n%agent ask eve -o ans tool stick")
    await kernel.run("print(lib.begun.wait())")
    await kernel.run("1 + 1")  # it waits a second for what runs show
    cell = kernel.send("lib.threading.Thread(target=lib.tell).start()\nrt['eve'].pause()")
    await cell.says("stuck")
    await kernel.interrupt()
    assert "KeyboardInterrupt" in await cell.error()
    assert noise(await kernel.shutdown(), OURS) == []


async def test_loading_the_extension_again_changes_nothing(kernel: Kernel) -> None:
    launch = await kernel.run("%%agent bob -o ans\nslow")
    cell = await kernel.run("%reload_ext whisper_nb\n%agent loop\n%agent wait")
    assert "agents run on a loop in their own thread\n1 succeeded · in " in cell.text
    assert "a slow answer" in last(kernel, launch)


# From a terminal


async def test_stop_in_a_terminal_ends_model_calls_while_a_cell_spins(tmp_path: Path) -> None:
    async with Provider() as provider, OnThisMachine(tmp_path) as kernel:
        await kernel.run("%load_ext whisper_nb\nimport os, time\nos.environ['EVES_KEY'] = 'x'")
        await kernel.run(
            f"%agent new eve --model openai/test --set api_base={provider.url} --set api_key=os.environ/EVES_KEY"
        )
        for where in ("notebook", "thread", "notebook", "thread"):  # each loop with connections of its own
            await kernel.send(f"%agent loop {where}\n%agent ask eve -b hi").ok()
            await provider.arrived()
        provider.default = lambda _: [*text("Hel", "lo"), HANG]
        launch = await kernel.run("%%agent eve -o ans\nhello")
        request = await provider.arrived()
        await launch.until(lambda: "Hello" in last(kernel, launch))
        cell = kernel.send(BLOCKED.format("pass"))
        await cell.says("begun")
        code, said = await command(kernel, "stop", "--all", patience_s=TIMEOUT_S)
        await request.gone.wait()
        assert (code, said.partition(": ")[2]) == (0, "stopped eve; ended eve#5\n")
        assert not cell.answered.done()
        (tmp_path / "go").touch()
        await cell.ok()
        assert await kernel.value("ans.status") == "cancelled"
        assert noise(await kernel.shutdown()) == []


async def test_stop_in_a_terminal_reports_a_busy_kernel_for_agents_on_its_own_loop(
    kernel: Kernel, tmp_path: Path
) -> None:
    await kernel.run("%agent loop notebook")
    await kernel.run("%%agent bob -o ans\nforever")
    cell = kernel.send(BLOCKED.format("time.sleep(0.01)") + "\nprint(ans.status)")
    await cell.says("begun")
    code, said = await command(kernel, "stop", "--all", patience_s=0.5)
    assert (code, " is busy: it will stop its agents when its cell ends or awaits" in said) == (1, True)
    (tmp_path / "go").touch()
    assert (await cell.ok()).text == "begun\nrunning\n"
    await kernel.run("await asyncio.gather(ans, return_exceptions=True)")
    assert await kernel.value("ans.status") == "cancelled"


async def test_an_ended_kernel_leaves_no_socket(kernel: Kernel) -> None:
    sockets = Path(kernel.runtime_dir) / "whisper_nb"
    assert not sockets.exists()
    await kernel.run("%%agent bob --block\nhello")
    assert len(list(sockets.iterdir())) == 1
    assert noise(await kernel.shutdown()) == []
    assert list(sockets.iterdir()) == []


@pytest.mark.parametrize("where", ["notebook", "thread"])
@pytest.mark.parametrize("transport", ["wire", "litellm"])
async def test_restarting_while_calls_stream_leaves_no_sockets_and_prints_nothing(
    tmp_path: Path, transport: str, where: str
) -> None:
    async with Provider(lambda _: [*text("Hel"), HANG]) as provider, OnThisMachine(tmp_path) as kernel:
        config = {"model": "openai/test-model", "api_base": provider.url, "transport": transport}
        await kernel.run(
            f"%load_ext whisper_nb\nimport asyncio, whisper_nb as wnb\nrt = wnb.runtime()\n%agent loop {where}"
        )
        await kernel.send(
            f"runs = [rt.create(wnb.Agent(name=f'a{{n}}', config={config!r})).submit('hello') for n in range(5)]\n"
            "while not all(run.text for run in runs):\n    await asyncio.sleep(0.02)"
        ).ok()
        await kernel.restart()
        await asyncio.gather(*(request.gone.wait() for request in provider.requests))
        assert len(provider.requests) == 5
        assert noise(kernel.stderr.read_text()) == []


async def test_a_tool_that_waits_between_cells_does_not_break_the_kernel(kernel: Kernel) -> None:
    """Its wait is the first one, in an iteration of the main loop that also has another tool to run."""
    await kernel.run(
        "def ask() -> str:\n    'Ask.'\n    return rt['bob'].submit('slow').result()\n"
        "def look() -> str:\n    'Look.'\n    return 'seen'\n"
        "two = [wnb.Rule('go', role='user', calls=[{'name': 'ask'}, {'name': 'look'}]), wnb.Rule('', 'done')]\n"
        "rt.models['offline/two'] = wnb.ScriptedModel(two)\n"
        "run = rt.create(wnb.Agent(name='a', tools=(ask, look), config='offline/two')).submit('go')\n"
        "while not run.done: await asyncio.sleep(0.02)"
    )
    assert await kernel.value("run.status") == "succeeded"
