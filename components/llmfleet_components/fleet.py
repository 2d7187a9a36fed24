"""The whole: models, queue, gateway and pools of one environment."""

from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi

from llmfleet.config import Model
from llmfleet.local.fleet import needs_weights
from llmfleet_components.checks import checked_fleet
from llmfleet_components.local.gateway import LocalGateway
from llmfleet_components.local.model import LocalModel
from llmfleet_components.local.pool import LocalPool, LocalPoolModelArgs
from llmfleet_components.local.queue import LocalQueue
from llmfleet_components.local.supervisor import LocalSupervisor


class FleetArgs(TypedDict):
    """What a Fleet needs; the stack file's `llmfleet:fleet` and a folder."""

    folder: str
    """Absolute path of a folder of its own for logs, sockets and data of what runs on this machine."""
    models: list[dict[str, Any]]
    """Models to serve: name, source, engine, context."""
    pools: list[dict[str, Any]]
    """Where to serve them: name, kind, and what that kind takes."""
    queue: NotRequired[dict[str, Any]]
    """The request queue. Default: NATS on its usual ports."""
    gateway: NotRequired[dict[str, Any]]
    """The gateway: host, port, progress_timeout_seconds. Default: 127.0.0.1:8080."""
    schedule: NotRequired[dict[str, Any]]
    """When how many replicas are wanted: timezone and windows."""
    budget: NotRequired[dict[str, Any]]
    """What the fleet may cost."""


class Fleet(pulumi.ComponentResource):
    """One OpenAI-compatible endpoint over all pools."""

    endpoint: pulumi.Output[str]
    """Base URL for OpenAI clients."""
    queue: pulumi.Output[str]
    """URL of the queue."""
    models: pulumi.Output[list[str]]
    """Names of the models."""
    pools: pulumi.Output[list[str]]
    """Names of the pools; known once their workers are ready."""
    slots: pulumi.Output[int]
    """Requests that all pools serve at once."""

    def __init__(self, name: str, args: FleetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmfleet:index:Fleet", name, {}, opts)
        spec = checked_fleet(name, {key: value for key, value in args.items() if key != "folder"})
        supervisor = LocalSupervisor(
            f"{name}-supervisor", {"folder": args["folder"]}, pulumi.ResourceOptions(parent=self)
        )
        weights = {
            model.name: LocalModel(
                f"{name}-model-{model.name}", {"source": model.source}, pulumi.ResourceOptions(parent=self)
            )
            for model in spec.models
            if needs_weights(model.engine.kind)
        }
        queue = LocalQueue(
            f"{name}-queue",
            {"supervisor": supervisor.folder, "port": spec.queue.port, "monitor_port": spec.queue.monitor_port},
            pulumi.ResourceOptions(parent=self),
        )
        gateway = LocalGateway(
            f"{name}-gateway",
            {
                "supervisor": supervisor.folder,
                "queue_url": queue.url,
                "models": [model.name for model in spec.models],
                "host": spec.gateway.host,
                "port": spec.gateway.port,
                "progress_timeout_seconds": spec.gateway.progress_timeout_seconds,
            },
            pulumi.ResourceOptions(parent=self),
        )
        by_name = {model.name: model for model in spec.models}
        pools = [
            LocalPool(
                f"{name}-pool-{pool.name}",
                {
                    "supervisor": supervisor.folder,
                    "queue_url": queue.url,
                    "models": [_served(by_name[model], weights) for model in pool.models],
                    "pool": pool.name,
                    "replicas": pool.replicas,
                    "slots": pool.slots,
                    "port": pool.port,
                    "config_key": f"pools[{index}].port",
                },
                pulumi.ResourceOptions(parent=self),
            )
            for index, pool in enumerate(spec.pools)
        ]
        self.endpoint = gateway.endpoint
        self.queue = queue.url
        self.models = pulumi.Output.from_input([model.name for model in spec.models])
        self.pools = pulumi.Output.all(*(pool.workers for pool in pools)).apply(
            lambda _: [pool.name for pool in spec.pools]
        )
        self.slots = pulumi.Output.all(*(pool.slots for pool in pools)).apply(sum)
        self.register_outputs(
            {
                "endpoint": self.endpoint,
                "queue": self.queue,
                "models": self.models,
                "pools": self.pools,
                "slots": self.slots,
            }
        )


def _served(model: Model, weights: Mapping[str, LocalModel]) -> LocalPoolModelArgs:
    """Return what a pool is told of a model."""
    served: LocalPoolModelArgs = {
        "name": model.name,
        "engine": model.engine.model_dump(),
        "context": model.context,
    }
    if model.name in weights:
        served["weights"] = weights[model.name].path
    return served
