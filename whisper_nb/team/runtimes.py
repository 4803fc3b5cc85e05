"""Runtime: owns the sessions, the store, the models and the observers. One per kernel or script."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Callable, Container, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Self, TypeVar, overload

from ..config.agentfiles import Entry, FindTool
from ..config.agents import Agent
from ..config.aiconfig import KEYWORDS, AIConfig
from ..config.keys import Keys
from ..config.layers import Layer
from ..config.precedence import Precedence
from ..config.project import Project, Review
from ..config.providers import PROVIDERS, rules_path
from ..core.errors import ConfigError, SessionClosed, sealed, sealed_with
from ..core.events import Record
from ..core.handles import Handle
from ..core.messages import Spent
from ..core.text import short_repr
from ..engine.admission import Admission
from ..engine.costs.purse import Purse
from ..engine.home import Home, Where, at_home, checked_where, running_loop
from ..engine.permits import Permits
from ..engine.ports import Ports, Start
from ..engine.session import Session
from ..models.contexts import Contexts
from ..models.pool import Models
from ..store.memory import MemoryStore
from ..store.observers import Observer, Observers
from ..store.store import Store
from ..tools.functions import function_of_main
from ..tools.outputs import OutputType
from ..tools.tool import Tool
from ..tools.type_names import FindType, type_of_main
from .budgets import Budget, as_budget
from .following import Following
from .roster import Roster
from .spending import Group, Ledger

S = TypeVar("S")

#: Seconds that all sessions together have to end their work when the runtime closes.
GRACE_S = 1.0
#: The default limits of model calls in flight over all agents, and of runs that wait for one agent.
DEFAULT_CALLS, DEFAULT_QUEUE = 100, 1_000


class Runtime(Handle):
    """A team at work. In a script: `async with Runtime() as rt`. In a notebook, `whisper_nb.runtime()` returns it.

    Args:
        config: overrides the config of all agents: a model string, a dict or an AIConfig.
        offline: the offline model that answers while no provider's key is set.
        max_concurrent_calls: the limit of model calls in flight over all agents; by default the project's, else 100.
        store: keeps the records; by default in memory.
        environ: the variables for keys and `WHISPER_MODEL`; by default the process's environment, read at each use.
        home: the event loop that agents live on; by default the running one.
        project: the folder whose `config/main.yaml` and `agents/` are used. Naming it here trusts it. In a notebook it
            is found, and used once the user trusts it.
        find_tool: returns the function for the name of a tool in a file; by default one that the notebook, or the
            script that runs, defines.
        find_type: the same for a type that a file names, such as `list[Verdict]`.
        loop: see the method of that name; by default the project's setting, else `notebook`.
        budget: the most that agents may spend, in US dollars; or the Budget of another runtime, which then serves both:
            after a restart, what was spent stays spent. By default the project's `budget_usd`, else there is none.
    """

    @sealed_with(KEYWORDS)
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
        find_tool: FindTool = function_of_main,
        find_type: FindType = type_of_main,
        loop: str | None = None,
        budget: float | Budget | None = None,
    ) -> None:
        if max_concurrent_calls is not None and max_concurrent_calls < 1:
            raise ConfigError(f"max_concurrent_calls {max_concurrent_calls!r} is not at least 1")
        # The environment is not a default of the argument: help() shows those, keys and all.
        self.keys = Keys(os.environ if environ is None else environ)
        """Looks up API keys."""
        self.models = Models(self.keys, self._rules)
        """The pool of models; `rt.models["offline/mine"] = ScriptedModel(...)` adds one of your own."""
        self.store: Store = store or MemoryStore()
        self._limit = max_concurrent_calls
        self._roster = Roster()
        self._closed = False
        if isinstance(project, str | Path):
            project = Project(Path(project).resolve())
        self.project = project
        """The folder whose files are used, if any."""
        self.configs = Precedence(self.keys, project, config, offline)
        """The configs of runs."""
        self._following = Following(project, find_tool, find_type, self.keys, self._roster, self._set_limits)
        self._budget = as_budget(budget)
        self._budget_given = budget is not None  # else the project's setting applies
        self._ledger = Ledger()
        self._observers = Observers[Record]()
        self.home = home or Home(running_loop())
        """The event loop that its agents live on."""
        self._ports = Ports(
            home=self.home,
            store=self.store,
            observers=self._observers,
            permits=Permits(max_concurrent_calls or DEFAULT_CALLS),
            keys=self.keys,
            contexts=Contexts(self.keys),
            purse=Purse(self._budget),
            open_model=self.models.open,
            prepare=self._prepare,
            resolve=self.resolve,
            explain=(self.configs.explain, self._following.source),
            fork=self._fork,
            admission=Admission(DEFAULT_QUEUE),
        )
        if self.project:
            self.project.refresh()
            self._following.apply()
            loop = loop or self.project.used.settings.get("loop")
        self.home.move(checked_where(loop or self.home.where))

    def __repr__(self) -> str:
        if self._closed:
            return f"<Runtime closed, {self._roster.names()}>"
        return f"<Runtime {self._roster.names()}, {self._roster.work()}, loop {self.home.where}>"

    def _instead(self) -> str:
        return "a Runtime: its agents work in this process. Store each one's spec: session.agent"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        left = "" if kind else self._roster.unawaited()
        await self.aclose()
        if left:
            warnings.warn(
                f"{left} ended with the Runtime, unfinished, and nobody awaited it: write `await run` inside of "
                "`async with Runtime()`",
                RuntimeWarning,
                stacklevel=2,
            )

    # The team

    @overload
    def create(self, /, agent: Agent[S]) -> Session[S]: ...
    @overload
    def create(self, /, agent: str) -> Session[Any]: ...
    @sealed
    @at_home
    def create(self, agent: Agent[Any] | str) -> Session[Any]:
        """Create an agent's session, or return the existing one of that name.

        Cells are rerun: the same spec returns the same session; another spec gives it a new revision with its history
        kept; a stopped session takes work again.

        Args:
            agent: a spec; or the name of an agent that a file describes, the project's before the package's. Such a
                session follows its file from run to run.

        Raises:
            ConfigError: no file describes an agent of that name, or its file is wrong; or the provider of its model is
                unknown, or the rules of its offline model are wrong.
            SessionClosed: the runtime was closed.
        """
        if self._closed:
            raise SessionClosed("this Runtime is closed: create a new one")
        if not isinstance(agent, Agent | str):
            raise ConfigError(f"create() takes an Agent, or the name of one: not {short_repr(agent)}")
        if isinstance(agent, str):
            agent = self.described(agent)
            self._following.start(agent)
        else:
            self._following.end(agent.name, agent)
        if agent.config.model and (agent.config.provider not in PROVIDERS or rules_path(agent.config.model)):
            self.models.check(self.resolve(agent))
        session = self._roster.get(agent.name)
        if session is None:
            return self._roster.add(Session(agent, self._ports))
        session.revise(agent)
        if session.state.gate == "stopped":
            session.resume()
        return session

    def get(self, name: str) -> Session[Any] | None:
        """Return the session of that name, or None."""
        return self._roster.get(name)

    def __getitem__(self, name: str) -> Session[Any]:
        """Return the session of that name; create it if a file describes the agent."""
        return self._roster.get(name) or self.create(name)

    @property
    def team(self) -> Mapping[str, Entry]:
        """The agents that files describe, by name. The project's override the package's."""
        return self._following.team

    @sealed
    def described(self, name: str) -> Agent[Any]:
        """Return the agent that a file describes under this name.

        Raises:
            ConfigError: no file describes it, or its file is wrong.
        """
        return self._following.build(name)

    def find_tool(self, name: str) -> Tool | Callable[..., Any]:
        """Return the tool of this name, or the function that becomes one."""
        return self._following.find_tool(name)

    @property
    def sessions(self) -> tuple[Session[Any], ...]:
        """All sessions, in the order of creation."""
        return tuple(self._roster)

    @at_home
    def remove(self, name: str) -> None:
        """Stop a session and forget it.

        Raises:
            ConfigError: no session has that name.
        """
        session = self._roster.get(name)
        if session is None:
            raise ConfigError(f"no agent named {name!r}: nothing to remove")
        self._ledger.close(session)
        self._roster.remove(session)
        self._following.end(name)

    def stop(self) -> None:
        """Stop every session. Thread-safe."""
        for session in self.sessions:
            session.stop()

    async def aclose(self) -> None:
        """Stop all sessions and close all connections. Afterwards no task of any session runs.

        A tool that ignores its cancellation for a second is named in a RuntimeWarning and abandoned.
        """
        self._closed = True
        await self.home.close(self._close(), 2.2 * GRACE_S)

    async def _close(self) -> None:
        await self._roster.aclose(GRACE_S)
        await self.models.aclose()
        await self.store.aclose()

    # For all agents

    def loop(self, where: str | None = None) -> Where:
        """Return which event loop agents live on. With an argument, move them there first, with all their state.

        Args:
            where: `thread`: a loop in a thread of its own, so that agents go on while a cell blocks. `notebook`: the
                main thread's loop.

        Raises:
            ConfigError: another word.
            SessionError: agents are at work, or this is not the main thread. They stay where they are.
        """
        if where is not None and checked_where(where) != self.home.where:
            self.home.do(self._roster.check_idle)
            if self.home.here and not self.home.nests:
                self._roster.check_at_rest()
                self.home.finish(self.models.let_go())  # they are closed once the loop runs again
            elif self.models.opened or not self._roster.at_rest:
                self.home.run(self._pack())
            self.home.move(checked_where(where), self._roster.check_at_rest)
        return self.home.where

    async def _pack(self) -> None:
        """Publish the posted events, and close connections: they belong to this event loop."""
        await self._roster.rest(GRACE_S)
        await self.models.aclose()

    def follow(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Take another event loop for the main one, unless that runs, or an agent has a task on it.

        For a kernel, which may run another loop than it had while its extensions were loaded. On the main thread.

        Returns:
            Whether the loop was taken.
        """
        home = self.home
        moves = home.where == "notebook"
        if loop is home.main or home.main.is_running() or not home.on_main or (moves and not self._roster.at_rest):
            return False
        home.follow(loop)
        if moves and self.models.opened:  # connections belong to an event loop
            home.finish(self.models.let_go())
        return True

    def observe(self, observer: Observer) -> Callable[[], None]:
        """Call `observer(record)` for every record, on the agents' event loop. It must not block.

        An observer that raises is logged and dropped.

        Returns:
            A function that ends the subscription.
        """
        if not callable(observer):
            raise ConfigError(f"observe() takes a function of a record: not {short_repr(observer)}")
        return self._observers.add(observer)

    def spent_by_agent(self, *, removed_only: bool = False) -> dict[str, Spent]:
        """Return the cost of each agent by name, including its run in progress.

        Args:
            removed_only: whether to return the costs of removed agents only; by default, those of all.
        """
        return self._ledger.by_agent(() if removed_only else self.sessions, self._roster.removed)

    def spent_by(self, group: Group, agents: Container[str] | None = None) -> dict[str, Spent]:
        """Return the cost by `agent`, `model` or `day` (local, of a run's start), with that of runs in progress.

        Of some agents, or of all, also the removed ones. Another group is a ConfigError.
        """
        return self._ledger.grouped(group, self.sessions, self._roster.removed, agents)

    @property
    def spent(self) -> Spent:
        """The cost of all runs; see `spent_by_agent`."""
        return sum(self.spent_by_agent().values(), Spent())

    @property
    def budget(self) -> Budget | None:
        """The limit of what all agents may spend, with what is spent, reserved and left. None without a limit."""
        return self._budget if self._budget.limited else None

    @sealed
    def set_budget(self, usd: float | None, *, allow_unpriced: bool | None = None) -> None:
        """Limit what all agents may spend; see `Budget`. Thread-safe. What was spent before counts.

        Args:
            usd: the limit in US dollars. None removes it.
            allow_unpriced: whether models without a known price may be called. None: as before; but where the limit is
                removed, not under the next one.

        Raises:
            ConfigError: the limit is not a number from 0 to 1,000,000. Nothing is changed.
        """
        self._budget_given = True
        self._budget.set_limit(usd, allow_unpriced)

    def observe_budget(self, observer: Callable[[], object]) -> Callable[[], None]:
        """Call `observer()` on the agents' event loop after each change of the budget. It must not block, nor raise.

        Return a function that ends the subscription.
        """
        return self._budget.observe(observer, self.home)

    def observe_team(self, observer: Callable[[Session], None]) -> Callable[[], object]:
        """Call `observer(session)` for each session created or removed.

        Return a function that ends the subscription.
        """
        return self._roster.observers.add(observer)

    @sealed
    def configure(
        self, config: AIConfig | Mapping[str, Any] | str | None = None, *, offline: str | None = None, **values: Any
    ) -> None:
        """Set config for all agents, above their own, from their next run on.

        Args:
            config: a model string, a dict or an AIConfig; replaces what was configured before. `{}` removes that.
            offline: the offline model that answers while no provider's key is set.
            **values: fields of AIConfig, added to what was configured before.

        Raises:
            ConfigError: nothing is changed.
        """
        self.configs.configure(config, offline, values)

    @sealed
    def resolve(
        self, agent: Agent[Any] | None = None, call: AIConfig | None = None, session: AIConfig | None = None
    ) -> AIConfig:
        """Return the config of a run.

        Args:
            agent: the run's agent; None for the config that all agents share.
            call: the fields that the run itself sets.
            session: the fields that its session sets.

        Raises:
            ConfigError: `config/main.yaml` is wrong, and nothing is in force in its place.
        """
        return self.configs.resolve(agent, (session, "session"), (call, "call"))

    @sealed
    def explain(self, agent: Agent[Any] | str | None = None, call: AIConfig | None = None) -> Layer:
        """Return the config of a run, with the source of each value: `layer.place("temperature")`.

        Args:
            agent: the run's agent; by name, with the fields that its session sets. None for the config that all agents
                share.
            call: the fields that the run itself sets.

        Raises:
            ConfigError: as `resolve`; or there is no agent of that name.
        """
        configured = None
        if isinstance(agent, str):
            session = self[agent]
            agent, configured = session.agent, session.configured
        return self.configs.explain(agent, (configured, "session"), (call, "call"))

    # The project

    def _rules(self, path: str) -> bytes | None:
        return self.project.used.rules(path) if self.project else None

    @sealed
    @at_home
    def review(self) -> Review:
        """Return the present content of the project's files, to show it to the user.

        Raises:
            ConfigError: there is no project.
        """
        return self._following.review()

    @sealed
    @at_home
    def refresh(self) -> list[str]:
        """Apply changes of the project's files that are trusted and valid. Reads a file only if its stat has changed.

        Returns:
            Lines for people: which changes are held back or were not applied, and why.
        """
        return self._following.refresh()

    @sealed
    @at_home
    def trust(self, code: str) -> None:
        """Trust the present content of the project's files, as `Project.trust`. It applies from the next run on."""
        self._following.trust(code)

    @sealed
    @at_home
    def save(self, agent: Agent[Any] | str, *, overwrite: bool = False) -> Path:
        """Write an agent, or that of a session, to `agents/NAME.yaml` of the project. It loads to the identical Agent.

        A key that was written out in Python is not written. In a trusted project, the file is trusted.

        Raises:
            ConfigError: the file exists, and `overwrite` is false; or this agent cannot be expressed in a file, or the
                file cannot be written.
        """
        self._following.known("to save in")  # before a session is created from another file
        if not isinstance(agent, Agent):
            agent = self[agent].agent
        return self._following.save(agent, overwrite)

    def _set_limits(self, settings: Mapping[str, Any]) -> None:
        self._ports.permits.limit = self._limit or settings.get("max_concurrent_calls", DEFAULT_CALLS)
        self._ports.admission.limit = settings.get("max_queued_runs", DEFAULT_QUEUE)
        used = self.project is not None and bool(self.project.used)
        if used and not self._budget_given:  # files that are not trusted any more lift no limit
            self._budget.set_limit(settings.get("budget_usd"), settings.get("allow_unpriced", False))

    def _prepare(self, name: str, call: AIConfig | None, output_type: OutputType | None) -> Start:
        """Return the start of a run. A session is revised first, as its file, functions and types of cells are now.

        Raises:
            ConfigError: the file that the session follows is not trusted any more, or the config is wrong.
        """
        session = self[name]
        notices = self._following.before_run(session)
        agent, output = session.agent, session.agent.output_type
        if output_type is not None:
            output = self._following.type_of_now(output_type)
        return Start(agent, self.resolve(agent, call, session.configured), output, notices)

    @at_home
    def _fork(self, source: str, name: str) -> Session:
        session = self[source]
        if name in self._roster:
            raise ConfigError(f"an agent named {name!r} exists already; fork under another name")
        fork = Session(replace(session.agent, name=name), self._ports, session.history)
        fork.configure(session.configured)
        if self._following.includes(session):
            self._following.start(fork.agent)
        return self._roster.add(fork)
