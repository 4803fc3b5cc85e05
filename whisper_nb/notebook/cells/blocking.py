"""Waiting inside a cell: the loop goes on underneath, and an interrupt ends the wait and nothing else."""

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
    """Run `loop` from inside a cell until `done`.

    nest-asyncio2 is applied here, at the first wait and not at `%load_ext`, because it swaps asyncio's C tasks for
    slower Python ones in the whole process.

    Raises:
        TimeoutError: after `timeout` seconds.
        KeyboardInterrupt: the user interrupted. In both cases agents go on.
    """
    import nest_asyncio2

    warn_of_old_nest_asyncio()
    nest_asyncio2.apply(loop)
    ready: Any = getattr(loop, "_ready", ())
    ahead = len(ready)
    with _interrupts.watch(loop) as interrupted, _hearing_widgets():
        if not interrupted.done():
            ends = {asyncio.wrap_future(done, loop=loop), interrupted}
            try:
                loop.run_until_complete(asyncio.wait(ends, timeout=timeout, return_when="FIRST_COMPLETED"))
            finally:
                # Below may be asyncio's own round of the loop, which has counted what was ready, and would die if less is.
                while len(ready) < ahead:
                    loop.call_soon(_nothing)
        if interrupted.done():
            raise KeyboardInterrupt
    if not done.done():
        raise TimeoutError


def _nothing() -> None:
    pass


@contextmanager
def _hearing_widgets() -> Iterator[None]:
    """Let the kernel hear widgets, the panel for one, while a cell waits in here.

    ipykernel 7 handles all messages of its main shell in one context. The waiting cell has entered that, so that nothing
    else of the shell goes on until it ends. Cells shall wait for that, in order; a click need not, and gets a context of
    its own. Where a kernel is built otherwise, clicks wait, too.
    """
    kernel: Any = getattr(get_ipython(), "kernel", None)
    try:
        stream = kernel.shell_channel_thread.manager._shell_channel_to_main.to_stream
        before = stream._recv_callback
        ident, parent = kernel._get_shell_context_var(kernel._shell_parent_ident), kernel.get_parent("shell")
    except AttributeError:
        yield
        return

    async def hear(message: list[Any]) -> None:
        # What it finds it restores, also for the cell's threads, whose output belongs to the cell.
        kernel.set_parent(ident, parent, channel="shell")
        await kernel.shell_main(None, message)

    def route(message: list[Any]) -> object:
        _, frames = kernel.session.feed_identities(message, copy=False)
        header = kernel.session.deserialize(frames, content=False, copy=False)["header"]
        return hear(message) if header["msg_type"].startswith("comm_") else before(message)

    stream.on_recv(route, copy=False)
    try:
        yield
    finally:
        stream.on_recv(before, copy=False)


def warn_of_old_nest_asyncio() -> None:
    """Say so when the archived nest_asyncio is active: it stays so, and loses cells on ipykernel 7."""
    if hasattr(asyncio, "_nest_patched") and not hasattr(asyncio, "_nest_asyncio2"):
        warnings.warn(
            "this notebook applied nest_asyncio, which loses the cells queued behind a waiting one. "
            "Remove nest_asyncio.apply() (whisper_nb brings nest-asyncio2) and restart the kernel.",
            RuntimeWarning,
            stacklevel=2,
        )


@contextmanager
def waking(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Let a signal wake the loop while it idles.

    Without it the interrupt of an awaiting cell is heard only when the loop next turns for another reason, which may
    be never: https://github.com/ipython/ipykernel/issues/881
    """
    if not _in_main_thread():  # where no signal arrives
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
    """Let an interrupt reach what runs on the main thread between cells, a tool, and also the cell that waits meanwhile."""
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
    """Our SIGINT handler, there while at least one wait is.

    Python's own raises KeyboardInterrupt in whatever is on the CPU, and that may be an agent. This one only tells the
    loop, and wakes it.
    """

    def __init__(self) -> None:
        self._waits: list[asyncio.Future[None]] = []
        self._early = False

    def note(self, *_: object) -> None:
        """At the start of a cell: note an interrupt that comes before the cell waits.

        ipykernel answers that of an async cell by cancelling the cell's task, two turns of the loop later. A cell
        that blocks by then would not hear of it, and would never be answered.
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
        """A future that an interrupt resolves. Waits nest: one interrupt ends them all, innermost first."""
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
