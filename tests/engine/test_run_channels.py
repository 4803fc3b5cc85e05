from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

from support.doubles import FunctionModel, hire, observed_by, settled
from whisper_nb import Rule, Runtime, ScriptedModel
from whisper_nb.core.events import ModelReplied, TextStreamed
from whisper_nb.core.messages import CallDelta, Delta, Finish, ReasoningDelta, TextDelta, Usage
from whisper_nb.engine.projection import RunState
from whisper_nb.models.model import Request


def rows() -> int:
    """Count the rows."""
    return 3


class Turns(FunctionModel):
    """Answers each call with the next list of deltas, and keeps the requests."""

    def __init__(self, *turns: Iterable[Delta]) -> None:
        super().__init__(self._stream)
        self._turns = iter(turns)
        self.requests: list[Request] = []

    async def _stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        self.requests.append(request)
        for delta in next(self._turns):
            yield delta


THINKS = (
    (
        ReasoningDelta("I should "),
        ReasoningDelta("count."),
        TextDelta("I look."),
        CallDelta(0, "a", "rows", "{}"),
        Finish("tool_calls", Usage(1, 1)),
    ),
    (TextDelta("<think>That "), TextDelta("is three.</think>"), TextDelta("Three."), Finish("stop", Usage(1, 1))),
)


async def test_the_thoughts_of_all_turns_are_apart_from_the_text(runtime: Runtime) -> None:
    run = hire(runtime, Turns(*THINKS), tools=[rows]).submit("How many?")
    assert await run == run.text == "Three."
    assert run.thoughts == "I should count.\n\nThat is three."
    replies = [record.event for record in run.events if isinstance(record.event, ModelReplied)]
    assert [(reply.channel, reply.message.text) for reply in replies] == [
        ("commentary", "I look."),
        ("final", "Three."),
    ]


async def test_reasoning_is_published_as_such_and_not_stored(runtime: Runtime) -> None:
    heard = observed_by(runtime)
    run = hire(runtime, Turns(*THINKS), tools=[rows]).submit("How many?")
    await run
    pieces = [(one.event.channel, one.event.text) for one in heard if isinstance(one.event, TextStreamed)]
    assert pieces == [
        ("analysis", "I should "),
        ("analysis", "count."),
        ("final", "I look."),
        ("analysis", "That "),
        ("analysis", "is three."),
        ("final", "Three."),
    ]
    assert not any(isinstance(record.event, TextStreamed) for record in run.events)


async def test_the_stream_of_a_text_has_no_reasoning(runtime: Runtime) -> None:
    run = hire(runtime, Turns(*THINKS), tools=[rows]).submit("How many?")
    assert "".join([piece async for piece in run.stream_text()]) == "I look.\n\nThree."


async def test_thoughts_grow_while_the_model_thinks_and_are_kept_when_it_fails(runtime: Runtime) -> None:
    run = hire(runtime, Turns([ReasoningDelta("I should "), ReasoningDelta("count.")])).submit("How many?")
    seen: list[str] = []
    runtime.observe(lambda record: seen.append(run.thoughts) if isinstance(record.event, TextStreamed) else None)
    await settled(run)
    assert seen == ["I should ", "I should count."]
    assert (run.status, run.thoughts, run.text) == ("failed", "I should count.", "")


async def test_a_run_without_reasoning_has_no_thoughts(runtime: Runtime) -> None:
    run = hire(runtime, ScriptedModel([Rule(reply="three")])).submit("How many?")
    assert run.thoughts == ""
    await run
    assert run.thoughts == ""


async def test_thoughts_are_never_sent_to_a_model(runtime: Runtime) -> None:
    model = Turns(*THINKS, (TextDelta("Again: three."), Finish("stop")))
    bob = hire(runtime, model, tools=[rows])
    await bob.submit("How many?")
    await bob.submit("Sure?")
    texts = [message.text for message in model.requests[-1].messages[1:]]
    assert texts == ["How many?", "I look.", "3", "Three.", "Sure?"]


async def test_the_records_give_the_thoughts(runtime: Runtime) -> None:
    run = hire(runtime, Turns(*THINKS), tools=[rows]).submit("How many?")
    await run
    state = RunState(run.id)
    for record in run.events:
        state._apply(record)
    assert state.thoughts == run.thoughts
