"""The parts of a reply that all formats share: usage, the finish reason, and which call a piece belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.messages import CallDelta, Finish, Usage
from ..core.text import valid_unicode

#: A provider's finish reason → its common name. A reply with any other reason is not taken for complete.
REASONS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"), "stop"),
    **dict.fromkeys(("tool_calls", "tool_use", "tool_call", "function_call"), "tool_calls"),
    **dict.fromkeys(("length", "max_tokens", "model_length", "model_context_window_exceeded"), "length"),
    **dict.fromkeys(
        ("content_filter", "safety", "sensitive", "recitation", "prohibited_content", "refusal"), "content_filter"
    ),
}
#: The finish reasons of providers that failed within a reply.
FAILURES = frozenset({"error", "network_error"})
#: The most bytes of one reply, far above any model's and far below what harms a notebook; of one event of a stream,
#: with everything before it that is not data; and of an HTTP error.
REPLY_LIMIT, EVENT_LIMIT, REFUSAL_LIMIT = 16 * 2**20, 4 * 2**20, 65_536
#: The most characters of a tool call's id, which may contain a signature, and of its name.
NAME_LIMIT = 65_536
#: The most tool calls of one reply.
CALLS_LIMIT = 1_000
TOO_LARGE = f"it is larger than {REPLY_LIMIT // 2**20} MB, and was closed"
NOT_A_STREAM = "it is not a stream, which was asked for: set stream: false"
NOT_CHAT = "it is in the format of text completions, not of chat"


class InvalidReply(ValueError):
    """The reply cannot be read, or may be incomplete."""


class ReplyReader:
    """One reply, as far as it has arrived.

    Args:
        field: the field in which the provider sends the model's reasoning and wants it back; empty if there is none.
    """

    __slots__ = ("_calls", "_field", "_reason", "_reasoning", "usage")

    def __init__(self, field: str = "") -> None:
        self._field = field
        self._reasoning: list[str | Mapping[str, Any]] = []
        self.usage: dict[str, Any] = {}
        """Tokens and cost as the provider reported them, in OpenAI's format; empty if it did not."""
        self._reason: str | None = None  # by its common name; a reason that is not a good one is kept
        self._calls: list[tuple[Any, str]] = []  # the provider's index and id of each call

    def finish(self) -> Finish | None:
        """Return how the reply ended, without its cost; None without a finish reason: the reply was cut off."""
        if self._reason is None or self._reason in FAILURES:
            return None
        sent, received = (_tokens(self.usage.get(name)) for name in ("prompt_tokens", "completion_tokens"))
        usage = reasoning = None
        if sent or received:
            usage = Usage(sent, received)
        if self._reasoning:
            reasoning = {self._field: _joined(self._reasoning)}
        return Finish(self._reason, usage, None, reasoning)

    def _end(self, reason: Any) -> None:
        if reason and self._reason in (None, "stop", "tool_calls"):
            self._reason = REASONS.get(str(reason).lower(), str(reason))

    def _count(self, usage: Any) -> None:
        if usage is None:
            return
        fields = usage if isinstance(usage, Mapping) else usage.model_dump(warnings=False)
        for name, value in fields.items():
            known = self.usage.get(name)
            # Some report the input at the start and the output at the end: a lower number is not a correction.
            if _is_number(known) and _is_number(value):
                self.usage[name] = max(known, value)
            elif value or (value is not None and not known):
                self.usage[name] = value

    def _keep(self, reasoning: Any) -> None:
        """Keep a piece of the reasoning in the form in which the provider wants it back: text, or pieces of blocks."""
        if isinstance(reasoning, str):
            reasoning = [reasoning]
        if isinstance(reasoning, list):
            self._reasoning += [piece for piece in reasoning if piece and isinstance(piece, str | Mapping)]

    def _call(self, index: Any, id_: str, name: str, arguments: Any) -> CallDelta:
        """Return the delta of a piece of a call.

        Some providers give all calls the index 0 and tell them apart by id. Some give no index.
        """
        if not isinstance(id_, str) or not isinstance(name, str):
            raise InvalidReply("a tool call in it has an id or a name that is not text")
        if len(id_) > NAME_LIMIT or len(name) > NAME_LIMIT:
            raise InvalidReply(f"a tool call in it has an id or a name of more than {NAME_LIMIT:,} characters")
        position = self._position(index, id_)
        if position is None:
            position = len(self._calls)
            if position == CALLS_LIMIT:
                raise InvalidReply(f"it calls more than {CALLS_LIMIT} tools at once")
            self._calls.append((index, id_))
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments) if arguments else ""
        return CallDelta(position, id_, name, arguments)

    def _position(self, index: Any, id_: str) -> int | None:
        """Return which of the calls so far a piece belongs to; None if it begins a new one."""
        if (index, id_) in self._calls:
            return self._calls.index((index, id_))
        if not id_:
            for position in reversed(range(len(self._calls))):
                if index in (None, self._calls[position][0]):
                    return position
        return None


def _joined(pieces: Sequence[str | Mapping[str, Any]]) -> str | list[dict[str, Any]]:
    """Join pieces of reasoning: to one text, or to blocks, each of which ends with its signature."""
    if isinstance(pieces[0], str):
        return valid_unicode("".join(piece for piece in pieces if isinstance(piece, str)))
    blocks: list[list[Mapping[str, Any]]] = []
    for piece in pieces:
        if not isinstance(piece, Mapping):
            continue
        # Pieces of blocks with an index may be interleaved.
        candidates = blocks[-1:] if piece.get("index") is None else reversed(blocks)
        if block := next((block for block in candidates if _continues(block[-1], piece)), None):
            block.append(piece)
        else:
            blocks.append([piece])
    return [_block(block) for block in blocks]


def _continues(before: Mapping[str, Any], piece: Mapping[str, Any]) -> bool:
    """Whether a piece belongs to the block of the piece before. Encrypted blocks come in one piece."""
    same = all(before.get(key) == piece.get(key) for key in ("type", "index"))
    return same and not before.get("signature") and "data" not in piece


def _block(pieces: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    block = {key: value for piece in pieces for key, value in piece.items() if value is not None}
    for name in ("thinking", "text", "summary"):
        if isinstance(block.get(name), str):
            block[name] = "".join(str(piece.get(name) or "") for piece in pieces)
    # Valid JSON only: lone surrogates and NaN would fail each later call.
    text = valid_unicode(json.dumps(block, ensure_ascii=False))
    valid: dict[str, Any] = json.loads(text, parse_constant=lambda _: None)
    return valid


def text_of(content: Any) -> str:
    """Return the text of a message's content. It may come in parts, of which some are reasoning.

    Raises:
        InvalidReply: it is not text.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidReply(f"its content is not text but {type(content).__name__}")
    return "".join(str(part["text"]) for part in content if part.get("type") == "text")


def _tokens(count: Any) -> int:
    if isinstance(count, int) and not isinstance(count, bool) and count > 0:
        return count
    return 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
