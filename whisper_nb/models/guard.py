"""A guard below litellm: reads what arrives before litellm does, and breaks off what litellm would take for a reply.

litellm leaves out the pieces of a stream that are no JSON, makes � of bytes that are no UTF-8, takes a failure for a "stop",
and reads a body of any size, in part with regular expressions. Imported with litellm, never before: httpx takes its time.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

from .reading import EVENT_LIMIT, FAILURES, REFUSAL_LIMIT, REPLY_LIMIT, TOO_LARGE, Distrusted
from .sse import Events

#: So many bytes may be read in a row before the loop has its turn: what arrives all the time never makes a reader wait.
_BITE = 2**14


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
    """The hook for requests: have nothing compressed, which could not be checked as it comes."""
    request.headers["Accept-Encoding"] = "identity"


async def _guard(response: httpx.Response) -> None:
    """The hook for responses: have the body checked as it is read."""
    assert isinstance(response.stream, httpx.AsyncByteStream)
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if response.status_code >= 300:
        response.stream = _Guarded(response.stream, REFUSAL_LIMIT, _Refusal())
        return
    check: Callable[[bytes], None] | None = None
    if kind == "text/event-stream":
        check = _Stream()
    elif kind == "application/json":
        check = _Whole(asked_to_stream=b'"stream":true' in response.request.content.replace(b" ", b""))
    response.stream = _Guarded(response.stream, REPLY_LIMIT, check)


class _Guarded(httpx.AsyncByteStream):
    """A body that ends, with an error, where it cannot be trusted."""

    def __init__(self, body: httpx.AsyncByteStream, limit: int, check: Any) -> None:
        self._body = body
        self._limit = limit
        self._check = check

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = bite = 0
        async for received in self._body:
            size += len(received)
            bite += len(received)
            if size > self._limit:
                if isinstance(self._check, _Refusal):
                    return  # its status says enough
                raise Distrusted(TOO_LARGE)
            if bite > _BITE:
                bite = 0
                await asyncio.sleep(0)
            if failure := self._failure(received):
                if good := received[: self._check.good]:
                    yield good  # what came before it, in one packet with it, is kept
                raise failure
            yield received
        if failure := self._failure(b""):
            raise failure

    def _failure(self, received: bytes) -> Distrusted | None:
        try:
            if self._check is not None:
                self._check(received)
        except UnicodeDecodeError:
            return Distrusted("it is not UTF-8")
        except Distrusted as error:
            return error
        return None

    async def aclose(self) -> None:
        await self._body.aclose()


class _Refusal:
    """The body of an HTTP error: anything."""

    good = 0

    def __call__(self, received: bytes) -> None:
        pass


class _Stream:
    """Server-sent events of JSON objects, whoever's format they are in."""

    def __init__(self) -> None:
        self._events = Events(EVENT_LIMIT)
        self._reason: Any = None  # Anthropic's
        self._done = False
        self.good = 0
        """How many bytes of what came last are events that were found good."""

    def __call__(self, received: bytes) -> None:
        self.good = 0
        # The end of the body ends the last event, too: litellm reads it line by line.
        for data in () if self._done else self._events.feed(received or b"\n\n"):
            self._done = data.strip() == "[DONE]"
            if self._done:
                break
            said = _object(data)
            _check_reason(said)
            self._check_stop(said)
            self.good = len(received) - self._events.rest

    def _check_stop(self, said: dict[str, Any]) -> None:
        delta = said.get("delta")
        if said.get("type") == "message_delta" and isinstance(delta, dict):
            self._reason = delta.get("stop_reason") or self._reason
        elif said.get("type") == "message_stop" and not self._reason:
            raise Distrusted("it has no stop reason, so that nobody knows whether it is whole")


class _Whole:
    """A reply in one piece, known when it has ended."""

    good = 0

    def __init__(self, asked_to_stream: bool) -> None:
        self._asked_to_stream = asked_to_stream
        self._pieces: list[bytes] = []

    def __call__(self, received: bytes) -> None:
        if received:
            self._pieces.append(received)
            return
        said = _object(b"".join(self._pieces).decode())
        if error := said.get("error"):
            raise Distrusted(str(error.get("message") if isinstance(error, dict) else error))
        if self._asked_to_stream:
            raise Distrusted("it came in one where a stream was asked for: set stream: false")
        choices = said.get("choices")
        if isinstance(choices, list) and not any(_reason(choice) for choice in choices):
            raise Distrusted("it has no finish reason, so that nobody knows whether it is whole")
        if "stop_reason" in said and not said["stop_reason"]:  # Anthropic's word for it
            raise Distrusted("it has no stop reason, so that nobody knows whether it is whole")
        _check_reason(said)


def _object(data: str) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise Distrusted("a piece of it is no JSON") from None
    if not isinstance(said, dict):
        raise Distrusted("a piece of it is not a JSON object")
    return said


def _check_reason(said: dict[str, Any]) -> None:
    choices = said.get("choices")
    for choice in choices if isinstance(choices, list) else ():
        if _reason(choice) in FAILURES and not (said.get("error") or choice.get("error")):
            raise Distrusted(f"the provider broke it off (finish_reason={_reason(choice)})")


def _reason(choice: Any) -> Any:
    return choice.get("finish_reason") if isinstance(choice, dict) else None
