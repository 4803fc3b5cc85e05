"""Agents that go on by themselves until a reply says that they are done."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.doubles import FunctionModel, hire
from whisper_nb import Agent, RunFailed, Runtime
from whisper_nb.config.agentfiles import agent_file, read_agents
from whisper_nb.config.kinds import ContinuationPolicy, problem_with
from whisper_nb.config.promptfiles import Prompts
from whisper_nb.core.continuing import Continuation, without_mark
from whisper_nb.core.errors import ConfigError, TurnLimitExceeded
from whisper_nb.core.events import ModelReplied, Noticed, RunContinued
from whisper_nb.core.messages import CallDelta, Delta, Finish, TextDelta, Usage
from whisper_nb.engine.projection import fold
from whisper_nb.models.model import Request
from whisper_nb.notebook.cells.explain import agent_rows, limits_line
from whisper_nb.notebook.cells.render import run_text


def rows() -> int:
    """Count the rows."""
    return 3


class Replies(FunctionModel):
    """Answers with these texts, one a call; `rows` is a call of that tool. The last one is repeated."""

    def __init__(self, *replies: str) -> None:
        super().__init__(self._stream)
        self._replies = list(replies)
        self.requests: list[Request] = []

    async def _stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        reply = self._replies.pop(0) if len(self._replies) > 1 else self._replies[0]
        if reply == "rows":
            yield CallDelta(0, "a", "rows", "{}")
            yield Finish("tool_calls", Usage(1, 1))
            return
        yield TextDelta(reply)
        yield Finish("stop", Usage(1, 1))


def events_of(run: Any, kind: type) -> list[Any]:
    return [record.event for record in run.events if isinstance(record.event, kind)]


async def test_an_agent_goes_on_by_itself_until_it_says_that_it_is_done(runtime: Runtime) -> None:
    model = Replies("One.", "rows", "Two.", "All three:\n- one\n\nDONE\n", "never")
    bob = hire(runtime, model, continuation=5, tools=[rows])
    run = bob.submit("Do three things")
    assert await run == run.text == "All three:\n- one"
    assert [event.reason for event in events_of(run, RunContinued)] == ["continuation"] * 2
    assert not events_of(run, Noticed)
    texts = [message.text for message in bob.history]
    second, third = (event.prompt for event in events_of(run, RunContinued))
    assert texts == ["Do three things", "One.", second, "", "3", "Two.", third, "All three:\n- one\n\nDONE\n"]
    assert ("(2 of 5)" in second, "(3 of 5)" in third) == (True, True)
    assert [message.text for message in model.requests[-1].messages][1:] == texts[:-1]


async def test_the_model_is_told_at_the_end_of_the_system_prompt_how_to_say_that_it_is_done(runtime: Runtime) -> None:
    model = Replies("FINISHED")
    await hire(runtime, model, system_prompt="Be Bob.", continuation={"until": "FINISHED"}).submit("go")
    system = model.requests[0].messages[0].text
    assert system.startswith("Be Bob.\n\n")
    assert system.endswith("with a line that says only: FINISHED")
    assert Agent(name="bob", system_prompt="Be Bob.").instructions == "Be Bob."


async def test_at_the_most_iterations_the_run_succeeds_with_what_it_has_and_says_so(runtime: Runtime) -> None:
    run = hire(runtime, Replies("One.", "Two.", "never"), continuation={"max_iterations": 2}).submit("go")
    assert await run == "Two."
    assert len(events_of(run, ModelReplied)) == 2
    (notice,) = events_of(run, Noticed)
    assert notice.text.startswith("bob stopped after 2 replies, none of which ended with DONE")


async def test_iterations_count_as_turns(runtime: Runtime) -> None:
    run = hire(runtime, Replies("On."), continuation=5, max_turns=3).submit("go")
    with pytest.raises(RunFailed, match="more than 3 turns"):
        await run
    assert isinstance(run.error, TurnLimitExceeded)
    assert run.text == "On."


async def test_each_run_counts_its_own_iterations(runtime: Runtime) -> None:
    bob = hire(runtime, Replies("One.", "Two.", "Three.", "Four."), continuation=2)
    assert await bob.submit("go") == "Two."
    assert await bob.submit("go") == "Four."


async def test_if_the_last_reply_only_says_that_it_is_done_the_text_is_the_reply_before(runtime: Runtime) -> None:
    bob = hire(runtime, Replies("The sum is 4.", "rows", "**DONE**"), continuation=5, tools=[rows])
    run = bob.submit("go")
    assert await run == run.text == "The sum is 4."
    assert fold(runtime.store.records()).runs[run.id].text == "The sum is 4."
    assert await hire(runtime, Replies("DONE"), name="amy", continuation=5).submit("go") == ""


async def test_a_run_that_fails_or_has_no_continuation_keeps_the_line(runtime: Runtime) -> None:
    assert await hire(runtime, Replies("Yes.\nDONE")).submit("go") == "Yes.\nDONE"


async def test_the_records_give_the_same_text_and_history(runtime: Runtime) -> None:
    bob = hire(runtime, Replies("One.", "Two.\nDONE"), continuation=5)
    run = bob.submit("go")
    await run
    state = fold(runtime.store.records())
    assert list(state.history) == list(bob.history)
    assert state.runs[run.id].text == run.text == "Two."


@pytest.mark.parametrize(
    ("reply", "done"),
    [
        ("DONE", True),
        ("All checked. DONE", True),
        ("All checked.\n\n**DONE**\n\n", True),
        ("DONE\nand one more thing", False),
        ("I am not done yet", False),
        ("", False),
    ],
)
def test_the_last_line_of_a_reply_says_whether_it_is_done(reply: str, done: bool) -> None:
    assert Continuation().is_done(reply) is done


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Three.\n\nDONE", "Three."),
        ("Three.\n> **DONE**.\n", "Three."),
        ("DONE", ""),
        ("All checked. DONE", "All checked. DONE"),
        ("Three.", "Three."),
        ("DONE\nThree.", "DONE\nThree."),
    ],
)
def test_the_line_that_says_so_is_no_part_of_the_text(text: str, left: str) -> None:
    assert without_mark(text, "DONE") == left


@given(st.text(), st.text())
def test_the_text_before_the_line_is_unchanged(text: str, until: str) -> None:
    assert text.startswith(without_mark(text, until))


async def test_a_person_sees_that_it_goes_on_and_how(runtime: Runtime) -> None:
    run = hire(runtime, Replies("One.", "Two.\nDONE"), continuation=5).submit("go")
    await run
    assert "going on by itself: Go on (2 of 5)" in run_text(run)
    assert limits_line(run.session.agent).endswith("goes on by itself up to 5 times, until DONE")
    assert {"field": "continuation", "value": "up to 5 times, until DONE", "from": "agent bob"} in agent_rows(
        run.session.agent
    )


# How it is written


@pytest.mark.parametrize(
    ("given_", "meant"),
    [
        (3, Continuation(3)),
        ({}, Continuation()),
        ({"max_iterations": 4, "until": " FINISHED "}, Continuation(4, "FINISHED")),
        (Continuation(2), Continuation(2)),
    ],
)
def test_the_forms_of_a_continuation(given_: Any, meant: Continuation) -> None:
    agent = Agent(name="bob", continuation=given_)
    assert agent.continuation == meant
    name, text = agent_file(agent)
    entry = (read_agents(text.encode(), name, name, Prompts()) or {})["bob"]
    assert entry.agent == agent


@pytest.mark.parametrize(
    ("given_", "said"),
    [
        (1, "from 2 to 100"),
        (True, "from 2 to 100"),
        ("often", "from 2 to 100"),
        ({"max_iterations": 1000}, "from 2 to 100"),
        ({"maximum": 3}, "unknown key 'maximum'; known are max_iterations and until"),
        ({"until": ""}, "needs a word or a line of text as until, not ''"),
        ({"until": "a\nb"}, "needs a word or a line of text"),
        ({"until": 5}, "needs a word or a line of text"),
    ],
)
def test_a_bad_continuation_is_an_error_that_says_what_is_allowed(given_: Any, said: str) -> None:
    assert said in problem_with(ContinuationPolicy(), "continuation", given_)
    with pytest.raises(ConfigError, match="agent 'bob': continuation "):
        Agent(name="bob", continuation=given_)


def test_a_continuation_and_an_output_type_exclude_each_other(runtime: Runtime) -> None:
    with pytest.raises(ConfigError, match=r"goes on until a line of text says that it is done.*leave out one"):
        Agent(name="bob", continuation=3, output_type=int)
    bob = hire(runtime, Replies("never"), continuation=3)
    with pytest.raises(ConfigError, match="bob: an agent with a continuation goes on"):
        bob.submit("go", output_type=int)
    assert not bob.runs


async def test_a_run_of_text_goes_on_also_where_it_says_that_it_is_text(runtime: Runtime) -> None:
    bob = hire(runtime, Replies("One.", "Two.\nDONE"), continuation=3)
    run = bob.submit("go", output_type=str)
    await run
    assert run.text == "Two."
