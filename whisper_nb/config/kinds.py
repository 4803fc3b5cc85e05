"""Kinds of values and what each allows: the one check behind YAML, Python, magics and forms."""

from __future__ import annotations

import copy
import json
import math
import numbers
import re
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Protocol
from urllib.parse import urlsplit

from msgspec import Struct

from ..core.continuing import Continuation
from ..core.messages import Usage
from ..core.text import mask_keys, short_repr
from .keys import reference_to
from .providers import canonical, misspelt

_MAX_NESTING = 16
_SECRET_FIELD = re.compile(r"(^|[_-])key$|api[_-]?key|secret|password|token(?!s)|authorization|credential|cookie", re.I)
#: Parameters that have a field of their own, or that whisper_nb itself sets in a call.
_RESERVED = frozenset(
    {
        "api_base", "api_key", "base_url", "custom_llm_provider", "fallbacks", "frequency_penalty", "headers",
        "max_retries", "max_tokens", "messages", "model", "num_retries", "presence_penalty", "seed", "stop", "stream",
        "stream_options", "temperature", "timeout", "tools", "top_p",
        # What a call consists of, under names of other formats.
        "contents", "function_call", "functions", "input", "prompt", "request_timeout", "system",
    }
)  # fmt: skip
#: Parameters that ask for more replies than the one that is read. All of them are billed.
_MANY = frozenset(
    {
        "best_of", "candidate_count", "candidatecount", "n", "num_completions", "num_generations", "num_outputs",
        "num_results", "num_return_sequences", "numresults", "samplecount",
    }
)  # fmt: skip
#: Parameters whose mappings have parameters of a model.
_BODY = frozenset({"extra_body"})
_PARAMETERS = frozenset({"extra_body", "generation_config", "generationconfig", "options", "parameters"})
#: Parameters by which LiteLLM calls another server, or calls none, or reckons other costs.
_OF_LITELLM = re.compile(
    r"^_|callback|litellm|cost_per|endpoint|proxy|router|ssl_|^verify$|^(client|mock_\w+|no-log|prompt_id)$", re.I
)
_COLOR_NAMES = """
    aliceblue antiquewhite aqua aquamarine azure beige bisque black blanchedalmond blue blueviolet brown burlywood
    cadetblue chartreuse chocolate coral cornflowerblue cornsilk crimson cyan darkblue darkcyan darkgoldenrod
    darkgray darkgreen darkgrey darkkhaki darkmagenta darkolivegreen darkorange darkorchid darkred darksalmon
    darkseagreen darkslateblue darkslategray darkslategrey darkturquoise darkviolet deeppink deepskyblue dimgray
    dimgrey dodgerblue firebrick floralwhite forestgreen fuchsia gainsboro ghostwhite gold goldenrod gray green
    greenyellow grey honeydew hotpink indianred indigo ivory khaki lavender lavenderblush lawngreen lemonchiffon
    lightblue lightcoral lightcyan lightgoldenrodyellow lightgray lightgreen lightgrey lightpink lightsalmon
    lightseagreen lightskyblue lightslategray lightslategrey lightsteelblue lightyellow lime limegreen linen magenta
    maroon mediumaquamarine mediumblue mediumorchid mediumpurple mediumseagreen mediumslateblue mediumspringgreen
    mediumturquoise mediumvioletred midnightblue mintcream mistyrose moccasin navajowhite navy oldlace olive
    olivedrab orange orangered orchid palegoldenrod palegreen paleturquoise palevioletred papayawhip peachpuff peru
    pink plum powderblue purple rebeccapurple red rosybrown royalblue saddlebrown salmon sandybrown seagreen
    seashell sienna silver skyblue slateblue slategray slategrey snow springgreen steelblue tan teal thistle tomato
    turquoise violet wheat white whitesmoke yellow yellowgreen
"""
#: The names of CSS for colors.
COLORS = frozenset(_COLOR_NAMES.split())
#: Headers that HTTP clients set themselves, by what they send.
_OWN_HEADERS = frozenset(
    {
        "accept", "accept-encoding", "connection", "expect", "forwarded", "host", "http2-settings", "keep-alive",
        "range", "te", "trailer", "transfer-encoding", "upgrade", "via", "x-method-override", "x-original-url",
        "x-rewrite-url",
    }
)  # fmt: skip
#: The most characters that may be a misspelt name of a color: comparing longer ones takes time.
_COLOR_LENGTH = 30
#: The most characters of a text that says that an agent is done.
_MARK = 100
_OWN_PREFIXES = ("content-", "proxy-", "x-forwarded-", "x-http-method")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


