"""llmfleet's Pulumi components. A name is imported when it is used: one cloud's program loads no other cloud."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llmfleet_components.fleet import Fleet
    from llmfleet_components.local.gateway import LocalGateway
    from llmfleet_components.local.model import LocalModel
    from llmfleet_components.local.pool import LocalPool
    from llmfleet_components.local.queue import LocalQueue
    from llmfleet_components.local.supervisor import LocalSupervisor

_HOMES = {
    "Fleet": "fleet",
    "LocalGateway": "local.gateway",
    "LocalModel": "local.model",
    "LocalPool": "local.pool",
    "LocalQueue": "local.queue",
    "LocalSupervisor": "local.supervisor",
}

__all__ = ["Fleet", "LocalGateway", "LocalModel", "LocalPool", "LocalQueue", "LocalSupervisor"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
