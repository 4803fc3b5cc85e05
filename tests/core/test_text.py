from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.core.text import (
    LINE_LIMIT,
    PARAGRAPH,
    clip,
    error_text,
    mask_keys,
    one_line,
    paragraph,
    printable,
    short_repr,
    suggestion,
    valid_unicode,
)

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
ANY_TEXT = st.text(st.characters(exclude_categories=()))


class Unprintable(Exception):
    def __str__(self) -> str:
        raise ZeroDivisionError

    __repr__ = __str__


def test_surrogate_pairs_are_joined_and_lone_ones_replaced() -> None:
    assert valid_unicode("plain") == "plain"
    assert valid_unicode("\ud83d\ude00") == "😀"
    assert valid_unicode("a\ud83db") == f"a{UNKNOWN}b"


@given(ANY_TEXT)
def test_any_text_can_be_encoded_and_printed(text: str) -> None:
    valid_unicode(text).encode()
    printable(text).encode()
    assert len(one_line(text).splitlines()) <= 1
    assert len(clip(text, 10).splitlines()) <= 1


def test_control_characters_are_replaced() -> None:
    assert printable("red \x1b[31m") == f"red {UNKNOWN}[31m"
    assert printable("a\tb\r\nc\n\ud83d\ude00") == "a\tb\nc\n😀"


def test_a_paragraph_breaks_between_words_alone() -> None:
    long = "x" * 150
    text = f"note: it-has {'words and ' * 20}a/path/{long} and --long-flags {long}"
    lines = paragraph(text).splitlines()
    assert " ".join(line.strip() for line in lines) == text
    assert all(len(line) <= PARAGRAPH or long in line for line in lines)
    assert len(lines) > 4


def test_one_line_replaces_line_breaks_and_direction_marks() -> None:
    assert one_line("a\nb\u202ec") == f"a ⏎ b{UNKNOWN}c"
    assert one_line("x" * LINE_LIMIT) == "x" * LINE_LIMIT
    assert one_line("x" * (LINE_LIMIT + 1)) == "x" * (LINE_LIMIT - 1) + "…"


def test_clip_keeps_the_direction_of_what_is_beside_it() -> None:
    assert clip("a\u202eb \u2066c", 20) == "a\ufffdb \ufffdc"


@pytest.mark.parametrize(
    ("text", "clipped"),
    [(" ab ", "ab"), ("a  b\nc", "a b c"), ("abcdef", "abcd…"), ("a\x1bb", f"a{UNKNOWN}b"), ("", "")],
)
def test_clip_collapses_white_space_and_cuts(text: str, clipped: str) -> None:
    assert clip(text, 5) == clipped


@pytest.mark.parametrize(
    "key", ["sk-canary-0123456789abcdef", "pk_0123456789abcdef", "gsk_0123456789abcdef", "hf_0123456789abcdef"]
)
def test_keys_are_masked(key: str) -> None:
    assert mask_keys(f"a {key}, b") == "a [redacted], b"


@pytest.mark.parametrize("text", ["a task-0123456789abcdef", "sk-short", "skeleton", "risk-of-everything-at-once"])
def test_words_that_are_not_keys_are_not_masked(text: str) -> None:
    assert mask_keys(text) == text


def test_a_repr_is_short_and_has_no_key() -> None:
    assert short_repr("x" * 1000) == f"'{'x' * 58}…"
    assert short_repr(["sk-0123456789abcdef"]) == "['[redacted]']"
    assert short_repr(Unprintable()) == "of the type Unprintable"


def test_the_text_of_an_error_is_its_message_or_its_type() -> None:
    assert error_text(ValueError("no such table")) == "no such table"
    assert error_text(ValueError("a\ud83db")) == f"a{UNKNOWN}b"
    assert error_text(ZeroDivisionError()) == "ZeroDivisionError"
    assert error_text(Unprintable()) == "Unprintable"


def test_an_unknown_word_gets_the_nearest_known_word_as_a_suggestion() -> None:
    assert suggestion("modle", ["model", "seed"]) == "did you mean 'model'?"
    assert suggestion("x", ["model", "seed"]) == "known are model, seed"
    assert suggestion("x", []) == "known are none"
