"""Types of answers: schemas, instances out of what models write, and problems in words."""

# ruff: noqa: UP045, ISC004 - unions in all their forms
from __future__ import annotations

import copy
import enum
import json
import math
import pickle
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NewType, Optional

import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, field_validator
from typing_extensions import TypedDict

from support.answer_types import TYPES, Tree, Typed
from whisper_nb import Agent, ConfigError
from whisper_nb.tools.examples import example_of
from whisper_nb.tools.json_text import values_in, without_fence
from whisper_nb.tools.outputs import OutputType, json_of
from whisper_nb.tools.type_names import type_of_cells

Color = enum.Enum("Color", {"RED": "red", "GREEN": "green"})
Height = NewType("Height", int)


class Point(TypedDict):
    x: int
    y: int


@dataclass
class Verdict:
    guilty: bool
    score: int = 0


class Case(BaseModel):
    name: str
    verdicts: list[Verdict]
    extra: Annotated[int, Field(ge=0)] = 1


def value_of(type_: Any, text: str) -> Any:
    checked = OutputType.of(type_).check(text)
    assert checked.problems == ()
    return checked.value


def problems_of(type_: Any, text: str) -> str:
    checked = OutputType.of(type_).check(text)
    assert checked.value is None
    assert checked.problems
    return "; ".join(checked.problems)


# Round trips

BEFORE = st.sampled_from(["", "Sure, here it is:\n", 'I {think} it\'s "this" [1]: ', "```json\n", 'Like {"a" or so. '])
BEHIND = st.sampled_from(["", "\n```\nThat's all.", " \n\nHope {this} helps!", "]}"])


@given(typed=TYPES.filter(lambda typed: typed[0] is not str), data=st.data(), before=BEFORE, behind=BEHIND)
@settings(max_examples=80)
def test_values_of_random_types_come_back_from_all_that_models_write(
    typed: Typed, data: st.DataObject, before: str, behind: str
) -> None:
    source, values = typed
    value = data.draw(values)
    output = OutputType.of(source)
    plain = TypeAdapter(source).dump_json(value).decode()
    is_wrapped = set(output.json_schema.get("properties", ())) == {"answer"}
    whole = f'{{"answer": {plain}}}' if is_wrapped else plain
    pretty = json.dumps(json.loads(whole), indent=2, ensure_ascii=False)
    for text in (plain, whole, pretty, f" \n{whole}\n", f"```json\n{pretty}\n```", f"{before}{whole}{behind}"):
        assert output.check(text).problems == ()
        assert output.check(text).value == value


@given(typed=TYPES)
@settings(max_examples=60)
def test_schemas_have_an_object_at_their_root_and_are_json(typed: Typed) -> None:
    schema = OutputType.of(typed[0]).json_schema
    if typed[0] is str:
        assert schema == {}
        return
    assert schema["type"] == "object"
    assert "$ref" not in schema
    references = set(re.findall(r'"#/\$defs/([^"]+)"', json.dumps(schema)))
    assert references <= schema.get("$defs", {}).keys()


@given(typed=TYPES.filter(lambda typed: typed[0] is not str), text=st.text(max_size=20))
@settings(max_examples=80)
def test_an_example_of_a_schema_fits_it(typed: Typed, text: str) -> None:
    output = OutputType.of(typed[0])
    checked = output.check(json.dumps(example_of(output.json_schema, text or "text")))
    assert checked.problems == ()


# Kinds of types


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (int, "3", 3),
        (int, '{"answer": 3}', 3),
        (int, '"3"', 3),
        (int, "3.0", 3),
        (float, "3", 3.0),
        (bool, "true", True),
        (bool, "yes", True),
        (Literal["guilty", "not guilty"], "guilty", "guilty"),
        (Literal["guilty", "not guilty"], "```\nnot guilty\n```", "not guilty"),
        (Color, "green", Color.GREEN),
        (Color, "Well: {\"answer\": \"red\"}.", Color.RED),
        (list[int], "Those: [1, 2, 3]!", [1, 2, 3]),
        (Optional[int], "null", None),
        (int | str, "forty", "forty"),
        (Height, "3", 3),
        (Point, '{"x": 1, "y": 2}', {"x": 1, "y": 2}),
        (dict[str, int], '{"answer": 3}', {"answer": 3}),
        (Any, '{"answer": [1, null]}', [1, None]),
        (Verdict, '{"guilty": true}', Verdict(True)),
        (str, "as it is", "as it is"),
        (Verdict, '{"guilty": "true", "score": "7", "more": 1}', Verdict(True, 7)),
    ],
)  # fmt: skip
def test_answers_become_instances(type_: Any, text: str, value: Any) -> None:
    found = value_of(type_, text)
    assert (found, type(found)) == (value, type(value))


