"""Games with a budget: many agents over real sockets, two event loops, and any order of events."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from support.provider import CUT, DONE, Answer, Provider, Refusal, Request, finish, text, usage
from whisper_nb import Agent, Budget, BudgetExceeded, RunCancelled, RunFailed, Runtime
from whisper_nb.core.events import CallHeld, CallRetried, RunFinished
from whisper_nb.engine.costs.outputs import Lengths
from whisper_nb.team.budgets import Reservation

#: A reply has this many tokens, and costs as many times PER_TOKEN.
TOKENS = 20
PER_TOKEN = 10e-6
PRICE = {"input": 0, "output": 10}


class Till:
    """What the provider's replies have cost: it counts by itself."""

    def __init__(self, *odd: Answer) -> None:
        self.dollars = 0.0
        self.in_flight = self.most = 0
        self._odd = odd
        self._random = random.Random(15)

    def answer(self, request: Request) -> Answer:
        if self._odd and self._random.random() < 0.4:
            answer = self._random.choice(self._odd)
            if not isinstance(answer, Refusal) or answer.status >= 500:  # the others are free
                self.dollars += TOKENS * PER_TOKEN
            return answer
        self.dollars += TOKENS * PER_TOKEN
        return [*text("ok"), finish(), usage(7, TOKENS), DONE]


async def play(rt: Runtime, provider: Provider, agents: int, rounds: int, **config: Any) -> list[str]:
    """Have many agents submit at once; return how their runs ended."""
    values = {"api_base": provider.url, "api_key": "os.environ/K", "price": PRICE, "max_tokens": TOKENS, **config}
    team = [rt.create(Agent(name=f"a{number}", model="openai/test", config=values)) for number in range(agents)]
    runs = [one.submit("hello") for one in team for _ in range(rounds)]
    ends = await asyncio.wait_for(asyncio.gather(*runs, return_exceptions=True), 60)
    assert not [end for end in ends if isinstance(end, BaseException) and not isinstance(end, RunFailed | RunCancelled)]
    return [str(run.outcome) for run in runs]


@pytest.mark.parametrize(("transport", "agents", "calls"), [("wire", 50, 50), ("litellm", 8, 10)])
async def test_many_agents_spend_all_of_a_budget_and_nothing_more(transport: str, agents: int, calls: int) -> None:
    till = Till()
    limit = calls * TOKENS * PER_TOKEN  # of 50 calls: $0.01
    async with Provider(till.answer) as provider, Runtime(environ={"K": "k"}, budget=limit) as rt:
        ends = await play(rt, provider, agents, 2, transport=transport)
        assert ends.count("succeeded") == calls
        assert rt.budget is not None
        assert (rt.budget.spent, rt.budget.reserved, rt.budget.left) == (limit, 0.0, 0.0)
        assert till.dollars == pytest.approx(limit)
        assert Budget.of(rt.store.records()).spent_by_agent == rt.budget.spent_by_agent


async def test_replies_without_max_tokens_overspend_by_no_more_than_their_estimates() -> None:
    """1,000 tokens are reserved for each at first, and 20 are used."""
    till = Till()
    async with Provider(till.answer) as provider, Runtime(environ={"K": "k"}, budget=0.03) as rt:
        ends = await play(rt, provider, 50, 4, max_tokens=None)
        assert "failed" in ends
        assert rt.budget is not None
        assert 0.02 <= till.dollars <= 0.03
        assert rt.budget.spent == pytest.approx(till.dollars)
        assert rt.budget.reserved == 0


