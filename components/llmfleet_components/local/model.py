"""A model's weights on this machine."""

from typing import TypedDict

import pulumi

from llmfleet_components.local.resources import Weights


class LocalModelArgs(TypedDict):
    """What a LocalModel needs."""

    source: str
    """Where the weights come from: embedded://smollm2-135m, file:///path, or hf://org/repo[/file]."""


class LocalModel(pulumi.ComponentResource):
    """Weights in this user's cache: loaded once, read by every replica, kept when the fleet goes."""

    path: pulumi.Output[str]
    """Absolute path of the weights."""

    def __init__(self, name: str, args: LocalModelArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmfleet:index:LocalModel", name, {}, opts)
        weights = Weights(f"{name}-weights", args["source"], pulumi.ResourceOptions(parent=self))
        self.path = weights.path
        self.register_outputs({"path": self.path})
