"""Tracebacks of whisper_nb's errors in a notebook: the user's own lines, and the message."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType

from IPython.core.interactiveshell import InteractiveShell

from ...core.errors import WhisperError

_HOOK = "_render_traceback_"
"""IPython's hook: a method of an error that returns the lines of its traceback."""


def register(shell: InteractiveShell) -> Callable[[], None]:
    """Have the shell show errors of whisper_nb without its own frames. `%xmode Verbose` shows these, too.

    Returns:
        A function that ends this.
    """

    def lines(error: WhisperError) -> list[str]:
        return _lines(shell, error)

    def undo() -> None:
        if vars(WhisperError).get(_HOOK) is lines:
            delattr(WhisperError, _HOOK)

    setattr(WhisperError, _HOOK, lines)
    return undo


def _lines(shell: InteractiveShell, error: WhisperError) -> list[str]:
    """Return the lines of an error's traceback, as this shell shows tracebacks."""
    form = shell.InteractiveTB
    trace, cause = error.__traceback__, error.__cause__
    if form.mode == "Verbose":
        return list(form.structured_traceback(type(error), error, trace, tb_offset=form.tb_offset))
    if cause is not None and cause.__traceback__ is None:
        error.__cause__ = None  # the message has its text, and it has no lines
    try:
        return list(form.structured_traceback(type(error), error, _to_ours(trace), tb_offset=form.tb_offset))
    finally:
        error.__cause__ = cause


def _to_ours(trace: TracebackType | None) -> TracebackType | None:
    """Return a traceback up to where whisper_nb was called."""
    if trace is None or trace.tb_frame.f_globals.get("__name__", "").startswith("whisper_nb."):
        return None
    return TracebackType(_to_ours(trace.tb_next), trace.tb_frame, trace.tb_lasti, trace.tb_lineno)
