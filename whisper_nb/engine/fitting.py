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

    def fits(cut: int) -> bool:
        return count(kept(cut)) <= limit

    cuts = [0, *messages.starts[1:]]
    at = bisect_left(cuts, guess + has_system) if guess else 0
    if not (0 < at < len(cuts) and fits(cuts[at]) and not fits(cuts[at - 1])):
        # The more is left out, the fewer tokens remain: bisected.
        at = min(bisect_left(cuts, True, key=fits), len(cuts) - 1)
    return kept(cuts[at])
