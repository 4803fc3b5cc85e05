from __future__ import annotations

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from support.inprocess import Notebook
from support.timing import grows_evenly
from whisper_nb import ConfigError, Runtime
from whisper_nb.notebook.cells.interpolate import interpolate, words

NAMESPACE = {"x": 1, "rows": [{"a": 1}, {"a": 2}], "text": "{{ x }} $& \\1", "d": {"k": {"n": 5}}}


def says(text: str, **namespace: Any) -> str:
    """The text that would be sent."""
    return "".join(str(part) for part in interpolate(text, {**NAMESPACE, **namespace}))


@given(st.text().filter(lambda text: "{{" not in text))
@example("")
@example("}} { } {x} ${x} %s %(x)s \\{ \x00 \ud800")
def test_text_without_double_braces_is_unchanged(text: str) -> None:
    assert says(text) == text


@given(st.text(alphabet="{}x'\"#()[], \n\\"))
def test_any_braces_give_a_value_or_text_or_a_clear_error(text: str) -> None:
    try:
        said = says(text)
    except ConfigError as error:
        assert "--no-interpolate" in str(error)
    else:
        assert "{{" in text or said == text


@pytest.mark.parametrize(
    "text",
    [
        '{"a": {"b": {"c": [1, 2]}}}',
        "[{'a': 1}, {'b': {'c': {}}}]",
        r"\frac{{a + b}^2}{{\bf x}}",
        r"\mathbb{{R}^{n}}",
        "{% for row in rows %}{{ row | default: '' }}{% endfor %}",
        "${{ secrets.TOKEN && 'yes' }}",
        "{{#each items}} {{/each}} {{> partial}} {{!-- no --}}",
        "def f():\n    return {k: {v} for k, v in d.items()}",
        "{{}} {{ }} {{\n}} {{ # only a comment }}",
        "{{ x",
        "x }}",
        "{ { x } }",
        "{{ x } }",
        "{{ don't }}",
        "{{ x) + (x }}",
        "{{ *x }}",
        "{{ x = 1 }}",
        "{{ import os }}",
        "{{ two words }}",
    ],
)
def test_braces_without_an_expression_are_unchanged(text: str) -> None:
    assert says(text) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{ x }}", "1"),
        ("{{x}}{{x}}", "11"),
        ("a {{ x + 1 }} b", "a 2 b"),
        ("{{{ x }}", "{1"),
        ("{{ x }}}", "1}"),
        ("{{ {'a': {'b': {'c': x}}} }}", "{'a': {'b': {'c': 1}}}"),
        ("{{{'a': {'b': x}}}}", "{'a': {'b': 1}}"),
        ("{{ {'a': {'b': x}}['a']['b'] }}", "1"),
        ("{{ d['k']['n'] }}", "5"),
        ("{{ [r['a'] for r in rows if r['a'] > x] }}", "[2]"),
        ("{{ '}}' }} {{ \"{{\" }}", "}} {{"),
        ('{{ """a }} b""" }}', "a }} b"),
        ("{{ f'{x:03}' }}", "001"),
        ("{{\n  x +\n  x  # twice\n}}", "2"),
        ("{{ x, x }}", "(1, 1)"),
        ("{{ x }} {{ broken", "1 {{ broken"),
        ("{{ not an expression }} {{ x }}", "{{ not an expression }} 1"),
        ("{{ None }}", "None"),
    ],
)
def test_an_expression_is_replaced_by_its_value(text: str, said: str) -> None:
    assert says(text) == said


def test_a_value_is_not_interpolated_again() -> None:
    assert says("<{{ text }}>") == f"<{NAMESPACE['text']}>"


