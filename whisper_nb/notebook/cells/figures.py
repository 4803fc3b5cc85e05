"""pyplot's figures of tools: each call has its own, which are shown in the launching cell and closed.

pyplot keeps all open figures, and the current one, for the whole process. A tool that plots between cells would draw
into the user's next plot, and the user's next cell would show the tool's.
"""

from __future__ import annotations

import logging
import sys
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

_log = logging.getLogger("whisper_nb")

#: The open figures of the tool call that is running; None outside of one.
_own: ContextVar[OrderedDict[Any, Any] | None] = ContextVar("whisper_nb_figures", default=None)


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
    """Give a tool call figures of its own. Afterwards show them in the context's cell, and close them."""
    before = _pyplots()
    own: OrderedDict[Any, Any] = OrderedDict()
    token = _own.set(own)
    try:
        yield
    finally:
        pyplots = _pyplots()
        if pyplots is not None:
            if before is None:  # the call has imported pyplot
                own.update(pyplots.figs.users)
                pyplots.figs.users.clear()
            if own:
                _show([manager.canvas.figure for manager in own.values()])
                pyplots.destroy_all()
        _own.reset(token)


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
