"""The stop button ends only the wait."""

from __future__ import annotations

import pytest

from support.client import Cell, Kernel
from support.interrupts import SAY_WAITING

pytestmark = pytest.mark.kernel

AGENT_WAIT = "%agent wait"
RESULT = "ans.result()"
RESULT_IN_ASYNC = "await asyncio.sleep(0)\nans.result()"
AWAIT = "await ans"
BLOCK = "%%agent bob --block\n{}"
ENDED = ("KeyboardInterrupt", "CancelledError", "UsageError")


SAY_BEGUN = "print('begun', flush=True)\n"


async def interrupted(kernel: Kernel, code: str, first: str = SAY_WAITING) -> Cell:
    """Run a cell that waits, press stop, and have it end with an error."""
    cell = kernel.send(first + code)
    await cell.says("begun")
    await kernel.interrupt()
    assert (await cell.error()).startswith(ENDED)
    return cell


@pytest.mark.parametrize("wait", [AGENT_WAIT, RESULT, RESULT_IN_ASYNC, AWAIT])
async def test_interrupting_an_idle_wait_does_not_end_the_run(kernel: Kernel, wait: str) -> None:
    await kernel.run("%agent new bob --model offline/held\n%agent ask bob -o ans hi")
    for _ in range(5):
        await interrupted(kernel, wait)
    assert await kernel.value("ans.status") == "running"
    await kernel.run("held.calls[0].release()\nassert await ans == 'partial and done'")


@pytest.mark.parametrize("wait", [AGENT_WAIT, RESULT, RESULT_IN_ASYNC, AWAIT])
async def test_interrupting_while_an_agent_computes_does_not_end_its_run(kernel: Kernel, wait: str) -> None:
    await kernel.run("%agent new bob --tools busy\n%agent ask bob -o ans tool busy")
    for _ in range(5):
        await interrupted(kernel, wait)
    cell = await kernel.run("let_go.set()\nprint(await ans)")
    assert cell.text == "it said: busy to the end\n"


async def test_every_run_completes_after_twenty_interrupts_of_every_kind(kernel: Kernel) -> None:
    await kernel.run("%agent new amy --model offline/held\n%agent new eve --tools busy")
    await kernel.run("%agent ask bob -o ans long\n%agent ask amy -o two hi\n%agent ask eve -o three tool busy")
    for wait in (AGENT_WAIT, AWAIT, RESULT_IN_ASYNC, "await asyncio.gather(ans, two, three)", "%agent wait three") * 4:
        await interrupted(kernel, wait)
        await kernel.interrupt()  # of an idle kernel: nothing happens
    await kernel.run("held.calls[0].release()\nlet_go.set()\n%agent wait")
    assert await kernel.value("[r.status for r in (ans, two, three)]") == ["succeeded"] * 3
    assert await kernel.value("[ans.text == 'word ' * 150, two.text, three.text]") == [
        True,
        "partial and done",
        "it said: busy to the end",
    ]


async def test_interrupting_an_idle_kernel_ends_no_run(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --tools busy\n%agent ask bob -o ans tool busy")
    for _ in range(5):
        await kernel.interrupt()
    assert (await kernel.run("let_go.set()\nprint(await ans)")).text == "it said: busy to the end\n"


async def test_an_interrupt_of_a_blocking_launch_keeps_the_run(kernel: Kernel) -> None:
    cell = kernel.send("%%agent bob --block -o ans\nforever")
    await cell.until(
        lambda: bool(cell.displays) and "running" in kernel.shown(cell.displays[0])[-1].content["data"]["text/plain"]
    )
    await kernel.interrupt()
    await cell.error()
    assert await kernel.value("ans.status") == "running"
    await kernel.run("%agent cancel --all\n%agent wait ans")
    assert await kernel.value("ans.status") == "cancelled"


async def test_one_interrupt_ends_nested_waits(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --model offline/held\n%agent ask bob -o ans hi")
    await interrupted(
        kernel, "asyncio.get_running_loop().call_soon(lambda: (print('inner', flush=True), ans.result()))\nans.result()"
    )
    assert await kernel.value("ans.status") == "running"


async def test_the_previous_handler_is_restored_after_an_interrupt(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --model offline/held\n%agent ask bob -o ans hi")
    await interrupted(kernel, AGENT_WAIT)
    for code in ("while True: pass", "await asyncio.sleep(60)", AGENT_WAIT):
        await interrupted(kernel, code, SAY_BEGUN)


async def test_an_interrupt_before_an_awaiting_cell_blocks_ends_the_cell(kernel: Kernel) -> None:
    # ipykernel lets the code before the wait finish; then the wait must not begin.
    await kernel.run("%agent new bob --model offline/held\n%agent ask bob -o ans hi")
    work = "end = time.perf_counter() + 0.3\nwhile time.perf_counter() < end:\n    pass\nans.result()"
    for code in (f"{work}\nawait ans", f"await asyncio.sleep(0)\n{work}"):
        await interrupted(kernel, code, SAY_BEGUN)
        assert (await kernel.run("print('alive')")).text == "alive\n"


async def test_an_interrupt_that_a_cell_has_handled_does_not_end_its_next_wait(kernel: Kernel) -> None:
    await kernel.run("%agent new amy --model offline/held\n%agent ask amy -o two hi")
    cell = kernel.send(
        f"{SAY_WAITING}try:\n    await two\nexcept asyncio.CancelledError:\n"
        "    print(rt['bob'].submit('slow').result())"
    )
    await cell.says("begun")
    await kernel.interrupt()
    assert (await cell.ok()).text == "begun\na slow answer\n"


async def test_cells_behind_an_interrupted_wait_still_run(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --model offline/held\n%agent ask bob -o ans hi")
    wait = kernel.send(f"{SAY_WAITING}ans.result()")
    behind = [kernel.send(f"print({n}, ans.status)") for n in range(3)]
    await wait.says("begun")
    await kernel.interrupt()
    assert (await wait.error()).startswith("KeyboardInterrupt")
    assert [(await cell.ok()).text for cell in behind] == [f"{n} running\n" for n in range(3)]
