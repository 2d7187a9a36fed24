"""Programs that Supervisor keeps: start one and wait until it is healthy, change it, end it with all it started."""

import contextlib
import http.client
import os
import shutil
import signal
import time
import urllib.request
import xmlrpc.client
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from llmfleet.errors import LocalError
from llmfleet.local import ports, supervisor
from llmfleet.local.home import Home
from llmfleet.local.program import Program, config

_LOG_LINES = 15

# One of the user's proxies must not stand between us and this machine.
_browser = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def create(home: Home, program: Program) -> None:
    """Start a program and wait until it is healthy; what does not become so is removed again, but not data it found.

    Raises:
        LocalError: a port is taken, or it did not become healthy; with the last lines of its log.
    """
    _need_supervisor(home, program)
    # A state that was lost may have left one of this name; its data stay.
    end(home, program)
    ports.check_free(program.ports)
    try:
        _start(home, program)
    except BaseException:
        _remove(home, program)
        raise


def update(home: Home, old: Program, new: Program) -> None:
    """Replace a program by another of the same name; where that fails, the old one runs again.

    Pulumi keeps the old inputs after a failed update: without the way back, the state would speak of a program
    that is gone.
    """
    _need_supervisor(home, new)
    held = {port.number for port in old.ports}
    ports.check_free(port for port in new.ports if port.number not in held)
    end(home, old)
    try:
        ports.check_free(new.ports)
        _start(home, new)
    except BaseException:
        end(home, new)
        with contextlib.suppress(LocalError):
            _start(home, old)
        raise
    for folder in set(old.folders) - set(new.folders):
        shutil.rmtree(home.folder / folder, ignore_errors=True)
    for file in set(old.files) - set(new.files):
        (home.folder / file).unlink(missing_ok=True)


def delete(home: Home, program: Program) -> None:
    """End a program and remove its files and data; only its log stays."""
    _remove(home, program)
    for folder in program.folders:
        shutil.rmtree(home.folder / folder, ignore_errors=True)


def end(home: Home, program: Program) -> None:
    """Take a program from Supervisor, with every process that it started, and wait until its ports are closed."""
    try:
        state = _state(home, program.name)
        if state is not None:
            _take_out(home, program, state["pid"])
            # If somebody else holds one by now, that is no reason to fail.
            ports.wait_closed(program.ports)
    except (OSError, http.client.HTTPException):
        supervisor.kill_left_over(home, program.name)
    supervisor.configure(home, program.name)
    if program.ready_file:
        (home.folder / program.ready_file).unlink(missing_ok=True)


def is_healthy(home: Home, program: Program, seconds: float = 10.0) -> bool:
    """Say whether a program runs and is healthy; one that Supervisor is just restarting gets some seconds."""
    until = time.monotonic() + seconds
    try:
        while (state := _state(home, program.name)) is not None and state["statename"] not in {"FATAL", "STOPPED"}:
            if _probe(home, program, state):
                return True
            if time.monotonic() > until:
                break
            time.sleep(0.2)
    except (OSError, http.client.HTTPException):
        pass
    return False


def _remove(home: Home, program: Program) -> None:
    end(home, program)
    for file in program.files:
        (home.folder / file).unlink(missing_ok=True)


def _need_supervisor(home: Home, program: Program) -> None:
    if not supervisor.is_alive(home):
        raise LocalError(
            f"{program.name} cannot start: Supervisor is gone from {home.folder}; `pulumi up --refresh` starts it again"
        )


def _start(home: Home, program: Program) -> None:
    for path, content in program.files.items():
        (home.folder / path).parent.mkdir(parents=True, exist_ok=True)
        (home.folder / path).write_text(content)
    log = home.logs / f"{program.name}.log"
    begin = log.stat().st_size if log.exists() else 0
    supervisor.configure(home, program.name, config(program))
    try:
        with supervisor.connected(home) as rpc:
            rpc.reloadConfig()
            rpc.addProcessGroup(program.name)
        _wait_healthy(home, program)
    except LocalError as error:
        raise LocalError(f"{program.name} {error}{_tail(log, begin)}") from None
    except (xmlrpc.client.Fault, OSError, http.client.HTTPException) as error:
        raise LocalError(f"{program.name} could not be given to Supervisor: {error}") from error


def _wait_healthy(home: Home, program: Program) -> None:
    until = time.monotonic() + program.start_seconds
    pid = 0
    while True:
        state = _state(home, program.name)
        # Supervisor would try again; but what ends at its first start is wrong, and the user waits.
        if state is None or _has_ended(state) or pid not in (0, state["pid"]):
            raise LocalError("ended instead of becoming healthy")
        if _probe(home, program, state):
            return
        if time.monotonic() > until:
            waited_for = program.health_url or program.ready_file or "a second of life"
            raise LocalError(f"did not become healthy within {program.start_seconds:g} s ({waited_for})")
        pid = state["pid"]
        time.sleep(0.1)


def _has_ended(state: Mapping[str, Any]) -> bool:
    if state["statename"] == "STOPPED":
        return bool(state["start"])  # otherwise Supervisor has not come to its first start yet
    return state["statename"] in {"EXITED", "FATAL", "BACKOFF", "UNKNOWN"}


def _probe(home: Home, program: Program, state: Mapping[str, Any]) -> bool:
    if program.health_url:
        try:
            with _browser.open(program.health_url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, http.client.HTTPException):
            return False
    if program.ready_file:
        return (home.folder / program.ready_file).exists()
    return bool(state["statename"] == "RUNNING")


def _take_out(home: Home, program: Program, pid: int) -> None:
    with supervisor.connected(home) as rpc:
        rpc.stopProcessGroup(program.name, False)
        until = time.monotonic() + program.stop_seconds + 10
        while True:
            try:
                rpc.removeProcessGroup(program.name)
                break
            except xmlrpc.client.Fault as fault:
                if time.monotonic() > until:
                    raise LocalError(f"{program.name} does not end: {fault.faultString}") from fault
            time.sleep(0.05)
    if pid:
        # A leader that ends in time may leave children behind; they are in its process group.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def _state(home: Home, name: str) -> dict[str, Any] | None:
    """Return what Supervisor knows of a program (`statename`, `pid`, `exitstatus`), None if nothing."""
    with supervisor.connected(home) as rpc:
        try:
            return dict(rpc.getProcessInfo(name))
        except xmlrpc.client.Fault:
            return None


def _tail(log: Path, begin: int) -> str:
    """Return the last lines of a log that were written since it was `begin` bytes long."""
    try:
        content = log.read_bytes()
    except FileNotFoundError:
        content = b""
    # A log that became shorter was rotated meanwhile: all of it is new.
    fresh = content[begin:] if len(content) >= begin else content
    lines = fresh.decode(errors="replace").splitlines()[-_LOG_LINES:]
    if not lines:
        return f"; it wrote nothing to {log}"
    return f"; the last lines of {log}:\n" + "\n".join(f"  {line}" for line in lines)
