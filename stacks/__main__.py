"""Every environment's program: the stack file says what, the components how.

The only place that reads `pulumi.Config` and the only one that makes providers.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pulumi

from llmfleet.config import load_fleet
from llmfleet.errors import ConfigError
from llmfleet_components import Fleet

if TYPE_CHECKING:
    from llmfleet_components.fleet import FleetArgs

# Pulumi's own code for "the user has been told": nothing more is printed.
_TOLD = 32


def main() -> None:
    """Create the fleet of this stack."""
    stack, root = pulumi.get_stack(), Path(pulumi.get_root_directory())
    try:
        value = pulumi.Config("llmfleet").require_object("fleet")
        load_fleet(value, where=f"stacks/Pulumi.{stack}.yaml")
    except (ConfigError, pulumi.RunError) as error:
        pulumi.log.error(str(error))
        sys.exit(_TOLD)
    processes = pulumi.ProviderResource("pulumi-python", "processes")
    fleet = Fleet(
        "fleet",
        cast("FleetArgs", {**value, "folder": str(root / ".llmfleet" / stack)}),
        pulumi.ResourceOptions(providers=[processes]),
    )
    pulumi.export("endpoint", fleet.endpoint)
    pulumi.export("queue", fleet.queue)
    pulumi.export("models", fleet.models)
    pulumi.export("pools", fleet.pools)
    pulumi.export("slots", fleet.slots)
    pulumi.export("try", fleet.endpoint.apply(_how_to_try))


def _how_to_try(endpoint: str) -> str:
    url = endpoint.removesuffix("/v1")
    # The default needs no option.
    option = "" if url == "http://127.0.0.1:8080" else f" --url {url}"
    return f'llmfleet chat "Write a haiku about spot instances"{option}'


main()
