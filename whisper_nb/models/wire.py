"""Models of providers with OpenAI's format, over aiohttp: a fraction of what a call through LiteLLM costs.

The format: https://platform.openai.com/docs/api-reference/chat-streaming. A reply without a finish reason was cut off,
however its connection ended.
"""

from __future__ import annotations

import asyncio
import os
import re
import urllib.request
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..config.aiconfig import AIConfig, missing_key, own_address
from ..config.keys import Key, Keys
from ..config.providers import PROVIDERS, Provider, address_variables, public
from ..core.errors import ConfigError, ModelError
from ..core.messages import Delta, Finish, Message, ToolSchema, replace
from ..core.threads import in_thread
from .failures import Failures, no_key, retry_after
from .http.connections import Connections
from .http.request_body import RequestBodies
from .http.sse import BOM
from .model import Request
from .prices import Listed, context_size, entry, header_cost, listed_cost, reported_cost
from .reading import REFUSAL_LIMIT, REPLY_LIMIT, TOO_LARGE, InvalidReply
from .tokens import count_tokens
from .wire_format import ProviderError, ReplyStream, WholeReply, WireReader
from .words import Said, said

if TYPE_CHECKING:
    import aiohttp

#: Seconds that the body of an HTTP error may take. Without it there is the status.
_REFUSAL_S = 1.0
#: Seconds that the end of a body may take after `[DONE]`, so that its connection can be used again.
_END_S = 0.1
#: The environment variables that `urllib` reads a proxy from.
_PROXY_VARIABLES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY")


