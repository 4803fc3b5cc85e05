"""Models that need no network, for demos and tests: an echo, and one that follows rules. Both are deterministic."""

from __future__ import annotations

import asyncio
import functools
import json
import math
import re
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from ..config.providers import PROVIDERS
from ..config.yamlfile import load_yaml, parse_yaml
from ..core.errors import ConfigError, ModelError
from ..core.messages import (
    AssistantMessage,
    CallDelta,
    Delta,
    Finish,
    Message,
    OutputMode,
    SystemMessage,
    TextDelta,
    ToolMessage,
    ToolSchema,
    Usage,
)
from ..core.text import short_repr, shortened
from ..tools.examples import example_of
from ..tools.outputs import json_of
from .model import Request
from .transcript import Transcript

#: Requests that a ScriptedModel keeps.
REQUESTS_KEPT = 1_000

#: CPU seconds for finding the rule of a message.
SEARCH_S = 0.25
#: The most characters of a regular expression, and the largest product of the counts in it, which take memory.
PATTERN_MOST, COUNTS_MOST = 5_000, 100_000
#: The most characters of the prompt in an example of an answer.
_EXAMPLE = 60
#: The most characters of a reply.
REPLY_MOST = 10_000_000
_COUNTS = re.compile(r"\{([0-9]*),?([0-9]*)\}")

_TOKEN = re.compile(r"\s*\S+\s*?(?=\s|$)|\s+$")


def tokens_of(text: str) -> list[str]:
    """Split a text as a stream would: into words, each with the space before it. Joined, they are the text."""
    return _TOKEN.findall(text)


@dataclass
class EchoModel:
    """`offline/echo`: repeats the prompt, and says how to reach a real model.

    Asked for an answer of an output type, it gives an example of one, with the prompt where the type has text.
    """

    tokens_per_second: float = 0.0
    """0: all at once."""
    context_tokens: int | None = 100_000
    """In words."""
    output_mode: ClassVar[OutputMode] = "native"
    """How it is asked for the form of an answer, unless the config says."""

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """Return the number of words, which are this model's tokens."""
        return count_words(messages)

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Yield the prompt, or an example of the output type, word by word."""
        prompt = request.messages[-1]
        asked = "" if isinstance(prompt, SystemMessage) else prompt.text
        if request.output is not None:
            answer = json.dumps(example_of(request.output.json_schema, shortened(asked, _EXAMPLE)), ensure_ascii=False)
        else:
            answer = self._echo(asked)
        words = tokens_of(answer)
        await asyncio.sleep(0)  # where a real call would wait
        for word in words:
            if self.tokens_per_second:
                await asyncio.sleep(1 / self.tokens_per_second)
            yield TextDelta(word)
        usage = Usage(count_words(request.messages), len(words))
        yield Finish("stop", usage, _cost(request, usage))

    def _echo(self, asked: str) -> str:
        variable = next(iter(PROVIDERS.values())).variables[0]
        return (
            f"You said: {asked}\n\n*(I am the offline model: set a provider's key, "
            f"such as `{variable}`, to reach a real one.)*"
        )

    async def prepare(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""


class FunctionModel:
    """A model that is one function: for tests, and for a model of your own.

    `rt.models["offline/mine"] = FunctionModel(function)` answers every config whose model is `offline/mine`.

    Args:
        function: an async generator function of a Request that yields deltas, the last of them a Finish.
        context_tokens: the most tokens that a request may hold; None for no limit.
    """

    def __init__(
        self, function: Callable[[Request], AsyncGenerator[Delta, None]], context_tokens: int | None = None
    ) -> None:
        self.stream = function
        self.context_tokens = context_tokens

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """Return the number of words."""
        return count_words(messages)

    async def prepare(self) -> None:
        """Do nothing: it is ready."""

    async def aclose(self) -> None:
        """Do nothing: it holds nothing."""


def _cost(request: Request, usage: Usage) -> float:
    """Return the cost of a call: nothing, unless the config sets a price, as to try out a budget."""
    price = request.config.price
    return 0.0 if price is None else price.of(usage)


def count_words(messages: Sequence[Message]) -> int:
    """Return the words of all messages, with those of tool calls. A Transcript counts each message once."""
    if isinstance(messages, Transcript):
        return messages.measured(_words_of)
    return sum(map(_words_of, messages))


def _words_of(message: Message) -> int:
    count = len(message.text.split())
    if isinstance(message, AssistantMessage):
        count += sum(len(call.arguments.split()) + 1 for call in message.tool_calls)
    return count


@dataclass(frozen=True, slots=True)
class Rule:
    r"""A reply of a ScriptedModel, for last messages that match.

    `reply`, if it is text, and the strings in `calls`, may use the groups of the match as in `re`: `\1`, `\g<name>`.
    """

    match: str = ""
    """A regular expression, searched in the last message (DOTALL); empty matches everything."""
    reply: Any = ""
    """Text; or the answer of an output type: an instance, or what its JSON has, such as a dict."""
    role: Literal["any", "user", "tool"] = "any"
    """The role of messages that can match: a prompt, a tool's result, or both."""
    system: str = ""
    """A regular expression that the system prompt must match too: one script for a whole team."""
    calls: Sequence[Mapping[str, Any]] = ()
    """Tool calls to make, all at once: `{name: …, arguments: {…}}`."""
    delay_s: float = 0.0
    """Seconds before the first token."""
    tokens_per_second: float = 0.0
    """0: all at once."""
    error: str = ""
    """Fail with a ModelError of this text instead of replying."""
    retryable: bool = False
    """Whether that failure is transient, so that the call is retried."""
    truncate: int | None = None
    """Break the stream off after so many tokens, without a finish reason."""
    finish: str = ""
    """A finish reason other than the natural one, such as `length`."""
    times: int | None = None
    """The most uses of the rule; after these, the next matching rule answers. None: no limit."""

    def __post_init__(self) -> None:
        """Check the fields.

        Raises:
            ConfigError: with the field and its value.
        """
        if self.reply is None or isinstance(self.reply, int | float):  # YAML has read a text as something else
            raise ConfigError(f"reply {self.reply!r} is not a string (in YAML: put it in quotes)")
        for name in ("match", "system", "error", "finish"):
            if not isinstance(text := getattr(self, name), str):
                raise ConfigError(f"{name} {text!r} is not a string (in YAML: put it in quotes)")
        for name in ("match", "system"):
            _pattern(getattr(self, name), name)
        if self.role not in ("any", "user", "tool"):
            raise ConfigError(f"role {self.role!r} is not any, user or tool")
        if not all(isinstance(call, Mapping) and "name" in call for call in self.calls):
            raise ConfigError(f"calls {self.calls!r}: each is a mapping with a name, and arguments if it has any")


