"""`--dry-run`: a card of what would be sent, which is safe to display, bounded, and without secrets."""

from __future__ import annotations

import html
import json
from html.parser import HTMLParser

import pytest

from support.inprocess import Notebook
from whisper_nb import Agent, AIConfig, Preview
from whisper_nb.core.messages import Image
from whisper_nb.notebook.cells.dryrun import json_text, preview_bundle

KEY = "sk-of-openai-0123456789"


class Text(HTMLParser):
    """The elements and the text of HTML."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def card(notebook: Notebook, cell: str) -> dict[str, str]:
    """The output of a dry run, which prints nothing."""
    assert notebook.run(cell) == ""
    data: dict[str, str] = notebook.shown[-1]["data"]
    return data


async def test_a_dry_run_shows_the_request_and_sends_nothing(notebook: Notebook) -> None:
    notebook.run("%%agent bob -o first\nhello")
    await notebook["first"]
    notebook.run("%%agent bob -o second\nagain")
    shown = card(notebook, "%%agent bob --dry-run -o third --model offline/echo\nafter {{ second }} and {{ first }}")
    third = notebook["third"]
    assert isinstance(third, Preview)
    assert len(notebook.runtime["bob"].runs) == 2
    plain = shown["text/plain"]
    assert plain.startswith("dry run: bob would call offline/echo.\n  to           in this process\n")
    assert plain.endswith("\nNothing was sent.")
    for line in (
        f"  fingerprint  {third.fingerprint}\n",
        "  price        $0 for the prompt; with the reply about $0, at most $0\n",
        "  note: the answer of bob#2 will stand in its place: the request is another one then\n",
        "  note: 1 unfinished run of bob will be in the history before it: the request is another one then\n",
        "system prompt: You are bob, an assistant working in the background of a Jupyter notebook.",
        "\nuser: hello  ",
        "\nassistant: heard: hello  ",
        "\nprompt: after ⟨bob#2⟩ and heard: hello  ",
    ):
        assert line in plain
    assert json.loads(plain[plain.index("\n{") : -len("Nothing was sent.")]) == json.loads(third.json)
    markup = shown["text/html"]
    assert f'title="SHA-256 {third.fingerprint}">{third.fingerprint[:12]}<' in markup
    assert "<details>" in markup
    await notebook["second"]
    notebook.bench.look(third)
    assert notebook.shown[-1]["data"] == shown


@pytest.mark.parametrize("magic", ["%agent ask bob --dry-run -o seen again", "%%agent bob --dry-run -o seen\nagain"])
async def test_what_is_then_sent_has_the_same_fingerprint(notebook: Notebook, magic: str) -> None:
    notebook.run("%agent ask bob -o first hello")
    await notebook["first"]
    card(notebook, magic)
    preview = notebook["seen"]
    notebook.run(magic.replace("--dry-run", ""))
    await notebook["seen"]
    assert notebook["seen"].events[-2].event.fingerprint == preview.fingerprint


async def test_a_hostile_request_is_text(notebook: Notebook) -> None:
    evil = "<img src=x onerror=alert(1)> \x1b[31m \u202e $x$ </pre><script>"
    notebook.runtime.create(Agent(name="eve", system_prompt=evil, config=AIConfig(extra={"user": evil})))
    await notebook.runtime["eve"].submit(evil)
    shown = card(notebook, f"%%agent eve --dry-run\n{evil}")
    assert Text(shown["text/html"]).tags <= {
        "b", "code", "details", "div", "pre", "summary", "table", "tbody", "td", "th", "thead", "tr"
    }  # fmt: skip
    assert "\x1b" not in "".join(shown.values())
    assert "tex2jax_ignore" in shown["text/html"]


async def test_no_secret_is_shown(notebook: Notebook) -> None:
    shown = card(notebook, f"%%agent bob --dry-run --model openai/gpt-4o-mini -o seen\nIs {KEY} mine?")
    for text in shown.values():
        assert KEY not in text
        assert "[redacted]" in text
    assert notebook["seen"].json.count(KEY) == 1  # the prompt, as it would be sent


async def test_a_budget_and_the_price_are_shown(notebook: Notebook) -> None:
    notebook.runtime.set_budget(2.0)
    model = "--model openai/gpt-4o-mini"
    shown = card(notebook, f"%agent ask bob --dry-run {model} --set max_tokens=1000 hello")["text/plain"]
    assert "  budget       $2.00: $0 spent, $0 reserved, $2.0000 left\n" in shown
    assert " for the prompt; with the reply about $0.0006" in shown
    assert ", at most $0.0006" in shown
    assert "would fail: OPENAI_API_KEY is not set" in shown
    typed = card(notebook, f"%agent ask bob --dry-run {model} --set output_mode=tool --schema int hello")["text/plain"]
    assert "  answer       int, mode tool\n" in typed
    is_open = card(notebook, f"%agent ask bob --dry-run {model} hello")["text/plain"]
    assert ", without a limit (no max_tokens)\n" in is_open
    unknown = card(notebook, "%agent ask bob --dry-run --set api_base=http://localhost:1/v1 --model openai/local hello")
    assert "  price        unknown\n" in unknown["text/plain"]
    assert "  to           http://localhost:1/v1, over the wire\n" in unknown["text/plain"]


async def test_a_long_request_is_shown_in_part(notebook: Notebook) -> None:
    bob = notebook.runtime["bob"]
    for number in range(50):
        await bob.submit(f"prompt {number}")
    preview = await bob.preview(["x" * 3_000_000, Image("image/png", "QUJD" * 500_000)])
    shown = preview_bundle(preview, None)
    for text in shown.values():
        assert len(html.unescape(text)) < 100_000
    assert "… 94 more messages" in shown["text/plain"]
    assert "user: prompt 0" in shown["text/plain"]
    assert "prompt 49" in shown["text/plain"]
    assert "prompt 25" not in shown["text/plain"]
    assert f"{len(preview.body):,} bytes (indented here; preview.json has all, as it is)" in shown["text/plain"]
    assert "more characters" in shown["text/html"]
    assert len(preview.json) > 5_000_000


def test_json_is_cut_where_it_is_long() -> None:
    body = json.dumps({"a": ["x"] * 100, "b": "y" * 30_000, "c": [1, 2], "d": "data:image/png;base64,QUJD"}).encode()
    shown = json_text(body, 100_000)
    read = json.loads(shown)
    assert read["a"] == ["x"] * 10 + ["… 70 more"] + ["x"] * 20
    assert read["b"] == "y" * 20_000 + "… 10,000 more characters"
    assert read["c"] == [1, 2]
    assert read["d"] == "data:image/png;base64,… 4 characters"
    assert json_text(body, 50) == shown[:50] + f"\n… {len(shown) - 50:,} more characters"
