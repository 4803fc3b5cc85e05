"""Images for prompts: tiny files of each type, and doubles of objects that draw them."""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass, field
from typing import Any


def png(width: int = 1, height: int = 1, frames: int | None = None) -> bytes:
    """A gray PNG; animated if frames are given."""
    rows = b"".join(b"\0" + b"\x7f" * width for _ in range(height))
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))]
    chunks += [(b"acTL", struct.pack(">II", frames, 0))] if frames is not None else []
    chunks += [(b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


PNG = png()
JPEG = base64.b64decode(
    "/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAgGBgcGBQgHBwcJCQgKDBQNDAsLDBkSEw8UHRofHh0aHBwgJC4nICIsIxwcKDcpLDAxNDQ0Hyc5PTgyPC4z"
    "NDL/wAALCAABAAEBAREA/8QAFAABAAAAAAAAAAAAAAAAAAAACf/EABQQAQAAAAAAAAAAAAAAAAAAAAD/2gAIAQEAAD8AKp//2Q=="
)
GIF = base64.b64decode("R0lGODdhBAAEAIEAAAAAAAAAAAAAAAAAACwAAAAABAAEAAAICQABCBxIsCCAgAA7")
WEBP = base64.b64decode("UklGRiQAAABXRUJQVlA4IBgAAAAwAQCdASoEAAQAAUAmJaQAA3AA/v02aAA=")
WEBP_LOSSLESS = base64.b64decode("UklGRhoAAABXRUJQVlA4TA4AAAAvA4AAAAcQEf0PRET/Aw==")
ANIMATED_PNG = png(frames=2)
ANIMATED_GIF = base64.b64decode(
    "R0lGODlhBAAEAIEAAAAAAAAAAAAAAAAAACH5BAAKAAAALAAAAAAEAAQAAAgJAAEIHEiwIICAACH5BAEKAAEALAAAAAAEAAQAgWNjYwAAAAAAAAAA"
    "AAgJAAEIHEiwIICAADs="
)
ANIMATED_WEBP = base64.b64decode(
    "UklGRogAAABXRUJQVlA4WAoAAAACAAAAAwAAAwAAQU5JTQYAAAAAAAAAAABBTk1GMAAAAAAAAAAAAAMAAAMAAGQAAAJWUDggGAAAADABAJ0BKgQABAAB"
    "QCYlpAADcAD+/TZoAEFOTUYwAAAAAAAAAAAAAwAAAwAAZAAAAA=="
)
STILL = {"image/png": PNG, "image/jpeg": JPEG, "image/gif": GIF, "image/webp": WEBP}


@dataclass
class Figure:
    """A figure that draws its present content, as matplotlib's does."""

    shows: bytes = PNG
    error: Exception | None = None
    saved: list[dict[str, Any]] = field(default_factory=list)

    def savefig(self, file: Any, **options: Any) -> None:
        """Write the file."""
        if self.error:
            raise self.error
        self.saved.append(options)
        file.write(self.shows)


@dataclass
class Axes:
    """An object with a figure, as axes and lines have."""

    figure: Any

    def get_figure(self) -> Any:
        """The figure."""
        return self.figure


@dataclass
class Painting:
    """A double of a PIL image."""

    mode: str = "RGB"
    format: str | None = None
    saved: list[str] = field(default_factory=list)

    def getbands(self) -> tuple[str, ...]:
        """Its channels."""
        return tuple(self.mode)

    def convert(self, mode: str) -> Painting:
        """The same in another mode."""
        return Painting(mode, None, self.saved)

    def save(self, file: Any, format: str) -> None:
        """Write the file; as PNG not in every mode."""
        if format == "PNG" and self.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I;16"):
            raise OSError(f"cannot write mode {self.mode} as PNG")
        self.saved.append(f"{format} {self.mode}")
        file.write(JPEG if format == "JPEG" else PNG)
