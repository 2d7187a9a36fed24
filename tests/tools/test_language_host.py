"""The Python language host, called over gRPC as the engine calls it.

Proves which program it starts, where, with what, and that nothing outlives it. Pulumi's runner of programs
is a stand-in that tells what it got; test_engine runs Pulumi's own under the real engine.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import psutil
import pytest
from google.protobuf.struct_pb2 import Struct
from pulumi.runtime.proto import language_pb2 as messages
from pulumi.runtime.proto.language_pb2_grpc import LanguageRuntimeStub

from tools.pulumi_cli.settings import PACKAGE

# Stands for pulumi-language-python-exec: writes down what it got, then does what the program's name says.
EXEC = """\
import json, os, sys, time
program = sys.argv[-1]
told = {"arguments": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ), "prefix": sys.prefix}
open("told.json", "w").write(json.dumps(told))
if program == "sleep":
    time.sleep(60)
sys.exit(int(program) if program.isdigit() else 0)
"""


class Host:
    """A running language host, with a project to run."""

    def __init__(self, folder: Path, wrapper: list[str | Path], environment: dict[str, str]) -> None:
        self.project = folder / "project"
        self.project.mkdir()
        self.process = subprocess.Popen(
            [*wrapper, "--logtostderr", "127.0.0.1:7"],
            env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.channel = grpc.insecure_channel(f"127.0.0.1:{int(self.process.stdout.readline())}")
        self.stub = LanguageRuntimeStub(self.channel)

    def info(self, **options: str) -> messages.ProgramInfo:
        struct = Struct()
        struct.update(options)
        folder = str(self.project)
        return messages.ProgramInfo(root_directory=folder, program_directory=folder, entry_point=".", options=struct)

    def request(self, program: str, **options: str) -> messages.RunRequest:
        return messages.RunRequest(
            project="tiny",
            stack="test",
            pwd=str(self.project),
            program=program,
            dryRun=True,
            parallel=16,
            monitor_address="127.0.0.1:8",
            organization="organization",
            config={"tiny:a": "1"},
            configSecretKeys=["tiny:b"],
            info=self.info(**options),
        )

    def told(self) -> dict:
        return json.loads((self.project / "told.json").read_text())

    def has_started_a_program(self) -> psutil.Process:
        until = time.monotonic() + 20
        while not (self.project / "told.json").exists():
            assert time.monotonic() < until, "the program has not started"
            time.sleep(0.02)
        (child,) = psutil.Process(self.process.pid).children()
        return child

    def end(self) -> tuple[int, str, str]:
        """Wait for the end; return exit code, stdout, stderr."""
        self.channel.close()
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, out, err


def said(answers: list[messages.RunPluginResponse], stream: str) -> str:
    """Return all that a plugin wrote to one stream."""
    return b"".join(getattr(answer, stream) for answer in answers).decode()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """A function that starts the host by its wrapper, with PULUMI_PYTHON_CMD and more variables if given."""
    beside = tmp_path / "bin of a CLI"
    beside.mkdir()
    for name in ("language_host.py", "pulumi-language-python"):
        shutil.copy(PACKAGE / name, beside)
    (beside / "pulumi-language-python").chmod(0o755)
    (beside / "pulumi-language-python-exec").write_text(EXEC)
    started: list[Host] = []

    def start(**environment: str) -> Host:
        variables = {**os.environ, "PULUMI_PYTHON_CMD": sys.executable, **environment}
        started.append(Host(tmp_path, [beside / "pulumi-language-python"], variables))
        return started[-1]

    yield start
    for host in started:
        host.channel.close()
        host.process.kill()
        host.process.communicate()


def test_a_program_gets_all_that_the_engine_said(start):
    host = start()
    assert host.stub.Run(host.request("0")) == messages.RunResponse()
    told = host.told()
    arguments = "--monitor 127.0.0.1:8 --engine 127.0.0.1:7 --project tiny --root_directory {0} --stack test --pwd {0}"
    rest = "--dry_run true --parallel 16 --organization organization 0"
    assert told["arguments"] == f"{arguments.format(host.project)} {rest}".split()
    assert told["cwd"] == str(host.project)
    assert json.loads(told["environment"]["PULUMI_CONFIG"]) == {"tiny:a": "1"}
    assert json.loads(told["environment"]["PULUMI_CONFIG_SECRET_KEYS"]) == ["tiny:b"]


@pytest.mark.parametrize(
    ("program", "answer"),
    [
        ("0", messages.RunResponse()),
        ("3", messages.RunResponse(error="program exited with non-zero exit code: 3")),
        ("32", messages.RunResponse(bail=True)),
    ],
)
def test_the_exit_code_of_a_program_decides_the_answer(start, program, answer):
    host = start()
    assert host.stub.Run(host.request(program)) == answer


def test_the_virtual_environment_of_the_project_wins_over_the_variable(start):
    host = start()
    venv = host.project / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to(sys.executable)
    (venv / "pyvenv.cfg").write_text("home = /nowhere\n")
    host.stub.Run(host.request("0", virtualenv="venv"))
    told = host.told()
    assert told["prefix"] == told["environment"]["VIRTUAL_ENV"] == str(venv)
    assert told["environment"]["PATH"].startswith(f"{venv}/bin:")


def test_a_virtual_environment_that_is_not_there_is_told_with_the_cure(start):
    host = start()
    answer = host.stub.Run(host.request("0", virtualenv="venv"))
    assert answer.error.startswith(f"the option virtualenv names {host.project}/venv, which has no bin/python: create")
    plugin = messages.RunPluginRequest(pwd="/", info=host.info(virtualenv="venv"))
    with pytest.raises(grpc.RpcError) as error:
        list(host.stub.RunPlugin(plugin))
    assert error.value.details() == answer.error


def test_a_python_without_pulumi_is_told_what_to_set(tmp_path):
    python = tmp_path / "bare"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" -S -I "$@"\n')
    python.chmod(0o755)
    environment = {**os.environ, "PULUMI_PYTHON_CMD": str(python)}
    run = subprocess.run([PACKAGE / "pulumi-language-python"], env=environment, capture_output=True, text=True)
    assert (run.returncode, run.stdout) == (1, "")
    assert "cannot run Pulumi programs (No module named 'grpc'): set PULUMI_PYTHON_CMD to the Python of" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_plugin_is_streamed_to_its_end(start, tmp_path):
    host = start()
    (host.project / "__main__.py").write_text(
        "import os, sys, time\n"
        "print(os.getcwd(), sys.argv[1:], os.environ['ONLY'], len(os.environ) < 5, flush=True)\n"
        "time.sleep(0.3)\n"
        "sys.stderr.write('half a line')\n"
        "sys.exit(5)\n"
    )
    request = messages.RunPluginRequest(
        pwd=str(tmp_path), args=["127.0.0.1:7"], env=["ONLY=a=b", "PATH=/bin"], info=host.info(), kind="resource"
    )
    answers = list(host.stub.RunPlugin(request))
    assert said(answers, "stdout") == f"{tmp_path} ['127.0.0.1:7'] a=b True\n"
    assert said(answers, "stderr") == "half a line"
    assert answers[-1] == messages.RunPluginResponse(exitcode=5)
    assert [answer.WhichOneof("output") for answer in answers].count("exitcode") == 1


def test_a_policy_pack_is_run_by_pulumis_module_in_its_own_directory(start, tmp_path):
    host = start()
    (host.project / "__main__.py").write_text("import os, sys; print(os.getcwd(), sys.argv)\n")
    request = messages.RunPluginRequest(
        pwd=str(tmp_path), args=["127.0.0.1:7"], env=["PULUMI_CONFIG={}"], info=host.info(), kind="analyzer"
    )
    answers = list(host.stub.RunPlugin(request))
    folder = str(host.project)
    assert said(answers, "stdout") == f"{folder} {[folder, '127.0.0.1:7', folder]}\n"
    assert answers[-1] == messages.RunPluginResponse(exitcode=0)


def test_programs_and_plugins_run_at_the_same_time(start):
    host = start()
    (host.project / "__main__.py").write_text("print('up', flush=True)\nimport time\ntime.sleep(60)\n")
    running = host.stub.Run.future(host.request("sleep"))
    plugins = [host.stub.RunPlugin(messages.RunPluginRequest(pwd="/", info=host.info())) for _ in range(3)]
    assert [next(plugin).stdout[:2] for plugin in plugins] == [b"up"] * 3
    assert not running.done()


@pytest.mark.parametrize("call", ["Run", "RunPlugin"])
def test_a_cancelled_call_ends_what_it_has_started(start, call):
    host = start()
    (host.project / "__main__.py").write_text("open('told.json', 'w')\nimport time\ntime.sleep(60)\n")
    if call == "Run":
        running = host.stub.Run.future(host.request("sleep"))
    else:
        running = host.stub.RunPlugin(messages.RunPluginRequest(pwd=str(host.project), info=host.info()))
    child = host.has_started_a_program()
    running.cancel()
    assert psutil.wait_procs([child], timeout=10)[1] == []
    assert host.stub.About(messages.AboutRequest()).executable == sys.executable, "the host has ended, too"


def _interrupt(host: Host) -> None:
    os.kill(host.process.pid, signal.SIGINT)


def _terminate(host: Host) -> None:
    os.kill(host.process.pid, signal.SIGTERM)


def _orphan(host: Host) -> None:
    host.process.stdin.close()
    host.process.stdin = None


@pytest.mark.parametrize("stop", [_interrupt, _terminate, _orphan])
def test_it_ends_quietly_with_all_it_has_started(start, stop):
    host = start()
    running = host.stub.Run.future(host.request("sleep"))
    child = host.has_started_a_program()
    stop(host)
    assert running.exception(timeout=20) is not None
    assert host.end() == (0, "", "")
    assert not child.is_running()


def test_short_answers(start):
    host = start()
    empty = messages.google_dot_protobuf_dot_empty__pb2.Empty()
    assert host.stub.GetPluginInfo(empty).version.count(".") == 2
    assert host.stub.GetRequiredPackages(messages.GetRequiredPackagesRequest()).packages == []
    assert list(host.stub.InstallDependencies(messages.InstallDependenciesRequest())) == []
    with pytest.raises(grpc.RpcError) as error:
        host.stub.GeneratePackage(messages.GeneratePackageRequest())
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
