"""The transcript of a run: items in the order of its records, each sent once and in part; and its request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from support.doubles import FunctionModel, HeldModel, hire, settled
from support.panels import Watched, look, looked_at
from support.provider import Provider
from whisper_nb import Agent, ModelError, Rule, Run, Runtime, ScriptedModel
from whisper_nb.config.aiconfig import AIConfig
from whisper_nb.core.events import ModelReplied, Record, RunContinued, RunStarted
from whisper_nb.core.limits import NO_LIMITS
from whisper_nb.core.messages import (
    AssistantMessage,
    CallDelta,
    Delta,
    Finish,
    ReasoningDelta,
    TextDelta,
    ToolCall,
    Usage,
)
from whisper_nb.core.turns import THOUGHTS
from whisper_nb.models.model import Request
from whisper_nb.notebook.cells.render import causes, run_html, run_text
from whisper_nb.notebook.panel.details import Facts
from whisper_nb.notebook.panel.panel import BURST, BYTES_PER_S, SLOWEST_S
from whisper_nb.notebook.panel.transcript import IN_ALL, ITEMS, PIECE, TEXT, OpenRun, piece, request_text
from whisper_nb.notebook.runtime import NotebookRuntime
from whisper_nb.tools.outputs import OutputType

CALLS = [
    Rule("^count", calls=[{"name": "look", "arguments": {"table": "orders"}}, {"name": "gone", "arguments": {}}]),
    Rule(reply="**12** rows", role="tool"),
    Rule(reply="ok"),
]


def everything(run: Run, budget: float = 1e9) -> Facts:
    """What a page knows after all messages about the run."""
    opened = OpenRun(run)
    known: Facts = {"items": []}
    for _ in range(1000):
        new, _ = opened.change(budget)
        known["items"] += new.pop("items", [])
        known |= new
        if not opened.dirty:
            return known
    raise AssertionError("it never ends")


def kinds(known: Facts) -> list[str]:
    return [item["kind"] for item in known["items"]]


async def test_a_run_with_tools_has_its_messages_calls_results_and_costs(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(CALLS), tools=(look,))
    run = bob.submit("count the rows")
    await run
    known = everything(run)
    assert kinds(known) == ["start", "reply", "call", "call", "result", "result", "reply", "end"]
    start, first, one, _, *results, last, end = known["items"]
    assert start["text"] == {"text": "count the rows", "to": 14, "more": 0}
    assert (first["turn"], last["turn"], last["text"]["text"]) == (1, 2, "**12** rows")
    assert last["tree"] == [["p", "", ["strong", "", "12"], " rows"]]
    prints = [record.event.fingerprint for record in run.events if isinstance(record.event, ModelReplied)]
    assert [first["fingerprint"], last["fingerprint"]] == prints
    assert len({*prints}) == 2
    assert all(len(one) == 64 for one in prints)
    assert (last["input"] > first["input"] > 0, last["cost"]) == (True, 0.0)
    assert (one["line"], one["arguments"]["text"]) == ('look(table="orders")', '{"table": "orders"}')
    assert {result["text"]["text"]: result["failed"] for result in results}["orders: 12 rows"] is False
    assert {result["call"] for result in results} == {item["call"] for item in known["items"] if item["kind"] == "call"}
    assert end["outcome"] == known["run"]["status"] == "succeeded"
    assert [item["at"] for item in known["items"]] == sorted(item["at"] for item in known["items"])
    assert everything(run, budget=1) == known, "in small portions it is the same"


async def test_an_item_is_sent_once_and_a_text_that_streams_in_pieces(runtime: Runtime) -> None:
    held = HeldModel()
    run = hire(runtime, held).submit("go")
    call = await held.arrived()
    opened = OpenRun(run)
    new, _ = opened.change(1e9)
    assert (kinds(new), new["live"]["text"], new["first"]) == (["start"], "partial", True)
    assert opened.change(1e9) == ({}, 0)
    call.released.set()
    await run
    new, _ = opened.change(1e9)
    assert (kinds(new), new["run"]["status"]) == (["reply", "end"], "succeeded")
    assert "live" not in new
    assert "first" not in new


async def test_the_reasoning_before_a_reply_is_kept_in_part(runtime: Runtime) -> None:
    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        yield ReasoningDelta("I should ")
        yield ReasoningDelta("count." + "x" * THOUGHTS)
        yield TextDelta("12")
        yield Finish("stop", Usage(1, 1), 0.25)

    run = hire(runtime, FunctionModel(stream)).submit("go")
    await run
    (reply,) = [item for item in everything(run)["items"] if item["kind"] == "reply"]
    assert reply["thoughts"]["text"].startswith("I should count.xxx")
    assert reply["thoughts"]["to"] + reply["thoughts"]["more"] == THOUGHTS
    assert len(piece(run, reply["at"], "thoughts", TEXT)) == THOUGHTS - TEXT


async def test_the_reasoning_of_a_reply_in_progress_is_sent_as_it_comes(runtime: Runtime) -> None:
    go_on, thought = asyncio.Event(), asyncio.Event()

    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        yield ReasoningDelta("I should ")
        yield ReasoningDelta("count.")
        thought.set()
        await go_on.wait()
        yield TextDelta("12")
        yield Finish("stop", Usage(1, 1), 0.25)

    run = hire(runtime, FunctionModel(stream)).submit("go")
    opened = OpenRun(run)
    await thought.wait()
    new, _ = opened.change(1e9)
    assert (new["thinking"]["text"], run.text) == ("I should count.", "")
    assert opened.change(1e9) == ({}, 0)
    go_on.set()
    await run
    new, _ = opened.change(1e9)
    assert "thinking" not in new
    assert new["items"][0]["thoughts"]["text"] == "I should count."


async def test_a_run_that_goes_on_by_itself_says_why(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule(reply="ok")]))
    run = Run(bob, 1, ["count"], priority="normal", limits=NO_LIMITS, config=AIConfig(), fresh=False)
    reply = ModelReplied(AssistantMessage("twelve"), Usage(10, 2), 0.5)
    asked = "count: 'twelve' is not a whole number. " + "x" * TEXT
    go_on = RunContinued("Go on.", "continuation")
    events = [RunStarted("count", "m"), reply, RunContinued(asked, "invalid"), reply, go_on, reply, go_on, reply]
    for seq, event in enumerate(events):
        run._apply(Record(seq, 100.0 + seq, "bob", run.id, event))
    items = everything(run)["items"]
    assert [item["line"] for item in items if item["kind"] == "continued"] == [
        "Asked again",
        "Going on by itself",
        "Going on by itself",
    ]
    assert items[2]["text"]["text"] + piece(run, items[2]["at"], "text", TEXT) == asked
    assert items[3]["seconds"] == 1.0
    sent = json.loads(request_text(bob, run))["messages"]
    on = ["Go on.", "twelve"]
    assert [message["content"] for message in sent[1:]] == ["count", "twelve", asked, "twelve", *on, *on]
    assert "asked again: count: 'twelve' is not" in run_text(run)
    assert run_text(run).count("going on by itself: Go on.") == 2


async def test_a_megabyte_travels_in_pieces_that_were_asked_for(runtime: Runtime) -> None:
    text = "a long answer. " * 70_000
    run = hire(runtime, ScriptedModel([Rule(reply=text)])).submit("go " + "y" * 10_000)
    await run
    known = everything(run)
    assert len(json.dumps(known)) < 5 * TEXT
    start, reply = (item for item in known["items"] if item["kind"] in ("start", "reply"))
    assert reply["text"]["to"] + reply["text"]["more"] == len(text) == 1_050_000
    assert start["text"]["text"] + piece(run, start["at"], "text", TEXT) == run.prompt
    whole, at = reply["text"]["text"], reply["text"]["to"]
    while part := piece(run, reply["at"], "text", at):
        assert len(part) <= PIECE
        whole, at = whole + part, at + PIECE
    assert whole == text


async def test_failures_and_retries_are_told(runtime: Runtime) -> None:
    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        seen.append(request)
        if len(seen) == 1:
            raise ModelError("too many requests", model="offline/bob", retryable=True, retry_after_s=0.001)
        raise ModelError("no luck", model="offline/bob")
        yield Finish("stop")

    seen: list[Request] = []
    bob = hire(runtime, FunctionModel(stream))
    bob.configure(retries=1)
    run = bob.submit("go")
    await settled(run)
    known = everything(run)
    assert kinds(known) == ["start", "note", "end"]
    assert "too many requests" in known["items"][1]["text"]
    assert (known["items"][2]["outcome"], known["items"][2]["error"]) == ("failed", "no luck")


async def test_a_run_that_failed_or_was_cancelled_keeps_the_text_of_its_incomplete_reply(runtime: Runtime) -> None:
    long = "so far " * TEXT
    failed = hire(
        runtime, ScriptedModel([*CALLS[:1], Rule(reply=long, role="tool", truncate=len(long))]), tools=(look,)
    )
    run = failed.submit("count the rows")
    await settled(run)
    known = everything(run)
    reply, end = known["items"][1], known["items"][-1]
    assert (run.status, reply["text"]["text"], end["outcome"]) == ("failed", "", "failed")
    assert end["text"]["text"] + piece(run, end["at"], "text", TEXT) == run.text[: TEXT + PIECE]
    held = HeldModel()
    run = hire(runtime, held, "eve").submit("go")
    await held.arrived()
    run.cancel()
    await settled(run)
    assert everything(run)["items"][-1]["text"]["text"] == "partial"


async def test_a_complete_reply_is_not_repeated_at_the_end_of_a_failed_run(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="Let me see.", calls=[{"name": "look", "arguments": {"table": "orders"}}])])
    run = hire(runtime, model, tools=(look,), max_turns=1).submit("go")
    await settled(run)
    known = everything(run)
    assert (run.status, "text" in known["items"][-1]) == ("failed", False)


async def test_of_a_run_of_very_many_records_the_newest_are_sent_and_its_prompt(runtime: Runtime) -> None:
    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        turns.append(request)
        if len(turns) < ITEMS:
            yield CallDelta(0, f"c{len(turns)}", "look", '{"table": "t"}')
        yield TextDelta("x")
        yield Finish("tool_calls" if len(turns) < ITEMS else "stop", Usage(1, 1), 0.0)

    turns: list[Request] = []
    run = hire(runtime, FunctionModel(stream), tools=(look,), max_turns=2 * ITEMS).submit("the prompt")
    await run
    known = everything(run)
    assert known["cut"] == len(run.events) - ITEMS > ITEMS
    assert known["items"][0]["text"]["text"] == "the prompt"
    assert kinds(known)[-1] == "end"
    assert [item["turn"] for item in known["items"] if item["kind"] == "reply"][-1] == len(turns)
    assert len(known["items"]) <= ITEMS + 1


async def test_a_page_that_falls_behind_a_run_gets_its_newest_records(runtime: Runtime) -> None:
    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        turns.append(request)
        if len(turns) == 2:
            half.set()
            await go_on.wait()
        if len(turns) < 2 * ITEMS:
            yield CallDelta(0, f"c{len(turns)}", "look", '{"table": "t"}')
        yield TextDelta("x")
        yield Finish("tool_calls" if len(turns) < 2 * ITEMS else "stop", Usage(1, 1), 0.0)

    turns: list[Request] = []
    half, go_on = asyncio.Event(), asyncio.Event()
    run = hire(runtime, FunctionModel(stream), tools=(look,), max_turns=2 * ITEMS).submit("the prompt")
    await half.wait()
    opened = OpenRun(run)
    assert opened.change(1e9)[0]["cut"] == 0
    go_on.set()
    await run
    new, _ = opened.change(1e9)
    assert (new["first"], new["cut"]) == (True, len(run.events) - ITEMS)
    assert (new["items"][0]["kind"], new["items"][-1]["kind"]) == ("start", "end")
    assert [item["turn"] for item in new["items"] if item["kind"] == "reply"][-1] == len(turns)


HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m\ud800\x00"


async def test_hostile_text_is_printable_and_can_be_sent(runtime: Runtime) -> None:
    rules = [Rule("^<", calls=[{"name": HOSTILE, "arguments": {HOSTILE: HOSTILE}}], reply=HOSTILE), Rule(reply=HOSTILE)]
    bob = hire(runtime, ScriptedModel(rules))
    run = bob.submit(HOSTILE)
    await settled(run)
    for sent in (json.dumps(everything(run), ensure_ascii=False), request_text(bob, run)):
        assert "\x1b" not in sent.encode().decode()
        assert "onerror" in sent


async def test_an_error_without_a_message_is_named(runtime: Runtime) -> None:
    class Odd(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no message")

    async def stream(_: Request) -> AsyncGenerator[Delta, None]:
        raise Odd
        yield TextDelta("")

    run = hire(runtime, FunctionModel(stream)).submit("hello")
    await settled(run)
    assert everything(run)["run"]["error"] == "Odd"
    assert all("Odd" in shown for shown in (run_html(run), run_text(run), *causes([run])))


async def test_the_request_has_the_history_before_the_run_and_no_key() -> None:
    async with NotebookRuntime(environ={"MINE_KEY": "sk-verysecretkey1234567890"}) as runtime:
        bob = hire(runtime, ScriptedModel(CALLS), tools=(look,), system_prompt="Be brief.")
        bob.configure(api_key="os.environ/MINE_KEY", temperature=0.5)
        first, second, third = bob.submit("hello"), bob.submit("count sk-abcdefabcdefabcdef123"), bob.submit("bye")
        await asyncio.gather(first, second, third)
        text = request_text(bob, second)
        body: dict[str, Any] = json.loads(text)
        assert [(one["role"], one["content"]) for one in body["messages"][:4]] == [
            ("system", "Be brief."), ("user", "hello"), ("assistant", "ok"), ("user", "count [redacted]"),
        ]  # fmt: skip
        assert [one["role"] for one in body["messages"][4:]] == ["assistant", "tool", "tool"]
        assert body["tools"][0]["function"]["name"] == "look"
        assert body["parameters"]["temperature"] == 0.5
        assert "sk-" not in text
        assert json.loads(request_text(bob, first))["messages"][1:] == [{"role": "user", "content": "hello"}]


async def test_the_request_has_as_much_of_the_history_as_was_sent(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(CALLS), system_prompt="Be brief.", memory={"last": 2})
    for number in range(3):
        await bob.submit(f"hello {number}")
    fresh = bob.submit("alone", fresh=True)
    await fresh
    run = bob.submit("now")
    await run
    prompts = [one["content"] for one in json.loads(request_text(bob, run))["messages"] if one["role"] == "user"]
    assert prompts == ["hello 1", "hello 2", "now"]
    assert [one["role"] for one in json.loads(request_text(bob, fresh))["messages"]] == ["system", "user"]


async def test_the_request_of_a_prompt_that_was_sent_twice_is_that_of_its_run(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(CALLS), tools=(look,))
    runs = [bob.submit(prompt) for prompt in ("again", "count", "again", "bye", "again")]
    await asyncio.gather(*runs)
    sent = [len(json.loads(request_text(bob, run))["messages"]) for run in runs]
    assert sent == [2, 7, 9, 11, 13]
    await bob.submit("again", fresh=True)
    assert sent == [len(json.loads(request_text(bob, run))["messages"]) for run in runs]
    bob.configure(temperature=0.5)
    note, _, body = request_text(bob, runs[2]).partition("\n")
    assert note == "// made from what is known now: the agent, its config or its history has changed since"
    assert json.loads(body)["messages"][-1]["content"] == "again"


async def test_the_request_is_the_body_that_the_model_sends() -> None:
    async with Provider() as provider, Runtime(environ={"OPENAI_API_KEY": "x"}) as runtime:
        config = {"model": "openai/mine", "api_base": provider.url, "extra": {"top_k": 4}}
        bob = runtime.create(Agent(name="bob", config=config, tools=(look,), memory="last:1"))
        for prompt in ("one", "two", "three"):
            await (run := bob.submit(prompt))
        assert json.loads(request_text(bob, run)) == provider.requests[-1].body
        typed = bob.submit("four", output_type=int, config={"output_mode": "prompt"})
        await settled(typed)
        assert json.loads(request_text(bob, typed)) == provider.requests[-1].body


async def test_the_request_has_no_more_than_fitted(runtime: Runtime) -> None:
    model = ScriptedModel([Rule(reply="fine " * 20)], context_tokens=150)
    bob = hire(runtime, model)
    for number in range(8):
        await (run := bob.submit(f"prompt {number}"))
        sent = json.loads(request_text(bob, run))["messages"]
        assert [one["content"] for one in sent] == [one.text for one in model.requests[-1].messages]
    assert len(sent) < 16


async def test_the_request_of_a_long_run_is_bounded(runtime: Runtime) -> None:
    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        turns.append(request)
        yield TextDelta("t" * 20_000)
        if len(turns) < ITEMS:
            yield CallDelta(0, f"c{len(turns)}", "look", '{"table": "t"}')
        yield Finish("tool_calls" if len(turns) < ITEMS else "stop", Usage(1, 1), 0.0)

    turns: list[Request] = []
    bob = hire(runtime, FunctionModel(stream), tools=(look,), max_turns=ITEMS)
    await (run := bob.submit("the prompt"))
    text = request_text(bob, run)
    note, _, body = text.partition("\n")
    assert note == f"// {2 * (ITEMS - 1) - ITEMS} older messages were sent and are not shown"
    assert [one["role"] for one in json.loads(body)["messages"]][:2] == ["system", "user"]
    assert len(text) < 2 * IN_ALL


# Requests of a view


@pytest.fixture
async def panel(runtime: NotebookRuntime) -> AsyncGenerator[Watched, None]:
    with looked_at(runtime) as panel:
        yield panel


def told(panel: Watched) -> list[Facts]:
    """What the panel says of runs from now on."""
    panel.clock.advance(1)  # type: ignore[attr-defined]
    return [one["transcripts"] for one in panel.told() if "transcripts" in one]


async def test_an_open_run_is_sent_and_a_closed_one_is_not(runtime: NotebookRuntime, panel: Watched) -> None:
    run = runtime["bob"].submit("hello")
    await run
    told(panel)
    panel.say("transcript", run="bob#1")
    (sent,) = told(panel)
    assert kinds(sent["bob#1"]) == ["start", "reply", "end"]
    assert told(panel) == []
    panel.say("transcript", run="bob#1", view="view1")
    assert told(panel)[0]["bob#1"]["first"] is True, "opened again: from the beginning"
    panel.ask("hello")
    assert told(panel)[0]["bob#1"]["first"] is True, "after a lost message, too"
    panel.say("transcript", run="")
    await runtime["bob"].submit("again")
    assert told(panel) == []
    assert panel.fail("transcript", run="bob#9").startswith("no run bob#9")


async def test_a_long_transcript_stays_within_the_byte_budget(runtime: NotebookRuntime, panel: Watched) -> None:
    async def stream(request: Request) -> AsyncGenerator[Delta, None]:
        turns.append(request)
        yield TextDelta("a long thought. " * 1_000)
        if len(turns) < 40:
            yield CallDelta(0, f"c{len(turns)}", "look", '{"table": "t"}')
        yield Finish("tool_calls" if len(turns) < 40 else "stop", Usage(1, 1), 0.0)

    turns: list[Request] = []
    await hire(runtime, FunctionModel(stream), "eve", tools=(look,), max_turns=50).submit("go")
    told(panel)
    panel.say("transcript", run="eve#1")
    sent = seconds = 0.0
    items: list[Facts] = []
    while not (items and items[-1]["kind"] == "end"):
        panel.clock.advance(0.1)  # type: ignore[attr-defined]
        seconds += 0.1
        for one in panel.told():
            sent += len(json.dumps(one))
            items += one.get("transcripts", {}).get("eve#1", {}).get("items", [])
        assert sent <= BURST + BYTES_PER_S * seconds + 4 * TEXT, "one item may go beyond it"
        assert seconds < 60
    assert len(items) >= 1 + 40 + 39 + 39 + 1


async def test_pieces_and_the_request_come_to_the_view_that_asked(runtime: NotebookRuntime, panel: Watched) -> None:
    await runtime["bob"].submit("z" * (TEXT + 5))
    started = next(
        at for at, record in enumerate(runtime["bob"].runs[0].events) if "Started" in type(record.event).__name__
    )
    panel.say("part", run="bob#1", item=started, field="text", start=TEXT)
    (part,) = panel.told("part")
    assert (part["view"], part["run"], part["item"], part["field"], part["text"]) == (
        "view1",
        "bob#1",
        started,
        "text",
        "zzzzz",
    )
    panel.say("request", run="bob#1", start=0)
    (part,) = panel.told("part")
    assert (part["field"], part["more"], json.loads(part["text"])["messages"][-1]["role"]) == ("request", 0, "user")
    assert panel.fail("part", run="bob#1", item=99, field="text", start=0) == "bob#1 has no record 99"
    before = panel.dropped
    panel.ask("part", run="bob#1", item=0, field="prompt", start=0)
    assert panel.dropped == before + 1


async def test_the_request_has_no_key_of_the_environment_whatever_it_looks_like() -> None:
    async with NotebookRuntime(environ={"OPENAI_API_KEY": "of-no-known-form-0123"}) as runtime:
        with looked_at(runtime) as panel:
            await (run := runtime["bob"].submit("my key is of-no-known-form-0123"))
            panel.say("request", run=run.id, start=0)
            (part,) = panel.told("part")
            assert "my key is [redacted]" in part["text"]


async def test_many_pieces_delay_updates_by_seconds_alone(runtime: NotebookRuntime, panel: Watched) -> None:
    await (run := runtime["bob"].submit("z" * 2 * PIECE))
    for _ in range(100):
        panel.say("part", run=run.id, item=1, field="text", start=0)
    panel.clock.advance(0.1)  # type: ignore[attr-defined]
    panel.told()
    runtime["amy"].pause()
    panel.clock.advance(SLOWEST_S)  # type: ignore[attr-defined]
    assert panel.told(), "an update for the other agents"


async def test_run_again_submits_the_same_prompt(runtime: NotebookRuntime, panel: Watched) -> None:
    run = runtime["bob"].submit(
        "hello", priority="high", config={"temperature": 0.5}, timeout_s=50, max_turns=2, fresh=True
    )
    await run
    assert panel.say("again", run="bob#1") == "bob#2 submitted: the prompt of bob#1 again"
    again = runtime["bob"].runs[-1]
    assert (again.prompt, again.priority, again.config, again.limits) == ("hello", "high", run.config, run.limits)
    assert again.fresh
    await again


async def test_run_again_asks_for_an_answer_of_the_same_type(runtime: NotebookRuntime, panel: Watched) -> None:
    amy = hire(runtime, ScriptedModel([Rule(reply="12")]), "amy", output_type=int)
    typed, text, own = amy.submit("count"), amy.submit("count", output_type=str), amy.submit("count", output_type=float)
    await asyncio.gather(typed, text, own)
    for run in (typed, text, own):
        panel.say("again", run=run.id)
        again = amy.runs[-1]
        await again
        assert (again.output, type(again.output)) == (run.output, type(run.output))


async def test_a_typed_answer_is_a_table_and_other_replies_are_markdown(runtime: Runtime) -> None:
    answer = '{"city": "Rome", "people": 3}'
    run = Run(
        hire(runtime, ScriptedModel(CALLS)), 1, ["count"], priority="normal", limits=NO_LIMITS, config=AIConfig(),
        fresh=False, output_type=OutputType.of(dict[str, str | int]),
    )  # fmt: skip
    calls = AssistantMessage("**look** first", (ToolCall("c1", "look", "{}"),))
    replies = [
        ModelReplied(one, None, None) for one in (calls, AssistantMessage("It is *Rome*"), AssistantMessage(answer))
    ]
    for seq, event in enumerate([RunStarted("count", "m"), *replies]):
        run._apply(Record(seq, 100.0 + seq, "bob", run.id, event))
    trees = [item["tree"] for item in everything(run)["items"] if item["kind"] == "reply"]
    assert trees[0] == [["p", "", ["strong", "", "look"], " first"]]
    assert trees[1] == [["p", "", "It is ", ["em", "", "Rome"]]]
    assert trees[2][0][0] == "table"
    assert everything(run)["items"][-1]["text"]["text"] == answer