class Kind(Protocol):
    """A kind of value, with its check."""

    @property
    def allowed(self) -> str:
        """The allowed values, as the end of a sentence: `a number from 0 to 2`."""

    def read(self, value: Any) -> Any:
        """Return the value in its canonical form.

        Raises:
            ValueError: the value is not allowed. Its message, if any, is the reason, and follows the field's name.
        """


def problem_with(kind: Kind, name: str, value: Any) -> str:
    """Return why a value is not of this kind; empty if it is."""
    try:
        kind.read(value)
    except ValueError as error:
        reason = str(error) or f"{short_repr(value)} is not {kind.allowed}"
        return f"{name} {reason}"
    return ""


class Number(Struct, frozen=True):
    """A number within a range."""

    low: float = -math.inf
    high: float = math.inf
    whole: bool = False
    """Whether only integers are allowed."""
    above: bool = False
    """Whether `low` itself is not allowed."""
    unit: str = ""
    """The unit, for messages: `seconds`."""

    @property
    def allowed(self) -> str:
        """The range, for example `a number from 0 to 2`."""
        number = "a whole number" if self.whole else "a number"
        if self.unit:
            number = f"{number} of {self.unit}"
        if self.high < math.inf:
            return f"{number} from {self.low:,g} to {self.high:,.12g}"
        if self.low == -math.inf:
            return number
        if self.above:
            return f"{number} above {self.low:g}"
        return f"{number} of at least {self.low:g}"

    def read(self, value: Any) -> int | float:
        """Return Python's int or float; numbers of numpy are converted."""
        kind = numbers.Integral if self.whole else numbers.Real
        if isinstance(value, bool) or not isinstance(value, kind):
            raise ValueError
        try:
            number = int(value) if isinstance(value, numbers.Integral) else float(value)
        except OverflowError:  # a Fraction too large for a float
            raise ValueError from None
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError
        if not self.low <= number <= self.high or (self.above and number == self.low):
            raise ValueError
        return number


class Text(Struct, frozen=True):
    """Text."""

    lines: bool = False
    """Whether more than one line is allowed."""
    pattern: str = ""
    """A regular expression that the whole text must match; empty allows any text."""
    allowed: str = "text"

    def read(self, value: Any) -> str:
        """Return the text."""
        if not isinstance(value, str) or (self.pattern and not re.fullmatch(self.pattern, value)):
            raise ValueError
        if not self.lines and len(value.splitlines()) > 1:
            raise ValueError(f"{short_repr(value)} has more than one line")
        return str(value)


class Color(Struct, frozen=True):
    """A color of CSS: a name, or a number such as `#2F7DE1`. Empty for none."""

    allowed: str = "a color such as '#2F7DE1' or teal"

    def read(self, value: Any) -> str:
        """Return the color."""
        if not isinstance(value, str):
            raise ValueError
        if value in COLORS or re.fullmatch(r"(#[0-9A-Fa-f]{3}|#[0-9A-Fa-f]{6})?", value):
            return str(value)
        meant = get_close_matches(value.lower(), COLORS, 1) if len(value) <= _COLOR_LENGTH else []
        if meant:
            raise ValueError(f"{short_repr(value)} is not {self.allowed}; did you mean {meant[0]!r}?")
        raise ValueError