def test_nested_models_and_dataclasses_are_instances_all_the_way() -> None:
    case = value_of(Case, '{"name": "A", "verdicts": [{"guilty": false, "score": 2}]}')
    assert case == Case(name="A", verdicts=[Verdict(False, 2)])
    assert isinstance(case.verdicts[0], Verdict)


def test_recursive_types_work() -> None:
    tree = value_of(Tree, '{"label": "a", "children": [{"label": "b", "children": []}]}')
    assert tree == Tree("a", [Tree("b")])


def test_line_breaks_in_strings_are_accepted() -> None:
    assert value_of(dict[str, str], 'So: {"a": "one\ntwo"}') == {"a": "one\ntwo"}
    assert value_of(dict[str, str], '{"a": "one\ntwo"}') == {"a": "one\ntwo"}


def test_the_last_value_that_fits_is_the_answer() -> None:
    text = 'First {"guilty": true}, or {"guilt": 1}. Finally: {"guilty": false, "score": 9}. Not {"a": 1}.'
    assert value_of(Verdict, text) == Verdict(False, 9)


def test_numbers_in_prose_are_no_answer() -> None:
    assert problems_of(int, "There are 42 of them") == (
        "the answer is 'There are 42 of them': Input should be a valid integer, unable to parse string as an integer"
    )


def test_a_field_named_answer_is_no_trap() -> None:
    class Reply(BaseModel):
        answer: int

    assert value_of(Reply, '{"answer": 3}') == Reply(answer=3)
    assert value_of(Reply | None, '{"answer": 3}') == Reply(answer=3)
    assert value_of(Reply | None, '{"answer": {"answer": 3}}') == Reply(answer=3)


# Problems


@pytest.mark.parametrize(
    ("type_", "text", "problem"),
    [
        (Verdict, "Guilty!", "the answer is no JSON: expected value at line 1 column 1"),
        (Verdict, '{"guilty": true', "the answer is no JSON: EOF while parsing an object at line 1 column 15"),
        (Verdict, "{}", "guilty is missing"),
        (Verdict, '{"guilty": "maybe", "score": []}',
            "guilty is 'maybe': Input should be a valid boolean, unable to interpret input; "
            "score is []: Input should be a valid integer"),
        (Case, '{"name": "A", "verdicts": [{"score": 1}]}', "verdicts.0.guilty is missing"),
        (Case, 'So: {"name": "A", "verdicts": [], "extra": -1}.',
            "extra is -1: Input should be greater than or equal to 0"),
        (int, '{"answer": "many"}',
            "answer is 'many': Input should be a valid integer, unable to parse string as an integer"),
        (int, '{"number": 3}', "the answer is {'number': 3}: Input should be a valid integer"),
        (list[int], '[1, "b"]',
            "answer.1 is 'b': Input should be a valid integer, unable to parse string as an integer"),
        (list[int], '{"answer": [1, "b"]}',
            "answer.1 is 'b': Input should be a valid integer, unable to parse string as an integer"),
        (list[int], '{"answer": [1, 2', "the answer is no JSON: EOF while parsing a list at line 1 column 16"),
        (Color, "blue", "the answer is 'blue': Input should be 'red' or 'green'"),
    ],
)  # fmt: skip
def test_problems_are_in_words(type_: Any, text: str, problem: str) -> None:
    assert problems_of(type_, text) == problem


def test_many_problems_are_cut() -> None:
    checked = OutputType.of(list[int]).check(json.dumps(["a"] * 1000))
    assert len(checked.problems) == 11
    assert checked.problems[-1] == "and 990 more"


