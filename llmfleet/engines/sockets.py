"""Listening sockets of our own servers."""

import errno
import socket

from llmfleet.errors import LocalError


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; port 0 takes a free one.

    Raises:
        LocalError: the address cannot be used.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as error:
        sock.close()
        reason = "another process listens there" if error.errno == errno.EADDRINUSE else error.strerror
        raise LocalError(f"cannot listen on {host}:{port}: {reason}; choose another --listen") from error
    return sock
