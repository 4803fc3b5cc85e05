"""A kernel's control socket: answers `python -m whisper_nb`, and stops agents while a cell runs.

The socket is opened at the kernel's first run, in a folder that only its user may enter. A request is one JSON object;
an answer is one or more, a line each. Requests are handled on the agents' event loop: at once if it has a thread of its
own, else when the cell ends or awaits. The other side is `kernels.py`.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from ..core.events import Record, RunQueued
from ..engine.runs import Run
from .kernels import MAX_REQUEST, check_private
from .runtimes import Runtime

#: Seconds within which a client must send its request, and the most clients that may be connected.
REQUEST_S, MAX_CLIENTS = 5.0, 64
_REASON = "stopped from a terminal"
#: Agents, and runs, that an answer lists by name.
MAX_LISTED = 500
_log = logging.getLogger("whisper_nb")


class Control:
    """The server of a kernel's control socket.

    Args:
        runtime: the owner of the agents.
        folder: the folder of the sockets of all kernels.
        request_s: seconds within which a client must send its request.
    """

    def __init__(self, runtime: Runtime, folder: Path, request_s: float = REQUEST_S) -> None:
        self._runtime = runtime
        self._folder = folder
        self._path: Path | None = None
        self._sockets: set[socket.socket] = set()
        self._request_s = request_s
        self._idle: dict[socket.socket, Callable[[], None]] = {}
        """Clients without a request yet → a function that lets them be idle."""
        self._stop_observing = runtime.observe(self._open_at_first_run)

    def close(self) -> None:
        """Close the socket and remove its file."""
        self._runtime.home.do(self._close)

    def _open_at_first_run(self, record: Record) -> None:
        if isinstance(record.event, RunQueued):
            self._stop_observing()
            try:
                self._open()
            except OSError as error:  # agents work without it
                _log.info("python -m whisper_nb cannot reach this kernel: %s", error)

    def _open(self) -> None:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_private(self._folder)
        path = self._folder / f"{os.getpid()}.socket"
        path.unlink(missing_ok=True)  # left by a dead process that had the same number
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(path))
            listener.listen()
        except OSError:  # for example, a path that is too long
            listener.close()
            raise
        self._path = path
        self._add(listener, self._accept)

    def _close(self) -> None:
        self._stop_observing()
        for one in tuple(self._sockets):
            self._remove(one)
        if self._path is not None:
            self._path.unlink(missing_ok=True)
            self._path = None

    def _add(self, connection: socket.socket, on_readable: Callable[[socket.socket], object]) -> None:
        connection.setblocking(False)
        self._sockets.add(connection)
        self._runtime.home.listen(connection, partial(on_readable, connection))

    def _remove(self, connection: socket.socket) -> None:
        if connection in self._sockets:
            self._keep(connection)
            self._sockets.remove(connection)
            self._runtime.home.unlisten(connection)
            connection.close()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the client has closed the connection already
            connection = listener.accept()[0]
            self._add(connection, self._handle)
            self._idle[connection] = self._runtime.home.later(self._request_s, partial(self._remove, connection))
            while len(self._idle) > MAX_CLIENTS:
                self._remove(next(iter(self._idle)))

    def _keep(self, connection: socket.socket) -> None:
        """Drop this client no more for being idle."""
        if cancel := self._idle.pop(connection, None):
            cancel()

    def _handle(self, connection: socket.socket) -> None:
        try:
            request = json.loads(connection.recv(MAX_REQUEST))
            names = request["names"]
            if names is not None:
                names = frozenset(map(str, names))
            action = {"stop": self._stop, "list": self._list}[request["do"]]
        except (OSError, ValueError, TypeError, KeyError, RecursionError):  # not a request of `kernels.py`
            self._remove(connection)
            return
        self._keep(connection)
        self._runtime.home.unlisten(connection)
        action(connection, names)

    def _list(self, connection: socket.socket, names: frozenset[str] | None) -> None:
        sessions = [one for one in self._runtime.sessions if names is None or one.name in names]
        sessions.sort(key=lambda one: not one.unfinished)  # those with work first
        agents = {one.name: [one.state.label, len(one.unfinished)] for one in sessions[:MAX_LISTED]}
        self._send(connection, source=_source(), agents=agents, more=max(0, len(sessions) - MAX_LISTED))
        self._remove(connection)

    def _stop(self, connection: socket.socket, names: frozenset[str] | None) -> None:
        """Answer at once with what will be stopped, and again when all of it has ended."""
        sessions = [one for one in self._runtime.sessions if names is None or one.name in names]
        left = {run for one in sessions for run in one.unfinished}
        runs = sorted(left, key=lambda run: run.submitted_at)
        agents = [one.name for one in (sessions if names else sessions[:MAX_LISTED])]
        ids = [run.id for run in runs[:MAX_LISTED]]
        self._send(connection, source=_source(), agents=agents, runs=ids, more=len(sessions) - len(agents))

        def ended(run: Run | None) -> None:
            left.discard(run)
            if not left and connection in self._sockets:
                self._send(connection, ended=True)
                self._remove(connection)

        for session in sessions:
            session.stop(_REASON)
        for run in runs:
            run.on_done(partial(ended, run))
        ended(None)

    def _send(self, connection: socket.socket, **facts: Any) -> None:
        with suppress(OSError):  # the client no longer waits
            connection.send(json.dumps(facts).encode() + b"\n")


def _source() -> str:
    """Return a phrase that identifies this kernel: its notebook if Jupyter names it, else its folder."""
    if notebook := os.environ.get("JPY_SESSION_NAME"):
        return f"of {notebook!r}"
    try:
        return f"in {os.getcwd()!r}"
    except OSError:
        return "in a folder that was deleted"