class Choice(Struct, frozen=True):
    """One of several words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        """The words, joined by `or`."""
        return " or ".join(self.words)

    def read(self, value: Any) -> str:
        """Return the word."""
        if not isinstance(value, str) or value not in self.words:
            raise ValueError
        return str(value)


class Flag(Struct, frozen=True):
    """A boolean."""

    allowed: str = "true or false"

    def read(self, value: Any) -> bool:
        """Return the boolean."""
        if not isinstance(value, bool):
            raise ValueError
        return value


class ModelName(Struct, frozen=True):
    """The name of a model, `provider/model`."""

    allowed: str = "provider/model, such as openai/gpt-4o-mini or offline/echo"

    def read(self, value: Any) -> str:
        """Return the canonical name; `provider:model` is accepted."""
        if not isinstance(value, str):
            raise ValueError
        model = canonical(str(value))
        provider, _, name = model.partition("/")
        if not provider.isascii() or not provider or not name or not model.isprintable():
            raise ValueError
        if any(character.isspace() for character in model.partition(":")[0]):
            raise ValueError
        if meant := misspelt(provider):
            raise ValueError(f"{short_repr(model)}: unknown provider {short_repr(provider)}; did you mean {meant!r}?")
        return model


class Address(Struct, frozen=True):
    """The address of a server."""

    allowed: str = "an address such as http://localhost:8000/v1"

    def read(self, value: Any) -> str:
        """Return the address."""
        if not isinstance(value, str):
            raise ValueError
        try:
            parts = urlsplit(value)
            parts.port  # noqa: B018 - raises if it is none: then it may be a password, or a key
        except ValueError:
            parts = urlsplit("")
        if "@" in value or "?" in value:
            raise ValueError(
                "must not contain a password or a ?query, which would be displayed; put a key into api_key"
            )
        if parts.scheme not in ("http", "https") or not parts.hostname or any(char.isspace() for char in value):
            raise ValueError
        # Libraries disagree about the host of such an address, and a person cannot see it.
        if "\\" in value or "%" in parts.netloc or not value.isprintable():
            raise ValueError
        return str(value)


class KeyReference(Struct, frozen=True):
    """A reference to an API key. A literal key is kept in this process, and replaced by a reference to it."""

    allowed: str = "os.environ/NAME"

    def read(self, value: Any) -> str:
        """Return the reference."""
        if not isinstance(value, str):
            raise ValueError(f"must be text, not {type(value).__name__}; write {self.allowed}")
        return reference_to(value)


class Words(Struct, frozen=True):
    """A list of texts."""

    allowed: str = "a list of non-empty texts"

    def read(self, value: Any) -> tuple[str, ...]:
        """Return a tuple; a single text is accepted."""
        if isinstance(value, str):
            value = [value]
        if not isinstance(value, Sequence) or not value or not all(isinstance(word, str) and word for word in value):
            raise ValueError
        return tuple(map(str, value))


class Memory(Struct, frozen=True):
    """The part of an agent's history that its runs get: its newest exchanges. Unset limits leave all of it."""

    last: int | None = None
    """The most exchanges; one is a prompt with everything up to the next."""
    tokens: int | None = None
    """About the most tokens; they are estimated."""

    def __str__(self) -> str:
        document = self.document()
        if isinstance(document, str):
            return document
        return ":".join(f"{name}:{limit}" for name, limit in document.items())

    def document(self) -> str | dict[str, int]:
        """Return it as data for a file: `all`, `none`, `{last: 10}` or `{tokens: 4000}`."""
        if self.last == 0:
            return "none"
        limits = {"last": self.last, "tokens": self.tokens}
        return {name: limit for name, limit in limits.items() if limit is not None} or "all"


#: The memory of an agent that sets none: all of the history.
FULL_MEMORY = Memory()


class MemoryPolicy(Struct, frozen=True):
    """A part of the history, as text or as a mapping."""

    allowed: str = "one of all, none, last:N (the newest N exchanges), tokens:N; in a file, {last: N}, {tokens: N}"

    def read(self, value: Any) -> Memory:
        """Return the memory. Texts such as `last:10` are accepted, too."""
        if isinstance(value, Memory):
            value = value.document()
        if value == "all":
            return FULL_MEMORY
        if value == "none":
            return Memory(last=0)
        if isinstance(value, str):
            name, _, number = value.partition(":")
            value = {name.strip(): int(number) if number.strip().isdecimal() else None}
        if not isinstance(value, Mapping) or len(value) != 1 or next(iter(value)) not in ("last", "tokens"):
            raise ValueError
        ((name, limit),) = value.items()
        return Memory(**{name: int(Number(1, whole=True).read(limit))})


class Price(Struct, frozen=True):
    """The price of a model, in US dollars per million tokens. 0 and 0 is a model that costs nothing."""

    input: float
    output: float

    def __str__(self) -> str:
        document = self.document()
        if isinstance(document, str):
            return document
        return f"{{input: {self.input:g}, output: {self.output:g}}}"

    def document(self) -> str | dict[str, float]:
        """Return it as data for a file: `free`, or `{input: 0.15, output: 0.6}`."""
        if not (self.input or self.output):
            return "free"
        return {"input": self.input, "output": self.output}

    def of(self, usage: Usage) -> float:
        """Return the cost of so many tokens in US dollars, none of them read from a cache."""
        return (usage.input_tokens * self.input + usage.output_tokens * self.output) / 1e6


#: The price of a model that costs nothing.
FREE = Price(0.0, 0.0)


