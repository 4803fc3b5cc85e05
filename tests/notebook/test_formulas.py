from __future__ import annotations

import html

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.formulas import HOSTILE, ORDINARY
from whisper_nb.notebook.cells.formulas import COMMANDS, formula
from whisper_nb.notebook.cells.markdown import CODE, safe_markdown


def test_the_tables_are_long_and_have_nothing_twice() -> None:
    assert len({*ORDINARY}) == len(ORDINARY) >= 60
    assert len({*HOSTILE}) == len(HOSTILE) >= 60


@pytest.mark.parametrize("tex", ORDINARY)
def test_ordinary_math_is_typeset(tex: str) -> None:
    assert formula(tex) is not None


@pytest.mark.parametrize("tex", HOSTILE)
def test_math_that_would_do_something_else_is_not_typeset(tex: str) -> None:
    assert formula(tex) is None
    assert formula(f"{{a + {tex}}}") is None


@given(st.text(alphabet="abx{}[]^_&$%#\\ \n"))
def test_no_other_command_passes(text: str) -> None:
    passed = formula(text)
    if passed is None:
        return
    names = passed.replace("\\\\", "").split("\\")[1:]
    for name in names:
        letters = name[: len(name) - len(name.lstrip("abx"))]
        assert letters in COMMANDS or (not letters and name[:1] in {*"{}$%#&_ "})
    assert passed.count("{") - passed.count("\\{") == passed.count("}") - passed.count("\\}")


def test_numbers_of_equations_become_text_and_labels_go() -> None:
    assert formula(r"x \tag{2a} \label{eq:x}") == r"x \qquad\text{(2a)} "


@pytest.mark.parametrize(
    "name", ["def", "let", "href", "require", "style", "class", "newcommand", "rule", "kern", "ce"]
)
def test_commands_that_define_link_load_or_move_are_not_allowed(name: str) -> None:
    assert name not in COMMANDS


@pytest.mark.parametrize("tex", HOSTILE)
def test_math_that_is_not_typeset_is_shown_as_its_source(tex: str) -> None:
    shown = safe_markdown(f"Before\n\n\\[{tex}\\]\n\nafter")
    assert "mathjax_process" not in shown
    assert html.unescape(shown).strip() == f"<p>Before</p>\n<pre {CODE}><code>\\[{tex}\\]</code></pre>\n<p>after</p>"


def test_refused_math_within_a_line_is_code() -> None:
    assert "is <code>$\\href{x}{y}$</code>." in safe_markdown("It is $\\href{x}{y}$.")
    assert "is <code>\\(\\def\\x{y}\\)</code>." in safe_markdown("It is \\(\\def\\x{y}\\).")


def test_columns_of_an_environment_are_checked_at_the_beginning_of_math_too() -> None:
    assert "mathjax_process" in safe_markdown("\\begin{alignat}{2} x &= y \\end{alignat}")
    assert "mathjax_process" not in safe_markdown("\\begin{alignat}{999999999} x &= y \\end{alignat}")
