"""Runtime: owns the sessions, the store, the models and the observers. One per kernel, or one per script."""

from __future__ import annotations

import asyncio
import difflib
import itertools
import os
import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any, Self
from weakref import WeakSet

from .agents import Agent
from .config import DEFAULTS, AIConfig, from_environment, layered
from .errors import ConfigError, SessionClosed
from .home import Home
from .models import Models
from .ports import Admission, Ports
from .session import Session
from .store import MemoryStore, Observer, Observers, Store

#: Seconds that sessions have, all together, to end their work when the runtime closes.
GRACE_S = 1.0


class Runtime:
    """A team at work. In a script: `async with Runtime() as rt`. In a notebook `whisper_nb.runtime()` is the one.

    Args:
        config: what holds for all agents, above their own: a model string, a dict or an AIConfig.
        offline: the offline model that answers while no provider's key is set.
        max_concurrent_calls: model calls in flight at once, over all agents.
        store: keeps what happens; by default in memory.
        environ: where keys and `WHISPER_MODEL` are looked up; by default the process's environment, live.
        home: the loop to live on; by default the one that runs now.
    """

    def __init__(
        self,
        *,
        config: AIConfig | Mapping[str, Any] | str | None = None,
        offline: str = "offline/echo",
        max_concurrent_calls: int = 100,
        store: Store | None = None,
        environ: Mapping[str, str] | None = None,
        home: Home | None = None,
    ) -> None:
        if max_concurrent_calls < 1:
            raise ConfigError(f"max_concurrent_calls {max_concurrent_calls!r} is not at least 1")
        self.models = Models()
        """The pool; `rt.models["offline/mine"] = ScriptedModel(...)` adds one of your own."""
        self.store: Store = store or MemoryStore()
        self._config = AIConfig.of(config)
        self._offline = AIConfig(model=offline).model or ""
        # Not a default of the argument: help() shows those, keys and all.
        self.environ: Mapping[str, str] = os.environ if environ is None else environ
        self._sessions: dict[str, Session] = {}
        self._closed = False
        self._removed: WeakSet[Session] = WeakSet()  # they may still be at their end
        self._observers = Observers()
        self.home = home or Home(_running_loop())
        """Where its agents live."""
        self._ports = Ports(
            home=self.home,
            store=self.store,
            observers=self._observers,
            permits=asyncio.Semaphore(max_concurrent_calls),
            open_model=self.models.open,
            resolve=self.resolve,
            fork=self._fork,
            seq=itertools.count(1),
            admission=Admission(),
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    # The team

    def create(self, agent: Agent) -> Session:
        """The session of an agent: new, or the one of that name.

        A cell may be rerun: the same spec gives the same session, another spec gives it a new revision with its
        history kept, and one that was stopped takes work again.

        Raises:
            SessionClosed: the runtime was closed.
        """
        if self._closed:
            raise SessionClosed("this Runtime is closed; make a new one")
        session = self._sessions.get(agent.name)
        if session is None:
            session = self._sessions[agent.name] = Session(agent, self._ports)
            return session
        session.revise(agent)
        if session.state.gate == "stopped":
            session.resume()
        return session

    def get(self, name: str) -> Session | None:
        """The session of that name, or None."""
        return self._sessions.get(name)

    def __getitem__(self, name: str) -> Session:
        session = self._sessions.get(name)
        if session is None:
            nearest = difflib.get_close_matches(name, self._sessions, 1)
            hint = (
                f"did you mean {nearest[0]!r}?" if nearest else f"there are: {', '.join(self._sessions) or 'none yet'}"
            )
            raise ConfigError(f"no agent named {name!r}; {hint} (make one with `%agent new {name}`)")
        return session

    @property
    def sessions(self) -> tuple[Session, ...]:
        """All sessions, in the order of their making."""
        return tuple(self._sessions.values())

    def remove(self, name: str) -> None:
        """Stop a session and forget it.

        Raises:
            ConfigError: there is none of that name.
        """
        self[name].stop()
        self._removed.add(self._sessions.pop(name))

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

    def resolve(self, agent: Agent | None = None, call: AIConfig | None = None) -> AIConfig:
        """The config of a run: call over `configure` over the agent's own over the environment over defaults."""
        config = layered(DEFAULTS, agent.config if agent else None, self._config, call)
        # The environment says nothing but the model, and a bad word there must not harm who does not need it.
        return config if config.model else layered(from_environment(self.environ, self._offline), config)

    def _fork(self, session: Session, name: str) -> Session:
        if name in self._sessions:
            raise ConfigError(f"an agent named {name!r} exists already; fork under another name")
        fork = Session(replace(session.agent, name=name), self._ports, session.history)
        self._sessions[name] = fork
        return fork


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigError(
            "a Runtime lives on a running loop: `async with Runtime() as rt` inside a coroutine"
        ) from None
