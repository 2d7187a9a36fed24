"""A NATS server on this machine, the queue of a local fleet."""

from typing import NotRequired, TypedDict

import pulumi

from llmfleet.config import NatsQueue
from llmfleet.local import fleet
from llmfleet_components.checks import checked, given
from llmfleet_components.local.resources import Program


class LocalQueueArgs(TypedDict):
    """What a LocalQueue needs."""

    supervisor: pulumi.Input[str]
    """Folder of the LocalSupervisor that keeps it."""
    port: NotRequired[int]
    """Port for clients on 127.0.0.1. Default 4222."""
    monitor_port: NotRequired[int]
    """Port of the monitoring pages on 127.0.0.1. Default 8222."""


class LocalQueue(pulumi.ComponentResource):
    """A NATS server with JetStream on disk; its content goes with it."""

    url: pulumi.Output[str]
    """Where gateways and workers reach it, nats://HOST:PORT; known once it is healthy."""

    def __init__(self, name: str, args: LocalQueueArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmfleet:index:LocalQueue", name, {}, opts)
        spec = checked("LocalQueue", name, NatsQueue, given(args, "port", "monitor_port"))
        server = Program(
            f"{name}-server",
            fleet.queue(spec.port, spec.monitor_port),
            pulumi.ResourceOptions(parent=self),
            supervisor=args["supervisor"],
        )
        self.url = server.name.apply(lambda _: f"nats://127.0.0.1:{spec.port}")
        self.register_outputs({"url": self.url})
