"""The Runtime of a notebook: one that can be seen and steered there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..runtimes import Runtime
from .snapshot import Snapshots

if TYPE_CHECKING:
    from .panel import Panel


class NotebookRuntime(Runtime):
    """A Runtime that can be seen and steered in a notebook."""

    _panel: Panel | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.snapshots = Snapshots(self)
        """The panel's static forms, in the cells that show one."""

    def panel(self) -> Panel:
        """The live panel of all agents; display it as often as you like. `%agents` shows it, with its static form."""
        from .panel import Panel  # not before it is wanted: ipywidgets takes its time

        if self._panel is None or self._panel.comm is None:
            self._panel = Panel(self, self.snapshots.rest)
        return self._panel

    def settle(self, *_: object) -> None:
        """After each cell: show what it changed, a config say, which is no event."""
        if self._panel is not None:
            self._panel.recheck()
            self.snapshots.settle()
