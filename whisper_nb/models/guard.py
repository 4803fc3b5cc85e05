"""A guard below litellm: reads what arrives before litellm does, and breaks off what litellm would take for a reply.

litellm leaves out the pieces of a stream that are no JSON, makes � of bytes that are no UTF-8, takes a failure for a "stop",
and reads a body of any size, in part with regular expressions. Imported with litellm, never before: httpx takes its time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import httpx
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

from .reading import EVENT_LIMIT, FAILURES, REFUSAL_LIMIT, REPLY_LIMIT, TOO_LARGE, Distrusted
from .sse import Events

#: So many bytes may be read in a row before the loop has its turn: what arrives all the time never makes a reader wait.
_BITE = 2**14
#: A form of a stream that is no text.
_FRAMES = "application/vnd.amazon.eventstream"
_IN_ONE = "it came in one where a stream was asked for: set stream: false"


class GuardedClient(AsyncHTTPHandler):  # type: ignore[misc]  # it is untyped
    """litellm's client, guarded: what arrives is checked, and no call is sent twice or elsewhere."""

    def __init__(self, timeout_s: float) -> None:
        # After a redirect the key of some providers, in a header of their own, would go to a stranger.
        super().__init__(
            timeout=timeout_s, event_hooks={"request": [_ask_plainly], "response": [_guard]}, follow_redirects=False
        )

    async def single_connection_post_request(self, *args: Any, **options: Any) -> httpx.Response:
        """What litellm does after a call without an answer: the same call again, which may be billed twice. So: nothing."""
        error = sys.exc_info()[1]
        assert error is not None
        raise error


async def _ask_plainly(request: httpx.Request) -> None:
    """The hook for requests: have nothing compressed, which comes late."""
    request.headers["Accept-Encoding"] = "identity"


async def _guard(response: httpx.Response) -> None:
    """The hook for responses: have the body checked as it is read, whatever it is labelled as."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    asked = response.request.content.replace(b" ", b"")
    # Some say it in the address, and not in the body.
    streams = b'"stream":true' in asked or "stream" in response.request.url.path.lower()
    if response.status_code >= 300:
        response.stream = _Guarded(response, REFUSAL_LIMIT, None)
    elif kind == _FRAMES:
        response.stream = _Guarded(response, REPLY_LIMIT, _Frames())
    elif kind == "text/event-stream" or (streams and not _is_json(kind)):
        response.stream = _Guarded(response, REPLY_LIMIT, _Stream())
    else:
        response.stream = _Guarded(response, REPLY_LIMIT, _Whole(streams))


def _is_json(kind: str) -> bool:
    """Whether a content type is that of one JSON, and not of one a line."""
    return kind == "application/json" or (kind.endswith("+json") and "stream" not in kind)


#: Takes what came, nothing at the end; gives what of it is good; raises where it is not.
_Check = Callable[[bytes], Iterator[bytes]]


class _Guarded(httpx.AsyncByteStream):
    """The body of a response as far as it was found good, and then an error."""

    def __init__(self, response: httpx.Response, limit: int, check: _Check | None) -> None:
        assert isinstance(response.stream, httpx.AsyncByteStream)
        # Compressed although it was asked not to be: it is read here, since nobody may read what was not checked.
        encoding = response.headers.pop("content-encoding", "identity")
        self._body = httpx.Response(200, headers={"content-encoding": encoding}, stream=response.stream)
        self._limit = limit
        self._check = check
        """None for a refusal: it may be anything, and its status says enough where there is too much of it."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = bite = 0
        async for received in self._body.aiter_bytes():
            size += len(received)
            bite += len(received)
            if size > self._limit:
                if self._check is None:
                    return
                raise Distrusted(TOO_LARGE)
            if bite > _BITE:
                bite = 0
                await asyncio.sleep(0)
            for good in self._good(received):
                yield good
        for good in self._good(b""):
            yield good

    def _good(self, received: bytes) -> Iterator[bytes]:
        """What of it is good, in one, and then the error."""
        if self._check is None:
            yield received
            return
        good: list[bytes] = []
        failure: Distrusted | None = None
        try:
            good.extend(self._check(received))
        except UnicodeDecodeError:
            failure = Distrusted("it is not UTF-8")
        except Distrusted as error:
            failure = error
        if good:
            yield b"".join(good)
        if failure is not None:
            raise failure

    async def aclose(self) -> None:
        await self._body.aclose()


