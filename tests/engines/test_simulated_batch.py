"""Slots, waiting, pace and cancelled requests of the simulated engine, and the numbers it tells about them.

Times are only bounded from below: a busy machine may make everything later, never earlier.
"""

import asyncio
import time

from talk import user

from llmfleet.engines.simulated.engine import Engine, Job, Options
from llmfleet.engines.simulated.generate import Generation, Limits


async def until(condition, seconds=5.0):
    """Wait until an async condition holds."""
    latest = time.monotonic() + seconds
    while not await condition():
        assert time.monotonic() < latest, "did not happen"
        await asyncio.sleep(0.01)


async def test_what_finds_no_slot_waits_and_is_served_in_turn(engine):
    talk = await engine(slots=2, tokens_per_second=20)
    order = []

    async def ask(number):
        await talk.complete("a", max_tokens=20, ignore_eos=True)
        order.append(number)

    asking = []
    for number in range(5):
        asking.append(asyncio.create_task(ask(number)))
        await asyncio.sleep(0.02)
    assert await talk.metric("num_requests_running") == 2
    assert await talk.metric("num_requests_waiting") == 3
    assert await talk.metric("kv_cache_usage_perc") > 0
    await asyncio.gather(*asking)
    assert order == [0, 1, 2, 3, 4]
    for name in ("num_requests_running", "num_requests_waiting", "kv_cache_usage_perc"):
        assert await talk.metric(name) == 0


async def test_instant_answers_never_pile_up_however_many_come_at_once(engine):
    talk = await engine(slots=1)
    answers = await asyncio.gather(*[talk.complete("a", max_tokens=50, ignore_eos=True) for _ in range(300)])
    assert len({answer["text"] for answer in answers}) == 1


async def test_the_first_token_and_each_further_one_take_their_time(engine):
    talk = await engine(ttft_ms=100, tokens_per_second=50)
    started = time.monotonic()
    moments = []
    body = {"prompt": "a", "max_tokens": 10, "ignore_eos": True, "stream": True}
    async with talk.session.post(talk.url + "/v1/completions", json=body) as response:
        async for line in response.content:
            moments += [time.monotonic() - started] if b"token_ids" in line else []
    assert len(moments) == 10
    assert moments[0] >= 0.099
    assert moments[9] - 0.1 >= 9 / 50 - 0.002
    assert await talk.metric("time_to_first_token_seconds_sum") >= 0.099
    assert await talk.metric("inter_token_latency_seconds_count") == 9


async def test_a_client_that_leaves_frees_its_slot(engine):
    talk = await engine(slots=1, tokens_per_second=20)
    body = {"messages": user("a"), "ignore_eos": True, "max_tokens": 2000}
    for leave_while in ("running", "waiting"):
        first = asyncio.create_task(talk.stream("/v1/chat/completions", **body))
        second = asyncio.create_task(talk.post("/v1/chat/completions", body))

        async def full():
            return await talk.metric("num_requests_waiting") == 1

        await until(full)
        for task in (second, first) if leave_while == "waiting" else (first, second):
            task.cancel()
            await asyncio.wait([task])

        async def empty():
            return await talk.metric("num_requests_running") + await talk.metric("num_requests_waiting") == 0

        await until(empty)
    assert await talk.metric("kv_cache_usage_perc") == 0


async def test_a_request_that_leaves_as_its_turn_comes_leaves_no_trace():
    class Nowhere:
        streams = True

        def steps(self, steps, *, done):
            raise AssertionError("nobody waits for this")

        failed = steps

    engine = Engine(Options(slots=1, ttft_ms=1000), die=lambda: None)
    first, second = (Job([Generation((1, 2, 3), Limits(max_tokens=5))], Nowhere()) for _ in range(2))
    engine.submit(first)
    engine.submit(second)
    engine.cancel(first)
    engine.cancel(second)
    await asyncio.sleep(0.01)
    assert (engine.metrics.running, engine.metrics.waiting, engine.metrics.tokens_held) == (0, 0, 0)


async def test_tokens_and_finished_requests_are_counted(engine):
    talk = await engine()
    for _ in range(3):
        await talk.complete("abc", max_tokens=7, ignore_eos=True)
    assert await talk.metric("prompt_tokens_total") == 12
    assert await talk.metric("generation_tokens_total") == 21
    _, text = await talk.get("/metrics")
    assert 'vllm:request_success_total{engine="0",finished_reason="length",model_name="m"} 3.0' in text
    assert 'vllm:request_queue_time_seconds_bucket{engine="0",le="+Inf",model_name="m"} 3.0' in text
