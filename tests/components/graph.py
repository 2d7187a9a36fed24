"""The graph of resources that a program registers, without an engine."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pulumi
from pulumi.runtime import rpc
from pulumi.runtime.mocks import MockMonitor
from pulumi.runtime.stack import run_pulumi_func


@dataclass(frozen=True)
class Node:
    """One registered resource."""

    type: str
    name: str
    parent: str
    provider: str
    inputs: dict
    needs: frozenset[str]
    """Names of the resources that must exist before it."""


class _Echo(pulumi.runtime.Mocks):
    def new_resource(self, args):
        made_later = {"path": "/cache/weights.gguf"} if args.typ.endswith(":Weights") else {}
        return f"{args.name}-id", {**args.inputs, **({} if pulumi.runtime.is_dry_run() else made_later)}

    def call(self, args):
        raise AssertionError(f"a network call while constructing: {args.token}")


class _Monitor(MockMonitor):
    def __init__(self, mocks):
        super().__init__(mocks)
        self.nodes: dict[str, Node] = {}

    def RegisterResource(self, request):  # noqa: N802 the name in Pulumi's protocol
        if request.type != "pulumi:pulumi:Stack":
            self.nodes[request.name] = Node(
                request.type,
                request.name,
                _name(request.parent),
                _name(request.provider.rpartition("::")[0]),
                rpc.deserialize_properties(request.object, keep_unknowns=True),
                frozenset(_name(urn) for urn in request.dependencies),
            )
        # This thread needs a loop; Pulumi's own would be left open, which pytest takes for the leak that it is.
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
        try:
            return super().RegisterResource(request)
        finally:
            asyncio.set_event_loop(None)
            loop.close()


def graph(program: Callable[[], object], *, preview: bool = False) -> dict[str, Node]:
    """Run a program against mocks and return what it registered, by name.

    Raises:
        Exception: what the program raised.
    """
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    monitor = _Monitor(_Echo())
    pulumi.runtime.set_mocks(_Echo(), project="llmfleet", stack="local", preview=preview, monitor=monitor)
    try:
        loop.run_until_complete(run_pulumi_func(lambda: (program(), None)[1]))
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
    return monitor.nodes


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]
