"""The lengths of models' replies, as they were: how much a further reply will probably cost."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

#: Output tokens that are reserved for a model of which too few replies are known.
DEFAULT_TOKENS = 1_000
#: The newest replies of a model that count, and how many must be known before the default no longer applies.
WINDOW, ENOUGH = 100, 8
#: The share of replies that are not longer than what is expected.
SHARE = 0.95
#: A prompt has at most so many times the estimated tokens of it, as far as no call has shown otherwise; and, in any
#: case, at most so many.
PER_ESTIMATE, MOST_PER_ESTIMATE = 4 / 3, 8.0
#: A shorter prompt, in estimated tokens, does not show the ratio: what the provider adds to each weighs too much in it.
TELLING = 1_000
#: The models that are remembered; the oldest are forgotten first.
MODELS = 1_000


class Lengths:
    """The lengths of one model's replies and prompts, in tokens, and the cost of its dearest call."""

    __slots__ = ("_beside", "_newest", "_per_estimate", "_sorted", "dearest")

    def __init__(self) -> None:
        self._newest: deque[int] = deque()
        self._sorted: list[int] = []
        # Both only grow: the highest is the safe one.
        self._per_estimate = PER_ESTIMATE
        self._beside = 0.0  # tokens that a short prompt had beyond that
        self.dearest = 0.0
        """The highest cost of a call in US dollars."""

    @property
    def expected(self) -> int:
        """The length that 95 % of the newest 100 replies do not exceed; at least the default while few are known."""
        lengths = self._sorted
        if len(lengths) < ENOUGH:
            return max([DEFAULT_TOKENS, *lengths[-1:]])
        return lengths[math.ceil(SHARE * len(lengths)) - 1]

    def add(self, tokens: int) -> None:
        """Add the length of a reply, reasoning included."""
        self._newest.append(tokens)
        insort(self._sorted, tokens)
        if len(self._newest) > WINDOW:
            del self._sorted[bisect_left(self._sorted, self._newest.popleft())]

    def prompt(self, estimated: int) -> int:
        """Return how many tokens a prompt has at most that was estimated, as far as is known."""
        return math.ceil(estimated * self._per_estimate + self._beside)

    def measured(self, estimated: int, tokens: int) -> None:
        """Learn how many tokens a prompt has that was estimated."""
        if estimated >= TELLING:
            self._per_estimate = max(self._per_estimate, min(MOST_PER_ESTIMATE, tokens / estimated))
        elif estimated > 0:
            self._beside = max(self._beside, tokens - estimated * self._per_estimate)


class Learned:
    """The lengths of the replies of the models that were called under a budget."""

    __slots__ = ("_of",)

    def __init__(self) -> None:
        self._of: dict[str, Lengths] = {}

    def of(self, model: str) -> Lengths:
        """Return what is known of a model, as `provider/model`."""
        found = self._of.get(model)
        if found is None:
            if len(self._of) >= MODELS:
                del self._of[next(iter(self._of))]
            found = self._of[model] = Lengths()
        return found
