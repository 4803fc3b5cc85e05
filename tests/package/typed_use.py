"""What type checkers make of output types. `test_typing.py` has mypy check this file; it is not executed."""

from __future__ import annotations

from typing import Any, Literal, assert_type

from whisper_nb import Agent, Run, Runtime, Session


class Verdict:
    """A type of the user's."""


async def typed(rt: Runtime) -> None:
    """An agent, its session and its runs have the type of the answer."""
    judge = rt.create(Agent("judge", output_type=Verdict, max_turns=3))
    assert_type(judge, Session[Verdict])
    run = judge.submit("Well?", priority="high")
    assert_type(run, Run[Verdict])
    assert_type(await run, Verdict)
    assert_type(run.result(1.0), Verdict)
    assert_type(run.output, Verdict | None)
    assert_type(run.text, str)
    assert_type(judge.submit("Well?", output_type=str), Run[str])
    assert_type(judge.fork("second"), Session[Verdict])


async def plain(rt: Runtime) -> None:
    """Without an output type it is text, and nobody has to write `Session[str]`."""
    bob: Session = rt.create(Agent("bob"))
    run: Run = bob.submit("Hi")
    assert_type(run, Run[str])
    assert_type(await run, str)


async def each_run(rt: Runtime, bob: Session) -> None:
    """A run may have a type of its own. mypy knows classes and generic types as values; of others the type is Any."""
    assert_type(await bob.submit("Hi", output_type=int, fresh=True), int)
    assert_type(bob.submit("Hi", output_type=list[Verdict]), Run[list[Verdict]])
    assert_type(bob.submit("Hi", output_type=dict[str, int]), Run[dict[str, int]])
    assert_type(bob.submit("Hi", output_type=Literal["a", "b"]), Run[Any])
    assert_type(bob.submit("Hi", output_type=int | None), Run[Any])
    assert_type(Agent("eve", output_type=int | None), Agent[Any])
    assert_type(rt.create("alice"), Session[Any])
    assert_type(rt["alice"].submit("Hi"), Run[Any])


async def together(rt: Runtime, bob: Session, judge: Session[Verdict]) -> None:
    """Runs of any type may stand in prompts, and a run of a class is one of its base class."""
    one: Run[object] = judge.submit("Well?")
    bob.submit(["Comment: ", one])
    bob.submit(one)


def wrong(bob: Session) -> None:
    """Errors are errors: an unneeded `type: ignore` would be one."""
    bob.submit("Hi", output_type=int, before=3)  # type: ignore[call-overload]
    bob.submit("Hi", fresh="yes")  # type: ignore[call-overload]
    Agent("bob", output_type=int, max_turns="3")  # type: ignore[call-overload]
    number = bob.submit("Hi", output_type=int)
    text: Run[str] = number  # type: ignore[assignment]
    del text
