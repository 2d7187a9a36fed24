"""Subjects, streams and consumers: every name that gateways and workers must agree on."""

import functools
import re
from typing import Final

STREAM: Final = "LLMFLEET_ORDERS"
ORDERS: Final = "llmfleet.orders"
PRESENCE: Final = "llmfleet.presence"
PING: Final = "llmfleet.ping"
MODEL_KEY: Final = "llmfleet.dev/model"

LEASE_SECONDS: Final = 10.0
"""A worker that has not renewed for so long has lost its orders to the others."""
RENEW_SECONDS: Final = LEASE_SECONDS / 3
MAX_DELIVERIES: Final = 5
"""After so many lost leases the broker stops handing the message out; the gateway's deadline ends the request."""
ORDER_MAX_AGE_SECONDS: Final = 3600.0
"""Nobody waits longer for an answer; what a killed gateway left behind goes then at the latest."""
QUEUE_MAX_BYTES: Final = 1 << 30
"""Orders that wait, in bytes. Beyond it new requests are refused with 429 rather than old ones lost."""

_UNSAFE = re.compile(r"[^A-Za-z0-9-]")


@functools.lru_cache(maxsize=4096)
def token(name: str) -> str:
    """Return `name` as one subject token and consumer name: anything but letters, digits and `-` as `_hex_`."""
    return _UNSAFE.sub(lambda match: f"_{ord(match[0]):x}_", name)


def orders(model: str) -> str:
    """Subject of a model's work orders."""
    return f"{ORDERS}.{token(model)}"


def replies(gateway: str) -> str:
    """Subject on which a gateway takes reply frames."""
    return f"llmfleet.reply.{token(gateway)}"


def control(worker: str) -> str:
    """Subject on which a worker takes cancellations."""
    return f"llmfleet.control.{token(worker)}"


def unheard(worker: str, gateway: str = "*") -> str:
    """Subject on which the broker tells a worker that its frames reached no gateway of that name."""
    return f"llmfleet.unheard.{token(worker)}.{gateway if gateway == '*' else token(gateway)}"
