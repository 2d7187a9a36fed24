"""What dies while clients read: workers, engines, gateways' clients, the broker. Real processes, real signals, the
simulated engine, whose answers are known to the byte. Proves that nothing is lost or said twice; bit-equality of a real
model's continued answers is another matter (see test_llamacpp_fleet).
"""

import asyncio
import time

import aiohttp
import pytest
from harness import Fleet, fleet, until
from streams import Read, read, read_many

from llmfleet.engines import simulated
from llmfleet.queue import survey

LONG = {"max_tokens": 60, "ignore_eos": True}
PACE = ("--tokens-per-second", 25)


@pytest.fixture
def made(request, own_broker, tmp_path, free_port):
    own_broker.start()
    with fleet(tmp_path, own_broker.url, free_port, "m") as whole:
        yield whole


async def truth(prompts: list[str]) -> list[Read]:
    """The answers of an engine that nobody disturbs."""
    async with simulated.running(model="m") as url:
        return await read_many(url, "m", prompts, **LONG)


def prompts(number: int) -> list[str]:
    return [f"Question {i}: what is {i} times {i}? Grüße, 你好" for i in range(number)]


def same(got: list[Read], expected: list[Read]) -> None:
    """Every stream is complete and, byte for byte, what it would have been."""
    assert [item.error for item in got] == [None] * len(got)
    assert [item.text for item in got] == [item.text for item in expected]
    assert all(item.done and item.finish == "length" and item.tokens == LONG["max_tokens"] for item in got)


def used(made: Fleet) -> int:
    return sum(worker.used for worker in asyncio.run(survey(made.queue, wait=0.2)).workers)


def two_pools(made: Fleet, *options: object):
    made.gateway()
    pairs = []
    for name in ("east", "west"):
        engine, url = made.engine(*PACE)
        pairs.append((engine, made.worker(url, *options, name=name)))
    return pairs


async def test_a_killed_worker_costs_no_token_of_twenty_streams(made):
    (_, east), _ = two_pools(made)
    running = asyncio.create_task(read_many(made.url, "m", prompts(20), **LONG))
    await asyncio.sleep(1.2)
    states = (await survey(made.queue, wait=0.2)).workers
    assert all(worker.used for worker in states), "both pools must be at work when one dies"
    east.kill()
    got = await running
    same(got, await truth(prompts(20)))
    assert max(max(item.gaps[1:]) for item in got) > 1, "no stream was cut: the test proved nothing"


async def test_a_killed_engine_costs_no_token_either(made):
    (engine, _), _ = two_pools(made)
    running = asyncio.create_task(read_many(made.url, "m", prompts(20), **LONG))
    await asyncio.sleep(1.2)
    engine.kill()
    same(await running, await truth(prompts(20)))
    assert "llmfleet_reissued_orders_total" in await page(made, "/metrics")


async def test_a_worker_that_is_stopped_hands_over_what_it_cannot_finish(made):
    (_, east), _ = two_pools(made, "--drain-seconds", 0.2)
    running = asyncio.create_task(read_many(made.url, "m", prompts(20), **LONG))
    await asyncio.sleep(1.2)
    code = await asyncio.to_thread(east.stop)
    got = await running
    assert code == 0
    same(got, await truth(prompts(20)))
    assert max(max(item.gaps[1:]) for item in got) < 1.5, "a planned hand-over must not wait for a timeout"


async def test_orders_of_a_dead_worker_that_sent_nothing_are_served_by_another(made):
    made.gateway()
    slow, url = made.engine("--ttft-ms", 30_000)
    lost = made.worker(url, name="slow")
    running = asyncio.create_task(read_many(made.url, "m", prompts(3), **LONG))
    await asyncio.to_thread(until, lambda: used(made) == 3)
    _, url = made.engine()
    made.worker(url, name="quick")
    lost.kill()
    slow.kill()
    same(await running, await truth(prompts(3)))


async def test_a_whole_answer_survives_its_worker(made):
    """Nothing of it was sent, so it is simply served again."""
    (_, east), (_, west) = two_pools(made)
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], **LONG}
    running = [asyncio.create_task(asyncio.to_thread(made.post, "/v1/chat/completions", body)) for _ in range(8)]
    await asyncio.sleep(1)
    east.kill()
    answers = await asyncio.gather(*running)
    assert [status for status, _, _ in answers] == [200] * 8
    assert len({answer["choices"][0]["message"]["content"] for _, answer, _ in answers}) == 1
    assert west.said("ready")


