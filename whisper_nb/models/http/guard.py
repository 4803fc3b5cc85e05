"""An HTTP client for LiteLLM that checks replies before LiteLLM reads them.

LiteLLM skips pieces of a stream that are not JSON, replaces bytes that are not UTF-8 by �, reports failures
as the reason "stop", and reads a body of any size, partly with regular expressions. Imported along with LiteLLM: httpx
is slow to import.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

import aiohttp
import httpx
from litellm.litellm_core_utils.core_helpers import map_finish_reason
from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

from ..reading import (
    ANOTHER,
    EVENT_LIMIT,
    NOT_A_STREAM,
    REFUSAL_LIMIT,
    REPLY_LIMIT,
    TOO_LARGE,
    InvalidReply,
    reason_of,
)
from ..wire_format import ProviderError, WireReader
from ..words import error_in
from .plain_form import plain_chunk, plain_reply
from .sessions import StaleConnection, attentive, session
from .sse import BOM, Events

#: The bytes after which the event loop gets a turn. A stream that arrives without pause never makes its reader wait.
_BITE = 2**14
#: The content type of binary streams, of AWS.
_FRAMES = "application/vnd.amazon.eventstream"
#: The endings of streaming addresses, of Gemini and Bedrock.
_STREAMED = re.compile(r":stream\w+$|-stream$")
#: The fields with the finish reason in the known formats; and those whose streams are checked only here.
_ENDS = ("finish_reason", "stop_reason", "finishReason", "done")
_ENDS_LAST = ("finishReason", "done")
_GOOD, _EARLY = ("stop", "tool_calls"), ("length", "content_filter")
#: Anthropic's reason of a reply that is to be continued. LiteLLM takes it for one that is too long.
_GOES_ON = ("pause_turn",)
_CUT = "it has no finish reason, so that it may be incomplete"
#: The HTTP statuses of the replies to the current call.
statuses: ContextVar[list[int]] = ContextVar("statuses")


class GuardedClient(AsyncHTTPHandler):  # type: ignore[misc]  # it is untyped
    """LiteLLM's client, with checks. No call is redirected, or sent twice but over a stale connection."""

    def __init__(self, timeout_s: float) -> None:
        # A redirect would send the keys of some providers, in headers of their own, to another server.
        super().__init__(
            timeout=timeout_s, event_hooks={"request": [_ask_plainly], "response": [_guard]}, follow_redirects=False
        )

    def create_client(self, *args: Any, **options: Any) -> httpx.AsyncClient:
        """Return a client: LiteLLM's, over connections that are noticed to be stale."""
        client: httpx.AsyncClient = super().create_client(*args, **options)
        if isinstance(client._transport, LiteLLMAiohttpTransport):  # a setting of LiteLLM can replace it
            client._transport = _Transport(client._transport)
        return client

    async def single_connection_post_request(self, *args: Any, **options: Any) -> httpx.Response:
        """Raise the error again. LiteLLM would repeat the call here, which may be billed twice."""
        error = sys.exc_info()[1]
        assert error is not None
        raise error


class _Transport(httpx.AsyncBaseTransport):
    """LiteLLM's transport over aiohttp. A request on a stale connection is sent once more, on a new one."""

    def __init__(self, usual: LiteLLMAiohttpTransport) -> None:
        made = usual._client_factory
        usual.client = usual._client_factory = lambda: attentive(made())
        self._usual = usual
        self._fresh = LiteLLMAiohttpTransport(client=lambda: session(0), ssl_verify=usual._ssl_verify)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            response: httpx.Response = await self._usual.handle_async_request(request)
        except httpx.TransportError as error:
            if not isinstance(error.__cause__, StaleConnection):
                raise
            response = await self._fresh.handle_async_request(request)
        return response

    async def aclose(self) -> None:
        await self._usual.aclose()
        await self._fresh.aclose()


async def _ask_plainly(request: httpx.Request) -> None:
    """Ask for uncompressed replies: a compressed stream arrives late. A hook for requests."""
    request.headers["Accept-Encoding"] = "identity"


