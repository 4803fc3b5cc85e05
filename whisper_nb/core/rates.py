"""The rate of calls: requests and tokens in a sliding minute. Pure: the caller has the clock."""

from __future__ import annotations

from collections import deque

from msgspec import Struct

#: Seconds in which the calls of a rate are counted.
WINDOW_S = 60.0


class Rate(Struct, frozen=True):
    """The rate that a call keeps to, with all other calls to its endpoint."""

    requests_per_minute: int | None
    """None: no limit."""
    tokens_per_minute: int | None
    """None: no limit."""
    tokens: int
    """About as many tokens as this call takes."""


class Sent(Struct):
    """A call that was sent."""

    at_s: float
    """The time, in seconds of the caller's clock."""
    tokens: int
    """That it counts with: as estimated; and, once it has ended, as it took."""


class Window:
    """The calls of the last minute to one endpoint. Times never decrease."""

    __slots__ = ("_calls", "_tokens")

    def __init__(self) -> None:
        self._calls: deque[Sent] = deque()
        self._tokens = 0

    def wait(self, rate: Rate, now_s: float) -> tuple[float, str]:
        """Return the seconds until a call may be sent, and the limit that it waits for; 0 if it may be sent now.

        A call with more tokens than a minute has may be sent once no tokens were used for a minute.
        """
        self._drop(now_s)
        after_s, limit = 0.0, ""
        requests, tokens = rate.requests_per_minute, rate.tokens_per_minute
        if requests is not None and len(self._calls) >= requests:
            after_s = self._calls[len(self._calls) - requests].at_s + WINDOW_S - now_s
            limit = f"{requests:,} request{'s' * (requests > 1)} per minute"
        if tokens is not None and self._tokens and self._tokens + rate.tokens > tokens:
            longer_s = self._until(tokens - rate.tokens) - now_s
            if longer_s > after_s:
                after_s, limit = longer_s, f"{tokens:,} tokens per minute"
        return after_s, limit

    def add(self, tokens: int, now_s: float) -> Sent:
        """Count a call that is sent now."""
        sent = Sent(now_s, tokens)
        self._calls.append(sent)
        self._tokens += tokens
        return sent

    def correct(self, sent: Sent, tokens: int, now_s: float) -> None:
        """Count a call with the tokens that it has taken."""
        self._drop(now_s)
        if sent.at_s + WINDOW_S > now_s:
            self._tokens += tokens - sent.tokens
            sent.tokens = tokens

    def remove(self, sent: Sent, now_s: float) -> None:
        """Forget a call that was not sent after all."""
        self.correct(sent, 0, now_s)
        self._calls = deque(one for one in self._calls if one is not sent)

    def _until(self, tokens: int) -> float:
        """Return the time when at most so many tokens are left in the window; or none, if that is not possible."""
        left, at_s = self._tokens, 0.0
        for one in self._calls:
            if left <= max(tokens, 0):
                break
            left -= one.tokens
            at_s = one.at_s + WINDOW_S
        return at_s

    def _drop(self, now_s: float) -> None:
        """Drop the calls that are more than a minute ago."""
        while self._calls and self._calls[0].at_s + WINDOW_S <= now_s:
            self._tokens -= self._calls.popleft().tokens
