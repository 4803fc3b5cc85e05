"""Handles: objects that stand for something that runs in this process, and are no data."""

from __future__ import annotations

from typing import NoReturn


class Handle:
    """A base for handles. A copy of one is the same object; it cannot be stored or sent to another process."""

    __slots__ = ()

    def _instead(self) -> str:
        """Return what it is, and what to store instead."""
        raise NotImplementedError

    def __copy__(self) -> object:
        return self

    def __deepcopy__(self, memo: object) -> NoReturn:
        raise TypeError(f"cannot copy {self._instead()}")

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError(f"cannot store {self._instead()}")
