"""Servers that several test modules share: one broker per test process, as the local fleet starts it."""

import contextlib
import socket
import subprocess
import sysconfig
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Broker:
    """A real nats-server with JetStream on disk, which a test may kill and start again."""

    def __init__(self, folder: Path) -> None:
        self.port, self.monitor_port = _free_port(), _free_port()
        self.url = f"nats://127.0.0.1:{self.port}"
        self._config = folder / "nats.conf"
        self._config.write_text(
            f"listen: 127.0.0.1:{self.port}\nhttp: 127.0.0.1:{self.monitor_port}\nmax_payload: 8MB\n"
            f'jetstream {{ store_dir: "{folder}/store", max_file: 2GB }}\n'
        )
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        """Start it and wait until it is healthy."""
        binary = Path(sysconfig.get_path("scripts"), "nats-server")
        self._process = subprocess.Popen([binary, "-c", self._config], stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"http://127.0.0.1:{self.monitor_port}/healthz", timeout=1).close()
                return
            time.sleep(0.02)
        raise AssertionError("nats-server did not become healthy within 10 s")

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker for all tests of this process."""
    server = Broker(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def own_broker(tmp_path: Path) -> Iterator[Broker]:
    """A broker for one test, not started yet."""
    server = Broker(tmp_path)
    yield server
    server.kill()


@pytest.fixture(scope="session")
def free_port():
    """A function that returns a port nobody listens on."""
    return _free_port
