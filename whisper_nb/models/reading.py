"""The parts of a reply that all formats share: usage, the finish reason, and which call a piece belongs to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ..core.costs import token_count
from ..core.messages import CallDelta, Finish, Usage
from ..core.text import valid_unicode
from .prices import output_tokens

#: A provider's finish reason → its common name. A reply with any other reason is not taken for complete.
REASONS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "complete", "completed"), "stop"),
    **dict.fromkeys(("tool_calls", "tool_use", "tool_call", "function_call"), "tool_calls"),
    **dict.fromkeys(
        ("length", "max_tokens", "max_output_tokens", "model_length", "model_context_window_exceeded"), "length"
    ),
    **dict.fromkeys(
        (
            "content_filter", "content_filtered", "safety", "sensitive", "recitation", "prohibited_content", "refusal",
            "blocklist", "spii", "image_safety", "image_prohibited_content", "guardrail_intervened",
        ),
        "content_filter",
    ),
}  # fmt: skip
#: What some servers write in the place of a reason that they do not have yet.
_NO_REASON = frozenset({"null", "none"})
#: The beginnings of the ids of Anthropic's calls of tools that it runs itself, such as a web search, or by MCP.
_SERVED = ("srvtoolu_", "mcptoolu_")
#: The finish reasons of providers that failed within a reply.
FAILURES = frozenset({"error", "network_error"})
#: The most bytes of one reply, far above any model's and far below what harms a notebook; of one event of a stream,
#: with everything before it that is not data; and of an HTTP error.
REPLY_LIMIT, EVENT_LIMIT, REFUSAL_LIMIT = 16 * 2**20, 4 * 2**20, 65_536
#: The most characters of a tool call's id, which may contain a signature, and of its name.
NAME_LIMIT = 65_536
#: The types of Anthropic's blocks of reasoning.
_OF_ANTHROPIC = ("thinking", "redacted_thinking")
#: The most tool calls of one reply.
CALLS_LIMIT = 1_000
TOO_LARGE = f"it is larger than {REPLY_LIMIT // 2**20} MB, and was closed"
NOT_A_STREAM = "it is not a stream, which was asked for: set stream: false"
ANOTHER = "another reply begins within it"
NOT_CHAT = "it is in the format of text completions, not of chat"


class InvalidReply(ValueError):
    """The reply cannot be read, or may be incomplete."""


class ReplyReader:
    """One reply, as far as it has arrived.

    Args:
        field: the field in which the provider sends the model's reasoning and wants it back; empty without one.
    """

    __slots__ = ("_calls", "_field", "_has_text", "_reason", "_reasoning", "usage")

    def __init__(self, field: str = "") -> None:
        self._field = field
        self._reasoning: list[str | Mapping[str, Any]] = []
        self.usage: dict[str, Any] = {}
        """Tokens and cost as the provider reported them, in OpenAI's format; empty if it did not."""
        self._reason: str | None = None  # by its common name; a reason that is not a good one is kept
        self._calls: list[_Call] = []
        self._has_text = False

    @property
    def reason(self) -> str:
        """The finish reason by its common name, or by the provider's own; empty before it has arrived."""
        return self._reason or ""

    @property
    def ended(self) -> bool:
        """Whether the provider gave a finish reason: whatever happens to the connection then, the reply is complete."""
        return self._reason is not None and self._reason not in FAILURES

    def finish(self) -> Finish | None:
        """Return how the reply ended, without its cost; None without a finish reason: the reply was cut off."""
        if self._reason is None or self._reason in FAILURES:
            return None
        reasoning = None
        if self._reasoning:
            reasoning = {self._field: _joined(self._reasoning)}
        return Finish(self._reason, self._tokens(), None, reasoning)

    def _tokens(self) -> Usage | None:
        """Return the tokens; None if one of the counts is unknown: missing, or 0 where there was something to count."""
        sent, received = token_count(self.usage.get("prompt_tokens")), output_tokens(self.usage)
        if not sent or received is None or (received == 0 and (self._has_text or self._calls)):
            return None
        return Usage(sent, received)

    def _end(self, reason: Any) -> None:
        if reason and self._reason in (None, "stop", "tool_calls"):
            self._reason = reason_of(reason) or self._reason

    def _count(self, usage: Any) -> None:
        if not isinstance(usage, Mapping):
            dump = getattr(usage, "model_dump", None)
            if dump is None:
                return
            usage = dump(warnings=False)
        for name, value in usage.items():
            # The last one counts, but for a 0: some report the input at the start and the output at the end.
            if value or (value is not None and not self.usage.get(name)):
                self.usage[name] = value

    def _keep(self, reasoning: Any) -> None:
        """Keep a piece of the reasoning in the form in which the provider wants it back: text, or pieces of blocks."""
        if isinstance(reasoning, str):
            reasoning = [reasoning]
        if isinstance(reasoning, list):
            self._reasoning += [piece for piece in reasoning if piece and isinstance(piece, str | Mapping)]

    def _call(self, index: Any, id_: Any, name: Any, arguments: Any) -> CallDelta:
        """Return the delta of a piece of a call."""
        if type(id_) is int:
            id_ = str(id_)
        if not isinstance(id_, str) or not isinstance(name, str):
            raise InvalidReply("a tool call in it has an id or a name that is not text")
        if len(id_) > NAME_LIMIT or len(name) > NAME_LIMIT:
            raise InvalidReply(f"a tool call in it has an id or a name of more than {NAME_LIMIT:,} characters")
        if not isinstance(arguments, str):
            arguments = json.dumps(arguments) if arguments else ""
        call = self._continued(index, id_, name, arguments)
        if call is None:
            if len(self._calls) == CALLS_LIMIT:
                raise InvalidReply(f"it calls more than {CALLS_LIMIT} tools at once")
            call = _Call(len(self._calls), index, id_, name)
            self._calls.append(call)
        if arguments:
            call.arguments.append(arguments)
        return CallDelta(call.position, id_, name, arguments, call.served)

    def _continued(self, index: Any, id_: str, name: str, arguments: str) -> _Call | None:
        """Return the call that a piece continues; None if it begins a new one.

        Some providers give all calls the index 0 and tell them apart by id. Some give no index, some no id, and some
        another id with each piece.
        """
        if not self._calls:
            return None
        last = self._calls[-1]
        if not (id_ or name) and last.index == index:  # as it usually is
            return last
        calls = self._calls[::-1]
        if id_ and (known := next((one for one in calls if one.id == id_ and one.has(index)), None)):
            return known
        call = next((one for one in calls if one.has(index)), None)
        if not name:
            if call is None and not id_:
                return last  # an index that no call has
            return call
        if call is None or (id_ and not (call.name == name and call.is_open(arguments))):
            return None
        if not id_ and not call.id and (arguments or index is None or name != call.name) and call.is_complete():
            return None  # without ids, only the names tell calls apart
        return call


