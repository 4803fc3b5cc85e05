"""`python -m whisper_nb stop --all`: a kernel with agents can be told from a terminal, also while a cell is at work.

Each kernel listens on a socket of its own, in a folder that only its user may enter, from its first run on. What is
asked and answered is JSON, a line each. It is heard on the agents' loop: at once where that is in a thread, else when
the cell ends.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.errors import ConfigError
from ..core.events import Record, RunQueued

if TYPE_CHECKING:  # the command itself needs neither, and shall be quick
    from .runs import Run
    from .runtimes import Runtime

#: Seconds after which a kernel that has not heard is busy, and one that has heard should have done it.
HEARD_S, DONE_S = 1.0, 2.0
#: Bytes of a request, and of an answer; agents that an answer names.
_REQUEST, _ANSWER, _NAMED = 64 * 1024, 1024 * 1024, 500
_log = logging.getLogger("whisper_nb")


class Control:
    """The end of a kernel: opens its socket when the first run is there, and does what it is asked.

    Args:
        runtime: whose agents.
        folder: where the sockets of all kernels are.
    """

    def __init__(self, runtime: Runtime, folder: Path) -> None:
        self._runtime = runtime
        self._folder = folder
        self._path: Path | None = None
        self._ends: set[socket.socket] = set()
        self._drop = runtime.observe(self._hear_of)

    def close(self) -> None:
        """Hear no more."""
        self._runtime.home.do(self._close)

    def _hear_of(self, record: Record) -> None:
        if isinstance(record.event, RunQueued):
            self._drop()
            try:
                self._open()
            except OSError as error:  # no reason why agents should not work
                _log.info("python -m whisper_nb will not reach this kernel: %s", error)

    def _open(self) -> None:
        _make_private(self._folder)
        path = self._folder / f"{os.getpid()}.socket"
        path.unlink(missing_ok=True)  # of another process that had this number
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            end.bind(str(path))
            end.listen()
        except OSError:  # a path that is too long, say
            end.close()
            raise
        self._path = path
        self._listen(end, self._accept)

    def _close(self) -> None:
        self._drop()
        for end in tuple(self._ends):
            self._end(end)
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def _listen(self, end: socket.socket, function: Callable[[socket.socket], object]) -> None:
        end.setblocking(False)
        self._ends.add(end)
        self._runtime.home.listen(end, partial(function, end))

    def _end(self, end: socket.socket) -> None:
        if end in self._ends:
            self._ends.remove(end)
            self._runtime.home.unlisten(end)
            end.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # who has gone already
            self._listen(listener.accept()[0], self._hear)

    def _hear(self, end: socket.socket) -> None:
        try:
            asked = json.loads(end.recv(_REQUEST))
            names = None if asked["names"] is None else frozenset(map(str, asked["names"]))
            act = {"stop": self._stop, "list": self._list}[asked["do"]]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):  # nothing of ours
            self._end(end)
            return
        self._runtime.home.unlisten(end)
        act(end, names)

    def _list(self, end: socket.socket, names: frozenset[str] | None) -> None:
        sessions = sorted(self._runtime.sessions, key=lambda one: not one.unfinished)  # those at work first
        agents = {one.name: [one.state.label, len(one.unfinished)] for one in sessions[:_NAMED]}
        self._say(end, place=_place(), agents=agents, more=max(0, len(sessions) - _NAMED))
        self._end(end)

    def _stop(self, end: socket.socket, names: frozenset[str] | None) -> None:
        """Say at once what will be stopped, and once more when all of it has ended."""
        sessions = [one for one in self._runtime.sessions if names is None or one.name in names]
        left = {run for one in sessions for run in one.unfinished}
        runs = sorted(left, key=lambda run: run.submitted_at)
        agents = [one.name for one in (sessions if names else sessions[:_NAMED])]
        ids = [run.id for run in runs[:_NAMED]]
        self._say(end, place=_place(), agents=agents, runs=ids, more=len(sessions) - len(agents))

        def ended(run: Run | None) -> None:
            left.discard(run)
            if not left and end in self._ends:
                self._say(end, ended=True)
                self._end(end)

        for session in sessions:
            session.stop()
        for run in runs:
            run.on_done(partial(ended, run))
        ended(None)

    def _say(self, end: socket.socket, **facts: Any) -> None:
        with suppress(OSError):  # nobody waits for it any more
            end.send(json.dumps(facts).encode() + b"\n")


def _place() -> str:
    """Where this kernel is, for people: its notebook, where Jupyter says one, or else its folder."""
    if notebook := os.environ.get("JPY_SESSION_NAME"):
        return f"of {notebook!r}"
    try:
        return f"in {os.getcwd()!r}"
    except OSError:
        return "in a folder that is gone"


@dataclass
class Kernel:
    """A kernel, as this process sees it."""

    pid: int
    end: socket.socket
    said: dict[str, Any] = field(default_factory=dict)
    """All that it has answered; empty while it has not heard."""
    _text: bytes = b""

    def hear(self, until: float, fact: str) -> bool:
        """Wait until it has said this, or until then. Whether it has."""
        while fact not in self.said:
            self.end.settimeout(max(0.001, until - time.monotonic()))
            try:
                piece = self.end.recv(_ANSWER)
            except OSError:  # TimeoutError is one
                return False
            if not piece:
                return False
            *lines, self._text = (self._text + piece).split(b"\n")
            for line in lines:
                self.said |= json.loads(line)
        return True


def _make_private(folder: Path) -> None:
    """Make the folder, which nobody else may enter. OSError: that cannot be, or it is somebody else's."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    _check_private(folder)


