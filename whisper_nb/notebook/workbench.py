"""Workbench: the runtime as one shell's magics use it. Launches runs from cells and resolves names."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar
from weakref import WeakKeyDictionary, WeakSet

from IPython.core.interactiveshell import InteractiveShell
from msgspec import Struct, field
from msgspec.structs import asdict

from ..config.aiconfig import AIConfig
from ..core.errors import ConfigError, SessionError
from ..core.text import one_line, paragraph
from ..core.threads import answer
from ..engine.preview import Preview
from ..engine.runs import Run
from ..engine.session import Session
from ..tools.type_names import type_of_cells
from .cells.dryrun import preview_bundle
from .cells.interpolate import words
from .cells.misspelt import check_words
from .cells.output import Outputs
from .cells.render import run_ids
from .orders import Order
from .runtime import NotebookRuntime

T = TypeVar("T")

#: The most runs that `%agent wait` can report after they finished.
_REMEMBERED = 1_000


class Launch(Struct, frozen=True):
    """The execution of a cell that launched a run."""

    execution: str
    cell: str
    """The cell's id in its notebook; empty if the front end does not send it, and in a terminal."""
    session: str
    """The front end's session. Another session may have another notebook, with the same cell ids if it is a copy."""


class Workbench(Struct):
    """The runtime as one shell's magics use it."""

    shell: InteractiveShell
    runtime: NotebookRuntime
    outputs: Outputs
    root: str = "agent"
    """The magic's name: `agent`, or `whisper` if another extension has the name `agent`."""
    _unreported: list[Run] = []  # launched or waited for, and not yet reported by `%agent wait`
    _reported: WeakSet[Run] = field(default_factory=WeakSet)
    _launched: WeakKeyDictionary[Run, Launch] = field(default_factory=WeakKeyDictionary)
    """Run → the execution that launched it. It keeps no run alive."""
    _launching: Launch | None = None  # the last one

    def launch(self, order: Order, local_ns: Mapping[str, Any] | None = None) -> Run | None:
        """Submit a run, show it in this cell, and wait for it if the order blocks.

        Rerunning a cell cancels the unfinished runs that it launched before, and says so, once the new run is accepted.

        Args:
            order: the run to submit.
            local_ns: the local variables where the magic was called; they hide the user's variables.

        Returns:
            The run; None for a dry run, whose preview the order's variable gets.

        Raises:
            ConfigError, SessionError: nothing was sent, and no run was cancelled.
            RunFailed, RunCancelled: the order blocks, and the run did not succeed.
        """
        session = self.runtime[order.name]
        order.check(self.root)
        config = AIConfig.of(order.config)
        namespace = self.namespace(local_ns)
        notes: list[str] = []
        parts = order.parts(namespace, self.root, notes.append)
        for note in [*order.notes(namespace), *dict.fromkeys(notes)]:
            print(paragraph(f"note: {note}"))  # noqa: T201
        options = {"priority": order.priority, "config": config, "fresh": order.fresh, **asdict(order.limits)}
        if order.schema is not None:
            options["output_type"] = type_of_cells(namespace, order.schema)
        if order.dry_run:
            looking = session.preview(parts, **options)
            preview = self.off_the_loop(lambda: asyncio.run(looking))
            if order.out is not None:
                self.shell.user_ns[order.out] = preview
            self.look(preview)
            return None
        run = session.submit(parts, **options)
        launch = self._launch()
        if self._launching != launch:
            self._cancel_earlier(launch)
        self._launching = self._launched[run] = launch
        self._remember([run])
        if order.out is not None:
            self.shell.user_ns[order.out] = run
        self.outputs.show(run, raw=order.raw)
        if order.block:
            self.wait([run])
            self.outputs.answer(run)
            run.result()
        return run

    def look(self, preview: Preview) -> None:
        """Display a preview."""
        from IPython.display import display

        display(preview_bundle(preview, self.runtime.budget), raw=True)

    def show_form(self, given: Sequence[str]) -> None:
        """Display the form that creates an agent.

        Raises:
            ConfigError: a flag was given, or there is no notebook.
        """
        if given or not self.is_kernel:
            raise ConfigError(
                f"%{self.root} new needs a NAME: %{self.root} new NAME …; without flags, in a notebook, it shows a form"
            )
        from IPython.display import display

        display(self.runtime.new_agent_form())

    def take_up_edits(self) -> None:
        """Apply the changes of the project's files, and print those that were not applied."""
        for line in self.runtime.refresh():
            print(one_line(f"whisper_nb: {line}"))  # noqa: T201

    def off_the_loop(self, function: Callable[[], T]) -> T:
        """Call a slow function in a thread, and wait for its result. In a kernel, agents go on meanwhile."""
        done: Future[T] = Future()
        threading.Thread(target=answer, args=(done, function), name="whisper_nb look", daemon=True).start()
        if self.is_kernel and self.runtime.home.nests:
            self.runtime.home.wait(done, None)
        return done.result()

    def namespace(self, local_ns: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Return the variables that expressions in a cell can use."""
        return {**self.shell.user_ns, **(local_ns or {})}

    def words(self, line: str, local_ns: Mapping[str, Any] | None = None) -> list[str]:
        """Split a magic's line into words, with its `{{ … }}` evaluated."""
        found = words(line, self.namespace(local_ns))
        check_words(found)
        return found

    def wait(self, runs: Sequence[Run], timeout_s: float | None = None) -> None:
        """Block the cell until all runs are finished. However the wait ends, agents go on.

        Raises:
            SessionError: a run can go on only after a person acts, or the wait was interrupted or timed out.
        """
        left_s = timeout_s
        end = time.monotonic() + (timeout_s or 0.0)
        try:
            for run in runs:
                if timeout_s is not None:
                    left_s = max(0.0, end - time.monotonic())
                run.wait(left_s)
        except (KeyboardInterrupt, TimeoutError) as error:
            why = "interrupted" if isinstance(error, KeyboardInterrupt) else f"after {timeout_s:g} s"
            unfinished = run_ids([run for run in runs if not run.done])
            raise SessionError(
                f"stopped waiting ({why}); not finished: {unfinished} (%{self.root} cancel ends a run)"
            ) from None

    def to_wait_for(self, names: Sequence[str], *, everything: bool = False) -> list[Run]:
        """Return the named runs, and those that ended without a report, so that a wait reports every run once.

        A run whose outcome a cell has received needs no report, nor does one that a tool submitted and that ended
        before the wait. The others stay unreported until `reported` is called: the wait may end early.

        Raises:
            ConfigError: names are given and everything is meant, or a name is not of a run or an agent.
        """
        if everything and names:
            raise ConfigError("give runs or agents, or --all for all runs, which is the default")
        agents = set(names)
        ended = [run for run in self._ended() if not agents or run.session.name in agents]
        runs = list(dict.fromkeys([*ended, *self.runs(names)]))
        self._remember([run for run in runs if not run.done])
        return runs

    def reported(self, runs: Sequence[Run]) -> None:
        """Leave runs out of later waits, because a wait has reported them."""
        self._reported.update(runs)
        self._unreported = [run for run in self._unreported if not (run in self._reported or run.received)]

    def _ended(self) -> list[Run]:
        """Return the runs that ended and that no wait has reported: from magics, from Python and from the panel."""
        submitted = (run for session in self.runtime.sessions for run in session.runs if not run.by_tool)
        runs = dict.fromkeys([*self._unreported, *submitted])  # the first may be runs of a removed agent
        return [run for run in runs if run.done and not (run.received or run in self._reported)]

    def runs(self, names: Sequence[str]) -> list[Run]:
        """Return the named runs; without names, all unfinished ones.

        Args:
            names: run ids, variables that hold a run, or agents, for all their unfinished runs.

        Raises:
            ConfigError: a name is none of these.
        """
        return self.runtime.home.do(self._runs, names)

    def runs_to_cancel(self, names: Sequence[str], *, everything: bool) -> list[Run]:
        """Return the named runs, or all unfinished ones.

        Raises:
            ConfigError: both or neither are given.
        """
        if everything == bool(names):
            unfinished = run_ids(self.runs(())) or "none"
            raise ConfigError(f"give runs or agents, or --all for all runs; unfinished runs: {unfinished}")
        return self.runs(names)

    def sessions(self, names: Sequence[str], *, everyone: bool) -> list[Session]:
        """Return the named agents' sessions, or all. If there are none, say so.

        Raises:
            ConfigError: both or neither are given, or an agent does not exist.
        """
        existing = [session.name for session in self.runtime.sessions]
        if everyone == bool(names):
            raise ConfigError(f"give agents, or --all for all of them; agents: {', '.join(existing) or 'none yet'}")
        if everyone:
            names = existing
            if not existing:
                print(self.no_agents)  # noqa: T201
        return [self.runtime[name] for name in dict.fromkeys(names)]

    @property
    def no_agents(self) -> str:
        """The line to show where there are no agents."""
        return f"no agents yet: %{self.root} new NAME creates one"

    def _remember(self, runs: Sequence[Run]) -> None:
        self._unreported = list(dict.fromkeys([*self._unreported, *runs]))[-_REMEMBERED:]

    def _runs(self, names: Sequence[str]) -> list[Run]:
        found: list[Run] = []
        for name in names or [session.name for session in self.runtime.sessions]:
            run = self.run(name)
            if run is None:
                found += self.runtime[name].unfinished
            else:
                found.append(run)
        return list(dict.fromkeys(found))

    def display(self, run: Run) -> None:
        """Show a run that is a cell's last value, unless this execution launched it and so shows it already."""
        if self._launched.get(run) != self._launch():
            self.outputs.show(run)

    def run(self, name: str) -> Run | None:
        """Return the run with this id or in this variable; None if the name may be an agent's.

        Raises:
            ConfigError: no run has this id.
        """
        if isinstance(run := self.shell.user_ns.get(name), Run):
            return run
        agent, hash_, number = name.partition("#")
        if not hash_:
            return None
        session = self.runtime[agent]
        known = {str(run.number): run for run in (*session.runs, *session.unfinished)}  # some are not accepted yet
        if number not in known:
            raise ConfigError(f"no run {name!r}; runs of {agent}: {run_ids(list(known.values())) or 'none yet'}")
        return known[number]

    def the_run(self, name: str) -> Run:
        """Return the run with this id or in this variable.

        Raises:
            ConfigError: there is none.
        """
        if run := self.run(name):
            return run
        raise ConfigError(f"{name!r} is not a run: give an id such as bob#3, or a variable that holds a run")

    @property
    def is_kernel(self) -> bool:
        """Whether the shell is a notebook's kernel, with cells, and not a terminal."""
        return getattr(self.shell, "kernel", None) is not None

    def _launch(self) -> Launch:
        """Return the execution that is running. In a terminal, each line is one."""
        if not self.is_kernel:
            return Launch(str(self.shell.execution_count), "", "")
        parent = self.shell.get_parent()
        header = parent.get("header", {})
        cell = parent.get("metadata", {}).get("cellId") or ""
        return Launch(header.get("msg_id", ""), cell, header.get("session", ""))

    def _cancel_earlier(self, launch: Launch) -> None:
        """Cancel the unfinished runs that other executions of this cell launched, if it is known to be the same cell.

        Cells of the same text, or of the same id in two notebooks, are not.
        """
        for run, earlier in list(self._launched.items()):
            if not launch.cell or earlier.cell != launch.cell or earlier.execution == launch.execution or run.done:
                continue
            if earlier.session == launch.session:
                del self._launched[run]  # its end may come after the next launch
                run.cancel()
                print(f"{run.id}, launched by this cell before, was not finished: cancelled")  # noqa: T201
            else:
                where = "another window, or a copy of this notebook"
                print(f"note: {run.id} of this cell in {where}, is not finished (%{self.root} cancel ends it)")  # noqa: T201