class OpenAIWireModel:
    """One model of a provider that speaks OpenAI's format, for any number of sessions at once.

    Args:
        endpoint: the fields `model`, `api_base` and `api_key` say where the model is. Others are not read.
        keys: the key and the address are looked up here at each call, so that they may be set later. The key is not
            kept.
        connections: shared with other models, and closed by their owner.
    """

    __slots__ = (
        "_bodies",
        "_connections",
        "_endpoint",
        "_keys",
        "_listed",
        "_place",
        "_proxy",
        "_reasoning_field",
        "_url",
    )

    def __init__(self, endpoint: AIConfig, keys: Keys, connections: Connections) -> None:
        self._endpoint = endpoint
        self._keys = keys
        self._connections = connections
        self._place: tuple[str | None, ...] = ()
        """The settings from which the address and its proxy were derived."""
        self._url: Any = None
        self._proxy: str | None = None
        self._listed: Listed | None = None
        self._bodies = RequestBodies(endpoint)
        self._reasoning_field = PROVIDERS.get(endpoint.provider, Provider()).reasoning

    @property
    def context_tokens(self) -> int | None:
        """The size by LiteLLM's price list; None for a model that is not listed, and before `prepare`."""
        return context_size(self._listed or {})

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """Return the count of LiteLLM's tokenizer. It imports LiteLLM, which takes seconds: call it in a thread."""
        return count_tokens(self._endpoint.model or "", messages, tools)

    def body(self, request: Request) -> bytes:
        """Return the body that `stream` sends, to the byte.

        Raises:
            ConfigError: a parameter that the provider does not have.
        """
        return self._bodies.whole(request)

    async def prepare(self) -> None:
        """Look up the address. If it is new, look up the key, prices and proxy, and import aiohttp, in a thread.

        Raises:
            ConfigError: no key, or no address.
        """
        place = (own_address(self._endpoint, self._keys)[0], *map(os.environ.get, _PROXY_VARIABLES))
        if place == self._place:
            return
        self._key()
        address = self._address()
        await self._connections.open(secure=address[:6].lower() == "https:")
        from yarl import URL

        try:
            url = URL(address)
            _ = url.host  # decoded only now
        except ValueError as error:  # UnicodeError is one
            raise ConfigError(
                f"{self._endpoint.model}: api_base {public(address)!r} is not an address: {error}"
            ) from None
        listed, proxy = await in_thread(self._look_up, url)
        if proxy and proxy[:6].lower() == "https:":
            await self._connections.open(secure=True)
        # At once: other calls may begin while this one waits.
        self._place, self._url, self._listed, self._proxy = place, url, listed, proxy

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """Yield the reply's deltas, and a Finish if and only if the provider gave a finish reason.

        Closing the generator, or cancelling the task that reads it, closes the connection. Nothing is retried.

        Raises:
            ConfigError: no key, no address, or a parameter that the provider does not have. Nothing was sent.
            ModelError: anything else. It holds neither the key nor an exception that does.
        """
        if self._url is None:
            await self.prepare()
        key = self._key()
        body, headers = self._bodies.build(request)
        failures = Failures(self._endpoint, self._keys, key, request.output.mode if request.output else None)
        reader = WireReader(self._reasoning_field)
        response: aiohttp.ClientResponse | None = None
        reply: ReplyStream | WholeReply | None = None
        failure: ModelError | None = None
        rest: list[Delta] = []
        try:
            # No variable holds the key: tracebacks may show them.
            response = await self._connections.post(self._url, body, headers | _authorization(key), self._proxy)
            received = await self._begin(response, failures)
            reply = self._reply(response, received, reader, failures)
            # Not a generator of its own: each level costs a tenth of a call.
            while True:
                for delta in reply.feed(received):
                    yield delta
                if reply.done:
                    break
                received = await response.content.readany()
            if reply.failure is not None:
                raise reply.failure
            await _read_end(response)
        except Exception as error:  # of aiohttp, the network and parsing: `_failure` distinguishes them
            rest, failure = _ending(error, reply, reader, failures)
        except BaseException as error:  # a cancellation, an interrupt, an outcome of a test runner
            # Its frames hold the key, and a timeout keeps it as its cause.
            error.__traceback__ = error.__context__ = None
            raise
        finally:
            if response is not None:
                response.close()  # no effect where it was read to its end
        for delta in rest:
            yield delta
        if failure is not None:
            raise failure  # not above, where the error that holds the key would become its context
        if finish := reader.finish():
            finish = failures.checked(finish)
            listed = self._listed if request.config.price is None else None
            yield replace(finish, cost_usd=_cost(reader.usage, finish, _told(response, reply), listed))

    async def aclose(self) -> None:
        """Do nothing: the connections are shared."""

    def _key(self) -> Key:
        endpoint = self._endpoint
        key = self._keys.key(endpoint.provider, endpoint.api_key) or Key("", "")
        if not key.reveal() and (missing := missing_key(endpoint, self._keys)):
            raise no_key(endpoint, missing)
        if not (key.reveal().isascii() and key.reveal().isprintable()):
            raise ConfigError(
                f"{endpoint.model}: the key{f' from {key.variable}' if key.variable else ''} "
                "has a character that cannot be sent: copy it again"
            )
        return key

    def _look_up(self, url: Any) -> tuple[Listed, str | None]:
        """Return the model's listed prices, and the proxy for an address. Blocks: called in a thread."""
        return entry(self._endpoint.model or ""), _proxy(url)

    def _address(self) -> str:
        endpoint = self._endpoint
        base = own_address(endpoint, self._keys)[0] or PROVIDERS.get(endpoint.provider, Provider()).wire or ""
        if not base.lower().startswith(("http://", "https://")):
            raise ConfigError(
                f"{endpoint.model} needs the address of its server: set api_base, such as http://localhost:8000/v1, "
                f"or {address_variables(endpoint.provider)[0]}. Nothing was sent."
            )
        base = base.rstrip("/").removesuffix("/chat/completions")
        if endpoint.provider.startswith("ollama") and not base.endswith("/v1"):
            base += "/v1"  # OpenAI's format is at a path of its own
        return f"{base}/chat/completions"

    async def _begin(self, response: aiohttp.ClientResponse, failures: Failures) -> bytes:
        """Return the first bytes of the reply that are not blank; none if it has no others.

        Raises:
            ModelError: an HTTP error.
        """
        if response.status >= 300:
            raise await _refusal(response, failures)
        size = 0
        while received := await response.content.readany():
            if not received.isspace():
                break
            size += len(received)
            if size > REPLY_LIMIT:
                raise InvalidReply(TOO_LARGE)
        return received

    def _reply(
        self, response: aiohttp.ClientResponse, received: bytes, reader: WireReader, failures: Failures
    ) -> ReplyStream | WholeReply:
        """Return what takes in the reply's bytes. Its content type counts only where its first bytes do not tell.

        Raises:
            ModelError: there is no reply that could be read.
        """
        kind = response.content_type
        start = received.removeprefix(BOM).lstrip()
        if start[:1] in (b"{", b"[") or (kind == _JSON and not _EVENT.match(start)):
            return WholeReply(reader)
        if response.status != 200 or not (kind in _STREAMS or _EVENT.match(start)):
            what = f"it is {kind} ({response.status}), not a stream of events"
            raise failures.broken(what)
        return ReplyStream(reader)


