"""Typed answers and thoughts in cells, and `--schema` and `--raw`."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, field_serializer

from support.doubles import FunctionModel, hire, settled
from support.inprocess import Notebook
from whisper_nb import OutputInvalid, Rule, Runtime, ScriptedModel
from whisper_nb.core.messages import Delta, Finish, ReasoningDelta, TextDelta
from whisper_nb.models.model import Request
from whisper_nb.notebook.cells.answers import COLUMNS, ROWS, WIDE, answer_html, answer_text
from whisper_nb.notebook.cells.render import run_html, run_text
from whisper_nb.notebook.magics.candidates import complete

CLASS = """
from dataclasses import dataclass
from typing import Any, Literal
@dataclass
class Verdict:
    good: bool
    why: str = "none"
    tags: list[str] | None = None
    def __repr__(self): raise RuntimeError("a repr of the user")
    def _repr_html_(self): raise RuntimeError("a repr of the user")
"""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)


class Tags(HTMLParser):
    """The tags and the texts of HTML."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.texts: list[str] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        assert all(name in ("style", "class", "dir", "data-mime-type") for name, _ in attrs), attrs

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


# The table of an answer


def test_an_object_is_a_table_of_its_fields() -> None:
    data = {"good": True, "why": "fits  \n well", "score": 0.5, "note": None, "tags": ["a", {"b": "é"}]}
    assert answer_text(data).splitlines() == [
        "field  value",
        "good   True",
        "why    fits well",
        "score  0.5",
        "note   None",
        'tags   ["a", {"b": "é"}]',
    ]
    texts = Tags(answer_html(data)).texts
    assert texts == [word for line in answer_text(data).splitlines() for word in re.split(" {2,}", line)]


def test_a_list_of_objects_is_a_table_with_a_column_for_each_field() -> None:
    assert answer_text([{"city": "Rome", "people": 3}, {"city": "Oslo", "cold": True}]).splitlines() == [
        "#  city  people  cold",
        "0  Rome  3",
        "1  Oslo          True",
    ]


def test_other_lists_are_tables_of_one_column() -> None:
    assert answer_text(["a", {"b": 1}, 2]).splitlines() == ["#  value", "0  a", '1  {"b": 1}', "2  2"]


@pytest.mark.parametrize(
    ("data", "shown"), [("yes", "yes"), (3, "3"), (0.5, "0.5"), (True, "True"), (None, "None"), ([], "[]"), ({}, "{}")]
)
def test_a_single_value_is_large(data: Any, shown: str) -> None:
    assert answer_text(data) == shown
    assert "font-size" in answer_html(data)
    assert Tags(answer_html(data)).texts == [shown]


def test_a_long_text_is_not_large() -> None:
    assert "font-size" not in answer_html("word " * 40)


def test_what_is_left_out_of_a_table_is_counted() -> None:
    rows = [{f"c{column}": "x" * 9_999 for column in range(COLUMNS + 3)} for _ in range(ROWS + 480)]
    for shown in (answer_text(rows), Tags(answer_html(rows)).texts[-1]):
        assert shown.endswith("… 480 more rows and 3 more columns in run.output")
    assert len(answer_html(rows)) < ROWS * COLUMNS * (WIDE + 100)
    assert answer_text(list(range(ROWS + 1))).endswith("… 1 more rows in run.output")
    assert answer_text({str(field): 1 for field in range(ROWS + 5)}).endswith("… 5 more fields in run.output")


@given(JSON)
def test_every_answer_is_shown_as_text_in_plain_tags(data: Any) -> None:
    assert Tags(answer_html(data)).tags <= {"div", "p", "table", "thead", "tbody", "tr", "th", "td", "small"}
    assert isinstance(answer_text(data), str)


def test_hostile_text_is_escaped() -> None:
    evil = "<img src=x onerror=alert(1)> $\\href{x}$"
    for data in (evil, [evil], {evil: evil}, [{evil: evil}], {"a": {evil: [evil]}}):
        assert "<img" not in answer_html(data)
        assert "&lt;img" in answer_html(data)


# A run with an output type in its cell


def answering(*replies: str) -> ScriptedModel:
    texts = iter(replies)
    return ScriptedModel([Rule(reply=lambda *_: next(texts))])