@given(st.text())
def test_any_value_is_inserted_unchanged(value: str) -> None:
    assert says("a{{ v }}b{{ v }}", v=value) == f"a{value}b{value}"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{{ nobody }}", "NameError: name 'nobody' is not defined"),
        ("{{ x / 0 }}", "ZeroDivisionError"),
        ("{{ d['no'] }}", "KeyError: 'no'"),
        ("{{ await x }}", "SyntaxError"),
    ],
)
def test_a_failing_expression_gives_a_one_line_error_with_a_remedy(text: str, why: str) -> None:
    with pytest.raises(ConfigError) as caught:
        says(f"before {text} after")
    message = str(caught.value)
    assert text in message
    assert why in message
    assert "Nothing was sent" in message
    assert "--no-interpolate" in message
    assert "\n" not in message
    assert caught.value.__suppress_context__


def test_evaluation_does_not_change_the_namespace() -> None:
    namespace = {"x": 1}
    interpolate("{{ (y := x) }} {{ [z for z in 'ab'] }}", namespace)
    assert namespace == {"x": 1}


async def test_a_run_is_kept_as_a_run(runtime: Runtime) -> None:
    from whisper_nb import Agent

    run = runtime.create(Agent(name="bob")).submit("hello")
    assert interpolate("Sum up: {{ ans }}!", {"ans": run}) == ["Sum up: ", run, "!"]
    assert interpolate("{{ ans.status }}", {"ans": run}) == ["submitted"]
    await run
    assert interpolate("{{ ans }}", {"ans": run}) == [run]


async def test_a_list_of_runs_is_its_runs_with_blank_lines_between_them(runtime: Runtime) -> None:
    from whisper_nb import Agent

    bob = runtime.create(Agent(name="bob"))
    runs = [bob.submit("one"), bob.submit("two")]
    for value in (runs, tuple(runs), dict(enumerate(runs)).values()):
        assert interpolate("Compare {{ x }}!", {"x": value}) == ["Compare ", runs[0], "\n\n", runs[1], "!"]
    for value in ({"a": runs[0]}, [*runs, "text"], set(runs)):
        with pytest.raises(
            ConfigError, match=r"with runs: write each run by itself, or a list of runs\. Nothing was sent"
        ):
            interpolate("Compare {{ x }}!", {"x": value})
    assert interpolate("{{ x }}{{ y }}", {"x": [], "y": {}}) == ["[]", "{}"]