#: The content types of event streams. Some servers have no proper one.
_STREAMS = ("text/event-stream", "text/plain", "application/octet-stream")
_JSON = "application/json"
#: The beginning of a stream of events; its first packet may hold a part of it alone.
_EVENT = re.compile(rb"(?:data|event|id|retry|error)?:|[a-z]{1,5}$")


def _told(response: aiohttp.ClientResponse | None, reply: ReplyStream | WholeReply | None) -> float | None:
    """Return the cost that a proxy tells beside a whole reply; None without one."""
    if response is None or not isinstance(reply, WholeReply):
        return None
    return header_cost(response.headers)


def _cost(usage: Mapping[str, Any], finish: Finish, told: float | None, listed: Listed | None) -> float | None:
    """Return the cost: as the provider reported it, or a proxy told it, else by the price list; None if unknown."""
    reported = reported_cost(usage)
    if reported is None:
        reported = told
    if reported is not None or finish.usage is None:
        return reported
    return listed_cost(usage, listed or {})


def _authorization(key: Key) -> dict[str, str]:
    if key.reveal():
        return {"Authorization": f"Bearer {key.reveal()}"}
    return {}


def _proxy(url: Any) -> str | None:
    """Return the proxy for an address by the environment."""
    if not url.host or urllib.request.proxy_bypass(url.host):
        return None
    return urllib.request.getproxies().get(url.scheme)


async def _read_end(response: aiohttp.ClientResponse) -> None:
    """Read the end of a complete stream, so that its connection can be used again."""
    if response.content.at_eof():
        return
    with suppress(Exception):  # the reply is complete, however its connection ends
        async with asyncio.timeout(_END_S):
            await response.content.readany()


async def _refusal(response: aiohttp.ClientResponse, failures: Failures) -> ModelError:
    """Return the error for an HTTP error."""
    body = bytearray()
    with suppress(Exception):  # the body may break off, arrive slowly or never end: there is still its beginning
        async with asyncio.timeout(_REFUSAL_S):
            while len(body) < REFUSAL_LIMIT and (received := await response.content.readany()):
                body += received
    answer = said(bytes(body[:REFUSAL_LIMIT]))
    if not answer.text:
        answer = Said(response.reason or "")
    return failures.refused(response.status, answer, retry_after(response.headers))


def _ending(
    error: Exception, reply: ReplyStream | WholeReply | None, reader: WireReader, failures: Failures
) -> tuple[list[Delta], ModelError | None]:
    """Return what is left of a reply whose reading ended in an error, and the error; None if the reply is complete.

    A connection may break off behind a complete reply: after `[DONE]`, or after all of the JSON.
    """
    import aiohttp

    if reply is not None and isinstance(error, aiohttp.ClientError | OSError):
        rest = reply.feed(b"")
        if reader.ended and reply.failure is None:
            return rest, None
    return [], _failure(error, failures)


def _failure(error: Exception, failures: Failures) -> ModelError:
    import aiohttp

    match error:
        case ModelError():
            return error.with_traceback(None)
        case ProviderError():
            return failures.reported(error.text, error.code)
        case aiohttp.ClientConnectorError():
            return failures.unreached(str(error.os_error) or str(error), sent=False)
        case aiohttp.InvalidURL():  # of the proxy
            return failures.unfit(f"not the address of a server or proxy: {error}")
        case aiohttp.ClientPayloadError():
            return failures.unreached(
                "the reply broke off before its end; run.text has the part that arrived", sent=True
            )
        case aiohttp.ClientConnectionError() | aiohttp.ClientResponseError() | OSError():
            return failures.unreached(str(error) or type(error).__name__, sent=True)
        case UnicodeDecodeError():
            return failures.broken("it is not UTF-8")
        case _:
            return failures.broken(str(error) or type(error).__name__)
