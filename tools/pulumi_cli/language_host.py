"""Python language host for a Pulumi CLI that was built from Go modules.

The official CLI brings a `pulumi-language-python` written in Go; its module is not published, so a CLI built from
modules has none. The engine only asks for a gRPC server of `pulumirpc.LanguageRuntime` that prints its port, and the
PyPI package `pulumi` has the stubs. This file is copied beside the CLI and started there by the wrapper
`pulumi-language-python`; it imports nothing of this project.

Left out, because only the official host can: generating SDKs and programs (`pulumi package add`, `pulumi convert`).
Those calls answer UNIMPLEMENTED, which the CLI reports in words.
"""

# The names of the calls are gRPC's.
# ruff: noqa: N802

import json
import os
import platform
import queue
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

try:
    import grpc
    from google.protobuf import empty_pb2
    from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2
except ImportError as error:
    sys.exit(
        f"{sys.executable} cannot run Pulumi programs ({error}): "
        "set PULUMI_PYTHON_CMD to the Python of a virtual environment that has the package pulumi"
    )

HERE = Path(__file__).resolve().parent
# The program has told its error itself (the engine shows it); the host must not add a second one.
BAIL_EXIT_CODE = 32
STOP_GRACE_SECONDS = 3.0


class Children:
    """The programs and plugins this host has started, each in a process group of its own.

    Own groups, because the engine ends a host by SIGINT to its group: a program in the same group would answer with
    the traceback of a KeyboardInterrupt in the middle of the user's screen.
    """

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = threading.Lock()
        self._closed = False

    def start(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        """Start `command`; refuse once the host is stopping, so that nothing outlives it."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the language host is stopping")
            child = subprocess.Popen(command, process_group=0, stdin=subprocess.DEVNULL, **options)
            self._running.add(child)
        return child

    def forget(self, child: subprocess.Popen[bytes]) -> None:
        """Stop watching a child that has ended."""
        with self._lock:
            self._running.discard(child)

    def stop(self, child: subprocess.Popen[bytes]) -> None:
        """End a child's whole process group: politely, then for good."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            if child.poll() is not None:
                return
            try:
                os.killpg(child.pid, number)
                child.wait(STOP_GRACE_SECONDS)
            except (ProcessLookupError, subprocess.TimeoutExpired):
                continue

    def stop_all(self) -> None:
        """End every child and start no more."""
        with self._lock:
            self._closed = True
            running = list(self._running)
        for child in running:
            self.stop(child)


def interpreter(info: language_pb2.ProgramInfo, environment: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the Python for a program and the environment to start it in.

    Same order as the official host: the option `virtualenv` of Pulumi.yaml, then PULUMI_PYTHON_CMD, then the Python
    that runs this host.

    Raises:
        FileNotFoundError: the project names a virtual environment that is not there.
    """
    options = info.options.fields
    name = options["virtualenv"].string_value if "virtualenv" in options else ""
    if not name:
        return environment.get("PULUMI_PYTHON_CMD") or sys.executable, environment
    folder = Path(info.root_directory, name)
    python = folder / "bin" / "python"
    if not python.exists():
        raise FileNotFoundError(
            f"the option virtualenv names {folder}, which has no bin/python: "
            f"create it with `python3 -m venv {folder}` and install the program's requirements into it"
        )
    path = os.pathsep.join([str(python.parent), environment.get("PATH", "")])
    return str(python), {**environment, "VIRTUAL_ENV": str(folder), "PATH": path}


class LanguageHost(language_pb2_grpc.LanguageRuntimeServicer):
    """Runs Python programs and Python plugins for the engine at the address `engine`."""

    def __init__(self, engine: str, children: Children) -> None:
        self._engine = engine
        self._children = children

    def Handshake(self, request: Any, context: grpc.ServicerContext) -> language_pb2.LanguageHandshakeResponse:
        """Agree: there is nothing to negotiate."""
        return language_pb2.LanguageHandshakeResponse()

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> plugin_pb2.PluginInfo:
        """Tell the version of the Pulumi SDK that serves."""
        return plugin_pb2.PluginInfo(version=version("pulumi"))

    def About(self, request: Any, context: grpc.ServicerContext) -> language_pb2.AboutResponse:
        """Tell which Python this is (`pulumi about`)."""
        return language_pb2.AboutResponse(executable=sys.executable, version=platform.python_version())

    def GetProgramDependencies(
        self, request: Any, context: grpc.ServicerContext
    ) -> language_pb2.GetProgramDependenciesResponse:
        """Name no dependency: they are the virtual environment's business."""
        return language_pb2.GetProgramDependenciesResponse()

    def GetRequiredPackages(
        self, request: Any, context: grpc.ServicerContext
    ) -> language_pb2.GetRequiredPackagesResponse:
        """Ask for no plugin in advance, so that the engine loads only what a program really uses."""
        return language_pb2.GetRequiredPackagesResponse()

    def InstallDependencies(
        self, request: Any, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.InstallDependenciesResponse]:
        """Install nothing: the interpreter has everything."""
        return iter(())

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> empty_pb2.Empty:
        """Agree: a call that is cancelled ends its own child."""
        return empty_pb2.Empty()

    def Run(self, request: language_pb2.RunRequest, context: grpc.ServicerContext) -> language_pb2.RunResponse:
        """Run a program to its end; what it prints goes to the engine through our own stdout and stderr."""
        try:
            python, environment = interpreter(request.info, dict(os.environ))
        except FileNotFoundError as error:
            return language_pb2.RunResponse(error=str(error))
        arguments = {
            "monitor": request.monitor_address,
            "engine": self._engine,
            "project": request.project,
            "root_directory": request.info.root_directory,
            "stack": request.stack,
            "pwd": request.pwd,
            "dry_run": "true" if request.dryRun else "false",
            "parallel": str(request.parallel),
            "organization": request.organization,
        }
        flags = [part for name, value in arguments.items() if value for part in (f"--{name}", value)]
        command = [python, "-u", str(HERE / "pulumi-language-python-exec"), *flags, request.program, *request.args]
        environment["PULUMI_CONFIG"] = json.dumps(dict(request.config))
        environment["PULUMI_CONFIG_SECRET_KEYS"] = json.dumps(list(request.configSecretKeys))
        with self._child(context, command, cwd=request.pwd, env=environment) as child:
            code = child.wait()
        if code == BAIL_EXIT_CODE:
            return language_pb2.RunResponse(bail=True)
        return language_pb2.RunResponse(error=f"program exited with non-zero exit code: {code}" if code else "")

    def RunPlugin(
        self, request: language_pb2.RunPluginRequest, context: grpc.ServicerContext
    ) -> Iterator[language_pb2.RunPluginResponse]:
        """Run a component, provider or policy pack; stream what it prints, then its exit code."""
        folder = request.info.program_directory
        try:
            python, environment = interpreter(request.info, dict(entry.split("=", 1) for entry in request.env))
        except FileNotFoundError as error:
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        if request.kind == "analyzer":
            command, directory = [python, "-u", "-m", "pulumi.policy", *request.args, folder], folder
        else:
            command, directory = [python, "-u", folder, *request.args], request.pwd
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with self._child(context, command, cwd=directory, env=environment, **pipes) as child:
            for stream, data in merged(child.stdout, child.stderr):
                yield (
                    language_pb2.RunPluginResponse(stdout=data)
                    if stream is child.stdout
                    else language_pb2.RunPluginResponse(stderr=data)
                )
            yield language_pb2.RunPluginResponse(exitcode=child.wait())

    @contextmanager
    def _child(
        self, context: grpc.ServicerContext, command: list[str], **options: Any
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Start a child that ends with its call: also when the engine cancels, or is gone."""
        child = self._children.start(command, **options)
        # The callback runs at the end of every call; only after a cancel is there something left to stop.
        if not context.add_callback(lambda: self._children.stop(child)):
            self._children.stop(child)
        with child:
            try:
                yield child
            finally:
                self._children.stop(child)
                self._children.forget(child)


def merged(*streams: IO[bytes] | None) -> Iterator[tuple[IO[bytes], bytes]]:
    """Yield (stream, data) from several pipes as data arrives, until all are at their end."""
    arrived: queue.SimpleQueue[tuple[IO[bytes], bytes]] = queue.SimpleQueue()

    def pump(stream: IO[bytes]) -> None:
        while data := os.read(stream.fileno(), 65536):
            arrived.put((stream, data))
        arrived.put((stream, b""))

    pipes = [stream for stream in streams if stream]
    for stream in pipes:
        threading.Thread(target=pump, args=(stream,), daemon=True).start()
    still_open = len(pipes)
    while still_open:
        stream, data = arrived.get()
        if data:
            yield stream, data
        else:
            still_open -= 1


def call_when_orphaned(stop: Callable[[], None]) -> None:
    """Call `stop` when the engine has died without a word.

    The engine holds the other end of our stdin; only its death closes it. Started by hand, stdin is no pipe.
    """
    if not stat.S_ISFIFO(os.fstat(0).st_mode):
        return

    def watch() -> None:
        while os.read(0, 4096):
            pass
        stop()

    threading.Thread(target=watch, daemon=True).start()


def main() -> None:
    """Serve until the engine says stop (SIGINT, SIGTERM) or dies."""
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    children = Children()
    # One thread per call in progress: a program and every plugin it uses, all at once.
    server = grpc.server(
        ThreadPoolExecutor(max_workers=256),
        options=[("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)],
    )
    # The engine puts its own address last, after flags for logging and tracing.
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(sys.argv[-1], children), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    call_when_orphaned(stopping.set)
    print(port, flush=True)
    stopping.wait()
    server.stop(grace=None)
    children.stop_all()


if __name__ == "__main__":
    main()
