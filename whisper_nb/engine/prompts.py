"""Prompts: the pieces of one, checked before they are submitted, and their text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from numbers import Real

from ..core.errors import ConfigError
from ..core.messages import Image
from ..core.queues import checked_priority
from ..core.text import valid_unicode
from .images import image_of
from .projection import RunState

#: Text; or pieces of text, images (figures, PIL images, paths, bytes) and runs.
Prompt = str | RunState | Image | Sequence[object]
#: See `mark`.
_MARK = re.compile(r"⟨[^\s⟨⟩#]+#\d+ (?:submitted|queued|running|waiting|failed|cancelled)⟩")


def mark(run_id: str, status: str) -> str:
    """Return the text that stands for a run until it has succeeded: `⟨bob#1 running⟩`."""
    return f"⟨{run_id} {status}⟩"


def checked_parts(name: str, prompt: object, priority: str) -> list[str | Image | RunState]:
    """Return the pieces of a prompt that may be submitted. Figures, paths and bytes become images.

    Args:
        name: the agent's, for errors.
        prompt: text, or pieces of text, images and runs.
        priority: urgent, high, normal or low.

    Raises:
        ConfigError: a piece of another type, an empty prompt, the mark of a run, or an unknown priority.
    """
    checked_priority(priority)
    if isinstance(prompt, str | bytes | bytearray) or not isinstance(prompt, Sequence):
        prompt = [prompt]
    parts: list[str | Image | RunState] = []
    for piece in prompt:
        part: str | Image | RunState | None
        if isinstance(piece, str):
            part = valid_unicode(piece)  # names of files may have lone surrogates
        else:
            part = piece if isinstance(piece, RunState) else image_of(piece)
        if part is None:
            raise ConfigError(
                f"a prompt for {name} is text, or pieces of text, images and runs, not {type(piece).__name__}"
                + _if_missing(piece)
            )
        parts.append(part)
    if is_empty(parts):
        raise ConfigError(f"an empty prompt for {name}: nothing to send")
    check_marks(parts)
    return parts


def check_marks(parts: Sequence[object]) -> None:
    """Check that no text has the mark of a run, as from an f-string or a table with runs.

    Raises:
        ConfigError: one has it.
    """
    for part in parts:
        if isinstance(part, str) and (found := _MARK.search(part)):
            raise ConfigError(
                f"the prompt contains {found[0]}, the text of a run that has not succeeded. Nothing was sent: "
                'write {{ x }} in a cell, or pass the run x in a list (["Compare ", x]), to wait for it; '
                "or await it first"
            )


def _if_missing(value: object) -> str:
    """Return the reason that a table's empty cell is no prompt; empty for other values."""
    is_missing = value is None or type(value).__name__ in ("NAType", "NaTType")
    if is_missing or (isinstance(value, Real) and value != value):
        return f": the value {value} is missing (dropna() leaves out such rows of a DataFrame)"
    return ""


def is_empty(parts: Sequence[object]) -> bool:
    """Whether the pieces of a prompt are nothing but white space."""
    return all(isinstance(part, str) and not part.strip() for part in parts)


def prompt_text(parts: Sequence[str | Image | RunState]) -> str:
    """Return a prompt as text: images by number, runs by their answer, or by their id while they are unfinished."""
    text, images = "", 0
    for part in parts:
        if isinstance(part, str):
            text += part
        elif isinstance(part, Image):
            images += 1
            if text and not text[-1].isspace():
                text += " "
            text += f"⟨image {images}⟩"
        else:
            text += part.answer_text if part.done else f"⟨{part.id}⟩"
    return text
