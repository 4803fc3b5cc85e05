"""The places that show a run: a cell, an Output widget, a console, a terminal. Each is updated in its own way."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol
from uuid import uuid4

from IPython.core.getipython import get_ipython

from ...core.text import printable
from ...engine.runs import Run
from .render import run_bundle, run_text, status_line

_Bundle = Callable[[Run], dict[str, str]]
_log = logging.getLogger("whisper_nb")


class Place(Protocol):
    """Where one run is shown. All methods are called in the launching cell's context, but `settle`."""

    def show(self, run: Run) -> None:
        """Show the run's present state."""

    def repaint(self, run: Run) -> None:
        """Show its present state in place of the one before."""

    def finish(self, run: Run) -> None:
        """Show a finished run at once: its cell has waited for it."""

    def settle(self, run: Run) -> None:
        """Show its state again, from the cell that has just run."""


class _CellPlace:
    """The output of a cell. Front ends update it by its display id."""

    def __init__(self, bundle: _Bundle) -> None:
        self._bundle = bundle
        self._display_id = uuid4().hex
        self._shown: dict[str, str] = {}
        """One object for all messages: `%%capture` keeps it, and may show it later."""

    def show(self, run: Run) -> None:
        self._shown.update(self._bundle(run))
        _display(self._shown, display_id=self._display_id)

    def repaint(self, run: Run) -> None:
        bundle = self._bundle(run)
        self._shown.update(bundle)
        for kind in self._shown.keys() - bundle.keys():
            del self._shown[kind]
        _display(self._shown, display_id=self._display_id, update=True)

    def finish(self, run: Run) -> None:
        pass  # it is repainted

    settle = repaint


class _WidgetPlace:
    """The inside of an `ipywidgets.Output`, whose page ignores updates: a box of its own there is changed instead."""

    def __init__(self, bundle: _Bundle) -> None:
        from ipywidgets import Output

        self._bundle = bundle
        self._box = Output()

    def show(self, run: Run) -> None:
        self.repaint(run)
        _display({**self._box._repr_mimebundle_(), "text/plain": self._bundle(run)["text/plain"]})

    def repaint(self, run: Run) -> None:
        self._box.outputs = ({"output_type": "display_data", "data": self._bundle(run), "metadata": {}},)

    def finish(self, run: Run) -> None:
        pass  # it is repainted

    def settle(self, run: Run) -> None:
        self.repaint(run)
        self._box.send_state("outputs")  # also if nothing has changed since, for front ends that missed it


class _LinePlace:
    """A place that shows what comes and never changes it: a terminal, or a console of a kernel.

    Args:
        write: shows a run with its text.
    """

    def __init__(self, write: Callable[[Run], None]) -> None:
        self._write = write
        self._ended = False

    def show(self, run: Run) -> None:
        if run.done:
            self.finish(run)
        else:
            _print(status_line(run))

    def repaint(self, run: Run) -> None:
        if run.done:
            self.finish(run)

    def finish(self, run: Run) -> None:
        if not self._ended:
            self._ended = True
            self._write(run)

    settle = repaint


def place_of(live: bool, *, raw: bool = False) -> Place:
    """Return the place of what the running code shows.

    Args:
        live: whether a kernel shows it, and not a terminal.
        raw: whether answers are shown as the text that the model wrote.
    """
    bundle = partial(_bundle, raw=raw)
    if not live:
        return _LinePlace(lambda run: _print(run_text(run, raw=raw)))
    parent: dict[str, Any] = getattr(get_ipython(), "get_parent", dict)()
    execution = parent.get("header", {}).get("msg_id")
    if execution and any(getattr(one, "msg_id", None) == execution for one in _widgets()):
        return _WidgetPlace(bundle)
    if _is_console(parent):
        return _LinePlace(lambda run: _display(bundle(run)))
    return _CellPlace(bundle)


def _widgets() -> list[Any]:
    module: Any = sys.modules.get("ipywidgets.widgets.widget")
    return list(getattr(module, "_instances", {}).values())


def _is_console(request: dict[str, Any]) -> bool:
    """Whether a person types at a client of `jupyter_client`, such as jupyter console, which ignores updates.

    Notebooks send a cell's id, or a message id of their own kind. Programs that run notebooks allow no input.
    """
    header, content = request.get("header", {}), request.get("content", {})
    session = header.get("session")
    return (
        bool(session)
        and str(header.get("msg_id", "")).startswith(f"{session}_")
        and bool(content.get("allow_stdin"))
        and not request.get("metadata", {}).get("cellId")
    )


def _bundle(run: Run, *, raw: bool) -> dict[str, str]:
    try:
        return run_bundle(run, raw=raw)
    except Exception:  # a model's text may break rendering: the other runs must still be shown
        _log.exception("%s cannot be shown", run.id)
        return {"text/plain": f"{status_line(run)}\n(it cannot be shown: see run.text)"}


def _display(bundle: dict[str, Any], **options: Any) -> None:
    from IPython.display import display

    show: Callable[..., Any] = display
    show(bundle, raw=True, **options)


def _print(text: str) -> None:
    print(printable(text))  # noqa: T201
