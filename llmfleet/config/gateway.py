"""The OpenAI-compatible front."""

from typing import Annotated

from pydantic import Field

from llmfleet.config.part import Number, Part, Port
from llmfleet.config.ports import Ports, single
from llmfleet.config.wording import HOST


class Gateway(Part):
    """Where clients reach the fleet."""

    host: Annotated[str, Field(pattern=HOST)] = "127.0.0.1"
    """Address it listens on. Default 127.0.0.1: this machine only."""
    port: Port = 8080
    """Port it listens on. Default 8080."""
    progress_timeout_seconds: Annotated[Number, Field(ge=1.2, le=3600)] = 2.0
    """Seconds without a sign of a request before another worker continues it. Default 2."""

    def local_ports(self) -> tuple[Ports, ...]:
        """Return its only one."""
        return (single("port", "the gateway", self.port),)
