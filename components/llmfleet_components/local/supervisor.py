"""Supervisor on this machine, which keeps the programs of a local fleet."""

from typing import TypedDict

import pulumi

from llmfleet_components.local.resources import Supervisor


class LocalSupervisorArgs(TypedDict):
    """What a LocalSupervisor needs."""

    folder: str
    """Absolute path of a folder of its own, for logs, sockets and the programs' data. Made when missing."""


class LocalSupervisor(pulumi.ComponentResource):
    """A Supervisor daemon: it restarts programs that end, keeps their logs, and ends them with all they started."""

    folder: pulumi.Output[str]
    """Its folder; programs are given it and thereby wait for the daemon."""

    def __init__(self, name: str, args: LocalSupervisorArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("llmfleet:index:LocalSupervisor", name, {}, opts)
        daemon = Supervisor(f"{name}-daemon", args["folder"], pulumi.ResourceOptions(parent=self))
        self.folder = daemon.folder
        self.register_outputs({"folder": self.folder})
