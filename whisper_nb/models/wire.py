"""OpenAI's wire format, which most providers speak, over aiohttp: a small part of what LiteLLM costs.

The format: https://platform.openai.com/docs/api-reference/chat-streaming. Nothing is believed that was not said: a reply
without a reason for its end was cut off, whatever the connection looks like.
"""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import TYPE_CHECKING, Any

from ..config.aiconfig import AIConfig, missing_key
from ..config.keys import Key, Keys
from ..config.providers import PROVIDERS
from ..core.errors import ConfigError, ModelError
from ..core.messages import Delta, Message, ReasoningDelta, TextDelta, ToolSchema, replace
from ..core.threads import in_thread
from .connections import Connections
from .failures import Failures, no_key, retry_after
from .model import Request
from .openai_format import encode
from .parameters import parameters, tools_of
from .prices import Listed, entry, listed_cost, told_cost
from .reading import EVENT_LIMIT, REFUSAL_LIMIT, REPLY_LIMIT, TOO_LARGE, Distrusted, Reading, text_of
from .sse import Events
from .tokens import count_tokens
from .transcript import Transcript

if TYPE_CHECKING:
    import aiohttp

#: How long a refusal's body may take; its status says enough.
_REFUSAL_S = 1.0
#: How long the end of a body may take after `[DONE]`, so that its connection can be used again.
_END_S = 0.1
#: OpenAI's own name for the most tokens of a reply, by now.
_NEW_OPENAI = re.compile(r"o\d|gpt-5")
#: Where a provider has another word for a parameter.
_RENAMED = {"mistral": {"seed": "random_seed"}}
#: Says its usage unasked, and refuses to be asked.
_UNASKED = ("mistral",)


class OpenAIWireModel:
    """One model of a provider that speaks OpenAI's format, for any number of sessions at once.

    Args:
        place: where the model is: `model`, `api_base` and `api_key` are read, nothing else.
        keys: where the key is looked up, at each call, so that it may be set later; it is kept nowhere.
        connections: shared with other models, and closed by whoever made them.
    """

    __slots__ = ("_connections", "_keys", "_listed", "_place", "_proxy", "_url")

    def __init__(self, place: AIConfig, keys: Keys, connections: Connections) -> None:
        self._place = place
        self._keys = keys
        self._connections = connections
        self._url: Any = None
        self._proxy: str | None = None
        self._listed: Listed | None = None

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
        await self._connections.open()
        from yarl import URL

        try:
            url = URL(address)
            _ = url.host  # is decoded only now
        except ValueError as error:  # UnicodeError is one
            raise ConfigError(f"{self._place.model}: api_base {address!r} is no address: {error}") from None
        self._listed, self._proxy = await in_thread(lambda: (entry(self._place.model or ""), _proxy(url)))
        self._url = url

    async def stream(self, request: Request) -> AsyncGenerator[Delta, None]:
        """The reply, delta by delta, and a Finish if and only if the provider gave a finish reason.

        Closing the generator, or cancelling the task that reads it, closes the connection. Nothing is retried.

        Raises:
            ConfigError: no key, no address, or a parameter that the provider has no word for. Nothing was sent.
            ModelError: whatever else went wrong. It holds neither the key nor an exception that does.
        """
        await self.prepare()
        key, body, headers = self._key(), *_message(request, self._place)
        failures, known = Failures(self._place, self._keys, key), PROVIDERS.get(self._place.provider)
        reading = WireReading(known.reasoning if known else "")
        response: aiohttp.ClientResponse | None = None
        failure: ModelError | None = None
        try:
            response = await self._connections.post(self._url, body, headers | _authorization(key), self._proxy)
            if response.status >= 300:
                failure = await _refusal(response, failures)
            elif response.content_type == "application/json":
                for delta in reading.read((await _body(response, REPLY_LIMIT)).decode(), whole=True):
                    yield delta
            elif response.status != 200 or response.content_type not in _STREAMS:
                failure = failures.broken(f"it is {response.content_type} ({response.status}), not a stream of events")
            else:
                async with aclosing(_streamed(response, reading)) as pieces:
                    async for deltas in pieces:
                        for delta in deltas:
                            yield delta
        except asyncio.CancelledError as error:
            # The frames that it came through hold the key, and a timeout keeps it as its cause.
            error.__traceback__ = error.__context__ = None
            raise
        except Exception as error:
            failure = _failure(error, failures)
        finally:
            if response is not None:
                response.close()  # nothing where it was read to its end
        if failure is not None:
            raise failure  # not above, where the error that holds the key would become its context
        if finish := reading.finish():
            yield replace(finish, cost_usd=self._cost(reading.spent))

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

    def _cost(self, spent: Mapping[str, Any]) -> float | None:
        told = told_cost(spent)
        return listed_cost(spent, self._listed or {}) if told is None else told


#: As `json.loads` of what has no space around it, at two thirds of the cost.
_decode = json.JSONDecoder().raw_decode


