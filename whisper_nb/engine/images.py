"""Conversion of figures, PIL images and files to images for a model.

Matplotlib and PIL are never imported.
"""

from __future__ import annotations

import base64
import io
import os
import re
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

from ..config.plainfiles import read_plain
from ..core.errors import ConfigError
from ..core.messages import Image
from ..core.text import error_text, short_repr, shortened

#: Bytes of an image's file.
MAX_BYTES = 20_000_000
ALLOWED = (
    "allowed are a matplotlib figure or axes, a PIL image, and a PNG, JPEG, GIF or WebP file as a path or as bytes"
)
#: PIL modes that a PNG can hold; and conversions of other modes, if not to RGB.
_PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16", "I;16B"})
_BECOMES = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA"}
_SVG = re.compile(rb"\s*(?:\xef\xbb\xbf)?\s*(?:<\?xml|<!--|<!DOCTYPE svg|<svg\b)", re.IGNORECASE)
#: Levels of nesting at which an artist's figure is searched for.
_DEPTH = 4
_REASON = 200


def as_image(source: object) -> Image:
    """Convert as `image_of`. ConfigError: the source is not an image."""
    if image := image_of(source):
        return image
    remedy = ""
    if hasattr(source, "__array__"):
        remedy = "; PIL.Image.fromarray makes one of an array of pixels"
    raise ConfigError(f"{type(source).__name__} cannot be used as an image; {ALLOWED}{remedy}")


def image_of(source: object) -> Image | None:
    """Convert the source, as it is now, to an image; return None if it is not of a supported kind.

    Args:
        source: a matplotlib figure, axes, or the result of a plotting function; a PIL image; any other object that
            Jupyter shows as PNG or JPEG; the bytes of a file, or its path. A figure is neither changed nor closed.

    Raises:
        ConfigError: it cannot be read or drawn, is animated or larger than 20 MB, or no provider accepts its format.
    """
    match source:
        case Image():
            return source
        case bytes() | bytearray() | memoryview():
            return _recognized(bytes(source), "the bytes given")
        case str() | os.PathLike():
            return _read(os.fspath(source))
    if figure := _figure(source, _DEPTH):
        return _drawn(figure)
    if _can(source, "save", "convert", "getbands"):
        return _painted(source)
    for name in ("_repr_png_", "_repr_jpeg_"):
        if _can(source, name) and (data := _shown_by(source, name)):
            return _recognized(data, f"what {name} gives")
    return None


def _shown_by(source: object, name: str) -> bytes:
    with _translated(f"{name} of this {type(source).__name__} fails"):
        data = getattr(source, name)() or b""
        if isinstance(data, tuple):
            data = data[0]
        return base64.b64decode(data) if isinstance(data, str) else bytes(data)


@contextmanager
def _translated(failure: str) -> Iterator[None]:
    """Raise the block's exceptions as ConfigErrors that begin with this text."""
    try:
        yield
    except Exception as error:  # matplotlib, PIL's plugins and a user's classes may raise anything
        raise ConfigError(f"{failure}: {reason(error)}") from None


def is_picture(value: object) -> bool:
    """Whether the value is certainly an image: a figure, axes or a PIL image.

    Called with any value of a notebook. It reads attributes of the class: an attribute of a frame may be a column.
    """
    kind = type(value)
    return (
        isinstance(value, Image)
        or _can(kind, "savefig")
        or _can(kind, "save", "convert", "getbands")
        or (_can(kind, "get_figure") and _figure(value, _DEPTH) is not None)
    )


def _can(source: object, *methods: str) -> bool:
    return all(callable(getattr(source, name, None)) for name in methods)


def _figure(source: Any, depth: int) -> Any:
    """Return the figure: the source itself, that of an axes or a line, or the current one of pyplot."""
    if _can(source, "gcf", "get_fignums"):
        if not source.get_fignums():
            raise ConfigError(
                "pyplot has no current figure (a notebook closes it after its cell): give the figure itself"
            )
        return source.gcf()
    if _can(source, "savefig"):
        return source
    if depth == 0:
        return None
    if (figure := getattr(source, "figure", None)) is not None:
        return _figure(figure, depth - 1)
    items = source if isinstance(source, list | tuple) else getattr(source, "flat", ())
    return next((found for item in islice(items, 16) if (found := _figure(item, depth - 1))), None)


def _drawn(figure: Any) -> Image:
    file = io.BytesIO()
    with _translated("the figure cannot be drawn"):
        figure.savefig(file, format="png", bbox_inches="tight")  # as a notebook displays it
    return _recognized(file.getvalue(), "the figure", "give it fewer dpi")


