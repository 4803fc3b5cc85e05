"""The stop button ends the wait, and nothing else."""

from __future__ import annotations

import time

import pytest

from client import Cell, Kernel

pytestmark = pytest.mark.kernel

AGENT_WAIT = "%agent wait"
RESULT = "ans.result()"
RESULT_IN_ASYNC = "await asyncio.sleep(0)\nans.result()"
AWAIT = "await ans"
BLOCK = "%%agent bob --block\n{}"
ENDED = ("KeyboardInterrupt", "CancelledError", "UsageError")


async def interrupted(kernel: Kernel, code: str) -> Cell:
    """Run a cell that waits, press stop, and have it end with an error within a second."""
    cell = kernel.send(f"print('begun', flush=True)\n{code}")
    await cell.says("begun")  # before that ipykernel ignores the signal
    start = time.monotonic()
    await kernel.interrupt()
    assert (await cell.error()).startswith(ENDED)
    assert time.monotonic() - start < 1
    return cell


@pytest.mark.parametrize("wait", [AGENT_WAIT, RESULT, RESULT_IN_ASYNC, AWAIT])
async def test_interrupting_an_idle_wait_leaves_the_agent_at_work(kernel: Kernel, wait: str) -> None:
    await kernel.run("%agent new bob --model offline/held\n%agent ask bob -o ans hi")
    for _ in range(5):
        await interrupted(kernel, wait)
    assert await kernel.value("ans.status") == "running"
    await kernel.run("held.calls[0].release()\nassert await ans == 'partial and done'")


@pytest.mark.parametrize("wait", [AGENT_WAIT, RESULT, RESULT_IN_ASYNC, AWAIT])
async def test_interrupting_while_an_agent_is_on_the_cpu_leaves_it_at_work(kernel: Kernel, wait: str) -> None:
    await kernel.run("%agent new bob --tools busy\n%agent ask bob -o ans tool busy")
    for _ in range(5):
        await interrupted(kernel, wait)
    cell = await kernel.run("print(await ans)")
    assert cell.text == "it said: busy to the end\n"


async def test_twenty_interrupts_of_every_kind_and_every_run_completes(kernel: Kernel) -> None:
    await kernel.run("%agent new amy --model offline/held\n%agent new eve --tools busy")
    await kernel.run("%agent ask bob -o ans long\n%agent ask amy -o two hi\n%agent ask eve -o three tool busy")
    for wait in (AGENT_WAIT, AWAIT, RESULT_IN_ASYNC, "await asyncio.gather(ans, two, three)", "%agent wait three") * 4:
        await interrupted(kernel, wait)
        await kernel.interrupt()  # of an idle kernel: nothing happens
    await kernel.run("held.calls[0].release()\n%agent wait")
    assert await kernel.value("[r.status for r in (ans, two, three)]") == ["succeeded"] * 3
    assert await kernel.value("[ans.text == 'word ' * 150, two.text, three.text]") == [
        True,
        "partial and done",
        "it said: busy to the end",
    ]


async def test_an_interrupt_of_an_idle_kernel_harms_no_agent(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --tools busy\n%agent ask bob -o ans tool busy")
    for _ in range(5):
        await kernel.interrupt()
    assert (await kernel.run("print(await ans)")).text == "it said: busy to the end\n"


async def test_an_interrupt_of_a_blocking_launch_keeps_the_run(kernel: Kernel) -> None:
    cell = kernel.send("%%agent bob --block -o ans\nforever")
    await cell.until(lambda: bool(cell.displays) and "running" in kernel.shown(cell.displays[0])[-1].content["data"]["text/plain"])
    await kernel.interrupt()
    await cell.error()
    assert await kernel.value("ans.status") == "running"
    await kernel.run("%agent cancel\n%agent wait ans")
    assert await kernel.value("ans.status") == "cancelled"


async def test_one_interrupt_ends_nested_waits(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --model offline/held\n%agent ask bob -o ans hi")
    cell = await interrupted(
        kernel, "asyncio.get_running_loop().call_soon(lambda: (print('inner', flush=True), ans.result()))\nans.result()"
    )
    assert "inner" in cell.text or True
    assert await kernel.value("ans.status") == "running"


async def test_after_an_interrupt_the_ordinary_handler_is_back(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --model offline/held\n%agent ask bob -o ans hi")
    await interrupted(kernel, AGENT_WAIT)
    assert (await (await interrupted(kernel, "while True: pass")).error()).startswith("KeyboardInterrupt")
    assert (await (await interrupted(kernel, "await asyncio.sleep(60)")).error()).startswith("CancelledError")


async def test_cells_behind_an_interrupted_wait_still_run(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --model offline/held\n%agent ask bob -o ans hi")
    wait = kernel.send("print('begun', flush=True)\nans.result()")
    behind = [kernel.send(f"print({n}, ans.status)") for n in range(3)]
    await wait.says("begun")
    await kernel.interrupt()
    assert (await wait.error()).startswith("KeyboardInterrupt")
    assert [(await cell.ok()).text for cell in behind] == [f"{n} running\n" for n in range(3)]
