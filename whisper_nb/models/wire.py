"""OpenAI's wire format, which most providers speak, over aiohttp: a small part of what LiteLLM costs.

The format: https://platform.openai.com/docs/api-reference/chat-streaming. Nothing is believed that was not said: a reply
without a reason for its end was cut off, whatever the connection looks like.
"""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..config.aiconfig import AIConfig, missing_key
from ..config.keys import Key, Keys
from ..config.providers import PROVIDERS
from ..core.errors import ConfigError, ModelError
from ..core.messages import Delta, Message, ToolSchema, replace
from ..core.threads import in_thread
from .connections import Connections
from .failures import Failures, no_key, retry_after
from .model import Request
from .prices import Listed, entry, listed_cost, told_cost
from .reading import REFUSAL_LIMIT, TOO_LARGE, Distrusted
from .request_body import RequestBodies
from .tokens import count_tokens
from .wire_format import ProviderError, ReplyStream, WholeReply, WireReader

if TYPE_CHECKING:
    import aiohttp

#: How long a refusal's body may take; its status says enough.
_REFUSAL_S = 1.0
#: How long the end of a body may take after `[DONE]`, so that its connection can be used again.
_END_S = 0.1


class OpenAIWireModel:
    """One model of a provider that speaks OpenAI's format, for any number of sessions at once.

    Args:
        place: where the model is: `model`, `api_base` and `api_key` are read, nothing else.
        keys: where the key is looked up, at each call, so that it may be set later; it is kept nowhere.
        connections: shared with other models, and closed by whoever made them.
    """

    __slots__ = ("_bodies", "_connections", "_keys", "_listed", "_place", "_proxy", "_reasoning_field", "_url")

    def __init__(self, place: AIConfig, keys: Keys, connections: Connections) -> None:
        self._place = place
        self._keys = keys
        self._connections = connections
        self._url: Any = None
        self._proxy: str | None = None
        self._listed: Listed | None = None
        self._bodies = RequestBodies(place)
        known = PROVIDERS.get(place.provider)
        self._reasoning_field = known.reasoning if known else ""

    @property
    def context_tokens(self) -> int | None:
        """What litellm's price list says; None for a model that it does not list, and before `prepare`."""
        limit = (self._listed or {}).get("max_input_tokens")
        return limit if isinstance(limit, int) else None

    def count_tokens(self, messages: Sequence[Message], tools: Sequence[ToolSchema] = ()) -> int:
        """As litellm counts for this model, which is imported for it: for a thread."""
        return count_tokens(self._place.model or "", messages, tools)

    async def prepare(self) -> None:
        """Look up the key and the model's prices, and load aiohttp, the first time in a thread.

        Raises:
            ConfigError: no key, or no address.
        """
        if self._url is not None:
            return
        self._key()
        address = self._address()
        await self._connections.open(secure=address[:6].lower() == "https:")
        from yarl import URL

        try:
            url = URL(address)
            _ = url.host  # is decoded only now
        except ValueError as error:  # UnicodeError is one
            raise ConfigError(f"{self._place.model}: api_base {address!r} is no address: {error}") from None
        self._listed, self._proxy = await in_thread(lambda: (entry(self._place.model or ""), _proxy(url)))
        if self._proxy and self._proxy[:6].lower() == "https:":
            await self._connections.open(secure=True)
        self._url = url

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
        reader = WireReader(self._reasoning_field)
        response: aiohttp.ClientResponse | None = None
        failure: ModelError | None = None
        try:
            # No variable holds the key: tracebacks may show them.
            response = await self._connections.post(self._url, body, headers | _authorization(key), self._proxy)
            reply = await self._begin(response, reader, key)
            # Not a generator of its own: each level costs a tenth of a call.
            while not reply.done:
                for delta in reply.feed(await response.content.readany()):
                    yield delta
            if reply.failure is not None:
                raise reply.failure
            await _read_end(response)
        except asyncio.CancelledError as error:
            # Its frames hold the key, and a timeout keeps it as its cause.
            error.__traceback__ = error.__context__ = None
            raise
        except Exception as error:  # of aiohttp, the network and parsing: `_failure` tells them apart
            failure = _failure(error, Failures(self._place, self._keys, key))
        finally:
            if response is not None:
                response.close()  # no effect where it was read to its end
        if failure is not None:
            raise failure  # not above, where the error that holds the key would become its context
        if finish := reader.finish():
            yield replace(finish, cost_usd=self._cost(reader.spent))

    async def aclose(self) -> None:
        """Nothing of its own to let go of."""

    def _key(self) -> Key:
        place = self._place
        key = self._keys.key(place.provider, place.api_key) or Key("", "")
        if not key.reveal() and (missing := missing_key(place, self._keys)):
            raise no_key(place, missing)
        if not (key.reveal().isascii() and key.reveal().isprintable()):
            raise ConfigError(
                f"{place.model}: the key{f' from {key.variable}' if key.variable else ''} has a character that cannot be sent: copy it anew"
            )
        return key

    def _address(self) -> str:
        place, known = self._place, PROVIDERS.get(self._place.provider)
        variables = [f"{place.provider.upper()}_API_BASE", *(["OPENAI_BASE_URL"] if place.provider == "openai" else [])]
        own = place.api_base or next(filter(None, map(self._keys.environment, variables)), "")
        base = own or (known and known.wire) or ""
        if not base.lower().startswith(("http://", "https://")):
            raise ConfigError(
                f"{place.model} needs the address of its server: set api_base, such as http://localhost:8000/v1, "
                f"or {variables[0]}. Nothing was sent."
            )
        base = base.rstrip("/").removesuffix("/chat/completions")
        if place.provider.startswith("ollama") and not base.endswith("/v1"):
            base += "/v1"  # beside its own format
        return f"{base}/chat/completions"

    async def _begin(self, response: aiohttp.ClientResponse, reader: WireReader, key: Key) -> ReplyStream | WholeReply:
        """Return what takes in the reply's bytes.

        Raises:
            ModelError: there is no reply that could be read.
        """
        kind = response.content_type
        if response.status >= 300:
            raise await _refusal(response, Failures(self._place, self._keys, key))
        if kind == "application/json":
            return WholeReply(reader)
        if response.status != 200 or kind not in _STREAMS:
            what = f"it is {kind} ({response.status}), not a stream of events"
            raise Failures(self._place, self._keys, key).broken(what)
        return ReplyStream(reader)

    def _cost(self, spent: Mapping[str, Any]) -> float | None:
        told = told_cost(spent)
        return listed_cost(spent, self._listed or {}) if told is None else told