class WireReading(Reading):
    """One reply, from its chunks."""

    __slots__ = ()

    def read(self, data: str, *, whole: bool = False) -> list[Delta]:
        """What one chunk adds, or what a reply says that came in one. Many chunks say nothing.

        Raises:
            Distrusted: it is no chunk.
            Told: it is an error.
        """
        try:
            chunk, end = _decode(data := data.strip())
            if end != len(data):
                raise Distrusted("there is something behind a piece of it")
            return [delta for choice in self._choices(chunk) for delta in self._read(choice, whole)]
        except (AttributeError, TypeError, KeyError):
            raise Distrusted(f"{'it' if whole else 'a piece of it'} is not in OpenAI's format") from None
        except (json.JSONDecodeError, RecursionError):
            raise Distrusted(f"{'it' if whole else 'a piece of it'} is no JSON") from None

    def _choices(self, chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if error := chunk.get("error") or (chunk.get("object") == "error" and chunk):
            raise Told(error)
        self._count(chunk.get("usage") or (chunk.get("x_groq") or {}).get("usage"))
        if tier := chunk.get("service_tier"):
            self.spent["service_tier"] = tier
        return (choice for choice in chunk.get("choices") or () if not choice.get("index"))

    def _read(self, choice: dict[str, Any], whole: bool) -> Iterator[Delta]:
        self._count(choice.get("usage"))
        if error := choice.get("error"):
            raise Told(error)
        self._end(choice.get("finish_reason"))
        delta = choice["message"] if whole else choice.get("delta") or {}
        if thought := delta.get("reasoning_content") or delta.get("reasoning"):
            yield ReasoningDelta(str(thought))
        if self._field and (piece := delta.get(self._field)):
            self._keep(piece)
        if content := delta.get("content"):
            yield TextDelta(text_of(content))
        if refusal := delta.get("refusal"):
            yield TextDelta(str(refusal))
        for call in delta.get("tool_calls") or ():
            function = call.get("function") or {}
            yield self._call(
                call.get("index"), call.get("id") or "", function.get("name") or "", function.get("arguments")
            )


class Told(Exception):
    """The provider said that it failed, in the middle of a reply."""

    def __init__(self, error: Any) -> None:
        said = error if isinstance(error, dict) else {"message": str(error)}
        self.text, self.code = str(said.get("message") or said), said.get("code") or said.get("type") or "error"


#: What a stream of events is labelled as; some servers have no word for it.
_STREAMS = ("text/event-stream", "text/plain", "application/octet-stream")


def _message(request: Request, place: AIConfig) -> tuple[bytes, dict[str, str]]:
    """The body and the headers of a call, without the key."""
    config, provider = request.config, place.provider
    extra = dict(config.extra or {})
    headers = {"Content-Type": "application/json", "Accept-Encoding": "identity", **_mapping(extra, "extra_headers")}
    name = (place.model or "").partition("/")[2]
    given = parameters(config)
    renamed = _RENAMED.get(provider, {})
    if provider == "openai" and (place.api_base is None or _NEW_OPENAI.match(name)):
        renamed = {"max_tokens": "max_completion_tokens"}
    body: dict[str, Any] = {"model": name}
    if request.tools:
        body["tools"] = tools_of(request.tools)
    if config.stream is not False:
        body["stream"] = True
        if provider not in _UNASKED:
            body["stream_options"] = {"include_usage": True}
    if provider == "openrouter":
        body["usage"] = {"include": True}  # the cost, too
    body |= {renamed.get(name, name): value for name, value in given.items()}
    body |= {**_mapping(extra, "extra_body"), **extra}
    return _encoded(body, request.messages), {str(name): str(value) for name, value in headers.items()}


def _encoded(body: Mapping[str, Any], messages: Sequence[Message]) -> bytes:
    """Return the JSON of a body with the messages, which may be encoded already."""
    rest = json.dumps(body).encode()
    if "messages" in body:  # set under `extra`
        return rest
    pieces = messages.pieces if isinstance(messages, Transcript) else map(encode, messages)
    return b"".join((rest[:-1], b', "messages": [', b",".join(pieces), b"]}"))


def _mapping(extra: dict[str, Any], name: str) -> Mapping[str, Any]:
    said = extra.pop(name, {})
    if not isinstance(said, Mapping):
        raise ConfigError(f"extra: {name} {said!r} is not a mapping. Nothing was sent.")
    return said


def _authorization(key: Key) -> dict[str, str]:
    return {"Authorization": f"Bearer {key.reveal()}"} if key.reveal() else {}


def _proxy(url: Any) -> str | None:
    """The proxy that the environment names for an address."""
    if not url.host or urllib.request.proxy_bypass(url.host):
        return None
    return urllib.request.getproxies().get(url.scheme)


async def _streamed(response: aiohttp.ClientResponse, reading: WireReading) -> AsyncGenerator[list[Delta], None]:
    """The deltas of a stream: what arrived together comes together, text as one."""
    events, size = Events(EVENT_LIMIT), 0
    async for received in response.content.iter_any():
        size += len(received)
        if size > REPLY_LIMIT:
            raise Distrusted(TOO_LARGE)
        deltas: list[Delta] = []
        done, failure = False, None
        try:
            for data in events.feed(received):
                if done := data.strip() == "[DONE]":
                    break
                deltas += reading.read(data)
        except (ValueError, Told) as error:  # what came before it is kept
            failure = error
        yield _together(deltas)
        if failure is not None:
            raise failure
        if done:
            with suppress(TimeoutError):
                async with asyncio.timeout(_END_S):
                    await response.content.readany()
            return


def _together(deltas: list[Delta]) -> list[Delta]:
    """The deltas, all text as one where there is nothing else: each that is published costs."""
    if len(deltas) < 2 or not all(type(delta) is TextDelta for delta in deltas):
        return deltas
    return [TextDelta("".join(delta.text for delta in deltas if isinstance(delta, TextDelta)))]


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
        case Told():
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
