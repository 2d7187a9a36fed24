"""A fleet of real processes for tests: gateway, workers, engines, started by the command line that a user types."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class Process:
    """One process of the fleet, with its log."""

    def __init__(self, log: Path, *arguments: object) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "llmfleet", *map(str, arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env={**os.environ, "PYTHONWARNINGS": "error"},
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    def kill(self) -> None:
        """End it as a power cut would."""
        self._process.kill()
        self._process.wait()

    def stop(self, seconds: float = 20) -> int:
        """End it as Kubernetes does; return the exit code."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"did not stop within {seconds} s:\n{self.log.read_text()}") from None
        return self._process.returncode

    def said(self, text: str) -> bool:
        """Whether the log holds a text."""
        return text in self.log.read_text()


def until(what: Callable[[], Any], seconds: float = 20, why: str = "") -> Any:
    """Wait until `what` returns something true, and return it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := what():
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {why or what}")


class Fleet:
    """Starts processes and ends them all."""

    def __init__(self, folder: Path, queue: str, free_port: Callable[[], int], model: str) -> None:
        self.folder, self.queue, self.free_port, self.model = folder, queue, free_port, model
        self.url = ""
        self.processes: list[Process] = []

    def start(self, name: str, *arguments: object) -> Process:
        process = Process(self.folder / f"{name}.log", *arguments)
        self.processes.append(process)
        return process

    def gateway(self, *options: object, wait: bool = True) -> Process:
        port = self.free_port()
        self.url = f"http://127.0.0.1:{port}"
        listen = f"127.0.0.1:{port}"
        name = f"gateway-{port}"
        process = self.start(name, "gateway", "--listen", listen, "--queue", self.queue, "--name", name, *options)
        if wait:
            until(lambda: answers(f"{self.url}/health"), why=process.log)
        return process

    def engine(self, *options: object, kind: str = "simulated", port: int | None = None) -> tuple[Process, str]:
        port = port or self.free_port()
        listen = f"127.0.0.1:{port}"
        process = self.start(f"engine-{port}", "engine", kind, "--listen", listen, "--model", self.model, *options)
        until(lambda: answers(f"http://{listen}/health"), why=process.log)
        return process, f"http://{listen}"

    def worker(
        self, engine_url: str, *options: object, name: str, slots: int = 32, kind: str = "simulated", wait: bool = True
    ) -> Process:
        arguments = ("--queue", self.queue, "--model", self.model, "--engine", kind, "--engine-url", engine_url)
        more = ("--pool", f"pool-{name}", "--slots", slots, "--name", f"{self.model}-{name}")
        process = self.start(f"worker-{name}", "worker", *arguments, *more, *options)
        if wait:
            until(lambda: process.said("ready: "), why=process.log)
        return process

    def post(self, path: str, body: object, **headers: str) -> tuple[int, Any, dict[str, str]]:
        """POST to the gateway; return status, decoded JSON and headers."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"content-type": "application/json", **headers})
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                return response.status, json.loads(response.read()), dict(response.headers)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read()), dict(error.headers)


def answers(url: str) -> bool:
    """Whether a GET of `url` is answered with 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


@contextlib.contextmanager
def fleet(folder: Path, queue: str, free_port: Callable[[], int], model: str) -> Iterator[Fleet]:
    """A fleet whose processes are gone when the block ends."""
    made = Fleet(folder, queue, free_port, model)
    try:
        yield made
    finally:
        for process in made.processes:
            process.kill()