#: What a stream of events is labelled as; some servers have no word for it.
_STREAMS = ("text/event-stream", "text/plain", "application/octet-stream")


def _authorization(key: Key) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.reveal()}"} if key.reveal() else {}


def _proxy(url: Any) -> str | None:
    """The proxy that the environment names for an address."""
    if not url.host or urllib.request.proxy_bypass(url.host):
        return None
    return urllib.request.getproxies().get(url.scheme)


async def _read_end(response: aiohttp.ClientResponse) -> None:
    """Read the end of a complete stream, so that its connection can be used again."""
    if response.content.at_eof():
        return
    with suppress(TimeoutError):
        async with asyncio.timeout(_END_S):
            await response.content.readany()


async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes:
    pieces: list[bytes] = []
    size = 0
    async for received in response.content.iter_any():
        pieces.append(received)
        size += len(received)
        if size > limit:
            raise Distrusted(TOO_LARGE)
    return b"".join(pieces)


async def _refusal(response: aiohttp.ClientResponse, failures: Failures) -> ModelError:
    """The error that an HTTP error is."""
    text = ""
    with suppress(Exception):  # of a body that breaks off, drips or has no end: the status says enough
        async with asyncio.timeout(_REFUSAL_S):
            text = (await _body(response, REFUSAL_LIMIT)).decode(errors="replace")
            said = json.loads(text)
            error = said.get("error", said) if isinstance(said, dict) else said
            text = str(error.get("message") or error) if isinstance(error, dict) else str(error)
    return failures.refused(response.status, text or response.reason or "", retry_after(response.headers))


def _failure(error: Exception, failures: Failures) -> ModelError:
    import aiohttp

    match error:
        case ModelError():
            return error.with_traceback(None)
        case ProviderError():
            return failures.told(error.text, error.code)
        case aiohttp.ClientConnectorError():
            return failures.unreached(str(error.os_error) or str(error), sent=False)
        case aiohttp.InvalidURL():  # the proxy's
            return failures.unfit(f"no address of a server or proxy: {error}")
        case aiohttp.ClientPayloadError():
            return failures.unreached("the reply broke off before its end; what came is in run.text", sent=True)
        case aiohttp.ClientConnectionError() | aiohttp.ClientResponseError() | OSError():
            return failures.unreached(str(error) or type(error).__name__, sent=True)
        case UnicodeDecodeError():
            return failures.broken("it is not UTF-8")
        case _:
            return failures.broken(str(error) or type(error).__name__)
