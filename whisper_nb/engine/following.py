"""Following: the agents that files describe, and the sessions that follow their files from run to run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..config.agentfiles import Entry, FindTool
from ..config.agents import Agent
from ..config.project import Project, package
from ..core.errors import ConfigError
from ..core.text import suggestion
from .session import Session


class Following:
    """Builds agents from files, and revises sessions when their files change.

    Args:
        project: the folder whose files are used, if any.
        find_tool: returns the function for a tool's name.
    """

    __slots__ = ("_agents", "_project", "find_tool")

    def __init__(self, project: Project | None, find_tool: FindTool) -> None:
        self._project = project
        self.find_tool = find_tool
        self._agents: dict[str, Agent] = {}  # by name, as their files described them last

    @property
    def team(self) -> Mapping[str, Entry]:
        """The agents that files describe, by name. The project's override the package's."""
        team = dict(package().team)
        if self._project:
            team |= self._project.used.team
        return team

    def build(self, name: str, created: Iterable[str]) -> Agent:
        """Return the agent that a file describes under this name.

        Args:
            name: the agent's name.
            created: the names of all sessions, for the error message.

        Raises:
            ConfigError: no file describes it, or its file is wrong.
        """
        entry = self.team.get(name)
        if entry is not None:
            return entry.build(self.find_tool)
        if self._project and self._project.held_back and name in self._project.found.team:
            raise ConfigError(f"{name} is held back with the project's files until `%agent trust`")
        names = list(created)
        if name in names:
            raise ConfigError(f"no file describes {name} (`%agent save {name}` writes one)")
        hint = suggestion(name, dict.fromkeys([*names, *self.team]))
        raise ConfigError(f"no agent named {name!r}; {hint} (make one with `%agent new {name}`)")

    def start(self, agent: Agent) -> None:
        """Let the session of this agent follow its file, which describes it like this."""
        self._agents[agent.name] = agent

    def end(self, name: str, agent: Agent | None = None) -> None:
        """Let the session of this name follow no file; not if its file describes just this agent."""
        if agent is None or self._agents.get(name) != agent:
            self._agents.pop(name, None)

    def includes(self, session: Session) -> bool:
        """Whether a session follows a file: it was created from it, and has had no other spec since."""
        return self._agents.get(session.name) == session.agent

    def check_trusted(self, session: Session) -> None:
        """Check that the file that a session follows is still trusted.

        Raises:
            ConfigError: the trust was withdrawn.
        """
        withdrawn = self._project is not None and not self._project.used
        if withdrawn and self.includes(session) and session.name not in self.team:
            raise ConfigError(f"{session.name} is described by files that are not trusted any more (`%agent trust`)")

    def update(self, session: Session, created: Iterable[str]) -> None:
        """Revise a session as its file describes it now. Its current run ends with the spec that it began with."""
        name = session.name
        if not self.includes(session) or name not in self.team:
            return
        try:
            agent = self.build(name, created)
        except ConfigError as error:  # for example, one of its tools does not exist any more
            if self._project:
                self._project.tell(f"{error} ({name} stays as it was)")
            return
        self._agents[name] = agent
        session.revise(agent)
