"""Replicas as processes of this machine."""

import zlib
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from llmfleet.config.part import Port, Whole
from llmfleet.config.pools.base import PoolPart
from llmfleet.config.ports import Ports

if TYPE_CHECKING:
    from llmfleet.config.fleet import Fleet

MAX_REPLICAS = 16
# Below the ports that Linux gives to outgoing connections (32768 and up), and four models wide.
_FIRST, _STEP, _BLOCKS = 18_000, 64, 156


class LocalPool(PoolPart):
    """Model servers with a worker each, as processes of this machine."""

    kind: Literal["local"]
    """Always "local"."""
    replicas: Annotated[Whole, Field(ge=1, le=MAX_REPLICAS)] = 1
    """Model servers, for each model. Default 1."""
    slots: Annotated[Whole, Field(ge=1, le=64)] = 4
    """Requests that one replica serves at once. Default 4."""
    port: Port = Field(default_factory=lambda checked: default_port(checked["name"]))
    """First port of its model servers on 127.0.0.1. Default: follows from the name, 18000 to 27920."""

    def replica_ports(self, fleet: "Fleet") -> dict[tuple[str, int], int]:
        """Return the port of each (name of the model, index of the replica), in the order in which to create them.

        A port depends on the position of its model in this pool and on the replica's index only: a further replica,
        and a further model at the list's end, move no other.
        """
        names = self.models or tuple(model.name for model in fleet.models)
        return {
            (name, index): self.port + MAX_REPLICAS * position + index
            for position, name in enumerate(names)
            for index in range(self.replicas)
        }

    def local_ports(self) -> tuple[Ports, ...]:
        """Return the ports from its first model server to its last."""
        count = MAX_REPLICAS * max(len(self.models) - 1, 0) + self.replicas
        numbers = range(self.port, self.port + count)
        return (Ports("port", f"pool {self.name}", numbers, frozenset({"port", "replicas", "models"})),)


def default_port(name: str) -> int:
    """Return the first port of a pool of that name: the same whatever other pools there are."""
    return _FIRST + _STEP * (zlib.crc32(name.encode()) % _BLOCKS)
