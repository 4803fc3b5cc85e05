"""The fingerprint of a request with a long conversation, beside hashing the bytes that are new in it."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from hashlib import sha256

from whisper_nb import AIConfig
from whisper_nb.core.messages import AssistantMessage, SystemMessage, ToolSchema, UserMessage
from whisper_nb.models.model import Request
from whisper_nb.models.transcript import Transcript

from .history import LONG, SHORT
from .measure import Figure, pin

#: Characters of a message. With few, the cost is that of the calls, and not of the bytes.
LENGTHS = (400, 20_000)
TURNS = 300
CONFIG = AIConfig(model="openai/gpt-4.1-mini", temperature=0.2, max_tokens=1_000)
TOOLS = tuple(ToolSchema(f"tool_{number}", "Return rows of a table.", {"type": "object"}) for number in range(10))
SYSTEM = Transcript([SystemMessage("Be brief.")])
#: The digests of all messages are hashed then, and no message.
NEW_CUT = "trimmed, by a new cut in each turn"
#: The part of the history that a call sends → its first message.
PARTS: dict[str, Callable[[int], int]] = {
    "all": lambda _: 0,
    "with memory last:2": lambda length: max(0, length - 4),
    "trimmed, by the same cut as before": lambda _: 100,
    NEW_CUT: lambda length: length - LONG + 200,
}


def turns() -> list[Figure]:
    """Turns of a run each, in conversations of 1,000 messages and of 10."""
    pin(0)
    figures = []
    for length in LENGTHS:
        bare = _hashing(length)
        short = _fingerprints(length, SHORT, PARTS["all"])
        figures.append(Figure(f"hashing two new messages of {length:,} characters: CPU", bare, " µs"))
        for name, cut in PARTS.items():
            cost = _fingerprints(length, LONG, cut)
            what = f"a fingerprint, {LONG:,} messages of {length:,} characters, {name}: CPU"
            goal = 1.5 if length == LENGTHS[-1] and name != NEW_CUT else None
            figures += [
                Figure(f"{what}, over hashing what is new", cost / bare, "×", at_most=goal),
                Figure(f"{what}, over {SHORT} messages", cost / short, "×"),
                Figure(what, cost, " µs"),
            ]
    return figures


def _fingerprints(length: int, messages: int, cut: Callable[[int], int]) -> float:
    """CPU in µs of the fingerprint of each turn: a reply and a prompt are new in it."""
    history = Transcript()
    for number in range(messages // 2):
        history.extend(_exchange(number, length))
    used: list[float] = []
    for number in range(-1, TURNS):
        prompt, reply = _exchange(number, length)
        draft = Transcript([prompt])
        joined = Transcript.joined(SYSTEM, history[cut(len(history)) :], draft)
        start = time.thread_time()
        Request(joined, TOOLS, CONFIG).fingerprint  # noqa: B018
        if number >= 0:  # the first one hashes all
            used.append(time.thread_time() - start)
        draft.append(reply)
        history.extend(draft)
    return statistics.median(used) * 1e6


def _exchange(number: int, length: int) -> Transcript:
    return Transcript([UserMessage(f"{number}?".ljust(length, "a")), AssistantMessage(f"{number}.".ljust(length, "b"))])


def _hashing(length: int) -> float:
    """CPU in µs of hashing the encoded messages of a turn, each by itself."""
    pieces = [_exchange(number, length).pieces for number in range(TURNS)]
    used: list[float] = []
    gc.collect()
    for one, other in pieces:
        start = time.thread_time()
        sha256(one).digest()
        sha256(other).digest()
        used.append(time.thread_time() - start)
    return statistics.median(used) * 1e6
