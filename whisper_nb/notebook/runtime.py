"""The Runtime of a notebook: one that can be seen and steered there."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from ..config.agents import Agent
from ..config.aiconfig import AIConfig, missing_key
from ..engine.home import at_home
from ..engine.runtimes import Runtime
from .cells.output import SETTLE_S
from .panel.snapshot import Snapshots

if TYPE_CHECKING:
    from ..engine.control import Control
    from .form.form import AgentForm
    from .panel.panel import Panel


class NotebookRuntime(Runtime):
    """A Runtime that can be seen and steered in a notebook."""

    _panel: Panel | None = None
    control: Control | None = None
    """By which a terminal reaches its agents."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.snapshots = Snapshots(self)
        """The panel's static forms, in the cells that show one."""

    def panel(self) -> Panel:
        """The live panel of all agents; display it as often as you like. `%agents` shows it, with its static form."""
        from .panel.panel import Panel  # not before it is wanted: ipywidgets takes its time

        if self._panel is None or self._panel.comm is None:
            self._panel = Panel(self, self.snapshots.rest)
        return self._panel

    @at_home
    def make(self, agent: Agent | str) -> str:
        """Make an agent's session as `create` does, or give it the new spec.

        Returns:
            What came of it, for people.

        Raises:
            WhisperError: nothing was made.
        """
        spec = self.described(agent) if isinstance(agent, str) else agent
        config = self.resolve(spec)
        self.models.open(config)  # an offline model that does not exist: nothing is made
        before = self.get(spec.name)
        old = before.agent if before else None
        session = self.create(agent)
        changed = [
            one.name for one in fields(Agent) if old and getattr(old, one.name) != getattr(session.agent, one.name)
        ]
        what = f": revision {session.revision} ({', '.join(changed)}), history kept" if changed else " is ready"
        return f"{session.name}{what}; answers with {config.model}"

    def new_agent_form(self) -> AgentForm:
        """A form that makes an agent, here and as a file of the project. `%agent new` shows one."""
        from .form.form import AgentForm

        return AgentForm(self, self.find_tool, self._fields_taken)

    def _fields_taken(self, model: str) -> frozenset[str] | None:
        """The fields of AIConfig that a model takes; None where nobody knows. May take seconds: for a thread.

        LiteLLM is imported for it, which the first call would have to wait for anyway; not without the key for one.
        """
        if missing_key(AIConfig(model=model), self.keys):
            return None
        from ..models.lite import fields_taken

        return fields_taken(model)

    async def _close(self) -> None:
        if self._panel is not None:
            self._panel.close()
        if self.control is not None:
            self.control.close()
        await super()._close()

    def _recheck(self) -> None:
        if self._panel is not None:
            self._panel.recheck()
            self.snapshots.settle()

    def settle(self, *_: object) -> None:
        """After each cell: show what it changed, a config say, which is no event."""
        if self._panel is not None:
            self.home.do_within(SETTLE_S, self._recheck)
