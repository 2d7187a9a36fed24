"""`llmfleet worker`."""

import os
import socket
from pathlib import Path
from typing import Annotated

import typer

from llmfleet.cli.process import QUEUE_HELP, run


def worker(
    model: Annotated[str, typer.Option(help="Name of the model, as clients ask for it.")],
    engine: Annotated[str, typer.Option(help="Kind of engine: vllm, llamacpp, simulated, openai.")],
    engine_url: Annotated[str, typer.Option(help="The engine, http://HOST:PORT.")],
    pool: Annotated[str, typer.Option(help="Name of the pool that this worker belongs to.")],
    slots: Annotated[int, typer.Option(min=1, max=4096, help="Orders served at once; the engine's batch limit.")],
    queue: Annotated[str, typer.Option(envvar="LLMFLEET_QUEUE", help=QUEUE_HELP)] = "nats://127.0.0.1:4222",
    name: Annotated[str, typer.Option(help="Unique name of this worker. Default: made from host and process.")] = "",
    ready_file: Annotated[
        Path | None, typer.Option(help="A file that exists while the worker takes orders, for health checks.")
    ] = None,
    drain_seconds: Annotated[
        float, typer.Option(min=0, help="After SIGTERM, how long running orders may go on before others take them.")
    ] = 10.0,
    stall_seconds: Annotated[
        float, typer.Option(min=1, help="An order without a token for so long goes to another worker.")
    ] = 60.0,
) -> None:
    """Pull orders from the queue and serve them on the engine beside this worker.

    Works beside any engine of the kinds known, also one that you started yourself:

        llmfleet worker --queue nats://10.0.0.1:4222 --model llama --engine vllm \
            --engine-url http://127.0.0.1:8000 --pool mine --slots 64
    """
    from llmfleet.worker.agent import WorkerOptions, work

    if ready_file is not None:
        ready_file.unlink(missing_ok=True)
    options = WorkerOptions(
        queue_url=queue,
        model=model,
        engine_kind=engine,
        engine_url=engine_url,
        pool=pool,
        slots=slots,
        name=name or f"{pool}-{socket.gethostname()}-{os.getpid()}",
        ready_file=ready_file,
        drain_seconds=drain_seconds,
        stall_seconds=stall_seconds,
    )
    run(work(options))
