"""`%load_ext whisper_nb`, in processes of their own; in real kernels: tests/kernel."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from IPython.core.interactiveshell import InteractiveShell

from whisper_nb import ConfigError, configure, load_ipython_extension, unload_ipython_extension
from whisper_nb.notebook.extension import _workbench, runtime

HEAVY = ("litellm", "openai", "ipywidgets", "anywidget", "pydantic", "nest_asyncio", "nest_asyncio2", "nh3", "pandas")
SHELL = """
import sys
from IPython.terminal.interactiveshell import TerminalInteractiveShell
shell = TerminalInteractiveShell.instance(simple_prompt=True, colors="nocolor")
run = shell.run_cell
"""


def test_loading_prints_one_line_and_imports_nothing_slow_and_opens_no_socket(python: Callable[..., str]) -> None:
    said = python(
        SHELL
        + f"""
reached = []
NETWORK = ("socket.connect", "socket.getaddrinfo")
sys.addaudithook(lambda event, args: reached.append(event) if event in NETWORK else None)
run("%load_ext whisper_nb")
print([name for name in {HEAVY} if name in sys.modules], reached)
"""
    )
    assert said == ("whisper_nb: agents answer with offline/echo (no provider's key is set) · %agent help\n[] []\n")


def test_with_a_key_loading_names_the_model_and_not_the_key(python: Callable[..., str]) -> None:
    # sitecustomize takes keys away at the start, so this one comes later.
    said = python(SHELL + "import os; os.environ['OPENAI_API_KEY'] = 'sk-secret'; run('%load_ext whisper_nb')")
    assert said == "whisper_nb: agents answer with openai/gpt-4o-mini · %agent help\n"


def test_a_key_in_a_later_cell_is_noted_and_changes_the_model_of_agents_until_it_is_unloaded(
    python: Callable[..., str],
) -> None:
    said = python(
        SHELL
        + """
run("%load_ext whisper_nb")
run("%agent new bob")
key = "import os; os.environ['OPENAI_API_KEY'] = 'sk-0123456789'"
run(key)
run("%unload_ext whisper_nb")
run(key)
"""
    )
    assert [line.split(",")[0] for line in said.splitlines()[2:] if line[0] != " "] == [
        "note: this cell contains an API key",
        "bob answers with openai/gpt-4o-mini from now on (env OPENAI_API_KEY)",
    ]


def test_a_bad_model_in_the_environment_is_one_line_and_the_magics_work(python: Callable[..., str]) -> None:
    said = python(
        SHELL
        + """
import os
os.environ["WHISPER_MODEL"] = "gpt-4o"
run("%load_ext whisper_nb")
run("%agent new bob --model offline/echo")
run("%agent new amy")
del os.environ["WHISPER_MODEL"]
run("%agent list")
"""
    )
    first, bob, *table, error = said.splitlines()
    assert first.startswith("whisper_nb: WHISPER_MODEL 'gpt-4o' is not provider/model")
    assert bob == "bob is ready; answers with offline/echo"
    assert error.startswith("UsageError: WHISPER_MODEL 'gpt-4o' is not provider/model")
    assert [row.split()[0] for row in table] == ["agent", "bob", "as", "available:"]


def test_unloading_removes_the_magics_and_keeps_the_agents(python: Callable[..., str]) -> None:
    said = python(
        SHELL
        + """
cells = shell.events.callbacks["post_run_cell"]
hooks = lambda: (shell.find_line_magic("agent"), list(shell.Completer.custom_matchers), list(cells))
before = hooks()
transformers = list(shell.input_transformer_manager.token_transformers)
run("%load_ext whisper_nb")
run("%agent new bob")
run("%unload_ext whisper_nb")
print(hooks() == before, shell.input_transformer_manager.token_transformers == transformers)
import whisper_nb
print(whisper_nb.runtime().sessions)
run("%load_ext whisper_nb")
run("%reload_ext whisper_nb")
run("ans = %agent ask bob hi")
run("%agent wait")
run("print(ans.status, ans.session.runs == (ans,))")
"""
    )
    lines = said.splitlines()
    assert lines[2:4] == ["True True", "(<Session bob idle, 0 queued>,)"]
    assert lines[-2:] == ["done", "True"] or lines[-1] == "succeeded True"


def test_a_foreign_agent_magic_is_named_in_the_printed_line(python: Callable[..., str]) -> None:
    said = python(
        SHELL
        + """
shell.register_magic_function(lambda line: print("foreign"), "line", "agent")
run("%load_ext whisper_nb")
run("%agent")
run("%whisper new bob")
run("%unload_ext whisper_nb")
run("%agent")
"""
    )
    assert said == (
        "whisper_nb: agents answer with offline/echo (no provider's key is set) · %whisper help"
        " · %agent belongs to another extension: use %whisper\n"
        "foreign\nbob is ready; answers with offline/echo\nforeign\n"
    )


def test_the_archived_nest_asyncio_gives_a_warning(python: Callable[..., str]) -> None:
    said = python(SHELL + "import asyncio; asyncio._nest_patched = True; run('%load_ext whisper_nb')")
    assert "RuntimeWarning: this notebook applied nest_asyncio, which loses cells that are queued" in said
    assert "whisper_nb: agents answer with" in said


def test_a_plain_shell_without_an_event_loop_can_load_it(python: Callable[..., str]) -> None:
    said = python(
        """