def _painted(image: Any) -> Image:
    kind = "PNG"
    if getattr(image, "format", None) in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
        kind = "JPEG"  # a photo saved as PNG would be ten times as large
    file = io.BytesIO()
    with _translated(f"the PIL image cannot be saved as {kind}"):
        if image.mode not in _PNG_MODES:
            image = image.convert(_BECOMES.get(image.mode, "RGB"))
        image.save(file, format=kind)
    return _recognized(file.getvalue(), "the PIL image", "make it smaller with image.thumbnail((2048, 2048))")


def _read(name: str | bytes) -> Image:
    name = os.fsdecode(name)
    if re.match(r"[a-z]{2,}:", name):
        raise ConfigError(f"{short_repr(name)}: nothing is fetched for an image: give a file of this machine")
    try:
        path = Path(name).expanduser()
        if not path.is_file():
            raise ConfigError(f"no file {short_repr(name)}; {ALLOWED}")
        data = read_plain(path, MAX_BYTES)
    except (OSError, ValueError, RuntimeError) as error:  # a NUL in it, or no such user's home
        raise ConfigError(f"{short_repr(name)} cannot be read: {getattr(error, 'strerror', None) or error}") from None
    return _recognized(data, short_repr(name))


def _recognized(data: bytes, name: str, smaller: str = "make it smaller") -> Image:
    """Return the image in a file's bytes. Its first bytes determine the format."""
    if not data:
        raise ConfigError(f"{name}: an image of 0 bytes")
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{name}: more than {MAX_BYTES // 1_000_000} MB, which no provider takes: {smaller}")
    for media_type, begins, frames in _FORMATS:
        if not re.match(begins, data, re.DOTALL):
            continue
        try:
            is_animated = frames(data) > 1
        except (struct.error, IndexError):
            raise ConfigError(f"{name}: the header of this {media_type} is broken, or breaks off") from None
        if is_animated:
            raise ConfigError(f"{name}: an animated {media_type}; give one picture of it, such as PIL.Image.open shows")
        return Image(media_type, base64.b64encode(data).decode("ascii"))
    if _SVG.match(data):
        raise ConfigError(f'{name}: an SVG, which no provider takes; save it as PNG: fig.savefig("plot.png")')
    raise ConfigError(f"{name}: no kind of image that providers take; {ALLOWED}; PIL.Image.open reads many others")


def reason(error: BaseException) -> str:
    """Return an error's type and text, in one short line."""
    text = shortened(" ".join(error_text(error).split()), _REASON)
    return f"{type(error).__name__}: {text}"


# Functions that return the number of frames from a file's header. IndexError, struct.error: it is broken or cut off.


def _png(data: bytes) -> int:
    kind, *size = struct.unpack_from(">4sII", data, 12)
    _require(kind == b"IHDR" and all(size))
    at, frames = 8, 1
    while kind != b"IDAT":  # acTL comes before it
        length, kind = struct.unpack_from(">I4s", data, at)
        if kind == b"acTL":
            (frames,) = struct.unpack_from(">I", data, at + 8)
        at += 12 + length
    return frames


def _jpeg(data: bytes) -> int:
    at = 2
    while True:
        while data[at] == 0xFF:
            at += 1
        kind = data[at]
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):  # the segment with the size
            _require(struct.unpack_from(">H", data, at + 6)[0])
            return 1
        (length,) = struct.unpack_from(">H", data, at + 1)
        at += 1 + length
        _require(length >= 2 and data[at] == 0xFF)


def _gif(data: bytes) -> int:
    _require(all(struct.unpack_from("<HH", data, 6)))
    at, frames = 13 + _palette(data[10]), 0
    while frames < 2 and at < len(data) and data[at] != 0x3B:
        if data[at] == 0x2C:
            frames += 1
            at += 11 + _palette(data[at + 9])
        else:
            _require(data[at] == 0x21)
            at += 2
        while at < len(data) and data[at]:
            at += 1 + data[at]
        at += 1
    _require(frames)
    return frames


def _palette(flags: int) -> int:
    if not flags & 0x80:
        return 0
    return 3 << ((flags & 7) + 1)


def _webp(data: bytes) -> int:
    kind, length, flags = struct.unpack_from("<4sIB", data, 12)
    _require(kind in (b"VP8 ", b"VP8L", b"VP8X") and length >= 5 and len(data) >= 25)
    is_animated = kind == b"VP8X" and flags & 0x02
    return 1 + bool(is_animated)


def _require(fact: object) -> None:
    if not fact:
        raise IndexError


_FORMATS: tuple[tuple[str, bytes, Callable[[bytes], int]], ...] = (
    ("image/png", rb"\x89PNG\r\n\x1a\n", _png),
    ("image/jpeg", rb"\xff\xd8\xff", _jpeg),
    ("image/gif", rb"GIF8[79]a", _gif),
    ("image/webp", rb"RIFF.{4}WEBP", _webp),
)
