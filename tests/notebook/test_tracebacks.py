"""Errors of Python calls in a cell: the user's line, and the message."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell

from whisper_nb import Agent, Rule, ScriptedModel
from whisper_nb.notebook.cells import tracebacks
from whisper_nb.notebook.runtime import NotebookRuntime

#: A cell → the message of its error.
CELLS = {
    "wnb.Agent(nme='bob')": "ConfigError: Agent() has no argument 'nme'; did you mean 'name'?",
    "wnb.Agent(name='x', ai_config='offline/echo')": (
        "ConfigError: Agent() has no argument 'ai_config'; write config=…"
    ),
    "wnb.Agent(name='x', prompt='hi')": "ConfigError: Agent() has no argument 'prompt'; did you mean 'system_prompt'?",
    "wnb.AIConfig(modle='a/b')": "ConfigError: AIConfig() has no argument 'modle'; did you mean 'model'?",
    "bob.submit()": "ConfigError: submit(): missing a required argument: 'prompt'",
    "bob.submit('x', ai_config={})": "ConfigError: submit() has no argument 'ai_config'; write config=…",
    "bob.submit('x', seed=3)": "ConfigError: submit() has no argument 'seed'; write config={'seed': …}",
    "bob.submit('x', block=True)": "ConfigError: submit() has no argument 'block'; write await run, or run.result()",
    "wnb.Runtime(model='a/b')": "ConfigError: Runtime() has no argument 'model'; write config={'model': …}",
    "bob.submit('x', schema=int)": "ConfigError: submit() has no argument 'schema'; write output_type=…",
    "bob.submit('x', output_type=3)": (
        "ConfigError: output_type 3 is no type: give a pydantic model, a dataclass, a TypedDict, an enum, list[…], "
        "dict[str, …], Literal[…], int, float, bool or str"
    ),
    "wnb.Agent()": "ConfigError: Agent(): missing a required argument: 'name'",
    "bob.submit('x', timeout=3)": "ConfigError: submit() has no argument 'timeout'; did you mean 'timeout_s'?",
    "bob.submit('x', priority='x')": "ConfigError: unknown priority 'x'; allowed are urgent, high, normal, low",
    "rt['bbo']": "ConfigError: no agent named 'bbo'; did you mean 'bob'? (make one with `%agent new bbo`)",
    "bob.fork('b ob')": "ConfigError: agent name 'b ob' is not a letter followed by",
    "rt.remove('zz')": "ConfigError: no agent named 'zz': nothing to remove",
    "rt.configure(modl=2)": "ConfigError: unknown config field 'modl'; did you mean 'model'?",
    "bob.submit('x').cancle()": "AttributeError: 'Run' object has no attribute 'cancle'; did you mean 'cancel'?",
    "rt.observe(3)": "ConfigError: observe() takes a function of a record: not 3",
    "rt.create(3)": "ConfigError: create() takes an Agent, or the name of one: not 3",
    "wnb.ScriptedModel('x')": "ConfigError: ScriptedModel takes a list of Rule(…), not of 'x'",
    "await bob.submit('fail')": "RunFailed: bob#1 failed: no more",
    "await asyncio.gather(bob.submit('fail'))": "RunFailed: bob#1 failed: no more",
}


@pytest.fixture
def user(shell: InteractiveShell, runtime: NotebookRuntime) -> Iterator[InteractiveShell]:
    """A shell with an agent, bob, whose runs fail."""
    runtime.models["offline/test"] = ScriptedModel([Rule("", error="no more")])
    runtime.configure(offline="offline/test")
    undo = tracebacks.register(shell)
    shell.ex("import asyncio, whisper_nb as wnb")
    shell.user_ns |= {"rt": runtime, "bob": runtime.create(Agent(name="bob"))}
    yield shell
    undo()


async def shown(shell: InteractiveShell, cell: str, capsys: pytest.CaptureFixture[str]) -> str:
    """The traceback of a cell that fails."""
    capsys.readouterr()
    done = await shell.run_cell_async(cell, transformed_cell=shell.transform_cell(cell))
    assert not done.success
    out, err = capsys.readouterr()
    return out + err


@pytest.mark.parametrize("cell", CELLS)
async def test_an_error_shows_the_line_of_the_user_and_the_message(
    user: InteractiveShell, cell: str, capsys: pytest.CaptureFixture[str]
) -> None:
    text = await shown(user, cell, capsys)
    assert f"----> 1 {cell}" in text
    assert CELLS[cell] in text
    assert "whisper_nb/" not in text
    assert "failed resolving arguments" not in text
    assert "direct cause" not in text


async def test_the_lines_of_a_model_of_the_user_are_the_cause(
    user: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    user.run_cell("async def mine(request):\n    yield 1 / 0\n\nrt.models['offline/mine'] = wnb.FunctionModel(mine)\n")
    text = await shown(user, "await bob.submit('x', config='offline/mine')", capsys)
    assert "----> 2     yield 1 / 0" in text
    assert "direct cause" in text
    assert "RunFailed: bob#1 failed: " in text
    assert "whisper_nb/" not in text


async def test_verbose_tracebacks_have_the_frames_of_whisper_nb(
    user: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    user.InteractiveTB.set_mode("Verbose")
    assert "whisper_nb/core/errors.py" in await shown(user, "wnb.Agent(nme='bob')", capsys)


def test_in_a_script_the_last_frame_of_the_user_comes_before_one_frame(python: Callable[..., str]) -> None:
    code = """
import asyncio, traceback, whisper_nb as wnb

async def main():
    async with wnb.Runtime(environ={}) as rt:
        bob = rt.create(wnb.Agent(name="bob"))
        for config in ({"modle": 1}, "offline/script:none.yaml"):
            try:
                await bob.submit("x", config=config)
            except wnb.WhisperError:
                traceback.print_exc()

asyncio.run(main())
"""
    text = python(code)
    assert "ConfigError: unknown config field 'modle'; did you mean 'model'?" in text
    assert "RunFailed: bob#1 failed: cannot read none.yaml" in text
    assert text.count("whisper_nb/") <= 3
