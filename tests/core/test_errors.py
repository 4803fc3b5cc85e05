from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from types import FunctionType

import pytest

from support.doubles import FunctionModel, hire
from whisper_nb import LimitExceeded, ModelError, OutputInvalid, RunFailed, Runtime
from whisper_nb.core.errors import clear_frames
from whisper_nb.core.messages import Delta, TextDelta
from whisper_nb.models.model import Request


def test_a_model_error_names_its_model_and_whether_it_is_retryable() -> None:
    error = ModelError("rate limit", model="openai/x", retryable=True)
    assert (str(error), error.model, error.retryable) == ("rate limit", "openai/x", True)
    assert not ModelError("no", model="openai/x").retryable


def test_the_error_of_a_run_is_of_the_class_of_its_cause_and_leaves_the_cause_alone() -> None:
    cause = OutputInvalid("no number", text="one", problems=("one is no int",))
    failure = RunFailed.of(cause, "bob#1")
    assert isinstance(failure, OutputInvalid)
    assert (str(failure), failure.text, failure.problems) == ("bob#1 failed: no number", "one", ("one is no int",))
    assert failure.__cause__ is cause
    assert str(cause) == "no number"


def test_the_error_of_a_run_is_a_run_failed_for_any_other_cause() -> None:
    for cause, text in [(ModelError("no luck", model="openai/x"), "no luck"), (ValueError(), "ValueError")]:
        failure = RunFailed.of(cause, "bob#1")
        assert type(failure) is RunFailed
        assert str(failure) == f"bob#1 failed: {text}"
        assert failure.__cause__ is cause


def test_a_limit_says_which_and_how_much() -> None:
    failure = RunFailed.of(LimitExceeded("too dear", reason="cost", limit=0.5, used=None), "bob#1")
    assert isinstance(failure, LimitExceeded)
    assert (failure.reason, failure.limit, failure.used) == ("cost", 0.5, None)


async def test_a_kept_error_does_not_cancel_background_tasks_of_a_model(runtime: Runtime) -> None:
    """A client library may pass on an error that its own task has caught, and continue that task."""
    handed_on: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    go = asyncio.Event()

    async def background() -> str:
        try:
            raise ConnectionError("reset by peer")
        except ConnectionError as error:
            handed_on.set_exception(error)
        await go.wait()
        return "still here"

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        yield TextDelta("half")
        await handed_on

    task = asyncio.ensure_future(background())
    with pytest.raises(RunFailed, match="reset by peer") as caught:
        await hire(runtime, FunctionModel(stream)).submit("hello")
    go.set()
    assert await task == "still here"
    # Its origin can still be read.
    assert caught.value.__cause__ is not None
    assert caught.value.__cause__.__traceback__ is not None


def test_clearing_the_frames_of_errors_that_cause_each_other_ends() -> None:
    one, other = ValueError("one"), ValueError("other")
    one.__cause__, other.__cause__ = other, one
    clear_frames(one)
    clear_frames(None)


def test_a_frame_that_is_still_running_is_not_cleared() -> None:
    def ours() -> str:
        kept = "kept"
        try:
            raise ValueError
        except ValueError as error:
            clear_frames(error)
        return kept

    namespace = {"__name__": "whisper_nb.test", "clear_frames": clear_frames}
    assert FunctionType(ours.__code__, namespace)() == "kept"
