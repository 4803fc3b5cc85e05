from __future__ import annotations

import itertools
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.core.errors import SessionError
from whisper_nb.core.states import Activity, Gate, State, Trigger, transition

TRIGGERS: tuple[Trigger, ...] = get_args(Trigger)
ACTIVITIES: tuple[Activity, ...] = get_args(Activity)
GATES: tuple[Gate, ...] = get_args(Gate)

#: Every legal transition: (axis value before, trigger) → axis value after.
ACTIVITY_TABLE = {
    ("idle", "start"): "running",
    ("running", "wait"): "waiting",
    ("waiting", "proceed"): "running",
    ("running", "finish"): "idle",
    ("waiting", "finish"): "idle",
}
GATE_TABLE = {
    ("open", "pause"): "paused",
    ("sleeping", "pause"): "paused",
    ("paused", "pause"): "paused",
    ("paused", "resume"): "open",
    ("sleeping", "resume"): "open",
    ("stopped", "resume"): "open",
    ("open", "resume"): "open",
    ("open", "sleep"): "sleeping",
    ("sleeping", "sleep"): "sleeping",
    ("sleeping", "wake"): "open",
    ("open", "wake"): "open",
    ("open", "stop"): "stopped",
    ("paused", "stop"): "stopped",
    ("sleeping", "stop"): "stopped",
    ("stopped", "stop"): "stopped",
    ("removed", "stop"): "removed",
    **{(gate, "remove"): "removed" for gate in GATES},
}


@pytest.mark.parametrize(("activity", "gate", "trigger"), [*itertools.product(ACTIVITIES, GATES, TRIGGERS)])
def test_every_transition_is_in_the_table_or_raises(activity: Activity, gate: Gate, trigger: Trigger) -> None:
    state = State(activity, gate)
    if (activity, trigger) in ACTIVITY_TABLE:
        assert transition(state, trigger) == State(ACTIVITY_TABLE[activity, trigger], gate)  # type: ignore[arg-type]
    elif (gate, trigger) in GATE_TABLE:
        assert transition(state, trigger) == State(activity, GATE_TABLE[gate, trigger])  # type: ignore[arg-type]
    else:
        with pytest.raises(SessionError):
            transition(state, trigger)


def test_an_illegal_transition_names_the_transitions_before_it() -> None:
    state = State()
    for trigger in ("start", "wait", "stop"):
        state = transition(state, trigger)
    with pytest.raises(SessionError, match=r"'start' is illegal while waiting/stopped .*start → wait → stop"):
        transition(state, "start")


def test_an_illegal_first_transition_says_that_there_were_none_before() -> None:
    with pytest.raises(SessionError, match="after: nothing"):
        transition(State(), "finish")


def test_a_running_session_cannot_start_a_run() -> None:
    with pytest.raises(SessionError):
        transition(transition(State(), "start"), "start")


@given(st.lists(st.sampled_from(TRIGGERS)))
def test_no_sequence_of_triggers_gives_an_undefined_state(triggers: list[Trigger]) -> None:
    state = State()
    for trigger in triggers:
        try:
            after = transition(state, trigger)
        except SessionError:
            continue
        # One trigger moves one axis.
        assert after.activity == state.activity or after.gate == state.gate
        state = after
    assert state.activity in ACTIVITIES
    assert state.gate in GATES
    assert len(state.trail) <= 8


@pytest.mark.parametrize(
    ("state", "label"),
    [
        (State(), "idle"),
        (State("running"), "running"),
        (State("waiting"), "waiting"),
        (State("idle", "paused"), "paused"),
        (State("running", "paused"), "paused (running)"),
        (State("idle", "sleeping"), "sleeping"),
        (State("waiting", "stopped"), "stopped (waiting)"),
    ],
)
def test_each_state_has_a_label(state: State, label: str) -> None:
    assert state.label == label


def test_states_with_different_trails_are_equal() -> None:
    there_and_back = transition(transition(State(), "pause"), "resume")
    assert there_and_back == State()
    assert repr(there_and_back) == repr(State())