@pytest.mark.parametrize(
    "unit",
    ["{", "{{ ", "{{ x ", "{{ a b }} ", "{{ '", '{{ """', "{{ (", "{{ [] ", "{{{{}} ", "{{ 1 + }} "],
)
def test_the_time_for_a_text_full_of_braces_is_linear(unit: str) -> None:

    def interpolate(length: int) -> None:
        text = unit * (length // len(unit))
        for whole in (text, text + "}" * (length // 50)):
            with suppress(ConfigError):
                says(whole)

    grows_evenly(interpolate)


def test_the_time_for_many_closing_braces_is_linear() -> None:
    def interpolate(length: int) -> None:
        with pytest.raises(ConfigError):
            says("{" * (length // 2) + "}" * (length // 2))
        says(("{{" * 30 + "a b }} " * 30) * (length // 250))

    grows_evenly(interpolate)


# The words of a magic's line


@pytest.mark.parametrize(
    ("line", "split"),
    [
        ("", []),
        ("bob  -o ans", ["bob", "-o", "ans"]),
        ('new bob --prompt "You are {{ text }}."', ["new", "bob", "--prompt", f"You are {NAMESPACE['text']}."]),
        ("new bob --model {{ model }}", ["new", "bob", "--model", "open router/x y"]),
        ("{{ quoted }}", ['it\'s "both"']),
        ("--prompt={{ x }}{{ x }}", ["--prompt=11"]),
        ("{x} {{ }}", ["1", "{{", "}}"]),
        ("{ x } -o={x} a_{x}_b {x + 1:03} {d['k']['n']}", ["1", "-o=1", "a_1_b", "002", "5"]),
        ("{two words} {x", ["{two", "words}", "{x"]),
        ("-o {quoted} --prompt {model}", ["-o", 'it\'s "both"', "--prompt", "open router/x y"]),
        ("--prompt '{x} {y}' \"{x}\" it\\'s{x}", ["--prompt", "{x} {y}", "{x}", "it's1"]),
        (
            "stop={x} extra={x:1} key=${x} ${x} {} {#x} {x",
            ["stop={x}", "extra={x:1}", "key=${x}", "${x}", "{}", "{#x}", "{x"],
        ),
    ],
)
def test_a_value_with_spaces_stays_one_word(line: str, split: list[str]) -> None:
    assert words(line, {**NAMESPACE, "model": "open router/x y", "quoted": 'it\'s "both"'}) == split


def test_an_unclosed_quote_gives_a_one_line_error_with_a_remedy() -> None:
    with pytest.raises(ConfigError, match=r"no closing quotation.*apostrophe in double quotes"):
        words("new bob --prompt it's", {})


@pytest.mark.parametrize("line", ["remove {x}", "remove {{ x }}", "remove '{{ x }}'"])
@pytest.mark.parametrize("value", ["--all", "-b", "--model=o p"])
def test_a_value_is_never_a_flag(line: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"'{value}' is the value of an expression, not a flag: write flags out"):
        words(line, {"x": value})
    assert words(f"{line} --prompt {{{{ y }}}}", {"x": "bob", "y": "- one\n- two"})[1:] == [
        "bob",
        "--prompt",
        "- one\n- two",
    ]


async def test_an_unfinished_run_in_a_line_is_an_error(runtime: Runtime) -> None:
    from whisper_nb import Agent

    run = runtime.create(Agent(name="bob")).submit("hello")
    with pytest.raises(ConfigError, match="bob#1, which is submitted: wait for it first"):
        words("new amy --prompt {{ ans }}", {"ans": run})
    await run
    assert words("--prompt {{ ans }}", {"ans": run}) == ["--prompt", run.text]


async def test_where_a_name_stands_a_run_is_its_id_and_an_agent_its_name(runtime: Runtime) -> None:
    from whisper_nb import Agent

    bob = runtime.create(Agent(name="bob"))
    run = bob.submit("hello")
    names = {"ans": run, "bob": bob}
    assert words("wait {ans} {bob} {bob.name} --before={ans}", names) == [
        "wait",
        "bob#1",
        "bob",
        "bob",
        "--before=bob#1",
    ]
    assert words("wait {{ ans }} {{ bob }} {{ans}}", names) == ["wait", "bob#1", "bob", "bob#1"]
    await run
    assert words("{{ ans }} --prompt {{ ans }} '{{ ans }}' x{{ ans }}", names) == [
        "bob#1", "--prompt", run.text, run.text, f"x{run.text}"
    ]  # fmt: skip
    assert interpolate("Ask {{ bob }}.", names) == ["Ask ", "bob", "."]


@pytest.mark.parametrize("line", ["new {nobody}", "new {{ nobody }}"])
def test_an_undefined_name_in_a_line_gives_an_error_that_shows_it(line: str) -> None:
    with pytest.raises(ConfigError) as caught:
        words(line, {})
    shown = line.removeprefix("new ")
    assert str(caught.value) == (
        f"{shown} failed: NameError: name 'nobody' is not defined. Nothing was sent: correct it."
    )


async def test_the_text_so_far_of_a_run_is_told_below_the_cell(notebook: Notebook) -> None:
    notebook.run("%agent pause bob")
    notebook.run("%%agent bob -o one\nhi")
    notebook.run("runs = [one]")
    said = "is the text so far (bob#1 is "
    for source in ("one.text", "one.text[:5]", "'-'.join(run.text for run in runs)"):
        assert said in notebook.run(f"%%agent alice --dry-run\nSum up: {{{{ {source} }}}}")
    assert said not in notebook.run("%%agent alice --dry-run\nSum up: {{ one }} {{ one.id }} {{ runs }}")
    error = notebook.error("%%agent alice --dry-run\nSum up: {{ f'{one}' }}")
    assert error.startswith("the prompt contains ⟨bob#1 ")
    notebook.run("%agent resume bob")
    await notebook["one"]
    assert said not in notebook.run("%%agent alice --dry-run\nSum up: {{ one.text }}")