class PriceOfTokens(Struct, frozen=True):
    """The price of a model, as a word or as a mapping."""

    allowed: str = "free, or {input: 0.15, output: 0.6}: US dollars per million tokens"

    def read(self, value: Any) -> Price:
        """Return the price."""
        if isinstance(value, Price):
            return value
        if value == "free":
            return FREE
        if not isinstance(value, Mapping) or set(value) != {"input", "output"}:
            raise ValueError
        dollars = Number(0, 1_000_000)
        return Price(float(dollars.read(value["input"])), float(dollars.read(value["output"])))


class ContinuationPolicy(Struct, frozen=True):
    """How an agent goes on by itself, as a mapping or as its `max_iterations`."""

    allowed: str = "a mapping such as {max_iterations: 5, until: DONE}, or the most iterations, from 2 to 100"

    def read(self, value: Any) -> Continuation:
        """Return the continuation."""
        if isinstance(value, Continuation):
            value = value.document()
        if not isinstance(value, Mapping):
            value = {"max_iterations": value}
        if unknown := next((key for key in value if key not in Continuation.__struct_fields__), None):
            raise ValueError(f"has an unknown key {short_repr(unknown)}; known are max_iterations and until")
        most, until = value.get("max_iterations", 5), value.get("until", "DONE")
        if not isinstance(until, str) or not until.strip() or len(until.splitlines()) > 1 or len(until) > _MARK:
            raise ValueError(f"needs a word or a line of text as until, not {short_repr(until)}")
        return Continuation(int(Number(2, 100, whole=True).read(most)), until.strip())


class Params(Mapping[str, Any]):
    """An immutable, hashable mapping of JSON values. Values are returned as copies."""

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
    """Parameters that only one provider has."""

    allowed: str = "a mapping of JSON values"

    def read(self, value: Any) -> Params:
        """Return the parameters as an immutable mapping."""
        if not isinstance(value, Mapping) or not all(isinstance(name, str) for name in value):
            raise ValueError
        names = set(_parameters_in(value, _BODY))
        # In any case of letters: servers in Go read them all alike.
        if taken := ", ".join(sorted(name for name in names if name.lower() in _RESERVED)):
            raise ValueError(f"must not contain {taken}: set the field of AIConfig instead, if it has one")
        if taken := ", ".join(sorted(name for name in _parameters_in(value, _PARAMETERS) if name.lower() in _MANY)):
            raise ValueError(
                f"must not contain {taken}: one reply is read, and all are billed; submit more runs instead"
            )
        if taken := ", ".join(sorted(filter(_OF_LITELLM.search, names))):
            raise ValueError(
                f"must not contain {taken}: it is not a parameter of a model, but changes how it is called"
            )
        if name := next((name for name in _names_in(value) if _SECRET_FIELD.search(name)), ""):
            raise ValueError(f"must not contain {name}, which would be displayed; put a key into api_key")
        if isinstance(headers := value.get("extra_headers"), Mapping):
            _check_headers(headers)
        if isinstance(value, Params):
            return value
        try:
            return Params(value)
        except (TypeError, ValueError, RecursionError):
            raise ValueError from None


def _check_headers(headers: Mapping[Any, Any]) -> None:
    """Check headers that a config adds to those of a call.

    Raises:
        ValueError: one of them is set by whisper_nb, or is not a header.
    """
    for name, value in headers.items():
        header = str(name).lower().replace("_", "-")  # as servers that pass headers on in variables do
        if header in _OWN_HEADERS or header.startswith(_OWN_PREFIXES):
            raise ValueError(f"must not contain the header {name}: it follows from the call")
        if not isinstance(name, str) or not _HEADER_NAME.fullmatch(name):
            raise ValueError(f"contains a header with the name {short_repr(name)}; letters, digits and - are allowed")
        if isinstance(value, bool) or not isinstance(value, str | int | float) or not str(value).isprintable():
            raise ValueError(f"contains the header {name} with a value that is not a line of text")


def _parameters_in(value: Mapping[Any, Any], within: frozenset[str], depth: int = 0) -> Iterator[str]:
    """Yield the names of parameters, also of those in the mappings of these names."""
    for name, item in value.items():
        yield str(name)
        if isinstance(item, Mapping) and str(name).lower() in within and depth < _MAX_NESTING:
            yield from _parameters_in(item, within, depth + 1)


def _names_in(value: Any, depth: int = 0) -> Iterator[str]:
    """Yield the names of all mappings in a value."""
    if depth > _MAX_NESTING:
        raise ValueError(f"is nested deeper than the {_MAX_NESTING} levels of JSON that can be sent")
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield str(name)
            yield from _names_in(item, depth + 1)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _names_in(item, depth + 1)
