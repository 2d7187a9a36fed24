"""Supervisor: one daemon per stack that keeps its programs running.

It is commanded over a Unix socket, not a port: no other user of the machine can reach it.
"""

import contextlib
import fcntl
import http.client
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Iterator
from typing import Any, cast

from llmfleet.errors import LocalError, MissingExtraError
from llmfleet.local.home import Home

SECONDS_TO_ANSWER = 10.0

# Paths are relative to the folder in which Supervisor runs: a "#" or "%" in the checkout's path would end or break a
# value.
_HEAD = """\
[unix_http_server]
file = {socket}
chmod = 0700

[supervisord]
directory = %(here)s
pidfile = supervisor.pid
logfile = logs/supervisor.log
logfile_maxbytes = 5MB
logfile_backups = 1
nocleanup = true

[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
"""


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=SECONDS_TO_ANSWER)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> _Connection:
        # Kept for close(); one request after another goes over it.
        if self._connection[1] is None:
            self._connection = host, _Connection(self._path)
        return cast("_Connection", self._connection[1])


@contextlib.contextmanager
def connected(home: Home) -> Iterator[Any]:
    """Yield Supervisor's `supervisor` interface, see its documentation of the XML-RPC API.

    Raises:
        OSError, http.client.HTTPException: it is not there or does not answer.
    """
    with xmlrpc.client.ServerProxy("http://localhost", transport=_Transport(str(home.socket))) as proxy:
        yield proxy.supervisor


def is_alive(home: Home) -> bool:
    """Say whether Supervisor answers and is not about to end."""
    try:
        with connected(home) as rpc:
            return bool(rpc.getState()["statename"] == "RUNNING")
    except (OSError, http.client.HTTPException):
        return False


def start(home: Home, seconds: float = 20.0) -> None:
    """Start Supervisor without programs, after ending what an earlier one of this folder may have left but its data.

    Raises:
        LocalError: it did not start; with what it said.
    """
    _end(home, seconds)
    home.make()
    configure(home)
    # Programs inherit Supervisor's environment; Pulumi's passphrase and token are none of their business.
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PULUMI_")}
    done = subprocess.run(
        [sys.executable, "-m", "supervisor.supervisord", "-c", home.config],
        cwd=home.folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    if done.returncode != 0 and "No module named" in done.stderr:
        raise MissingExtraError("the local environment", "local")
    until = time.monotonic() + seconds
    while done.returncode == 0 and time.monotonic() < until:
        if is_alive(home):
            return
        time.sleep(0.05)
    _end(home, seconds)
    raise LocalError(f"Supervisor did not start in {home.folder}:\n{done.stderr.strip() or 'see logs/supervisor.log'}")


def stop(home: Home, seconds: float = 60.0) -> None:
    """End Supervisor with all its programs and remove files and data, so that only logs stay.

    Nothing happens where none runs.
    """
    _end(home, seconds)
    shutil.rmtree(home.data, ignore_errors=True)


def _end(home: Home, seconds: float) -> None:
    try:
        with connected(home) as rpc:
            pid = rpc.getPID()
            # A refusal means that it is shutting down already.
            with contextlib.suppress(xmlrpc.client.Fault):
                rpc.shutdown()
    except (OSError, http.client.HTTPException):
        _kill_silent(home)
    else:
        _wait_gone(pid, seconds)
    kill_left_over(home)
    home.clear()


def configure(home: Home, program: str = "", section: str = "") -> None:
    """Put Supervisor's configuration together, with the section of one program changed, or removed when empty."""
    if not home.programs.exists():
        return  # nothing of this folder is left to configure
    with home.lock.open("w") as lock:
        # Pulumi adds programs in parallel; the configuration must not lose one of them.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if program:
            piece = home.programs / f"{program}.conf"
            if section:
                piece.write_text(section)
            else:
                piece.unlink(missing_ok=True)
        place = home.socket.name if home.socket.parent == home.folder else str(home.socket)
        pieces = [piece.read_text() for piece in sorted(home.programs.glob("*.conf"))]
        # Supervisor reads it whenever another program is added: it must never see half of it.
        fresh = home.config.with_suffix(".new")
        fresh.write_text("\n".join([_HEAD.format(socket=place), *pieces]))
        fresh.replace(home.config)


def kill_left_over(home: Home, program: str | None = None) -> None:
    """End processes of this folder's programs that no Supervisor keeps any more (its own end by `kill -9`).

    Supervisor marks the environment of what it starts with its address and the program's name.
    """
    import psutil

    mark = f"unix://{home.socket}"
    found = []
    for process in psutil.process_iter():
        try:
            environment = process.environ()
        except (psutil.Error, OSError):
            continue
        wanted = program is None or environment.get("SUPERVISOR_PROCESS_NAME") == program
        if environment.get("SUPERVISOR_SERVER_URL") == mark and wanted:
            found.append(process)
    for process in found:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    # Not the time that each has otherwise: what they would wait for, queue or engine, ends beside them.
    _, alive = psutil.wait_procs(found, timeout=5)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(alive, timeout=5)


def _kill_silent(home: Home) -> None:
    """Kill a Supervisor that does not answer: it is frozen, or somebody removed the folder under it."""
    import psutil

    for process in psutil.process_iter():
        with contextlib.suppress(OSError, psutil.Error):
            if process.cmdline()[-2:] == ["-c", str(home.config)]:
                process.kill()
                process.wait(5)


def _wait_gone(pid: int, seconds: float) -> None:
    import psutil

    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        until = time.monotonic() + seconds
        # A zombie counts as gone: in a container nobody may ever ask for its exit code.
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            if time.monotonic() > until:
                process.send_signal(signal.SIGKILL)
            time.sleep(0.05)
