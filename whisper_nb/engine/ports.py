"""Ports: the collaborators that the runtime gives to all its sessions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ..config.agents import Agent
from ..config.aiconfig import AIConfig
from ..config.keys import Keys
from ..config.layers import Layer
from ..core.continuing import Continuation
from ..core.events import Record
from ..models.contexts import Contexts
from ..models.model import Model
from ..store.observers import Observers
from ..store.store import Store
from ..tools.outputs import OutputType
from .admission import Admission
from .costs.purse import Purse
from .home import Home
from .permits import Permits


@dataclass(frozen=True, slots=True)
class Start:
    """The spec and the config with which a run starts."""

    agent: Agent[Any]
    config: AIConfig
    output_type: OutputType | None = None
    """The type of the run's answer. None: text."""
    notices: Sequence[str] = ()
    """Lines for people: for example, an edited file that could not be used."""

    @property
    def continuation(self) -> Continuation | None:
        """How the run goes on by itself. None: it ends with its first answer, as one with an output type does."""
        if self.output_type is None or self.output_type.is_text:
            return self.agent.continuation
        return None


@dataclass(slots=True)
class Ports:
    """The collaborators of a session. The same for all sessions of a runtime."""

    home: Home
    store: Store
    observers: Observers[Record]
    permits: Permits
    """Limits the model calls in flight."""
    keys: Keys
    contexts: Contexts
    purse: Purse
    """Pays for model calls, from the budget of all agents."""
    open_model: Callable[[AIConfig], Model]
    prepare: Callable[[str, AIConfig | None, OutputType | None], Start]
    """Return the start of a run of the agent of this name. The config has the fields that the run itself sets, and
    the output type is its own, if it sets one.

    Reads edited files.
    """
    resolve: Callable[[Agent[Any], AIConfig | None, AIConfig | None], AIConfig]
    """Return the config of an agent's run; the fields that the run and its session set override all other layers."""
    explain: tuple[Callable[..., Layer], Callable[[Agent[Any]], str]]
    """One returns the config that `resolve` returns, with the source of each value: `Precedence.explain`. The other
    returns where the spec of a session's agent comes from: a file, or the agent's name."""
    fork: Callable[[str, str], object]
    """Create a session of the same spec and history as the one of the first name, under the second name; return it."""
    admission: Admission
    seq: itertools.count[int] = field(default_factory=partial(itertools.count, 1))
    """Numbers records."""
    around_tool: Callable[[], AbstractContextManager[object]] = nullcontext
    """A context manager, entered around each call of a tool, in the run's context."""
