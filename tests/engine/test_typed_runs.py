"""Runs with an output type: the answer is an instance, or is asked for again, or the run fails and keeps the text."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import pytest
from pydantic import BaseModel, field_validator

from support.doubles import HeldModel, hire, observed_by, settled
from whisper_nb import (
    Agent,
    ConfigError,
    FunctionModel,
    LimitExceeded,
    OutputInvalid,
    PromptLimitExceeded,
    Rule,
    Run,
    RunFailed,
    Runtime,
    ScriptedModel,
    Session,
    TurnLimitExceeded,
)
from whisper_nb.core.events import OutputReference, Record, RunContinued, RunQueued, RunStarted
from whisper_nb.core.messages import (
    AssistantMessage,
    Delta,
    Finish,
    OutputMode,
    SystemMessage,
    TextDelta,
    ToolMessage,
    ToolSchema,
    UserMessage,
)
from whisper_nb.engine.answers import LONG
from whisper_nb.engine.projection import fold
from whisper_nb.models.model import Request


@dataclass
class Verdict:
    guilty: bool
    score: int


GOOD = '{"guilty":true,"score":3}'
WRONG = '{"guilty": true, "score": "high"}'
PROBLEM = "score is 'high': Input should be a valid integer, unable to parse string as an integer"
AGAIN = (
    f"Your answer does not fit Verdict: {PROBLEM}. Give the whole answer again, corrected, as JSON that fits the "
    "schema, without other text."
)


def judge(
    runtime: Runtime, *replies: Any, mode: OutputMode = "native", config: Any = None, **fields: Any
) -> tuple[Session[Verdict], ScriptedModel]:
    """Return an agent whose model gives these replies, and the model. A reply may also be a rule."""
    model = ScriptedModel([one if isinstance(one, Rule) else Rule(reply=one, times=1) for one in replies])
    model.output_mode = mode  # type: ignore[misc]
    session: Session[Any] = hire(runtime, model, "judge", **{"output_type": Verdict, **fields})
    if config is not None:
        session.configure(config)
    return session, model


def now() -> str:
    """Tells the time."""
    return "noon"


async def failure_of(run: Run[Any]) -> OutputInvalid:
    with pytest.raises(OutputInvalid) as caught:
        await run
    return caught.value


# An answer that fits


async def test_an_answer_is_an_instance(runtime: Runtime) -> None:
    session, _ = judge(runtime, Verdict(True, 3))
    run = session.submit("Well?")
    assert run.output is None
    assert await run == Verdict(True, 3)
    assert run.output is run.result()
    assert (run.text, str(run)) == (GOOD, GOOD)
    assert [piece async for piece in run] == [GOOD]


async def test_without_a_type_the_output_is_the_text(runtime: Runtime) -> None:
    session, model = judge(runtime, "Guilty.", output_type=None)
    run = session.submit("Well?")
    assert run.output is None
    assert await run == run.output == "Guilty."
    assert model.requests[0].output is None


async def test_the_type_of_a_run_goes_before_that_of_its_agent(runtime: Runtime) -> None:
    session, model = judge(runtime, '{"answer": 3}', "as text", Verdict(False, 0))
    assert await session.submit("How many?", output_type=int) == 3
    assert await session.submit("Well?", output_type=str) == "as text"
    assert await session.submit("Well?") == Verdict(False, 0)
    assert [request.output and request.output.name for request in model.requests] == ["int", None, "Verdict"]


async def test_none_is_an_answer(runtime: Runtime) -> None:
    session, _ = judge(runtime, "null")
    run = session.submit("Any?", output_type=int | None)
    assert (await run, run.status) == (None, "succeeded")


async def test_a_typed_run_in_a_prompt_is_its_text(runtime: Runtime) -> None:
    session, model = judge(runtime, GOOD, "Noted.", output_type=None)
    first = session.submit("Well?", output_type=Verdict)
    assert await session.submit(["Comment: ", first]) == "Noted."
    assert model.requests[1].messages[-1] == UserMessage(f"Comment: {GOOD}")


@pytest.mark.parametrize(
    ("type_", "reply", "inserted"),
    [
        (bool, '{"answer": true}', "true"),
        (bool, "true", "true"),
        (list[int], 'Here: {"answer": [0, 1]}', "[0, 1]"),
        (Literal["é", "b"], '```json\n{"answer": "é"}\n```', "é"),
        (int | None, '{"answer": null}', "null"),
        (dict[str, int], '{"answer": 3}', '{"answer": 3}'),
        (str, '{"answer": "text"}', '{"answer": "text"}'),
    ],
)
async def test_a_typed_run_in_a_prompt_has_no_object_around_it(
    runtime: Runtime, type_: Any, reply: str, inserted: str
) -> None:
    session, model = judge(runtime, reply, "Noted.", output_type=None)
    first = session.submit("Well?", output_type=type_)
    await session.submit(["Comment: ", first])
    assert first.text == reply
    assert model.requests[1].messages[-1] == UserMessage(f"Comment: {inserted}")


async def test_a_run_that_needs_an_invalid_one_fails_with_it(runtime: Runtime) -> None:
    session, _ = judge(runtime, WRONG, config={"output_retries": 0})
    second = session.submit(["Comment: ", session.submit("Well?")], output_type=str)
    with pytest.raises(RunFailed, match=r"it needs judge#1, which failed: its answer does not fit Verdict"):
        await second


async def test_a_fresh_run_leaves_nothing_in_the_history(runtime: Runtime) -> None:
    session, _ = judge(runtime, WRONG, GOOD)
    await session.submit("Well?", fresh=True)
    assert list(session.history) == []


async def test_a_fork_has_the_type(runtime: Runtime) -> None:
    session, model = judge(runtime, GOOD, GOOD)
    await session.submit("Well?")
    fork = session.fork("second")
    assert fork.agent.output_type == session.agent.output_type
    assert await fork.submit("Well?") == Verdict(True, 3)
    assert len(model.requests[1].messages) == 4


async def test_a_memory_keeps_a_correction_with_its_prompt(runtime: Runtime) -> None:
    session, model = judge(runtime, "old", WRONG, GOOD, "new", "newer", memory="last:1")
    await session.submit("Hello!", output_type=str)
    await session.submit("Well?")
    fork = session.fork("second")
    await session.submit("Sure?", output_type=str)
    await fork.submit("Sure?", output_type=str)
    whole = ["Well?", WRONG, AGAIN, GOOD, "Sure?"]
    assert [[message.text for message in request.messages[1:]] for request in model.requests[-2:]] == [whole, whole]
    copied = runtime.store.records("second")[0]  # type: ignore[attr-defined]
    folded = fold([msgspec.json.decode(msgspec.json.encode(copied), type=Record)])
    assert folded.history.starts == [0, 2]


# Answers that do not fit


async def test_an_answer_that_does_not_fit_is_asked_for_again(runtime: Runtime) -> None:
    session, model = judge(runtime, WRONG, f"Sorry! ```json\n{GOOD}\n```")
    records = observed_by(runtime)
    run = session.submit("Well?")
    assert await run == Verdict(True, 3)
    dialog = [UserMessage("Well?"), AssistantMessage(WRONG), UserMessage(AGAIN, goes_on=True)]
    assert model.requests[1].messages[1:] == dialog
    assert session.history == [*dialog, AssistantMessage(run.text)]
    assert [record.event for record in records if isinstance(record.event, RunContinued)] == [
        RunContinued(AGAIN, "invalid")
    ]
    assert run.turn == 2


@pytest.mark.parametrize(("retries", "turns"), [(None, 3), (0, 1), (1, 2), (4, 5)])
async def test_the_run_fails_after_the_last_retry(runtime: Runtime, retries: int | None, turns: int) -> None:
    session, model = judge(runtime, *[WRONG] * 9, config={"output_retries": retries})
    run = session.submit("Well?")
    error = await failure_of(run)
    also = ["", ", also after 1 more turn", ", also after 2 more turns", "", ", also after 4 more turns"][turns - 1]
    assert str(error).startswith(f"judge#1 failed: its answer does not fit Verdict{also}: {PROBLEM}. The answer is in")
    assert (error.text, error.problems, len(model.requests)) == (WRONG, (PROBLEM,), turns)
    assert (run.text, run.output, run.status) == (WRONG, None, "failed")
    assert isinstance(run.error, OutputInvalid)
    assert [type(message) for message in session.history] == [UserMessage, AssistantMessage] * turns


async def test_the_retries_of_a_run_are_its_own(runtime: Runtime) -> None:
    session, model = judge(runtime, *[WRONG] * 9)
    await failure_of(session.submit("Well?", config={"output_retries": 1}))
    assert len(model.requests) == 2


async def test_further_turns_count_for_max_turns(runtime: Runtime) -> None:
    session, model = judge(runtime, *[WRONG] * 9, max_turns=2, config={"output_retries": 9})
    run = session.submit("Well?")
    with pytest.raises(TurnLimitExceeded):
        await run
    assert (len(model.requests), run.text) == (2, WRONG)


async def test_retries_begin_anew_with_each_run(runtime: Runtime) -> None:
    session, _ = judge(runtime, WRONG, WRONG, GOOD, WRONG, WRONG, GOOD)
    assert [await session.submit("Well?"), await session.submit("Well?")] == [Verdict(True, 3)] * 2


async def test_cancelling_a_correction_leaves_whole_turns(runtime: Runtime) -> None:
    session, _ = judge(runtime, WRONG, Rule(reply=GOOD, delay_s=60))
    started = asyncio.Event()
    runtime.observe(lambda record: started.set() if isinstance(record.event, RunContinued) else None)
    run = session.submit("Well?")
    await started.wait()
    run.cancel()
    await settled(run)
    assert (run.status, run.output) == ("cancelled", None)
    assert session.history == [UserMessage("Well?"), AssistantMessage(WRONG)]
    assert fold(runtime.store.records("judge")).history == session.history  # type: ignore[attr-defined]


async def test_a_timeout_ends_a_correction(runtime: Runtime) -> None:
    session, _ = judge(runtime, WRONG, Rule(reply=GOOD, delay_s=60))
    run = session.submit("Well?", timeout_s=0.05)
    with pytest.raises(LimitExceeded):
        await run
    assert session.history == [UserMessage("Well?"), AssistantMessage(WRONG)]


async def test_a_pause_holds_a_correction(runtime: Runtime) -> None:
    session, model = judge(runtime, WRONG, GOOD)
    paused = asyncio.Event()

    def pause(record: Any) -> None:
        if isinstance(record.event, RunContinued):
            session.pause()
            paused.set()

    runtime.observe(pause)
    run = session.submit("Well?")
    await paused.wait()
    assert len(model.requests) == 1
    session.resume()
    assert await run == Verdict(True, 3)


async def test_what_a_validator_raises_fails_the_run(runtime: Runtime) -> None:
    class Unlucky(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def check(cls, number: int) -> int:
            raise KeyError("number")

    session, _ = judge(runtime, '{"number": 13}', output_type=Unlucky)
    run = session.submit("Well?")
    with pytest.raises(RunFailed, match="a validator of Unlucky raised KeyError: 'number'"):
        await run
    assert run.error is not None
    assert isinstance(run.error.__cause__, KeyError)


async def test_a_long_answer_is_checked_in_a_thread(runtime: Runtime) -> None:
    numbers = list(range(LONG // 4))
    session, _ = judge(runtime, json.dumps(numbers), f"[{'x' * LONG}", output_type=list[int])
    assert await session.submit("Count!") == numbers
    await failure_of(session.submit("Count!", config={"output_retries": 0}))


# Modes


async def test_in_mode_tool_the_call_is_the_answer(runtime: Runtime) -> None:
    call = {"name": "Verdict", "arguments": {"guilty": True, "score": 3}}
    session, model = judge(runtime, Rule(reply="I am sure.", calls=[call]), mode="tool")
    run = session.submit("Well?")
    assert await run == Verdict(True, 3)
    output = model.requests[0].output
    assert output is not None
    assert (output.name, output.mode, sorted(output.json_schema["properties"])) == (
        "Verdict",
        "tool",
        ["guilty", "score"],
    )
    assert json.loads(run.text) == {"guilty": True, "score": 3}
    assert session.history == [UserMessage("Well?"), AssistantMessage(run.text)]


async def test_in_mode_tool_text_is_an_answer_too(runtime: Runtime) -> None:
    session, _ = judge(runtime, f"Here: {GOOD}", mode="tool")
    assert await session.submit("Well?") == Verdict(True, 3)


async def test_real_tools_go_before_the_answer(runtime: Runtime) -> None:
    answer = {"name": "Verdict", "arguments": {"guilty": True, "score": 3}}
    session, _ = judge(
        runtime,
        Rule(role="user", calls=[answer, {"name": "now"}], times=1),
        Rule(role="tool", calls=[answer]),
        mode="tool",
        tools=(now,),
    )
    assert await session.submit("Well?") == Verdict(True, 3)
    assert [type(message) for message in session.history] == [
        UserMessage,
        AssistantMessage,
        ToolMessage,
        AssistantMessage,
    ]
    assert [call.name for call in session.history[1].tool_calls] == ["now"]


async def test_the_name_of_an_answer_differs_from_that_of_a_tool(runtime: Runtime) -> None:
    def Verdict() -> str:  # noqa: N802
        """A tool of that name."""
        return "none"

    session, model = judge(runtime, GOOD, mode="tool", tools=(Verdict,))
    await session.submit("Well?")
    assert model.requests[0].output is not None
    assert model.requests[0].output.name == "Verdict_"


async def test_in_mode_prompt_the_system_prompt_asks_for_the_form(runtime: Runtime) -> None:
    session, model = judge(runtime, WRONG, GOOD, GOOD, mode="prompt", system_prompt="Be just.")
    await session.submit("Well?")
    await session.submit("Well?")
    systems = [request.messages[0] for request in model.requests]
    assert isinstance(systems[0], SystemMessage)
    assert systems[0].text.startswith("Be just.\n\nGive your final answer as JSON alone")
    assert '"guilty":{"title":"Guilty","type":"boolean"}' in systems[0].text
    assert systems == systems[:1] * 3


@pytest.mark.parametrize("mode", ["native", "tool", "prompt"])
async def test_the_config_decides_the_mode(runtime: Runtime, mode: OutputMode) -> None:
    session, model = judge(runtime, GOOD, config={"output_mode": mode})
    await session.submit("Well?")
    assert model.requests[0].output is not None
    assert model.requests[0].output.mode == mode


class Counting(ScriptedModel):
    """Counts characters."""

    def count_tokens(self, messages: Any, tools: Any = ()) -> int:
        return sum(len(message.text) for message in messages) + sum(len(repr(tool)) for tool in tools)


@pytest.mark.parametrize("mode", ["native", "tool", "prompt"])
async def test_the_schema_counts_for_max_prompt_tokens(runtime: Runtime, mode: OutputMode) -> None:
    model = Counting([Rule(reply=GOOD)])
    model.output_mode = mode  # type: ignore[misc]
    session = hire(runtime, model, max_prompt_tokens=100, system_prompt="Be just.")
    await session.submit("Well?")
    with pytest.raises(PromptLimitExceeded):
        await session.submit("Well?", output_type=Verdict, fresh=True)


@pytest.mark.parametrize("mode", ["native", "tool", "prompt"])
async def test_the_schema_has_its_room_in_the_context(runtime: Runtime, mode: OutputMode) -> None:
    """Also after a call without a schema, whose count would leave no room for it."""
    rules = [Rule(match="Which", reply="1"), Rule(match="Short", reply="ok"), Rule(reply="word " * 40)]
    model = Counting(rules, context_tokens=3_000)
    model.output_mode = mode  # type: ignore[misc]
    session = hire(runtime, model, system_prompt="Be just.")
    for _ in range(20):
        await session.submit("word " * 40)
    await session.submit("Short!")
    many = Literal[tuple(range(200))]  # type: ignore[valid-type]
    assert await session.submit("Which?", output_type=many) == 1
    await session.submit("word " * 40)
    assert len(model.requests[-2].messages) < len(model.requests[-1].messages)
    for request in model.requests:
        beside = [ToolSchema("answer", "", request.output.json_schema)] if request.output and mode != "prompt" else []
        assert model.count_tokens(request.messages, beside) <= 3_000


# Records


async def test_the_record_of_a_queued_run_has_the_name_and_schema_of_its_type(runtime: Runtime) -> None:
    session, _ = judge(runtime, "[]", GOOD)
    own, text, agents = (
        session.submit("Well?", output_type=list[Literal["a"]]),
        session.submit("Well?", output_type=str),
        session.submit("Well?"),
    )
    await settled(own, text, agents)
    queued = [run.events[0].event for run in (own, text, agents)]
    assert [event.output for event in queued if isinstance(event, RunQueued)] == [
        OutputReference("list[Literal['a']]", own.output_type.json_schema),  # type: ignore[union-attr]
        OutputReference("str"),
        None,
    ]


# Types that cells define


@pytest.fixture
def cells(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Define classes as cells do; they are known by name in `__main__`."""
    import __main__

    def define(source: str) -> Any:
        namespace: dict[str, Any] = {"__name__": "__main__"}
        exec(f"from dataclasses import dataclass\n{source}", namespace)
        name = source.partition("class ")[2].partition(":")[0]
        monkeypatch.setattr(__main__, name, namespace[name], raising=False)
        return namespace[name]

    return define


