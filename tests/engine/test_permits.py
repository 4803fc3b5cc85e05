"""Permits: first come, first served; after a 429 an endpoint gets fewer calls, after a pause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.clock import forward
from whisper_nb.config.aiconfig import AIConfig
from whisper_nb.core.errors import ModelError
from whisper_nb.engine.permits import Endpoint, Permits, endpoint_of

ONE = endpoint_of(AIConfig(model="openai/a"))
TWO = endpoint_of(AIConfig(model="groq/a"))


def too_many(after_s: float | None = 0.0) -> ModelError:
    return ModelError("429", model="openai/a", retryable=True, status=429, retry_after_s=after_s)


class Call:
    """A call that is made when it gets its permit, and ends as the test says."""

    def __init__(self, permits: Permits, endpoint: Endpoint = ONE) -> None:
        self.out = asyncio.Event()
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._go(permits, endpoint))

    async def _go(self, permits: Permits, endpoint: Endpoint) -> None:
        async with permits.hold(endpoint):
            self.out.set()
            await self._end

    async def end(self, error: Exception | None = None) -> None:
        self._end.set_exception(error) if error else self._end.set_result(None)
        await asyncio.wait([self.task])
        assert self.task.exception() is error


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def calls(permits: Permits, count: int, endpoint: Endpoint = ONE) -> AsyncIterator[list[Call]]:
    made = [Call(permits, endpoint) for _ in range(count)]
    await turns()
    yield made
    for call in made:
        call.task.cancel()
    await asyncio.wait([call.task for call in made])
    broken = [call.task.exception() for call in made if not call.task.cancelled()]
    assert all(error is None or isinstance(error, ModelError) for error in broken)


def out(made: list[Call]) -> list[bool]:
    return [call.out.is_set() for call in made]


async def test_permits_are_given_first_come_first_served() -> None:
    permits = Permits(2)
    async with calls(permits, 4) as made:
        assert out(made) == [True, True, False, False]
        await made[1].end()
        await turns()
        assert out(made) == [True, True, True, False]


async def test_a_raised_limit_holds_for_later_calls() -> None:
    permits = Permits(1)
    async with calls(permits, 2) as made:
        permits.limit = 3
        async with calls(permits, 1) as more:
            assert out(made + more) == [True, True, True]


async def test_a_cancelled_waiter_leaves_the_line() -> None:
    permits = Permits(1)
    async with calls(permits, 3) as made:
        made[1].task.cancel()
        await turns()
        await made[0].end()
        await turns()
        assert out(made) == [True, False, True]


async def test_a_waiter_that_is_cancelled_when_it_gets_its_permit_passes_it_on() -> None:
    permits = Permits(1)
    async with calls(permits, 3) as made:
        made[0]._end.set_result(None)
        await asyncio.sleep(0)
        made[1].task.cancel()  # its permit has been given, and it does not know yet
        await turns()
        assert out(made)[2]


@pytest.mark.parametrize(
    ("model", "address", "separate"),
    [
        ("openai/{}", "", False),
        ("openai/{}", "https://api.openai.com/v1", False),
        ("openai/{}", "http://localhost:4000/v1", True),
        ("openrouter/a/{}", "", True),
        ("litellm_proxy/{}", "", True),
    ],
)
def test_the_models_behind_a_proxy_have_limits_of_their_own(model: str, address: str, separate: bool) -> None:
    """A proxy answers 429 for one of its groups of models; the others go on."""
    one, two = (endpoint_of(AIConfig(model=model.format(name)), address) for name in ("gpt-x", "claude-x"))
    assert (one != two) is separate
    assert endpoint_of(AIConfig(model=model.format("gpt-x")), address) == one


async def test_a_429_halves_the_number_of_concurrent_calls_and_successes_raise_it() -> None:
    permits = Permits(8)
    async with calls(permits, 12) as made:
        assert sum(out(made)) == 8
        await made[0].end(too_many())
        assert permits.at_once(ONE) == 4
        await made[1].end(too_many())  # was in flight with the other: one and the same too many
        assert permits.at_once(ONE) == 4
        await turns()
        assert sum(out(made)) == 8  # 6 are in flight, and only 4 may be
        for call in made[2:6]:
            await call.end()
        await turns()
        assert permits.at_once(ONE) == 4
        assert sum(out(made)) == 10
        for call in made[6:10]:
            await call.end()
    for _ in range(40):
        async with permits.hold(ONE):
            pass
    assert permits.at_once(ONE) is None


async def test_at_least_one_call_is_always_allowed() -> None:
    permits = Permits(4)
    for _ in range(5):
        with pytest.raises(ModelError):
            async with permits.hold(ONE):
                raise too_many()
    assert permits.at_once(ONE) == 1
    async with permits.hold(ONE):
        assert not permits.free(ONE)


async def test_other_errors_do_not_change_the_number_of_concurrent_calls() -> None:
    permits = Permits(4)
    with pytest.raises(ModelError):
        async with permits.hold(ONE):
            raise ModelError("503", model="openai/a", status=503)
    assert permits.at_once(ONE) is None


async def test_no_call_is_sent_before_the_providers_time_and_other_providers_are_not_delayed() -> None:
    permits = Permits(2)
    with pytest.raises(ModelError):
        async with permits.hold(ONE):
            raise too_many(60)
    async with calls(permits, 2) as made, calls(permits, 1, TWO) as others:
        assert out(made + others) == [False, False, True]
        forward(61)
        await made[0].out.wait()
        assert out(made) == [True, False]


async def test_a_waiter_is_notified_of_the_reason_and_the_time() -> None:
    permits, heard = Permits(4), list[tuple[str, float]]()
    with pytest.raises(ModelError):
        async with permits.hold(ONE):
            raise too_many(30)
    async with calls(permits, 1, TWO), asyncio.TaskGroup() as group:
        held = group.create_task(permits.hold(ONE, lambda *why: heard.append(why)).__aenter__())
        await turns()
        held.cancel()
    [(why, after_s)] = heard
    assert "openai answered 429 (too many requests)" in why
    assert 0 < after_s <= 30


async def test_a_call_that_already_waits_is_notified_once() -> None:
    permits, heard = Permits(2), list[tuple[str, float]]()
    async with calls(permits, 2) as made:
        waits = asyncio.create_task(permits.hold(ONE, lambda *why: heard.append(why)).__aenter__())
        await turns()
        assert heard == []  # for the calls of whomever: that is no fault of the provider's
        await made[0].end(too_many())
        await made[1].end(too_many())
        await waits
    assert heard == [("openai answered 429 (too many requests) and is sent 1 call at a time", 0.0)]


async def test_a_call_that_waits_for_a_permit_only_is_not_notified() -> None:
    permits, heard = Permits(1), list[tuple[str, float]]()
    with pytest.raises(ModelError):
        async with permits.hold(ONE):
            raise too_many()
    async with calls(permits, 1, TWO) as others:
        waits = asyncio.create_task(permits.hold(ONE, lambda *why: heard.append(why)).__aenter__())
        await turns()
        await others[0].end()
        await waits
    assert heard == []


async def test_an_error_about_credit_does_not_hold_back_other_calls() -> None:
    permits = Permits(2)
    with pytest.raises(ModelError):
        async with permits.hold(ONE):
            raise ModelError("429", model="openai/a", retryable=False, status=429)
    assert permits.free(ONE)
    assert permits.at_once(ONE) is None


async def test_a_cancelled_wait_leaves_no_timer() -> None:
    permits = Permits(2)
    with pytest.raises(ModelError):
        async with permits.hold(ONE):
            raise too_many(30)
    async with calls(permits, 1):
        assert permits._timer is not None
    assert permits._timer is None
