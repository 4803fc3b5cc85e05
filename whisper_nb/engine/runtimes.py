"""Runtime: owns the sessions, the store, the models and the observers. One per kernel, or one per script."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from ..config import precedence
from ..config.agentfiles import Entry, FindTool, agent_file, no_tools
from ..config.agents import Agent
from ..config.aiconfig import AIConfig
from ..config.keys import Keys
from ..config.layers import Layer
from ..config.project import Project, ProjectConfig, package
from ..core.errors import ConfigError, SessionClosed, sealed
from ..core.events import Record
from ..core.messages import Spent
from ..core.text import suggestion
from ..models.pool import Models
from ..store.memory import MemoryStore
from ..store.observers import Observer, Observers
from ..store.store import Store
from .admission import Admission
from .home import Home, Where, at_home, checked_where, running_loop
from .permits import Permits
from .ports import Ports, Start
from .roster import Roster
from .session import Session
from .spending import Ledger

#: Seconds that sessions have, all together, to end their work when the runtime closes.
GRACE_S = 1.0
#: Model calls in flight over all agents, and runs that wait for each, where nobody says.
DEFAULT_CALLS, DEFAULT_QUEUE = 100, 100


class Runtime:
    """A team at work. In a script: `async with Runtime() as rt`. In a notebook `whisper_nb.runtime()` is the one.

    Args:
        config: what holds for all agents, above their own: a model string, a dict or an AIConfig.
        offline: the offline model that answers while no provider's key is set.
        max_concurrent_calls: model calls in flight at once, over all agents; by default what the project says, else 100.
        store: keeps what happens; by default in memory.
        environ: where keys and `WHISPER_MODEL` are looked up; by default the process's environment, live.
        home: the loop to live on; by default the one that runs now.
        project: the folder whose `config/main.yaml` and `agents/` are used. Who names it here trusts it. In a notebook it is
            found, and used once the user trusts it.
        find_tool: the function that a file means by the name of a tool.
        loop: see the method of that name; by default what the project says, else `notebook`.
    """

    @sealed
    def __init__(
        self,
        *,
        config: AIConfig | Mapping[str, Any] | str | None = None,
        offline: str = "offline/echo",
        max_concurrent_calls: int | None = None,
        store: Store | None = None,
        environ: Mapping[str, str] | None = None,
        home: Home | None = None,
        project: Project | str | Path | None = None,
        find_tool: FindTool = no_tools,
        loop: str | None = None,
    ) -> None:
        if max_concurrent_calls is not None and max_concurrent_calls < 1:
            raise ConfigError(f"max_concurrent_calls {max_concurrent_calls!r} is not at least 1")
        # Not a default of the argument: help() shows those, keys and all.
        self.keys = Keys(os.environ if environ is None else environ)
        """Where keys are looked up."""
        self.models = Models(self.keys)
        """The pool; `rt.models["offline/mine"] = ScriptedModel(...)` adds one of your own."""
        self.store: Store = store or MemoryStore()
        self._config = AIConfig.of(config)
        self._offline = AIConfig(model=offline).model or ""
        self._limit = max_concurrent_calls
        self.find_tool = find_tool
        """The function that a tool's name means."""
        self._roster = Roster()
        self._closed = False
        self._ledger = Ledger()
        self._observers = Observers[Record]()
        self.home = home or Home(running_loop())
        """Where its agents live."""
        self._ports = Ports(
            home=self.home,
            store=self.store,
            observers=self._observers,
            permits=Permits(max_concurrent_calls or DEFAULT_CALLS),
            open_model=self.models.open,
            prepare=self._prepare,
            resolve=self.resolve,
            fork=self._fork,
            seq=itertools.count(1),
            admission=Admission(DEFAULT_QUEUE),
        )
        self.project = Project(Path(project).resolve()) if isinstance(project, str | Path) else project
        """The folder whose files are used; None for none."""
        self._from_files: dict[str, Agent] = {}  # name → the agent as a file said it when its session was made
        self._applied: ProjectConfig | None = None  # what its settings were last taken from
        if self.project:
            self.project.refresh()
            self._apply()
        settings = self.project.used.settings if self.project else {}
        self.home.move(checked_where(loop or settings.get("loop", self.home.where)))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # The team

    @at_home
    def create(self, agent: Agent | str) -> Session:
        """The session of an agent: new, or the one of that name.

        A cell may be rerun: the same spec gives the same session, another spec gives it a new revision with its
        history kept, and one that was stopped takes work again.

        Args:
            agent: a spec; or the name of one that files describe, the project's before the package's. Such a session
                follows its file, from run to run.

        Raises:
            ConfigError: no file describes an agent of that name, or what it says is wrong.
            SessionClosed: the runtime was closed.
        """
        if self._closed:
            raise SessionClosed("this Runtime is closed; make a new one")
        if isinstance(agent, str):
            name, agent = agent, self.described(agent)
            self._from_files[name] = agent
        elif self._from_files.get(agent.name) != agent:
            self._from_files.pop(agent.name, None)
        session = self._roster.get(agent.name)
        if session is None:
            return self._roster.add(Session(agent, self._ports))
        session.revise(agent)
        if session.state.gate == "stopped":
            session.resume()
        return session

    def get(self, name: str) -> Session | None:
        """The session of that name, or None."""
        return self._roster.get(name)

    def __getitem__(self, name: str) -> Session:
        """The session of that name; made now where only a file describes the agent."""
        return self._roster.get(name) or self.create(name)

    @property
    def team(self) -> Mapping[str, Entry]:
        """The agents that files describe, by name: those of the package, and above them the project's."""
        return {**package().team, **(self.project.used.team if self.project else {})}

    def described(self, name: str) -> Agent:
        """The agent that a file describes under this name.

        Raises:
            ConfigError: there is none, or what its file says is wrong.
        """
        entry = self.team.get(name)
        if entry is None and self.project and self.project.held_back and name in self.project.found.team:
            raise ConfigError(f"{name} is held back with the project's files until `%agent trust`")
        if entry is None and name in self._roster:
            raise ConfigError(f"no file describes {name} (`%agent save {name}` writes one)")
        if entry is None:
            hint = suggestion(name, dict.fromkeys([*(one.name for one in self._roster), *self.team]))
            raise ConfigError(f"no agent named {name!r}; {hint} (make one with `%agent new {name}`)")
        return entry.build(self.find_tool)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions, in the order of their making."""
        return tuple(self._roster)

    @at_home
    def remove(self, name: str) -> None:
        """Stop a session and forget it. ConfigError: there is none of that name."""
        session = self[name]
        self._ledger.close(session)
        self._roster.remove(session)
        self._from_files.pop(name, None)

    def stop(self) -> None:
        """Stop every session. Thread-safe."""
        for session in self.sessions:
            session.stop()

    async def aclose(self) -> None:
        """Stop everything and let go of it. Afterwards no task of any session runs.

        A tool that does not let itself be cancelled within a second is named in a RuntimeWarning and abandoned.
        """
        self._closed = True
        await self.home.close(self._close(), 2.2 * GRACE_S)

    async def _close(self) -> None:
        await self._roster.aclose(GRACE_S)
        await self.models.aclose()
        await self.store.aclose()

    # What holds for all

    def loop(self, where: str | None = None) -> Where:
        """Which loop agents live on; with a word, they move there first, with all that they have.

        Args:
            where: `thread`, one in a thread of their own: they go on while a cell blocks. `notebook`, the main thread's.

        Raises:
            ConfigError: an unknown word.
            SessionError: agents are at work; or this is not the main thread. They stay where they are.
        """
        if where is not None and checked_where(where) != self.home.where:
            self.home.do(self._roster.check_idle)
            if self.models.opened or not self._roster.at_rest:
                self.home.run(self._pack())
            self.home.move(checked_where(where), self._roster.check_at_rest)
        return self.home.where

    async def _pack(self) -> None:
        """Let records be published that are on their way, and close connections: they belong to this loop."""
        await self._roster.rest(GRACE_S)
        await self.models.aclose()

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer(record)` for everything that happens, on the agents' loop; it must not block.

        One that raises is logged and dropped.

        Returns:
            A function that takes it off again.
        """
        return self._observers.add(observer)

    def spent_by_agent(self, *, removed_only: bool = False) -> dict[str, Spent]:
        """What was spent on each agent, by name: by runs of removed agents, too, or only, and so far by those at work."""
        return self._ledger.by_agent(() if removed_only else self.sessions, self._roster.removed)

    @property
    def spent(self) -> Spent:
        """What all runs have cost together; see `spent_by_agent`."""
        return sum(self.spent_by_agent().values(), Spent())

    def observe_team(self, observer: Callable[[Session], None]) -> Callable[[], object]:
        """Call `observer(session)` whenever a session was made or removed. Gives a function that takes it off again."""
        return self._roster.observers.add(observer)

    @sealed
    def configure(
        self, config: AIConfig | Mapping[str, Any] | str | None = None, *, offline: str | None = None, **values: Any
    ) -> None:
        """Set config for all agents, above their own, from their next run on.

        Args:
            config: a model string, a dict or an AIConfig; replaces what was configured before.
            offline: the offline model that answers while no provider's key is set.
            **values: fields of AIConfig, added to what was configured before.

        Raises:
            ConfigError: nothing is changed.
        """
        offline = AIConfig(model=offline or self._offline).model
        self._config = AIConfig.of(self._config if config is None else config, **values)
        self._offline = offline or ""

    def resolve(
        self, agent: Agent | None = None, call: AIConfig | None = None, session: AIConfig | None = None
    ) -> AIConfig:
        """The config of a run.

        Args:
            agent: whose run; None for what holds for all.
            call: what the run itself sets.
            session: what its session sets.

        Raises:
            ConfigError: `config/main.yaml` is wrong, and nothing is in force in its place.
        """
        return precedence.resolve(self._layers(agent, call, session), self.keys, self._offline)

    def explain(self, agent: Agent | str | None = None, call: AIConfig | None = None) -> Layer:
        """The config of a run, and the place where each value was said: `layer.place("temperature")`.

        Args:
            agent: whose run, by name with what its session sets; None for what holds for all.
            call: what the run itself sets.

        Raises:
            ConfigError: as `resolve`; or there is no agent of that name.
        """
        session = self[agent] if isinstance(agent, str) else None
        if session:
            layers = self._layers(session.agent, call, session.configured)
        else:
            layers = self._layers(agent if isinstance(agent, Agent) else None, call, None)
        return precedence.explain(layers, self.keys, self._offline)

    def _layers(self, agent: Agent | None, call: AIConfig | None, session: AIConfig | None) -> list[Layer]:
        configured = ((self._config, "configure"), (session, "session"), (call, "call"))
        return precedence.config_layers(self.project, self.team, agent, configured)

    # The project

    @at_home
    def refresh(self) -> list[str]:
        """Take up what has changed in the project's files, where that is trusted and right. Stats them, and reads if need be.

        Returns:
            What people should be told, a line each: what is held back, or was not taken up and why.
        """
        if self.project is None:
            return []
        self.project.refresh()
        if self.project.used is not self._applied:
            self._apply()
        return self.project.news()

    @at_home
    def trust(self, code: str) -> None:
        """Trust what the project's files say now, as `Project.trust`; it holds from the next run on."""
        if self.project is None:
            raise ConfigError("there is no project here to trust")
        self.project.trust(code)
        self._apply()

    @sealed
    @at_home
    def save(self, agent: Agent | str, *, overwrite: bool = False) -> Path:
        """Write an agent, or that of a session, to `agents/NAME.yaml` of the project, so that it loads to the identical Agent.

        A key that was written out in Python is not written. In a trusted project the file is trusted.

        Raises:
            ConfigError: another file is there and `overwrite` is not said; a file cannot say this agent, or cannot be written.
        """
        if self.project is None:
            raise ConfigError("there is no project here to save in")
        agent = agent if isinstance(agent, Agent) else self[agent].agent
        path = self.project.save(*agent_file(agent), overwrite)
        self._apply()
        return path

    def _apply(self) -> None:
        """What is in force of the project now: limits, keys, and agents that follow their files."""
        assert self.project is not None
        self._applied = self.project.used
        settings = self.project.used.settings
        self._ports.permits.limit = self._limit or settings.get("max_concurrent_calls", DEFAULT_CALLS)
        self._ports.admission.limit = settings.get("max_queued_runs", DEFAULT_QUEUE)
        try:
            self.keys.read(*self.project.env())
        except ConfigError as error:
            self.project.tell(f"{error} (no key of it is used that was not before)")
        for session in self.sessions:
            self._follow(session)

    def _prepare(self, name: str, call: AIConfig | None) -> Start:
        """Return the start of a run. A session that came from a file follows its file first.

        Raises:
            ConfigError: the files that describe the agent are not trusted any more, or the config is wrong.
        """
        session = self[name]
        notices = self.refresh()
        if self._follows(session) and name not in self.team and self.project and not self.project.used:
            raise ConfigError(f"{name} is described by files that are not trusted any more (`%agent trust`)")
        self._follow(session)
        if self.project:
            notices += self.project.news()
        return Start(session.agent, self.resolve(session.agent, call, session.configured), notices)

    def _follows(self, session: Session) -> bool:
        return self._from_files.get(session.name) == session.agent

    def _follow(self, session: Session) -> None:
        """Have a session that came from a file be what the file says; its current run ends as it began."""
        if not self._follows(session) or session.name not in self.team:
            return
        try:
            agent = self._from_files[session.name] = self.described(session.name)
        except ConfigError as error:  # a tool is gone, say
            if self.project:
                self.project.tell(f"{error} ({session.name} stays as it was)")
            return
        session.revise(agent)

    @at_home
    def _fork(self, source: str, name: str) -> Session:
        session = self[source]
        if name in self._roster:
            raise ConfigError(f"an agent named {name!r} exists already; fork under another name")
        fork = Session(replace(session.agent, name=name), self._ports, session.history)
        fork.configure(session.configured)
        if self._follows(session):
            self._from_files[name] = fork.agent
        return self._roster.add(fork)
