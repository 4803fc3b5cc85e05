"""Run calls that use much CPU on an event loop in a thread of its own.

With LiteLLM, a hundred streams delayed a notebook's event loop by 190 ms (p99). From a thread it is 10 ms.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import aclosing, suppress
from typing import Any, TypeVar
from weakref import WeakSet

from ..core.messages import Delta, Finish, Message, ToolSchema
from ..core.threads import OwnLoop, in_thread
from .model import Model, Request, body_of

T = TypeVar("T")

#: Seconds that closing waits for the thread to end.
CLOSING_S = 1.0
#: The process has one such thread, since LiteLLM keeps its clients per process. The first call starts it, and closing
#: the last model ends it.
_loop: list[OwnLoop] = []
_in_use: WeakSet[Offloaded] = WeakSet()
_lock = threading.Lock()


class Offloaded:
    """A model whose calls are made in the thread. The deltas arrive on the caller's event loop.

    Args:
        model: used only on the thread's event loop.
    """

    __slots__ = ("__weakref__", "_model", "_ready")

    def __init__(self, model: Model) -> None:
        self._model = model
        self._ready = False

    @property
    def context_tokens(self) -> int | None:
        """The size of the model's context in tokens; None where it is unknown."""
        return self._model.context_tokens

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """Return the model's count of tokens. It may take long: call it in a thread."""
        return self._model.count_tokens(messages, tools)

    def body(self, request: Request) -> bytes:
        """Return the model's body."""
        return body_of(self._model, request)

    async def prepare(self) -> None:
        """Prepare the model, the first time. Later each of its calls does so."""
        if not self._ready:
            await self._there(self._model.prepare())
            self._ready = True

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Yield the model's deltas. Closing the generator, or cancelling the task that reads it, ends the call."""
        arriving = _Arriving()
        call = asyncio.run_coroutine_threadsafe(self._send(request, arriving), self._own().loop)
        call.add_done_callback(lambda _: arriving.put(None, wake=True))
        over = False
        try:
            while not over:
                for delta in await arriving.take():
                    if delta is None:
                        over = True
                    else:
                        yield delta
            call.result()
        except CancelledError:  # of concurrent.futures: the thread's loop was ended during the call
            raise asyncio.CancelledError from None
        finally:
            call.cancel()

    async def aclose(self) -> None:
        """Close the model. Closing the last one ends the thread."""
        if self not in _in_use:
            return
        await self._there(self._model.aclose())
        with _lock:
            _in_use.discard(self)
            over: list[OwnLoop] = []
            if not _in_use:
                over.append(_loop.pop())
        for own in over:
            own.end()
            await in_thread(own.join, CLOSING_S)

    async def _send(self, request: Request, arriving: _Arriving) -> None:
        streams = request.config.stream is not False
        async with aclosing(self._model.stream(request)) as deltas:
            async for delta in deltas:
                # The end of the call wakes the reader, too: once is enough for a whole reply.
                arriving.put(delta, wake=streams and not isinstance(delta, Finish))

    async def _there(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._own().loop))

    def _own(self) -> OwnLoop:
        with _lock:
            _in_use.add(self)
            if not _loop:
                _loop.append(OwnLoop())
                _loop[0].loop.set_default_executor(_Preparing(thread_name_prefix="whisper_nb call"))
            return _loop[0]


class _Preparing(ThreadPoolExecutor):
    """The threads in which LiteLLM prepares calls: each returns a coroutine, which makes the call.

    A call that is cancelled meanwhile never awaits it, and Python would warn of that.
    """

    def submit(self, function: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[Any]:
        def prepare() -> Any:
            made = function(*args, **kwargs)
            return _Disposable(made) if asyncio.iscoroutine(made) else made

        return super().submit(prepare)


class _Disposable(Coroutine[Any, Any, Any]):
    """A coroutine that may be dropped before it has started."""

    __slots__ = ("_coroutine", "_started")

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine
        self._started = False

    def send(self, value: Any) -> Any:
        self._started = True
        return self._coroutine.send(value)

    def throw(self, *error: Any) -> Any:
        self._started = True
        return self._coroutine.throw(*error)

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        self._started = True
        return self._coroutine.__await__()

    def __del__(self) -> None:
        if not self._started:
            self._coroutine.close()


class _Arriving:
    """A queue from one event loop to another, which is woken once for all items since it was last woken."""

    __slots__ = ("_bell", "_items", "_loop", "_rung")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._bell = asyncio.Event()
        self._items: deque[Delta | None] = deque()
        self._rung = False

    def put(self, item: Delta | None, *, wake: bool) -> None:
        """Add an item, from the other thread.

        Args:
            item: None at the end.
            wake: whether the reader is to take it now, and not with the next item.
        """
        self._items.append(item)
        if wake and not self._rung:
            self._rung = True
            with suppress(RuntimeError):  # the reader's loop is closed
                self._loop.call_soon_threadsafe(self._ring)

    async def take(self) -> list[Delta | None]:
        """Wait for an item. Return all items."""
        await self._bell.wait()
        self._bell.clear()
        return [self._items.popleft() for _ in range(len(self._items))]

    def _ring(self) -> None:
        self._rung = False
        self._bell.set()
