"""Server-sent events, however their bytes are split."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.models.http.sse import Events

STREAM = (
    ": a comment\n\n"
    'data: {"a": "é🤯"}\n\n'
    "event: message\r\ndata:no space\r\nid: 1\r\n\r\n"
    "data: one\rdata: two\r\r"
    "retry: 10\n\ndata\n\ndata:\n\n"
    "data: [DONE]\n\n"
    "data: not complete\n"
).encode()
EVENTS = ['{"a": "é🤯"}', "no space", "one\ntwo", "[DONE]"]


def fed(pieces: list[bytes], limit: int = 10_000) -> list[str]:
    events = Events(limit)
    return [event for piece in pieces for event in events.feed(piece)]


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_events_do_not_depend_on_how_their_bytes_are_split(cuts: set[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert fed([STREAM[a:b] for a, b in itertools.pairwise(places)]) == EVENTS


def test_json_lines_are_events_only_if_allowed_and_not_mixed_with_events() -> None:
    events = Events(100, lines=True)
    assert [*events.feed(b'\n{"a": 1}\n\n{"b"'), *events.feed(b": 2}\r\n")] == ['{"a": 1}', '{"b": 2}']
    for first, second in (
        (b'{"a": 1}\n', b"data: x\n\n"),
        (b"data: x\n\n", b'{"a": 1}\n'),
        (b": hi\ndata: x\n", b"[1]\n"),
    ):
        events = Events(100, lines=True)
        with pytest.raises(ValueError, match="another form"):
            [*events.feed(first), *events.feed(second)]
    with pytest.raises(ValueError, match="another form"):
        fed([b'{"a": 1}\n'])


def test_a_byte_order_mark_is_not_part_of_the_first_line() -> None:
    assert fed([b"\xef\xbb\xbfdata: x\n\n", b"\xef\xbb\xbfdata: y\n\n"]) == ["x"]
    assert fed([b"\xef", b"\xbb", b"\xbfdata: x\n\n"]) == ["x"]


def test_the_lines_of_one_event_are_joined_across_packets() -> None:
    assert fed([b"data: a\n\ndata: x\n", b"data: y\n\n"]) == ["a", "x\ny"]


def test_bytes_that_are_not_utf8_are_an_error_and_earlier_events_are_kept() -> None:
    events = Events(100)
    arriving = events.feed(b"data: one\n\ndata: \xff\xfe\n\n")
    assert next(arriving) == "one"
    with pytest.raises(UnicodeDecodeError):
        next(arriving)
    with pytest.raises(UnicodeDecodeError):
        fed([b"data: \xed\xa0\x80\n\n"])  # half of a surrogate pair


@pytest.mark.parametrize(
    "pieces", [[b"x" * 101], [b"x"] * 101, [b"data: " + b"x" * 100], [b"data: xxxx\n"] * 11, [b": ping\n\n"] * 20]
)
def test_an_event_has_a_size_limit(pieces: list[bytes]) -> None:
    with pytest.raises(ValueError, match="100 bytes came"):
        fed(pieces, 100)


def test_many_events_together_may_exceed_the_limit_of_one() -> None:
    assert fed([b"data: xxxx\n\n"] * 1_000 + [b"data: y\n", b"\n"] * 1_000, 100) == ["xxxx"] * 1_000 + ["y"] * 1_000


def test_a_long_line_in_many_pieces_is_joined_once() -> None:
    """Joining it at each piece would take minutes."""
    assert fed([b"data: ", *[b"x"] * 300_000, b"\n\n"], 10**6) == ["x" * 300_000]