async def test_a_run_shows_its_instance_and_raw_its_text(runtime: Runtime) -> None:
    text = '{"answer": [{"good": true}, {"good": false}]}'
    run = hire(runtime, ScriptedModel([Rule(reply=text)])).submit("go", output_type=list[dict[str, bool]])
    await run
    assert run_text(run).endswith("#  good\n0  True\n1  False")
    assert "<td" in run_html(run)
    assert run_text(run, raw=True).endswith(text)
    assert "<td" not in run_html(run, raw=True)
    assert "".join(Tags(run_html(run, raw=True)).texts).endswith(text)


async def test_text_that_is_meant_as_text_stays_markdown_but_for_raw(runtime: Runtime) -> None:
    run = hire(runtime, ScriptedModel([Rule(reply="**bold**")])).submit("go", output_type=str)
    await run
    assert "<strong>bold</strong>" in run_html(run)
    assert "**bold**" in run_html(run, raw=True)


async def test_a_typed_answer_that_streams_is_code(runtime: Runtime) -> None:
    run = hire(runtime, ScriptedModel([Rule(reply='{"answer": 5}')])).submit("go", output_type=int)
    seen: list[str] = []
    runtime.observe(lambda record: seen.append(run_html(run)))
    await run
    assert any("<pre" in one and "{&quot;answer&quot;:" in one for one in seen)
    assert "<pre" not in run_html(run)
    assert "font-size" in run_html(run)


async def test_a_run_whose_answer_does_not_fit_shows_the_text_and_the_problems(runtime: Runtime) -> None:
    run = hire(runtime, ScriptedModel([Rule(reply='{"answer": "<b>five"}')])).submit("go", output_type=int)
    await settled(run)
    assert isinstance(run.error, OutputInvalid)
    for shown in (run_text(run), "".join(Tags(run_html(run)).texts)):
        assert "does not fit int" in shown
        assert '{"answer": "<b>five"}' in shown
    assert "<pre" in run_html(run)


class Sealed(BaseModel):
    """A type whose instances have no JSON."""

    n: int

    @field_serializer("n")
    def refuse(self, n: int) -> int:
        raise ValueError("no")


async def test_an_instance_without_json_is_shown_as_its_text(runtime: Runtime) -> None:
    run = hire(runtime, ScriptedModel([Rule(reply='{"n": 3}')])).submit("go", output_type=Sealed)
    assert (await run).n == 3
    assert run_text(run).endswith('{"n": 3}')
    assert "<pre" in run_html(run)


class Thinking(FunctionModel):
    """Thinks, and answers."""

    def __init__(self) -> None:
        super().__init__(self._stream)

    async def _stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        yield ReasoningDelta("<b>hm</b> " * 200)
        yield TextDelta("Four.")
        yield Finish("stop")


async def test_thoughts_are_folded_and_named_in_plain_text(runtime: Runtime) -> None:
    run = hire(runtime, Thinking()).submit("go")
    seen: list[str] = []
    runtime.observe(lambda record: seen.append(run_html(run)))
    await run
    assert "  thoughts: 1,999 characters, run.thoughts\n" in run_text(run)
    shown = run_html(run)
    assert "<details" in shown
    assert "open" not in shown[shown.index("<details") : shown.index("</details>")]
    assert "<b>" not in shown
    assert "".join(Tags(shown).texts).endswith("Four.\n")
    thinking = [one for one in seen if "thoughts: " in one and "Four" not in one]
    assert thinking
    assert not any("<details" in one for one in thinking), "a repaint would close it"


async def test_a_run_without_thoughts_says_nothing_of_them(runtime: Runtime) -> None:
    run = hire(runtime, ScriptedModel([Rule(reply="Four.")])).submit("go")
    await run
    assert "thoughts" not in run_text(run) + run_html(run)


# In the magics


async def test_a_cell_takes_the_type_of_its_answer(notebook: Notebook) -> None:
    notebook.run(CLASS)
    notebook.runtime.models["offline/judge"] = ScriptedModel([Rule(reply=json.dumps({"good": True, "tags": ["<i>"]}))])
    notebook.run("%%agent bob -o v --model offline/judge --schema Verdict\nIs this good?")
    output = await notebook["v"]
    assert type(output) is notebook["Verdict"]
    notebook.bench.outputs.settle()
    assert notebook.shown[-1]["data"]["text/plain"].splitlines()[-3:] == [
        "good   True", "why    none", 'tags   ["<i>"]'
    ]  # fmt: skip
    assert "&lt;i&gt;" in notebook.shown[-1]["data"]["text/html"]
    notebook.bench.display(notebook["v"])
    assert "why    none" in notebook.shown[-1]["data"]["text/plain"]