async def _guard(response: httpx.Response) -> None:
    """Have the body checked as it is read, whatever its content type. A hook for responses."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    streams = _asks_to_stream(response.request)
    if (seen := statuses.get(None)) is not None:
        seen.append(response.status_code)
    if response.status_code >= 300:
        response.stream = _Guarded(response, REFUSAL_LIMIT, None)
    elif response.request.url.path.endswith("/chat/completions"):
        response.headers["content-type"] = "text/event-stream" if streams else "application/json"
        response.stream = _Guarded(response, REPLY_LIMIT, _Chat(streams))
    elif kind == _FRAMES:
        response.stream = _Guarded(response, REPLY_LIMIT, _Frames())
    elif kind == "text/event-stream" or (streams and not _is_json(kind)):
        response.stream = _Guarded(response, REPLY_LIMIT, _Stream())
    else:
        response.stream = _Guarded(response, REPLY_LIMIT, _Whole(streams))


def _asks_to_stream(request: httpx.Request) -> bool:
    """Whether a request asks for a stream: in its body or in its address."""
    if _STREAMED.search(request.url.path):
        return True
    if b'"stream"' not in request.content:
        return False
    asked = json.loads(request.content)
    return isinstance(asked, dict) and asked.get("stream") is True


def _is_json(kind: str) -> bool:
    """Whether a content type is that of one JSON document, not of JSON lines."""
    return kind == "application/json" or (kind.endswith("+json") and "stream" not in kind)


class _Check(Protocol):
    """The check of one reply."""

    @property
    def ended(self) -> bool:
        """Whether the reply is complete, however its connection ends."""

    def __call__(self, received: bytes) -> Iterator[bytes]:
        """Take received bytes, none at the end. Yield those that are valid, then raise where they are not."""


class _Guarded(httpx.AsyncByteStream):
    """The valid part of a response's body, and then an error."""

    def __init__(self, response: httpx.Response, limit: int, check: _Check | None) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        # A server may compress the body all the same. It is decompressed here, before the checks.
        encoding = response.headers.pop("content-encoding", "identity")
        self._body = httpx.Response(200, headers={"content-encoding": encoding}, stream=response.stream)
        self._limit = limit
        self._check = check
        """None for an HTTP error: its body may be anything. If it is too large, it is cut off."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = bite = 0
        rest: bytes | None = None
        try:
            async for received in self._body.aiter_bytes():
                size += len(received)
                bite += len(received)
                if size > self._limit:
                    if self._check is None:
                        return
                    raise InvalidReply(TOO_LARGE)
                if bite > _BITE:
                    bite = 0
                    await asyncio.sleep(0)
                for good in self._good(received):
                    yield good
        except httpx.DecodingError as error:
            raise InvalidReply(f"its compression is damaged: {error}") from None
        except (httpx.HTTPError, aiohttp.ClientError, OSError):
            rest = self._rest()
            if rest is None:
                raise
        if rest is not None:
            yield rest
            return
        for good in self._good(b""):
            yield good

    def _rest(self) -> bytes | None:
        """Return what is left of a reply that is complete, although its connection broke off; else None."""
        if self._check is None:
            return None
        try:
            rest = b"".join(self._check(b""))
        except (ValueError, ProviderError):
            return None
        return rest if self._check.ended else None

    def _good(self, received: bytes) -> Iterator[bytes]:
        """Yield the valid bytes at once, then raise the error."""
        if self._check is None:
            yield received
            return
        good: list[bytes] = []
        failure: Exception | None = None
        try:
            good.extend(self._check(received))
        except UnicodeDecodeError:
            failure = InvalidReply("it is not UTF-8")
        except (InvalidReply, ProviderError) as error:
            failure = error
        if good:
            yield b"".join(good)
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        await self._body.aclose()


class _Frames:
    """AWS's frames. Each has a checksum, which their reader checks."""

    ended = False  # the last frame has the count

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, received: bytes) -> Iterator[bytes]:
        # A frame begins with its length, which is below 16 MB.
        if received and not self._begun and received[0]:
            raise InvalidReply(f"it is not {_FRAMES}")
        self._begun = True
        yield received


