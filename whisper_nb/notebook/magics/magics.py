"""`%agent`, `%%agent`, `%agents`, and the same as `%whisper`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import needs_local_scope, no_var_expand
from msgspec import Struct

from ...core.errors import RunCancelled, RunFailed, WhisperError, without_frames
from ...core.text import printable
from ..workbench import Workbench

_ROOTS = ("agent", "whisper")


class Names(Struct, frozen=True):
    """The names under which the magics are registered."""

    roots: tuple[str, ...]
    lists: tuple[str, ...]

    @property
    def root(self) -> str:
        """The name to use in messages."""
        return self.roots[0]

    def with_body(self, lines: list[str]) -> list[str]:
        """Add an empty line to a cell of `%%agent …` alone: IPython would reject it with a misleading hint."""
        if len(lines) == 1 and lines[0].split(None, 1)[:1] in [[f"%%{root}"] for root in self.roots]:
            return [*lines, "\n"]
        return lines


def register(shell: InteractiveShell, bench: Workbench) -> Names:
    """Register the magics.

    A name that another extension has is left to it. `%whisper` and `%%whisper` are always registered.
    """
    magic, panel = _magic(bench), _panel(bench)
    roots = tuple(name for name in _ROOTS if name == "whisper" or _is_free(shell, name, magic))
    lists = tuple(name for name in ("agents",) if _is_free(shell, name, panel))
    for name in roots:
        shell.register_magic_function(magic, "line_cell", name)
    for name in lists:
        shell.register_magic_function(panel, "line", name)
    bench.root = roots[0]
    names = Names(roots, lists)
    shell.input_transformer_manager.line_transforms.insert(0, names.with_body)  # before IPython's own of cell magics
    return names


def unregister(shell: InteractiveShell, names: Names) -> None:
    """Remove the magics."""
    shell.input_transformer_manager.line_transforms.remove(names.with_body)
    for kind, owned in (("line", (*names.roots, *names.lists)), ("cell", names.roots)):
        for name in owned:
            shell.magics_manager.magics[kind].pop(name, None)


def _is_free(shell: InteractiveShell, name: str, ours: Callable[..., Any]) -> bool:
    taken = [shell.magics_manager.magics[kind].get(name) for kind in ("line", "cell")]
    return all(magic is None or getattr(magic, "__module__", None) == ours.__module__ for magic in taken)


def _magic(bench: Workbench) -> Callable[..., object]:
    @no_var_expand
    @needs_local_scope
    def agent(line: str, cell: str | None = None, local_ns: Mapping[str, Any] | None = None) -> object:
        """Work with agents in the background: `%agent help` lists the commands."""
        from .dispatch import run_cell, run_line

        if cell is None:
            return _run(run_line, bench, line, local_ns)
        return _run(run_cell, bench, line, cell, local_ns)

    agent.getdoc = _overview  # IPython's own hook, for `%agent?`
    return agent


def _overview() -> str:
    from .commands.table import overview

    return overview("agent")["text/plain"]


def _panel(bench: Workbench) -> Callable[..., object]:
    @no_var_expand
    def agents(line: str) -> None:
        """Show the live panel of all agents."""
        from .dispatch import run_line

        _run(run_line, bench, f"panel {line}", None)

    return agents


def _run(function: Callable[..., object], *args: object) -> object:
    """Call a function, and raise its error so that IPython shows it without a traceback.

    A misuse is IPython's UsageError. That a run failed or was cancelled is none, and keeps its type.
    """
    try:
        return function(*args)
    except (RunFailed, RunCancelled) as error:
        failure = without_frames(error)
        line = printable(f"{type(error).__name__}: {error}")
        failure.__dict__["_render_traceback_"] = lambda: [line]  # IPython's own hook
    except (WhisperError, TimeoutError) as error:
        failure = UsageError(printable(str(error)))
    except BaseException as error:  # of the user's code in `{{ … }}`, or an interrupt
        failure = without_frames(error)
    # Outside the handlers: the frames may hold a key, and the error would be the context.
    failure.__context__ = None
    raise failure
