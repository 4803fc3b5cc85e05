"""Typed answers in a transcript: the JSON text as a table of its fields."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.notebook.cells.answers import ROWS
from whisper_nb.notebook.cells.markdown import Node
from whisper_nb.notebook.panel.answers import answer_tree

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(st.text(), inside, max_size=4),
    max_leaves=12,
)
TAGS = {"table", "thead", "tbody", "tr", "th", "td", "p"}


def cells(tree: list[Node] | None) -> list[list[str]]:
    """The texts of a table, row by row, with its head."""
    assert tree is not None
    (_, _, (_, _, head), (_, _, *body)) = tree[0]
    return [[text for _, _, text in row[2:]] for row in (head, *body)]


def test_an_object_is_a_table_of_its_fields() -> None:
    answer = {"city": "Rome", "people": 2_800_000, "sure": True, "note": None, "tags": ["a", {"b": "é"}]}
    assert cells(answer_tree(json.dumps(answer))) == [
        ["field", "value"],
        ["city", "Rome"],
        ["people", "2800000"],
        ["sure", "True"],
        ["note", "None"],
        ["tags", '["a", {"b": "é"}]'],
    ]


def test_a_list_of_objects_is_a_table_with_a_column_for_each_field() -> None:
    answer = [{"city": "Rome", "people": 3}, {"city": "Oslo", "cold": True}]
    table = [["#", "city", "people", "cold"], ["0", "Rome", "3", ""], ["1", "Oslo", "", "True"]]
    assert cells(answer_tree(json.dumps(answer))) == table
    assert cells(answer_tree(json.dumps({"answer": answer}))) == table, "an object around it is left out"


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ('{"answer": "yes"}', [["p", "", "yes"]]),
        ("0.5", [["p", "", "0.5"]]),
        ("[]", [["p", "", "[]"]]),
        ("{}", [["p", "", "{}"]]),
        ("I think it is {}", None),
        ("", None),
        ('```json\n{"answer": true}\n```', [["p", "", "True"]]),
        ("[" * 100_000, None),
    ],
)
def test_other_answers(text: str, tree: list[Node] | None) -> None:
    assert answer_tree(text) == tree


def test_long_answers_are_cut_and_say_so() -> None:
    tree = answer_tree(json.dumps([{"n": number} for number in range(ROWS + 5)]))
    assert (len(cells(tree)), tree and tree[1]) == (ROWS + 1, ["p", "", "… 5 more rows in run.output"])
    long = {f"field {number}": "x" * 9_999 for number in range(50)}
    assert len(json.dumps(answer_tree(json.dumps([long] * 50)))) < 60_000


@given(JSON)
def test_every_answer_is_a_tree_of_plain_tags(answer: object) -> None:
    def check(node: Node) -> None:
        if isinstance(node, str):
            node.encode()
            return
        assert node[0] in TAGS
        assert node[1] == ""
        for child in node[2:]:
            check(child)

    for node in answer_tree(json.dumps(answer)) or []:
        check(node)
