from __future__ import annotations

import asyncio
import logging

import pytest

from whisper_nb.core.events import HistoryReset, Record
from whisper_nb.store.observers import Observers


def record(seq: int) -> Record:
    return Record(seq, 0.0, "bob", None, HistoryReset())


def test_observers_receive_all_records_in_order_until_they_are_removed() -> None:
    observers, heard = Observers(), list[str]()
    first = observers.add(lambda one: heard.append(f"first {one.seq}"))
    observers.add(lambda one: heard.append(f"second {one.seq}"))
    observers.notify(record(1))
    first()
    observers.notify(record(2))
    assert heard == ["first 1", "second 1", "second 2"]


def test_removing_an_observer_twice_keeps_an_equal_observer() -> None:
    observers, heard = Observers(), list[Record]()
    drop = observers.add(heard.append)
    observers.add(heard.append)
    drop()
    drop()
    observers.notify(record(1))
    assert len(heard) == 1


def test_a_failing_observer_is_logged_and_removed_and_the_others_continue(caplog: pytest.LogCaptureFixture) -> None:
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
    assert "failed and was removed, at HistoryReset" in entry.getMessage()
    assert entry.exc_info
    drop()


def test_an_observer_may_remove_itself_or_another_during_a_call() -> None:
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


def test_an_observer_that_is_added_during_a_call_receives_the_next_record() -> None:
    observers, heard = Observers(), list[int]()

    def inviting(one: Record) -> None:
        if one.seq == 1:
            observers.add(lambda later: heard.append(later.seq))

    observers.add(inviting)
    for seq in (1, 2):
        observers.notify(record(seq))
    assert heard == [2]


def notified(error: BaseException, *, in_cell: bool = False) -> list[str]:
    """Notify three observers twice, of which the second raises; return the calls."""
    observers, calls = Observers[Record](), list[str]()

    def raising(_: Record) -> None:
        calls.append("raising")
        raise error

    observers.add(lambda _: calls.append("first"))
    observers.add(raising)
    observers.add(lambda _: calls.append("last"))
    for seq in (1, 2):
        try:
            observers.notify(record(seq), in_cell=in_cell)
        except BaseException as raised:
            calls.append(type(raised).__name__)
    return calls


@pytest.mark.parametrize("error", [ValueError(), SystemExit(), GeneratorExit(), asyncio.CancelledError()])
@pytest.mark.parametrize("in_cell", [True, False])
def test_an_observer_that_raises_any_error_is_removed(error: BaseException, in_cell: bool) -> None:
    assert notified(error, in_cell=in_cell) == ["first", "raising", "last", "first", "last"]


def test_an_interrupt_of_a_cell_reaches_the_cell_and_removes_no_observer() -> None:
    assert notified(KeyboardInterrupt(), in_cell=True) == ["first", "raising", "last", "KeyboardInterrupt"] * 2


def test_an_observer_cannot_end_the_loop_with_a_keyboard_interrupt() -> None:
    assert notified(KeyboardInterrupt()) == ["first", "raising", "last", "first", "last"]


def test_a_test_runners_outcome_passes_through_an_observer() -> None:
    assert notified(pytest.fail.Exception("no"), in_cell=False) == ["first", "raising", "last", "Failed"] * 2
