"""The CLI of this machine runs Python programs in the environment that `env` prints.

The real engine, the real state backend, real dynamic providers; a cloud's provider and Pulumi Cloud are not used.
Every checkout of these tests lies in a directory with spaces and a quote in its name.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tools.pulumi_cli.environment import exports
from tools.pulumi_cli.find import bin_folder, cli_version, flaw
from tools.pulumi_cli.settings import OLDEST, PACKAGE, ROOT, pinned

PROGRAM = """\
import pulumi
from pulumi.dynamic import CreateResult, Resource, ResourceProvider, UpdateResult

class Shouting(ResourceProvider):
    def create(self, props):
        return CreateResult("one", {"text": props["text"], "loud": props["text"].upper()})

    def update(self, id_, olds, news):
        return UpdateResult({"text": news["text"], "loud": news["text"].upper()})

class Shout(Resource):
    loud: pulumi.Output[str]

    def __init__(self, name, text):
        super().__init__(Shouting(), name, {"text": text, "loud": None})

print("the program's own words")
pulumi.export("loud", Shout("shout", pulumi.Config().get("text") or "hello").loud)
"""

ENDLESS = "import time\nopen('started', 'w')\ntime.sleep(120)\n"


def test_the_cli_of_this_machine_is_usable(cli):
    assert flaw(cli / "pulumi") is None
    version = cli_version(cli / "pulumi")
    assert version >= OLDEST
    if cli == bin_folder("built"):
        assert version == pinned()
        assert (cli / "language_host.py").read_bytes() == (PACKAGE / "language_host.py").read_bytes()


def test_a_program_goes_through_preview_up_no_change_change_refresh_and_destroy(checkout):
    checkout.write("__main__.py", PROGRAM)
    said = checkout.run("pulumi preview")
    assert "+ 2 to create" in said
    assert "the program's own words" in said
    assert "+ 2 created" in checkout.run("pulumi up --yes --skip-preview")
    assert checkout.run("pulumi stack output loud") == "HELLO\n"
    assert "2 unchanged" in checkout.run("pulumi up --yes --skip-preview --expect-no-changes")
    checkout.run("pulumi config set text again")
    assert "~ 1 updated" in checkout.run("pulumi up --yes --skip-preview")
    assert checkout.run("pulumi stack output loud") == "AGAIN\n"
    assert "2 unchanged" in checkout.run("pulumi refresh --yes --skip-preview")
    assert "- 2 deleted" in checkout.run("pulumi destroy --yes --skip-preview")

    assert list(checkout.home.iterdir()) == [], "something of the user's home was touched"
    inside = {path.name for path in (checkout.root / ".llmfleet").iterdir()}
    assert inside == {"state", "pulumi-home"}


def test_the_virtual_environment_a_project_names_serves_programs_and_dynamic_resources(checkout):
    (checkout.project / "own").symlink_to(sys.prefix)
    checkout.write("Pulumi.yaml", "name: tiny\nruntime: {name: python, options: {toolchain: pip, virtualenv: own}}\n")
    checkout.write(
        "__main__.py",
        "import pulumi, sys\n"
        "from pulumi.dynamic import CreateResult, Resource, ResourceProvider\n"
        "class Where(ResourceProvider):\n"
        "    def create(self, props):\n"
        "        import sys\n"
        "        return CreateResult('one', {'prefix': sys.prefix})\n"
        "class Place(Resource):\n"
        "    prefix: pulumi.Output[str]\n"
        "pulumi.export('program', sys.prefix)\n"
        "pulumi.export('provider', Place(Where(), 'place', {'prefix': None}).prefix)\n",
    )
    checkout.run("pulumi up --yes --skip-preview")
    for who in ("program", "provider"):
        assert checkout.run(f"pulumi stack output {who}") == f"{checkout.project}/own\n"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import pulumi\nraise pulumi.RunError('two pools want port 18000')\n", "two pools want port 18000"),
        (
            "import pulumi, sys\npulumi.log.error('2 mistakes in llmfleet:fleet')\nsys.exit(32)\n",
            "2 mistakes in llmfleet:fleet",
        ),
    ],
)
def test_a_users_mistake_ends_with_its_text_and_no_traceback(checkout, program, words):
    checkout.write("__main__.py", program)
    said = checkout.run("pulumi preview", fails=True)
    assert said.partition("Diagnostics:")[2].count(words) == 1
    assert "Traceback" not in said
    assert "exit code: 32" not in said


def test_an_exception_is_shown_once_from_the_users_own_line_on(checkout):
    checkout.write("__main__.py", "def pools():\n    return {}['use1']\n\npools()\n")
    said = checkout.run("pulumi preview", fails=True)
    assert said.count("Traceback (most recent call last)") == 1
    assert "KeyError: 'use1'" in said
    assert "pulumi-language-python-exec" not in said


def test_a_component_package_is_run_as_a_plugin(checkout):
    checkout.write("package/PulumiPlugin.yaml", "runtime: python\n")
    checkout.write(
        "package/__main__.py",
        "import pulumi\n"
        "from typing import TypedDict\n"
        "from pulumi.provider.experimental import component_provider_host\n"
        "class BoxArgs(TypedDict):\n"
        "    size: pulumi.Input[int]\n"
        "    '''How large, in metres.'''\n"
        "class Box(pulumi.ComponentResource):\n"
        "    volume: pulumi.Output[int]\n"
        "    def __init__(self, name: str, args: BoxArgs, opts: pulumi.ResourceOptions | None = None):\n"
        "        super().__init__('boxes:index:Box', name, {}, opts)\n"
        "        self.volume = pulumi.Output.from_input(args['size']).apply(lambda size: size**3)\n"
        "        self.register_outputs({'volume': self.volume})\n"
        "component_provider_host(components=[Box], name='boxes', version='1.0.0')\n",
    )
    schema = checkout.run("pulumi package get-schema ./package")
    assert '"boxes:index:Box"' in schema
    assert "How large, in metres." in schema


# A policy pack on the bare protocol: the package pulumi-policy lives in an environment of its own.
POLICY_PACK = """\
import sys
from concurrent.futures import ThreadPoolExecutor
import grpc
from pulumi.runtime.proto import analyzer_pb2 as messages, analyzer_pb2_grpc, plugin_pb2

