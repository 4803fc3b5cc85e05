"""Runtime: owns the sessions, the store, the models and the observers. One per kernel, or one per script."""

from __future__ import annotations

import asyncio
import itertools
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self
from weakref import WeakSet

from .agentfiles import Entry, FindTool, file_of
from .agents import Agent
from .config import AIConfig, Layer, from_environment, layered
from .errors import ConfigError, SessionClosed, nearest, sealed
from .home import Home, running_loop
from .keys import Keys
from .messages import Spent
from .models import Models
from .permits import Permits
from .ports import Admission, Ports
from .project import Project, Said, defaults, package
from .session import Session
from .spending import Ledger
from .states import transition
from .store import MemoryStore, Observer, Observers, Store

#: Seconds that sessions have, all together, to end their work when the runtime closes.
GRACE_S = 1.0
#: Model calls in flight over all agents, and runs that wait for each, where nobody says.
DEFAULT_CALLS, DEFAULT_QUEUE = 100, 100


def _no_tools(name: str) -> Any:
    raise ConfigError(f"no function {name!r} for a tool: give the Runtime find_tool, or create the Agent in Python")


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
        find_tool: FindTool = _no_tools,
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
        self._sessions: dict[str, Session] = {}
        self._closed = False
        self._removed: WeakSet[Session] = WeakSet()  # they may still be at their end
        self._ledger = Ledger()
        self._observers = Observers()
        self._team_observers: dict[object, Callable[[Session], None]] = {}
        self.home = home or Home(running_loop())
        """Where its agents live."""
        self._ports = Ports(
            home=self.home,
            store=self.store,
            observers=self._observers,
            permits=Permits(max_concurrent_calls or DEFAULT_CALLS),
            open_model=self.models.open,
            renew=self._renew,
            resolve=self.resolve,
            fork=self._fork,
            seq=itertools.count(1),
            admission=Admission(DEFAULT_QUEUE),
        )
        self.project = Project(Path(project).resolve()) if isinstance(project, str | Path) else project
        """The folder whose files are used; None for none."""
        self._from_files: dict[str, Agent] = {}  # name → the agent as a file said it when its session was made
        self._applied: Said | None = None  # what its settings were last taken from
        if self.project:
            self.project.refresh()
            self._apply()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    # The team

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
        session = self._sessions.get(agent.name)
        if session is None:
            return self._add(Session(agent, self._ports))
        session.revise(agent)
        if session.state.gate == "stopped":
            session.resume()
        return session

    def get(self, name: str) -> Session | None:
        """The session of that name, or None."""
        return self._sessions.get(name)

    def __getitem__(self, name: str) -> Session:
        """The session of that name; made now where only a file describes the agent."""
        return self._sessions.get(name) or self.create(name)

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
        if entry is None and name in self._sessions:
            raise ConfigError(f"no file describes {name} (`%agent save {name}` writes one)")
        if entry is None:
            hint = nearest(name, dict.fromkeys([*self._sessions, *self.team]))
            raise ConfigError(f"no agent named {name!r}; {hint} (make one with `%agent new {name}`)")
        return entry.build(self.find_tool)

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions, in the order of their making."""
        return tuple(self._sessions.values())

    def remove(self, name: str) -> None:
        """Stop a session and forget it. ConfigError: there is none of that name."""
        session = self[name]
        session.state = transition(session.state, "stop")  # untold: another of this name may be at work by then
        self._ledger.close(session)
        session.cancel()
        self._removed.add(self._sessions.pop(name))
        self._from_files.pop(name, None)
        self._tell(session)

    def _add(self, session: Session) -> Session:
        self._sessions[session.name] = session
        self._tell(session)
        return session

    def _tell(self, session: Session) -> None:
        for observer in tuple(self._team_observers.values()):
            observer(session)

    def stop(self) -> None:
        """Stop every session. Thread-safe."""
        for session in self.sessions:
            session.stop()

    async def aclose(self) -> None:
        """Stop everything and let go of it. Afterwards no task of any session runs.

        A tool that does not let itself be cancelled within a second is named in a RuntimeWarning and abandoned.
        """
        self._closed = True
        sessions = [*self.sessions, *self._removed]
        ended = await asyncio.gather(*(session.aclose(GRACE_S) for session in sessions))
        await self.models.aclose()
        await self.store.aclose()
        for session, in_time in zip(sessions, ended, strict=True):
            if not in_time:
                warnings.warn(
                    f"{session.name} did not end within {GRACE_S:g} s of being cancelled", RuntimeWarning, stacklevel=2
                )

    # What holds for all

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer(record)` for everything that happens, on the agents' loop; it must not block.

        One that raises is logged and dropped.

        Returns:
            A function that takes it off again.
        """
        return self._observers.add(observer)

    def spent_by_agent(self) -> dict[str, Spent]:
        """What was spent on each agent, by name: by runs of removed agents, too, and so far by those at work."""
        return self._ledger.by_agent(self.sessions, tuple(self._removed))

    @property
    def spent(self) -> Spent:
        """What all runs have cost together; see `spent_by_agent`."""
        return sum(self.spent_by_agent().values(), Spent())

    def observe_team(self, observer: Callable[[Session], None]) -> Callable[[], object]:
        """Call `observer(session)` whenever a session was made or removed. Gives a function that takes it off again."""
        place = object()
        self._team_observers[place] = observer
        return partial(self._team_observers.pop, place, None)

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
        return self._layered(agent, call, session).config

    def explain(self, agent: Agent | str | None = None, call: AIConfig | None = None) -> Layer:
        """The config of a run, and the place where each value was said: `layer.place("temperature")`.

        Args:
            agent: whose run, by name with what its session sets; None for what holds for all.
            call: what the run itself sets.

        Raises:
            ConfigError: as `resolve`; or there is no agent of that name.
        """
        session = self[agent] if isinstance(agent, str) else None
        spec = session.agent if session else agent if isinstance(agent, Agent) else None
        return self._layered(spec, call, session.configured if session else None)

    def _layered(self, agent: Agent | None, call: AIConfig | None, session: AIConfig | None) -> Layer:
        """Call over session over `configure` over the agent's own over `config/main.yaml` over environment over default."""
        main = self.project.used.main if self.project else None
        if main and main.layer is None:
            raise ConfigError.of(main.problems)
        layers = [defaults(), main.layer if main else None, self._own(agent) if agent else None]
        said = ((self._config, "configure"), (session, "session"), (call, "call"))
        found = layered(*layers, *(Layer(config, source) for config, source in said if config))
        # The environment says nothing but the model, and a bad word there must not harm who does not need it.
        return found if found.config.model else layered(from_environment(self.keys, self._offline), found)

    def _own(self, agent: Agent) -> Layer:
        entry = self.team.get(agent.name)
        is_files = entry is not None and entry.agent is not None and entry.agent.config == agent.config
        return Layer(agent.config, f"agent {agent.name}", entry.places if entry and is_files else {})

    # The project

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

    def trust(self, code: str) -> None:
        """Trust what the project's files say now, as `Project.trust`; it holds from the next run on."""
        if self.project is None:
            raise ConfigError("there is no project here to trust")
        self.project.trust(code)
        self._apply()

    @sealed
    def save(self, agent: Agent | str, *, overwrite: bool = False) -> Path:
        """Write an agent, or that of a session, to `agents/NAME.yaml` of the project, so that it loads to the identical Agent.

        A key that was written out in Python is not written. In a trusted project the file is trusted.

        Raises:
            ConfigError: another file is there and `overwrite` is not said; a file cannot say this agent, or cannot be written.
        """
        if self.project is None:
            raise ConfigError("there is no project here to save in")
        agent = agent if isinstance(agent, Agent) else self[agent].agent
        path = self.project.save(*file_of(agent), overwrite)
        self._apply()
        return path

    def _apply(self) -> None:
        """What is in force of the project now: limits, keys, and agents that follow their files."""
        assert self.project is not None
        self._applied = self.project.used
        main = self.project.used.main
        settings = main.settings if main else {}
        self._ports.permits.limit = self._limit or settings.get("max_concurrent_calls", DEFAULT_CALLS)
        self._ports.admission.limit = settings.get("max_queued_runs", DEFAULT_QUEUE)
        try:
            self.keys.read(*self.project.env())
        except ConfigError as error:
            self.project.tell(f"{error} (no key of it is used that was not before)")
        for session in self.sessions:
            self._follow(session)

    def _renew(self, session: Session) -> list[str]:
        """Before a run of this session: it follows its file, where it came from one.

        Raises:
            ConfigError: the trust in what described it was taken back.
        """
        news = self.refresh()
        if self._follows(session) and session.name not in self.team and self.project and not self.project.used:
            raise ConfigError(f"{session.name} is described by files that are not trusted any more (`%agent trust`)")
        self._follow(session)
        return [*news, *(self.project.news() if self.project else ())]

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

    def _fork(self, session: Session, name: str) -> Session:
        if name in self._sessions:
            raise ConfigError(f"an agent named {name!r} exists already; fork under another name")
        fork = Session(replace(session.agent, name=name), self._ports, session.history)
        fork.configure(session.configured)
        if self._follows(session):
            self._from_files[name] = fork.agent
        return self._add(fork)
