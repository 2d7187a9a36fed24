"""The stack program and the components under the real Pulumi engine, with real processes of this machine.

Each test has a project, a state and ports of its own. The engines are simulated ones: no weights are needed, and
nothing is said about real ones.
"""

import contextlib
import json
import os
import signal
import socket
import urllib.request

import psutil
import pytest
from stack import Stack

from llmfleet.local import programs, supervisor
from llmfleet.local.home import Home
from llmfleet.local.ports import is_free
from llmfleet.local.program import Program

pytestmark = pytest.mark.slow

EVERYTHING = {
    "llmfleet-test",
    "processes",
    "fleet",
    "fleet-supervisor",
    "fleet-supervisor-daemon",
    "fleet-queue",
    "fleet-queue-server",
    "fleet-gateway",
    "fleet-gateway-server",
    "fleet-pool-east",
    "fleet-pool-east-0-sim-engine",
    "fleet-pool-east-0-sim-worker",
    "fleet-pool-west",
    "fleet-pool-west-0-sim-engine",
    "fleet-pool-west-0-sim-worker",
}
LEAVES = {name for name in EVERYTHING if name.endswith(("-daemon", "-server", "-engine", "-worker"))}


def free_ports(count):
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]


def running(pids):
    """Return those that run; a zombie does not, it waits for an init that asks for its exit code."""
    return [pid for pid in pids if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE]


class Local:
    """A stack, and what its file says now."""

    def __init__(self, stack):
        self.stack = stack
        self.home = Home(stack.home)
        self.queue_port, monitor_port, self.gateway_port, *self.pool_ports = free_ports(6)
        self.ports = [self.queue_port, monitor_port, self.gateway_port, *self.pool_ports]
        self.fleet = {
            "models": [{"name": "sim", "engine": {"kind": "simulated"}}],
            "pools": [self.pool("east", 0), self.pool("west", 1)],
            "queue": {"kind": "nats", "port": self.queue_port, "monitor_port": monitor_port},
            "gateway": {"port": self.gateway_port},
        }

    def pool(self, name, number, **more):
        return {"name": name, "kind": "local", "port": self.pool_ports[number], **more}

    def change(self, command, *words):
        self.stack.write(self.fleet)
        return self.stack.change(command, *words)

    def pids(self):
        with supervisor.connected(self.home) as rpc:
            return {info["name"]: info["pid"] for info in rpc.getAllProcessInfo()}


@pytest.fixture
def local(tmp_path):
    """A stack that is not up."""
    local = Local(Stack(tmp_path))
    yield local
    supervisor.stop(local.home)


@pytest.fixture
def up(local):
    """A stack that is up."""
    run = local.change("up")
    assert run.code == 0, run.text
    return local


def test_mistakes_in_the_stack_file_are_the_whole_text(local):
    pools = [{"name": "east", "kind": "local", "slotz": 4}, {"name": "west", "kind": "local", "replicas": 0}]
    local.stack.write({**local.fleet, "pools": pools})
    run = local.stack.run("preview")
    assert run.code != 0
    errors = [line.strip() for line in run.text.splitlines() if line.startswith("    error: ")]
    assert errors == ["error: stacks/Pulumi.test.yaml: 2 mistakes in llmfleet:fleet"]
    assert "pools[0].slotz" in run.text
    assert "did you mean slots?" in run.text
    assert "pools[1].replicas" in run.text
    assert "Traceback" not in run.text
    assert "exit code" not in run.text


def test_a_stack_without_a_fleet_is_told_so(local):
    local.stack.file.write_text("config: {}\n")
    run = local.stack.run("preview")
    assert run.code != 0
    assert "llmfleet:fleet" in run.text
    assert "Traceback" not in run.text
    assert "exit code" not in run.text


