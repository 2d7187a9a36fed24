"""The gateway as a process: uvicorn in front, the queue behind, and what keeps a hostile client out."""

import asyncio
import logging
import resource
import time
from dataclasses import dataclass
from typing import Final

import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from llmfleet.errors import LocalError
from llmfleet.gateway.api_errors import ApiError
from llmfleet.gateway.app import App
from llmfleet.gateway.calls import Calls
from llmfleet.gateway.metrics import Metrics
from llmfleet.queue.messages import GatewayState
from llmfleet.queue.nats.gateway import GatewayQueue

log = logging.getLogger(__name__)

MAX_HEAD_BYTES: Final = 64 << 10
"""Request line and headers together. The parser itself would take any amount."""
REQUEST_SECONDS: Final = 60.0
"""How long a client may take to send a whole request."""
MAX_CONNECTIONS: Final = 8192
DRAIN_SECONDS: Final = 30
_HEAD_ERROR: Final = ApiError(431, f"the request line and headers exceed {MAX_HEAD_BYTES} bytes", code="head_too_large")
_HEAD_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json\r\nconnection: close\r\n"
    b"content-length: %d\r\n\r\n%s" % (len(_HEAD_ERROR.body), _HEAD_ERROR.body)
)


@dataclass(frozen=True)
class GatewayOptions:
    """What a gateway process is started with."""

    listen_host: str
    listen_port: int
    queue_url: str
    name: str
    models: tuple[str, ...] = ()
    progress_timeout: float = 2.0
    """Seconds without a sign of an order before it goes to another worker."""


class _Joined:
    """A transport that sends what is written within one tick of the event loop as one piece.

    uvicorn writes an answer's head and each piece of its body apart: a system call and a packet each, which was a sixth
    of the gateway's time.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._pieces: list[bytes] = []
        for name in ("abort", "get_extra_info", "is_closing", "pause_reading", "resume_reading"):
            setattr(self, name, getattr(transport, name))

    def write(self, data: bytes) -> None:
        """Send `data` at the end of this tick."""
        if not self._pieces:
            self._loop.call_soon(self._flush)
        self._pieces.append(data)

    def close(self) -> None:
        """Close once everything is sent."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._pieces:
            data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
            self._pieces.clear()
            if not self._transport.is_closing():
                self._transport.write(data)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 with limits on a request's head and time, and a way to cut off a client that takes nothing."""

    _head_bytes = 0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client some time for its first request."""
        super().connection_made(_Joined(transport, self.loop))  # type: ignore[arg-type]
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the client."""
        self._request_came()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Give the application a way to cut this client off."""
        super().on_message_begin()
        self.scope["extensions"] = {"llmfleet.abort": self.transport.abort}  # type: ignore[dict-item]
        if self._timer is None:
            self._expect_request()

    def on_headers_complete(self) -> None:
        """The head is here; the size of the body is the application's to limit."""
        self._head_bytes = -1
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is here; the next head begins."""
        self._request_came()
        self._head_bytes = 0
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head."""
        if self._head_bytes >= 0:
            self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_HEAD_TOO_LARGE)
            self.transport.close()

    def _expect_request(self) -> None:
        self._timer = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _request_came(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


class _Server(uvicorn.Server):
    """uvicorn's server; says when it is ready."""

    def __init__(self, config: uvicorn.Config, options: GatewayOptions) -> None:
        super().__init__(config)
        self._options = options

    async def startup(self, sockets: list | None = None) -> None:  # type: ignore[type-arg]
        try:
            await super().startup(sockets)
        except SystemExit:
            address = f"{self._options.listen_host}:{self._options.listen_port}"
            raise LocalError(f"cannot listen on {address}: is the port taken? Name another one with --listen") from None
        log.info("ready on http://%s:%d/v1", self._options.listen_host, self._options.listen_port)


async def serve(options: GatewayOptions) -> None:
    """Run a gateway until SIGTERM or SIGINT, which let the answers under way end (30 s at most).

    Raises:
        LocalError: the port is taken.
    """
    started = time.monotonic()
    _allow_many_connections()
    metrics = Metrics()
    queue = GatewayQueue(options.name)
    calls = Calls(queue, options.progress_timeout, lambda model: metrics.reissues.labels(model).inc())
    app = App(options.name, queue, calls, metrics)
    listen = f"{options.listen_host}:{options.listen_port}"
    await queue.open(
        options.queue_url,
        on_frames=calls.on_frames,
        on_worker=app.on_worker,
        on_up=calls.came_up,
        state=lambda: GatewayState(options.name, listen, len(calls), time.monotonic() - started),
    )
    for model in options.models:
        await queue.declare(model)
    config = uvicorn.Config(
        app,
        host=options.listen_host,
        port=options.listen_port,
        http=GuardedProtocol,
        ws="none",
        lifespan="off",
        proxy_headers=False,
        access_log=False,
        log_config=None,
        server_header=False,
        limit_concurrency=MAX_CONNECTIONS,
        backlog=4096,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=DRAIN_SECONDS,
    )
    sweeper = asyncio.get_running_loop().create_task(calls.sweep_forever(lambda: queue.connected))
    try:
        await _Server(config, options).serve()
    finally:
        sweeper.cancel()
        await queue.close()


def _allow_many_connections() -> None:
    """Raise the soft limit of open files: the usual 1,024 ends at about as many streams."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