async def test_retries_cancelled_and_broken_calls_spend_no_more_than_the_budget(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("whisper_nb.engine.calls.RETRY_S", 0.001)
    odd: tuple[Answer, ...] = (
        Refusal(429, headers={"retry-after": "0"}),
        Refusal(500),
        Refusal(401),
        [*text("half"), CUT],
        [*text("silent"), finish(), DONE],
        [*text("dear"), finish(), usage(7, TOKENS, cost=TOKENS * PER_TOKEN), DONE],
    )
    till = Till(*odd)
    async with Provider(till.answer) as provider, Runtime(environ={"K": "k"}, budget=0.01) as rt:
        rt.observe(lambda record: _cancel_some(rt, record.agent, record.seq))
        await play(rt, provider, 50, 3, retries=2)
        budget = rt.budget
        assert budget is not None
        assert till.dollars <= budget.spent + 1e-12 <= 0.01 + 2e-12  # conservative where the usage is unknown
        assert budget.spent > 0.0095  # and nothing got stuck before it was used up
        assert budget.reserved == 0
        records = list(rt.store.records())
        assert Budget.of(records).spent == budget.spent
        assert any(isinstance(one.event, CallRetried) for one in records)
        assert any(one.event.outcome == "cancelled" for one in records if isinstance(one.event, RunFinished))


def _cancel_some(rt: Runtime, name: str, seq: int) -> None:
    session = rt.get(name)
    if seq % 97 == 0 and session is not None and session.current is not None:
        session.current.cancel()


async def test_a_price_that_changes_while_a_call_is_in_flight_is_what_is_spent() -> None:
    dear = Provider(lambda _: [*text("ok"), finish(), usage(7, TOKENS, cost=0.5), DONE])
    async with dear as provider, Runtime(environ={"K": "k"}, budget=0.9) as rt:
        ends = await play(rt, provider, 2, 1)
        assert rt.budget is not None
        assert (ends, rt.budget.spent, rt.budget.left, rt.budget.reserved) == (["succeeded"] * 2, 1.0, 0.0, 0.0)
        with pytest.raises(BudgetExceeded):
            await rt["a0"].submit("hello")


async def test_two_loops_share_a_budget() -> None:
    """Runtimes in two threads: neither is stuck, and both together spend what there is."""
    budget = Budget(0.01)
    till = Till()
    ends: list[str] = []

    async def half(url: Provider) -> None:
        async with Runtime(environ={"K": "k"}, budget=budget) as rt:
            ends.extend(await play(rt, url, 20, 2))

    async with Provider(till.answer) as provider:
        other = asyncio.to_thread(lambda: asyncio.run(half(provider)))
        await asyncio.wait_for(asyncio.gather(half(provider), other), 60)
    assert ends.count("succeeded") == 50
    assert (budget.spent, budget.reserved, budget.left) == (0.01, 0.0, 0.0)
    assert till.dollars == pytest.approx(0.01)


async def test_agents_in_a_thread_wait_for_a_budget_that_the_main_thread_raises() -> None:
    go = asyncio.Event()
    slow = Provider(lambda _: [*text("ok"), go, finish(), usage(7, TOKENS), DONE])
    limit = TOKENS * PER_TOKEN
    async with slow as provider, Runtime(environ={"K": "k"}, budget=limit, loop="thread") as rt:
        held = threading.Event()
        rt.observe(lambda record: held.set() if isinstance(record.event, CallHeld) else None)
        playing = asyncio.create_task(play(rt, provider, 2, 1))
        assert await asyncio.to_thread(held.wait, 10)
        rt.set_budget(usd=1.0)
        await asyncio.wait_for(_both(provider), 10)
        go.set()
        assert await playing == ["succeeded", "succeeded"]
        assert rt.budget is not None
        assert rt.budget.reserved == 0


async def _both(provider: Provider) -> None:
    await provider.arrived()
    await provider.arrived()


async def test_a_loop_that_ended_leaves_nothing_reserved() -> None:
    """Another thread's loop ended while a call waited on it: the next one gets what that would have got."""
    budget = Budget(1.0)
    first = budget.take("bob", 1.0)
    assert first is not None

    def waits_in_vain() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(budget.reserve("eve", 1.0))
        loop.run_until_complete(asyncio.sleep(0))
        task.get_loop().call_soon(lambda: None)
        loop.close()
        task._log_destroy_pending = False  # type: ignore[attr-defined]
        kept.append(task)

    kept: list[object] = []
    await asyncio.to_thread(waits_in_vain)
    second = asyncio.create_task(budget.reserve("ann", 1.0))
    await asyncio.sleep(0)
    first.settle(0.0)
    (await asyncio.wait_for(second, 5)).settle(0.0)
    assert (budget.reserved, budget.spent) == (0.0, 0.0)


async def test_a_wait_that_is_thrown_away_reserves_nothing() -> None:
    budget = Budget(1.0)
    first = await budget.reserve("bob", 1.0)
    wait = budget.reserve("ann", 1.0)
    wait.send(None)
    wait.close()
    first.settle(0.0)
    assert (budget.reserved, budget.left) == (0.0, 1.0)


def test_the_expected_length_of_a_reply_is_the_95th_percentile_of_the_newest_100() -> None:
    lengths = Lengths()
    assert lengths.expected == 1_000
    for tokens in (5_000, *[10] * 6):
        lengths.add(tokens)
        assert lengths.expected == 5_000
    lengths.add(10)
    assert lengths.expected == 5_000
    for tokens in range(100):
        lengths.add(tokens)
    assert lengths.expected == 94


class Game(RuleBasedStateMachine):
    """Calls that reserve, wait, grow, end and are cancelled, in any order, under a limit that changes."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.budget = Budget(1.0)
        self.numbers: Iterator[int] = count()
        self.held: list[Reservation] = []
        self.waiting: list[asyncio.Task[Reservation]] = []
        self.most = 1.0
        self.over = 0.0

    def turn(self) -> None:
        async def turn() -> None:
            for _ in range(3):
                await asyncio.sleep(0)

        self.loop.run_until_complete(turn())
        for task in [task for task in self.waiting if task.done()]:
            self.waiting.remove(task)
            if not task.cancelled() and task.exception() is None:
                self.held.append(task.result())

    @rule(cents=st.integers(0, 120))
    def call(self, cents: int) -> None:
        self.waiting.append(self.loop.create_task(self.budget.reserve(f"a{next(self.numbers) % 3}", cents / 100)))
        self.turn()

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), part=st.floats(0, 1))
    def end(self, which: int, part: float) -> None:
        one = self.held.pop(which % len(self.held))
        one.settle(one.usd * part)
        self.turn()

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 99), cents=st.integers(0, 50))
    def grow(self, which: int, cents: int) -> None:
        one = self.held[which % len(self.held)]
        before, left = one.usd, self.budget.left
        grown = one.grow(cents / 100)
        assert grown == (cents / 100 <= left + 1e-12)
        assert one.usd == pytest.approx(before + grown * cents / 100)

    @precondition(lambda self: self.waiting)
    @rule(which=st.integers(0, 99))
    def cancel(self, which: int) -> None:
        self.waiting[which % len(self.waiting)].cancel()
        self.turn()

    @rule(cents=st.none() | st.integers(0, 300))
    def limit(self, cents: int | None) -> None:
        self.budget.set_limit(None if cents is None else cents / 100)
        self.turn()

    @invariant()
    def never_overspent_and_never_stuck(self) -> None:
        budget = self.budget
        assert budget.reserved == pytest.approx(sum(one.usd for one in self.held))
        assert budget.spent == pytest.approx(sum(budget.spent_by_agent.values()))
        if not self.held:
            assert budget.reserved == 0
            assert not self.waiting
        if not self.waiting or not budget.limited:
            return
        assert budget.spent + budget.reserved >= 0

    def teardown(self) -> None:
        for task in self.waiting:
            task.cancel()
        self.turn()
        while self.held:
            self.held.pop().settle(0.0)
            self.turn()
        assert (self.budget.reserved, self.waiting) == (0.0, [])
        self.loop.close()


TestGame = Game.TestCase
TestGame.settings = settings(max_examples=60, stateful_step_count=30)


def test_what_a_provider_adds_to_a_short_prompt_says_nothing_of_long_ones() -> None:
    lengths = Lengths()
    assert lengths.prompt(3_000) == 4_000
    lengths.measured(40, 440)  # for example of tools, which it describes in words of its own
    assert 440 <= lengths.prompt(40) <= 441
    assert lengths.prompt(100_000) < 134_000
    lengths.measured(10_000, 20_000)  # of a language in which a token has fewer characters
    assert lengths.prompt(100_000) >= 200_000
    lengths.measured(10_000, 10**11)
    assert lengths.prompt(100_000) <= 801_000
