"""The protocol of models, and the request that one call makes."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import msgspec
from msgspec import Struct

from ..config.aiconfig import AIConfig
from ..config.providers import PROVIDERS, Provider, public
from ..core.fingerprint import canonical, digest
from ..core.messages import Delta, Message, OutputSchema, ToolSchema
from .openai_format import every_parameter, tools_of
from .transcript import Transcript

#: The number of configs of which the description is kept.
_KEPT = 256


class Request(Struct, frozen=True):
    """One model call."""

    messages: Sequence[Message]
    """A Transcript where there is one: its messages are encoded and counted once."""
    tools: Sequence[ToolSchema]
    config: AIConfig
    output: OutputSchema | None = None
    """The form of the reply; None: text."""
    server: str = ""
    """The address that takes the place of the provider's, where `config` does not have it; see `server_of`."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what is sent, as 64 hexadecimal digits. Equal requests have the same, in every process.

        It is the SHA-256 of 32 bytes for each message, and 32 for the rest: the SHA-256 of its canonical JSON (see
        `core.fingerprint`). A message is in OpenAI's format, with the SHA-256 of an image in place of its data. The
        rest is `{"model": "provider/model", "output": {…}, "parameters": {…}, "server": "…", "tools": […]}`, without
        the keys that have nothing. Keys, timeouts, retries, prices, and the way of sending are no part of it.

        The cost is that of the messages which are new in a Transcript, not of all.

        Raises:
            ConfigError: a schema has NaN, or something else that JSON does not have.
        """
        hashed = transcript_of(self.messages).hashed()
        hashed.update(_rest_of(self).digest)
        return hashed.hexdigest()

    @property
    def description(self) -> bytes:
        """The JSON of the messages and the rest that the fingerprint is made of. The body for a model without one."""
        return b'{"messages":[%b],%b' % (b",".join(transcript_of(self.messages).pieces), _rest_of(self).json[1:])


class Model(Protocol):
    """A model that agents call: one call at a time per session, many at once over all sessions.

    It may also have a `body`; see HasBody.
    """

    @property
    def context_tokens(self) -> int | None:
        """The size of the context in tokens; None where it is unknown."""

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """Return the tokens of messages and tools, as exactly as possible without asking the provider.

        Called in a thread: it may take long.
        """

    async def prepare(self) -> None:
        """Import and look up everything that a call needs. Called before each call; only the first takes time.

        Raises:
            ConfigError: the call cannot be made, for example because the key is missing.
        """

    def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Yield the deltas of the reply, and one Finish at its end.

        Closing the generator, or cancelling the task that reads it, ends the call and releases its connection.

        Raises:
            ModelError: the call failed. The message never contains a key.
            ConfigError: the call cannot be made, for example because the key is missing.
        """

    async def aclose(self) -> None:
        """Release all connections."""


@runtime_checkable
class HasBody(Protocol):
    """A model that sends JSON."""

    def body(self, request: Request) -> bytes:
        """Return the JSON that `stream` would send, to the byte. Nothing is sent, and no key is needed or returned.

        Raises:
            ConfigError: the call cannot be made, for example because the provider lacks a parameter.
        """


def body_of(model: Model, request: Request) -> bytes:
    """Return the body of a request to a model; of one that sends no JSON, the request's description.

    Raises:
        ConfigError: as `HasBody.body`.
    """
    return model.body(request) if isinstance(model, HasBody) else request.description


def transcript_of(messages: Sequence[Message]) -> Transcript:
    """Return messages as a Transcript."""
    if isinstance(messages, Transcript):
        return messages
    return Transcript(messages)


@lru_cache(maxsize=256)
def server_of(provider: str, address: str) -> str:
    """Return an address as a part of a request's identity; empty for the provider's own.

    Args:
        provider: the name of the provider.
        address: that takes the place of the provider's; empty without one.
    """
    if not address:
        return ""
    own = PROVIDERS.get(provider, Provider())
    base = public(address).rstrip("/").removesuffix("/chat/completions")
    return "" if base in (own.wire, own.address) else base


def same_form(tools: Sequence[ToolSchema], output: OutputSchema | None, request: Request) -> bool:
    """Whether a request has the same tools and output, to the byte: Python takes `True`, 1 and 1.0 for equal."""
    return (
        len(tools) == len(request.tools)
        and all(map(_is_same, tools, request.tools))
        and _is_same(output, request.output)
    )


def _is_same(one: ToolSchema | OutputSchema | None, other: ToolSchema | OutputSchema | None) -> bool:
    if one is other:
        return True
    if isinstance(one, OutputSchema) and isinstance(other, OutputSchema) and one.json_schema is other.json_schema:
        return (one.name, one.mode) == (other.name, other.mode)
    return one == other and repr(one) == repr(other)


class _Rest(Struct, frozen=True):
    """All of a request but its messages, and its canonical JSON."""

    request: Request
    tools: tuple[ToolSchema, ...]
    json: bytes
    digest: bytes

    def fits(self, request: Request) -> bool:
        """Whether another request has the same rest. What is compared is nearly always the same object."""
        kept = self.request
        return (
            kept.config is request.config
            and kept.server == request.server
            and same_form(self.tools, kept.output, request)
        )


#: The id of a config → the rest of the last request with it. Its id is unique as long as it is kept.
_rests: dict[int, _Rest] = {}


def _rest_of(request: Request) -> _Rest:
    rest = _rests.get(id(request.config))
    if rest is None or not rest.fits(request):
        if len(_rests) >= _KEPT:
            _rests.clear()
        without = Request((), request.tools, request.config, request.output, request.server)
        described = _describe(request)
        rest = _Rest(without, tuple(request.tools), described, digest(described))
        _rests[id(request.config)] = rest
    return rest


def _describe(request: Request) -> bytes:
    config = request.config
    described: dict[str, Any] = {
        "model": config.model or "",
        "output": msgspec.to_builtins(request.output) if request.output else None,
        "parameters": every_parameter(config),
        "server": server_of(config.provider, request.server or config.api_base or ""),
        "tools": tools_of(request.tools),
    }
    return canonical({name: value for name, value in described.items() if value})
