"""Handles: objects that stand for something that runs in this process, and are no data."""

from __future__ import annotations

import sys
from difflib import get_close_matches
from typing import NoReturn

from .errors import as_ours

#: What a handle says to those who take it for a coroutine or a future.
_NO_TASK = (
    "write `await run` or asyncio.gather(run), or asyncio.ensure_future(run) where a task is needed; "
    "run.result() in a thread"
)


class Handle:
    """A base for handles. A copy of one is the same object; it cannot be stored or sent to another process."""

    __slots__ = ()

    def _instead(self) -> str:
        """Return what it is, and what to store instead."""
        raise NotImplementedError

    def __dir__(self) -> list[str]:
        """List the public names alone, for completion."""
        return [name for name in super().__dir__() if not name.startswith("_")]

    def __copy__(self) -> object:
        return self

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError(f"cannot copy {self._instead()}")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"cannot store {self._instead()}")


class AwaitableHandle(Handle):
    """A handle to await, which is neither a coroutine nor a future, and says so where it is taken for one."""

    __slots__ = ()

    def _described(self) -> str:
        """Return its repr."""
        raise NotImplementedError

    def __repr__(self) -> str:
        described = self._described()
        # asyncio's errors show what it got in place of a coroutine. `asyncio.Task`, in C, has no frame of its own.
        caller = sys._getframe(1)
        if caller.f_globals.get("__name__", "").startswith("asyncio.") or "Task" in caller.f_code.co_names:
            described += f" ({_NO_TASK})"
        return described

    def __getattr__(self, name: str) -> NoReturn:
        if name in ("add_done_callback", "_condition"):  # for asyncio.wait, and that of concurrent.futures
            raise AttributeError(f"{self._described()} is no future: {_NO_TASK}")
        text = f"{type(self).__name__!r} object has no attribute {name!r}"
        if not name.startswith("_") and (found := get_close_matches(name, dir(self), 1)):  # front ends look for many _
            text += f"; did you mean {found[0]!r}?"
        raise as_ours(AttributeError(text))
