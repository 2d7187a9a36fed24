"""The dynamic providers: what Pulumi pickles of them, how they compare, what they say.

No Pulumi engine: that it calls them so is proven in test_local_stack.py.
"""

import base64
import subprocess
import sys
import traceback
from types import SimpleNamespace

import pytest
from pulumi.dynamic.dynamic import PROVIDER_KEY, serialize_provider
from pulumi.runtime.rpc import UNKNOWN

from llmfleet.errors import LocalError
from llmfleet.local.ports import Port
from llmfleet.local.program import Program
from llmfleet_components.local import resources
from llmfleet_components.local.resources import ProgramProvider, SupervisorProvider, WeightsProvider


def bag(program, folder="/f", provider="p"):
    return {**program.props(), "folder": folder, PROVIDER_KEY: provider}


WEB = Program("web", ("web",), ports=(Port(8080, "gateway.port"),), values={"queue_url": "nats://x"})


@pytest.mark.parametrize("provider", [ProgramProvider, SupervisorProvider, WeightsProvider])
def test_a_provider_is_pickled_as_a_name_only(provider):
    pickled = base64.b64decode(serialize_provider(provider()))
    assert len(pickled) < 150
    assert provider.__name__.encode() in pickled


def test_the_pickle_is_the_same_in_every_process():
    code = (
        "from pulumi.dynamic.dynamic import serialize_provider; import llmfleet_components.local.resources as r;"
        "print(serialize_provider(r.ProgramProvider()))"
    )
    runs = {
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout for _ in "ab"
    }
    assert runs == {serialize_provider(ProgramProvider()) + "\n"}


def test_equal_inputs_are_no_change_though_numbers_became_floats():
    olds = bag(WEB) | {"ports": [{"number": 8080.0, "key": "gateway.port"}], "stop_seconds": 15}
    assert ProgramProvider().diff("web", olds, bag(WEB)).changes is False


def test_a_changed_command_is_an_update_in_place():
    result = ProgramProvider().diff("web", bag(WEB), bag(Program("web", ("web", "--more"))))
    assert (result.changes, result.replaces) == (True, [])


def test_another_name_or_folder_is_a_replacement_that_deletes_first():
    result = ProgramProvider().diff("web", bag(WEB), bag(WEB, folder="/elsewhere"))
    assert (result.changes, result.replaces, result.delete_before_replace) == (True, ["folder"], True)


def test_a_value_that_is_not_known_yet_is_a_change():
    news = bag(WEB) | {"values": {"queue_url": UNKNOWN}}
    assert ProgramProvider().diff("web", bag(WEB), news).changes is True


def test_a_moved_provider_is_written_to_the_state_without_a_restart(monkeypatch):
    monkeypatch.setattr(resources.programs, "update", lambda *_: pytest.fail("restarted"))
    olds, news = bag(WEB), bag(WEB, provider="new")
    assert ProgramProvider().diff("web", olds, news).changes is True
    assert ProgramProvider().update("web", olds, news).outs == {**WEB.props(), "folder": "/f"}


def test_what_is_gone_is_read_as_gone(tmp_path):
    assert ProgramProvider().read("web", bag(WEB, folder=str(tmp_path))).id is None
    assert SupervisorProvider().read(str(tmp_path), {"folder": str(tmp_path), PROVIDER_KEY: "p"}).id is None
    there, gone = tmp_path / "there.gguf", tmp_path / "gone.gguf"
    there.touch()
    assert WeightsProvider().read("s", {"source": "s", "path": str(there), PROVIDER_KEY: "p"}).id == "s"
    assert WeightsProvider().read("s", {"source": "s", "path": str(gone), PROVIDER_KEY: "p"}).id is None


def test_a_users_mistake_is_told_without_a_traceback_and_a_bug_with_one(monkeypatch):
    host = SimpleNamespace(traceback=traceback)
    monkeypatch.setitem(sys.modules, "__main__", host)
    ProgramProvider().configure(None)

    def told(error):
        try:
            raise error
        except type(error):
            return host.traceback.format_exc()

    assert told(LocalError("port 8080 is taken")) == "port 8080 is taken"
    assert told(KeyError("bug")).startswith("Traceback (most recent call last)")
    assert traceback.format_exc.__module__ == "traceback"
