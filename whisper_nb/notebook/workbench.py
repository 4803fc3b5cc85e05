"""Workbench: what the magics work on. Launches runs from cells, knows which cell launched which, finds things by name."""

from __future__ import annotations

import functools
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any, TypeVar, cast

from IPython.core.interactiveshell import InteractiveShell

from ..config.aiconfig import AIConfig
from ..core.errors import ConfigError, SessionError
from ..core.events import Priority
from ..core.messages import Image, without_images
from ..core.text import one_line
from ..engine.runs import Run, prompt_of
from ..engine.session import Session
from ..models.openai_format import to_openai
from .cells.interpolate import image, interpolate, words
from .cells.output import Outputs
from .runtime import NotebookRuntime

T = TypeVar("T")

#: How many runs a line names.
_NAMED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything that a cell or `%agent ask` says about one run."""

    name: str
    prompt: str
    out: str | None = None
    block: bool = False
    priority: Priority = "normal"
    config: Mapping[str, Any] = field(default_factory=dict)
    """What the call sets of the config."""
    timeout_s: float | None = None
    interpolate: bool = True
    dry_run: bool = False
    images: Sequence[str] = ()
    """Words that mean images."""


@dataclass(slots=True)
class Workbench:
    """The runtime as one shell sees it."""

    shell: InteractiveShell
    runtime: NotebookRuntime
    outputs: Outputs
    root: str = "agent"
    """The magic's name here: `agent`, or `whisper` where another extension has that."""
    _unwaited: list[Run] = field(default_factory=list)  # launched, and no %agent wait has spoken of them yet
    _launched: dict[str, tuple[str, list[Run]]] = field(default_factory=dict)  # cell → (execution, its runs)

    def launch(self, order: Order, local_ns: Mapping[str, Any] | None = None) -> Run | None:
        """Submit what the order says, show it in this cell, and wait for it if that was asked.

        Rerunning a cell whose earlier run is not finished cancels that run first, and says so.

        Returns:
            The run; None for a dry run.

        Raises:
            ConfigError, SessionError: nothing was sent.
            RunFailed, RunCancelled: of a run that was waited for.
        """
        session = self.runtime[order.name]
        if re.search(rf"^%%{self.root}\b", order.prompt, re.MULTILINE):
            raise ConfigError(f"a second %%{self.root} in this cell would be sent as text: give it a cell of its own")
        if order.out is not None and (not order.out.isidentifier() or iskeyword(order.out)):
            raise ConfigError(f"-o {order.out!r} is not a variable name")
        config = AIConfig.of(order.config)
        parts = self.parts(order.prompt, local_ns) if order.interpolate else [order.prompt]
        parts = [*parts, *(image(word, {**self.shell.user_ns, **(local_ns or {})}) for word in order.images)]
        if not any(part.strip() if isinstance(part, str) else part for part in parts):
            raise ConfigError(
                f"an empty prompt: write what {order.name} is to do in the lines beneath %%{self.root} {order.name}, "
                f"or in one line: %{self.root} ask {order.name} PROMPT"
            )
        if order.dry_run:
            print(_preview(session, parts, config))  # noqa: T201
            return None
        cell, execution = self._where()
        if self.is_kernel:
            self._cancel_earlier(cell, execution)
        run = session.submit(parts, priority=order.priority, timeout_s=order.timeout_s, config=config)
        if self._launched.get(cell, ("",))[0] != execution:
            self._launched[cell] = (execution, [])
        self._launched[cell][1].append(run)
        self._unwaited = [*self._unwaited[-999:], run]
        if order.out is not None:
            self.shell.user_ns[order.out] = run
        self.outputs.show(run)
        if order.block:
            self.wait([run])
            self.outputs.answer(run)
            run.result()
        return run

    def show_form(self, given: Sequence[str]) -> None:
        """Display the form that makes an agent. ConfigError: a flag was given, or there is no notebook."""
        if given or not self.is_kernel:
            raise ConfigError(
                f"%{self.root} new NAME … says its name first; in a notebook, %{self.root} new alone shows a form"
            )
        from IPython.display import display

        display(self.runtime.new_agent_form())

    def resolved(self) -> AIConfig:
        """The config of an agent that says nothing itself; empty where what was trusted is wrong, so that one can look."""
        try:
            return self.runtime.resolve()
        except ConfigError:
            return AIConfig()

    def take_up_edits(self) -> None:
        """Take up what has changed in the project's files, and say what was not."""
        for line in self.runtime.refresh():
            print(one_line(f"whisper_nb: {line}"))  # noqa: T201

    def off_the_loop(self, function: Callable[[], T]) -> T:
        """What a function gives that takes its time; agents go on meanwhile."""
        done: Future[None] = Future()
        found: list[T] = []

        def call() -> None:
            try:
                found.append(function())
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)

        threading.Thread(target=call, name="whisper_nb look", daemon=True).start()
        self.runtime.home.wait(done, None)
        done.result()
        return found[0]

    def parts(self, text: str, local_ns: Mapping[str, Any] | None = None) -> list[str | Image | Run]:
        """The text with its `{{ … }}` evaluated in the user's namespace."""
        return interpolate(text, {**self.shell.user_ns, **(local_ns or {})})

    def words(self, line: str, local_ns: Mapping[str, Any] | None = None) -> list[str]:
        """The words of a magic's line, its `{{ … }}` evaluated in the user's namespace."""
        return words(line, {**self.shell.user_ns, **(local_ns or {})})

    def wait(self, runs: Sequence[Run], timeout_s: float | None = None) -> None:
        """Block the cell until all are done, in any way. Agents go on, whatever ends the wait.

        Raises:
            SessionError: a run can go on only by a person's hand, or the wait was interrupted or took too long.
        """
        end = None if timeout_s is None else time.monotonic() + timeout_s
        try:
            for run in runs:
                run.wait(None if end is None else max(0.0, end - time.monotonic()))
        except (KeyboardInterrupt, TimeoutError) as error:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else f"{timeout_s:g} s are over"
            going = ids([run for run in runs if not run.done])
            raise SessionError(
                f"stopped waiting ({why}); still at work: {going} (%{self.root} cancel ends a run)"
            ) from None

    def to_wait_for(self, names: Sequence[str]) -> list[Run]:
        """The runs that words name, and those that ended since the last wait: who waits hears of every run once."""
        words = set(names)
        ended = [run for run in self._unwaited if run.done and (not words or run.session.name in words)]
        runs = list(dict.fromkeys([*ended, *self.runs(names)]))
        self._unwaited = [run for run in self._unwaited if run not in runs]
        return runs

    def runs(self, names: Sequence[str]) -> list[Run]:
        """The runs that words name: a run's id, a variable that holds one, or an agent for all its unfinished ones.

        Without words, all unfinished runs.

        Raises:
            ConfigError: a word names none of these.
        """
        return self.runtime.home.do(self._runs, names)

    def runs_to_cancel(self, names: Sequence[str], *, everything: bool) -> list[Run]:
        """The runs that words name, or all unfinished ones. ConfigError: neither is said, or both."""
        if everything == bool(names):
            there = ids(self.runs(())) or "there are none"
            raise ConfigError(f"say which runs or agents, or --all for all runs: {there}")
        return self.runs(names)

    def sessions(self, names: Sequence[str], *, everyone: bool) -> list[Session]:
        """The agents of these names, or all. ConfigError: neither is said, or both; or there is none of a name."""
        there = [session.name for session in self.runtime.sessions]
        if everyone == bool(names):
            raise ConfigError(f"say which agents, or --all for all of them: {', '.join(there) or 'there are none yet'}")
        return [self.runtime[name] for name in (there if everyone else names)]

    def _runs(self, names: Sequence[str]) -> list[Run]:
        found: list[Run] = []
        for name in names or [session.name for session in self.runtime.sessions]:
            run = self.run(name)
            found += self.runtime[name].unfinished if run is None else [run]
        return list(dict.fromkeys(found))

    def display(self, run: Run) -> None:
        """What IPython shows of a run that a cell's last line is: nothing where launching it just did."""
        cell, execution = self._where()
        launched, runs = self._launched.get(cell, ("", []))
        if launched != execution or run not in runs:
            self.outputs.show(run)

    def run(self, name: str) -> Run | None:
        """The run that a word names, by its id or as a variable; None where the word may be an agent.

        Raises:
            ConfigError: an id that no run has.
        """
        if isinstance(run := self.shell.user_ns.get(name), Run):
            return run
        agent, hash_, number = name.partition("#")
        if not hash_:
            return None
        known = {str(run.number): run for run in self.runtime[agent].runs}
        if number not in known:
            raise ConfigError(
                f"no run {name!r}; {agent} has {', '.join(run.id for run in known.values()) or 'none yet'}"
            )
        return known[number]

    def the_run(self, name: str) -> Run:
        """As `run`. ConfigError: the word means no run."""
        if run := self.run(name):
            return run
        raise ConfigError(f"{name!r} is not a run: give an id such as bob#3, or a variable that holds a run")

    @property
    def is_kernel(self) -> bool:
        """Whether this is a notebook's kernel, with cells, and not a terminal."""
        return getattr(self.shell, "kernel", None) is not None

    def _where(self) -> tuple[str, str]:
        """The cell that is running, and which of its executions this is; in a terminal there is one cell."""
        if not self.is_kernel:
            return "", str(self.shell.execution_count)
        parent = self.shell.get_parent()
        execution = parent.get("header", {}).get("msg_id", "")
        # A front end that does not say which cell it is: the same text is the same cell.
        return parent.get("metadata", {}).get("cellId") or parent.get("content", {}).get("code") or "", execution

    def _cancel_earlier(self, cell: str, execution: str) -> None:
        launched, runs = self._launched.get(cell, (execution, []))
        for run in runs:
            if launched != execution and not run.done:
                run.cancel()
                print(f"{run.id}, which this cell launched before, was not finished: cancelled")  # noqa: T201


