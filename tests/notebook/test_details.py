"""Details: an open agent's sections, sent one by one, and its streaming text, sent in pieces."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator

import pytest

from support.doubles import FunctionModel, HeldModel, hire, quiet
from support.panels import QUICK, calling, joined, row_when
from whisper_nb import Agent, Runtime, ScriptedModel, Session
from whisper_nb.core.events import Record, TextStreamed
from whisper_nb.core.messages import Delta, Finish, TextDelta
from whisper_nb.core.text import printable
from whisper_nb.models.model import Request
from whisper_nb.notebook.panel.board import Board
from whisper_nb.notebook.panel.details import LINE, QUEUE, RUNS, TEXT, Facts
from whisper_nb.notebook.runtime import NotebookRuntime

KEY = "sk-canary-0123456789abcdef"


async def test_an_open_agent_has_all_sections_and_then_only_changes(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK), description="counts", system_prompt="You count.", timeout_s=9.0)
    board = Board(runtime)
    board.open(["bob", "nobody"])
    first = board.details()["bob"]
    assert first["spec"] == {
        "description": "counts", "role": "", "prompt": "You count.", "tools": [], "answers": "",
        "limits": "20 turns, 9 s",
        "revision": 1, "history": "0 messages, 0 tokens", "memory": "all",
    }  # fmt: skip
    assert (first["queue"], first["runs"], first.get("run"), "text" in first) == ([], [], None, False)
    assert board.details() == {}
    await bob.submit("hello")
    second = board.details()["bob"]
    assert set(second) == {"spec", "runs", "run", "text"}
    assert second["spec"]["history"].startswith("2 messages, ~")
    (run,) = second["runs"]
    assert second["run"] == run | {"steps": []}
    facts = {name: run[name] for name in ("id", "status", "prompt", "result", "error", "cost", "model")}
    assert facts == {
        "id": "bob#1", "status": "succeeded", "prompt": "hello", "result": "fine", "error": "", "cost": 0.0,
        "model": "offline/bob",
    }  # fmt: skip


async def test_only_text_is_sent_while_text_streams(runtime: Runtime) -> None:
    held = HeldModel()
    bob = hire(runtime, held)
    board = Board(runtime)
    run = bob.submit("go")
    call = await held.arrived()
    board.open(["bob"])
    assert board.details()["bob"]["text"] == {"run": "bob#1", "turn": 1, "at": 0, "to": 7, "text": "partial"}
    seen: list[dict[str, Facts]] = []
    runtime.observe(lambda record: seen.append(board.details()) if isinstance(record.event, TextStreamed) else None)
    call.release()
    await run
    assert seen == [{"bob": {"text": {"run": "bob#1", "turn": 1, "at": 7, "to": 16, "text": " and done"}}}]


async def test_tool_calls_are_sent_with_their_results(runtime: Runtime) -> None:
    bob, reached, go_on = calling(runtime, [Finish("tool_calls"), Finish("stop")])
    bob.submit("go")
    await reached.wait()
    board = Board(runtime)
    board.open(["bob"])
    details = board.details()["bob"]
    assert details["spec"]["tools"] == ["look"]
    assert details["run"]["steps"] == [
        {
            "arguments": '{"table": "orders"}',
            "outcome": "orders: 12 rows",
            "line": '✓ look(table="orders") → orders: 12 rows',
            "failed": False,
        }
    ]
    go_on.set()


async def test_the_queue_is_sent_with_the_needs_of_each_run(runtime: Runtime) -> None:
    held = HeldModel()
    amy, bob = hire(runtime, held, "amy"), hire(runtime, held)
    board = Board(runtime)
    board.open(["bob"])
    first = amy.submit("first")
    bob.submit([first, " and more"], priority="high")
    await row_when(bob, runtime, queued=1)
    (queued,) = board.details()["bob"]["queue"]
    assert queued | {"since": 0} == {
        "id": "bob#1", "priority": "high", "prompt": "⟨amy#1⟩ and more", "since": 0, "fresh": False, "needs": ["amy#1"],
    }  # fmt: skip


async def test_the_config_is_sent_with_the_source_of_each_value_and_without_the_key() -> None:
    async with NotebookRuntime(environ={"OPENAI_API_KEY": KEY}) as runtime:
        runtime.create(Agent(name="amy", config={"model": "openai/gpt-4o-mini", "temperature": 0.5}))
        with pytest.warns(UserWarning, match="the API key is a literal"):
            runtime.create(Agent(name="bob", config={"model": "openai/gpt-4o-mini", "api_key": f"{KEY}x"}))
        board = Board(runtime)
        board.open(["amy", "bob"])
        details = board.details()
        assert {"field": "temperature", "value": "0.5", "from": "agent amy"} in details["amy"]["config"]
        assert [row["from"] for row in details["amy"]["config"] if row["field"] == "api_key"] == ["env OPENAI_API_KEY"]
        assert KEY not in json.dumps([details, board.all_rows()])


TEXTS = [
    pytest.param(["one", " two", " three"], id="words"),
    pytest.param(["", "x" * 9_000, "y", "z" * 9_000], id="longer than what is told"),
    pytest.param(["a\ud800", "b", "\udc00\ud800", "\x1bc"], id="lone surrogates"),
    pytest.param(["it is \ud83d", "\ude00, ", "well"], id="an emoji in halves"),
    pytest.param(["😀", " one", " two"], id="an emoji"),
    pytest.param(["one\r\n", "two", " three"], id="lines of Windows"),
    pytest.param(["one\r", "\ntwo", " three"], id="such a line end in halves"),
]


async def say(request: Request) -> AsyncGenerator[Delta, None]:
    """The pieces that the prompt lists."""
    for piece in json.loads(request.messages[-1].text):
        yield TextDelta(piece)
    yield Finish("stop")


@pytest.mark.parametrize("pieces", TEXTS)
@pytest.mark.parametrize("every", [1, 2, 5])
async def test_the_pieces_of_a_text_join_to_the_text(runtime: Runtime, pieces: list[str], every: int) -> None:
    bob = hire(runtime, FunctionModel(say))
    board = Board(runtime)
    board.open(["bob"])
    text: Facts | None = None
    shown = 0

    def show(record: Record) -> None:
        nonlocal text, shown
        if record.seq % every == 0 and (piece := board.details().get("bob", {}).get("text")):
            text = joined(text, piece)
            assert text is not None
            so_far = bob.runs[0].text
            assert len(so_far) - 1 <= text["to"] <= len(so_far), "what may be half a character waits"
            assert text["text"] == printable(so_far[: text["to"]])[-len(text["text"]) or TEXT :]
            assert len(text["text"]) >= min(text["to"], TEXT) - so_far.count("\r\n") - so_far.count("\ud83d")
            shown += 1

    runtime.observe(show)
    run = bob.submit(json.dumps(pieces * 5))
    await run
    text = joined(text, board.details().get("bob", {}).get("text"))
    assert shown
    assert text is not None
    assert printable(run.text).endswith(text["text"])
    assert text["to"] == len(run.text)


async def test_an_agent_that_is_opened_late_has_the_end_of_its_text(runtime: Runtime) -> None:
    bob = hire(runtime, FunctionModel(say))
    run = bob.submit(json.dumps(["x" * TEXT, "y" * 10, "\r"]))
    await run
    board = Board(runtime)
    board.open(["bob"])
    text = board.details()["bob"]["text"]
    assert (text["at"], text["to"], len(run.text)) == (11, TEXT + 11, TEXT + 11)
    assert text["text"] == printable(run.text[11:])


async def test_each_turn_has_its_own_text(runtime: Runtime) -> None:
    bob, _, go_on = calling(runtime, [Finish("tool_calls"), Finish("stop")])
    go_on.set()
    board = Board(runtime)
    board.open(["bob"])
    shown: list[Facts] = []

    def look_at(record: Record) -> None:
        if piece := board.details().get("bob", {}).get("text"):
            shown.append(joined(shown[-1] if shown else None, piece))

    runtime.observe(look_at)
    await bob.submit("go")
    texts = list(dict.fromkeys(text["text"] for text in shown))
    assert texts == ["", "let me see", "twelve, I would say"]


async def test_long_sections_are_limited(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    bob.pause()
    for number in range(QUEUE + 5):
        bob.submit(f"{number}: {'x' * 400}")
    await quiet()
    board = Board(runtime)
    board.open(["bob"])
    details = board.details()["bob"]
    assert [run["id"] for run in details["queue"]] == [f"bob#{number}" for number in range(1, QUEUE + 1)]
    assert {len(run["prompt"]) for run in details["queue"]} == {LINE}
    bob.resume()
    await quiet()
    runs = board.details()["bob"]["runs"]
    assert [run["id"] for run in runs] == [f"bob#{QUEUE + 5 - number}" for number in range(RUNS)], "the newest first"


async def test_an_agent_that_is_opened_again_has_all_sections_again(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel(QUICK))
    await bob.submit("hello")
    board = Board(runtime)
    board.open(["bob"])
    first = board.details()
    board.open([])
    assert board.details() == {}
    board.open(["bob"])
    assert board.details() == first


# The cost of streaming: counted, not timed


class Counting(NotebookRuntime):
    """Counts the requests for a session."""

    asked = 0

    def get(self, name: str) -> Session | None:
        self.asked += 1
        return super().get(name)


def token(board: Board, agent: str = "bob") -> None:
    board.observe(Record(0, 0.0, agent, f"{agent}#1", TextStreamed("…")))


async def test_text_of_a_closed_agent_marks_nothing() -> None:
    heard: list[int] = []
    async with Counting(environ={}) as runtime:
        hire(runtime, ScriptedModel(QUICK))
        hire(runtime, ScriptedModel(QUICK), "amy")
        board = Board(runtime, lambda: heard.append(1))
        board.open(["amy"])
        board.all_rows()
        board.details()
        heard.clear()
        runtime.asked = 0
        for _ in range(1000):
            token(board)
        assert (runtime.asked, heard, board.dirty, board.version) == (0, [], False, 0)


async def test_text_of_an_open_agent_does_not_mark_its_row(runtime: Runtime) -> None:
    held = HeldModel()
    bob = hire(runtime, held)
    bob.submit("go")
    await held.arrived()
    board = Board(runtime)
    board.open(["bob"])
    board.all_rows()
    board.details()
    before = board.version
    token(board)
    assert board.dirty
    assert (board.changes(["bob"], 1e9), board.details(), board.version) == (({}, 0), {}, before)
    assert not board.dirty


async def test_each_character_of_a_text_is_sent_once(runtime: Runtime) -> None:
    """Whatever its length: no other section is sent with it, and no character twice."""
    bob = hire(runtime, FunctionModel(say))
    board = Board(runtime)
    board.open(["bob"])
    told: list[Facts] = []

    def tell(record: Record) -> None:
        found = board.details().get("bob", {})
        if isinstance(record.event, TextStreamed):
            told.append(found)

    runtime.observe(tell)
    run = bob.submit(json.dumps(["a word, "] * 2000))
    await run
    assert [set(one) for one in told] == [{"text"}] * 2000
    assert sum(len(one["text"]["text"]) for one in told) == len(run.text) == 2 * TEXT