@pytest.mark.parametrize("stream", [True, False])
async def test_a_client_that_leaves_frees_its_slot_within_a_second(made, stream):
    made.gateway()
    _, url = made.engine("--tokens-per-second", 5)
    made.worker(url, name="a")
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stream": stream, **LONG}
    async with aiohttp.ClientSession() as session:

        async def ask() -> None:
            async with session.post(f"{made.url}/v1/chat/completions", json=body) as response:
                await response.read()

        asking = asyncio.create_task(ask())
        await asyncio.to_thread(until, lambda: used(made) == 1)
        await asyncio.sleep(0.5)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    left = time.monotonic()
    await asyncio.to_thread(until, lambda: used(made) == 0, 5)
    assert time.monotonic() - left < 2, "one second, and what the survey itself takes"
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as response:
        assert "vllm:num_requests_running" in await response.text()


async def test_nothing_accepted_is_lost_when_the_broker_restarts(made, own_broker):
    """Some requests are being answered, the others wait in the queue, when the broker is killed."""
    made.gateway()
    _, url = made.engine(*PACE)
    made.worker(url, name="a", slots=6)
    running = asyncio.create_task(read_many(made.url, "m", prompts(16), **LONG))
    await asyncio.sleep(1.2)
    own_broker.kill()
    await asyncio.sleep(1)
    own_broker.start()
    same(await running, await truth(prompts(16)))


async def test_gateway_and_worker_wait_for_a_broker_that_is_away_and_say_so(tmp_path, own_broker, free_port):
    with fleet(tmp_path, own_broker.url, free_port, "m") as made:
        gateway = made.gateway(wait=False)
        _, url = made.engine()
        worker = made.worker(url, name="a", wait=False)
        for process in (gateway, worker):
            await asyncio.to_thread(until, lambda process=process: process.said("waiting for it"))
        own_broker.start()
        await asyncio.to_thread(until, lambda: worker.said("ready: ") and gateway.said("ready on"))
        async with aiohttp.ClientSession() as session:
            got = await read(session, made.url, "m", "hi", **LONG)
        assert got.done


async def test_a_worker_that_waits_for_its_broker_stops_when_told(tmp_path, own_broker, free_port):
    with fleet(tmp_path, own_broker.url, free_port, "m") as made:
        worker = made.worker("http://127.0.0.1:9", name="a", wait=False)
        await asyncio.to_thread(until, lambda: worker.said("waiting for it"))
        assert await asyncio.to_thread(worker.stop, 5) == 0


async def test_an_engine_that_refuses_does_not_burn_through_the_queue(made):
    """One engine says 503 to everything while its health is fine, as vLLM does in its last seconds."""
    made.gateway()
    for name, options in (("ill", ("--fault", "refuse")), ("well", ())):
        _, url = made.engine(*options)
        made.worker(url, name=name, slots=4)
    same(await read_many(made.url, "m", prompts(30), **LONG), await truth(prompts(30)))


async def test_an_engine_that_ends_politely_in_the_middle_is_not_believed(made):
    """VLLM's error event followed by [DONE]: success is a finish reason."""
    made.gateway()
    _, url = made.engine("--fault", "error:after_tokens=7,times=5")
    made.worker(url, name="a")
    same(await read_many(made.url, "m", prompts(5), **LONG), await truth(prompts(5)))


async def test_an_engine_that_hangs_loses_its_orders_to_another(made):
    made.gateway()
    _, url = made.engine("--fault", "hang:after_tokens=5")
    made.worker(url, "--stall-seconds", 1.5, name="hangs")
    running = asyncio.create_task(read_many(made.url, "m", prompts(4), **LONG))
    await asyncio.sleep(0.5)
    _, url = made.engine()
    made.worker(url, name="well")
    same(await running, await truth(prompts(4)))


async def page(made: Fleet, path: str) -> str:
    async with aiohttp.ClientSession() as session, session.get(made.url + path) as response:
        return await response.text()
