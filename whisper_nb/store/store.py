"""The protocol of a store of records."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..core.events import Record


class Store(Protocol):
    """Keeps records. A record is safe once `append` returns; only then do observers see it."""

    async def append(self, record: Record) -> None:
        """Keep the record. Cancellation may come before or after it is kept."""

    def records(self, agent: str | None = None, run: str | None = None) -> Iterable[Record]:
        """What is kept, oldest first, of one agent or one run."""

    async def aclose(self) -> None:
        """Let go of what the store holds."""
