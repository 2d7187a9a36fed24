"""`llmfleet gateway`."""

import os
import socket
from typing import Annotated

import typer

from llmfleet.cli.process import QUEUE_HELP, address, run


def gateway(
    listen: Annotated[str, typer.Option(help="Address of the OpenAI-compatible API.")] = "127.0.0.1:8080",
    queue: Annotated[str, typer.Option(envvar="LLMFLEET_QUEUE", help=QUEUE_HELP)] = "nats://127.0.0.1:4222",
    model: Annotated[
        list[str] | None, typer.Option(help="A model whose requests may wait even before any worker serves it.")
    ] = None,
    name: Annotated[str, typer.Option(help="Unique name of this gateway. Default: made from host and process.")] = "",
    progress_timeout: Annotated[
        float,
        typer.Option(min=1.2, help="Seconds without a sign of a request before another worker continues it."),
    ] = 2.0,
) -> None:
    """Take requests of OpenAI clients and put them into the queue.

    Models need not be listed: those that workers announce are found. Stop it with Ctrl-C or SIGTERM: answers under
    way end first.
    """
    from llmfleet.gateway.server import GatewayOptions, serve

    host, port = address(listen)
    name = name or f"gateway-{socket.gethostname()}-{os.getpid()}"
    run(serve(GatewayOptions(host, port, queue, name, tuple(model or ()), progress_timeout)))
