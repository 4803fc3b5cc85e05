"""The commands `python -m whisper_nb list` and `stop`: find the user's kernels and send them requests.

Each kernel with agents has a control socket, named for its process; see `control.py`.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError

#: Seconds to wait for a kernel's answer, and for the end of the runs that it stops.
ANSWER_TIMEOUT_S, END_TIMEOUT_S = 1.0, 2.0
#: Bytes of a request that a kernel reads.
MAX_REQUEST = 64 * 1024
_RECEIVE = 1024 * 1024
_NO_KERNELS = "none of your kernels has run an agent"


@dataclass
class Kernel:
    """A connection to a kernel."""

    pid: int
    connection: socket.socket
    facts: dict[str, Any] = field(default_factory=dict)
    """Its answers, merged. Empty until it has answered."""
    _rest: bytes = b""

    @property
    def label(self) -> str:
        """The kernel's number, and its notebook or folder if it has answered."""
        return f"kernel {self.pid} {self.facts.get('source', '')}".rstrip()

    def wait_for(self, fact: str, until: float) -> bool:
        """Read answers until one holds this fact, or until a time of `time.monotonic`. Return whether one did."""
        while fact not in self.facts:
            self.connection.settimeout(max(0.001, until - time.monotonic()))
            try:
                data = self.connection.recv(_RECEIVE)
            except OSError:  # a timeout, too
                return False
            if not data:
                return False
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                self.facts |= json.loads(line)
        return True


def check_private(folder: Path) -> None:
    """Raise PermissionError if other users may enter the folder, or own it."""
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        raise PermissionError(f"{folder} is not private. It must be a folder of this user with mode 0700")


def kernels(folder: Path, pid: int | None = None) -> Iterator[Kernel]:
    """Connect to the user's kernels, or to one of them. Remove the sockets of dead kernels.

    Raises:
        OSError: the folder is not private.
    """
    if not os.path.lexists(folder):
        return
    check_private(folder)
    pattern = "*.socket"
    if pid is not None:
        pattern = f"{pid}.socket"
    for path in sorted(folder.glob(pattern)):
        if not (path.stem.isdecimal() and path.is_socket()):  # not a control socket
            continue
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(ANSWER_TIMEOUT_S)
        try:
            connection.connect(str(path))
        except ConnectionRefusedError:
            connection.close()
            path.unlink(missing_ok=True)
        except OSError:  # the kernel has just ended, or has too many clients
            connection.close()
        else:
            yield Kernel(int(path.stem), connection)


def ask(folder: Path, do: str, names: Sequence[str] | None = None, pid: int | None = None) -> list[Kernel]:
    """Send a request to all kernels at once, and wait at most two seconds for their answers.

    Args:
        folder: the folder of the kernels' sockets.
        do: `stop` or `list`.
        names: names of agents; None for all.
        pid: the process of one kernel; None for all.

    Raises:
        ConfigError: the names do not fit into a request. Nothing is sent.
    """
    request = json.dumps({"do": do, "names": names}).encode()
    if len(request) > MAX_REQUEST:
        raise ConfigError(
            f"too many names: {len(names or ()):,} ({len(request):,} bytes; at most {MAX_REQUEST:,} are allowed). "
            "Give fewer, or --all"
        )
    asked = list(kernels(folder, pid))
    for kernel in asked:
        with suppress(OSError):
            kernel.connection.sendall(request)
    start = time.monotonic()
    for kernel in asked:
        if kernel.wait_for("agents", start + ANSWER_TIMEOUT_S) and do == "stop":
            kernel.wait_for("ended", start + END_TIMEOUT_S)
        kernel.connection.close()
    return asked


def stop(folder: Path, names: Sequence[str] | None, pid: int | None = None) -> tuple[list[str], bool]:
    """Stop agents in all kernels, or in one. Return a line for each kernel, and whether everything has ended.

    A name that several kernels have is ambiguous: nothing is stopped then.
    """
    lines: list[str] = []
    done = True
    if names is not None and pid is None and (lines := _ambiguous(folder, names)):
        return lines, False
    unknown = set(names or ())
    asked = ask(folder, "stop", names, pid)
    if pid is not None and not asked:
        return [f"no kernel {pid} of yours has run an agent. `python -m whisper_nb list` lists kernels"], False
    for kernel in asked:
        unknown -= set(kernel.facts.get("agents", ()))
        done = done and "ended" in kernel.facts
        if kernel.facts.get("agents") != [] or names is None:
            lines.append(f"{kernel.label}{_stopped(kernel, names)}")
    if unknown and done:
        lines.append(f"no kernel has an agent named {', '.join(sorted(unknown))}")
    return lines or [_NO_KERNELS], done and not unknown


def _ambiguous(folder: Path, names: Sequence[str]) -> list[str]:
    """Return lines that ask for a kernel, if several may have an agent of one of the names: one may be another's."""
    found = list(kernels(folder))
    for kernel in found:
        kernel.connection.close()
    if len(found) < 2:
        return []
    asked = ask(folder, "list", names)
    for name in names:
        having = [kernel for kernel in asked if not kernel.facts or name in kernel.facts["agents"]]
        if len(having) > 1:
            labels = [kernel.label if kernel.facts else f"{kernel.label} is busy, and may have it" for kernel in having]
            return [f"several kernels have an agent named {name}: nothing was stopped. Give --kernel NUMBER", *labels]
    return []


def _stopped(kernel: Kernel, names: Sequence[str] | None) -> str:
    if not kernel.facts:
        agents = "its agents"
        if names is not None:
            agents = f"those of {', '.join(names)} that it has"
        return f" is busy: it will stop {agents} when its cell ends or awaits"
    agents = _listed(kernel.facts["agents"], kernel.facts.get("more"))
    runs = ", ".join(kernel.facts["runs"])
    if not agents:
        return ": it has no agents"
    if not runs:
        return f": no runs to cancel; stopped until %agent resume: {agents}"
    return f": stopped {agents}; {'ended' if 'ended' in kernel.facts else 'still ending:'} {runs}"


def _listed(names: Sequence[str], more: int | None) -> str:
    if more:
        names = [*names, f"{more:,} more"]
    return ", ".join(names)


def listed(folder: Path) -> tuple[list[str], bool]:
    """Return a line for each kernel and each of its agents, and whether all kernels have answered."""
    lines: list[str] = []
    done = True
    for kernel in ask(folder, "list"):
        if not kernel.facts:
            lines.append(f"{kernel.label} is busy: it will answer when its cell ends or awaits")
            done = False
            continue
        lines.append(kernel.label)
        lines += [f"  {name}: {state}, {count} unfinished" for name, (state, count) in kernel.facts["agents"].items()]
        if more := kernel.facts.get("more"):
            lines.append(f"  and {more:,} more")
    return lines or [_NO_KERNELS], done
