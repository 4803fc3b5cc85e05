from __future__ import annotations

import re
import runpy
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from whisper_nb.notebook.magics.commands.table import COMMANDS, GROUPS, overview, reference
from whisper_nb.notebook.magics.grammar import CELL
from whisper_nb.notebook.magics.manual import Entry, page

ENTRIES = reference()
PAGES = {"overview": overview("agent"), **{one.magic: page(one) for one in ENTRIES}}


class Text(HTMLParser):
    """The text of a page of HTML."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.text = ""
        self.feed(markup)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "p", "pre"):
            self.text += "\n"


def words(text: str) -> set[str]:
    return set(text.split())


def test_the_commands_are_in_five_groups_each_with_an_example() -> None:
    assert len(GROUPS) == 5
    text, markup = PAGES["overview"].values()
    for group, commands in GROUPS.items():
        examples = [example for one in commands for example in one.examples]
        assert f"{group}\n" in text
        assert f"e.g. {examples[0].splitlines()[0]}\n" in text
        assert words(examples[0]) <= words(Text(markup).text)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda one: one.magic)
def test_each_command_has_examples_that_its_parser_accepts(entry: Entry) -> None:
    assert entry.examples
    for example in entry.examples:
        line, _, body = example.partition("\n")
        line = re.sub(r"^(\w+ = )?%+(agents?)", lambda found: "panel" if found[2] == "agents" else "", line)
        if entry.name == CELL.name:
            assert body
            CELL.parse("agent", shlex.split(line))
        else:
            name, _, rest = (line.strip() or "list").partition(" ")
            command = COMMANDS[name]
            assert name == entry.name
            head, prompt = command.split(rest) if name == "ask" else (rest, "")
            command.parse("agent", shlex.split(head))
            assert bool(prompt) == (name == "ask")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_80_columns_and_breaks_between_words(name: str) -> None:
    text = PAGES[name]["text/plain"]
    assert max(len(line) for line in text.splitlines()) <= 80
    assert text == "\n".join(line.rstrip() for line in text.splitlines())
    for entry in ENTRIES:
        if name == entry.magic:
            said = [entry.synopsis, entry.description, *entry.examples]
            said += [part for option in entry.options for part in (option.names, option.text)]
            assert words(" ".join(said)) <= words(text)


@pytest.mark.parametrize("name", PAGES)
def test_a_page_of_html_has_the_words_of_the_text(name: str) -> None:
    text = PAGES[name]["text/plain"].replace("usage: ", "").replace("For example:", "").replace("e.g. ", "")
    assert words(text) <= words(Text(PAGES[name]["text/html"]).text)


def test_html_breaks_code_between_arguments_alone() -> None:
    markup = page(next(one for one in ENTRIES if one.name == "move"))["text/html"]
    synopsis = markup.partition("</code>")[0]
    pieces = re.findall('<span style="white-space:nowrap">(.*?)</span>', synopsis)
    assert pieces == ["%agent move RUN", "[--priority urgent|high|normal|low]", "[--before RUN]"]
    assert '">urgent|</span><wbr><span' in markup
    assert '">%agent move</span></code>' in overview("agent")["text/html"]


def test_a_command_as_data() -> None:
    move = next(one for one in ENTRIES if one.name == "move")
    assert (move.group, move.magic) == ("Give work", "%agent move")
    assert move.synopsis == "%agent move RUN [--priority urgent|high|normal|low] [--before RUN]"
    assert move.headline == move.description
    assert [option.names for option in move.options] == ["RUN", "--priority urgent|high|normal|low", "--before RUN"]
    assert all(option.text for one in ENTRIES for option in one.options)
    assert next(one for one in ENTRIES if one.name == "NAME").synopsis.startswith("%%agent NAME [-o VAR] [-b] ")
    assert next(one for one in ENTRIES if one.name == "panel").synopsis == "%agents"
    assert {one.name for one in reference("whisper")} == {*COMMANDS, CELL.name}


def test_the_page_of_the_docs_is_that_of_the_parsers() -> None:
    docs = Path(__file__).parents[2] / "docs"
    written = runpy.run_path(str(docs / "magics.py"))["text"]()
    assert (docs / "magics.md").read_text() == written, "the parsers changed: run `make docs` and commit docs/magics.md"
