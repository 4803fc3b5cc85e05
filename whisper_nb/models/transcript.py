"""A conversation kept in the form in which it is sent, so that each message is encoded and counted once."""

from __future__ import annotations

import json
import threading
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import sha256
from itertools import compress
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import msgspec

from ..core.fingerprint import DIGEST
from ..core.messages import AssistantMessage, Image, Message, SystemMessage, ToolMessage, UserMessage, replace
from .openai_format import WITH_IMAGES, canonical_piece, decode, encode
from .tokens import IMAGE_TOKENS, estimate

if TYPE_CHECKING:
    from hashlib import _Hash

#: Returns the size of one message in some unit, for example in words.
Measure = Callable[[Message], int]
#: A range of a transcript's own messages.
Span: TypeAlias = "tuple[Transcript, int, int]"


class Transcript(Sequence[Message]):
    """Messages kept as encoded pieces of a request's body. Append-only; indexing and iterating decode.

    Args:
        messages: the first messages.
    """

    __slots__ = (
        "_chain", "_digests", "_is_prompt", "_marked", "_parts", "_pieces", "_size", "_sizes", "_sums", "_tokens",
        "estimate",
    )  # fmt: skip

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._pieces: list[bytes] = []
        self._sizes = array("L")
        self._size = 0
        self._tokens = array("I")
        self.estimate = 0
        """About as many tokens as all messages have, estimated from their length. Not to be changed."""
        self._is_prompt = bytearray()
        self._marked: tuple[array[int], array[int]] | None = None
        """Where exchanges begin, and the estimated tokens before each; as far as they were asked for."""
        self._parts: tuple[tuple[Transcript, int, int], ...] = ()
        """The ranges of other transcripts that this one consists of; empty if it was built by appending."""
        self._sums: dict[Measure, array[int]] = {}
        """Measure → its sums over the first n messages, from n = 0."""
        self._digests = bytearray()
        """The digests of the first messages, as far as they were asked for."""
        self._chain: tuple[tuple[Span, ...], int, int, _Hash] | None = None
        """The hash of some spans: all but the last; the range of the last, which is of this transcript; the hash."""
        if isinstance(messages, Transcript):
            self.extend(messages)
        else:
            for message in messages:
                self.append(message)

    @classmethod
    def joined(cls, *parts: Transcript) -> Transcript:
        """Return the messages of all parts, one after another. Nothing is encoded again."""
        transcript = cls()
        spans: list[Span] = []
        for part in parts:
            if part._pieces:
                transcript._concatenate(part)
                spans += part._parts or ((part, 0, len(part)),)
        transcript._parts = tuple(spans)
        return transcript

    @property
    def pieces(self) -> list[bytes]:
        """Each message in OpenAI's chat format, as JSON in UTF-8. Not to be changed."""
        return self._pieces

    @property
    def size(self) -> int:
        """An upper bound of the tokens of all messages: a byte is a token, and an image takes IMAGE_TOKENS."""
        return self._size

    @property
    def sizes(self) -> Sequence[int]:
        """An upper bound of the tokens of each message. Not to be changed."""
        return self._sizes

    @property
    def estimates(self) -> Sequence[int]:
        """About as many tokens as each message has, estimated from its length. Not to be changed."""
        return self._tokens

    @property
    def starts(self) -> list[int]:
        """The indices of the prompts, where exchanges begin."""
        return list(compress(range(len(self._is_prompt)), self._is_prompt))

    def append(self, message: Message) -> None:
        """Add a message at the end."""
        piece = _piece_of(message)
        size = len(piece)
        images: Sequence[Image] = ()
        is_prompt = isinstance(message, UserMessage) and not message.goes_on
        if isinstance(message, UserMessage):
            images = message.images
            size += sum(IMAGE_TOKENS - len(image.data) for image in images)
        tokens = estimate(piece, images)
        self._tokens.append(tokens)
        self.estimate += tokens
        self._pieces.append(piece)
        self._sizes.append(size)
        self._size += size
        self._is_prompt.append(is_prompt)
        self._parts = ()

    def extend(self, messages: Iterable[Message]) -> None:
        """Add messages at the end. Those of a Transcript are not encoded again."""
        if isinstance(messages, Transcript):
            known = messages._known_digests()
            with _measuring:
                if len(self._digests) == DIGEST * len(self):
                    self._digests += known
                self._concatenate(messages if messages is not self else messages[:])
            self._parts = ()
        else:
            for message in messages:
                self.append(message)

    def since(self, exchanges: int | None, tokens: int | None) -> int:
        """Return where the newest exchanges begin, each a prompt with all that follows it.

        The work is that of the messages which are new since the last call.

        Args:
            exchanges: the most of them; None for no limit.
            tokens: the most tokens that they may have, estimated; None for no limit.
        """
        starts, before = self._exchanges()
        first = 0
        if exchanges is not None:
            first = max(0, len(starts) - exchanges)
        if tokens is not None:
            first = max(first, bisect_left(before, self.estimate - tokens))
        if first == 0:
            return 0
        return starts[first] if first < len(starts) else len(self)

    def _exchanges(self) -> tuple[array[int], array[int]]:
        """Return where exchanges begin, and the estimated tokens before each."""
        starts, before = self._marked = self._marked or (array("L"), array("Q"))
        at, total = (starts[-1], before[-1]) if starts else (0, 0)
        begin = self._is_prompt.find(1, at + 1 if starts else 0)
        while begin >= 0:
            total += sum(self._tokens[at:begin])
            at = begin
            starts.append(at)
            before.append(total)
            begin = self._is_prompt.find(1, at + 1)
        return starts, before

    def measured(self, measure: Measure) -> int:
        """Return the sum of a measure over all messages. Each message is measured once, also in joined transcripts."""
        return sum(part._measured(measure, start, stop) for part, start, stop in self._spans(0, len(self)))

    def hashed(self) -> _Hash:
        """Return a new hash of the digests of all messages in canonical JSON, one after another.

        The work is that of the messages which are new since the last call, also if they are joined anew each time. If
        other messages precede them, their digests are hashed once more; no message is.
        """
        spans = self._parts or ((self, 0, len(self._pieces)),)
        if len(self._pieces) <= _FEW:
            hashed = _BEGIN.copy()
            hashed.update(b"".join([part._digested(start, stop) for part, start, stop in spans]))
            return hashed
        hashed, at, new = _last_hashed(spans)
        for index in range(at, len(spans)):
            part, start, stop = spans[index]
            if index > at:
                new = start
            if new < stop:
                hashed = hashed.copy()
                hashed.update(part._digested(new, stop))
                if index + 1 == len(spans) and stop - start < _FEW:
                    return hashed
                part._chain = spans[:index], start, stop, hashed
        return hashed.copy()

    def to_openai(self) -> list[dict[str, Any]]:
        """Return all messages as objects in OpenAI's chat format. They are new: the caller may change them."""
        encoded = b"".join((b"[", b",".join(self._pieces), b"]"))
        try:
            messages: list[dict[str, Any]] = msgspec.json.decode(encoded)
        except msgspec.DecodeError:  # of NaN, for example, in reasoning
            messages = json.loads(encoded)
        return messages

    def __len__(self) -> int:
        return len(self._pieces)

    @overload
    def __getitem__(self, index: int) -> Message: ...
    @overload
    def __getitem__(self, index: slice) -> Transcript: ...
    def __getitem__(self, index: int | slice) -> Message | Transcript:
        if not isinstance(index, slice):
            return _message_of(self._pieces[index])
        part = Transcript()
        part._pieces = self._pieces[index]
        part._sizes = self._sizes[index]
        part._size = sum(part._sizes)
        part._tokens = self._tokens[index]
        part.estimate = sum(part._tokens)
        part._is_prompt = self._is_prompt[index]
        start, stop, step = index.indices(len(self))
        if step == 1 and start < stop:
            part._parts = tuple(self._spans(start, stop))
        return part

    def __iter__(self) -> Iterator[Message]:
        return map(_message_of, self._pieces)

    def __reversed__(self) -> Iterator[Message]:
        return map(_message_of, reversed(self._pieces))

    def __add__(self, other: Sequence[Message]) -> Transcript:
        return Transcript.joined(self, other if isinstance(other, Transcript) else Transcript(other))

    def __copy__(self) -> Transcript:
        return self[:]

    def __eq__(self, other: object) -> bool:
        """Whether the messages are equal. Also true for a list or a tuple of equal messages."""
        if isinstance(other, Transcript):
            return len(self) == len(other) and all(map(_is_same, self._pieces, other._pieces))
        if isinstance(other, list | tuple):
            return list(self) == list(other)
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]  # it grows

    def __repr__(self) -> str:
        return f"<Transcript of {len(self)} messages, {self.size:,} tokens at most>"

    def _concatenate(self, other: Transcript) -> None:
        self._pieces += other._pieces
        self._sizes += other._sizes
        self._size += other._size
        self._tokens += other._tokens
        self.estimate += other.estimate
        self._is_prompt += other._is_prompt

    def _spans(self, start: int, stop: int) -> Iterator[tuple[Transcript, int, int]]:
        """Yield the ranges of transcripts that the messages from `start` to `stop` are."""
        if not self._parts:
            if start < stop:
                yield self, start, stop
            return
        for part, first, last in self._parts:
            length = last - first
            if start < length and stop > 0:
                yield part, first + max(0, start), first + min(stop, length)
            start, stop = start - length, stop - length

    def _measured(self, measure: Measure, start: int, stop: int) -> int:
        """Return the sum over a range of this transcript's own messages."""
        sums = self._sums.get(measure)
        if sums is None or len(sums) <= stop:
            with _measuring:  # threads measure transcripts that sessions share
                sums = self._sums.setdefault(measure, array("Q", [0]))
                for piece in self._pieces[len(sums) - 1 : stop]:
                    sums.append(sums[-1] + measure(_message_of(piece)))
        return sums[stop] - sums[start]

    def _known_digests(self) -> bytes | bytearray:
        """Return the digests of the first messages, as far as they are known."""
        if not self._parts:
            return self._digests
        known: list[bytearray] = []
        for part, start, stop in self._parts:
            known.append(part._digests[DIGEST * start : DIGEST * stop])
            if len(known[-1]) < DIGEST * (stop - start):
                break
        return b"".join(known)

    def _digested(self, start: int, stop: int) -> bytearray:
        """Return the digests of a range of this transcript's own messages."""
        if len(self._digests) < DIGEST * stop:
            with _measuring:
                for piece in self._pieces[len(self._digests) // DIGEST : stop]:
                    self._digests += sha256(canonical_piece(piece) if piece.startswith(WITH_IMAGES) else piece).digest()
        return self._digests[DIGEST * start : DIGEST * stop]


_measuring = threading.Lock()

_BEGIN = sha256()
#: Messages of which it costs no more to hash the digests again than to keep their hash.
_FEW = 32


def _last_hashed(spans: tuple[Span, ...]) -> tuple[_Hash, int, int]:
    """Return the hash of as many spans as it is kept of, the index of the next one, and its first new message."""
    for index in range(len(spans) - 1, -1, -1):
        part, start, stop = spans[index]
        chain = part._chain
        if chain is not None:
            before, first, last, hashed = chain
            if first == start and last <= stop and len(before) == index and all(map(_is_same_span, before, spans)):
                return hashed, index, last
    return _BEGIN, 0, spans[0][1]


def _is_same_span(one: Span, other: Span) -> bool:
    return one[0] is other[0] and one[1] == other[1] and one[2] == other[2]


class _ErrorPiece(bytes):
    """The piece of a ToolMessage with `is_error`, which OpenAI's format does not have."""


class _PieceWithMessage(bytes):
    """A piece that does not hold all of its message."""

    message: Message


def _piece_of(message: Message) -> bytes:
    piece = encode(message)
    if _holds_all(piece, message):
        return piece
    if isinstance(message, ToolMessage) and _holds_all(piece, replace(message, is_error=False)):
        return _ErrorPiece(piece)
    kept = _PieceWithMessage(piece)
    kept.message = message
    return kept


def _message_of(piece: bytes) -> Message:
    if type(piece) is bytes:
        return decode(piece)
    if isinstance(piece, _PieceWithMessage):
        return piece.message
    message = decode(piece)
    assert isinstance(message, ToolMessage)
    return replace(message, is_error=True)


def _holds_all(piece: bytes, message: Message) -> bool:
    """Whether `decode(piece) == message`. Most messages need not be decoded for it."""
    match message:
        case SystemMessage(text) | UserMessage(text, (), False) | AssistantMessage(text, (), None):
            return _is_encodable(text)
        case ToolMessage(call_id, name, text, False):
            return _is_encodable(text) and _is_encodable(call_id) and _is_encodable(name)
        case _:
            return decode(piece) == message


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_same(one: bytes, other: bytes) -> bool:
    if one is other:
        return True
    if type(one) is bytes and type(other) is bytes:
        # Each message has one encoding, so that equal pieces are equal messages, and unequal ones unequal.
        return one == other
    return _message_of(one) == _message_of(other)
