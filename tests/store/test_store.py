from __future__ import annotations

import logging

import pytest

from whisper_nb.core.events import HistoryReset, Record
from whisper_nb.store.memory import MemoryStore
from whisper_nb.store.observers import Observers


def record(seq: int, agent: str = "bob", run: str | None = None) -> Record:
    return Record(seq, 0.0, agent, run, HistoryReset())


async def test_what_is_kept_comes_back_oldest_first() -> None:
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


def test_observers_hear_everything_in_order_until_they_are_taken_off() -> None:
    observers, heard = Observers(), list[str]()
    first = observers.add(lambda one: heard.append(f"first {one.seq}"))
    observers.add(lambda one: heard.append(f"second {one.seq}"))
    observers.notify(record(1))
    first()
    observers.notify(record(2))
    assert heard == ["first 1", "second 1", "second 2"]


def test_taking_off_twice_does_no_harm_to_another_who_added_the_same() -> None:
    observers, heard = Observers(), list[Record]()
    drop = observers.add(heard.append)
    observers.add(heard.append)
    drop()
    drop()
    observers.notify(record(1))
    assert len(heard) == 1


def test_an_observer_that_fails_is_logged_and_dropped_and_the_others_go_on(caplog: pytest.LogCaptureFixture) -> None:
    observers, heard = Observers(), list[int]()

    def broken(one: Record) -> None:
        heard.append(-one.seq)
        raise ZeroDivisionError

    drop = observers.add(broken)
    observers.add(lambda one: heard.append(one.seq))
    with caplog.at_level(logging.ERROR, "whisper_nb"):
        observers.notify(record(1))
        observers.notify(record(2))
    assert heard == [-1, 1, 2]
    (entry,) = caplog.records
    assert "failed and was dropped, at HistoryReset" in entry.getMessage()
    assert entry.exc_info
    drop()


def test_an_observer_may_take_itself_or_another_off_while_it_hears() -> None:
    observers, heard = Observers(), list[str]()

    def once(one: Record) -> None:
        heard.append("once")
        drop()

    def drops_and_fails(one: Record) -> None:
        drop_failing()
        raise ZeroDivisionError

    drop = observers.add(once)
    drop_failing = observers.add(drops_and_fails)
    observers.add(lambda _: heard.append("last"))
    observers.notify(record(1))
    observers.notify(record(2))
    assert heard == ["once", "last", "last"]


def test_one_who_is_added_meanwhile_hears_the_next() -> None:
    observers, heard = Observers(), list[int]()

    def inviting(one: Record) -> None:
        if one.seq == 1:
            observers.add(lambda later: heard.append(later.seq))

    observers.add(inviting)
    for seq in (1, 2):
        observers.notify(record(seq))
    assert heard == [2]
