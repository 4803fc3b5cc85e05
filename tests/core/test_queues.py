from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.core.events import Priority
from whisper_nb.core.queues import PRIORITIES, move, next_to_start, start_order


@dataclass(eq=False)
class Item:
    """A run as a queue sees it."""

    number: int
    priority: Priority = "normal"
    needs: list[Item] = field(default_factory=list)
    session: int = 0
    done: bool = False
    place: int = 0

    def __post_init__(self) -> None:
        self.place = self.number

    @property
    def id(self) -> str:
        return f"bob#{self.number}"

    @property
    def ready(self) -> bool:
        return all(need.done for need in self.needs)


def ordered(*items: Item) -> list[Item]:
    return sorted(items, key=start_order)


def test_nothing_starts_from_an_empty_queue() -> None:
    assert next_to_start([]) is None


def test_higher_priority_starts_first() -> None:
    items = [Item(number, priority) for number, priority in enumerate(reversed(PRIORITIES), 1)]
    assert [item.priority for item in ordered(*items)] == ["urgent", "high", "normal", "low"]


def test_an_unready_run_lets_an_earlier_run_of_lower_priority_start() -> None:
    first = Item(1, "low")
    urgent = Item(2, "urgent", needs=[first])
    assert next_to_start(ordered(first, urgent)) is first


def test_an_unready_run_holds_back_a_later_run_of_lower_priority() -> None:
    elsewhere = Item(1, session=1)
    urgent = Item(1, "urgent", needs=[elsewhere])
    later = Item(2, "low")
    assert next_to_start(ordered(urgent, later)) is None


def test_an_unready_run_does_not_hold_back_a_later_run_of_higher_priority() -> None:
    elsewhere = Item(1, session=1)
    waits = Item(1, "normal", needs=[elsewhere])
    urgent = Item(2, "urgent")
    assert next_to_start(ordered(waits, urgent)) is urgent


def test_a_run_that_is_earlier_than_all_unready_runs_starts() -> None:
    elsewhere = Item(1, session=1)
    runs = [
        Item(1, "low"),
        Item(2, "high", needs=[elsewhere]),
        Item(3, "urgent", needs=[elsewhere]),
        Item(4, "normal"),
    ]
    assert next_to_start(ordered(*runs)) is runs[0]


@given(st.lists(st.sampled_from(PRIORITIES)))
def test_runs_of_equal_priority_start_first_in_first_out(priorities: list[Priority]) -> None:
    queue = ordered(*(Item(number, priority) for number, priority in enumerate(priorities, 1)))
    started: list[Item] = []
    while (item := next_to_start(queue)) is not None:
        queue.remove(item)
        started.append(item)
    assert not queue
    for priority in PRIORITIES:
        numbers = [item.number for item in started if item.priority == priority]
        assert numbers == sorted(numbers)
    assert [PRIORITIES.index(item.priority) for item in started] == sorted(map(PRIORITIES.index, priorities))


@st.composite
def teams(draw: st.DrawFn) -> list[Item]:
    """Runs over three sessions in the order of their submission; each needs some of those before it."""
    items: list[Item] = []
    for _ in range(draw(st.integers(1, 14))):
        session = draw(st.integers(0, 2))
        needs = draw(st.lists(st.sampled_from(items), max_size=3)) if items else []
        number = sum(item.session == session for item in items) + 1
        items.append(Item(number, draw(st.sampled_from(PRIORITIES)), needs, session))
    return items


@given(teams(), st.randoms(use_true_random=False))
def test_no_combination_of_priorities_and_needs_deadlocks(items: list[Item], random: object) -> None:
    """Whichever session starts a run next, all runs finish, and none starts before it is ready."""
    queues = {session: ordered(*(item for item in items if item.session == session)) for session in range(3)}
    running: list[Item] = []
    while any(queues.values()) or running:
        busy = {item.session for item in running}
        startable = [
            item
            for session, queue in queues.items()
            if session not in busy and (item := next_to_start(queue)) is not None
        ]
        assert startable or running, "a deadlock"
        item = random.choice([*startable, *running])  # type: ignore[attr-defined]
        if item in running:
            running.remove(item)
            item.done = True
        else:
            assert item.ready
            queues[item.session].remove(item)
            running.append(item)


def queue_of(*priorities: Priority) -> list[Item]:
    return ordered(*(Item(number, priority) for number, priority in enumerate(priorities, 1)))


def numbers(queue: list[Item]) -> list[int]:
    return [item.number for item in queue]


def test_a_run_can_be_moved_before_another_run() -> None:
    queue = queue_of("normal", "normal", "normal", "normal")
    move(queue, queue[3], "normal", "bob#2")
    assert numbers(queue) == [1, 4, 2, 3]
    move(queue, queue[0], "normal", "bob#3")
    assert numbers(queue) == [4, 2, 1, 3]


def test_a_run_whose_priority_changes_comes_last_in_its_new_priority() -> None:
    queue = queue_of("high", "low", "high")
    move(queue, queue[2], "high", None)
    assert (numbers(queue), queue[2].priority) == ([1, 3, 2], "high")


def test_a_move_before_a_run_that_has_gone_puts_the_run_last() -> None:
    queue = queue_of("normal", "normal")
    move(queue, queue[0], "normal", "bob#7")
    assert numbers(queue) == [2, 1]


moves = st.lists(st.tuples(st.integers(0, 7), st.sampled_from(PRIORITIES), st.integers(0, 7)), max_size=20)


@given(st.lists(st.sampled_from(PRIORITIES), min_size=8, max_size=8), moves)
def test_moves_keep_a_queue_in_order_and_new_runs_last(
    priorities: list[Priority], steps: list[tuple[int, Priority, int]]
) -> None:
    queue = queue_of(*priorities)
    for index, priority, before in steps:
        run, other = queue[index], queue[before]
        move(queue, run, priority, other.id)
        assert queue == ordered(*queue)
        assert run.priority == priority
        if other is not run and other.priority == priority:
            assert queue.index(other) == queue.index(run) + 1
    assert sorted(numbers(queue)) == list(range(1, 9))
    for priority in PRIORITIES:
        queue = ordered(*queue, last := Item(9, priority))
        peers = [item for item in queue if item.priority == priority]
        assert peers[-1] is last
        queue.remove(last)
