"""Runtimes that can be watched and controlled: `whisper_nb.Runtime`, and that of a kernel."""

from __future__ import annotations

import sys
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from ..config.aiconfig import AIConfig, missing_key
from ..team import runtimes
from ..team.control import Control
from .cells.figures import own_figures

if TYPE_CHECKING:
    from .form.form import AgentForm
    from .panel.panel import Panel
    from .panel.picture import TeamPicture
    from .panel.snapshot import Snapshots


class ScriptRuntime(runtimes.Runtime):  # noqa: D101 - that of the base, whose arguments it has
    __doc__ = runtimes.Runtime.__doc__
    _panel: Panel | None = None

    @cached_property
    def _forms(self) -> WeakSet[AgentForm]:
        """The forms that may be shown."""
        return WeakSet()

    @cached_property
    def snapshots(self) -> Snapshots:
        """The panel's static forms, in the cells that show one."""
        from .panel.snapshot import Snapshots  # at the first panel, so that `%load_ext` is quick

        return Snapshots(self)

    def panel(self) -> Panel:
        """Return the live panel of all agents; it can be displayed more than once. `%agents` adds its static form."""
        from .panel.panel import Panel  # ipywidgets is slow to import: load it only when a panel is shown

        if self._panel is None or self._panel.comm is None:
            self._panel = Panel(self, self.snapshots.rest)
        return self._panel

    def timeline(self, minutes: float | None = None) -> TeamPicture:
        """Return a picture of what the agents did: SVG in a notebook, text elsewhere. It does not change any more.

        Args:
            minutes: that it shows, until now. None: all of the last 6 hours.

        Raises:
            ConfigError: it cannot show so many minutes.
        """
        from .panel.picture import picture

        return picture(self, minutes)

    def new_agent_form(self) -> AgentForm:
        """Return a form that creates an agent in this kernel and saves it to the project. `%agent new` shows one."""
        from .form.choices import server_choices, tool_choices, type_choices
        from .form.form import AgentForm

        namespace = vars(sys.modules["__main__"])
        functions, types = partial(tool_choices, namespace), partial(type_choices, namespace)
        servers = partial(server_choices, self.keys)
        find_type = self._following.find_type
        form = AgentForm(self, self.find_tool, functions, self._fields_taken, servers, types, find_type)
        self._forms.add(form)
        return form

    def _fields_taken(self, model: str) -> frozenset[str] | None:
        """Return the fields of AIConfig that a model takes, or None if they are not known.

        Call it in a thread: it may import LiteLLM, which takes seconds. It does not without the model's key; with the
        key, the first call would have to import LiteLLM anyway.
        """
        if missing_key(AIConfig(model=model), self.keys):
            return None
        from ..models.lite import fields_taken

        return fields_taken(model)

    async def _close(self) -> None:
        if self._panel is not None:
            self._panel.close()
        await super()._close()

    def settle(self, *_: object) -> None:
        """After each cell, show its changes that are not events, such as that of a config."""
        from .cells.output import SETTLE_S

        for form in self._forms:
            form.refresh()
        if self._panel is not None:
            self.home.do_within(SETTLE_S, self._recheck)

    def _recheck(self) -> None:
        if self._panel is not None:
            self._panel.recheck()
            self.snapshots.settle()


#: Its public name.
Runtime = ScriptRuntime


class NotebookRuntime(ScriptRuntime):
    """The Runtime of a kernel: with a socket for the terminal."""

    control: Control | None = None
    """The socket through which a terminal reaches the agents."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._ports.around_tool = own_figures

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()  # without a warning: cells show the runs that nobody awaits

    async def _close(self) -> None:
        if self.control is not None:
            self.control.close()
        await super()._close()