def test_a_long_key_or_message_is_cut() -> None:
    class Strict(BaseModel):
        model_config = ConfigDict(extra="forbid")
        word: str

        @field_validator("word")
        @classmethod
        def check(cls, word: str) -> str:
            raise ValueError(f"{word} is no word")

    checked = OutputType.of(Strict).check(json.dumps({"word": "x" * 10**5, "y" * 10**5: 1}))
    assert [len(problem) for problem in checked.problems] == [400, 400]


def test_the_validators_of_a_type_speak() -> None:
    class Even(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def check(cls, number: int) -> int:
            if number == 13:
                raise KeyError("unlucky")
            if number % 2:
                raise ValueError("it is odd")
            return number

    assert problems_of(Even, '{"number": 3}') == "number is 3: Value error, it is odd"
    with pytest.raises(KeyError):
        OutputType.of(Even).check('{"number": 13}')


# Hostile texts: with work that grows faster than the text, these would take minutes

LONG = 300_000


@pytest.mark.parametrize(
    "text",
    ["{" * LONG, '{"' * (LONG // 2), "[" * LONG, '{"a":' * (LONG // 5), "{}" * (LONG // 2),
     '["' * (LONG // 2), "[" * 400 + "[]," * (LONG // 3), '{"a\\"' * (LONG // 5), "{" + " " * LONG,
     '"' * LONG, "9" * LONG, "[" + "9" * LONG + "]", '{"b":1} ' * (LONG // 8), "```\n" * (LONG // 4)],
    ids=lambda text: text[:12],
)  # fmt: skip
@pytest.mark.parametrize("type_", [Verdict, list[Verdict]], ids=str)
def test_the_work_grows_with_the_text_alone(type_: Any, text: str) -> None:
    assert OutputType.of(type_).check(text).problems


def test_the_last_value_of_a_long_text_is_found() -> None:
    assert value_of(Verdict, '{"b":1} ' * 100_000 + '{"guilty": true}') == Verdict(True)


@given(st.text('{}[]"\\:, 1a\n`', max_size=40))
def test_the_values_of_any_text_are_json(text: str) -> None:
    for value in values_in(text):
        assert isinstance(json.loads(value), dict | list)


def test_a_fence_is_taken_off_where_it_is_around_all() -> None:
    assert without_fence(" ```json\n1\n``` ") == "1"
    assert without_fence("```json\n1") == "```json\n1"
    assert without_fence("```") == "```"
    assert without_fence("a\n```\n1\n```") == "a\n```\n1\n```"


def test_numbers_that_python_does_not_read_are_no_value() -> None:
    assert values_in(f'[1{"0" * 5000}] {{"a": 1}}') == ['{"a": 1}']


# Wrong types


@pytest.mark.parametrize("type_", [lambda: 1, sys, 3, print, Verdict(True), "no such name", "1 +", "f()"])
def test_what_is_no_type_is_refused(type_: Any) -> None:
    with pytest.raises(ConfigError, match=r"output.type"):
        OutputType.of(type_)


class NoSchema:
    pass


@pytest.mark.parametrize("type_", [NoSchema, list[NoSchema], Callable[[], int], list["Undefined"], dict[int, NoSchema]])  # noqa: F821
def test_a_type_without_a_schema_is_refused(type_: Any) -> None:
    with pytest.raises(ConfigError, match=r"has no JSON Schema: .*\. Use pydantic models, dataclasses"):
        OutputType.of(type_)


@pytest.mark.parametrize("error", [RuntimeError("no luck"), KeyError("no luck"), SystemExit("no luck")], ids=repr)
def test_a_type_whose_schema_raises_is_refused(error: BaseException) -> None:
    class Hostile:
        @classmethod
        def __get_pydantic_core_schema__(cls, *_: Any) -> Any:
            raise error

    with pytest.raises(ConfigError, match=r"output_type Hostile has no JSON Schema: '?no luck'?\. Use"):
        OutputType.of(Hostile)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes it")
def test_the_error_for_a_typed_dict_of_the_standard_library_says_what_to_import() -> None:
    import typing

    with pytest.raises(ConfigError, match=r"typing_extensions\.TypedDict"):
        OutputType.of(typing.TypedDict("Old", {"x": int}))


# Names


@pytest.mark.parametrize(
    ("type_", "label", "name"),
    [
        (Verdict, "Verdict", "Verdict"),
        (list[Verdict], "list[Verdict]", "list_Verdict"),
        (Verdict | None, "Verdict | None", "Verdict_None"),
        (Optional[int], "int | None", "int_None"),
        (Literal["ja", "nein"], "Literal['ja', 'nein']", "Literal_ja_nein"),
        (Annotated[int, Field(ge=0)], "int", "int"),
        (dict[str, list[int]], "dict[str, list[int]]", "dict_str_list_int"),
        (tuple[int, ...], "tuple[int, ...]", "tuple_int"),
        (Any, "Any", "Any"),
        (Height, "Height", "Height"),
        (type("Überfall", (BaseModel,), {}), "Überfall", "berfall"),
        (type("判决", (BaseModel,), {}), "判决", "answer"),
        (Literal[tuple("abcdefghijklmnop")], "Literal['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', "
            "'m', 'n', '…", "Literal_a_b_c_d_e_f_g_h_i_j_k_l_m_n"),
    ],
)  # fmt: skip
def test_labels_are_for_people_and_names_for_models(type_: Any, label: str, name: str) -> None:
    output = OutputType.of(type_)
    assert (output.label, output.name, repr(output)) == (label, name, label)


def test_a_name_differs_from_those_of_tools() -> None:
    output = OutputType.of(Verdict)
    assert output.schema("tool").name == "Verdict"
    assert output.schema("tool", taken=frozenset({"Verdict", "Verdict_"})).name == "Verdict__"


CELLS = {"Verdict": Verdict, "Color": Color, "n": 3, "f": print, "Verdicts": list[Verdict], "secret": [].append}


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("Verdict", Verdict),
        (" list[ Verdict ] ", list[Verdict]),
        ("Verdicts", list[Verdict]),
        ("dict[str, int]", dict[str, int]),
        ("Verdict | None", Optional[Verdict]),
        ("Optional[int]", Optional[int]),
        ("Union[int, Color]", int | Color),
        ("Literal['a', 'b']", Literal["a", "b"]),
        ("Literal[1]", Literal[1]),
        ("tuple[int, str]", tuple[int, str]),
    ],
)
def test_texts_name_types(text: str, type_: Any) -> None:
    assert OutputType.of(type_of_cells(CELLS, text)) == OutputType.of(type_)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("Verdit", r"output type 'Verdit' is not defined in this notebook; did you mean 'Verdict'\?"),
        ("n", r"output type 'n' is of type int; give the name of a class"),
        ("secret", r"output type 'secret' is of type builtin_function_or_method; give the name of a class"),
        ("Verdict()", r"output type 'Verdict\(\)' is no type: give the name"),
        ("__import__('os')", r"is no type"),
        ("os.system", r"'os' is not defined in this notebook; import it first"),
        ("[Verdict]", r"is no type"),
        ("list[3]", r"is no type"),
        ("list[int, str]", r"is no type"),
        ("dict[str]", r"is no type"),
        ("int[str]", r"is no type"),
        ("Color[int]", r"is no type"),
        ("Literal[n]", r"is no type"),
        ("a b", r"is no type"),
        ("", r"is no type"),
        ("(" * 10_000, r"is no type"),
        ("\0", r"is no type"),
    ],
)
def test_other_texts_are_refused(text: str, error: str) -> None:
    with pytest.raises(ConfigError, match=error):
        type_of_cells(CELLS, text)


# Equality, and classes that cells define again


def define(body: str, name: str = "Ruling") -> Any:
    """Define a class as a cell does."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    exec(f"from dataclasses import dataclass\n@dataclass\nclass {name}:\n {body}", namespace)
    return namespace[name]


def test_a_class_that_is_defined_again_is_equal_with_the_same_schema() -> None:
    first, second, other = define("a: int"), define("a: int"), define("a: str")
    assert OutputType.of(first) == OutputType.of(second)
    assert hash(OutputType.of(first)) == hash(OutputType.of(second))
    assert OutputType.of(first) != OutputType.of(other)
    assert OutputType.of(first) != OutputType.of(define("a: int", "Other"))
    assert OutputType.of(first) != first
    one, true = (define(f"a: object = {value}") for value in (1, True))
    assert OutputType.of(one) != OutputType.of(true)


@pytest.mark.parametrize(
    "around",
    [lambda t: t, lambda t: list[t], lambda t: t | None, lambda t: dict[str, t], lambda t: Annotated[t, "x"],
     lambda t: tuple[int, list[t]]],
)  # fmt: skip
def test_the_newest_definition_of_a_class_is_used(around: Callable[[Any], Any]) -> None:
    old, new = define("a: int"), define("a: int; b: int = 0")
    output = OutputType.of(around(old))
    assert output.as_defined_now({"Ruling": new}.__getitem__).source == around(new)
    assert output.as_defined_now({"Ruling": old}.__getitem__) is output
    for missing in ({}, {"Ruling": 3}):
        assert output.as_defined_now(missing.__getitem__) is output


def test_classes_of_modules_stay() -> None:
    output = OutputType.of(list[Verdict | Literal["Verdict"]])
    assert output.as_defined_now({"Verdict": Case}.__getitem__) is output


def test_order_and_kind_of_choices_are_part_of_a_type() -> None:
    @dataclass
    class A:
        x: int

    @dataclass
    class B:
        x: int

    assert isinstance(value_of(A | B, '{"x": 1}'), A)
    assert isinstance(value_of(B | A, '{"x": 1}'), B)
    assert value_of(Literal[1], "1") is not True
    assert value_of(Literal[True], "true") is True


@pytest.mark.parametrize("type_", [Verdict, list[Verdict], int | None, Case])
def test_agents_with_a_type_are_copied_and_stored(type_: Any) -> None:
    agent = Agent("bob", output_type=type_)
    assert copy.deepcopy(agent) == pickle.loads(pickle.dumps(agent)) == agent


def test_types_that_cannot_be_hashed_work() -> None:
    assert value_of(Annotated[list[int], ["a note"]], "[1]") == [1]


def test_the_classes_are_not_changed() -> None:
    before = (dict(vars(Verdict)), dict(vars(Color)), dict(vars(Case)))
    for type_ in (Verdict, list[Verdict], Color, Case):
        OutputType.of(type_).check("{}")
    assert (dict(vars(Verdict)), dict(vars(Color)), dict(vars(Case))) == before


def test_a_schema_is_made_once() -> None:
    assert OutputType.of(Verdict).json_schema is OutputType.of(Verdict).json_schema
    assert OutputType.of(OutputType.of(Verdict)).source is Verdict


# Instances as JSON, and examples


def test_instances_have_json() -> None:
    assert json_of(Case(name="é", verdicts=[Verdict(True)])) == (
        '{"name":"é","verdicts":[{"guilty":true,"score":0}],"extra":1}'
    )
    with pytest.raises(ConfigError, match="has no JSON"):
        json_of(object())


@pytest.mark.parametrize(
    ("type_", "example"),
    [
        (Annotated[int, Field(gt=3)], 4),
        (Annotated[float, Field(gt=3)], 4),
        (Annotated[float, Field(gt=3, lt=4)], 3.5),
        (Annotated[int, Field(lt=-3)], -4),
        (Annotated[int, Field(multiple_of=7, ge=10)], 14),
        (Annotated[str, Field(max_length=2)], "te"),
        (Annotated[str, Field(min_length=6)], "text.."),
        (Annotated[list[int], Field(min_length=2)], [0, 0]),
        (tuple[int, bool, None], [0, True, None]),
        (pydantic.AwareDatetime, "2026-01-31T12:00:00Z"),
        (dict[str, int], None),
    ],
)  # fmt: skip
def test_examples_keep_to_the_limits(type_: Any, example: Any) -> None:
    output = OutputType.of(type_)
    found = example_of(output.json_schema, "text")
    assert found == {"answer": example} or (example is None and found == {"key 1": 0})
    assert output.check(json.dumps(found)).problems == ()


def test_nan_is_read_as_pydantic_reads_it() -> None:
    assert math.isnan(value_of(float, "NaN"))


@pytest.mark.skipif(sys.version_info < (3, 12), reason="a statement of Python 3.12")
def test_a_type_statement_is_a_type() -> None:
    namespace: dict[str, Any] = {}
    exec("type Scores = list[int]", namespace)
    assert OutputType.of(namespace["Scores"]).label == "Scores"
    assert value_of(namespace["Scores"], "[1]") == [1]