class _Call:
    """A tool call, as far as it has arrived."""

    __slots__ = ("arguments", "id", "index", "name", "position", "served")

    def __init__(self, position: int, index: Any, id_: str, name: str) -> None:
        self.position = position
        self.index = index  # the provider's
        self.id = id_
        self.name = name
        self.arguments: list[str] = []
        self.served = id_.startswith(_SERVED)

    def has(self, index: Any) -> bool:
        """Whether a piece with this index may belong to it."""
        return index is None or self.index is None or index == self.index

    def is_open(self, arguments: str) -> bool:
        """Whether its arguments have begun, and these are not the beginning of others."""
        return bool(self.arguments) and not arguments.startswith("{") and not self.is_complete()

    def is_complete(self) -> bool:
        """Whether its arguments are complete JSON."""
        try:
            return isinstance(json.loads("".join(self.arguments)), dict)
        except (ValueError, RecursionError):
            return False


def reason_of(reason: Any) -> str:
    """Return the common name of a finish reason; a reason without one as it is; empty for none."""
    word = str(reason or "").lower().replace("-", "_")
    if word in _NO_REASON:
        return ""
    return REASONS.get(word, str(reason or ""))


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
    joined = [_block(block) for block in blocks]
    for block in joined:
        if block.get("type") in _OF_ANTHROPIC:  # LiteLLM's index is no part of it, and Anthropic would refuse it
            block.pop("index", None)
    return joined


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


#: The types of the parts of a content that are not its text.
_THOUGHTS = ("thinking", "reasoning", "redacted_thinking", "reference")


def text_of(content: Any) -> str:
    """Return the text of a message's content. It may come in parts, of which some are reasoning.

    Raises:
        InvalidReply: it is not text, or has a part that is not.
    """
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise InvalidReply(f"its content is not text but {type(content).__name__}")
    return "".join(map(_text_of_part, content))


def _text_of_part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, Mapping):
        raise InvalidReply(f"a part of its content is not text but {type(part).__name__}")
    kind = part.get("type")
    if kind in _THOUGHTS:
        return ""
    for name in ("text", "refusal"):
        text = part.get(name)
        if isinstance(text, Mapping):  # with annotations
            text = text.get("value")
        if name in part and isinstance(text or "", str):
            return text or ""
    raise InvalidReply(f"a part of its content is not text but {str(kind)[:60]}")


def thought_of(content: Any) -> str:
    """Return the reasoning among the parts of a message's content."""
    if not isinstance(content, list):
        return ""
    parts = [part for part in content if isinstance(part, Mapping) and part.get("type") in _THOUGHTS]
    thoughts = [part.get(name) for part in parts for name in ("thinking", "text", "summary", "reasoning")]
    return "".join(one if isinstance(one, str) else thought_of_parts(one) for one in thoughts)


def thought_of_parts(parts: Any) -> str:
    """Return the text of a list of pieces of reasoning."""
    if not isinstance(parts, list):
        return ""
    return "".join(str(part.get("text") or "") for part in parts if isinstance(part, Mapping))
