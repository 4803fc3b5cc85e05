"""The output of a run, and the cell that shows it."""

from __future__ import annotations

import pytest

from support.client import Cell, Kernel, Message

pytestmark = pytest.mark.kernel


def plain(message: Message) -> str:
    """The text of a displayed message."""
    text: str = message.content["data"]["text/plain"]
    return text


def view(kernel: Kernel, cell: Cell) -> list[Message]:
    """All messages of the display of a cell's first run."""
    return kernel.shown(cell.displays[0])


async def test_a_launch_shows_its_run_at_once_and_the_cell_ends(kernel: Kernel) -> None:
    cell = await kernel.run("%%agent bob -o ans\nforever")
    (first,) = view(kernel, cell)
    assert plain(first).startswith("bob#1 · submitted · as of ")
    assert first.parent == cell.id


async def test_text_streams_into_the_launching_cell_while_other_cells_run_and_print(kernel: Kernel) -> None:
    launch = await kernel.run("%%agent bob -o ans\nlong")
    other = kernel.send("for n in range(8):\n    print('other', n, flush=True)\n    await asyncio.sleep(0.1)")
    await launch.until(lambda: len(plain(view(kernel, launch)[-1])) > 200)
    await other.ok()
    lengths = [len(plain(message)) for message in view(kernel, launch)]
    assert lengths == sorted(lengths)
    painted = [message for message in view(kernel, launch) if message.type == "update_display_data"]
    assert len(painted) > 3
    assert {message.parent for message in painted if "other" in plain(message)} == set()
    in_background = [message for message in painted if message.parent == launch.id]
    assert len(in_background) >= len(painted) - 1, "all but the one of the cell that ended meanwhile"
    assert other.text == "".join(f"other {n}\n" for n in range(8))
    await kernel.run("%agent cancel --all")


async def test_an_output_is_updated_at_most_ten_times_a_second(kernel: Kernel) -> None:
    cells = [await kernel.run(f"%agent new a{n}\n%agent ask a{n} long") for n in range(3)]
    await kernel.run("await asyncio.gather(*(s.runs[0] for s in rt.sessions if s.runs))")
    took = await kernel.value("max(s.runs[0].seconds for s in rt.sessions if s.runs)")
    for cell in cells:
        shown = [message for message in view(kernel, cell) if message.parent == cell.id]
        assert 3 < len(shown) <= 10 * took + 3  # with those of its beginning and its end


async def test_the_final_state_is_shown_without_another_cell(kernel: Kernel) -> None:
    launch = await kernel.run("%%agent bob\nsay **this**")
    await launch.until(lambda: "succeeded" in plain(view(kernel, launch)[-1]))
    last = view(kernel, launch)[-1]
    assert last.parent == launch.id
    assert "<strong>this</strong>" in last.content["data"]["text/html"]
    assert "as of" not in plain(last)


async def test_the_next_cell_shows_the_final_state_again(kernel: Kernel) -> None:
    launch = await kernel.run("%%agent bob -o ans\nhello")
    later = await kernel.run("await ans")
    (again,) = [message for message in view(kernel, launch) if message.parent == later.id]
    assert "succeeded" in plain(again)
    third = await kernel.run("1")
    assert third.contents("update_display_data") == []


async def test_the_prints_of_tools_go_to_the_launching_cell(kernel: Kernel) -> None:
    await kernel.run(
        "async def one() -> str:\n"
        "    'Print.'\n"
        "    print('from a coroutine')\n"
        "    await asyncio.sleep(0.1)\n"
        "    print('and later', flush=True)\n"
        "    return 'ok'\n"
        "def two() -> str:\n"
        "    'Print.'\n"
        "    print('from a thread', flush=True)\n"
        "    return 'ok'\n"
        "%agent new bob --tools one,two"
    )
    launch = await kernel.run("%agent ask bob tool one\n%agent ask bob tool two")
    other = await kernel.run("print('mine')\nawait asyncio.sleep(0.05)\nprint('still mine')")
    await launch.says("from a thread")
    assert launch.text == "from a coroutine\nand later\nfrom a thread\n"
    assert other.text == "mine\nstill mine\n"


async def test_tool_calls_are_shown_with_their_results(kernel: Kernel) -> None:
    await kernel.run("def look(path: str = '.') -> int:\n    'Look.'\n    return 42\n%agent new bob --tools look")
    launch = await kernel.run("%%agent bob -o ans\ntool look")
    await kernel.run("await ans")
    assert "✓ look() → 42" in plain(view(kernel, launch)[-1])


async def test_a_run_that_another_cell_displays_is_live_there(kernel: Kernel) -> None:
    await kernel.run("%agent new bob --model offline/held")
    launch = await kernel.run("ans = %agent ask bob hi\nans", "c1")
    assert len(launch.displays) == 1, "once in its own cell"
    other = await kernel.run("ans", "c2")
    assert len(other.displays) == 1
    await other.until(lambda: "partial" in plain(view(kernel, other)[-1]))
    await kernel.run("held.calls[0].release()\nawait ans")
    for cell in (launch, other):
        assert "partial and done" in plain(view(kernel, cell)[-1])
    edited = await kernel.run("ans", "c1")
    assert "partial and done" in plain(view(kernel, edited)[-1]), "the cell that launched it, since edited"


async def test_a_run_in_a_list_is_shown_as_one_line(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nhello")
    assert (
        await kernel.run("await ans\n[ans, ans]")
    ).result == "[<Run bob#1 succeeded: hello>, <Run bob#1 succeeded: hello>]"


async def test_a_failure_is_shown_only_in_the_launching_cell(kernel: Kernel) -> None:
    launch = await kernel.run("%%agent bob\nfail")
    await launch.until(lambda: "failed" in plain(view(kernel, launch)[-1]))
    assert "no more" in plain(view(kernel, launch)[-1])
    cell = await kernel.run("import gc\ngc.collect()\nprint('fine')")
    assert cell.text == "fine\n", "nothing about a task whose exception nobody retrieved"


async def test_hostile_text_is_shown_as_text(kernel: Kernel) -> None:
    launch = await kernel.run("%%agent bob -o ans\n<img src=x onerror=alert(1)> \x1b[2J {{ chr(0xd83d) }}")
    await kernel.run("await ans")
    data = view(kernel, launch)[-1].content["data"]
    assert "<img" not in data["text/html"]
    assert "\x1b" not in data["text/plain"] + data["text/html"]


async def test_list_shows_the_agents(kernel: Kernel) -> None:
    await kernel.run("%%agent bob -o ans\nhello")
    await kernel.run("await ans")
    widget, beside = (await kernel.run("%agents")).contents("display_data")
    assert widget["data"]["text/plain"] == "The team's live panel needs a running kernel. Its last state is below."
    assert "application/vnd.jupyter.widget-view+json" in widget["data"]
    assert "application/vnd.jupyter.widget-view+json" not in beside["data"]
    assert "bob" in beside["data"]["text/html"]
    assert "bob" in beside["data"]["text/plain"]
