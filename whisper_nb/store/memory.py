"""A store in memory."""

from __future__ import annotations

from collections import deque

from ..core.events import Record


class MemoryStore:
    """A Store that lives as long as its process and keeps the newest `capacity` records."""

    def __init__(self, capacity: int = 100_000) -> None:
        self._records: deque[Record] = deque(maxlen=capacity)

    async def append(self, record: Record) -> None:
        """Keep the record; the oldest goes when the store is full."""
        self._records.append(record)

    def records(self, agent: str | None = None, run: str | None = None) -> list[Record]:
        """What is kept, oldest first, of one agent or one run."""
        return [
            record
            for record in tuple(self._records)  # which another thread may add to
            if (agent is None or record.agent == agent) and (run is None or record.run == run)
        ]

    async def aclose(self) -> None:
        """Nothing to let go of."""
