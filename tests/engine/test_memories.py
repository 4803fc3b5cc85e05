"""Memory: the part of its history that a run gets, what it costs, and what the user is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from support.doubles import hire, observed_by, published, settled
from whisper_nb import Agent, Rule, RunFailed, Runtime, ScriptedModel, Session
from whisper_nb.core.errors import ConfigError, PromptLimitExceeded
from whisper_nb.core.events import HistoryTrimmed, Noticed, RunQueued, ToolFinished
from whisper_nb.core.messages import AssistantMessage, SystemMessage, ToolMessage, UserMessage
from whisper_nb.engine.projection import fold
from whisper_nb.models.offline import EchoModel

#: Calls a tool once, so that an exchange has four messages.
WITH_TOOL = [
    Rule(role="tool", reply="all done"),
    Rule(match="use now", calls=[{"name": "now"}]),
    Rule(reply="fine"),
]
EXCHANGE = [UserMessage, AssistantMessage, ToolMessage, AssistantMessage]


def now() -> str:
    """The time."""
    return "noon"


async def talk(session: Session, prompts: int, **options: Any) -> list[int]:
    """Submit short prompts, one after another. Return the input tokens of each run."""
    spent = []
    for number in range(prompts):
        run = session.submit(f"prompt {number}", **options)
        await run
        assert run.usage is not None
        spent.append(run.usage.input_tokens)
    return spent


def sent(model: ScriptedModel) -> list[str]:
    """The prompts in the last call."""
    return [message.text for message in model.requests[-1].messages if isinstance(message, UserMessage)]


# A fresh run


async def test_a_fresh_run_gets_no_history_and_is_not_remembered(runtime: Runtime) -> None:
    model = ScriptedModel(WITH_TOOL)
    bob = hire(runtime, model, tools=(now,))
    await bob.submit("first")
    before = list(bob.history)
    fresh = bob.submit("use now", fresh=True)
    await fresh
    assert fresh.fresh
    assert [type(message) for message in model.requests[-1].messages] == [SystemMessage, *EXCHANGE[:3]]
    assert bob.history == before
    await bob.submit("third")
    assert sent(model) == ["first", "third"]


@pytest.mark.parametrize("end", [Rule(role="tool", error="no"), Rule(role="tool", reply="slow", tokens_per_second=0.1)])
async def test_a_fresh_run_that_does_not_succeed_is_not_remembered_either(runtime: Runtime, end: Rule) -> None:
    bob = hire(runtime, ScriptedModel([end, *WITH_TOOL[1:]]), tools=(now,))
    forgotten, kept = bob.submit("use now", fresh=True), bob.submit("use now")
    for run in (forgotten, kept):
        await published(runtime, ToolFinished, run=run)
        run.cancel()
        await settled(run)
        assert run.status in ("failed", "cancelled")
    assert [type(message) for message in bob.history] == [UserMessage, AssistantMessage, ToolMessage]


async def test_the_fold_of_its_records_knows_a_fresh_run(runtime: Runtime) -> None:
    records = observed_by(runtime)
    bob = hire(runtime, ScriptedModel(WITH_TOOL))
    await bob.submit("first")
    await bob.submit("second", fresh=True)
    queued = [record.event.fresh for record in records if isinstance(record.event, RunQueued)]
    assert queued == [False, True]
    state = fold(runtime.store.records("bob"))
    assert (state.history, [run.fresh for run in state.runs.values()]) == (bob.history, queued)


# A memory


@pytest.mark.parametrize(
    ("given", "text", "document"),
    [
        ("all", "all", "all"),
        ("none", "none", "none"),
        ("last:10", "last:10", {"last": 10}),
        ("tokens: 4000", "tokens:4000", {"tokens": 4000}),
        ({"last": 2}, "last:2", {"last": 2}),
        ({"tokens": 500}, "tokens:500", {"tokens": 500}),
    ],
)
def test_a_memory_may_be_given_as_text_or_as_a_mapping(given: Any, text: str, document: Any) -> None:
    agent = Agent(name="bob", memory=given)
    assert (str(agent.memory), agent.document().get("memory", "all")) == (text, document)
    assert agent == Agent(name="bob", memory=document) == Agent(name="bob", memory=text)
    assert hash(agent) == hash(Agent(name="bob", memory=text))


@pytest.mark.parametrize(
    "given", ["some", "last", "last:0", "last:-1", "last:x", 10, None, {"last": 0}, {"last": "2"}, {"last": True}, {},
    {"last": 1, "tokens": 2}, {"newest": 3}, ["all"]],
)  # fmt: skip
def test_another_memory_is_refused_with_what_is_allowed(given: Any) -> None:
    with pytest.raises(ConfigError, match=r"agent .bob.: memory .* is not one of all, none, last:N "):
        Agent(name="bob", memory=given)


@pytest.mark.parametrize(
    ("memory", "prompts"),
    [
        ("all", ["use now 0", "use now 1", "use now 2", "last"]),
        ("none", ["last"]),
        ("last:2", ["use now 1", "use now 2", "last"]),
        ("last:9", ["use now 0", "use now 1", "use now 2", "last"]),
        ("tokens:1", ["last"]),
        ("tokens:100000", ["use now 0", "use now 1", "use now 2", "last"]),
    ],
)
async def test_a_run_gets_the_newest_exchanges_whole(runtime: Runtime, memory: str, prompts: list[str]) -> None:
    model = ScriptedModel(WITH_TOOL)
    bob = hire(runtime, model, tools=(now,), memory=memory)
    for number in range(3):
        await bob.submit(f"use now {number}")
    await bob.submit("last")
    assert sent(model) == prompts
    kinds = [type(message) for message in model.requests[-1].messages]
    assert kinds == [SystemMessage, *(EXCHANGE * (len(prompts) - 1)), UserMessage]
    assert len(bob.history) == 14, "what is left out of the call stays in the history"


async def test_a_memory_of_tokens_keeps_as_many_exchanges_as_fit(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="fine")])
    bob = hire(runtime, model, memory="tokens:120")
    for number in range(4):
        await bob.submit(f"{number} " + "word " * 30)
    newest = bob.history[-4:]
    assert newest.estimate <= 120 < bob.history[-6:].estimate
    await bob.submit("last")
    assert [text[0] for text in sent(model)] == ["2", "3", "l"]


async def test_what_a_memory_leaves_out_is_recorded_once_a_run(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(WITH_TOOL), tools=(now,), memory="last:1")
    await talk(bob, 2)
    run = bob.submit("use now")
    await run
    trimmed = [record.event for record in run.events if isinstance(record.event, HistoryTrimmed)]
    assert trimmed == [HistoryTrimmed(2, "last:1")]


async def test_a_revision_changes_the_memory_from_the_next_run_on(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="fine")])
    bob = hire(runtime, model)
    await talk(bob, 3)
    hire(runtime, model, memory="last:1")
    await bob.submit("last")
    assert sent(model) == ["prompt 2", "last"]


async def test_a_memory_and_a_full_context_leave_out_together(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="fine")], context_tokens=30)
    bob = hire(runtime, model, system_prompt="hi", memory="last:4")
    for number in range(6):
        await bob.submit(f"{number} " + "word " * 8)
        assert len(sent(model)) <= 3
    await bob.submit("without", fresh=True)
    await bob.submit("last")
    assert [text[0] for text in sent(model)] == ["4", "5", "l"], "a fresh run in between changes nothing"


# Its cost


async def test_twelve_short_prompts_need_not_cost_the_sum_of_all_before_them(runtime: Runtime) -> None:
    everything = await talk(hire(runtime, EchoModel(), "all"), 12)
    assert everything == sorted(everything)
    assert everything[-1] > 8 * everything[0]
    flat = await talk(hire(runtime, EchoModel(), "two", memory={"last": 2}), 12)
    assert len(set(flat[2:])) == 1
    assert flat[-1] == flat[2] < everything[-1] / 3
    bob = hire(runtime, EchoModel(), "fresh")
    assert set(await talk(bob, 12, fresh=True)) == {everything[0]}


async def test_the_size_of_the_history_is_estimated(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(reply="word " * 400)]))
    assert bob.history_tokens == 0
    await bob.submit("hello")
    assert 400 <= bob.history_tokens <= 600
    bob.reset()
    assert bob.history_tokens == 0


# Long prompts


def notices(run: Any) -> list[str]:
    return [record.event.text for record in run.events if isinstance(record.event, Noticed)]


async def test_a_long_prompt_is_told_once_before_it_is_sent(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(WITH_TOOL), tools=(now,))
    await bob.submit("hello")
    first = bob.submit("word " * 21_200)
    await first
    (notice,) = notices(first)
    assert notice == "about 21,300 tokens go to offline/bob, $0"
    run = bob.submit("use now")
    await run
    (notice,) = notices(run)
    assert notice == (
        "about 21,300 tokens go to offline/bob, $0; about 21,200 of them are history, which --fresh leaves out"
    )
    kinds = [type(record.event).__name__ for record in run.events]
    assert kinds.index("Noticed") < kinds.index("ModelReplied")
    fresh = bob.submit("hello", fresh=True)
    await fresh
    assert notices(fresh) == []


async def test_a_long_prompt_of_a_priced_model_tells_its_cost(runtime: Runtime) -> None:
    for model, price in (("openai/gpt-4o-mini", "about $0.00376"), ("openai/nobody-lists-this", "cost unknown")):
        runtime.models[model] = ScriptedModel([Rule(reply="fine")])
        run = runtime.create(Agent(name="bob", config=model)).submit("word " * 25_000, fresh=True)
        await run
        assert notices(run) == [f"about 25,000 tokens go to {model}, {price}"]


async def test_a_prompt_above_the_limit_is_refused_before_it_is_sent(runtime: Runtime) -> None:
    model = EchoModel()
    bob = hire(runtime, model, max_prompt_tokens=100)
    await bob.submit("word " * 40)
    run = bob.submit("hello")
    with pytest.raises(PromptLimitExceeded, match="max_prompt_tokens of bob allows 100") as failure:
        await run
    assert failure.value.__cause__ is run.error
    assert (failure.value.reason, failure.value.limit) == ("prompt", 100)
    assert failure.value.used is not None
    assert failure.value.used > 100
    for remedy in ("Nothing was sent", "--fresh", "%agent reset bob", "a memory such as last:10", "raise max_prompt"):
        assert remedy in str(run.error)
    assert (run.cost, run.turn) == (0.0, 0)
    assert await bob.submit("hello", fresh=True)
    for fresh in (False, True):
        with pytest.raises(RunFailed, match="Nothing was sent: shorten the prompt, or raise max_prompt_tokens"):
            await bob.submit("word " * 300, fresh=fresh)


async def test_the_limit_holds_for_each_turn_of_a_run(runtime: Runtime) -> None:
    def rows() -> str:
        """All rows."""
        return "row " * 500

    bob = hire(
        runtime, ScriptedModel([Rule(match="go", calls=[{"name": "rows"}])]), tools=(rows,), max_prompt_tokens=200
    )
    run = bob.submit("go")
    with pytest.raises(RunFailed, match="have its tools return less"):
        await run
    assert run.turn == 1
