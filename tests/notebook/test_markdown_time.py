"""Markdown of 50,000 characters takes a bounded time, whatever the text is."""

from __future__ import annotations

import html
import random
import time
from pathlib import Path

import pytest

from support.formulas import ORDINARY
from whisper_nb.notebook.cells.highlight import BLOCK, LANGUAGES
from whisper_nb.notebook.cells.markdown import PLAIN, safe_markdown
from whisper_nb.notebook.cells.render import SHOWN

TOKENS = (
    "\\[", "\\]", "\\(", "\\)", "$", "$$", "$1", "\\begin{align}", "\\end{align}", "\\begin{x}", "[", "]", "](", "](x)",
    "[](x)", "![", "(", ")", "<", "<a:", ">", "<http://a.b>", "*", "**", "_", "__", "~~", "`", "``", "```", "~~~", "\n",
    "\n\n", "> ", "- ", "1. ", "# ", "    ", "\t", "|", "\n|-|\n", "|-", "---", "===", "\\", "\\\\", "&", "&amp;", "&#",
    "x", " ", "a ", "[x]: y\n", "[x]", '"', "'", "<!--", "<b>", "!", "{", "}", "^", "é", "\0", "\r", "\u202e", "\ud800",
)  # fmt: skip
WORST = (
    *TOKENS,
    # What comes again and again, and what ends it once.
    "$$\n", "\\[\n", "\\begin{align}\n", "- $$\n", "> \\[\n", "|a|\n|-|\n", "[x]: <\n", "```\n", "- - - x\n", "[](",
    "[a](<b", "[a](b 'c", "`a", "*a_", "a**b*", "**a*", "[[", "[x][", "[a][b][", "![a](", "$a$1", "$ a", "\\[a\\",
    "<a:b",
)  # fmt: skip
#: CPU seconds: ten times what it takes at most. What this is to find takes longer still: 10 s for `\[`.
LIMIT_S = 3.0


def cpu_time(text: str) -> float:
    begin = time.thread_time()
    safe_markdown(text)
    return time.thread_time() - begin


def repeated(token: str) -> str:
    return (token * (SHOWN // len(token) + 1))[:SHOWN]


@pytest.mark.parametrize("token", WORST)
def test_a_text_of_one_token_is_rendered_in_time(token: str) -> None:
    assert cpu_time(repeated(token)) < LIMIT_S


#: What opens a part of code that may end much later, or may be read in several ways.
OPENS = (
    '"', "'", '"""', "'\''", 'f"{', "/*", "//", "#", "{", "(", "0", "0x", "1e", "--", "$(", "${", "<<EOF\n", '"\\', "<",
    "a:", "a.b", "@", "def ", "class ", "import ", "from x import ", "\n  ", "a=", "{{", "&", "*",
)  # fmt: skip


@pytest.mark.parametrize("language", LANGUAGES)
def test_code_of_one_token_is_highlighted_in_time(language: str) -> None:
    for token in dict.fromkeys((*WORST, *OPENS)):
        code = (token * BLOCK)[:BLOCK].replace("`", "'").replace("~", "-")
        assert cpu_time(f"```{language}\n{code}\n```\n" * 6) < LIMIT_S, token


@pytest.mark.parametrize("seed", range(40))
def test_a_text_of_two_or_three_tokens_is_rendered_in_time(seed: int) -> None:
    tokens = random.Random(seed).choices(TOKENS, k=2 + seed % 2)
    assert cpu_time(repeated("".join(tokens))) < LIMIT_S


@pytest.mark.parametrize(
    "text",
    [
        "[x]: http://a.b/" + "y" * 25_000 + "\n\n" + "[x]" * 8_000,
        "|a" * 200 + "\n" + "|-" * 200 + "\n" + "a\n" * 24_000,
        "- $$\n" + "  $$x\n" * 8_000 + "$$",
        "\\[" * 20_000 + "\\]" * 5_000,
        "[" * 25_000 + "]" * 25_000,
        "$" * 49_999 + "x",
        "> " * 20 + "\n" + ("> " * 20 + "- x\n") * 1_000,
    ],
)
def test_what_makes_more_of_itself_is_rendered_in_time(text: str) -> None:
    assert cpu_time(text) < LIMIT_S
    assert len(safe_markdown(text)) < 40 * SHOWN


def test_text_that_would_take_too_long_is_shown_as_it_is() -> None:
    text = "[<*" * 16_000
    assert html.unescape(safe_markdown(text)) == f"<pre {PLAIN}>{text}</pre>"


def test_ordinary_text_of_this_length_is_rendered() -> None:
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        text = (Path(__file__).parents[2] / name).read_text()
        assert "<h2>" in safe_markdown((text * (SHOWN // len(text) + 1))[:SHOWN])
    assert "<em>" in safe_markdown("It is *so* that \\(x^2\\) **and** [this](http://a.b) `code`.\n\n" * 800)
    assert "<td " in safe_markdown("| a | b | c |\n|---|---|---|\n" + "| 1.25 | text | *x* |\n" * 900)


def test_as_much_math_is_typeset_as_mathjax_takes_in_a_moment() -> None:
    formulas = "\n\n".join(f"\\({tex}\\)" for tex in ORDINARY)
    assert safe_markdown(formulas).count("mathjax_process") == len(ORDINARY)
    many = safe_markdown("$x^2 + y^2$\n\n" * 3_000)
    assert 500 < many.count("mathjax_process") < 1_500
    assert many.count("<code>$x^2 + y^2$</code>") + many.count("mathjax_process") == 3_000
