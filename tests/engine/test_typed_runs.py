"""Runs with an output type: the answer is an instance, or is asked for again, or the run fails and keeps the text."""

from __future__ import annotations

from dataclasses import dataclass

from whisper_nb import Agent, Rule, ScriptedModel
from whisper_nb.core.messages import OutputMode
from whisper_nb.team.runtimes import Runtime


@dataclass
class Verdict:
    guilty: bool
    score: int


def judge(runtime: Runtime, *replies: object, mode: OutputMode = "native") -> ScriptedModel:
    model = ScriptedModel([Rule(reply=reply, times=1) for reply in replies])
    model.output_mode = mode
    runtime.models["offline/judge"] = model
    return model


JUDGE = Agent("judge", model="offline/judge", output_type=Verdict)


async def test_an_answer_is_an_instance(runtime: Runtime) -> None:
    judge(runtime, Verdict(True, 3))
    run = runtime.create(JUDGE).submit("Well?")
    assert run.output is None
    assert await run == Verdict(True, 3)
    assert run.output is run.result()
    assert run.text == '{"guilty":true,"score":3}'
    assert [piece async for piece in run] == ['{"guilty":true,"score":3}']


async def test_the_type_of_a_run_goes_before_that_of_its_agent(runtime: Runtime) -> None:
    model = judge(runtime, {"answer": 3}, "as text", Verdict(False, 0))
    session = runtime.create(JUDGE)
    assert await session.submit("How many?", output_type=int) == 3
    assert await session.submit("Well?", output_type=str) == "as text"
    assert await session.submit("Well?") == Verdict(False, 0)
    assert [request.output and request.output.name for request in model.requests] == ["int", None, "Verdict"]
