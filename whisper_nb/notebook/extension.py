"""`%load_ext whisper_nb`: create the kernel's Runtime, register magics and hooks, and print one line."""

from __future__ import annotations

import asyncio
import atexit
import functools
from collections.abc import Callable, Mapping
from concurrent.futures import TimeoutError as FutureTimeout
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from IPython.core.async_helpers import get_asyncio_loop
from IPython.core.getipython import get_ipython
from IPython.core.interactiveshell import InteractiveShell

from ..config.aiconfig import AIConfig
from ..config.layers import MODEL_VARIABLE
from ..config.paths import packaged, project_root, sockets_folder, user_folder
from ..config.project import Project
from ..config.trust import TrustFile
from ..core.errors import ConfigError, WhisperError, sealed
from ..engine.home import Home
from ..engine.preview import Preview
from ..engine.runs import Run
from ..models.offline import EchoModel
from ..team.control import Control
from ..team.runtimes import GRACE_S
from ..tools.functions import function_of_cells
from ..tools.type_names import type_of_cells
from .cells import tracebacks
from .cells.blocking import block, interruptible, note_interrupts, waking, warn_of_old_nest_asyncio
from .cells.output import Outputs
from .magics import completion, magics, questions
from .notes import Notes
from .runtime import NotebookRuntime
from .workbench import Workbench

#: Shell → the callbacks that unload the extension.
_loaded: WeakKeyDictionary[InteractiveShell, ExitStack] = WeakKeyDictionary()


@functools.cache
def runtime() -> NotebookRuntime:
    """Return the kernel's Runtime, created at the first call.

    Raises:
        ConfigError: not in IPython. In a script, use `async with Runtime() as rt`.
    """
    if get_ipython() is None:
        raise ConfigError("not in a notebook: in a script, use `async with whisper_nb.Runtime() as rt`")
    home = Home(_main_loop(), block, interruptible)
    rt = NotebookRuntime(home=home, project=_project(), find_tool=_function, find_type=_type)
    rt.control = Control(rt, sockets_folder())
    rt.models["offline/echo"] = EchoModel(tokens_per_second=25)  # slow enough to see it stream
    atexit.register(_close, rt)
    return rt


@sealed
def configure(
    config: AIConfig | Mapping[str, Any] | str | None = None, *, offline: str | None = None, **values: Any
) -> None:
    """Set config for all agents of this notebook, from their next run on. See `Runtime.configure`."""
    runtime().configure(config, offline=offline, **values)


def load(shell: InteractiveShell) -> None:
    """Register magics, completion and hooks with a shell, and print one line."""
    warn_of_old_nest_asyncio()
    bench = _workbench(shell)
    bench.runtime.follow(_main_loop())
    formatter = shell.display_formatter.ipython_display_formatter
    with ExitStack() as undo:
        if _is_kernel(shell):
            waker = undo.enter_context(ExitStack())
            waker.enter_context(waking(bench.runtime.home.main))
            follow = functools.partial(_follow, bench.runtime, waker)
            for hook in (follow, note_interrupts):
                shell.events.register("pre_run_cell", hook)
                undo.callback(shell.events.unregister, "pre_run_cell", hook)
        elif not shell.active_eventloop and not getattr(shell, "simple_prompt", True):
            # IPython then runs its prompt on the same loop, so that agents work while the prompt waits.
            shell.enable_gui("asyncio")
        names = magics.register(shell, bench)
        undo.callback(magics.unregister, shell, names)
        undo.callback(completion.register(shell, bench, names))
        undo.callback(tracebacks.register(shell))
        questions.register(shell)
        undo.callback(questions.unregister, shell)
        for settle in (bench.outputs.settle, bench.runtime.settle, Notes(shell, bench.runtime).settle):
            shell.events.register("post_run_cell", settle)
            undo.callback(shell.events.unregister, "post_run_cell", settle)
        for kind, display in ((Run, bench.display), (Preview, bench.look)):
            formatter.for_type(kind, display)
            undo.callback(formatter.pop, kind, None)
        _loaded[shell] = undo.pop_all()
    print(_greeting(bench.runtime, names))  # noqa: T201
    bench.take_up_edits()


def unload(shell: InteractiveShell) -> None:
    """Unregister everything. The runtime stays and its agents go on: `runtime().stop()` ends them."""
    _loaded.pop(shell, ExitStack()).close()


@functools.cache
def _workbench(shell: InteractiveShell) -> Workbench:
    """Return the shell's workbench, the same after `%reload_ext`: cells go on showing the runs that they launched."""
    rt = runtime()
    bench = Workbench(shell, rt, Outputs(rt.home, _is_kernel(shell)))
    rt.observe(bench.outputs.observe)
    return bench


def _project() -> Project:
    """Return the project around the kernel's folder.

    It is used only once the user trusts it, unless it is whisper_nb's own.
    """
    root = project_root(Path.cwd())
    return Project(root, None if root == packaged() else TrustFile(user_folder()))


def _function(name: str) -> Callable[..., Any]:
    return function_of_cells(get_ipython().user_ns, name)


def _type(text: str) -> Any:
    return type_of_cells(get_ipython().user_ns, text)


def _greeting(rt: NotebookRuntime, names: magics.Names) -> str:
    try:
        model = rt.resolve()
    except ConfigError as error:  # in the environment: agents with a model of their own still work
        return f"whisper_nb: {error}"
    line = f"whisper_nb: agents answer with {model.model}"
    if model.provider == "offline" and not rt.keys.get(MODEL_VARIABLE):
        line += " (no provider's key is set)"
    line += f" · %{names.root} help"
    if names.root != "agent":
        line += f" · %agent belongs to another extension: use %{names.root}"
    return line


def _is_kernel(shell: InteractiveShell) -> bool:
    return getattr(shell, "kernel", None) is not None


def _main_loop() -> asyncio.AbstractEventLoop:
    """Return the loop that the kernel or the terminal runs, or will run."""
    kernel = getattr(get_ipython(), "kernel", None)
    if kernel is None or getattr(kernel, "io_loop", None):
        return get_asyncio_loop()  # the running one; in a terminal, none runs between cells
    # A kernel runs the policy's loop once startup files are executed. An `await` in those runs on another, for a while.
    policy = asyncio.get_event_loop_policy()
    try:
        return policy.get_event_loop()
    except RuntimeError:  # a startup file has called asyncio.run, which leaves none
        loop = policy.new_event_loop()
        policy.set_event_loop(loop)
        return loop


def _follow(rt: NotebookRuntime, waker: ExitStack, *_: object) -> None:
    """Before a cell, take up the loop that the kernel runs: a startup file may have replaced the loop it had."""
    if rt.follow(_main_loop()):
        waker.close()
        waker.enter_context(waking(rt.home.main))


def _close(rt: NotebookRuntime) -> None:
    # Not guaranteed to run, since a kernel may be killed. It avoids warnings about pending tasks.
    if rt.home.forked:
        return
    loop = rt.home.main
    if not loop.is_closed() and not loop.is_running():
        loop.run_until_complete(rt.aclose())
    elif not rt.home.here:  # the loop of the main thread is still running, but agents are on another one
        with suppress(FutureTimeout, WhisperError):
            rt.home.finish(rt.aclose()).result(GRACE_S)
        rt.home.end()
