"""The rate of calls in a sliding minute."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from whisper_nb.core.rates import WINDOW_S, Rate, Sent, Window

#: Seconds to the next call, the tokens of a call as estimated, and as it takes them; None: it keeps the estimate.
CALLS = st.lists(
    st.tuples(st.floats(0, 90), st.integers(0, 50), st.none() | st.integers(0, 50)), min_size=1, max_size=60
)


def in_window(sent: list[Sent], now_s: float) -> list[Sent]:
    return [one for one in sent if one.at_s + WINDOW_S > now_s]


@given(CALLS, st.none() | st.integers(1, 8), st.none() | st.integers(1, 60))
def test_no_schedule_exceeds_the_rate_in_any_minute_and_none_is_stuck(
    calls: list[tuple[float, int, int | None]], requests: int | None, tokens: int | None
) -> None:
    window, now_s, sent = Window(), 0.0, list[Sent]()
    for gap_s, estimate, took in calls:
        now_s += gap_s
        rate = Rate(requests, tokens, estimate)
        waits = 0
        while after_s := window.wait(rate, now_s)[0]:
            assert after_s <= WINDOW_S + 1e-6
            now_s += after_s
            waits += 1
            assert waits < 4, "it would wait for ever"
        before = in_window(sent, now_s)
        if requests is not None:
            assert len(before) < requests
        if tokens is not None:
            used = sum(one.tokens for one in before)
            assert used + estimate <= tokens or not used
        sent.append(window.add(estimate, now_s))
        if took is not None:
            window.correct(sent[-1], took, now_s)


@given(CALLS, st.integers(1, 8))
def test_a_call_is_sent_as_soon_as_the_minute_has_room(
    calls: list[tuple[float, int, int | None]], requests: int
) -> None:
    window, now_s, times = Window(), 0.0, list[float]()
    for gap_s, _, _ in calls:
        now_s += gap_s
        expected = now_s if len(times) < requests else max(now_s, times[-requests] + WINDOW_S)
        after_s, _ = window.wait(Rate(requests, None, 0), now_s)
        assert abs(now_s + after_s - expected) < 1e-6
        while after_s:
            now_s += after_s
            after_s, _ = window.wait(Rate(requests, None, 0), now_s)
        times.append(window.add(0, now_s).at_s)


def test_it_says_which_limit_a_call_waits_for() -> None:
    window = Window()
    window.add(900, 0.0)
    assert window.wait(Rate(1, None, 5), 10.0) == (50.0, "1 request per minute")
    assert window.wait(Rate(60, 1_000, 500), 20.0) == (40.0, "1,000 tokens per minute")
    window.add(50, 30.0)
    assert window.wait(Rate(2, 1_000, 500), 40.0) == (20.0, "2 requests per minute")
    assert window.wait(Rate(2, 1_000, 980), 40.0) == (50.0, "1,000 tokens per minute")
    assert window.wait(Rate(None, None, 10**9), 40.0) == (0.0, "")


def test_a_call_of_more_tokens_than_a_minute_has_is_sent_alone() -> None:
    window, big = Window(), Rate(None, 1_000, 5_000)
    assert window.wait(big, 0.0)[0] == 0
    window.add(5_000, 0.0)
    assert window.wait(Rate(None, 1_000, 1), 30.0)[0] == 30
    assert window.wait(big, 60.0)[0] == 0
    window.add(1, 60.0)
    assert window.wait(big, 60.0)[0] == 60


def test_the_tokens_of_a_call_are_corrected_when_it_ends() -> None:
    window = Window()
    sent = window.add(900, 0.0)
    window.correct(sent, 100, 5.0)
    assert window.wait(Rate(None, 1_000, 900), 5.0)[0] == 0
    window.correct(sent, 1_000, 6.0)
    assert window.wait(Rate(None, 1_000, 1), 6.0)[0] == 54


def test_a_call_that_ends_after_its_minute_corrects_nothing() -> None:
    window = Window()
    sent = window.add(900, 0.0)
    window.correct(sent, 10**6, 61.0)
    assert window.wait(Rate(None, 1_000, 1_000), 61.0)[0] == 0


def test_a_call_that_was_not_sent_leaves_nothing() -> None:
    window = Window()
    first, second = window.add(500, 0.0), window.add(500, 1.0)
    window.remove(second, 2.0)
    assert window.wait(Rate(2, 1_000, 500), 2.0)[0] == 0
    window.remove(first, 61.0)
    assert window.wait(Rate(1, 1_000, 1_000), 61.0)[0] == 0
