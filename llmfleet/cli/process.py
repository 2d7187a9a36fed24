"""What the long-running commands share: addresses, logs, the event loop."""

import asyncio
import gc
import logging
import time
from collections.abc import Coroutine
from typing import Any

from llmfleet.errors import ConfigError

QUEUE_HELP = "The queue, nats://HOST:PORT."


def address(value: str, option: str = "--listen") -> tuple[str, int]:
    """Return host and port of "HOST:PORT".

    Raises:
        ConfigError: it is none.
    """
    host, _, port = value.rpartition(":")
    if not host or not port.isdigit() or int(port) > 65535:
        raise ConfigError(f"{option} is {value!r}; it must be HOST:PORT, like 127.0.0.1:8080")
    return host.strip("[]"), int(port)


def run(program: Coroutine[Any, Any, None], *, verbose: bool = False) -> None:
    """Run a long-lived program with logs on stderr, one plain line each, in UTC."""
    formatter = logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%SZ")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO, handlers=[handler])
    # Requests make no cycles worth looking for every 700 objects; the default costs a tenth of the throughput.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    try:
        import uvloop
    except ImportError:
        asyncio.run(program)
    else:
        uvloop.run(program)
