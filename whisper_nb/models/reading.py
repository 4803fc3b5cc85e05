"""What every reply is read for, whoever brings it: tokens and cost, the reason of its end, whose call a piece belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.messages import CallDelta, Finish, Usage
from ..core.text import valid_unicode

#: A reason of a provider's own → the one name of it. Everything else is no reason to take a reply for whole.
REASONS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"), "stop"),
    **dict.fromkeys(("tool_calls", "tool_use", "tool_call", "function_call"), "tool_calls"),
    **dict.fromkeys(("length", "max_tokens", "model_length", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(
        ("content_filter", "safety", "sensitive", "recitation", "prohibited_content", "refusal"), "content_filter"
    ),
}
#: What some providers give as the reason when they failed in the middle of a reply.
FAILURES = frozenset({"error", "network_error"})
#: The most bytes of one reply: far above any model's, far below what harms a notebook. Of one piece of a stream, with all
#: that says nothing before it. And of a refusal.
REPLY_LIMIT, EVENT_LIMIT, REFUSAL_LIMIT = 16 * 2**20, 4 * 2**20, 65_536
#: The most tool calls of one reply.
CALLS_LIMIT = 1_000
TOO_LARGE = f"it is larger than {REPLY_LIMIT // 2**20} MB, and was closed"


class Distrusted(ValueError):
    """What arrived is no reply that can be read, or trusted."""


class Reading:
    """One reply as far as it has come.

    Args:
        field: in which the provider gives what the model thought, and wants it back; empty for none.
    """

    __slots__ = ("_calls", "_field", "_reason", "_thoughts", "spent")

    def __init__(self, field: str = "") -> None:
        self._field = field
        self._thoughts: list[str | Mapping[str, Any]] = []
        self.spent: dict[str, Any] = {}
        """What the provider said of tokens and cost, in OpenAI's words; empty while it said nothing."""
        self._reason: str | None = None  # by its one name; the first that is not good holds
        self._calls: list[tuple[Any, str]] = []  # what the provider calls each call: its index, its id

    def finish(self) -> Finish | None:
        """How the reply ended, the cost left open; None when the provider did not say, for then it was cut off."""
        if self._reason is None or self._reason in FAILURES:
            return None
        sent, received = (_tokens(self.spent.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        usage = Usage(sent, received) if sent or received else None
        return Finish(self._reason, usage, None, {self._field: _joined(self._thoughts)} if self._thoughts else None)

    def _end(self, reason: Any) -> None:
        if reason and self._reason in (None, "stop", "tool_calls"):
            self._reason = REASONS.get(str(reason).lower(), str(reason))

    def _count(self, usage: Any) -> None:
        if usage is not None:
            said = usage if isinstance(usage, Mapping) else usage.model_dump(warnings=False)
            for name, value in said.items():
                known = self.spent.get(name)
                # Some say the input at the start and the output at the end: what is less than before is no news.
                if _is_number(known) and _is_number(value):
                    self.spent[name] = max(known, value)
                elif value or (value is not None and not known):
                    self.spent[name] = value

    def _keep(self, thought: Any) -> None:
        """A piece of what the model thought, as it is wanted back: text, or pieces of blocks."""
        pieces = [thought] if isinstance(thought, str) else thought if isinstance(thought, list) else []
        self._thoughts += [piece for piece in pieces if piece and isinstance(piece, str | Mapping)]

    def _call(self, index: Any, id_: str, name: str, arguments: Any) -> CallDelta:
        """A piece of a call. Some providers number all calls 0 and tell them apart by id; some do not number them."""
        if not isinstance(id_, str) or not isinstance(name, str):
            raise Distrusted("a tool call in it has no name or id that is text")
        place = next((n for n, known in enumerate(self._calls) if known == (index, id_)), None)
        if place is None and not id_:
            place = next((n for n, (known, _) in reversed([*enumerate(self._calls)]) if index in (None, known)), None)
        if place is None:
            place = len(self._calls)
            if place == CALLS_LIMIT:
                raise Distrusted(f"it calls more than {CALLS_LIMIT} tools at once")
            self._calls.append((index, id_))
        text = arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""
        return CallDelta(place, id_, name, text)


def _joined(pieces: Sequence[str | Mapping[str, Any]]) -> str | list[dict[str, Any]]:
    """What its pieces are together: one text; or blocks, to each of which belong the pieces up to its signature."""
    if isinstance(pieces[0], str):
        return valid_unicode("".join(piece for piece in pieces if isinstance(piece, str)))
    blocks: list[list[Mapping[str, Any]]] = []
    for piece in pieces:
        if not isinstance(piece, Mapping):
            continue
        # Those with numbers may come in turn.
        open_ = blocks[-1:] if piece.get("index") is None else reversed(blocks)
        if block := next((block for block in open_ if _goes_on(block[-1], piece)), None):
            block.append(piece)
        else:
            blocks.append([piece])
    return [_block(block) for block in blocks]


def _goes_on(before: Mapping[str, Any], piece: Mapping[str, Any]) -> bool:
    """Whether a piece belongs to the block of the one before; what is encrypted always comes in one."""
    same = all(before.get(key) == piece.get(key) for key in ("type", "index"))
    return same and not before.get("signature") and "data" not in piece


def _block(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    block = {key: value for piece in pieces for key, value in piece.items() if value is not None}
    for name in ("thinking", "text", "summary"):
        if isinstance(block.get(name), str):
            block[name] = "".join(str(piece.get(name) or "") for piece in pieces)
    # As JSON can say it: half a character, or no number, would fail each later call.
    said: dict[str, Any] = json.loads(
        valid_unicode(json.dumps(block, ensure_ascii=False)), parse_constant=lambda _: None
    )
    return said


def text_of(content: Any) -> str:
    """The text of a message's content, which may come in parts; others of these are what the model thinks.

    Raises:
        Distrusted: it is no text.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Distrusted(f"its content is not text but {type(content).__name__}")
    return "".join(str(part["text"]) for part in content if part.get("type") == "text")


def _tokens(count: Any) -> int:
    return count if isinstance(count, int) and not isinstance(count, bool) and count > 0 else 0


def _is_number(told: Any) -> bool:
    return isinstance(told, int | float) and not isinstance(told, bool)
