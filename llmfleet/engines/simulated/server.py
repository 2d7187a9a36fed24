"""The simulated engine as a process, and as a server inside a test."""

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

from llmfleet.engines.simulated.app import App
from llmfleet.engines.simulated.engine import Engine, Options
from llmfleet.engines.simulated.http import Connection
from llmfleet.engines.sockets import listen

_GOODBYE = 2.0
"""Seconds that clients get to read the last they were sent."""


class _Server:
    """An engine behind a listening socket."""

    def __init__(self, options: Options, die: Callable[["_Server"], None]) -> None:
        self.engine = Engine(options, die=lambda: die(self))
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, sock: socket.socket) -> None:
        """Take connections."""
        app = App(self.engine)
        factory = lambda: Connection(app, self._connections)  # noqa: E731
        self._server = await asyncio.get_running_loop().create_server(factory, sock=sock, backlog=2048)

    async def stop(self) -> None:
        """End as vLLM does, then close."""
        await self.engine.stop()
        self.close()
        for connection in list(self._connections):
            connection.close()
        for _ in range(int(_GOODBYE / 0.01)):
            if not self._connections:
                return
            await asyncio.sleep(0.01)
        self.cut()

    def close(self) -> None:
        """Take no further connection."""
        if self._server is not None:
            self._server.close()

    def cut(self) -> None:
        """Drop every connection, as when the process is killed."""
        self.close()
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.abort()


async def serve(host: str, port: int, options: Options | None = None) -> None:
    """Serve until SIGTERM or SIGINT; then end as vLLM does.

    Running streams get an error event and [DONE], others 500. With `shutdown_timeout` they may finish first, while
    /health answers 200 and new requests get 500.

    Raises:
        LocalError: the port is taken.
    """
    server = _Server(options or Options(), die=lambda _: os._exit(137))
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    await server.start(listen(host, port))
    await told.wait()
    await server.stop()


@contextlib.asynccontextmanager
async def running(options: Options | None = None, **changes: Any) -> AsyncIterator[str]:
    """Serve in this process, on a free port of 127.0.0.1; give the base URL, e.g. "http://127.0.0.1:41234".

    The fault `die` closes the port and cuts every connection instead of ending the process.

    Args:
        options: what the engine is like
        changes: fields of Options by name, in place of those
    """
    server = _Server(replace(options or Options(), **changes), die=_Server.cut)
    sock = listen("127.0.0.1", 0)
    await server.start(sock)
    try:
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        await server.stop()