class _Stream:
    """JSON objects in any provider's format, as events or as lines.

    They are passed on in a form that cannot be misread: LiteLLM takes some characters within them for the end of a
    line.
    """

    def __init__(self) -> None:
        self._events = Events(EVENT_LIMIT, lines=True)
        self._ending = _Ending()
        self._done = False

    @property
    def ended(self) -> bool:
        return self._ending.reached

    def __call__(self, received: bytes) -> Iterator[bytes]:
        # The end of the body completes the last event, too: LiteLLM reads line by line.
        for data in () if self._done else self._events.feed(received or b"\n\n"):
            self._done = data.strip() == "[DONE]"
            if self._done:
                yield b"data: [DONE]\n\n"
                return
            message = _object(data)
            self._ending.take(message)
            for choice in _list(message, "choices"):
                if choice.get("message") and choice.get("delta") is None:
                    raise InvalidReply(NOT_A_STREAM)
            plain = data.replace("\n", " ") if data.isascii() else json.dumps(message)
            if self._events.bare:
                yield f"{plain}\n".encode()
            else:
                yield f"data: {plain}\n\n".encode()
        if not received and self._ending.lacks(whole=False):
            raise InvalidReply(_CUT)


class _Chat:
    """A reply in OpenAI's chat format, passed on in plain form. Its first bytes tell whether it is a stream.

    Args:
        streams: whether a stream was asked for. A whole reply is passed on as one.
    """

    def __init__(self, streams: bool) -> None:
        self._streams = streams
        self._reader = WireReader()
        self._events = Events(EVENT_LIMIT)
        self._pieces: list[bytes] = []
        self._whole: bool | None = None
        self.ended = False

    def __call__(self, received: bytes) -> Iterator[bytes]:
        if self._whole is None:
            if received.isspace():
                return
            self._whole = received.removeprefix(BOM).lstrip()[:1] in (b"{", b"[")
        if not self._whole:
            yield from self._read_events(received)
        elif received:
            self._pieces.append(received)
        else:
            yield self._read_whole(b"".join(self._pieces).removeprefix(BOM).decode())

    def _read_events(self, received: bytes) -> Iterator[bytes]:
        if not self._streams:
            raise InvalidReply("it is not JSON")
        try:
            # The end of the body completes the last event, too.
            for data in () if self.ended else self._events.feed(received or b"\n\n"):
                self.ended = data.strip() == "[DONE]"
                if self.ended:
                    yield b"data: [DONE]\n\n"
                    return
                self._reader.add(data, [])
                self._check_reason()
                yield f"data: {plain_chunk(data)}\n\n".encode()
        except ValueError:
            if received or not self._reader.ended:  # half an event at the end of a complete reply is no loss
                raise
        if not received:
            self.ended = self._reader.ended

    def _read_whole(self, body: str) -> bytes:
        body = body.rstrip().removesuffix("data: [DONE]")
        self._reader.add(body, [], whole=True)
        self._check_reason()
        if not self._reader.ended:
            raise InvalidReply(_CUT)
        self.ended = True
        plain = plain_reply(body, streams=self._streams)
        if self._streams:
            return f"data: {plain}\n\ndata: [DONE]\n\n".encode()
        return plain.encode()

    def _check_reason(self) -> None:
        """Refuse a reason that LiteLLM would take for a good one."""
        reason = self._reader.reason
        if reason and reason not in _GOOD + _EARLY:
            raise InvalidReply(f"it did not end well (finish_reason={reason[:60]})")


