"""The package for other languages: its schema is in step and its host serves it. No other language's SDK is made."""

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import grpc
import pytest
from pulumi.provider.experimental.component import ComponentProvider
from pulumi.runtime.proto import provider_pb2, provider_pb2_grpc

import llmfleet_components
from llmfleet import __version__

COMPONENTS = Path(__file__).parents[2] / "components"


def schema():
    """Return the schema that the classes say, without the version, which a release would change."""
    classes = [getattr(llmfleet_components, name) for name in llmfleet_components.__all__]
    return without_version(ComponentProvider(classes, "llmfleet", version=__version__).schema)


def without_version(text):
    return {key: value for key, value in json.loads(text).items() if key != "version"}


def test_the_schema_file_is_in_step():
    file = COMPONENTS / "schema.json"
    fresh = json.dumps(schema(), indent=2, sort_keys=True) + "\n"
    assert file.read_text() == fresh, f"components/schema.json is out of date; it must be:\n{fresh}"


def test_every_property_says_what_it_is():
    said = schema()
    for kind in ("resources", "types"):
        for token, thing in said.get(kind, {}).items():
            assert thing.get("description"), token
            for group in ("inputProperties", "properties"):
                for name, value in thing.get(group, {}).items():
                    assert value.get("description"), f"{token}.{name}"


def test_the_host_serves_the_schema():
    host = subprocess.Popen([sys.executable, "-u", COMPONENTS, "127.0.0.1:1"], stdout=subprocess.PIPE, text=True)
    with contextlib.closing(host.stdout):
        try:
            port = int(host.stdout.readline())
            with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
                answer = provider_pb2_grpc.ResourceProviderStub(channel).GetSchema(provider_pb2.GetSchemaRequest())
        finally:
            host.kill()
            host.wait()
    assert without_version(answer.schema) == schema()


def test_a_component_is_imported_when_it_is_used():
    code = (
        "import sys, llmfleet_components as c; assert 'pulumi' not in sys.modules;"
        "c.LocalQueue; assert 'llmfleet_components.fleet' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="NoSuchThing"):
        llmfleet_components.NoSuchThing  # noqa: B018 the look-up is the test
