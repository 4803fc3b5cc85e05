from __future__ import annotations

import pytest

from support.inprocess import Notebook
from support.timing import grows_evenly
from whisper_nb.notebook.cells.misspelt import misspelt

#: Variables that many notebooks have, some of which are also words of templates.
NAMES = dict.fromkeys(["df", "rows", "x", "n", "a", "user", "item", "text", "name", "items", "value", "color"], 1)


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("{{ typo( }}", "{{ typo( }} is not an expression ('(' was never closed): sent as it is"),
        ("{{ df.head( }}", "{{ df.head( }} is not an expression ('(' was never closed): sent as it is"),
        ("{{df.head(}}", "{{ df.head( }} is not an expression ('(' was never closed): sent as it is"),
        ("{{ rows[0 }}", "{{ rows[0 }} is not an expression ('[' was never closed): sent as it is"),
        ("{{ f(x)) }}", "{{ f(x)) }} is not an expression (unmatched ')'): sent as it is"),
        ("{{ f(x] }}", "closing parenthesis ']' does not match opening parenthesis '('"),
        ("{{ load('a.csv) }}", "unterminated string literal"),
        ("{{ df.groupby('a')['b'].mean( }}", "'(' was never closed"),
        ("{{ df columns }}", "{{ df columns }} is not an expression (invalid syntax): sent as it is"),
        ("{{ x + }}", "{{ x + }} is not an expression (invalid syntax): sent as it is"),
        ("{{ df. }}", "{{ df. }} is not an expression (invalid syntax): sent as it is"),
        ("{{ n = 3 }}", "is not an expression"),
        ("{{ df \x00 }}", "is not an expression"),
        ("before {{ x }} {{ typo( }} after", "{{ typo( }} is not"),
        ("{{ größe( }}", "{{ größe( }} is not"),
        ("value of {rows} please", "{rows} is sent as it is: {{ rows }} inserts the value"),
        ("{{ x }} of ({rows}), {rows}.", "{rows} is sent as it is: {{ rows }} inserts the value"),
        ("{df}\nHow many?", "{df} is sent as it is"),
        ("has {len(df)} rows", "{len(df)} is sent as it is: {{ len(df) }} inserts the value"),
        ("has {df.shape[0]}: {nobody.x} {nobody(1)} {two words} {df: 1} {x, n}", "{df.shape[0]} is sent as it is"),
        ("has {{ len(df) } rows", "{{ len(df) } lacks a brace: sent as it is"),
        ("has { len(df) }} rows", "{ len(df) }} lacks a brace: sent as it is"),
        ("has {{ df } rows", "{{ df } lacks a brace"),
        ("see {{df.head()", "{{df.head() lacks a brace: sent as it is"),
        ("see {{ df.head()\nand tell", "{{ df.head() lacks a brace: sent as it is"),
        ("{{len df}}", "{{ len df }} is not an expression (invalid syntax): sent as it is"),
        ("{{ len df }}", "{{ len df }} is not an expression (invalid syntax): sent as it is"),
        ("{{ f('sk-0123456789abcdef }}", "{{ f('[redacted] }}"),
    ],
)
def test_a_misspelt_expression_is_named_with_the_reason(text: str, note: str) -> None:
    [line] = misspelt(text, NAMES)
    assert note in line


