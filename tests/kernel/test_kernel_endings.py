"""Cancelling, stopping, shutting down."""

from __future__ import annotations

import pytest

from support.client import Kernel
from support.endings import NAP, OURS, WORK, noise

pytestmark = pytest.mark.kernel


async def test_cancel_ends_a_run_and_keeps_the_text_so_far(kernel: Kernel) -> None:
    launch = await kernel.run("%%agent bob -o ans\nlong")
    await launch.until(lambda: "word word" in str(kernel.shown(launch.displays[0])[-1].content))
    await kernel.run("%agent cancel bob")
    await launch.until(lambda: "cancelled" in str(kernel.shown(launch.displays[0])[-1].content))
    assert (await kernel.value("[ans.status, ans.text[:10]]")) == ["cancelled", "word word "]
    assert await kernel.value("[len(rt['bob'].history), len(rt['bob'].queue)]") == [0, 0]
    assert (await kernel.send("await ans").error()) == "RunCancelled: bob#1 was cancelled"


async def test_cancel_closes_the_call(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --model offline/held\n%agent ask bob -o ans hi")
    await kernel.run("await held.arrived()")
    await kernel.run("%agent cancel ans\nawait held.calls[0].closed.wait()")
    assert await kernel.value("held.in_flight") == 0


async def test_stop_all_ends_fifty_streaming_runs(kernel: Kernel) -> None:
    await kernel.run(
        "runs = [rt.create(wnb.Agent(name=f'a{n}')).submit('long') for n in range(50)]\n"
        "more = [s.submit('hello') for s in rt.sessions if s.runs]\n"
        "while not all(r.text for r in runs):\n    await asyncio.sleep(0.02)"
    )
    await kernel.run("%agent stop --all")
    cell = await kernel.run(
        "await asyncio.gather(*runs, *more, return_exceptions=True)\nprint(set(r.status for r in runs + more))"
    )
    assert cell.text == "{'cancelled'}\n"
    names = await kernel.value("[t.get_name() for t in asyncio.all_tasks()]")
    assert [name for name in names if "whisper" in name] == []


@pytest.mark.parametrize("before", ["", "%agent wait --timeout 0.1", "await asyncio.wait_for(one, 0.1)"])
async def test_shutting_down_while_agents_work_prints_nothing(kernel: Kernel, before: str) -> None:
    await kernel.run(NAP)
    await kernel.run(WORK)
    if before:
        await kernel.send(before).error()
    assert noise(await kernel.shutdown()) == []


async def test_shutting_down_while_a_cell_waits_prints_nothing(kernel: Kernel) -> None:
    await kernel.run(NAP)
    await kernel.run(WORK)
    cell = kernel.send("print('begun', flush=True)\n%agent wait")
    await cell.says("begun")
    # ipykernel itself complains, with or without us, when it can no longer answer the cell.
    assert noise(await kernel.shutdown(), OURS) == []


async def test_restarting_gives_a_new_team_and_prints_nothing(kernel: Kernel) -> None:
    await kernel.run(NAP)
    await kernel.run(WORK)
    await kernel.restart()
    cell = await kernel.run("%load_ext whisper_nb\n%agent list")
    assert "no agents yet" in str(cell.contents("display_data"))
    assert noise(kernel.stderr.read_text()) == []
