"""The body of a call in OpenAI's chat format, put together from encoded messages."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterable, AsyncIterator, Mapping, Sequence
from typing import Any

from ...config.aiconfig import AIConfig
from ...core.errors import ConfigError
from ...core.messages import Message
from ..model import Request, same_form
from ..openai_format import encode, parameters
from ..output_modes import output_fields
from ..transcript import Transcript

#: Models for which OpenAI has renamed `max_tokens`.
_NEW_OPENAI = re.compile(r"o\d|gpt-5")
#: Provider → its own names of parameters.
_RENAMED = {"mistral": {"seed": "random_seed"}}
#: Providers that report usage without `stream_options`, and refuse it.
_REPORT_USAGE_UNASKED = ("mistral",)
#: aiohttp writes larger bytes in one go, which blocks the event loop, and warns. They are sent in blocks of this size.
_BLOCK = 2**18
_LARGE = 2**20
#: The number of configs whose bodies are kept.
_KEPT = 64

Body = bytes | AsyncIterable[bytes]


class RequestBodies:
    """The bodies of one model's calls. What comes before the messages is encoded once per config, tools and output.

    Args:
        endpoint: the model, by its fields `model` and `api_base`.
    """

    __slots__ = ("_endpoint", "_kept", "_model")

    def __init__(self, endpoint: AIConfig) -> None:
        self._endpoint = endpoint
        self._model = (endpoint.model or "").partition("/")[2]
        self._kept: dict[int, _Rest] = {}

    def build(self, request: Request) -> tuple[Body, dict[str, str]]:
        """Return the body and the headers of a call, without the key.

        Raises:
            ConfigError: the provider has no name for a parameter, or `extra` is wrong. Nothing was sent.
        """
        rest = self._rest(request)
        body, headers = _joined(rest, request), rest.headers.copy()
        if len(body) < _LARGE:
            return body, headers
        headers["Content-Length"] = str(len(body))  # else aiohttp sends it in HTTP chunks, which some servers refuse
        return _Blocks(body), headers

    def whole(self, request: Request) -> bytes:
        """Return the body of a call in one piece.

        Raises:
            ConfigError: as `build`.
        """
        return _joined(self._rest(request), request)

    def _rest(self, request: Request) -> _Rest:
        rest = self._kept.get(id(request.config))
        # Its id is unique as long as the config is kept.
        if rest is None or not rest.fits(request):
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            rest = self._kept[id(request.config)] = self._encode_rest(request)
        return rest

    def _encode_rest(self, request: Request) -> _Rest:
        config = request.config
        extra = dict(config.extra or {})
        headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        headers |= {str(name): str(value) for name, value in _mapping(extra, "extra_headers").items()}
        provider = self._endpoint.provider
        renamed = self._renamed()
        fields: dict[str, Any] = {"model": self._model, **output_fields(request)}
        if config.stream is not False:
            fields["stream"] = True
            if provider not in _REPORT_USAGE_UNASKED:
                fields["stream_options"] = {"include_usage": True}
        if provider == "openrouter":
            fields["usage"] = {"include": True}  # with the cost
        fields |= {renamed.get(name, name): value for name, value in parameters(config).items()}
        fields |= {**_mapping(extra, "extra_body"), **extra}
        encoded = json.dumps(fields).encode()
        return _Rest(request, headers, encoded[:-1] + b', "messages": [')

    def _renamed(self) -> Mapping[str, str]:
        provider = self._endpoint.provider
        if provider == "openai" and (self._endpoint.api_base is None or _NEW_OPENAI.match(self._model)):
            return {"max_tokens": "max_completion_tokens"}
        return _RENAMED.get(provider, {})


class _Rest:
    """A body up to its messages, which come last, and the headers."""

    __slots__ = ("config", "headers", "output", "start", "tools")

    def __init__(self, request: Request, headers: dict[str, str], start: bytes) -> None:
        self.config = request.config
        self.tools = tuple(request.tools)
        self.output = request.output
        self.headers = headers
        self.start = start

    def fits(self, request: Request) -> bool:
        """Whether the body of another request begins like this one."""
        return self.config is request.config and same_form(self.tools, self.output, request)


def _joined(rest: _Rest, request: Request) -> bytes:
    pieces = [*_pieces(request.messages)] or [b""]
    # In one join: a second one would copy a long history again.
    pieces[0] = rest.start + pieces[0]
    pieces[-1] += b"]}"
    return b",".join(pieces)


def _pieces(messages: Sequence[Message]) -> Sequence[bytes]:
    if isinstance(messages, Transcript):
        return messages.pieces
    return [encode(message) for message in messages]


class _Blocks:
    """A large body. It can be sent again."""

    __slots__ = ("_body",)

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._body), _BLOCK):
            yield self._body[start : start + _BLOCK]


def _mapping(extra: dict[str, Any], name: str) -> Mapping[str, Any]:
    value = extra.pop(name, {})
    if not isinstance(value, Mapping):
        raise ConfigError(f"extra: {name} {value!r} is not a mapping. Nothing was sent.")
    return value
