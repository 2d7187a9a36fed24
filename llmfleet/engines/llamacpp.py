"""llama.cpp's own HTTP server, from the wheel `xllamacpp`, in this process."""

import asyncio
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llmfleet.engines.sockets import listen
from llmfleet.errors import LocalError, MissingExtraError
from llmfleet.models import gguf

_log = logging.getLogger("llamacpp")


@dataclass(frozen=True, slots=True)
class Options:
    """What the server loads, and how."""

    model_path: Path
    model: str
    slots: int = 4
    """Requests that run at once."""
    context: int = 2048
    """Tokens of prompt and answer together, for each slot."""
    threads: int = 1
    ubatch: int = 512
    """Tokens of a prompt computed at once; 1 uses the kernels of decoding, so that a continued answer is the same."""


def check(path: Path) -> None:
    """Check that a file can be loaded.

    Raises:
        LocalError: it is missing or no GGUF.
    """
    try:
        gguf.check(path)
    except LocalError as error:
        raise LocalError(f"--model-path: {error}; `llmfleet weights` downloads a model") from error


def parameters(options: Options, host: str, port: int) -> Any:
    """Return xllamacpp's parameters.

    Raises:
        MissingExtraError: xllamacpp is not installed.
    """
    try:
        import xllamacpp
    except ImportError as error:
        raise MissingExtraError("the engine llamacpp", "local") from error

    found = xllamacpp.CommonParams()
    found.model.path = str(options.model_path)
    found.model_alias = {options.model}
    found.hostnames = [host]
    found.port = port
    found.n_parallel = options.slots
    # llama.cpp divides the context between its slots.
    found.n_ctx = options.context * options.slots
    found.n_ubatch = options.ubatch
    found.cpuparams.n_threads = found.cpuparams_batch.n_threads = options.threads
    found.warmup = False
    found.endpoint_metrics = True
    found.use_jinja = True
    found.ui = False
    # Otherwise a web page in this machine's browser could use the server; our worker is none.
    found.cors_origins = ""
    found.cors_origins_explicit = True
    # A prompt cache beside the slots' own may take 8 GB, for each replica on this machine.
    found.cache_ram_mib = 0
    return found


async def serve(host: str, port: int, options: Options) -> None:
    """Serve until SIGTERM or SIGINT, which end the process with exit code 0. Streams under way are cut without an end.

    Raises:
        LocalError: the file is no GGUF, the port is taken, or llama.cpp refuses to start.
        MissingExtraError: xllamacpp is not installed.
    """
    check(options.model_path)
    found = parameters(options, host, port)
    import xllamacpp

    # llama.cpp reports a taken port only by a line in its log.
    listen(host, port).close()
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    loading = loop.run_in_executor(None, xllamacpp.Server, found)
    stopping = asyncio.create_task(told.wait())
    await asyncio.wait({loading, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not loading.done():
        os._exit(0)  # nothing can interrupt the thread that loads, and an orderly exit would wait for it
    try:
        server = loading.result()
    except RuntimeError as error:
        raise LocalError(f"llama.cpp cannot serve {options.model_path}: {error}") from error
    size = f"{options.slots} slots of {options.context} tokens"
    _log.info("%s with %s on %s", options.model, size, server.listening_address)
    await stopping
    _log.info("stopped")
    logging.shutdown()
    # llama.cpp's own end waits 30 s for every stream that a client still reads, though it gives no more tokens.
    os._exit(0)
