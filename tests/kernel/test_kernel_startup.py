"""Kernels that load whisper_nb before their event loop runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.client import Kernel

pytestmark = pytest.mark.kernel

STARTUP = """%load_ext whisper_nb
early = %agent ask alice early
said = []
try:
    await early
except Exception as error:
    said.append(str(error))
said.append(early.result())
late = %agent ask alice late
"""


def startup_file(folder: Path, name: str, text: str) -> None:
    path = folder / "ipython" / "profile_default" / "startup" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


async def works(kernel: Kernel) -> None:
    """Check that the agents live on the kernel's loop and answer."""
    await kernel.run("import asyncio\nimport whisper_nb as wnb\nans = %agent ask alice hello")
    assert "You said: hello" in (await kernel.run("print(await ans)")).text
    assert await kernel.value("wnb.runtime().home.main is asyncio.get_running_loop()")


async def test_runs_of_a_startup_file_start_when_the_kernel_does(tmp_path: Path) -> None:
    startup_file(tmp_path, "10-agents.ipy", STARTUP)
    async with Kernel(tmp_path) as kernel:
        assert "You said: late" in (await kernel.run("print(await late)")).text
        why, answer = await kernel.value("said")
        assert "Write run.result() instead" in why
        assert "You said: early" in answer
        await works(kernel)


async def test_an_extension_of_the_command_line_follows_a_loop_that_is_replaced_before_it_runs(tmp_path: Path) -> None:
    """As `uvloop.install()` in a startup file does."""
    lines = ("import asyncio", "early = %agent ask alice early", "asyncio.set_event_loop(asyncio.new_event_loop())")
    arguments = ("--ext=whisper_nb", *(f"--IPKernelApp.exec_lines={line}" for line in lines))
    async with Kernel(tmp_path, arguments=arguments) as kernel:
        assert "You said: early" in (await kernel.run("print(await early)")).text
        await works(kernel)


async def test_a_runtime_that_asyncio_run_created_in_a_startup_file_lives_on(tmp_path: Path) -> None:
    use = "async def main():\n    print(await wnb.runtime()['alice'].submit('hi'))\nasyncio.run(main())\n"
    startup_file(tmp_path, "10-first.py", f"import asyncio\nimport whisper_nb as wnb\n{use}")
    startup_file(tmp_path, "20-load.ipy", "%load_ext whisper_nb\n")
    async with Kernel(tmp_path) as kernel:
        await works(kernel)
