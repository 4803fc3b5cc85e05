"""Sessions of aiohttp that notice what aiohttp's own do not: stale connections and broken chunks.

Imported along with aiohttp, which is slow to import.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.http_exceptions import HttpProcessingError

#: How aiohttp reports that the server closed or reset a connection.
_CLOSED = (aiohttp.ServerDisconnectedError, aiohttp.ClientOSError)


class StaleConnection(aiohttp.ClientConnectionError):
    """A kept connection broke without a byte of a reply: the server had most likely closed it before the request.

    HTTP has no sign by which a client could tell before it sends: https://www.rfc-editor.org/rfc/rfc9112#section-9.3.1.
    """


class _Protocol(ResponseHandler):
    """The receiving end of one connection."""

    _requests = 0
    _answered = False
    """Whether any byte arrived since the last request."""

    def set_response_params(self, **params: Any) -> None:
        """Begin the next request."""
        self._requests += 1
        self._answered = False
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        """Take in what arrived."""
        self._answered = True
        super().data_received(data)

    def set_exception(self, error: Any, *cause: Any) -> None:
        """Report a failure to the reader of the headers, and here also to the reader of the body."""
        if isinstance(error, _CLOSED) and self._requests > 1 and not self._answered:
            error = StaleConnection(str(error))
        body = self._payload
        super().set_exception(error, *cause)
        # aiohttp 3.14.5 lets a reader that already waits for the body wait for ever after a broken chunk.
        if isinstance(error, HttpProcessingError) and body is not None:
            body.set_exception(aiohttp.ClientPayloadError(str(error)))


def attentive(session: aiohttp.ClientSession) -> aiohttp.ClientSession:
    """Have the connections that a session opens raise StaleConnection, and report broken chunks. Return the session."""
    connector = session.connector
    assert connector is not None
    factory: Any = partial(_Protocol, loop=connector._loop)
    connector._factory = factory
    return session


def session(kept_s: float) -> aiohttp.ClientSession:
    """Return a session whose unused connections are kept for so many seconds; 0: each request opens one of its own."""
    kept: dict[str, Any] = {"keepalive_timeout": kept_s}
    if not kept_s:
        kept = {"force_close": True}
    return attentive(
        aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, **kept),
            timeout=aiohttp.ClientTimeout(total=None),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
    )
