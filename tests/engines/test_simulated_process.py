"""The simulated engine as a process: how it starts, how it ends, how it dies."""

import asyncio
import signal
import socket

from programs import fails, program
from talk import user

PATH = "/v1/chat/completions"
CHAT = {"messages": user("Tell me about queues"), "ignore_eos": True, "max_tokens": 100, "return_token_ids": True}


async def test_on_sigterm_streams_get_an_error_and_then_done(free_port):
    port = free_port()
    async with program(port, "simulated", "--model", "m", "--tokens-per-second", 50) as (process, talk):
        streaming = asyncio.create_task(talk.stream(PATH, **CHAT))
        whole = asyncio.create_task(talk.post(PATH, CHAT))
        await asyncio.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        found, (status, _) = await asyncio.gather(streaming, whole)
        assert found.error["code"] == 500
        assert found.done
        assert found.finish is None
        assert 0 < len(found.ids) < 100
        assert status == 500
        async with asyncio.timeout(5):
            assert await process.wait() == 0


async def test_with_a_shutdown_timeout_streams_finish_and_new_requests_fail(free_port):
    arguments = ("simulated", "--model", "m", "--tokens-per-second", 100, "--shutdown-timeout", 20)
    async with program(free_port(), *arguments) as (process, talk):
        streaming = asyncio.create_task(talk.stream(PATH, **CHAT))
        await asyncio.sleep(0.2)
        process.send_signal(signal.SIGTERM)
        await asyncio.sleep(0.1)
        assert (await talk.get("/health"))[0] == 200
        assert (await talk.post(PATH, CHAT))[0] == 500
        found = await streaming
        assert (found.finish, len(found.ids), found.error) == ("length", 100, None)
        async with asyncio.timeout(5):
            assert await process.wait() == 0


async def test_the_fault_die_ends_the_process_in_mid_stream(free_port):
    arguments = ("simulated", "--model", "m", "--fault", "die:after_tokens=4")
    async with program(free_port(), *arguments) as (process, talk):
        found = await talk.stream(PATH, **CHAT)
        assert len(found.ids) == 4
        assert found.broken
        assert await process.wait() == 137


async def test_options_of_the_command_line_arrive(free_port):
    arguments = (
        "simulated",
        "--model",
        "some",
        "--slots",
        3,
        "--context",
        99,
        "--ttft-ms",
        1,
        "--fault",
        "refuse:times=1",
    )
    async with program(free_port(), *arguments) as (_, talk):
        assert '"id":"some"' in (await talk.get("/v1/models"))[1]
        assert '"max_model_len":99' in (await talk.get("/v1/models"))[1]
        assert (await talk.post(PATH, {**CHAT, "max_tokens": 5}))[0] == 503
        assert (await talk.post(PATH, {**CHAT, "max_tokens": 5}))[0] == 200


async def test_a_taken_port_is_told(free_port):
    port = free_port()
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", port))
        holder.listen()
        said = await fails("simulated", "--model", "m", "--listen", f"127.0.0.1:{port}")
    assert f"cannot listen on 127.0.0.1:{port}: another process listens there" in said


async def test_a_wrong_fault_and_a_wrong_address_are_told():
    assert "--fault explode" in await fails(
        "simulated", "--model", "m", "--listen", "127.0.0.1:0", "--fault", "explode"
    )
    assert "HOST:PORT" in await fails("simulated", "--model", "m", "--listen", "8000")
