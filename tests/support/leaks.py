"""Searches for a key in the text of errors, objects and notebooks."""

from __future__ import annotations

import pprint
import traceback
from collections.abc import Iterable, Iterator, Mapping

from IPython.core.ultratb import FormattedTB
from IPython.lib.pretty import pretty

from whisper_nb.config.files import Files

LIKE = "sk-canary-4f0c7d1e9b2a8365c1d0e7"


#: Does not look like a key.
UNLIKE = "zq7WbN4kX2mTfR9vLs0HyJ6cPdG3uA8e"


MODES = ("Plain", "Context", "Verbose", "Minimal")


#: The number of consecutive characters of a key that count as a leak.
GIVES_AWAY = 12


def hits(everything: Mapping[str, str], keys: tuple[str, ...] = (LIKE, UNLIKE)) -> list[str]:
    """The places where any 12 consecutive characters of a key appear, with the text around them."""
    pieces = {key[at : at + GIVES_AWAY] for key in keys for at in range(len(key) - GIVES_AWAY + 1)}
    found = []
    for where, text in everything.items():
        places = [at for piece in pieces if (at := text.find(piece)) >= 0]
        if places:
            found.append(f"{where}: …{text[max(0, min(places) - 60) : min(places) + 40]!r}…")
    return found


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The error with its causes and contexts, suppressed ones included."""
    seen: list[BaseException] = []
    queue = [error]
    while queue:
        if (one := queue.pop()) is not None and one not in seen:
            seen.append(one)
            queue += [one.__cause__, one.__context__, *getattr(one, "exceptions", ())]
    yield from seen


def texts_of(error: BaseException | None, modes: Iterable[str] = MODES) -> dict[str, str]:
    """All text of an error by its place: its message, the tracebacks of each %xmode, the locals of our frames."""
    words: dict[str, str] = {}
    for number, one in enumerate(chain(error)):
        at = f"{number} {type(one).__name__}"
        words[at] = "\n".join(map(_printed, (one, one.args, vars(one))))
        for mode in modes:
            shown = FormattedTB(mode=mode, theme_name="nocolor")
            words[f"{at} in {mode}"] = shown.stb2text(shown.structured_traceback(type(one), one, one.__traceback__))
        for frame, _ in traceback.walk_tb(one.__traceback__):
            if str(frame.f_globals.get("__name__")).startswith("whisper_nb"):
                for name, value in frame.f_locals.items():
                    words[f"{at}, {name} in {frame.f_code.co_qualname}"] = _printed(value)
    return words


def reprs_of(**roots: object) -> dict[str, str]:
    """The reprs of these objects and of all objects that their public names lead to, by their path."""
    words: dict[str, str] = {}
    seen: dict[int, object] = {}
    queue = list(roots.items())
    while queue:
        where, value = queue.pop(0)
        if id(value) not in seen:
            seen[id(value)] = value
            words[where] = _printed(value)
            queue += _within(where, value)
    return words


def _printed(value: object) -> str:
    try:
        return "\n".join((repr(value), str(value), pprint.pformat(value), pretty(value)))
    except Exception as error:  # of an object that is half made
        return f"no repr: {error}"


def _within(where: str, value: object) -> list[tuple[str, object]]:
    if isinstance(value, Mapping):
        return [(f"{where}[{key!r}]", one) for key, one in value.items()]
    if isinstance(value, list | tuple | set | frozenset):
        return [(f"{where}[{number}]", one) for number, one in enumerate(value)]
    if not type(value).__module__.startswith("whisper_nb") or where.count(".") > 8:
        return []
    # The contents of a project's files may contain keys; `Files` itself does not show them.
    names = [
        name for name in dir(value) if not name.startswith("_") and (name != "data" or not isinstance(value, Files))
    ]
    found = [(f"{where}.{name}", _attribute(value, name)) for name in names]
    return [(name, one) for name, one in found if not callable(one)]


def _attribute(value: object, name: str) -> object:
    try:
        return getattr(value, name)
    except Exception as error:
        return error


#: `more` is the rest of the config.
WAYS = (
    "wnb.AIConfig(**more, api_key=key())",
    "wnb.AIConfig.of({**more, 'api_key': key()})",
    "wnb.AIConfig.of(more, api_key=key())",
    "wnb.AIConfig.of({'openai': {'api_key': key()}, **more})",
    "wnb.AIConfig.of({'api_key': key()}, **more)",
    "rt.configure({**more, 'api_key': key()})",
    "rt.configure(**more, api_key=key())",
    "bob.configure({**more, 'api_key': key()})",
    "bob.configure(**more, api_key=key())",
    "bob.submit('Hi', config={**more, 'api_key': key()})",
    "wnb.Agent(name='bob', config={**more, 'api_key': key()})",
    "wnb.Runtime(config={**more, 'api_key': key()}, environ={})",
)