RULING = "@dataclass\nclass Ruling:\n a: int"


async def test_answers_are_instances_of_the_newest_class(runtime: Runtime, cells: Any) -> None:
    old = cells(RULING)
    session, _ = judge(runtime, '{"a": 1}', '{"a": 2}', '[{"a": 3}]', output_type=old)
    assert isinstance(await session.submit("Well?"), old)
    new = cells(RULING)
    assert isinstance(await session.submit("Well?"), new)
    assert isinstance((await session.submit("Well?", output_type=list[old]))[0], new)  # type: ignore[valid-type]
    assert session.revision == 1
    cells(f"{RULING}; b: int = 0")
    await settled(session.submit("Well?"))
    assert session.revision == 2


async def test_a_class_that_lost_its_schema_fails_the_run(runtime: Runtime, cells: Any) -> None:
    session, model = judge(runtime, output_type=cells(RULING))
    cells("class Ruling: pass")
    with pytest.raises(RunFailed, match="output_type Ruling has no JSON Schema"):
        await session.submit("Well?")
    assert model.requests == []


async def test_a_rerun_cell_gives_the_same_agent(runtime: Runtime, cells: Any) -> None:
    runtime.models["offline/x"] = ScriptedModel([])
    specs = [Agent("judge", model="offline/x", output_type=list[cells(RULING)]) for _ in range(2)]
    assert specs[0] == specs[1]
    assert hash(specs[0]) == hash(specs[1])
    assert runtime.create(specs[0]) is runtime.create(specs[1])
    assert runtime.get("judge").revision == 1  # type: ignore[union-attr]


