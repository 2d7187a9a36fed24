"""Ports of this machine: whether they are free, and who holds one that is not."""

import errno
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from llmfleet.errors import LocalError, MissingExtraError


@dataclass(frozen=True)
class Port:
    """A port that a program listens on, and where the user set it, for instance `gateway.port`."""

    number: int
    key: str


def is_free(number: int) -> bool:
    """Say whether a program could listen on 127.0.0.1:number."""
    with socket.socket() as probe:
        # Connections that ended a moment ago must not count; a listener still does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", number))
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise LocalError(f"port {number} cannot be used: {error.strerror}") from error
            return False
    with socket.socket() as probe:
        # On macOS the bind succeeds beside somebody who listens on all addresses.
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", number)) != 0


def holder(number: int) -> str:
    """Name the process that holds a port, with its id; "another process" where the system does not tell."""
    try:
        import psutil
    except ImportError as error:
        raise MissingExtraError("the local environment", "local") from error
    unknown = "another process"
    try:
        found = [c for c in psutil.net_connections("tcp") if c.laddr and c.laddr.port == number and c.pid]
        # A listener before a connection that happens to come from that port.
        found.sort(key=lambda connection: connection.status != psutil.CONN_LISTEN)
        return f"{psutil.Process(found[0].pid).name()} (pid {found[0].pid})" if found else unknown
    except psutil.Error:
        return unknown


def check_free(ports: Iterable[Port]) -> None:
    """See that a program could listen on each of these ports.

    Raises:
        LocalError: some are taken; it names the holder of each and the setting that would move it.
    """
    taken = [
        f"port {port.number} is taken by {holder(port.number)}: stop that process, or set {port.key} to a free port"
        for port in ports
        if not is_free(port.number)
    ]
    if taken:
        raise LocalError("\n".join(taken))


def wait_closed(ports: Iterable[Port], seconds: float = 5.0) -> bool:
    """Wait until nobody listens on these ports any more; say whether that came true."""
    until = time.monotonic() + seconds
    for port in ports:
        while not is_free(port.number):
            if time.monotonic() > until:
                return False
            time.sleep(0.05)
    return True
