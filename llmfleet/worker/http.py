"""A lean HTTP/1.1 client for the one server beside the worker.

With aiohttp 3.14 a worker spent 201 us of CPU on a request, with this a third of it (docs/benchmarks.md). It knows only
what an engine on the same machine or network needs: POST and GET, content-length and chunked bodies, kept connections,
streams. No redirects, cookies, proxies or compression.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Final
from urllib.parse import urlsplit

import httptools

CONNECT_SECONDS: Final = 5.0
_MOST_UNREAD: Final = 1 << 20


class HttpError(Exception):
    """The server cannot be reached, or broke off."""


class Response(asyncio.Protocol):
    """A connection, and the answer that comes over it."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[None] | None = None
        self._paused = False
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self._chunks: list[bytes] = []
        self._unread = 0
        self._delimited = False
        self._complete = False
        self._keep = False
        self._error: str | None = None

    # What the server sends.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Read on."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"an answer that is not HTTP: {error}")
            self._transport.abort()

    def on_header(self, name: bytes, _value: bytes) -> None:
        """Note whether the answer says where it ends."""
        if name.lower() in {b"content-length", b"transfer-encoding"}:
            self._delimited = True

    def on_headers_complete(self) -> None:
        """The status is known."""
        self.status = self._parser.get_status_code()
        self._wake()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._chunks.append(body)
        self._unread += len(body)
        if self._unread > _MOST_UNREAD and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def on_message_complete(self) -> None:
        """The answer is whole."""
        self._complete = True
        self._keep = bool(self._parser.should_keep_alive())  # asked later, the parser has forgotten
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server closed the connection, or died."""
        if self.status and not self._delimited:
            self._complete = True
        if not self._complete:
            self._fail(str(exc) if exc else "the connection was closed")
        self._wake()

    def _fail(self, why: str) -> None:
        self._error = self._error or why
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What we do.

    @property
    def reusable(self) -> bool:
        """Whether another request may go over this connection."""
        return self._complete and self._keep and not self.closed

    @property
    def closed(self) -> bool:
        """Whether the server has closed it."""
        return bool(self._transport.is_closing())

    async def ask(self, request: bytes) -> None:
        """Send a request and wait for the status.

        Raises:
            HttpError: the server broke off.
        """
        self._reset()
        self._transport.write(request)
        while not self.status:
            await self._wait()

    async def _wait(self) -> None:
        if self._error is not None:
            raise HttpError(self._error)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def read(self) -> bytes:
        """Return the whole body.

        Raises:
            HttpError: the server broke off.
        """
        while not self._complete:
            if self._paused:
                self._resume()
            await self._wait()
        return b"".join(self._chunks)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yield the body as it comes.

        Raises:
            HttpError: the server broke off.
        """
        while True:
            if self._chunks:
                data = b"".join(self._chunks)
                self._chunks.clear()
                self._unread = 0
                if self._paused:
                    self._resume()
                yield data
            elif self._complete:
                return
            else:
                await self._wait()

    def _resume(self) -> None:
        self._paused = False
        self._transport.resume_reading()

    def abort(self) -> None:
        """Close the connection at once: the server stops what it does for us."""
        self._transport.abort()


class Http:
    """Connections to one server."""

    def __init__(self, url: str) -> None:
        """Prepare; nothing is opened yet.

        Args:
            url: http://HOST:PORT or https://HOST:PORT, with or without a path before the API's
        """
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/")
        self._netloc = parts.netloc.encode()
        self._idle: list[Response] = []

    @contextlib.asynccontextmanager
    async def request(self, method: str, path: str, body: bytes = b"") -> AsyncIterator[Response]:
        """Send a request; the answer's status is known inside the context, its body can be read there.

        Leaving the context before the body is whole closes the connection.

        Raises:
            HttpError: the server cannot be reached or broke off.
        """
        head = b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method.encode(), (self._prefix + path).encode(), self._netloc)
        if body:
            head += b"content-type: application/json\r\ncontent-length: %d\r\n" % len(body)
        request = head + b"\r\n" + body
        response = await self._asked(request)
        try:
            yield response
        finally:
            if response.reusable:
                self._idle.append(response)
            else:
                response.abort()

    async def _asked(self, request: bytes) -> Response:
        while self._idle:
            response = self._idle.pop()
            if response.closed:
                continue
            try:
                await self._ask(response, request)
            except HttpError:
                continue  # a kept connection that the server had given up: a fresh one tells
            return response
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, response = await asyncio.get_running_loop().create_connection(
                    Response, self._host, self._port, ssl=self._tls
                )
        except (OSError, TimeoutError) as error:
            raise HttpError(str(error) or f"no connection within {CONNECT_SECONDS:g} s") from error
        await self._ask(response, request)
        return response

    async def _ask(self, response: Response, request: bytes) -> None:
        try:
            await response.ask(request)
        except BaseException:
            response.abort()
            raise

    def close(self) -> None:
        """Close the kept connections."""
        while self._idle:
            self._idle.pop().abort()