@pytest.mark.parametrize(
    "text",
    [
        # expressions, which are evaluated
        "{{ x }} {{ df.head() }} {{ f(x)[0] }} {{ {'a': (1, 2)} }} {{ '(' }}",
        # JSON
        '{"a": {"b": {"c": [1, 2]}}} {"a": {}} [{"x": {"n": 1}}]',
        '{{"name": "bob", "items": [1, 2]}}',
        # LaTeX
        r"\frac{{a + b}^2}{{\bf x}} \mathbb{{R}^{n}} {{x}_{1}} {{\left( x \right]}} x^{{n m}}",
        r"{{\rm d}x \over {\rm d}t} {{(a, b]}} \text{{two words}} $x_{{i,j}}$ $f^{{(n)}}$ ${{[0,1)}}$",
        # Jinja, Liquid, Handlebars, Go, Vue, GitHub
        "{% for row in rows %}{{ row | default: '' }}{% endfor %} {{ user.name | upper: 1 }} {{- x -}} {{ super }}",
        "{{#each items}} {{/each}} {{> partial}} {{!-- no ( --}} {{else if (eq a b)}} {{&x}} {{^x}}",
        '{{ .Values.name }} {{ include "x" . | nindent 4 }} {{ range $i, $x := .Items }} {{ end }} {{- if eq .a "b" }}',
        "{{ item.price | currency:'USD' }} <p v-if=\"x\">{{ ok ? 'yes' : 'no' }}</p> {{ a.b?.c }}",
        "${{ secrets.TOKEN && 'yes' }} ${{ matrix.os }} ${{ github.event.inputs.x || 'y' }}",
        # code
        "def f():\n    return {k: {v} for k, v in d.items()}",
        'int a[2][2] = {{1, 2}, {3, 4}}; int main() {{ printf("%d", x); }}',
        "f'{{{name!r}: {value:>{width}}}}' f\"void {name}() {{ foo( {x} ); }}\" '{{' '}}' {{0}} {{name:03}}",
        "const f = () => {{ return g(x\n}}",
        "style={{ color: 'red', margin: 0 }} onClick={() => {{ go(1); }}}",
        "awk '{{ print $1 }}' sed 's/{{ (/x/'",
        # prose
        "{{ two words }} {{ your name here }} {{ don't }} {{...}} {{ }} {{}} {{ # only a comment }} {{ (see above }}",
        "{{ not closed( \n}} {{ typo( } }",
        "{{TODO(bob}}",
        "a {nobody} {print} {json} {x|y} {x, y} {x}_{1} x{x} {x}s {} { x }",
        'const {name} = props; `{name}` <b>{name}</b> f"Hello {name}" "Hello {name}".format(name=1) ${name}',
        '{"rows": {"a": {x}}} {"user": "{name}"} {"a": { "b": 1 }}',
        "{{ nobody } {{nobody.f() { nobody }} {{df}",
    ],
)
def test_braces_that_are_not_meant_for_python_get_no_note(text: str) -> None:
    assert misspelt(text, NAMES) == []


def test_each_is_told_once_and_of_many_three() -> None:
    assert len(misspelt("{{ typo( }} {{ typo( }}", {})) == 1
    lines = misspelt(" ".join(f"{{{{ typo{n}( }}}}" for n in range(5)), {})
    assert [line.split(" is ")[0] for line in lines] == [
        "{{ typo0( }}",
        "{{ typo1( }}",
        "{{ typo2( }}",
        "and 2 more in braces",
    ]


@pytest.mark.parametrize("unit", ["{", "{{ ", "{{ f( ", "{{ f( }} ", "{{ f(}", "}}"])
def test_the_time_for_a_text_full_of_braces_is_linear(unit: str) -> None:
    grows_evenly(lambda length: misspelt(unit * (length // len(unit)), NAMES))


async def test_a_misspelt_expression_is_sent_with_a_note_in_the_cell(notebook: Notebook) -> None:
    note = "note: {{ typo( }} is not an expression ('(' was never closed): sent as it is\n"
    assert notebook.run("%%agent bob -o ans\nCount {{ typo( }}") == note
    assert notebook["ans"].prompt == "Count {{ typo( }}"
    await notebook["ans"]
    assert notebook.run("ans = %agent ask bob Count {{ typo( }}") == note
    await notebook["ans"]
    assert notebook.run("%%agent bob --dry-run\nCount {{ typo( }}").startswith(note)
    assert notebook.run("%%agent bob -o ans --no-interpolate\nCount {{ typo( }}") == ""
    await notebook["ans"]


async def test_a_misspelt_expression_in_a_line_of_names_is_an_error(notebook: Notebook) -> None:
    assert notebook.error("%agent show {{ typo( }}") == "{{ typo( }} is not an expression: '(' was never closed"
    assert notebook.error("%agent new {{ name }") == "{{ name } has no }} behind it"
    assert notebook.error("%%agent bob -o {{ ans\nhi") == "{{ ans has no }} behind it"
    assert notebook.error("%agent new {{ }}").startswith("{{  }} is not an expression: ")
    assert notebook.error("%%agent {{ two words }}\nhi") == "{{ two words }} is not an expression: invalid syntax"


def test_braces_in_the_texts_of_an_agent_get_a_note(notebook: Notebook) -> None:
    notebook.run("k, text = 2, 'a {k} b'")
    note = "note: {k} is sent as it is: {{ k }} inserts the value\n"
    assert notebook.run("%agent new w{k} --prompt 'worker {k}'").startswith(note)
    assert notebook.run("%agent new w{k} --description 'number {k}'").startswith(note)
    for written in ("'worker {{ k }}'", "'worker {other}'", "'{{ text }}'", "{{ text }}"):
        assert "note: {" not in notebook.run(f"%agent new w{{k}} --prompt {written}")
