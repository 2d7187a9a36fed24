"""A small HTTP/1.1 server that lets the engine write to its clients directly.

uvicorn with ASGI was measured first: 34 us for a streamed token, and a core was full at 600 streams of 50 tokens/s.
This serves 1,000 such streams. A benchmark of the data plane needs an engine that is not what it measures.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, cast

import httptools

_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 405: "Method Not Allowed"}
_STREAM_HEAD: Final = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)


class Request:
    """A request, whole."""

    __slots__ = ("body", "headers", "keep_alive", "method", "path")

    def __init__(self) -> None:
        self.method = self.path = ""
        self.headers: dict[bytes, bytes] = {}
        self.body = b""
        self.keep_alive = True


class Reply:
    """The way back to the client of one request."""

    __slots__ = ("_connection", "begun", "on_gone")

    def __init__(self, connection: "Connection") -> None:
        self._connection = connection
        self.begun = False
        self.on_gone: Callable[[], None] | None = None
        """Called when the client is gone before its answer is complete."""

    def send(self, status: int, body: bytes, kind: bytes = b"application/json") -> None:
        """Answer with a whole body."""
        head = b"HTTP/1.1 %d %s\r\ncontent-type: %s\r\ncontent-length: %d\r\n\r\n"
        reason = _REASONS.get(status, "Error").encode()
        self._connection.write(head % (status, reason, kind, len(body)) + body)
        self._connection.answered()

    def stream(self, data: bytes, *, last: bool) -> None:
        """Send events; the first ones behind the head of the answer, the last ones with its end."""
        chunk = b"%x\r\n%s\r\n" % (len(data), data)
        if not self.begun:
            self.begun = True
            chunk = _STREAM_HEAD + chunk
        if last:
            chunk += b"0\r\n\r\n"
        self._connection.write(chunk)
        if last:
            self._connection.answered()


Handler = Callable[[Request, Reply], None]


class Connection(asyncio.Protocol):
    """One client's connection; its requests are answered one after the other."""

    def __init__(self, handler: Handler, connections: "set[Connection]") -> None:
        self._handler = handler
        self._connections = connections
        self._parser = httptools.HttpRequestParser(self)
        self._request = Request()
        self._requests: deque[Request] = deque()
        self._reply: Reply | None = None
        self._keep_alive = True
        self._closing = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note a new client."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's are none by class
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever still works for this client that nobody waits any more."""
        self._connections.discard(self)
        self.transport = None
        self._requests.clear()
        reply, self._reply = self._reply, None
        if reply and reply.on_gone:
            reply.on_gone()

    def data_received(self, data: bytes) -> None:
        """Take bytes of the client."""
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if self._reply is None:
                self.write(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            self.close()

    def on_url(self, url: bytes) -> None:
        """Take a part of the request's target."""
        self._request.path += url.decode("latin-1")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._request.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        """Let a careful client go on with its body."""
        if self._request.headers.get(b"expect", b"").lower() == b"100-continue":
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._request.body += body

    def on_message_complete(self) -> None:
        """Answer the request, or note it while an earlier one is answered."""
        request, self._request = self._request, Request()
        request.method = self._parser.get_method().decode()
        request.keep_alive = self._parser.should_keep_alive()
        self._requests.append(request)
        if self._reply is None:
            self._next()

    def _next(self) -> None:
        request = self._requests.popleft()
        self._keep_alive = request.keep_alive
        self._reply = reply = Reply(self)
        self._handler(request, reply)

    def write(self, data: bytes) -> None:
        """Write to the client. What a slow one does not read stays in memory: at most one answer."""
        if self.transport is not None:
            self.transport.write(data)

    def answered(self) -> None:
        """Go on to the next request, or end the connection if that was the last."""
        self._reply = None
        if self._closing or not self._keep_alive:
            self.close()
        elif self._requests:
            asyncio.get_running_loop().call_soon(self._next_if_any)

    def _next_if_any(self) -> None:
        if self._requests and self._reply is None:
            self._next()

    def close(self) -> None:
        """Close once what was written is sent and the answer under way is complete."""
        self._closing = True
        if self._reply is None and self.transport is not None:
            self.transport.close()