def _check_private(folder: Path) -> None:
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not this user's alone (its mode must be 0700)")


def kernels(folder: Path, pid: int | None = None) -> Iterator[Kernel]:
    """The user's kernels that have agents, or one of them. The sockets of those that are dead are removed.

    Raises:
        OSError: the folder is somebody else's.
    """
    if not os.path.lexists(folder):
        return
    _check_private(folder)
    for path in sorted(folder.glob(f"{'*' if pid is None else pid}.socket")):
        if not (path.stem.isdecimal() and path.is_socket()):  # nothing of ours
            continue
        end = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        end.settimeout(HEARD_S)
        try:
            end.connect(str(path))
        except ConnectionRefusedError:
            end.close()
            path.unlink(missing_ok=True)
        except OSError:  # gone just now; or so many wait already that one more makes no difference
            end.close()
        else:
            yield Kernel(int(path.stem), end)


def ask(folder: Path, do: str, names: Sequence[str] | None = None, pid: int | None = None) -> list[Kernel]:
    """Ask all kernels at once, and wait for their answers for two seconds at most.

    Args:
        folder: where their sockets are.
        do: `stop` or `list`.
        names: of the agents; None for all.
        pid: of the one kernel that is meant; None for all.

    Raises:
        ConfigError: so many names that no kernel would hear them; none is asked.
    """
    request = json.dumps({"do": do, "names": names}).encode()
    if len(request) > _REQUEST:
        raise ConfigError(
            f"{len(names or ()):,} names are more than a kernel hears at once "
            f"({len(request):,} bytes; {_REQUEST:,} at most): "
            "say fewer, or --all"
        )
    asked = list(kernels(folder, pid))
    for kernel in asked:
        with suppress(OSError):
            kernel.end.sendall(request)
    start = time.monotonic()
    for kernel in asked:
        if kernel.hear(start + HEARD_S, "agents") and do == "stop":
            kernel.hear(start + DONE_S, "ended")
        kernel.end.close()
    return asked


def stop(folder: Path, names: Sequence[str] | None, pid: int | None = None) -> tuple[list[str], bool]:
    """Stop agents in all kernels, or in one: what came of it, a line for each kernel, and whether all of it is done."""
    told, done, unknown = [], True, set(names or ())
    asked = ask(folder, "stop", names, pid)
    if pid is not None and not asked:
        return [f"no kernel {pid} of yours has had work for agents (python -m whisper_nb list)"], False
    for kernel in asked:
        unknown -= set(kernel.said.get("agents", ()))
        done = done and "ended" in kernel.said
        if kernel.said.get("agents") != [] or names is None:
            told.append(f"{_name(kernel)}{_stopped(kernel, names)}")
    if unknown and done:
        told.append(f"no kernel has an agent named {', '.join(sorted(unknown))}")
    return told or ["no kernel of yours has had work for agents"], done and not unknown


def _stopped(kernel: Kernel, names: Sequence[str] | None) -> str:
    if not kernel.said:
        whom = "its agents" if names is None else f"what it has of {', '.join(names)}"
        return f" is busy: when its cell ends or awaits it hears of this, and stops {whom}"
    more = kernel.said.get("more")
    agents = ", ".join([*kernel.said["agents"], *([f"{more:,} more"] if more else [])])
    runs = ", ".join(kernel.said["runs"])
    if not agents:
        return ": it has no agents"
    if not runs:
        return f": nothing was at work; stopped until %agent resume: {agents}"
    return f": stopped {agents}; {'ended' if 'ended' in kernel.said else 'told, but not yet ended:'} {runs}"


def listed(folder: Path) -> tuple[list[str], bool]:
    """The agents of all kernels, and whether all of these have answered."""
    told, done = [], True
    for kernel in ask(folder, "list"):
        done = done and bool(kernel.said)
        agents = kernel.said.get("agents", {})
        told.append(_name(kernel) + ("" if kernel.said else " is busy: it answers when its cell ends or awaits"))
        told += [f"  {name}: {state}, {count} unfinished" for name, (state, count) in agents.items()]
        told += [f"  and {more:,} more"] if (more := kernel.said.get("more")) else []
    return told or ["no kernel of yours has had work for agents"], done


def _name(kernel: Kernel) -> str:
    return f"kernel {kernel.pid} {kernel.said.get('place', '')}".rstrip()
