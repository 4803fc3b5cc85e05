"""The protocol of a store of records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..core.events import Record


class Store(Protocol):
    """Keeps records. Once `append` returns, a record is safe; only then do observers see it."""

    async def append(self, record: Record) -> None:
        """Keep the record. Cancellation may come before or after it is kept."""

    def records(self, agent: str | None = None, run: str | None = None) -> Iterable[Record]:
        """Return the kept records, oldest first; only those of one agent or one run, if given."""

    async def aclose(self) -> None:
        """Release the store's resources."""
