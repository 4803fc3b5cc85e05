"""Channels: the parts of a reply that are apart: reasoning, text beside tool calls, and the answer.

Most providers send reasoning as deltas of its own. Some local servers leave it in the text, between tags.
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

#: `analysis`: reasoning, for people; it is never sent back. `commentary`: text beside tool calls. `final`: the answer.
Channel = Literal["analysis", "commentary", "final"]


class _Block(Struct, frozen=True):
    """A part of a reply that begins with a tag."""

    begin: str
    ends: tuple[str, ...]
    channel: Channel


#: The tags of gpt-oss's format, "harmony".
_ENDS = ("<|end|>", "<|return|>", "<|start|>")
_BLOCKS = (
    _Block("<think>", ("</think>",), "analysis"),
    _Block("<thinking>", ("</thinking>",), "analysis"),
    *(
        _Block(f"{start}<|channel|>{channel}<|message|>", _ENDS, channel)
        for start in ("", "<|start|>assistant")
        for channel in ("analysis", "commentary", "final")
    ),
)


class TagReader:
    """Splits the text of a reply that begins with a tag: `<think>`, `<thinking>` or `<|channel|>…<|message|>`.

    Tags that come later in the text are text. A tag may be split over pieces. A block without an end tag lasts until
    the end of the reply.
    """

    __slots__ = ("_begins", "_block", "_held", "_returned", "done")

    def __init__(self) -> None:
        self._held = ""  # may be a part of a tag
        self._block: _Block | None = None
        self._begins = False  # whether the next text is the first after a tag
        self._returned: set[bool] = set()  # whether a part was returned: True of reasoning, False of text
        self.done = False
        """Whether everything that follows is text."""

    @property
    def holds(self) -> bool:
        """Whether it has read something that it has not returned yet."""
        return self._block is not None or bool(self._held)

    def read(self, text: str) -> list[tuple[Channel, str]]:
        """Read the next piece of the text, and return what is known of its channels."""
        self._held += text
        found: list[tuple[Channel, str]] = []
        while self._held and not self.done:
            if self._block is None and not self._begin(found):
                break
            if self._block is not None and not self._go_on(self._block, found):
                break
        return found

    def rest(self) -> list[tuple[Channel, str]]:
        """Return what is left at the end of the reply."""
        channel: Channel = "final" if self._block is None else self._block.channel
        held, self._held = self._held, ""
        return self._piece(channel, held)

    def _begin(self, found: list[tuple[Channel, str]]) -> bool:
        """Read the tag that begins a block, or text. Return False if more is needed to tell them apart."""
        held = self._held.lstrip()
        block = next((one for one in _BLOCKS if held.startswith(one.begin)), None)
        if block is not None:
            self._block, self._held, self._begins = block, held[len(block.begin) :], True
            return True
        if any(one.begin.startswith(held) for one in _BLOCKS):
            return False
        found += self.rest()
        self.done = True
        return True

    def _go_on(self, block: _Block, found: list[tuple[Channel, str]]) -> bool:
        """Read on in a block. Return False if it has not ended."""
        held = self._held
        at, end = min(((at, end) for end in block.ends if (at := held.find(end)) >= 0), default=(-1, ""))
        if at >= 0:
            found += self._piece(block.channel, held[:at])
            self._block, self._begins = None, True
            self._held = held[at if end == "<|start|>" else at + len(end) :]
            return True
        at = held.rfind("<")
        if at < 0 or not any(end.startswith(held[at:]) for end in block.ends):
            at = len(held)
        found += self._piece(block.channel, held[:at])
        self._held = held[at:]
        return False

    def _piece(self, channel: Channel, text: str) -> list[tuple[Channel, str]]:
        """Return a part of the reply. Space around tags is removed; an empty line separates two blocks."""
        if self._begins:
            text = text.lstrip()
        if not text:
            return []
        is_reasoning = channel == "analysis"
        if self._begins and is_reasoning in self._returned:
            text = f"\n\n{text}"
        self._begins = False
        self._returned.add(is_reasoning)
        return [(channel, text)]