def function_in(namespace: Mapping[str, Any], name: str) -> Callable[..., Any]:
    """The function that a tool's name means in a notebook; `module.function` is understood.

    Raises:
        ConfigError: there is none.
    """
    first, *rest = name.split(".")
    try:
        function = functools.reduce(getattr, rest, namespace[first])
    except (KeyError, AttributeError):
        raise ConfigError(f"tool {name!r} is not defined in this notebook; run the cell that defines it") from None
    if not callable(function):
        raise ConfigError(f"tool {name!r} is a {type(function).__name__}, not a function")
    return cast(Callable[..., Any], function)


def _preview(session: Session, parts: Sequence[str | Image | Run], config: AIConfig) -> str:
    resolved = session.resolved(config)
    lines = [f"dry run: {session.name} would call {resolved.model} with", f"[system] {session.agent.instructions}"]
    for message in without_images(session.history):
        entry = to_openai(message)
        lines.append(
            f"[{entry['role']}] {entry['content'] or [call['function']['name'] for call in entry['tool_calls']]}"
        )
    images = [part for part in parts if isinstance(part, Image)]
    lines += [f"[user] {prompt_of(parts)}", *(f"⟨image {number}⟩ {one}" for number, one in enumerate(images, 1))]
    return "\n".join([*lines, "Nothing was sent."])


def ids(runs: Sequence[Run]) -> str:
    """Their ids; of many the first ones."""
    more = f" and {len(runs) - _NAMED} more" if len(runs) > _NAMED else ""
    return ", ".join(run.id for run in runs[:_NAMED]) + more


def outcome(runs: Sequence[Run]) -> str:
    """How many of them succeeded, and which did not: the same words whenever they ended."""
    groups = {status: [run for run in runs if run.status == status] for status in ("succeeded", "failed", "cancelled")}
    facts = [f"{len(groups['succeeded'])} succeeded"] if groups["succeeded"] else []
    facts += [
        f"{len(found)} {status} ({ids(found)})" for status, found in groups.items() if found and status != "succeeded"
    ]
    return ", ".join(facts) or "nothing to wait for"