class _Frames:
    """AWS's frames, each with a checksum, which whoever reads them looks at."""

    def __init__(self) -> None:
        self._begun = False

    def __call__(self, received: bytes) -> Iterator[bytes]:
        # The first bytes are the length of a frame, which is below 16 MB.
        if received and not self._begun and received[0]:
            raise Distrusted(f"it is not {_FRAMES}")
        self._begun = True
        yield received


class _Stream:
    """JSON objects as events or one a line, whoever's format they are in.

    They are given on in a form that cannot be misread: litellm takes some characters in them for the end of a line.
    """

    def __init__(self) -> None:
        self._events = Events(EVENT_LIMIT, lines=True)
        self._reason: Any = None  # Anthropic's
        self._done = False

    def __call__(self, received: bytes) -> Iterator[bytes]:
        # The end of the body ends the last event, too: litellm reads it line by line.
        for data in () if self._done else self._events.feed(received or b"\n\n"):
            self._done = data.strip() == "[DONE]"
            if self._done:
                yield b"data: [DONE]\n\n"
                return
            said = _object(data)
            _check_reason(said)
            self._check_stop(said)
            plain = data.replace("\n", " ") if data.isascii() else json.dumps(said)
            yield f"{plain}\n".encode() if self._events.bare else f"data: {plain}\n\n".encode()

    def _check_stop(self, said: dict[str, Any]) -> None:
        delta = said.get("delta")
        if said.get("type") == "message_delta" and isinstance(delta, dict):
            self._reason = delta.get("stop_reason") or self._reason
        elif said.get("type") == "message_stop" and not self._reason:
            raise Distrusted("it has no stop reason, so that nobody knows whether it is whole")
        if any("message" in choice for choice in _choices(said)):
            raise Distrusted(_IN_ONE)


class _Whole:
    """A reply in one piece, known when it has ended."""

    def __init__(self, asked_to_stream: bool) -> None:
        self._asked_to_stream = asked_to_stream
        self._pieces: list[bytes] = []

    def __call__(self, received: bytes) -> Iterator[bytes]:
        if received:
            self._pieces.append(received)
            return
        body = b"".join(self._pieces)
        said = _object(body.decode())
        if error := said.get("error"):
            raise Distrusted(str(error.get("message") if isinstance(error, dict) else error))
        if self._asked_to_stream and said.keys() & {"choices", "candidates", "content", "message"}:
            raise Distrusted(_IN_ONE)
        choices = said.get("choices")
        if isinstance(choices, list) and not any(choice.get("finish_reason") for choice in _choices(said)):
            raise Distrusted("it has no finish reason, so that nobody knows whether it is whole")
        if "stop_reason" in said and not said["stop_reason"]:  # Anthropic's word for it
            raise Distrusted("it has no stop reason, so that nobody knows whether it is whole")
        _check_reason(said)
        yield body


def _object(data: str) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise Distrusted("a piece of it is no JSON") from None
    if not isinstance(said, dict):
        raise Distrusted("a piece of it is not a JSON object")
    return said


def _check_reason(said: dict[str, Any]) -> None:
    delta = said.get("delta")
    for holder in (said, delta if isinstance(delta, dict) else {}, *_choices(said)):
        for name in ("finish_reason", "stop_reason"):
            reason = holder.get(name)
            if isinstance(reason, str) and reason in FAILURES and not (said.get("error") or holder.get("error")):
                raise Distrusted(f"the provider broke it off ({name}={reason})")


def _choices(said: dict[str, Any]) -> list[dict[str, Any]]:
    choices = said.get("choices")
    return [choice for choice in choices if isinstance(choice, dict)] if isinstance(choices, list) else []
