"""An HTTP client for LiteLLM that checks replies before LiteLLM reads them.

LiteLLM skips pieces of a stream that are not JSON, replaces bytes that are not UTF-8 by �, reports failures
as the reason "stop", and reads a body of any size, partly with regular expressions. Imported along with LiteLLM: httpx
is slow to import.
"""

from __future__ import annotations

import asyncio
import codecs
import json
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

import httpx
from litellm.litellm_core_utils.core_helpers import map_finish_reason
from litellm.llms.custom_httpx.aiohttp_transport import LiteLLMAiohttpTransport
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

from .http.sessions import StaleConnection, attentive, session
from .reading import EVENT_LIMIT, NOT_A_STREAM, NOT_CHAT, REASONS, REFUSAL_LIMIT, REPLY_LIMIT, TOO_LARGE, InvalidReply
from .sse import Events
from .wire_format import ProviderError
from .words import error_in

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
_CUT = "it has no finish reason, so that it may be incomplete"


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
    if response.status_code >= 300:
        response.stream = _Guarded(response, REFUSAL_LIMIT, None)
    elif kind == _FRAMES:
        response.stream = _Guarded(response, REPLY_LIMIT, _Frames())
    elif kind == "text/event-stream" or (streams and not _is_json(kind)):
        chat = response.request.url.path.endswith("/chat/completions")
        response.stream = _Guarded(response, REPLY_LIMIT, _Stream(chat))
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


#: Takes received bytes, none at the end. Yields those that are valid, then raises where they are not.
_Check = Callable[[bytes], Iterator[bytes]]


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
        for good in self._good(b""):
            yield good

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

    Args:
        chat: whether a reply in OpenAI's chat format was asked for.
    """

    def __init__(self, chat: bool) -> None:
        self._chat = chat
        self._events = Events(EVENT_LIMIT, lines=True)
        self._ending = _Ending()
        self._done = False

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
                self._check_delta(choice)
            plain = data.replace("\n", " ") if data.isascii() else json.dumps(message)
            if self._events.bare:
                yield f"{plain}\n".encode()
            else:
                yield f"data: {plain}\n\n".encode()
        if not received and self._ending.lacks(whole=False):
            raise InvalidReply(_CUT)

    def _check_delta(self, choice: dict[str, Any]) -> None:
        """Refuse content in place of a delta, which LiteLLM would skip."""
        if choice.get("delta") is not None:
            return
        if choice.get("message"):
            raise InvalidReply(NOT_A_STREAM)
        if choice.get("text") and self._chat:
            raise InvalidReply(NOT_CHAT)


class _Whole:
    """A whole reply, checked at its end."""

    def __init__(self, asked_to_stream: bool) -> None:
        self._asked_to_stream = asked_to_stream
        self._pieces: list[bytes] = []

    def __call__(self, received: bytes) -> Iterator[bytes]:
        if received:
            self._pieces.append(received)
            return
        body = b"".join(self._pieces).removeprefix(codecs.BOM_UTF8)
        message = _object(body.decode())
        if error := error_in(message):
            raise ProviderError(error)
        if self._asked_to_stream and message.keys() & {"choices", "candidates", "content", "message"}:
            raise InvalidReply(NOT_A_STREAM)
        ending = _Ending()
        ending.take(message)
        if ending.lacks(whole=True):
            raise InvalidReply(_CUT)
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

    def take(self, message: dict[str, Any]) -> None:
        """Take in a piece of a stream, or a whole reply.

        Raises:
            ProviderError: it is an error.
            InvalidReply: it ended early for a reason that LiteLLM would take for a good one.
        """
        if error := error_in(message):
            raise ProviderError(error)
        delta = message["delta"] if isinstance(message.get("delta"), dict) else {}
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

    def lacks(self, *, whole: bool) -> bool:
        """Whether there is no finish reason where the format has one."""
        return not self._reason and self._form in (_ENDS if whole else _ENDS_LAST)

    def _end(self, name: str, reason: Any, passed_on: Sequence[str] = _GOOD + _EARLY) -> None:
        """Take in a reason. LiteLLM passes on some kinds of reasons, and reports the others as `stop`."""
        self._form = name
        if not reason:
            return
        kind = REASONS.get(str(reason).lower())
        if kind not in _GOOD:  # LiteLLM knows more names for replies that ended early
            kind = map_finish_reason(str(reason))
            if kind not in _EARLY or kind not in passed_on:
                raise InvalidReply(f"it did not end well ({name}={str(reason)[:60]})")
        self._reason = str(reason)


def _list(message: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return the objects of a list, but those of other replies to the same prompt."""
    items = message.get(name)
    if not isinstance(items, list):
        return []
    return [item for item in items if isinstance(item, dict) and not item.get("index")]
