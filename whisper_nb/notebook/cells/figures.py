"""pyplot's figures of tools: each call has its own, which are shown in the launching cell and closed.

pyplot keeps all open figures, and the current one, for the whole process. A tool that plots between cells would draw
into the user's next plot, and the user's next cell would show the tool's. So it is with matplotlib's settings, such as
a style or the backend: what a call has changed is changed back.
"""

from __future__ import annotations

import logging
import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_log = logging.getLogger("whisper_nb")

#: The open figures of the tool call that is running; None outside of one.
_own: ContextVar[OrderedDict[Any, Any] | None] = ContextVar("whisper_nb_figures", default=None)
#: The settings of matplotlib that the tool call has changed: name → its value before, and the call's.
_changes: ContextVar[dict[str, tuple[Any, Any]] | None] = ContextVar("whisper_nb_settings", default=None)


class _Figures:
    """The mapping of open figures in place of pyplot's: that of the tool call which uses it, or the user's."""

    def __init__(self, users: OrderedDict[Any, Any]) -> None:
        self.users = users

    def _current(self) -> OrderedDict[Any, Any]:
        own = _own.get()
        return self.users if own is None else own

    def __getattr__(self, name: str) -> Any:
        return getattr(self._current(), name)

    def __contains__(self, key: object) -> bool:
        return key in self._current()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._current())

    def __len__(self) -> int:
        return len(self._current())

    def __getitem__(self, key: object) -> Any:
        return self._current()[key]

    def __setitem__(self, key: object, manager: Any) -> None:
        self._current()[key] = manager

    def __delitem__(self, key: object) -> None:
        del self._current()[key]


@contextmanager
def own_figures() -> Iterator[None]:
    """Give a tool call figures of its own. Afterwards show them in the context's cell, and close them.

    Settings of matplotlib that the call has changed are changed back.
    """
    before = _pyplots()
    matplotlib = _watched()
    own: OrderedDict[Any, Any] = OrderedDict()
    changes: dict[str, tuple[Any, Any]] = {}
    tokens = _own.set(own), _changes.set(changes)
    try:
        yield
    finally:
        _changes.reset(tokens[1])
        pyplots = _pyplots()
        if pyplots is not None and before is None:  # the call has imported pyplot
            own.update(pyplots.figs.users)
            pyplots.figs.users.clear()
        figures = [manager.canvas.figure for manager in own.values()]
        try:
            _undo(changes if matplotlib else _changed_since_import())
        except Exception:  # the backend may fail to load again: the tool's result counts
            _log.exception("a tool's settings of matplotlib cannot be undone")
        if figures:
            _show(figures)  # with the user's backend, which knows how to show them here
            pyplots.destroy_all()
        _own.reset(tokens[0])


def _watched() -> Any:
    """Return matplotlib, if it is imported. It notes the settings that tool calls change from then on."""
    matplotlib: Any = sys.modules.get("matplotlib")
    params = getattr(matplotlib, "RcParams", None)
    write = getattr(params, "_set", None)
    if params is not None and write is not None and not hasattr(write, "__wrapped__"):
        params._set = _noting(write)
    return matplotlib


def _noting(original: Callable[[Any, str, Any], None]) -> Callable[[Any, str, Any], None]:
    def note(params: Any, name: str, value: Any) -> None:
        changes = _changes.get()
        if changes is not None and params is sys.modules["matplotlib"].rcParams:
            before = dict.get(params, name)
            changes[name] = (changes.get(name, (before,))[0], value)
        original(params, name, value)

    note.__wrapped__ = original  # type: ignore[attr-defined]
    return note


def _changed_since_import() -> dict[str, tuple[Any, Any]]:
    """Return the settings that a call has changed which imported matplotlib."""
    matplotlib = _watched()
    if not hasattr(matplotlib, "rcParamsOrig"):
        return {}
    wanted = dict(dict.items(matplotlib.rcParamsOrig))
    if backend := os.environ.get("MPLBACKEND"):
        wanted["backend"] = backend
    now = dict(dict.items(matplotlib.rcParams))
    return {name: (value, now[name]) for name, value in wanted.items() if name in now and now[name] != value}


def _undo(changes: dict[str, tuple[Any, Any]]) -> None:
    """Change settings back, but those that have been changed again since."""
    for name, (before, value) in changes.items():
        params = sys.modules["matplotlib"].rcParams
        pyplot = sys.modules.get("matplotlib.pyplot")
        if dict.get(params, name) is not value or before == value:
            continue
        params._set(name, before)
        if name == "backend" and pyplot is not None and isinstance(before, str):
            pyplot.switch_backend(before)  # matplotlib_inline, if this loads it, has to find itself in the settings


def _pyplots() -> Any:
    """Return pyplot's class of open figures, if pyplot is imported. It has our mapping from then on."""
    found: Any = getattr(sys.modules.get("matplotlib._pylab_helpers"), "Gcf", None)
    if found is not None and not isinstance(found.figs, _Figures):
        found.figs = _Figures(found.figs)
    return found


def _show(figures: list[Any]) -> None:
    from IPython.display import display

    show: Any = display
    try:
        show(*figures)
    except Exception:  # a figure may fail when it is drawn: the tool's result counts
        _log.exception("a figure of a tool cannot be shown")
