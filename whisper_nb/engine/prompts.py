"""Prompts: the pieces of one, checked before they are submitted, and their text."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.errors import ConfigError
from ..core.messages import Image
from ..core.queues import checked_priority
from ..core.text import valid_unicode
from .images import image_of
from .projection import RunState


def checked_parts(prompt: object, priority: str, timeout_s: float | None) -> list[str | Image | RunState]:
    """Return the pieces of a prompt that may be submitted. Figures, paths and bytes become images.

    Raises:
        ConfigError: a piece of another type, an empty prompt, an unknown priority or a bad timeout.
    """
    checked_priority(priority)
    if timeout_s is not None and not timeout_s > 0:
        raise ConfigError(f"timeout {timeout_s!r} is not more than 0 seconds")
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
            raise ConfigError(f"a prompt is text, or pieces of text, images and runs, not {type(piece).__name__}")
        parts.append(part)
    if is_empty(parts):
        raise ConfigError("an empty prompt: nothing to send")
    return parts


def is_empty(parts: Sequence[object]) -> bool:
    """Whether the pieces of a prompt are nothing but white space."""
    return all(isinstance(part, str) and not part.strip() for part in parts)


def prompt_text(parts: Sequence[str | Image | RunState]) -> str:
    """Return a prompt as text: images by number, runs by their text, or by their id while they are unfinished."""
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
            text += part.text if part.done else f"⟨{part.id}⟩"
    return text
