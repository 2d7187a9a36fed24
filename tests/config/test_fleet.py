"""A right stack file: defaults, what is derived, and the schema for editors. Mistakes have modules of their own."""

import json
from itertools import pairwise

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from llmfleet.config import Fleet, LocalPool, NatsQueue, load_fleet
from llmfleet.config.pools.local import default_port

SMALLEST = {"models": [{"name": "smollm2"}], "pools": [{"name": "east", "kind": "local"}]}
FULL = yaml.safe_load(
    """
    models:
      - name: llama-3.1-8b
        source: hf://org/Llama-3.1-8B-GGUF/q4.gguf
        engine: {kind: llamacpp, args: {threads: 2, ubatch: 1}}
        context: 4096
        profile: {requests_per_second_per_gpu: 0.5}
      - {name: sim, engine: {kind: simulated, args: {ttft_ms: 20, tokens_per_second: 40.5}}}
    pools:
      - {name: east, kind: local, replicas: 2, slots: 8, models: [sim], port: 20000}
      - {name: west, kind: local}
    queue: {kind: nats, port: 4300, monitor_port: 4301}
    gateway: {host: 0.0.0.0, port: 9000, progress_timeout_seconds: 3}
    schedule:
      timezone: America/New_York
      windows:
        - {name: peak, start: "08:00", end: "20:00", replicas: 20}
        - {name: night, start: "20:00", end: "08:00", replicas: 15}
    budget: {monthly_usd: 35000}
    """
)


def test_a_model_and_a_pool_are_enough():
    fleet = load_fleet(SMALLEST)
    model, pool = fleet.models[0], fleet.pools[0]
    assert (model.source, model.engine.kind, model.context) == ("embedded://smollm2-135m", "llamacpp", 2048)
    assert model.engine.args.model_dump() == {"threads": 1, "ubatch": 512}
    assert isinstance(pool, LocalPool)
    assert (pool.replicas, pool.slots, pool.models) == (1, 4, ("smollm2",))
    assert fleet.queue == NatsQueue(port=4222, monitor_port=8222)
    assert (fleet.gateway.host, fleet.gateway.port, fleet.gateway.progress_timeout_seconds) == ("127.0.0.1", 8080, 2.0)
    assert (fleet.schedule, fleet.budget) == (None, None)


def test_every_field_is_read():
    fleet = load_fleet(FULL)
    assert fleet.models[0].profile.requests_per_second_per_gpu == 0.5
    assert fleet.models[1].engine.args.model_dump() == {"ttft_ms": 20, "tokens_per_second": 40.5}
    assert fleet.pools[0].models == ("sim",)
    assert fleet.pools[1].models == ("llama-3.1-8b", "sim")
    assert [(window.name, window.minutes) for window in fleet.schedule.windows] == [("peak", 720), ("night", 720)]
    assert fleet.budget.monthly_usd == 35000


@pytest.mark.parametrize("value", [SMALLEST, FULL], ids=["smallest", "full"])
def test_what_was_read_can_be_written_and_read_again(value):
    fleet = load_fleet(value)
    assert load_fleet(fleet.model_dump()) == fleet
    assert load_fleet(json.loads(fleet.model_dump_json())) == fleet
    assert Fleet(**dict(fleet)) == fleet


def test_whole_numbers_may_arrive_as_floats_as_protobuf_sends_them():
    floats = {**SMALLEST, "gateway": {"port": 9000.0}, "queue": {"port": 4300.0}}
    assert repr(load_fleet(floats).gateway.port) == "9000"


def test_a_fleet_cannot_be_changed():
    fleet = load_fleet(SMALLEST)
    with pytest.raises(ValidationError, match="frozen"):
        fleet.pools[0].replicas = 2


def test_a_port_of_a_replica_follows_from_its_model_and_index_only():
    def ports(models, replicas):
        value = {"models": models, "pools": [{"name": "east", "kind": "local", "replicas": replicas}]}
        fleet = load_fleet(value)
        return fleet.pools[0].replica_ports(fleet)

    one = ports([{"name": "a"}], 1)
    assert one == {("a", 0): default_port("east")}
    more = ports([{"name": "a"}, {"name": "b"}], 3)
    assert list(more) == [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1), ("b", 2)]
    assert one.items() <= more.items()
    assert ports([{"name": "a"}, {"name": "b"}], 2).items() <= more.items()


@given(models=st.integers(1, 4), replicas=st.integers(1, 16), port=st.integers(1024, 60000))
def test_the_ports_of_a_pool_differ_and_lie_in_the_span_that_it_tells(models, replicas, port):
    value = {
        "models": [{"name": f"m{index}"} for index in range(models)],
        "pools": [{"name": "east", "kind": "local", "replicas": replicas, "port": port}],
        "gateway": {"port": 1},
        "queue": {"port": 2, "monitor_port": 3},
    }
    fleet = load_fleet(value)
    (pool,) = fleet.pools
    (told,) = pool.local_ports()
    ports = list(pool.replica_ports(fleet).values())
    assert len(ports) == len(set(ports)) == models * replicas
    assert (min(ports), max(ports)) == (told.numbers[0], told.numbers[-1])


@given(st.from_regex(r"[a-z][a-z0-9-]{0,30}", fullmatch=True))
def test_default_ports_are_below_those_of_outgoing_connections(name):
    assert 18000 <= default_port(name) <= default_port(name) + 63 <= 27999


def test_default_ports_never_change_between_versions():
    # They are in people's running fleets: a change here restarts every replica.
    assert (default_port("east"), default_port("west")) == (22480, 27344)


def test_the_schema_describes_every_field_for_editors():
    schema = Fleet.model_json_schema()
    parts = [schema, *schema["$defs"].values()]
    assert {part["title"] for part in parts} >= {"Fleet", "LocalPool", "NatsQueue", "LlamaCppEngine", "Window"}
    undescribed = [
        f"{part['title']}.{name}"
        for part in parts
        for name, field in part["properties"].items()
        if not field.get("description")
    ]
    assert undescribed == []
    assert schema["required"] == ["models", "pools"]
    assert schema["$defs"]["LocalPool"]["properties"]["replicas"].items() >= {"minimum": 1, "maximum": 16}.items()


def test_windows_know_their_minutes():
    peak, night = load_fleet(FULL).schedule.windows
    assert (peak.holds(8 * 60), peak.holds(20 * 60 - 1), peak.holds(20 * 60)) == (True, True, False)
    assert (night.holds(0), night.holds(8 * 60 - 1), night.holds(8 * 60)) == (True, True, False)
    hours = [peak.holds(hour * 60) for hour in range(24)]
    assert sum(a != b for a, b in pairwise(hours)) == 2