class Pack(analyzer_pb2_grpc.AnalyzerServicer):
    def Handshake(self, request, context):
        return messages.AnalyzerHandshakeResponse()
    def GetPluginInfo(self, request, context):
        return plugin_pb2.PluginInfo(version="1.0.0")
    def GetAnalyzerInfo(self, request, context):
        policy = messages.PolicyInfo(name="no-shouting", enforcementLevel=messages.MANDATORY)
        return messages.AnalyzerInfo(name="manners", version="1.0.0", policies=[policy])
    def Configure(self, request, context):
        from google.protobuf.empty_pb2 import Empty
        return Empty()
    def ConfigureStack(self, request, context):
        return messages.AnalyzerStackConfigureResponse()
    def Analyze(self, request, context):
        if "dynamic" not in request.type:
            return messages.AnalyzeResponse()
        wrong = messages.AnalyzeDiagnostic(policyName="no-shouting", policyPackName="manners",
            policyPackVersion="1.0.0", message="please whisper", enforcementLevel=messages.MANDATORY, urn=request.urn)
        return messages.AnalyzeResponse(diagnostics=[wrong])
    def AnalyzeStack(self, request, context):
        return messages.AnalyzeResponse()
    def Remediate(self, request, context):
        return messages.RemediateResponse()

server = grpc.server(ThreadPoolExecutor())
analyzer_pb2_grpc.add_AnalyzerServicer_to_server(Pack(), server)
print(server.add_insecure_port("127.0.0.1:0"), flush=True)
server.start()
server.wait_for_termination()
"""


def test_a_policy_pack_is_run_as_a_plugin_and_can_refuse(checkout):
    checkout.write("__main__.py", PROGRAM)
    checkout.write("pack/PulumiPolicy.yaml", "runtime: python\n")
    checkout.write("pack/__main__.py", POLICY_PACK)
    said = checkout.run("pulumi preview --policy-pack ./pack", fails=True)
    assert "please whisper" in said
    assert "no-shouting" in said


def _of(folder: Path) -> list[psutil.Process]:
    """Return the processes that work in a folder or below."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, FileNotFoundError):
            if Path(process.cwd()).is_relative_to(folder):
                found.append(process)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_when_pulumi_is_stopped_its_program_ends_too_without_noise(checkout, number):
    checkout.write("__main__.py", ENDLESS)
    pulumi = checkout.start("pulumi preview")
    until = time.monotonic() + 30
    while not (checkout.project / "started").exists():
        assert time.monotonic() < until, "the program has not started"
        time.sleep(0.05)
    working = _of(checkout.project)
    assert any("pulumi-language-python-exec" in " ".join(process.cmdline()) for process in working)
    os.kill(pulumi.pid, number)
    said, _ = pulumi.communicate(timeout=30)
    assert pulumi.returncode != 0
    assert "Traceback" not in said
    assert psutil.wait_procs(working, timeout=10)[1] == []


def test_the_printed_environment_points_into_the_checkout_and_the_cli_only(cli, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    path = "/usr/bin:/bin"
    environment = {"HOME": str(home), "PATH": path, "LLMFLEET_PULUMI": str(cli / "pulumi")}
    printed = subprocess.run(
        [sys.executable, "-m", "tools.pulumi_cli", "env", "--stack", "local"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert printed.stderr == ""
    shown = subprocess.run(
        ["env", "-i", f"PATH={path}", "sh", "-c", f"{printed.stdout}\nenv"],
        capture_output=True,
        text=True,
        check=True,
    )
    found = dict(line.split("=", 1) for line in shown.stdout.splitlines())
    assert found["PATH"] == f"{ROOT}/.venv/bin:{cli}:{path}"
    pulumi = {name: value for name, value in found.items() if name.startswith("PULUMI_")}
    assert pulumi == {
        "PULUMI_HOME": f"{ROOT}/.llmfleet/pulumi-home",
        "PULUMI_BACKEND_URL": f"file://{ROOT}/.llmfleet/state",
        "PULUMI_STACK": "local",
        "PULUMI_CONFIG_PASSPHRASE": "",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        "PULUMI_DISABLE_REGISTRY_RESOLVE": "true",
        "PULUMI_PYTHON_CMD": f"{ROOT}/.venv/bin/python",
    }
    assert (ROOT / ".llmfleet" / "state").is_dir()
    assert list(home.iterdir()) == [], "something of the user's home was touched"


def test_the_environment_evaluated_again_does_not_lengthen_path(tmp_path, cli):
    path = f"{tmp_path}/.venv/bin:{cli}:/usr/bin"
    assert "PATH" not in {line.split("=")[0] for line in exports(tmp_path, cli, "local", {"PATH": path}).splitlines()}
    assert f'export PATH={tmp_path}/.venv/bin:{cli}:"$PATH"' in exports(tmp_path, cli, "local", {"PATH": "/usr/bin"})
