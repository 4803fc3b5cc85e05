"""Team: what the magics work on. Launches runs from cells, knows which cell launched which, finds things by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from typing import Any

from IPython.core.interactiveshell import InteractiveShell

from ..config import AIConfig
from ..errors import ConfigError
from ..events import Priority
from ..messages import to_openai
from ..runs import Run
from ..runtimes import Runtime
from ..session import Session
from .interpolation import interpolate, words
from .output import Outputs
from .render import printable


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """Everything that a cell or `%agent ask` says about one run."""

    name: str
    prompt: str
    out: str | None = None
    block: bool = False
    priority: Priority = "normal"
    model: str | None = None
    timeout_s: float | None = None
    interpolate: bool = True
    dry_run: bool = False


@dataclass(slots=True)
class Team:
    """The runtime as one shell sees it."""

    shell: InteractiveShell
    runtime: Runtime
    outputs: Outputs
    root: str = "agent"
    """The magic's name here: `agent`, or `whisper` where another extension has that."""
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
        if order.out is not None and (not order.out.isidentifier() or iskeyword(order.out)):
            raise ConfigError(f"-o {order.out!r} is not a variable name")
        config = AIConfig.of(order.model)
        parts = self.parts(order.prompt, local_ns) if order.interpolate else [order.prompt]
        if order.dry_run:
            print(_preview(session, parts, config))  # noqa: T201
            return None
        cell, execution = self._where()
        self._cancel_earlier(cell, execution)
        run = session.submit(parts, priority=order.priority, timeout_s=order.timeout_s, config=config)
        if cell is not None:
            self._launched.setdefault(cell, (execution, []))[1].append(run)
        if order.out is not None:
            self.shell.user_ns[order.out] = run
        self.outputs.show(run)
        if order.block:
            self.wait([run])
            run.result()
        return run

    def parts(self, text: str, local_ns: Mapping[str, Any] | None = None) -> list[str | Run]:
        """The text with its `{{ … }}` evaluated in the user's namespace."""
        return interpolate(text, {**self.shell.user_ns, **(local_ns or {})})

    def words(self, line: str, local_ns: Mapping[str, Any] | None = None) -> list[str]:
        """The words of a magic's line, its `{{ … }}` evaluated in the user's namespace."""
        return words(line, {**self.shell.user_ns, **(local_ns or {})})

    def wait(self, runs: Sequence[Run], timeout_s: float | None = None) -> None:
        """Block the cell until all are done, in any way. Agents go on, whatever ends the wait.

        Raises:
            SessionError: a run can go on only by a person's hand.
            TimeoutError, KeyboardInterrupt: the wait ended first.
        """
        deadline = None if timeout_s is None else self.runtime.home.loop.time() + timeout_s
        try:
            for run in runs:
                run.wait(None if deadline is None else max(0.0, deadline - self.runtime.home.loop.time()))
        except KeyboardInterrupt:
            going = ", ".join(run.id for run in runs if not run.done)
            print(f"Stopped waiting; at work are still {going} (%{self.root} cancel ends a run)")  # noqa: T201
            raise

    def runs(self, names: Sequence[str]) -> list[Run]:
        """The runs that words name: a run's id, a variable that holds one, or an agent for all its unfinished ones.

        Without words, all unfinished runs.

        Raises:
            ConfigError: a word names none of these.
        """
        found: list[Run] = []
        for name in names or [session.name for session in self.runtime.sessions]:
            if isinstance(run := self.shell.user_ns.get(name), Run):
                found.append(run)
            elif "#" in name:
                found.append(self._run(name))
            else:
                found += self.runtime[name].unfinished
        return found

    def display(self, run: Run) -> None:
        """What IPython shows of a run that a cell's last line is: nothing in the cell that shows it already."""
        cell, execution = self._where()
        if cell is None or run not in self._launched.get(cell, (execution, []))[1]:
            self.outputs.show(run)

    def _run(self, name: str) -> Run:
        agent, _, number = name.partition("#")
        for run in self.runtime[agent].runs:
            if str(run.number) == number:
                return run
        raise ConfigError(f"no run {name!r}; `%{self.root} log {agent}` lists the runs of {agent}")

    def _where(self) -> tuple[str | None, str]:
        """The cell that is running, and which of its executions this is; no cell in a terminal."""
        if getattr(self.shell, "kernel", None) is None:
            return None, ""
        parent = self.shell.get_parent()
        execution = parent.get("header", {}).get("msg_id", "")
        # A front end that does not say which cell it is: the same text is the same cell.
        return parent.get("metadata", {}).get("cellId") or parent.get("content", {}).get("code") or None, execution

    def _cancel_earlier(self, cell: str | None, execution: str) -> None:
        if cell is None or cell not in self._launched or self._launched[cell][0] == execution:
            return
        for run in self._launched.pop(cell)[1]:
            if not run.done:
                run.cancel()
                print(f"{run.id}, which this cell launched before, was not finished: cancelled")  # noqa: T201


def _preview(session: Session, parts: Sequence[str | Run], config: AIConfig) -> str:
    resolved = session.ports.resolve(session.agent, config)
    prompt = "".join(part if isinstance(part, str) else str(part) if part.done else f"⟨{part.id}⟩" for part in parts)
    lines = [f"dry run: {session.name} would call {resolved.model} with", f"[system] {session.agent.instructions}"]
    for message in session.history:
        entry = to_openai(message)
        lines.append(
            f"[{entry['role']}] {entry['content'] or [call['function']['name'] for call in entry['tool_calls']]}"
        )
    return "\n".join([*lines, f"[user] {prompt}", "Nothing was sent."])


def outcome_line(run: Run) -> str:
    """How a run ended, in one line that is the same whenever it is run."""
    return printable(f"{run.id} failed: {run.error}") if run.status == "failed" else f"{run.id} {run.status}"