@dataclass
class ScriptedModel:
    """`offline/script`: the first rule that matches the last message answers. Made for tests of your own.

    Attributes:
        rules: tried in order.
        requests: the newest 1,000 requests, oldest first, for assertions.
        context_tokens: in words; None is unbounded.
        output_mode: how it is asked for the form of an answer, unless the config says.
    """

    rules: Sequence[Rule]
    context_tokens: int | None = None
    requests: list[Request] = field(default_factory=list)
    output_mode: ClassVar[OutputMode] = "native"

    def __post_init__(self) -> None:
        self.rules = list(self.rules)
        if wrong := [rule for rule in self.rules if not isinstance(rule, Rule)]:
            raise ConfigError(f"ScriptedModel takes a list of Rule(…), not of {short_repr(wrong[0])}")
        self._left = [rule.times for rule in self.rules]
        self._received = 0

    @classmethod
    def load(cls, path: str | Path, content: bytes | None = None) -> ScriptedModel:
        """Read rules from a YAML file: a list of rules, each a mapping of Rule's fields.

        Args:
            path: the file.
            content: its content, if it has been read already.

        Raises:
            ConfigError: the file is missing, unsafe, or holds an unknown field; the message names the file.
        """
        entries = load_yaml(Path(path)) if content is None else parse_yaml(content, str(path)).data
        if not isinstance(entries, list):
            entries = [entries]
        known = [field.name for field in fields(Rule)]
        rules: list[Rule] = []
        for number, entry in enumerate(entries, 1):
            unknown = set(entry) - set(known) if isinstance(entry, dict) else {type(entry).__name__}
            if unknown:
                names = ", ".join(sorted(map(str, unknown)))
                raise ConfigError(f"{path}: rule {number}: unknown {names}; known are {', '.join(known)}")
            try:
                rules.append(Rule(**entry))
            except ConfigError as error:
                raise ConfigError(f"{path}: rule {number}: {error}") from None
        return cls(rules)

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """Return the number of words, which are this model's tokens."""
        return count_words(messages)

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Yield the reply of the first matching rule.

        Raises:
            ModelError: no rule matches, or the rule has an `error`.
        """
        self._received += 1
        self.requests.append(request)
        del self.requests[:-REQUESTS_KEPT]
        rule, match = self._find(request.messages)
        await asyncio.sleep(rule.delay_s)
        if rule.error:
            raise ModelError(rule.error, model="offline/script", retryable=rule.retryable)
        words = tokens_of(_expand(match, rule.reply) if isinstance(rule.reply, str) else json_of(rule.reply))
        for number, word in enumerate(words):
            if number == rule.truncate:
                return
            if rule.tokens_per_second and number:
                await asyncio.sleep(1 / rule.tokens_per_second)
            yield TextDelta(word)
        if rule.truncate is not None:
            return
        for index, call in enumerate(rule.calls):
            arguments = _expand_json(match, call.get("arguments", {}))
            yield CallDelta(index, f"call_{self._received}_{index}", _expand(match, str(call["name"])), arguments)
        natural = "tool_calls" if rule.calls else "stop"
        usage = Usage(count_words(request.messages), len(words))
        yield Finish(rule.finish or natural, usage, _cost(request, usage))

    async def prepare(self) -> None:
        """Do nothing."""

    async def aclose(self) -> None:
        """Do nothing."""

    def _find(self, messages: Sequence[Message]) -> tuple[Rule, Any]:
        first, last = messages[0], messages[-1]
        system = first.text if isinstance(first, SystemMessage) else ""
        role = "tool" if isinstance(last, ToolMessage) else "user"
        search = _Search()
        for index, rule in enumerate(self.rules):
            left = self._left[index]
            if left == 0 or rule.role not in ("any", role):
                continue
            found = search.find(rule, "match", last.text)
            if found and search.find(rule, "system", system):
                if left is not None:
                    self._left[index] = left - 1
                return rule, found
        raise ModelError(
            f"offline/script: no rule matches the {role} message {last.text[:80]!r}", model="offline/script"
        )


class _Search:
    """The search for a rule: all its regular expressions together have `SEARCH_S` seconds."""

    def __init__(self) -> None:
        self._end = time.monotonic() + SEARCH_S

    def find(self, rule: Rule, name: Literal["match", "system"], text: str) -> Any:
        """Search the pattern of this name in the text.

        Raises:
            ModelError: it takes too long. Some expressions would take years, and stop the event loop meanwhile.
        """
        pattern = getattr(rule, name)
        try:
            return _pattern(pattern, name).search(text, timeout=max(0.001, self._end - time.monotonic()))
        except TimeoutError:
            raise ModelError(
                f"offline/script: {name} {pattern[:80]!r} takes longer than {SEARCH_S:g} s on {text[:80]!r}: "
                "write it without repetitions of what can match in several ways",
                model="offline/script",
            ) from None


@functools.lru_cache(maxsize=1_000)
def _pattern(text: str, name: str) -> Any:
    """Return a regular expression whose search can have a timeout. That of `match` is DOTALL.

    Raises:
        ConfigError: it is not one, or too large.
    """
    import regex

    counts = [count for pair in _COUNTS.findall(text) for count in pair if count]
    if len(text) > PATTERN_MOST or math.prod(int(count[:9]) for count in counts if count.strip("0")) > COUNTS_MOST:
        raise ConfigError(
            f"{name} {text[:80]!r} is too large: allowed are {PATTERN_MOST:,} characters, and repetitions such as "
            f"{{3,5}} whose product is at most {COUNTS_MOST:,}"
        )
    try:
        re.compile(text)  # the syntax that is documented
        return regex.compile(text, regex.DOTALL if name == "match" else 0)
    except (re.error, regex.error, RecursionError, OverflowError) as error:
        raise ConfigError(f"{name} {text!r} is not a regular expression: {error}") from None


def _expand(match: Any, template: str) -> str:
    if "\\" not in template:
        return template
    groups = template.count("\\")
    if groups * len(match.string) > REPLY_MOST:
        raise ModelError(
            f"offline/script: {template[:80]!r} may become longer than {REPLY_MOST:,} characters: "
            f"it refers {groups:,} times to a message of {len(match.string):,}",
            model="offline/script",
        )
    import regex

    try:
        return str(match.expand(template))
    except (regex.error, IndexError) as error:
        raise ModelError(
            f"offline/script: {template[:80]!r}: {error}; write a backslash that does not refer to a group twice",
            model="offline/script",
        ) from None


def _expand_json(match: Any, arguments: Any) -> str:
    def walk(value: Any) -> Any:
        if isinstance(value, str):
            return _expand(match, value)
        if isinstance(value, Mapping):
            return {key: walk(item) for key, item in value.items()}
        if isinstance(value, list):
            return [walk(item) for item in value]
        return value

    if isinstance(arguments, str):
        return arguments
    return json.dumps(walk(arguments))