def test_names_stand_for_types_of_the_notebook(cells: Any) -> None:
    ruling = cells(RULING)
    assert Agent("bob", output_type="list[Ruling]") == Agent("bob", output_type=list[ruling])
    assert repr(Agent("bob", output_type=ruling)) == "Agent(name='bob', output_type=Ruling)"
    assert Agent("bob", output_type=str).output_type is None


# Refusals before anything happens


@pytest.mark.parametrize("type_", [lambda: 1, json, object(), "Nothing", list["Nothing"]])  # noqa: F821
async def test_what_is_no_type_is_refused_before_anything_happens(runtime: Runtime, type_: Any) -> None:
    with pytest.raises(ConfigError, match=r"agent 'bob': output.type"):
        Agent("bob", output_type=type_)
    session, model = judge(runtime)
    with pytest.raises(ConfigError, match=r"^output.type"):
        session.submit("Well?", output_type=type_)
    assert (session.runs, model.requests) == ((), [])


# Offline


async def test_the_echo_gives_an_example(runtime: Runtime) -> None:
    bob = runtime.create(Agent("bob", model="offline/echo"))
    assert await bob.submit("Is it true?", output_type=Verdict) == Verdict(True, 0)
    assert await bob.submit("Is it true?", output_type=dict[str, list[str]]) == {"key 1": ["Is it true?"]}


async def test_a_model_that_is_asked_by_the_prompt_needs_no_more(runtime: Runtime) -> None:
    held = HeldModel()
    bob = hire(runtime, held)
    run = bob.submit("Well?", output_type=Verdict, config={"output_retries": 0})
    (await held.arrived()).release()
    assert (await failure_of(run)).text == "partial and done"


async def test_streamed_pieces_of_all_turns_come(runtime: Runtime) -> None:
    replies = iter([["wro", "ng"], [GOOD[:5], GOOD[5:]]])

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        for piece in next(replies):
            yield TextDelta(piece)
        yield Finish("stop")

    run = hire(runtime, FunctionModel(stream)).submit("Well?", output_type=Verdict)
    assert "".join([piece async for piece in run]) == f"wrong\n\n{GOOD}"
    assert any(isinstance(record.event, RunStarted) for record in run.events)
