"""The gateway's HTTP surface: OpenAI's API in front, the queue behind. A plain ASGI application."""

import asyncio
import functools
import itertools
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, Final

import msgspec

from llmfleet.gateway.api_errors import ApiError
from llmfleet.gateway.calls import Call, Calls
from llmfleet.gateway.metrics import Metrics
from llmfleet.gateway.requests import PATHS, parse
from llmfleet.queue.messages import VERSION, End, Order, WorkerState
from llmfleet.queue.nats.gateway import GatewayQueue

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = Iterable[tuple[bytes, bytes]]

DEADLINE_SECONDS: Final = 600.0
"""How long an answer may take, waiting included; as long as OpenAI's own clients wait."""
MAX_BODY_BYTES: Final = 16 << 20

_JSON: Final = (b"content-type", b"application/json")
_EVENTS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)
_encode = msgspec.json.Encoder().encode
_DONE: Final = b"data: [DONE]\n\n"
# Ids are unique without asking the system for randomness at each request.
_PROCESS: Final = secrets.token_hex(10)
_COUNTER: Final = itertools.count(1)


class App:
    """Routes requests; holds the calls and the models that are served."""

    def __init__(self, name: str, queue: GatewayQueue, calls: Calls, metrics: Metrics) -> None:
        """Begin without models: those that are declared in the queue or announced by workers are found when asked for.

        Args:
            name: the gateway's name, to which workers send their frames
            queue: where orders go
            calls: the requests in flight
            metrics: what is counted
        """
        self._name = name
        self._queue = queue
        self._calls = calls
        self._metrics = metrics
        self._max_model_len: dict[str, int] = {}
        self._looked_at = -1.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return
        path, method = scope["path"], scope["method"]
        allowed = "POST" if path in PATHS else "GET"
        if method != allowed and not (method == "HEAD" and allowed == "GET"):
            text = f"{method} is not allowed for {path[:100]}; use {allowed}"
            error = ApiError(405, text, code="method_not_allowed", headers=((b"allow", allowed.encode()),))
            await _respond(send, error.status, (_JSON, *error.headers), error.body)
        elif path in PATHS:
            await self._complete(scope, receive, send)
        else:
            await _respond(send, *await self._page(path))

    async def _page(self, path: str) -> tuple[int, Headers, bytes]:
        """Return status, headers and body of what can be read here."""
        if path == "/health":
            up = self._queue.connected
            return 200 if up else 503, (_JSON,), _encode({"status": "ok" if up else "the queue is away"})
        if path == "/metrics":
            self._metrics.open_requests.set(len(self._calls))
            self._metrics.queue_up.set(self._queue.connected)
            return 200, ((b"content-type", b"text/plain; version=0.0.4; charset=utf-8"),), self._metrics.render()
        if path == "/v1/models":
            await self._refresh_models()
            models = [self._model(name) for name in sorted(self._max_model_len)]
            return 200, (_JSON,), _encode({"object": "list", "data": models})
        if path.startswith("/v1/models/"):
            name = path.removeprefix("/v1/models/")
            try:
                await self._must_serve(name)
            except ApiError as error:
                return error.status, (_JSON,), error.body
            return 200, (_JSON,), _encode(self._model(name))
        missing = ApiError(404, f"there is no {path[:100]} here; the API is under /v1", code="unknown_url")
        return missing.status, (_JSON,), missing.body

    def on_worker(self, worker: WorkerState) -> None:
        """Take note of a worker's model."""
        if worker.max_model_len or worker.model not in self._max_model_len:
            self._max_model_len[worker.model] = worker.max_model_len

    def _model(self, name: str) -> dict[str, Any]:
        entry: dict[str, Any] = {"id": name, "object": "model", "created": 0, "owned_by": "llmfleet"}
        if longest := self._max_model_len[name]:
            entry["max_model_len"] = longest
        return entry

    async def _refresh_models(self) -> None:
        """Look for newly declared models in the queue, at most once a second."""
        now = time.monotonic()
        if now - self._looked_at < 1 or not self._queue.connected:
            return
        self._looked_at = now
        for name in await self._queue.models():
            self._max_model_len.setdefault(name, 0)

    async def _must_serve(self, name: str) -> None:
        if name not in self._max_model_len:
            await self._refresh_models()
        if name not in self._max_model_len:
            served = ", ".join(sorted(self._max_model_len)) or "none yet"
            text = f"The model `{name[:100]}` does not exist. Served here: {served}."
            raise ApiError(404, text, param="model", code="model_not_found")

    async def _complete(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer /v1/chat/completions and /v1/completions."""
        arrived = time.monotonic()
        model = ""
        headers: Headers = ()
        try:
            request_id, headers = _request_id(scope["headers"])
            body = await self._read(scope, receive)
            request = parse(scope["path"], body)
            await self._must_serve(request.model)
            model = request.model
            created = time.time()
            order = Order(
                VERSION,
                request_id,
                1,
                model,
                scope["path"],
                bool(request.stream),
                bool(request.stream_options and request.stream_options.include_usage),
                int(created),
                created + DEADLINE_SECONDS,
                self._name,
                body,
            )
            drop = scope.get("extensions", {}).get("llmfleet.abort") or (lambda: None)
            watchers: list[asyncio.Task[Any]] = []
            call = Call(order, lambda: watchers.append(_watch(receive, call)), drop)
            try:
                await self._calls.submit(call)
                status = await (_stream if request.stream else _whole)(call, send, headers)
            finally:
                self._calls.close(call)
                for watcher in watchers:
                    watcher.cancel()
        except ApiError as error:
            status = error.status
            await _respond(send, status, (_JSON, *headers, *error.headers), error.body)
        else:
            if call.first_at is not None:
                self._metrics.first_token.labels(model).observe(call.first_at - arrived)
            if isinstance(call.result, End):
                self._metrics.used(model, call.result.prompt_tokens, call.result.completion_tokens)
        self._metrics.answered(model, status, time.monotonic() - arrived)

    async def _read(self, scope: Scope, receive: Receive) -> bytes:
        """Read the request's body.

        Raises:
            ApiError: 413 with the limit, 499 when the client is gone.
        """
        limit = min(MAX_BODY_BYTES, self._queue.max_order_bytes)
        headers = dict(scope["headers"])
        announced = headers.get(b"content-length", b"0")
        if b"expect" in headers and announced.isdigit() and int(announced) > limit:
            raise _too_large(int(announced), limit)  # the client asked before it sends
        pieces: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ApiError(499, "the client left before its request was complete", code="client_closed_request")
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            more = message.get("more_body", False)
            if size > limit:
                pieces.clear()
                # Read on for a while: a client that is cut off while it sends never sees why.
                more = more and size < 4 * limit
        if size > limit:
            raise _too_large(size, limit)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


async def _whole(call: Call, send: Send, headers: Headers) -> int:
    """Write an answer that was not asked for as a stream; return the status."""
    while call.result is None:
        await call.wait()
    if isinstance(call.result, ApiError):
        raise call.result
    if isinstance(call.result, End):
        call.writing_since = time.monotonic()
        await _respond(send, 200, (_JSON, *headers), call.result.data)
        return 200
    await _respond(send, call.result.status, (_JSON, *headers), call.result.body)
    return call.result.status


async def _stream(call: Call, send: Send, headers: Headers) -> int:
    """Write an answer as server-sent events, as they come; return the status."""
    started = False
    while True:
        await call.wait()
        result = call.result
        data = call.take()
        if result is not None and not started and not data and not isinstance(result, End):
            # Nothing was sent: the client gets a real status.
            return await _whole(call, send, headers)
        if isinstance(result, End):
            data += result.data + _DONE
        elif result is not None:
            # A stream that just ends is taken for complete by OpenAI's client: an error must be said.
            data += b"data: " + result.body + b"\n\n"
        call.last_write = call.writing_since = time.monotonic()
        if not started:
            started = True
            await send({"type": "http.response.start", "status": 200, "headers": [*_EVENTS, *headers]})
        await send({"type": "http.response.body", "body": data, "more_body": result is None})
        call.writing_since = None
        if result is not None:
            return 200 if isinstance(result, End) else result.status


async def _respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})


def _watch(receive: Receive, call: Call) -> "asyncio.Task[Any]":
    """Notice when the client leaves. Only long requests are watched: a task costs more than a short request."""
    watcher = asyncio.ensure_future(receive())
    watcher.add_done_callback(functools.partial(_left, call))
    return watcher


def _left(call: Call, watcher: "asyncio.Task[Any]") -> None:
    if not watcher.cancelled() and watcher.exception() is None and watcher.result()["type"] == "http.disconnect":
        call.finish(ApiError(499, "the client left", code="client_closed_request"))


def _request_id(headers: Headers) -> tuple[str, Headers]:
    """The request's own id, and the headers that go back: the client's id if it sent one that is fit to be repeated."""
    identity = f"{_PROCESS}{next(_COUNTER):x}"
    for name, value in headers:
        if name == b"x-request-id" and 0 < len(value) <= 128 and value.isascii() and value.decode().isprintable():
            return identity, ((b"x-request-id", value),)
    return identity, ((b"x-request-id", identity.encode()),)


def _too_large(size: int, limit: int) -> ApiError:
    text = f"the request's body has {size} bytes or more; at most {limit} are taken here"
    return ApiError(413, text, code="request_too_large", headers=((b"connection", b"close"),))
