"""What a careless or hostile client may send to the gateway: each gets a clear error in OpenAI's shape or is dropped,
and the gateway goes on. Real sockets against a real gateway process; TLS and floods of connections are not tried.
"""

import asyncio
import json
import socket

import pytest
from harness import answers, fleet, until

from llmfleet.queue import survey

MODEL = "bad-input"
CHAT = "/v1/chat/completions"
HELLO = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def whole(broker, tmp_path_factory, free_port):
    with fleet(tmp_path_factory.mktemp("fleet"), broker.url, free_port, MODEL) as made:
        made.gateway()
        _, engine = made.engine("--context", 200_000)
        made.worker(engine, name="a")
        yield made


@pytest.fixture(autouse=True)
def still_up(whole):
    yield
    assert answers(f"{whole.url}/health"), "the gateway must survive whatever a client sends"
    status, _, _ = whole.post(CHAT, {"model": MODEL, "messages": HELLO, "max_tokens": 1})
    assert status == 200


@pytest.mark.parametrize(
    ("body", "param", "says"),
    [
        (b"", None, "no body"),
        (b"   ", None, "no body"),
        (b"{", None, "not valid JSON"),
        (b"\xff\xfe", None, "not valid JSON"),
        (b"[]", None, "Expected `object`"),
        (b'{"model": "m", "x": ' + b"[" * 100_000, None, "nested"),
        ({}, "model", "model"),
        ({"model": MODEL}, "messages", "messages"),
        ({"model": 7, "messages": HELLO}, "model", "Expected `str`, got `int`"),
        ({"model": "", "messages": HELLO}, "model", "length"),
        ({"model": MODEL, "messages": "hi"}, "messages", "Expected `array`"),
        ({"model": MODEL, "messages": []}, "messages", "length"),
        ({"model": MODEL, "messages": [{"content": "x"}]}, "messages[0]", "role"),
        ({"model": MODEL, "messages": HELLO, "stream": "yes"}, "stream", "bool"),
        ({"model": MODEL, "messages": HELLO, "max_tokens": -1}, "max_tokens", ">= 0"),
        ({"model": MODEL, "messages": HELLO, "n": 0}, "n", ">= 1"),
        ({"model": MODEL, "messages": HELLO, "temperature": "hot"}, "temperature", "float"),
        ({"model": MODEL, "messages": HELLO, "stop": 5}, "stop", "got `int`"),
    ],
)
def test_a_mistake_is_told_with_its_field(whole, body, param, says):
    status, answer, _ = whole.post(CHAT, body)
    assert status == 400
    assert set(answer["error"]) == {"message", "type", "param", "code"}
    assert says in answer["error"]["message"]
    assert answer["error"]["param"] == param


def test_a_model_that_nobody_serves_is_404_and_names_those_that_are(whole):
    status, answer, _ = whole.post(CHAT, {"model": "x" * 10_000, "messages": HELLO})
    assert (status, answer["error"]["code"]) == (404, "model_not_found")
    assert MODEL in answer["error"]["message"]
    assert len(answer["error"]["message"]) < 1000


def test_a_body_over_the_limit_is_413_and_names_the_limit(whole):
    status, answer, _ = whole.post(CHAT, {"model": MODEL, "messages": [{"role": "user", "content": "x" * 9_000_000}]})
    assert status == 413
    assert "at most 8384512" in answer["error"]["message"]


def test_a_body_without_a_length_is_limited_as_well(whole):
    with dial(whole) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        try:
            for _ in range(200):
                client.sendall(piece)
            client.sendall(b"0\r\n\r\n")
        except OSError:
            pass  # cut off in the middle of it
        assert b" 413 " in received(client)


def test_a_body_without_an_end_is_cut_off(whole):
    with dial(whole) as client:
        client.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n")
        piece = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
        with pytest.raises(OSError, match=r"reset|[Bb]roken"):
            client.sendall(piece * 2000)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", CHAT, 405), ("POST", "/health", 405), ("GET", "/x", 404)]
)
def test_what_is_not_there_is_said(whole, method, path, status):
    with dial(whole) as client:
        client.sendall(
            f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode()
        )
        head, _, body = received(client).partition(b"\r\n\r\n")
    assert f" {status} ".encode() in head
    assert json.loads(body)["error"]["message"]


def test_a_header_bomb_is_431(whole):
    with dial(whole) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n")
        try:
            for number in range(5000):
                client.sendall(b"x-%d: %s\r\n" % (number, b"y" * 1000))
        except OSError:
            pass
        assert b" 431 " in received(client)


def test_one_endless_header_is_431(whole):
    with dial(whole) as client:
        client.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\ny: ")
        try:
            for _ in range(100):
                client.sendall(b"z" * 10_000)
        except OSError:
            pass
        assert b" 431 " in received(client)


def test_what_is_not_http_is_400(whole):
    with dial(whole) as client:
        client.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        assert b" 400 " in received(client)


def test_a_client_that_reads_nothing_is_dropped_and_its_slot_is_free(whole):
    body = json.dumps({"model": MODEL, "messages": HELLO, "stream": True, "max_tokens": 90_000, "ignore_eos": True})
    with dial(whole, receive_buffer=4096) as client:
        head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n\r\n"
        client.sendall(head.encode() + body.encode())
        until(lambda: whole.processes[0].said("reads too slowly"), 60)
        until(lambda: not any(state.used for state in states(whole)), 10)


def test_a_request_id_is_repeated_if_it_is_fit_to_be(whole):
    _, _, headers = whole.post(CHAT, {"model": MODEL, "messages": HELLO}, **{"x-request-id": "abc-123"})
    assert headers["x-request-id"] == "abc-123"
    _, _, headers = whole.post(CHAT, {"model": MODEL, "messages": HELLO}, **{"x-request-id": "x" * 500})
    assert len(headers["x-request-id"]) < 64


def states(whole):
    found = asyncio.run(survey(whole.queue, wait=0.2)).workers
    return [state for state in found if state.model == MODEL]


def dial(whole, receive_buffer: int = 0) -> socket.socket:
    client = socket.socket()
    if receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    client.settimeout(20)
    client.connect(("127.0.0.1", int(whole.url.rpartition(":")[2])))
    return client


def received(client: socket.socket) -> bytes:
    data = b""
    try:
        while piece := client.recv(65536):
            data += piece
            if b"\r\n\r\n" in data and b"connection: close" not in data.lower():
                break
    except OSError:
        pass
    return data
