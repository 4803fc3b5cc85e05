"""Following: what the project's files say, and the sessions that follow their files from run to run."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..config.agentfiles import Entry, FindTool, agent_file
from ..config.agents import AGENT_NAME, Agent
from ..config.keys import Keys
from ..config.project import Project, Review, team_of
from ..config.projectconfig import WITHOUT_MODEL, ProjectConfig, unbound
from ..core.errors import ConfigError
from ..core.text import suggestion
from ..engine.session import Session
from ..tools.outputs import OutputType
from ..tools.type_names import FindType
from .roster import Roster


class Following:
    """Reads the project's files and applies them once they are trusted: limits, keys, agents, sessions that follow.

    Args:
        project: the folder whose files are used, if any.
        find_tool: returns the function for a tool's name.
        find_type: returns the type that a text names.
        keys: take the variables of the project's `.env` file.
        roster: the sessions.
        limit: takes the settings of `config/main.yaml` each time that files are applied.
    """

    __slots__ = ("_agents", "_applied", "_keys", "_limit", "_project", "_roster", "find_tool", "find_type")

    def __init__(
        self,
        project: Project | None,
        find_tool: FindTool,
        find_type: FindType,
        keys: Keys,
        roster: Roster,
        limit: Callable[[Mapping[str, Any]], None],
    ) -> None:
        self._project = project
        self.find_tool = find_tool
        self.find_type = find_type
        self._keys = keys
        self._roster = roster
        self._limit = limit
        self._applied: ProjectConfig | None = None  # the files in force
        self._agents: dict[str, Agent] = {}  # by name, as their files described them last

    # The files

    def review(self) -> Review:
        """Return the present content of the project's files, as `Runtime.review`."""
        return self.known("to trust").review()

    def refresh(self) -> list[str]:
        """Apply changes of files, as `Runtime.refresh`. Return lines for people."""
        if self._project is None:
            return []
        self._project.refresh()
        if self._project.used is not self._applied:
            self.apply()
        return self._project.news()

    def trust(self, code: str) -> None:
        """Trust the present content of the project's files, as `Project.trust`, and apply it."""
        self.known("to trust").trust(code)
        self.apply()

    def save(self, agent: Agent, overwrite: bool) -> Path:
        """Write an agent's file, as `Runtime.save`. Return its path."""
        project = self.known("to save in")
        if field := unbound(agent.config, project.found.model):
            raise ConfigError(f"agent {agent.name!r}: {field} {WITHOUT_MODEL}")
        path = project.save(*agent_file(agent, self.find_type), overwrite)
        self.apply()
        return path

    def apply(self) -> None:
        """Apply the files that are in force: limits, keys, and the agents that follow their files."""
        project = self.known("to apply")
        self._applied = project.used
        self._limit(project.used.settings)
        try:
            self._keys.read(*project.used.env())
        except ConfigError as error:
            project.tell(f"{error} (no key of it is used that was not before)")
        for session in self._roster:
            self._update(session)

    def before_run(self, session: Session) -> list[str]:
        """Apply changes of files, and of what cells define, before a run of this session. Return lines for people.

        Raises:
            ConfigError: the file that the session follows is not trusted any more, or a type has no JSON Schema now.
        """
        notices = self.refresh()
        self._check_trusted(session)
        self._update(session)
        agent = session.agent
        if (agent.tools or agent.output_type) and not self.includes(session):  # of a file, it has taken them already
            agent = agent.with_tools_of_now(self.find_tool).with_type_of_now(self.find_type)
            if agent is not session.agent:
                session.revise(agent)
        return notices + (self._project.news() if self._project else [])  # those of its own file

    def type_of_now(self, output: OutputType) -> OutputType | None:
        """Return a run's own output type, as cells define it now. None: text."""
        return None if output.is_text else output.as_defined_now(self.find_type)

    def known(self, purpose: str) -> Project:
        """Return the project, which this purpose needs. Raises ConfigError without a project."""
        if self._project is None:
            raise ConfigError(
                f"there is no project {purpose}: no folder above this one has agents/ or config/main.yaml"
            )
        return self._project

    # The agents that they describe

    @property
    def team(self) -> Mapping[str, Entry]:
        """The agents that files describe, by name. The project's override the package's."""
        return team_of(self._project)

    def build(self, name: str) -> Agent[Any]:
        """Return the agent that a file describes under this name.

        Raises:
            ConfigError: no file describes it, or its file is wrong.
        """
        entry = self.team.get(name)
        if entry is not None:
            return entry.build(self.find_tool, self.find_type)
        if self._project and self._project.held_back and name in self._project.found.team:
            raise ConfigError(f"{name} is held back with the project's files until `%agent trust`")
        names = [session.name for session in self._roster]
        if name in names:
            raise ConfigError(f"no file describes {name} (`%agent save {name}` writes one)")
        agent, _, number = name.partition("#")
        if number.isdigit() and agent in names:
            raise ConfigError(f"{name} is the id of a run, not an agent: `%agent log {name}` shows it")
        if "," in name:
            raise ConfigError(f"no agent named {name!r}: separate names with spaces, not with commas")
        hint = suggestion(name, dict.fromkeys([*names, *self.team]))
        if re.fullmatch(AGENT_NAME, name):
            hint += f" (make one with `%agent new {name}`)"
        raise ConfigError(f"no agent named {name!r}; {hint}")

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

    def source(self, agent: Agent) -> str:
        """Return where the spec of a session's agent comes from: `agents/bob.yaml`, or `agent bob` for Python."""
        if self._agents.get(agent.name) == agent and (entry := self.team.get(agent.name)):
            return entry.file
        return f"agent {agent.name}"

    def _check_trusted(self, session: Session) -> None:
        """Check that the file that a session follows is still trusted.

        Raises:
            ConfigError: the trust was withdrawn.
        """
        withdrawn = self._project is not None and not self._project.used
        if withdrawn and self.includes(session) and session.name not in self.team:
            raise ConfigError(f"{session.name} is described by files that are not trusted any more (`%agent trust`)")

    def _update(self, session: Session) -> None:
        """Revise a session as its file describes it now. Its current run ends with the spec that it began with."""
        name = session.name
        if not self.includes(session) or name not in self.team:
            return
        try:
            agent = self.build(name)
        except ConfigError as error:  # for example, one of its tools does not exist any more
            if self._project:
                self._project.tell(f"{error} ({name} stays as it was)")
            return
        self._agents[name] = agent
        session.revise(agent)
