"""Fitting: leaves the oldest exchanges out of a model call whose context would be too long."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from ..core.messages import SystemMessage
from ..models.transcript import Transcript


def trim(messages: Transcript, limit: int, count: Callable[[Transcript], int], guess: int = 0) -> Transcript:
    """Return the messages that fit into `limit` tokens: the oldest exchanges are left out, each whole.

    The system prompt and everything from the last prompt on stay, so no tool call loses its result. The result may
    still exceed the limit: then nothing more can be left out, and the caller must refuse the call.

    Args:
        messages: a whole conversation.
        limit: in tokens.
        count: returns the tokens of messages. Slow, so it is called as rarely as possible.
        guess: how many messages an earlier call of the same conversation left out. Saves counting if it still holds.
    """
    has_system = len(messages) > 0 and isinstance(messages[0], SystemMessage)

    def kept(cut: int) -> Transcript:
        return Transcript.joined(messages[:has_system], messages[cut:]) if cut else messages

    def fits(index: int) -> bool:
        return count(kept(cuts[index])) <= limit

    cuts = [0, *messages.starts[1:]]
    low, high = 0, len(cuts) - 1  # the answer is between them; the more is left out, the fewer tokens remain
    at = bisect_left(cuts, guess + has_system) if guess else 0
    if 0 < at < high:
        if not fits(at):
            low, high = _next_after(at, high, fits)
        elif fits(at - 1):
            high = at - 1
        else:
            low = high = at
    return kept(cuts[low + bisect_left(range(low, high), True, key=fits)])


def _next_after(at: int, last: int, fits: Callable[[int], bool]) -> tuple[int, int]:
    """Return bounds of the first index after `at` that fits, in steps that double: it is usually the next one."""
    step, below, above = 1, at, at + 1
    while above < last and not fits(above):
        step *= 2
        below, above = above, min(above + step, last)
    return below + 1, above
