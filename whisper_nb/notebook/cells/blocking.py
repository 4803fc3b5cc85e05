"""Wait inside a cell while its event loop goes on. An interrupt ends the wait and nothing else."""

from __future__ import annotations

import asyncio
import signal
import socket
import threading
import warnings
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from IPython.core.getipython import get_ipython


def block(loop: asyncio.AbstractEventLoop, done: Future[None], timeout: float | None) -> None:
    """Run `loop` from inside a cell until `done` is set.

    nest-asyncio2 is applied at the first wait, not at `%load_ext`: it replaces asyncio's C tasks by slower Python ones
    in the whole process.

    Raises:
        TimeoutError: after `timeout` seconds; agents go on.
        KeyboardInterrupt: the user interrupted; agents go on.
    """
    import nest_asyncio2

    warn_of_old_nest_asyncio()
    nest_asyncio2.apply(loop)
    ready: Any = getattr(loop, "_ready", ())
    ahead = len(ready)
    with _interrupts.watch(loop) as interrupted, _widgets_served():
        if not interrupted.done():
            ends = {asyncio.wrap_future(done, loop=loop), interrupted}
            try:
                loop.run_until_complete(asyncio.wait(ends, timeout=timeout, return_when="FIRST_COMPLETED"))
            finally:
                # An outer iteration of asyncio's loop has counted its ready callbacks, and fails if fewer are left.
                while len(ready) < ahead:
                    loop.call_soon(_nothing)
        if interrupted.done():
            raise KeyboardInterrupt
    if not done.done():
        raise TimeoutError


def _nothing() -> None:
    pass


@contextmanager
def _widgets_served() -> Iterator[None]:
    """Let the kernel handle messages of widgets, such as the panel, while a cell waits.

    ipykernel 7 handles all messages of its main shell in one context. The waiting cell has entered it, so that other
    messages wait until the cell ends. Cells must wait, in order; clicks need not, and get a context of their own. In a
    kernel with other internals, clicks wait too.
    """
    kernel: Any = getattr(get_ipython(), "kernel", None)
    try:
        stream = kernel.shell_channel_thread.manager._shell_channel_to_main.to_stream
        before = stream._recv_callback
        ident = kernel._get_shell_context_var(kernel._shell_parent_ident)
        parent = kernel.get_parent("shell")
    except AttributeError:
        yield
        return

    async def hear(message: list[Any]) -> None:
        # The handler saves and restores the parent, so that output of the cell's threads still belongs to the cell.
        kernel.set_parent(ident, parent, channel="shell")
        await kernel.shell_main(None, message)

    def route(message: list[Any]) -> object:
        _, frames = kernel.session.feed_identities(message, copy=False)
        header = kernel.session.deserialize(frames, content=False, copy=False)["header"]
        if header["msg_type"].startswith("comm_"):
            return hear(message)
        return before(message)

    stream.on_recv(route, copy=False)
    try:
        yield
    finally:
        stream.on_recv(before, copy=False)


def warn_of_old_nest_asyncio() -> None:
    """Warn if the archived nest_asyncio is active. It cannot be undone, and it loses cells on ipykernel 7."""
    if hasattr(asyncio, "_nest_patched") and not hasattr(asyncio, "_nest_asyncio2"):
        warnings.warn(
            "this notebook applied nest_asyncio, which loses cells that are queued while another one waits. "
            "Remove nest_asyncio.apply() (whisper_nb uses nest-asyncio2) and restart the kernel.",
            RuntimeWarning,
            stacklevel=2,
        )


@contextmanager
def waking(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let a signal wake the loop while it is idle.

    Otherwise an interrupt of an awaiting cell takes effect only when the loop next runs for another reason, which may
    be never: https://github.com/ipython/ipykernel/issues/881
    """
    if not _in_main_thread():  # signals arrive in the main thread only
        yield
        return
    reader, writer = socket.socketpair()
    with reader, writer:
        reader.setblocking(False)
        writer.setblocking(False)
        loop.add_reader(reader, _drain, reader)
        before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(before)
            loop.remove_reader(reader)


def _drain(reader: socket.socket) -> None:
    with suppress(BlockingIOError):  # a nested loop may have been here first
        reader.recv(4096)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let an interrupt end a tool that runs on the main thread between cells, and the cell that waits meanwhile."""
    if not _in_main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGINT)  # between cells ipykernel ignores it

    def reach(number: int, frame: FrameType | None) -> None:
        if callable(before) and before is not signal.default_int_handler:
            before(number, frame)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, reach)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


class Interrupts:
    """The SIGINT handler while at least one cell waits.

    Python's own handler raises KeyboardInterrupt in the code that is running, which may be an agent's. This one only
    schedules a callback on the loop.
    """

    def __init__(self) -> None:
        self._waits: list[asyncio.Future[None]] = []
        self._early = False

    def note(self, *_: object) -> None:
        """At the start of a cell, install a handler that notes an interrupt before the cell waits.

        ipykernel handles it by cancelling the task of an async cell, two iterations of the loop later. A cell that
        blocks by then would not be cancelled, and would never end.
        """
        ipykernels = signal.getsignal(signal.SIGINT)
        if not callable(ipykernels) or ipykernels is signal.default_int_handler or not _in_main_thread():
            return
        loop = asyncio.get_running_loop()

        def noting(number: int, frame: FrameType | None) -> None:
            self._early = True
            ipykernels(number, frame)
            loop.call_soon(loop.call_soon, self._forget)

        signal.signal(signal.SIGINT, noting)

    @contextmanager
    def watch(self, loop: asyncio.AbstractEventLoop) -> Iterator[asyncio.Future[None]]:
        """Yield a future that an interrupt resolves. Waits nest: one interrupt ends them all, innermost first."""
        interrupted = loop.create_future()
        main = _in_main_thread()
        before = signal.getsignal(signal.SIGINT)
        if main:
            signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(self._interrupt))
        self._waits.append(interrupted)
        if self._early:
            self._interrupt()
        try:
            yield interrupted
        finally:
            self._waits.remove(interrupted)
            if main:
                signal.signal(signal.SIGINT, before)

    def _interrupt(self) -> None:
        for wait in self._waits:
            if not wait.done():
                wait.set_result(None)

    def _forget(self) -> None:
        self._early = False


def _in_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


_interrupts = Interrupts()
note_interrupts = _interrupts.note
