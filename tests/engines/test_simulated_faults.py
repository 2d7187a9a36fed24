"""Faults on demand: each kind does to its client what a failing engine does.

`die` is shown here on a server inside the test, where it cuts connections, and on a process in another module.
"""

import asyncio

import aiohttp
import pytest
from talk import user

from llmfleet.engines.simulated.faults import Fault, parse
from llmfleet.errors import ConfigError

CHAT = {"messages": user("Tell me about queues"), "ignore_eos": True, "max_tokens": 40, "return_token_ids": True}
PATH = "/v1/chat/completions"


async def test_an_error_in_mid_stream_is_an_event_and_then_done(engine):
    talk = await engine()
    whole = await talk.stream(PATH, **CHAT)
    await talk.faults({"kind": "error", "after_tokens": 7, "times": 1})
    found = await talk.stream(PATH, **CHAT)
    assert found.ids == whole.ids[:7]
    assert found.error["code"] == 500
    assert found.finish is None
    assert found.done, "this is the trap: [DONE] is no success"
    again = await talk.stream(PATH, **CHAT)
    assert again.ids == whole.ids, "the fault was for one request"


async def test_an_error_before_the_first_token_is_a_status(engine):
    talk = await engine()
    await talk.faults({"kind": "error"})
    for stream in (True, False):
        status, answer = await talk.post(PATH, {**CHAT, "stream": stream})
        assert status == answer["error"]["code"] == 500


async def test_a_hang_stops_tokens_and_nothing_else_until_it_is_removed(engine):
    talk = await engine()
    whole = await talk.stream(PATH, **CHAT)
    await talk.faults({"kind": "hang", "after_tokens": 5})
    asking = asyncio.create_task(talk.stream(PATH, **CHAT))
    await asyncio.sleep(0.2)
    assert not asking.done()
    assert await talk.get("/health") == (200, "")
    assert await talk.metric("num_requests_running") == 1
    await talk.faults()
    assert (await asking).ids == whole.ids


async def test_a_hang_strikes_running_requests_too(engine):
    talk = await engine(tokens_per_second=100)
    asking = asyncio.create_task(talk.stream(PATH, **CHAT))
    await asyncio.sleep(0.1)
    await talk.faults({"kind": "hang"})
    produced = await talk.metric("generation_tokens_total")
    await asyncio.sleep(0.2)
    assert await talk.metric("generation_tokens_total") == produced < 40
    await talk.faults()
    assert (await asking).finish == "length"


async def test_a_client_can_leave_an_engine_that_hangs(engine):
    talk = await engine(slots=1)
    await talk.faults({"kind": "hang", "times": 1})
    asking = asyncio.create_task(talk.stream(PATH, **CHAT))
    await asyncio.sleep(0.1)
    asking.cancel()
    await asyncio.wait([asking])
    assert (await talk.stream(PATH, **CHAT)).finish == "length"


async def test_death_cuts_the_stream_without_an_end(engine):
    talk = await engine()
    await talk.faults({"kind": "die", "after_tokens": 6})
    found = await talk.stream(PATH, **CHAT)
    assert len(found.ids) == 6
    assert found.broken
    assert not found.done
    with pytest.raises(aiohttp.ClientError):
        await talk.get("/health")


async def test_a_slow_engine_takes_longer_for_each_token(engine):
    talk = await engine()
    loop = asyncio.get_running_loop()
    await talk.faults({"kind": "slow", "factor": 2, "times": 1})
    started = loop.time()
    assert (await talk.stream(PATH, **CHAT)).finish == "length"
    assert loop.time() - started >= 39 * 0.02 - 0.01
    assert await talk.metric("inter_token_latency_seconds_sum") >= 39 * 0.02 - 0.01


async def test_refusal_is_503_to_new_requests_only(engine):
    talk = await engine(tokens_per_second=200)
    asking = asyncio.create_task(talk.stream(PATH, **CHAT))
    await asyncio.sleep(0.05)
    await talk.faults({"kind": "refuse", "times": 2})
    for _ in range(2):
        status, answer = await talk.post(PATH, CHAT)
        assert (status, answer["error"]["code"]) == (503, 503)
    assert (await talk.post(PATH, CHAT))[0] == 200
    assert (await asking).finish == "length"


async def test_faults_are_listed_and_bad_ones_refused(engine):
    talk = await engine(faults=(Fault("slow"),))
    _, text = await talk.get("/_faults")
    assert '"kind":"slow"' in text
    for bad in ({"kind": "explode"}, {"kind": "hang", "when": 3}, {"kind": "hang", "times": 0}, {}):
        assert (await talk.post("/_faults", bad))[0] == 400


def test_a_fault_is_written_on_the_command_line():
    assert parse("hang") == Fault("hang")
    assert parse("hang:after_tokens=5,times=1") == Fault("hang", after_tokens=5, times=1)
    assert parse("slow:factor=2.5") == Fault("slow", factor=2.5)


@pytest.mark.parametrize("text", ["", "explode", "hang:after=3", "hang:times=0", "slow:factor=-1", "hang:times"])
def test_a_fault_that_is_none_is_told_with_what_is_allowed(text):
    with pytest.raises(ConfigError, match=r"--fault .*hang, die, error, slow, refuse.*after_tokens, times, factor"):
        parse(text)
