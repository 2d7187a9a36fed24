"""Serves the components to Pulumi programs of any language."""

from pulumi.provider.experimental import component_provider_host

import llmfleet_components
from llmfleet import __version__

if __name__ == "__main__":
    component_provider_host(
        components=[getattr(llmfleet_components, name) for name in llmfleet_components.__all__],
        name="llmfleet",
        version=__version__,
    )
