"""What a value of each kind may be: the one check behind YAML, Python, magics and forms."""

from __future__ import annotations

import copy
import json
import math
import numbers
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from ..core.text import mask_keys, short_repr
from .keys import reference_to
from .providers import canonical, misspelt

_DEPTH = 16
_SECRET_NAME = re.compile(r"(^|[_-])key$|api[_-]?key|secret|password|token(?!s)|authorization|credential|cookie", re.I)
#: What has a field of its own, or whisper_nb itself says in a call.
_OURS = frozenset(
    {
        "api_base", "api_key", "base_url", "custom_llm_provider", "fallbacks", "frequency_penalty", "max_retries",
        "max_tokens", "messages", "model", "num_retries", "presence_penalty", "seed", "stop", "stream",
        "stream_options", "temperature", "timeout", "tools", "top_p",
    }
)  # fmt: skip


class Kind(Protocol):
    """One kind of value."""

    @property
    def allowed(self) -> str:
        """What is allowed, as the end of a sentence: `a number from 0 to 2`."""

    def read(self, value: Any) -> Any:
        """The value in its one form.

        Raises:
            ValueError: it is not allowed. Where it has a text, that says why, after the field's name.
        """


def problem_with(kind: Kind, name: str, value: Any) -> str:
    """Why a value is not of this kind; empty where it is."""
    try:
        kind.read(value)
    except ValueError as error:
        return f"{name} {error}" if str(error) else f"{name} {short_repr(value)} is not {kind.allowed}"
    return ""


class Number(Struct, frozen=True):
    """A number within a range."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    above: bool = False
    """Whether `low` itself is not allowed."""
    unit: str = ""

    @property
    def allowed(self) -> str:
        """Such as `a number from 0 to 2`."""
        kind = f"a {'whole ' if self.whole else ''}number{self.unit and f' of {self.unit}'}"
        if self.high < math.inf:
            return f"{kind} from {self.low:g} to {self.high:g}"
        return kind if self.low == -math.inf else f"{kind} {'above' if self.above else 'of at least'} {self.low:g}"

    def read(self, value: Any) -> int | float:
        """Python's int or float; numpy's are understood."""
        kind = numbers.Integral if self.whole else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            raise ValueError
        try:
            number = int(value) if isinstance(value, numbers.Integral) else float(value)
        except OverflowError:  # of a fraction
            raise ValueError from None
        finite = isinstance(number, int) or math.isfinite(number)
        if not finite or not self.low <= number <= self.high or (self.above and number == self.low):
            raise ValueError
        return number


class Text(Struct, frozen=True):
    """Text of one line, or of many."""

    lines: bool = False
    pattern: str = ""
    allowed: str = "text"

    def read(self, value: Any) -> str:
        """The text."""
        if not isinstance(value, str) or (self.pattern and not re.fullmatch(self.pattern, value)):
            raise ValueError
        if not self.lines and len(value.splitlines()) > 1:
            raise ValueError(f"{short_repr(value)} has more than one line")
        return str(value)


class Choice(Struct, frozen=True):
    """One of a few words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """The words."""
        return " or ".join(self.words)

    def read(self, value: Any) -> str:
        """The word."""
        if not isinstance(value, str) or value not in self.words:
            raise ValueError
        return str(value)


class Flag(Struct, frozen=True):
    """Yes or no."""

    allowed: str = "true or false"

    def read(self, value: Any) -> bool:
        """True or False."""
        if not isinstance(value, bool):
            raise ValueError
        return value


class ModelName(Struct, frozen=True):
    """`provider/model`."""

    allowed: str = "provider/model, such as openai/gpt-4o-mini or offline/echo"

    def read(self, value: Any) -> str:
        """The canonical name; `provider:model` is understood."""
        model = canonical(str(value)) if isinstance(value, str) else ""
        provider, slash, name = model.partition("/")
        if not (provider and slash and name and model.isprintable()) or any(
            character.isspace() for character in model.partition(":")[0]
        ):
            raise ValueError
        if meant := misspelt(provider):
            raise ValueError(
                f"{short_repr(model)}: there is no provider {short_repr(provider)}; did you mean {meant!r}?"
            )
        return model


class Address(Struct, frozen=True):
    """The address of a server."""

    allowed: str = "an address such as http://localhost:8000/v1"

    def read(self, value: Any) -> str:
        """The address."""
        if not isinstance(value, str):
            raise ValueError
        try:
            parts = urlsplit(value)
        except ValueError:
            parts = urlsplit("")
        if "@" in value or "?" in value:
            raise ValueError("must not hold a password or a ?query, which would be shown; a key goes into api_key")
        if parts.scheme not in ("http", "https") or not parts.hostname or any(char.isspace() for char in value):
            raise ValueError
        return str(value)


class KeyReference(Struct, frozen=True):
    """Where a key is found; a key that is written out is put away."""

    allowed: str = "os.environ/NAME"

    def read(self, value: Any) -> str:
        """The reference."""
        if not isinstance(value, str):
            raise ValueError(f"is not text but a {type(value).__name__}; write {self.allowed}")
        return reference_to(value)


class Words(Struct, frozen=True):
    """A few texts."""

    allowed: str = "a list of texts, none empty"

    def read(self, value: Any) -> tuple[str, ...]:
        """A tuple; one text alone is understood."""
        words = [value] if isinstance(value, str) else value
        if not isinstance(words, Sequence) or not words or not all(isinstance(word, str) and word for word in words):
            raise ValueError
        return tuple(map(str, words))


class Params(Mapping[str, Any]):
    """An immutable, hashable mapping of JSON values. What is taken out is a copy."""

    __slots__ = ("_json", "_values")

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._json = json.dumps(dict(values), sort_keys=True, allow_nan=False)
        self._values: dict[str, Any] = json.loads(self._json)

    def __getitem__(self, name: str) -> Any:
        return copy.deepcopy(self._values[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Params) and self._json == other._json

    def __hash__(self) -> int:
        return hash(self._json)

    def __repr__(self) -> str:
        return mask_keys(self._json)


class Extra(Struct, frozen=True):
    """Parameters of one provider's own."""

    allowed: str = "a mapping of parameters that JSON can hold"

    def read(self, value: Any) -> Params:
        """The parameters, fixed."""
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise ValueError
        body = value.get("extra_body")
        if taken := sorted(_OURS & {*value, *(body if isinstance(body, Mapping) else ())}):
            raise ValueError(
                f"must not say {', '.join(taken)}: {'they have fields' if taken[1:] else 'it has a field'} of its own, or is whisper_nb's"
            )
        if name := next((name for name in _names_in(value) if _SECRET_NAME.search(name)), ""):
            raise ValueError(f"must not hold {name}, which would be shown; a key goes into api_key")
        try:
            return value if isinstance(value, Params) else Params(value)
        except (TypeError, ValueError, RecursionError):
            raise ValueError from None


def _names_in(value: Any, depth: int = 0) -> Iterator[str]:
    if depth > _DEPTH:
        raise ValueError(f"is nested deeper than the {_DEPTH} levels of JSON that are sent")
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _names_in(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _names_in(item, depth + 1)
