"""A running Supervisor in a folder of its own."""

import sys

import pytest

from llmfleet.local import supervisor
from llmfleet.local.home import Home
from llmfleet.local.ports import Port
from llmfleet.local.program import Program


@pytest.fixture
def home(tmp_path):
    """The folder of a stack whose Supervisor runs."""
    home = Home(tmp_path / "with space # and % [sign]" / "local")
    supervisor.start(home)
    yield home
    supervisor.stop(home)


@pytest.fixture
def web():
    """A function that describes a small web server."""

    def make(port, name="web", *, log="", **changes):
        code = (
            "import http.server, sys; print(sys.argv[1:], flush=True);"
            "http.server.test(http.server.SimpleHTTPRequestHandler, port=int(sys.argv[1]), bind='127.0.0.1')"
        )
        shape = {
            "command": (sys.executable, "-c", code, str(port), log),
            "health_url": f"http://127.0.0.1:{port}/",
            "ports": (Port(port, f"{name}.port"),),
            "start_seconds": 20,
        }
        return Program(name=name, **(shape | changes))

    return make
