"""The gateway as a process of this machine."""

from typing import NotRequired, TypedDict

import pulumi

from llmfleet.config import Gateway
from llmfleet.local import fleet
from llmfleet_components.checks import checked, given
from llmfleet_components.local.resources import Program


class LocalGatewayArgs(TypedDict):
    """What a LocalGateway needs."""

    supervisor: pulumi.Input[str]
    """Folder of the LocalSupervisor that keeps it."""
    queue_url: pulumi.Input[str]
    """The queue, nats://HOST:PORT."""
    models: list[str]
    """Names of the models whose requests may wait even while nobody serves them."""
    host: NotRequired[str]
    """Address it listens on. Default 127.0.0.1."""
    port: NotRequired[int]
    """Port it listens on. Default 8080."""
    progress_timeout_seconds: NotRequired[float]
    """Seconds without a sign of a request before another worker continues it. Default 2."""


class LocalGateway(pulumi.ComponentResource):
    """The OpenAI-compatible front of the fleet."""

    endpoint: pulumi.Output[str]
    """Base URL for OpenAI clients, http://HOST:PORT/v1; known once it is healthy."""

    def __init__(self, name: str, args: LocalGatewayArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmfleet:index:LocalGateway", name, {}, opts)
        spec = checked("LocalGateway", name, Gateway, given(args, "host", "port", "progress_timeout_seconds"))
        server = Program(
            f"{name}-server",
            fleet.gateway(spec.host, spec.port, args["models"], spec.progress_timeout_seconds),
            pulumi.ResourceOptions(parent=self),
            supervisor=args["supervisor"],
            values={"queue_url": args["queue_url"]},
        )
        self.endpoint = server.name.apply(lambda _: f"http://{spec.host}:{spec.port}/v1")
        self.register_outputs({"endpoint": self.endpoint})