class _Whole:
    """A whole reply, checked at its end."""

    def __init__(self, asked_to_stream: bool) -> None:
        self._asked_to_stream = asked_to_stream
        self._pieces: list[bytes] = []
        self.ended = False

    def __call__(self, received: bytes) -> Iterator[bytes]:
        if received:
            self._pieces.append(received)
            return
        body = b"".join(self._pieces).removeprefix(BOM)
        message = _object(body.decode())
        if error := error_in(message):
            raise ProviderError(error)
        if self._asked_to_stream and message.keys() & {"choices", "candidates", "content", "message"}:
            raise InvalidReply(NOT_A_STREAM)
        ending = _Ending()
        ending.take(message)
        if ending.lacks(whole=True):
            raise InvalidReply(_CUT)
        self.ended = ending.reached
        yield body


def _object(data: str) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidReply("a piece of it is not JSON") from None
    if not isinstance(message, dict):
        if error := error_in(message):
            raise ProviderError(error)
        raise InvalidReply("a piece of it is not a JSON object")
    return message


class _Ending:
    """The finish reason of a reply, in any format. LiteLLM takes an unknown reason, or none, for a good one."""

    def __init__(self) -> None:
        self._reason = ""
        self._form = ""
        """The field of the format in which the reason is expected."""
        self._id: object = None  # of Anthropic's message
        self._begun = False  # whether it has content

    @property
    def reached(self) -> bool:
        """Whether there was a finish reason."""
        return bool(self._reason)

    def take(self, message: dict[str, Any]) -> None:
        """Take in a piece of a stream, or a whole reply.

        Raises:
            ProviderError: it is an error.
            InvalidReply: it ended early for a reason that LiteLLM would take for a good one.
        """
        if error := error_in(message):
            raise ProviderError(error)
        if message.get("type") == "message_start":
            self._start(message.get("message"))
        self._begun = self._begun or message.get("type") == "content_block_delta"
        delta = message["delta"] if isinstance(message.get("delta"), dict) else {}
        if not isinstance(delta.get("text", ""), str):
            raise InvalidReply("a piece of text in it is not text")
        for choice in _list(message, "choices"):
            if error := choice.get("error"):
                raise ProviderError(error)
            self._end("finish_reason", choice.get("finish_reason"))
        for candidate in _list(message, "candidates"):
            self._end("finishReason", candidate.get("finishReason"))
        if message.get("type") in ("message", "message_delta", "message_stop"):
            self._end("stop_reason", message.get("stop_reason") or delta.get("stop_reason"))
            if message["type"] == "message_stop" and not self._reason:
                raise InvalidReply(_CUT)
        if reason := message.get("finish_reason") or delta.get("finish_reason"):  # Cohere's
            self._end("finish_reason", reason, _GOOD)
        if "done" in message:  # Ollama's
            reason = message["done"] and (message.get("done_reason") or "stop")
            self._end("done", reason, _GOOD + _EARLY if "message" in message else _GOOD)

    def _start(self, message: Any) -> None:
        """Take in the start of one of Anthropic's messages.

        Raises:
            InvalidReply: another one has begun: LiteLLM would join them.
        """
        id_ = message.get("id") if isinstance(message, dict) else None
        if self._id is not None and (self._begun or (id_ or "") != self._id):
            raise InvalidReply(ANOTHER)
        self._id = id_ or ""

    def lacks(self, *, whole: bool) -> bool:
        """Whether there is no finish reason where the format has one."""
        return not self._reason and self._form in (_ENDS if whole else _ENDS_LAST)

    def _end(self, name: str, reason: Any, passed_on: Sequence[str] = _GOOD + _EARLY) -> None:
        """Take in a reason. LiteLLM passes on some kinds of reasons, and reports the others as `stop`."""
        self._form = name
        kind = reason_of(reason)
        if not kind:
            return
        if kind not in _GOOD:  # LiteLLM knows more names for replies that ended early
            kind = map_finish_reason(str(reason))
            if str(reason) in _GOES_ON or kind not in _EARLY or kind not in passed_on:
                raise InvalidReply(f"it did not end well ({name}={str(reason)[:60]})")
        self._reason = str(reason)


def _list(message: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of a list, but those of other replies to the same prompt."""
    items = message.get(name)
    if not isinstance(items, list):
        return []
    return [item for item in items if isinstance(item, dict) and not item.get("index")]
