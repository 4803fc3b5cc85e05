"""A guard below litellm: reads what arrives before litellm does, and breaks off what litellm would take for a reply.

litellm leaves out the pieces of a stream that are no JSON, makes � of bytes that are no UTF-8, takes a failure for a "stop",
and reads a body of any size, in part with regular expressions. Imported with litellm, never before: httpx takes its time.
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
from litellm.llms.custom_httpx.http_handler import AsyncHTTPHandler

from .reading import EVENT_LIMIT, REASONS, REFUSAL_LIMIT, REPLY_LIMIT, TOO_LARGE, InvalidReply
from .sse import Events

#: So many bytes may be read in a row before the loop has its turn: what arrives all the time never makes a reader wait.
_BITE = 2**14
#: A form of a stream that is no text.
_FRAMES = "application/vnd.amazon.eventstream"
#: The end of an address from which a stream comes: Gemini's, Bedrock's.
_STREAMED = re.compile(r":stream\w+$|-stream$")
#: Where formats say how a reply ended; and those of them whose streams are not looked at for it elsewhere.
_ENDS = ("finish_reason", "stop_reason", "finishReason", "done")
_ENDS_LAST = ("finishReason", "done")
_GOOD, _EARLY = ("stop", "tool_calls"), ("length", "content_filter")
_CUT = "it has no finish reason, so that nobody knows whether it is whole"
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
    streams = _asks_to_stream(response.request)
    if response.status_code >= 300:
        response.stream = _Guarded(response, REFUSAL_LIMIT, None)
    elif kind == _FRAMES:
        response.stream = _Guarded(response, REPLY_LIMIT, _Frames())
    elif kind == "text/event-stream" or (streams and not _is_json(kind)):
        response.stream = _Guarded(response, REPLY_LIMIT, _Stream())
    else:
        response.stream = _Guarded(response, REPLY_LIMIT, _Whole(streams))


def _asks_to_stream(request: httpx.Request) -> bool:
    """Most say it in the body, some in the address."""
    if _STREAMED.search(request.url.path):
        return True
    if b'"stream"' not in request.content:
        return False
    asked = json.loads(request.content)
    return isinstance(asked, dict) and asked.get("stream") is True


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
                raise InvalidReply(TOO_LARGE)
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
        failure: InvalidReply | None = None
        try:
            good.extend(self._check(received))
        except UnicodeDecodeError:
            failure = InvalidReply("it is not UTF-8")
        except InvalidReply as error:
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
            raise InvalidReply(f"it is not {_FRAMES}")
        self._begun = True
        yield received


class _Stream:
    """JSON objects as events or one a line, whoever's format they are in.

    They are given on in a form that cannot be misread: litellm takes some characters in them for the end of a line.
    """

    def __init__(self) -> None:
        self._events = Events(EVENT_LIMIT, lines=True)
        self._ending = _Ending()
        self._done = False

    def __call__(self, received: bytes) -> Iterator[bytes]:
        # The end of the body ends the last event, too: litellm reads it line by line.
        for data in () if self._done else self._events.feed(received or b"\n\n"):
            self._done = data.strip() == "[DONE]"
            if self._done:
                yield b"data: [DONE]\n\n"
                return
            said = _object(data)
            self._ending.take(said)
            if any(choice.get("message") and "delta" not in choice for choice in _list(said, "choices")):
                raise InvalidReply(_IN_ONE)
            plain = data.replace("\n", " ") if data.isascii() else json.dumps(said)
            yield f"{plain}\n".encode() if self._events.bare else f"data: {plain}\n\n".encode()
        if not received and self._ending.lacks(whole=False):
            raise InvalidReply(_CUT)


class _Whole:
    """A reply in one piece, known when it has ended."""

    def __init__(self, asked_to_stream: bool) -> None:
        self._asked_to_stream = asked_to_stream
        self._pieces: list[bytes] = []

    def __call__(self, received: bytes) -> Iterator[bytes]:
        if received:
            self._pieces.append(received)
            return
        body = b"".join(self._pieces).removeprefix(codecs.BOM_UTF8)
        said = _object(body.decode())
        if error := said.get("error"):
            raise InvalidReply(_words(error))
        if self._asked_to_stream and said.keys() & {"choices", "candidates", "content", "message"}:
            raise InvalidReply(_IN_ONE)
        ending = _Ending()
        ending.take(said)
        if ending.lacks(whole=True):
            raise InvalidReply(_CUT)
        yield body


def _object(data: str) -> dict[str, Any]:
    try:
        said = json.loads(data)
    except (ValueError, RecursionError):
        raise InvalidReply("a piece of it is no JSON") from None
    if not isinstance(said, dict):
        raise InvalidReply("a piece of it is not a JSON object")
    return said


class _Ending:
    """How a reply says that it has ended, in the words of its own format: litellm takes any reason, and none, for a good one."""

    def __init__(self) -> None:
        self._reason = ""
        self._form = ""
        """Whose words they are: the field in which the reason is to come."""

    def take(self, said: dict[str, Any]) -> None:
        """One piece of a stream, or a whole reply.

        Raises:
            InvalidReply: it says that it failed, or ends for a reason for which litellm would take it for whole.
        """
        if said.get("error"):  # which litellm sees, and raises
            return
        if said.get("object") == "error":
            raise InvalidReply(_words(said))
        delta = said["delta"] if isinstance(said.get("delta"), dict) else {}
        for choice in _list(said, "choices"):
            if error := choice.get("error"):
                raise InvalidReply(_words(error))
            self._end("finish_reason", choice.get("finish_reason"))
        for candidate in _list(said, "candidates"):
            self._end("finishReason", candidate.get("finishReason"))
        if said.get("type") in ("message", "message_delta", "message_stop"):
            self._end("stop_reason", said.get("stop_reason") or delta.get("stop_reason"))
            if said["type"] == "message_stop" and not self._reason:
                raise InvalidReply(_CUT)
        if reason := said.get("finish_reason") or delta.get("finish_reason"):  # Cohere's
            self._end("finish_reason", reason, _GOOD)
        if "done" in said:  # Ollama's
            reason = said["done"] and (said.get("done_reason") or "stop")
            self._end("done", reason, _GOOD + _EARLY if "message" in said else _GOOD)

    def lacks(self, *, whole: bool) -> bool:
        """Whether it has said nothing by which it could be known to be whole."""
        return not self._reason and self._form in (_ENDS if whole else _ENDS_LAST)

    def _end(self, name: str, reason: Any, told: Sequence[str] = _GOOD + _EARLY) -> None:
        """Take a reason, of which litellm tells some kinds as what they are, and the others as a stop."""
        self._form = name
        if not reason:
            return
        kind = REASONS.get(str(reason).lower())
        if kind not in _GOOD:  # of what ends early, too, litellm knows names of its own
            kind = map_finish_reason(str(reason))
            if kind not in _EARLY or kind not in told:
                raise InvalidReply(f"it did not end well ({name}={str(reason)[:60]})")
        self._reason = str(reason)


def _words(error: Any) -> str:
    return str(error.get("message") or error) if isinstance(error, dict) else str(error)


def _list(said: dict[str, Any], name: str) -> list[dict[str, Any]]:
    there = said.get(name)
    return [one for one in there if isinstance(one, dict) and not one.get("index")] if isinstance(there, list) else []
