"""Continuation: an agent that goes on by itself until a reply says that it is done. Pure."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

_INSTRUCTIONS = (
    "If the task takes several steps, reply after each of them; you are then told to go on. "
    "Once all of it is done, give the complete result, and end that reply with a line that says only: {until}"
)
_PROMPT = "Go on ({number} of {most}). Once all is done, end with a line that says only: {until}"


class Continuation(Struct, frozen=True):
    """How an agent goes on by itself: after a reply without tool calls that does not say that it is done."""

    max_iterations: int = 5
    """The most replies without tool calls in one run, the first included."""
    until: str = "DONE"
    """The text in the last line of a reply that says that it is done."""

    def __str__(self) -> str:
        return f"up to {self.max_iterations} times, until {self.until}"

    def document(self) -> dict[str, Any]:
        """Return it as data for a file: `{max_iterations: 5, until: DONE}`."""
        return {"max_iterations": self.max_iterations, "until": self.until}

    @property
    def instructions(self) -> str:
        """The end of the system prompt, which tells the model how to say that it is done."""
        return _INSTRUCTIONS.format(until=self.until)

    def prompt(self, number: int) -> str:
        """Return the prompt of an iteration, counted from 1 for the run's own prompt."""
        return _PROMPT.format(number=number, most=self.max_iterations, until=self.until)

    @property
    def gave_up(self) -> str:
        """The end of a sentence about an agent of which no reply said that it is done."""
        return (
            f"stopped after {self.max_iterations} replies, none of which ended with {self.until}: this is the last "
            "one. Ask it to go on, or raise max_iterations of its continuation"
        )

    def is_done(self, reply: str) -> bool:
        """Whether the last line of a reply that is not empty says that it is done."""
        return self.until in _last_line(reply)


def without_mark(text: str, until: str) -> str:
    """Return the text without its last line, if that consists of `until` and punctuation."""
    line = _last_line(text)
    if line.strip("*_`#>[]().!: \t") != until:
        return text
    return text.rstrip()[: -len(line)].rstrip()


def _last_line(text: str) -> str:
    return text.rstrip().rpartition("\n")[2].strip()
