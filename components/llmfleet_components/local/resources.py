"""The leaves of the local environment: dynamic resources over `llmfleet.local`.

Pulumi pickles a provider into the state of each resource. Classes of an importable module without attributes pickle
to their names only, so the state is the same at each run and an upgrade of llmfleet also mends what deletes.
"""

import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pulumi
from pulumi.dynamic import (
    ConfigureRequest,
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)
from pulumi.dynamic.dynamic import PROVIDER_KEY
from typing_extensions import override

from llmfleet.errors import LlmfleetError
from llmfleet.local import program as local
from llmfleet.local import programs, supervisor
from llmfleet.local.home import Home


class _Provider(ResourceProvider):
    """What the providers share."""

    serialize_as_secret_always = False  # it holds a class's name

    identity: tuple[str, ...] = ()
    """Properties whose change makes it another thing."""

    @override
    def configure(self, req: ConfigureRequest) -> None:
        _speak_plainly()

    @override
    def diff(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> DiffResult:
        replaces = [key for key in self.identity if olds.get(key) != news.get(key)]
        # Also when only the provider's name changed: the state must not go on naming one that is no more.
        changes = bool(replaces) or olds[PROVIDER_KEY] != news[PROVIDER_KEY] or not self.is_same(olds, news)
        return DiffResult(changes=changes, replaces=replaces, delete_before_replace=True)

    def is_same(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        """Say whether two property bags of equal identity describe the same."""
        return True

    @override
    def update(self, _id: str, _olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_kept(news))

    @override
    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        """Say that it is gone, by an empty id, or leave everything as it was."""
        return ReadResult(id_ if self.is_there(props) else None, _kept(props))

    def is_there(self, props: Mapping[str, Any]) -> bool:
        """Say whether the thing exists and works."""
        raise NotImplementedError


class SupervisorProvider(_Provider):
    """Keeps one Supervisor per folder."""

    identity = ("folder",)

    @override
    def create(self, props: dict[str, Any]) -> CreateResult:
        supervisor.start(Home(Path(props["folder"])))
        return CreateResult(props["folder"], _kept(props))

    @override
    def is_there(self, props: Mapping[str, Any]) -> bool:
        return supervisor.is_alive(Home(Path(props["folder"])))

    @override
    def delete(self, _id: str, props: dict[str, Any]) -> None:
        supervisor.stop(Home(Path(props["folder"])))


class ProgramProvider(_Provider):
    """Keeps one program under the Supervisor of a folder."""

    identity = ("folder", "name")

    @override
    def create(self, props: dict[str, Any]) -> CreateResult:
        programs.create(Home(Path(props["folder"])), local.Program.of(props))
        return CreateResult(props["name"], _kept(props))

    @override
    def is_same(self, olds: Mapping[str, Any], news: Mapping[str, Any]) -> bool:
        return local.Program.of(news).runs_like(local.Program.of(olds))

    @override
    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        if not self.is_same(olds, news):
            programs.update(Home(Path(news["folder"])), local.Program.of(olds), local.Program.of(news))
        return UpdateResult(_kept(news))

    @override
    def is_there(self, props: Mapping[str, Any]) -> bool:
        return programs.is_healthy(Home(Path(props["folder"])), local.Program.of(props))

    @override
    def delete(self, _id: str, props: dict[str, Any]) -> None:
        programs.delete(Home(Path(props["folder"])), local.Program.of(props))


class WeightsProvider(_Provider):
    """Sees that a model's weights are on this machine. They stay when the resource goes: they are a cache."""

    identity = ("source",)

    @override
    def create(self, props: dict[str, Any]) -> CreateResult:
        from llmfleet.models import resolve

        path = resolve(props["source"], progress=None)
        return CreateResult(props["source"], {"source": props["source"], "path": str(path)})

    @override
    def update(self, _id: str, olds: dict[str, Any], news: dict[str, Any]) -> UpdateResult:
        return UpdateResult({**_kept(news), "path": olds["path"]})

    @override
    def is_there(self, props: Mapping[str, Any]) -> bool:
        return Path(props["path"]).exists()


class Supervisor(Resource, module="llmfleet", name="Supervisor"):
    """Supervisor, in a folder of its own."""

    folder: pulumi.Output[str]

    def __init__(self, name: str, folder: pulumi.Input[str], opts: pulumi.ResourceOptions) -> None:
        super().__init__(SupervisorProvider(), name, {"folder": folder}, opts)


class Program(Resource, module="llmfleet", name="Program"):
    """A program that Supervisor keeps; it exists when it is healthy."""

    name: pulumi.Output[str]
    """The program's name; who uses it waits until the program is healthy."""

    def __init__(
        self,
        name: str,
        program: local.Program,
        opts: pulumi.ResourceOptions,
        *,
        supervisor: pulumi.Input[str],
        values: Mapping[str, pulumi.Input[str]] | None = None,
    ) -> None:
        """Create the resource.

        Args:
            name: Name of the resource.
            program: What to run.
            opts: Its options.
            supervisor: Folder of the Supervisor that keeps it.
            values: The values of the program's command line.
        """
        props = {**program.props(), "values": {**(values or {})}, "folder": supervisor}
        super().__init__(ProgramProvider(), name, props, opts)


class Weights(Resource, module="llmfleet", name="Weights"):
    """A file with a model's weights in a cache of this machine."""

    path: pulumi.Output[str]

    def __init__(self, name: str, source: str, opts: pulumi.ResourceOptions) -> None:
        super().__init__(WeightsProvider(), name, {"source": source, "path": None}, opts)


def _kept(props: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in props.items() if key != PROVIDER_KEY}


def _speak_plainly() -> None:
    """Let a user's mistake be told without a traceback.

    Pulumi's process for dynamic providers (`python -m pulumi.dynamic`) answers each exception with
    `traceback.format_exc()`. It offers no other way to say something; so in that process, and only there, this name
    is bound to a formatter that knows our errors.
    """
    host = sys.modules["__main__"]
    if getattr(host, "traceback", None) is traceback:
        host.traceback = SimpleNamespace(format_exc=_format)  # type: ignore[attr-defined]


def _format() -> str:
    error = sys.exception()
    return str(error) if isinstance(error, LlmfleetError) else traceback.format_exc()
