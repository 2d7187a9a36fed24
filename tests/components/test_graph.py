"""What the components ask Pulumi for: children, names, parents, order.

Mocks only: that an engine can carry it out is proven in test_local_stack.py.
"""

import json
import runpy
from pathlib import Path

import pulumi
import pytest
import yaml
from graph import graph

from llmfleet_components import Fleet, LocalPool

ROOT = Path(__file__).parents[2]
PROGRAM = "pulumi-python:dynamic/llmfleet:Program"
SIMULATED = {"name": "sim", "engine": {"kind": "simulated"}}


def stack(name, monkeypatch, **options):
    """Run stacks/__main__.py with a stack file of this repository."""
    config = yaml.safe_load((ROOT / "stacks" / f"Pulumi.{name}.yaml").read_text())["config"]
    pulumi.runtime.set_all_config({key: json.dumps(value) for key, value in config.items()})
    monkeypatch.setattr(pulumi, "get_root_directory", lambda: "/project")
    return graph(lambda: runpy.run_path(str(ROOT / "stacks" / "__main__.py"), run_name="__main__"), **options)


def fleet(**changes):
    """Return a function that makes a small Fleet."""
    args = {"folder": "/project", "models": [SIMULATED], "pools": [{"name": "east", "kind": "local"}]}
    return lambda: Fleet("fleet", {**args, **changes})


def lines(nodes):
    """Return one line for each resource: what it is within, its type and name, and what must be there before."""

    def types(name):
        node = nodes.get(name)
        return [*types(node.parent), node.type] if node else []

    return sorted(
        f"{'$'.join(types(node.name))}::{node.name}" + "".join(f"\n    after {need}" for need in sorted(node.needs))
        for node in nodes.values()
    )


@pytest.mark.parametrize("name", ["local"])
def test_names_and_order_are_those_of_the_golden_file(name, monkeypatch):
    """A name is an identity: a change here makes running fleets delete and create, unless an alias says otherwise."""
    golden = Path(__file__).with_name(f"golden_{name}.txt")
    assert "\n".join(lines(stack(name, monkeypatch))) + "\n" == golden.read_text()


def test_preview_and_up_ask_for_the_same(monkeypatch):
    assert lines(stack("local", monkeypatch, preview=True)) == lines(stack("local", monkeypatch))


def test_nothing_is_left_to_a_default_provider(monkeypatch):
    nodes = stack("local", monkeypatch)
    leaves = [node for node in nodes.values() if node.type.startswith("pulumi-python:")]
    assert len(leaves) == 8
    assert {node.provider for node in leaves} == {"processes"}
    for file in (ROOT / "stacks").glob("Pulumi.*.yaml"):
        assert yaml.safe_load(file.read_text())["config"]["pulumi:disable-default-providers"] == ["*"]


def test_one_download_serves_every_replica(monkeypatch):
    nodes = stack("local", monkeypatch)
    assert [node.name for node in nodes.values() if node.type.endswith(":Weights")] == ["fleet-model-smollm2-weights"]
    engines = [node for node in nodes.values() if node.name.endswith("-engine")]
    assert len(engines) == 2
    assert {node.inputs["values"]["weights"] for node in engines} == {"/cache/weights.gguf"}


def test_a_simulated_engine_needs_no_weights():
    nodes = graph(fleet())
    assert not [node for node in nodes.values() if node.type.endswith(":Weights")]
    assert nodes["fleet-pool-east-0-sim-engine"].inputs["values"] == {}


def test_another_pool_adds_its_resources_and_moves_no_other():
    one = graph(fleet())
    pools = [{"name": "north", "kind": "local", "replicas": 2}, {"name": "east", "kind": "local"}]
    two = graph(fleet(pools=pools))
    assert sorted(set(two) - set(one)) == [
        "fleet-pool-north",
        "fleet-pool-north-0-sim-engine",
        "fleet-pool-north-0-sim-worker",
        "fleet-pool-north-1-sim-engine",
        "fleet-pool-north-1-sim-worker",
    ]
    for name, node in one.items():
        # Where in the stack file a port was set may move; it restarts nothing (tests/local/test_program.py).
        before, after = dict(node.inputs), dict(two[name].inputs)
        assert [port["number"] for port in before.pop("ports", [])] == [
            port["number"] for port in after.pop("ports", [])
        ]
        assert before == after


def test_another_replica_moves_no_port_of_the_others():
    models = [SIMULATED, {**SIMULATED, "name": "sim2"}]
    one = graph(fleet(models=models))
    two = graph(fleet(models=models, pools=[{"name": "east", "kind": "local", "replicas": 3}]))
    assert len(set(two) - set(one)) == 8
    for name in one:
        assert one[name].inputs == two[name].inputs


def test_the_stack_files_settings_reach_the_programs():
    changes = {
        "queue": {"kind": "nats", "port": 4300, "monitor_port": 4301},
        "gateway": {"port": 4302, "progress_timeout_seconds": 3.5},
        "pools": [{"name": "east", "kind": "local", "slots": 7, "port": 20000}],
        "models": [{"name": "sim", "context": 512, "engine": {"kind": "simulated", "args": {"ttft_ms": 20}}}],
    }
    nodes = graph(fleet(**changes))
    engine = nodes["fleet-pool-east-0-sim-engine"].inputs
    worker = nodes["fleet-pool-east-0-sim-worker"].inputs
    gateway = nodes["fleet-gateway-server"].inputs
    queue = nodes["fleet-queue-server"].inputs
    assert {"--listen=127.0.0.1:20000", "--slots=7", "--context=512", "--ttft-ms=20"} <= set(engine["command"])
    assert {"--slots=7", "--pool=east", "--engine-url=http://127.0.0.1:20000"} <= set(worker["command"])
    assert {"--listen=127.0.0.1:4302", "--progress-timeout=3.5", "--model=sim"} <= set(gateway["command"])
    assert worker["values"] == gateway["values"] == {"queue_url": "nats://127.0.0.1:4300"}
    assert [port["number"] for port in queue["ports"]] == [4300, 4301]
    assert engine["ports"] == [{"number": 20000, "key": "pools[0].port"}]


def test_all_mistakes_of_a_fleet_are_told_at_once():
    with pytest.raises(pulumi.InputPropertiesError) as error:
        graph(fleet(pools=[{"name": "east", "kind": "local", "slotz": 3}], gateway={"port": "x"}))
    assert "slotz" in str(error.value)
    assert "gateway.port" in str(error.value)


def test_a_pool_can_be_used_alone_and_tells_its_mistakes():
    args = {"supervisor": "/project", "queue_url": "nats://10.0.0.1:4222", "models": [SIMULATED], "port": 20000}
    nodes = graph(lambda: LocalPool("mine", args))
    assert sorted(nodes) == ["mine", "mine-0-sim-engine", "mine-0-sim-worker"]
    assert "--pool=mine" in nodes["mine-0-sim-worker"].inputs["command"]
    assert nodes["mine-0-sim-engine"].inputs["ports"][0]["key"] == "port"
    with pytest.raises(pulumi.InputPropertiesError, match="replicas"):
        graph(lambda: LocalPool("mine", {**args, "replicas": -1}))
