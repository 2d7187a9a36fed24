"""The small HTTP server of the simulated engine, byte by byte: what clients may send and some do.

It does not prove HTTP/1.1 in full, nor anything about TLS, which the engine does not speak.
"""

import asyncio

import pytest

BODY = b'{"prompt":"a","max_tokens":3}'
HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\n"
POST = HEAD + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY
HEALTH = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


async def said(talk, *pieces, wait=0.02):
    """Send pieces and return everything that comes back until the server closes or is silent for a while."""
    host, _, port = talk.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for piece in pieces:
            writer.write(piece)
            await asyncio.sleep(wait)
        answer, closed = b"", False
        while not closed:
            try:
                more = await asyncio.wait_for(reader.read(65536), 0.3)
            except TimeoutError:
                break
            answer, closed = answer + more, not more
        return answer, closed
    finally:
        writer.close()
        await writer.wait_closed()


async def test_a_request_may_come_byte_by_byte(engine):
    talk = await engine()
    answer, _ = await said(talk, *[POST[place : place + 1] for place in range(len(POST))], wait=0)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert answer.count(b"HTTP/1.1") == 1


async def test_requests_sent_at_once_are_answered_one_after_the_other(engine):
    talk = await engine(tokens_per_second=100)
    stream = BODY.replace(b"}", b',"stream":true}')
    slow = HEAD + b"Content-Length: %d\r\n\r\n" % len(stream) + stream
    answer, closed = await said(talk, slow + HEALTH + POST + HEALTH)
    assert not closed
    kinds = [part.split(b"\r\n")[1] for part in answer.split(b"HTTP/1.1 200 OK")[1:]]
    assert kinds == [
        b"content-type: text/event-stream; charset=utf-8",
        b"content-type: application/json",
        b"content-type: application/json",
        b"content-type: application/json",
    ]
    assert answer.index(b"[DONE]") < answer.rindex(b"HTTP/1.1")


async def test_a_body_may_come_in_chunks(engine):
    talk = await engine()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:5], BODY[5:])) + b"0\r\n\r\n"
    answer, _ = await said(talk, HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_a_careful_client_is_told_to_go_on(engine):
    talk = await engine()
    head = HEAD + b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(BODY)
    answer, _ = await said(talk, head, BODY)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_the_connection_ends_when_the_client_wants_it(engine):
    talk = await engine()
    assert (await said(talk, HEALTH))[1] is False
    assert (await said(talk, HEALTH.replace(b"Host", b"Connection: close\r\nHost")))[1] is True
    assert (await said(talk, HEALTH.replace(b"1.1", b"1.0")))[1] is True


@pytest.mark.parametrize("rubbish", [b"\x16\x03\x01\x02\x00", b"HELLO\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"])
async def test_what_is_no_http_is_refused_and_the_server_stays(engine, rubbish):
    talk = await engine()
    answer, closed = await said(talk, rubbish)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert closed
    assert (await talk.get("/health"))[0] == 200
