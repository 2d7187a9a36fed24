"""The programs of a local fleet: their command lines fit the commands they call. Nothing is started."""

import importlib

import pytest
from typer.testing import CliRunner

from llmfleet.cli import app
from llmfleet.local import fleet
from llmfleet.local.ports import Port

PROGRAMS = [
    fleet.gateway("127.0.0.1", 8080, ["a", "b"], 2.0),
    fleet.engine("east-0-a", Port(18000, "pools[0].port"), "llamacpp", {"model": "a", "slots": 4, "context": 2048}),
    fleet.engine("east-0-a", Port(18000, "pools[0].port"), "simulated", {"model": "a", "slots": 4, "ttft_ms": 2.5}),
    fleet.worker("east-0-a", "east", "a", "llamacpp", 18000, 4),
]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_each_command_takes_its_options(program, monkeypatch):
    started = []
    for command in ("gateway", "engine", "worker"):
        module = importlib.import_module(f"llmfleet.cli.{command}")
        monkeypatch.setattr(module, "run", lambda coroutine: started.append(coroutine.close()))
    done = CliRunner().invoke(app, program.command[1:])
    assert (done.exit_code, len(started)) == (0, 1), done.output


def test_a_gateway_on_all_addresses_is_asked_on_this_machine():
    program = fleet.gateway("0.0.0.0", 8080, [], 2.0)
    assert program.health_url == "http://127.0.0.1:8080/health"
    assert "--listen=0.0.0.0:8080" in program.command


def test_an_engine_with_weights_gets_them_and_a_simulated_one_does_not():
    _, llamacpp, simulated, _ = PROGRAMS
    assert "--model-path={weights}" in llamacpp.command
    assert not [word for word in simulated.command if "weights" in word]


def test_names_of_replicas_stay_apart():
    names = {fleet.replica_name(0, model) for model in ("org/model", "org-model", "org:model")}
    assert len(names) == 3
    assert not [name for name in names if "/" in name or ":" in name]
    assert fleet.replica_name(1, "llama-3.1-8b") == "1-llama-3.1-8b"