def test_a_fleet_comes_up_once_and_goes_without_a_trace(local):
    run = local.change("up")
    assert run.code == 0, run.text
    assert set(run.operations) == EVERYTHING
    endpoint = f"http://127.0.0.1:{local.gateway_port}/v1"
    assert local.stack.outputs() == {
        "endpoint": endpoint,
        "queue": f"nats://127.0.0.1:{local.queue_port}",
        "models": ["sim"],
        "pools": ["east", "west"],
        "slots": 8,
        "try": f'llmfleet chat "Write a haiku about spot instances" --url {endpoint.removesuffix("/v1")}',
    }
    with urllib.request.urlopen(f"{endpoint}/models") as answer:
        assert [model["id"] for model in json.load(answer)["data"]] == ["sim"]

    pids = local.pids()
    for words in ([], ["--refresh"]):
        run = local.change("up", "--expect-no-changes", *words)
        assert (run.code, run.operations) == (0, {}), run.text
    assert local.pids() == pids

    daemon = int(local.home.pid_file.read_text())
    run = local.change("destroy")
    assert run.code == 0, run.text
    assert set(run.operations) == EVERYTHING
    assert running([daemon, *pids.values()]) == []
    assert [port for port in local.ports if not is_free(port)] == []
    assert [path.name for path in local.home.folder.iterdir()] == ["logs"]


def test_a_taken_port_names_its_holder_and_its_key_and_the_next_up_goes_on(local):
    with socket.create_server(("127.0.0.1", local.gateway_port)):
        run = local.change("up")
    assert run.code != 0
    assert run.operations["fleet-gateway-server"] == "failed"
    assert f"port {local.gateway_port} is taken by " in run.text
    assert f"(pid {os.getpid()})" in run.text
    assert "set gateway.port to a free port" in run.text
    assert "Traceback" not in run.text
    assert "gateway" not in local.pids()
    run = local.change("up")
    assert run.code == 0, run.text
    assert "fleet-gateway-server" in run.operations
    assert "fleet-queue-server" not in run.operations


def test_a_change_of_the_stack_file_touches_exactly_its_resources(up):
    pids = up.pids()
    # In front of the others: their place in the file changes, nothing else.
    up.fleet["pools"].insert(0, up.pool("north", 2))
    assert up.change("up").operations == {
        "fleet-pool-north": "create",
        "fleet-pool-north-0-sim-engine": "create",
        "fleet-pool-north-0-sim-worker": "create",
    }
    assert up.pids().items() > pids.items()

    pids = up.pids()
    up.fleet["pools"][0]["slots"] = 2
    assert up.change("up").operations == {
        "fleet-pool-north-0-sim-engine": "update",
        "fleet-pool-north-0-sim-worker": "update",
    }
    assert {name for name, pid in up.pids().items() if pids[name] != pid} == {
        "north-0-sim-engine",
        "north-0-sim-worker",
    }
    assert up.stack.outputs()["slots"] == 10

    pids = up.pids()
    del up.fleet["pools"][0]
    assert up.change("up").counts == {"delete": 3}
    assert running([pids["north-0-sim-engine"], pids["north-0-sim-worker"]]) == []
    assert set(up.pids()) == set(pids) - {"north-0-sim-engine", "north-0-sim-worker"}


def test_what_is_gone_is_seen_and_made_again(up):
    # Supervisor itself starts a killed process again.
    os.kill(up.pids()["west-0-sim-worker"], signal.SIGKILL)
    assert up.change("up", "--refresh").operations == {}

    programs.end(up.home, Program("west-0-sim-engine", ()))
    assert up.change("refresh").code == 0
    assert up.change("up").operations == {"fleet-pool-west-0-sim-engine": "create"}

    orphans = up.pids()
    os.kill(int(up.home.pid_file.read_text()), signal.SIGKILL)
    run = up.change("up", "--refresh")
    assert run.code == 0, run.text
    assert {name for name, operation in run.operations.items() if operation == "create"} == LEAVES
    assert running(orphans.values()) == []
    assert set(up.pids()) == set(orphans)
