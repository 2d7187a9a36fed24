"""Taken ports are found and named. Real sockets of this process; nothing about macOS is proven."""

import os
import socket

import pytest

from llmfleet.errors import LocalError
from llmfleet.local.ports import Port, check_free, is_free, wait_closed


@pytest.fixture
def listener():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken


def test_the_holder_and_the_setting_are_named(listener, free_port):
    number = listener.getsockname()[1]
    with pytest.raises(LocalError) as error:
        check_free([Port(free_port(), "queue.port"), Port(number, "gateway.port")])
    text = str(error.value)
    assert f"port {number} is taken by " in text
    assert f"(pid {os.getpid()})" in text
    assert text.endswith("stop that process, or set gateway.port to a free port")


def test_all_taken_ports_are_told_at_once(listener):
    number = listener.getsockname()[1]
    with pytest.raises(LocalError) as error:
        check_free([Port(number, "pools[0].port"), Port(number, "pools[1].port")])
    assert len(str(error.value).splitlines()) == 2


def test_a_listener_on_all_addresses_counts():
    with socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        assert not is_free(taken.getsockname()[1])


def test_a_port_is_free_again_though_its_last_connection_lingers(listener):
    number = listener.getsockname()[1]
    with socket.create_connection(("127.0.0.1", number)):
        connection, _ = listener.accept()
        connection.close()  # our side first: TIME_WAIT stays with this port
    listener.close()
    assert is_free(number)
    assert wait_closed([Port(number, "x")], seconds=1)


def test_waiting_for_a_port_ends(listener):
    assert not wait_closed([Port(listener.getsockname()[1], "x")], seconds=0.1)