@pytest.mark.parametrize(
    ("schema", "answer", "value"),
    [
        ("int", "5", 5),
        ("list[str]", '["a"]', ["a"]),
        ('Literal["yes","no"]', '"yes"', "yes"),
        ("Literal['yes', 'no']", '"no"', "no"),
        ('list[Literal["a", "b"]]', '["b"]', ["b"]),
        ("\"Literal['yes', 'no']\"", '"no"', "no"),
        ("dict[str, int]", '{"a": 1}', {"a": 1}),
        ("int|None", "null", None),
        ("str", "5", "5"),
        ("{{ kind }}", "7", 7),
        ("list[{{ kind }}]", "[7]", [7]),
    ],
)
@pytest.mark.parametrize("magic", ["%agent ask bob -o v {} go", "%%agent bob -o v {}\ngo", "%agent ask bob {} -o v go"])
async def test_simple_types_need_no_class(notebook: Notebook, schema: str, answer: str, value: Any, magic: str) -> None:
    notebook.runtime.models["offline/judge"] = ScriptedModel([Rule(match="go", reply=answer)])
    notebook.run("kind = 'int'")
    notebook.run(magic.replace("{}", f"--model offline/judge --schema {schema}", 1))
    assert await notebook["v"] == value
    assert notebook["v"].prompt == "go"


async def test_raw_shows_the_text_in_this_cell_alone(notebook: Notebook) -> None:
    notebook.runtime.models["offline/judge"] = ScriptedModel([Rule(reply='{"answer": 5}')])
    notebook.run("%agent ask bob -o v --raw --schema int --model offline/judge go")
    await notebook["v"]
    notebook.bench.outputs.settle()
    assert notebook.shown[-1]["data"]["text/plain"].endswith('{"answer": 5}')
    notebook.bench.outputs.show(notebook["v"])
    assert notebook.shown[-1]["data"]["text/plain"].endswith("\n5")


async def test_new_gives_an_agent_the_type_of_all_its_answers(notebook: Notebook) -> None:
    notebook.run(CLASS)
    notebook.run("%agent new judge --schema list[Verdict]")
    assert notebook.runtime["judge"].agent.output_type.source == list[notebook["Verdict"]]  # noqa: F821
    notebook.run("%agent new judge --continue 4")
    assert notebook.runtime["judge"].agent.continuation.max_iterations == 4
    assert "leave out one of the two" in notebook.error("%agent new judge --continue 4 --schema int")


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        ("Verdit", "output type 'Verdit' is not defined in this notebook; did you mean 'Verdict'?"),
        ("Nothing_like_it", "run the cell that defines it"),
        ("value", "output type 'value' is of type int; give the name of a class"),
        ("json.Decoder", "output type 'json.Decoder' does not exist; did you mean 'JSONDecoder'?"),
        ("json.loads", "output type 'json.loads' is of type function; give the name of a class"),
        ("value.real", "output type 'value.real' does not exist; import the module that has it"),
        ("nomodule.Verdict", "output type: 'nomodule' is not defined in this notebook; import it first"),
        ("open('x')", "is no type: give the name of a class that a cell defines"),
        ("'open(1).x'", "is no type"),
    ],
)
async def test_a_type_that_is_none_is_an_error_before_anything_is_sent(
    notebook: Notebook, schema: str, said: str
) -> None:
    notebook.run(f"import json\nvalue = 3\n{CLASS}")
    assert said in notebook.error(f"%agent ask bob --schema {schema} go")
    assert not notebook.runtime["bob"].runs


async def test_a_dotted_name_leads_to_a_class_of_a_module(notebook: Notebook) -> None:
    notebook.run("import decimal, whisper_nb.core as core")
    notebook.run("%agent new judge --schema decimal.Decimal")
    assert notebook.runtime["judge"].agent.output_type.label == "Decimal"


async def test_dots_lead_through_modules(notebook: Notebook) -> None:
    notebook.run(f"import types\n{CLASS}\na = types.ModuleType('a'); a.b = types.ModuleType('b'); a.b.V = Verdict")
    notebook.run("%agent new judge --schema list[a.b.V]")
    assert notebook.runtime["judge"].agent.output_type.label == "list[Verdict]"


async def test_types_are_completed(notebook: Notebook) -> None:
    notebook.run(CLASS)
    for line in ("%%agent bob --schema ", "%agent new amy --schema ", "%agent ask bob --schema "):
        found = complete(notebook.bench, line.split(" ", 1)[1], is_cell=line.startswith("%%"))[1]
        assert {"Verdict", "list[Verdict]", "int"} <= {*found}
