"""A pool of replicas on this machine: model servers, each with a worker beside it."""

from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

import pulumi
from pydantic import Field

from llmfleet import config
from llmfleet.config.part import Part
from llmfleet.local import fleet as programs
from llmfleet.local import program as local
from llmfleet.local.ports import Port
from llmfleet_components.checks import checked, given
from llmfleet_components.local.resources import Program


class LocalPoolModelArgs(TypedDict):
    """A model that a LocalPool serves."""

    name: str
    """As clients ask for it."""
    engine: NotRequired[dict[str, Any]]
    """{"kind": "llamacpp" or "simulated", "args": {...}}. Default: llamacpp."""
    context: NotRequired[int]
    """Tokens of prompt and answer together, for each slot. Default 2048."""
    weights: NotRequired[pulumi.Input[str]]
    """Path of a GGUF file; a simulated engine needs none."""


class LocalPoolArgs(TypedDict):
    """What a LocalPool needs."""

    supervisor: pulumi.Input[str]
    """Folder of the LocalSupervisor that keeps its programs."""
    queue_url: pulumi.Input[str]
    """The queue, nats://HOST:PORT."""
    models: list[LocalPoolModelArgs]
    """What it serves, at least one model."""
    pool: NotRequired[str]
    """Name that the pool has in the fleet, unique there. Default: the component's name."""
    replicas: NotRequired[int]
    """Engines with a worker, for each model. Default 1."""
    slots: NotRequired[int]
    """Requests that one replica serves at once. Default 4."""
    port: NotRequired[int]
    """First port of its engines on 127.0.0.1. Default: follows from the pool's name."""
    config_key: NotRequired[str]
    """What to change when a port is taken, for the error's text. Default "port"."""


class LocalPool(pulumi.ComponentResource):
    """Replicas of one or more models as processes of this machine."""

    workers: pulumi.Output[list[str]]
    """Names of its workers; known once they are ready."""
    slots: pulumi.Output[int]
    """Requests that the pool serves at once."""

    def __init__(self, name: str, args: LocalPoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmfleet:index:LocalPool", name, {}, opts)
        weights = {model["name"]: model["weights"] for model in args["models"] if "weights" in model}
        workers = []
        replicas = planned(name, args)
        for replica in replicas:
            engine = Program(
                f"{name}-{replica.name}-engine",
                replica.engine,
                pulumi.ResourceOptions(parent=self),
                supervisor=args["supervisor"],
                values={"weights": weights[replica.model]} if replica.model in weights else {},
            )
            worker = Program(
                f"{name}-{replica.name}-worker",
                replica.worker,
                pulumi.ResourceOptions(parent=self, depends_on=[engine]),
                supervisor=args["supervisor"],
                values={"queue_url": args["queue_url"]},
            )
            workers.append(worker.name)
        self.workers = pulumi.Output.all(*workers)
        self.slots = self.workers.apply(lambda _: sum(replica.slots for replica in replicas))
        self.register_outputs({"workers": self.workers, "slots": self.slots})


@dataclass(frozen=True)
class Replica:
    """A model server and the worker beside it."""

    name: str
    """Unique in its pool."""
    model: str
    slots: int
    engine: local.Program
    worker: local.Program


class _Spec(Part):
    models: tuple[config.Model, ...] = Field(min_length=1)
    pool: config.LocalPool


def planned(name: str, args: LocalPoolArgs) -> list[Replica]:
    """Return the replicas that a LocalPool called `name` creates.

    Raises:
        pulumi.InputPropertiesError: with every mistake at once, each with its property path.
    """
    models = [{key: value for key, value in model.items() if key != "weights"} for model in args["models"]]
    pool_args = {"name": args.get("pool", name), "kind": "local", **given(args, "replicas", "slots", "port")}
    spec = checked("LocalPool", name, _Spec, {"models": models, "pool": pool_args})
    pool = spec.pool
    fleet = config.Fleet.model_construct(models=spec.models, pools=(pool,))
    by_name = {model.name: model for model in spec.models}
    return [
        _replica(pool, by_name[model], index, Port(port, args.get("config_key", "port")))
        for (model, index), port in pool.replica_ports(fleet).items()
    ]


def _replica(pool: config.LocalPool, model: config.Model, index: int, port: Port) -> Replica:
    part = programs.replica_name(index, model.name)
    name, kind = f"{pool.name}-{part}", model.engine.kind
    options = {"model": model.name, "slots": pool.slots, "context": model.context, **model.engine.args.model_dump()}
    engine = programs.engine(name, port, kind, options)
    worker = programs.worker(name, pool.name, model.name, kind, port.number, pool.slots)
    return Replica(part, model.name, pool.slots, engine, worker)
