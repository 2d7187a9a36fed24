"""Request queues by kind. A new kind is one class and its name in the union."""

from typing import Annotated, Literal, TypeAlias

from llmfleet.config.part import ByKind, Part, Port
from llmfleet.config.ports import Ports, single


class NatsQueue(Part):
    """A NATS server with JetStream on this machine."""

    kind: Literal["nats"] = "nats"
    """Always "nats"."""
    port: Port = 4222
    """Port for gateways and workers on 127.0.0.1. Default 4222."""
    monitor_port: Port = 8222
    """Port of its monitoring pages on 127.0.0.1. Default 8222."""

    def local_ports(self) -> tuple[Ports, ...]:
        """Return both."""
        return (
            single("port", "the queue", self.port),
            single("monitor_port", "the queue's monitoring", self.monitor_port),
        )


Queue: TypeAlias = Annotated[NatsQueue, ByKind(default="nats")]
"""What holds the orders."""
