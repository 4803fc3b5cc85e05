from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.core.events import HistoryReset, Record
from whisper_nb.store.memory import MemoryStore


def record(seq: int, agent: str = "bob", run: str | None = None) -> Record:
    return Record(seq, 0.0, agent, run, HistoryReset())


async def test_records_are_returned_oldest_first() -> None:
    store = MemoryStore()
    records = [record(1), record(2, "eve", "eve#1"), record(3, "bob", "bob#1"), record(4, "bob", "bob#2")]
    for one in records:
        await store.append(one)
    assert store.records() == records
    assert [one.seq for one in store.records("bob")] == [1, 3, 4]
    assert [one.seq for one in store.records(run="bob#2")] == [4]
    assert store.records("eve", "bob#1") == []
    await store.aclose()


async def test_a_full_store_forgets_the_oldest() -> None:
    store = MemoryStore(capacity=2)
    for seq in (1, 2, 3):
        await store.append(record(seq))
    assert [one.seq for one in store.records()] == [2, 3]


@given(
    st.integers(0, 6),
    st.lists(st.tuples(st.sampled_from(["bob", "eve"]), st.sampled_from([None, 1, 2])), max_size=12),
)
async def test_the_index_finds_the_same_records_as_a_linear_search(
    capacity: int, kept: list[tuple[str, int | None]]
) -> None:
    store = MemoryStore(capacity)
    records = [record(seq, agent, run and f"{agent}#{run}") for seq, (agent, run) in enumerate(kept)]
    for one in records:
        await store.append(one)
    newest = records[len(records) - min(capacity, len(records)) :]
    assert store.records() == newest
    for agent in ("bob", "eve"):
        assert store.records(agent) == [one for one in newest if one.agent == agent]
        assert store.records(run=f"{agent}#1") == [one for one in newest if one.run == f"{agent}#1"]
        assert store.records("bob", f"{agent}#1") == [one for one in store.records("bob") if one.run == f"{agent}#1"]
