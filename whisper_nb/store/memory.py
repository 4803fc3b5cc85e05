"""A store in memory."""

from __future__ import annotations

from collections import defaultdict, deque

from ..core.events import Record


class MemoryStore:
    """A Store that lives as long as its process.

    It is bounded: it keeps the newest `capacity` records, 100,000 by default. An index finds the records of one agent
    or one run without a walk over all others.
    """

    def __init__(self, capacity: int = 100_000) -> None:
        self._capacity = capacity
        self._records: deque[Record] = deque()
        self._by_agent: defaultdict[str, deque[Record]] = defaultdict(deque)
        self._by_run: defaultdict[str, list[Record]] = defaultdict(list)  # most are short; a deque takes 600 bytes

    async def append(self, record: Record) -> None:
        """Keep the record. When the store is full, drop the oldest."""
        self._records.append(record)
        self._by_agent[record.agent].append(record)
        if record.run is not None:
            self._by_run[record.run].append(record)
        if len(self._records) > self._capacity:
            self._drop_oldest()

    def records(self, agent: str | None = None, run: str | None = None) -> list[Record]:
        """Return the kept records, oldest first; only those of one agent or one run, if given. From any thread."""
        # Each copy is made in one step of the interpreter: another thread may append meanwhile.
        if run is not None:
            of_run = list(self._by_run.get(run, ()))
            return [record for record in of_run if agent is None or record.agent == agent]
        if agent is not None:
            return list(self._by_agent.get(agent, ()))
        return list(self._records)

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""

    def _drop_oldest(self) -> None:
        oldest = self._records.popleft()  # and so the first of its agent and of its run
        of_agent = self._by_agent[oldest.agent]
        of_agent.popleft()
        if not of_agent:
            del self._by_agent[oldest.agent]
        if oldest.run is not None:
            of_run = self._by_run[oldest.run]
            del of_run[0]
            if not of_run:
                del self._by_run[oldest.run]
