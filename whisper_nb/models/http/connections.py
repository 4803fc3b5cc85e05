"""HTTP connections, shared by all models of a pool (aiohttp)."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ...core.threads import in_thread, load, loaded
from .request_body import Body

if TYPE_CHECKING:
    import aiohttp

#: Seconds that an unused connection stays open.
KEPT_S = 30.0


class Connections:
    """Connections to providers: opened as calls need them, reused, and closed after 30 s without use.

    The engine limits how many calls there are at once, and how long each may take.

    Args:
        kept_s: seconds that an unused connection stays open.
    """

    __slots__ = ("_fresh", "_kept_s", "_opening", "_secure", "_session")

    def __init__(self, kept_s: float = KEPT_S) -> None:
        self._kept_s = kept_s
        self._session: aiohttp.ClientSession | None = None
        self._fresh: aiohttp.ClientSession | None = None
        """For requests that need a new connection."""
        self._secure: ssl.SSLContext | None = None
        self._opening: asyncio.Lock | None = None

    async def open(self, *, secure: bool) -> None:
        """Load aiohttp, and for an https address the certificates, in a thread, at the first call that needs them."""
        if self._session is not None and (self._secure or not secure):
            return
        self._opening = self._opening or asyncio.Lock()
        async with self._opening:
            if secure and self._secure is None:
                self._secure = await in_thread(_certificates)
            if self._session is None:
                await loaded("aiohttp")
                from .sessions import session

                self._fresh = session(0)
                self._session = session(self._kept_s)

    async def post(self, url: Any, body: Body, headers: Mapping[str, str], proxy: str | None) -> aiohttp.ClientResponse:
        """Send a request. Return the response once its headers have arrived; the caller closes it.

        Redirects are not followed: the key would be sent to another server. A request on a kept connection that breaks
        without a byte of reply is sent once more, on a new one, as browsers and curl do.

        Raises:
            aiohttp.ClientError, OSError: the connection failed or broke off.
        """
        from .sessions import StaleConnection

        with suppress(StaleConnection):
            return await self._send(self._session, url, body, headers, proxy)
        return await self._send(self._fresh, url, body, headers, proxy)

    async def _send(
        self,
        session: aiohttp.ClientSession | None,
        url: Any,
        body: Body,
        headers: Mapping[str, str],
        proxy: str | None,
    ) -> aiohttp.ClientResponse:
        assert session is not None
        # Without a context of our own: for http, or a proxy before it, aiohttp's own context.
        return await session.post(
            url, data=body, headers=headers, proxy=proxy, allow_redirects=False, ssl=self._secure or True
        )

    async def aclose(self) -> None:
        """Close all connections."""
        sessions = self._session, self._fresh
        self._session = self._fresh = self._opening = None
        for session in filter(None, sessions):
            await session.close()


def _certificates() -> ssl.SSLContext:
    load("certifi")
    import certifi

    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())  # the system may have none: Python on a Mac, for example
    return context
