"""The fold: a session's records give its state. `test_session.py` compares both after every step of a random game."""

from __future__ import annotations

from whisper_nb.core.events import (
    Event,
    ModelReplied,
    Priority,
    Record,
    RunContinued,
    RunFinished,
    RunMoved,
    RunQueued,
    RunStarted,
    ToolFinished,
)
from whisper_nb.core.messages import AssistantMessage, ToolCall, ToolMessage, Usage, UserMessage
from whisper_nb.core.states import State
from whisper_nb.engine.projection import HISTORY_KEPT, RUNS_KEPT, fold


def records(*events: tuple[str | None, Event]) -> list[Record]:
    return [Record(seq, 100.0 + seq, "bob", run, event) for seq, (run, event) in enumerate(events)]


def queued(number: int, priority: Priority = "normal") -> tuple[str, Event]:
    return f"bob#{number}", RunQueued(f"prompt {number}", priority, number)


def one_run(number: int) -> list[tuple[str | None, Event]]:
    id_ = f"bob#{number}"
    return [
        queued(number),
        (id_, RunStarted(f"prompt {number}", "openai/x")),
        (id_, ModelReplied(AssistantMessage(f"reply {number}"), Usage(1, 2), 0.5)),
        (id_, RunFinished("succeeded")),
    ]


def test_no_records_give_an_idle_session() -> None:
    empty = fold([])
    assert (empty.state, empty.queue, empty.current, list(empty.history)) == (State(), [], None, [])


def test_a_run_leaves_the_queue_and_enters_the_history() -> None:
    story = records(*one_run(1))
    assert [run.id for run in fold(story[:1]).queue] == ["bob#1"]
    claimed = fold(story[:2])
    assert claimed.current is not None
    assert (claimed.queue, claimed.state) == ([], State("running"))
    assert claimed.draft_messages == [UserMessage("prompt 1")]
    assert list(claimed.history) == []
    done = fold(story)
    assert (done.current, done.state) == (None, State())
    assert done.history == [UserMessage("prompt 1"), AssistantMessage("reply 1")]
    run = done.runs["bob#1"]
    assert (run.outcome, run.text, run.usage, run.cost) == ("succeeded", "reply 1", Usage(1, 2), 0.5)
    assert (run.started_at, run.finished_at) == (101.0, 103.0)
    assert done.spent.known == 0.5


def test_the_queue_is_in_the_order_of_starting() -> None:
    story = records(queued(1, "low"), queued(2), queued(3, "urgent"), ("bob#1", RunMoved("normal", "bob#2")))
    assert [run.id for run in fold(story[:3]).queue] == ["bob#3", "bob#2", "bob#1"]
    assert [run.id for run in fold(story).queue] == ["bob#3", "bob#1", "bob#2"]


def test_the_newest_runs_and_all_unfinished_runs_are_kept() -> None:
    runs = [event for number in range(1, RUNS_KEPT + 3) for event in one_run(number)]
    state = fold(records(queued(10_000, "low"), *runs, queued(10_001)))
    assert len(state.runs) == RUNS_KEPT
    assert {"bob#10000", "bob#10001", f"bob#{RUNS_KEPT + 2}"} <= state.runs.keys()
    assert "bob#1" not in state.runs


def test_records_without_their_beginning_leave_other_sessions_alone() -> None:
    """As a bounded store keeps them. Sessions without a history share an empty one."""
    for missing in range(1, 4):
        fold(records(*one_run(1), *one_run(2))[missing:])
        assert [list(shared) for shared in (fold([]).history, fold([]).draft)] == [[], []]
    assert fold(records(*one_run(1), *one_run(2))[2:]).history == [UserMessage("prompt 2"), AssistantMessage("reply 2")]


def test_the_history_is_bounded_and_loses_whole_exchanges() -> None:
    runs = HISTORY_KEPT // 2 + 1
    state = fold(records(*(event for number in range(1, runs + 1) for event in one_run(number))))
    assert 0.8 * HISTORY_KEPT < len(state.history) <= HISTORY_KEPT
    assert state.dropped == 2 * runs - len(state.history)
    assert isinstance(state.history[0], UserMessage)
    assert state.history[-1] == AssistantMessage(f"reply {runs}")


def test_a_run_that_is_longer_than_a_history_does_not_leave_its_rest() -> None:
    """A history that begins with a tool's result is refused by providers."""
    calls = [AssistantMessage("", (ToolCall(str(number), "now", "{}"),)) for number in range(HISTORY_KEPT // 2)]
    results = [ToolMessage(str(number), "now", "noon") for number in range(len(calls))]
    turns = [
        (ModelReplied(call, None, None), ToolFinished(result)) for call, result in zip(calls, results, strict=True)
    ]
    start, reply, end = one_run(1)[:2], one_run(1)[2:-1], one_run(1)[-1:]
    state = fold(records(*start, *(("bob#1", event) for turn in turns for event in turn), *reply, *end))
    assert (list(state.history), state.dropped) == ([], 2 + 2 * len(calls))


def test_a_run_that_goes_on_by_itself_keeps_all_its_turns_in_the_history() -> None:
    queued_, start, reply, end = one_run(1)
    more: list[tuple[str | None, Event]] = [("bob#1", RunContinued("score is missing", "invalid"))]
    going_on = fold(records(queued_, start, reply, *more))
    assert going_on.turn == [UserMessage("score is missing", goes_on=True)]
    assert going_on.draft_messages == [
        UserMessage("prompt 1"),
        AssistantMessage("reply 1"),
        UserMessage("score is missing", goes_on=True),
    ]
    done = fold(records(queued_, start, reply, *more, reply, end))
    assert done.history == [*going_on.draft_messages, AssistantMessage("reply 1")]


def test_a_run_that_ends_before_its_next_reply_leaves_whole_turns() -> None:
    queued_, start, reply, _ = one_run(1)
    more = ("bob#1", RunContinued("score is missing", "invalid"))
    ended = fold(records(queued_, start, reply, more, ("bob#1", RunFinished("cancelled")), *one_run(2)))
    assert [message.text for message in ended.history] == ["prompt 1", "reply 1", "prompt 2", "reply 2"]
