"""Permits: first come, first served; after a 429 an endpoint gets fewer calls, after a pause."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.clock import forward, stop
from whisper_nb.config.aiconfig import AIConfig
from whisper_nb.core.errors import ModelError
from whisper_nb.core.rates import WINDOW_S, Rate
from whisper_nb.engine.permits import Endpoint, Permits, endpoint_of

ONE = endpoint_of(AIConfig(model="openai/a"))
TWO = endpoint_of(AIConfig(model="groq/a"))


def too_many(after_s: float | None = 0.0) -> ModelError:
    return ModelError("429", model="openai/a", retryable=True, status=429, retry_after_s=after_s)


class Call:
    """A call that is made when it gets its permit, and ends as the test says."""

    def __init__(self, permits: Permits, endpoint: Endpoint = ONE, rate: Rate | None = None) -> None:
        self.out = asyncio.Event()
        self.heard: list[tuple[str, float]] = []
        self.at_s = -1.0
        self.took = 0
        self._end: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.task = asyncio.create_task(self._go(permits, endpoint, rate))

    async def _go(self, permits: Permits, endpoint: Endpoint, rate: Rate | None) -> None:
        async with permits.hold(endpoint, lambda *why: self.heard.append(why), rate) as held:
            self.at_s = asyncio.get_running_loop().time()
            self.out.set()
            await self._end
            if self.took:
                held.took(self.took)

    async def end(self, error: Exception | None = None) -> None:
        self._end.set_exception(error) if error else self._end.set_result(None)
        await asyncio.wait([self.task])
        assert self.task.exception() is error


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


@asynccontextmanager
async def calls(
    permits: Permits, count: int, endpoint: Endpoint = ONE, rate: Rate | None = None
) -> AsyncIterator[list[Call]]:
    made = [Call(permits, endpoint, rate) for _ in range(count)]
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


# The rate of an endpoint

TWO_A_MINUTE = Rate(2, None, 0)


async def test_calls_over_the_rate_wait_for_the_minute_and_other_providers_go_on() -> None:
    permits = Permits(9)
    async with calls(permits, 4, rate=TWO_A_MINUTE) as made, calls(permits, 3, TWO, Rate(2, None, 0)) as others:
        assert out(made + others) == [True, True, False, False, True, True, False]
        [(why, after_s)] = made[2].heard
        assert why == "openai is limited to 2 requests per minute"
        assert 59 < after_s <= 60
        assert len(made[3].heard) == 1
        await made[0].end()  # a call that has ended counts, too
        await turns()
        assert out(made) == [True, True, False, False]
        forward(60)
        await made[3].out.wait()
        assert out(made) == [True, True, True, True]


async def test_the_minute_slides() -> None:
    permits = Permits(9)
    async with calls(permits, 1, rate=TWO_A_MINUTE):
        forward(40)
        async with calls(permits, 3, rate=TWO_A_MINUTE) as made:
            assert out(made) == [True, False, False]
            forward(20)
            await made[1].out.wait()
            assert out(made) == [True, True, False]
            forward(20)
            await turns()
            assert out(made) == [True, True, False]
            forward(20)
            await made[2].out.wait()


async def test_the_tokens_of_calls_are_limited_and_corrected_at_their_end() -> None:
    permits, rate = Permits(9), Rate(None, 1_000, 600)
    async with calls(permits, 3, rate=rate) as made:
        assert out(made) == [True, False, False]
        assert made[1].heard[0][0] == "openai is limited to 1,000 tokens per minute"
        made[0].took = 300
        await made[0].end()
        await made[1].out.wait()
        assert out(made) == [True, True, False]


async def test_a_call_larger_than_the_minute_goes_alone() -> None:
    permits = Permits(9)
    async with calls(permits, 1, rate=Rate(None, 1_000, 10)), calls(permits, 2, rate=Rate(None, 1_000, 5_000)) as large:
        assert out(large) == [False, False]
        forward(60)
        await large[0].out.wait()
        assert out(large) == [True, False]
        forward(60)
        await large[1].out.wait()


async def test_calls_without_a_rate_count_and_keep_the_order_of_arrival() -> None:
    permits = Permits(9)
    async with calls(permits, 1, rate=TWO_A_MINUTE), calls(permits, 1) as free:
        assert out(free) == [True]
        async with calls(permits, 1, rate=TWO_A_MINUTE) as made, calls(permits, 1) as later:
            assert out(made + later) == [False, False]
            assert later[0].heard[0][0] == made[0].heard[0][0] == "openai is limited to 2 requests per minute"
            forward(60)
            await later[0].out.wait()
            assert out(made) == [True]


async def test_a_wait_for_the_rate_that_is_cancelled_leaves_the_line_and_no_timer() -> None:
    permits = Permits(9)
    async with calls(permits, 2, rate=TWO_A_MINUTE):
        async with calls(permits, 1, rate=TWO_A_MINUTE):
            assert permits._timer is not None
        assert permits._timer is None
        assert not permits._waiting
        assert not permits.free(ONE, TWO_A_MINUTE)
        assert permits.free(ONE)


async def test_a_call_that_is_cancelled_when_it_gets_its_permit_is_not_counted() -> None:
    permits, rate = Permits(1), Rate(1, 100, 10)
    async with calls(permits, 1, TWO) as others, calls(permits, 2, rate=rate) as made:
        others[0]._end.set_result(None)
        await asyncio.sleep(0)
        made[0].task.cancel()  # its permit has been given, and it does not know yet
        await turns()
        assert out(made) == [False, True]


async def test_after_a_429_a_call_with_a_rate_waits_for_the_pause_first() -> None:
    permits = Permits(9)
    with pytest.raises(ModelError):
        async with permits.hold(ONE, rate=TWO_A_MINUTE):
            raise too_many(90)
    async with calls(permits, 1, rate=TWO_A_MINUTE) as made:
        assert "answered 429" in made[0].heard[0][0]
        forward(60)
        await made[0].out.wait()


@settings(max_examples=60)
@given(
    st.integers(1, 4),
    st.integers(1, 3),
    st.lists(st.tuples(st.sampled_from([ONE, TWO]), st.integers(0, 40), st.booleans(), st.booleans()), max_size=20),
)
def test_no_schedule_exceeds_a_rate_and_none_is_stuck(
    limit: int, requests: int, arrivals: list[tuple[Endpoint, int, bool, bool]]
) -> None:
    """Calls arrive some seconds after another; some end at once, some are cancelled while they wait."""

    async def play() -> list[tuple[Endpoint, Call]]:
        loop, permits, made = asyncio.get_running_loop(), Permits(limit), list[tuple[Endpoint, Call]]()
        stop()
        for endpoint, gap_s, ends, gives_up in arrivals:
            forward(gap_s)
            await turns(40)
            call = Call(permits, endpoint, Rate(requests, None, 0))
            await turns(40)
            if gives_up and not call.out.is_set():
                call.task.cancel()
                await asyncio.wait([call.task])
                continue
            made.append((endpoint, call))
            if ends:
                call._end.set_result(None)
        for _, call in made:
            if not call._end.done():
                call._end.set_result(None)
        await turns(40)
        for _ in range(3 * len(made)):
            if permits._timer is None:
                break
            forward(permits._timer.when() - loop.time())
            await turns(40)
        assert all(call.task.done() for _, call in made), "it would wait for ever"
        assert permits._timer is None
        return made

    made = asyncio.run(play())
    for endpoint in (ONE, TWO):
        times = [call.at_s for one, call in made if one == endpoint]
        assert times == sorted(times), "not in the order of arrival"
        for first, later in zip(times, times[requests:], strict=False):
            assert later - first >= WINDOW_S - 1e-6