from IPython.core.interactiveshell import InteractiveShell
run = InteractiveShell.instance().run_cell
run("%load_ext whisper_nb")
run("%agent new bob")
run("ans = %agent ask bob hi")
run("%agent wait")
run("print(ans.text.splitlines()[0])")
"""
    )
    lines = said.splitlines()
    after = lines[lines.index(next(line for line in lines if line.startswith("1 succeeded · in "))) + 1 :]
    assert after[0].startswith("bob#1 · succeeded")
    assert (after[2], after[-1]) == ("You said: hi", "You said: hi"), "shown when it came, and printed by the last cell"


async def test_the_extension_can_be_unloaded_and_loaded_again(
    shell: InteractiveShell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WHISPER_MODEL", "")
    load_ipython_extension(shell)
    assert capsys.readouterr().out.startswith("whisper_nb: agents answer with offline/echo (no provider's key is set)")
    try:
        configure(offline="offline/echo")
        shell.run_cell("%agent new bob\n%agent ask bob -o ans hello")
        unload_ipython_extension(shell)
        unload_ipython_extension(shell)
        assert shell.find_line_magic("agent") is None
        load_ipython_extension(shell)
        assert "You said: hello" in await shell.user_ns["ans"]
        assert shell.user_ns["ans"].session is runtime()["bob"]
    finally:
        await runtime().aclose()
        unload_ipython_extension(shell)
        runtime.cache_clear()
        _workbench.cache_clear()


def test_outside_of_ipython_there_is_no_runtime_and_the_remedy_is_named() -> None:
    with pytest.raises(ConfigError, match=r"async with whisper_nb\.Runtime\(\) as rt"):
        runtime()


def test_exiting_while_agents_work_prints_nothing(python: Callable[..., str]) -> None:
    said = python(
        SHELL
        + """
run("%load_ext whisper_nb")
run("import whisper_nb as wnb")
run("wnb.runtime().models['offline/slow'] = wnb.ScriptedModel([wnb.Rule(reply='late', delay_s=60)])")
run("%agent new bob --model offline/slow")
run("ans = %agent ask bob hi")
run("%agent wait --timeout 0.1")
run("print(ans.status)")
"""
    )
    assert said.splitlines()[-2:] == [
        "running",
        "UsageError: waited 0.1 s and still at work are bob#1; they go on",
    ] or ("running" in said and "Traceback" not in said and "destroyed" not in said)


# In a terminal


class Prompt:
    """IPython in a pseudo-terminal."""

    def __init__(self, folder: Path) -> None:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "IPYTHONDIR": str(folder / "ipython"),
            "TERM": "dumb",
            "PYTHONPATH": str(Path(__file__).parents[1] / "support" / "offline"),
        }
        options = [
            "--no-banner",
            "--colors=nocolor",
            "--no-term-title",
            "--TerminalInteractiveShell.highlighting_style=",
        ]
        command = ["-m", "IPython", *options]
        self.terminal = pexpect.spawn(
            sys.executable, command, env=env, cwd=str(folder), encoding="utf-8", timeout=300, dimensions=(40, 200)
        )
        self.says("In [1]:")

    def enter(self, line: str) -> None:
        """Type a line."""
        self.terminal.send(line + "\r")

    def says(self, *texts: str) -> None:
        """Wait until these texts were shown, in this order."""
        for text in texts:
            self.terminal.expect_exact(text)


@pytest.fixture
def prompt(tmp_path: Path) -> Iterator[Prompt]:
    prompt = Prompt(tmp_path)
    yield prompt
    prompt.terminal.close(force=True)


def test_agents_work_and_their_answers_are_printed_while_the_terminal_waits_for_input(prompt: Prompt) -> None:
    prompt.enter("%load_ext whisper_nb")
    prompt.says("whisper_nb: agents answer with offline/echo", "In [2]:")
    prompt.enter(
        "import whisper_nb; drop = whisper_nb.runtime().observe(lambda r: print('<', type(r.event).__name__, '>'))"
    )
    prompt.says("In [3]:")
    prompt.enter("%agent new bob")
    prompt.says("bob is ready", "In [4]:")
    prompt.enter("ans = %agent ask bob what is up?")
    prompt.says("bob#1 · submitted", "< RunQueued >", "< RunFinished >", "bob#1 · succeeded", "You said: what is up?")
    prompt.enter("print('again:', await ans)")
    prompt.says("again: You said: what is up?")


def test_a_wait_in_a_terminal_can_be_interrupted(prompt: Prompt) -> None:
    prompt.enter("%load_ext whisper_nb")
    prompt.says("agents answer with", "In [2]:")
    prompt.enter(
        "import whisper_nb as w; late = w.Rule(reply='late', delay_s=60); "
        "w.runtime().models['offline/slow'] = w.ScriptedModel([late])"
    )
    prompt.says("In [3]:")
    prompt.enter("%agent new bob --model offline/slow")
    prompt.says("bob is ready", "In [4]:")
    prompt.enter("ans = %agent ask bob hi")
    prompt.says("In [5]:")
    # Printed when the loop runs, that is, once the cell waits.
    prompt.enter(
        "_ = w.runtime().home.loop.call_soon(print, '<waiting>'); get_ipython().run_line_magic('agent', 'wait')"
    )
    prompt.says("\n<waiting>")
    prompt.terminal.sendintr()
    prompt.says("stopped waiting (interrupted); not finished: bob#1", "In [6]:")
    prompt.enter("print('<', ans.status, '>')")
    prompt.says("< running >", "In [7]:")
    prompt.enter("%agent cancel --all")
    prompt.says("bob#1 cancelled", "In [8]:")
    prompt.enter("%agent wait ans")
    prompt.says("1 cancelled (bob#1)", "In [9]:")
    prompt.enter("exit")
    prompt.terminal.expect(pexpect.EOF)
    assert "Traceback" not in prompt.terminal.before
