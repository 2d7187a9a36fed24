"""Both ends of the queue on a real nats-server: a full queue, credit, redelivery, ended leases. Proves what one broker
does; nothing about a cluster of them.
"""

import asyncio
import contextlib
import time

import nats
import pytest

from llmfleet.errors import QueueError, QueueFullError
from llmfleet.queue import survey
from llmfleet.queue.messages import VERSION, GatewayState, Order, WorkerState
from llmfleet.queue.nats import names
from llmfleet.queue.nats.gateway import GatewayQueue
from llmfleet.queue.nats.worker import Lease, WorkerQueue


def order(number: int, body: bytes = b"{}", epoch: int = 1) -> Order:
    now = time.time()
    return Order(VERSION, f"r{number}", epoch, "m/1.0", "/v1/x", True, False, int(now), now + 60, "g", body)


def nothing(*_: object) -> None:
    pass


@contextlib.asynccontextmanager
async def gateway(url: str):
    queue = GatewayQueue("g")
    state = GatewayState("g", "nowhere", 0, 0.0)
    await queue.open(url, on_frames=nothing, on_worker=nothing, on_up=nothing, state=lambda: state)
    try:
        yield queue
    finally:
        await queue.close()


@contextlib.asynccontextmanager
async def worker(url: str, name: str = "w"):
    taken: asyncio.Queue[Lease] = asyncio.Queue()
    queue = WorkerQueue(name, "m/1.0")
    state = WorkerState(name, "p", "m/1.0", "simulated", 2, 0, True, False, 0, 0.0)
    await queue.open(url, on_order=taken.put_nowait, on_cancel=nothing, on_gateway_gone=nothing, state=lambda: state)
    await queue.start()
    try:
        yield queue, taken
    finally:
        await queue.close()


@pytest.fixture
def url(own_broker):
    own_broker.start()
    return own_broker.url


async def put(queue: GatewayQueue, asked: Order) -> int:
    async with asyncio.timeout(10):
        return await (await queue.put(asked))


async def test_a_full_queue_says_so(url, monkeypatch):
    monkeypatch.setattr(names, "QUEUE_MAX_BYTES", 100_000)
    async with gateway(url) as queue:
        await queue.declare("m/1.0")
        with pytest.raises(QueueFullError):
            for number in range(10):
                await put(queue, order(number, b"x" * 30_000))


async def test_an_order_that_no_broker_carries_is_refused_at_once(url):
    async with gateway(url) as queue:
        with pytest.raises(QueueError, match="more than the queue carries"):
            await queue.put(order(1, b"x" * 9_000_000))


async def test_the_same_order_sent_again_is_one_order(url):
    async with gateway(url) as queue:
        await queue.declare("m/1.0")
        assert await put(queue, order(1)) == await put(queue, order(1))
        (depth,) = (await survey(url, wait=0.1)).models
        assert (depth.name, depth.waiting) == ("m/1.0", 1)


async def test_a_worker_gets_no_more_orders_than_it_has_slots_for(url):
    async with gateway(url) as queue, worker(url) as (mine, taken):
        await queue.declare("m/1.0")
        for number in range(5):
            await put(queue, order(number))
        mine.pull(2)
        first = await asyncio.wait_for(taken.get(), 5)
        await asyncio.wait_for(taken.get(), 5)
        await asyncio.sleep(0.3)
        assert taken.empty()
        mine.done(first)
        mine.pull(1)
        assert (await asyncio.wait_for(taken.get(), 5)).order.id == "r2"


async def test_an_order_given_back_comes_again_as_the_next_attempt(url):
    async with gateway(url) as queue, worker(url) as (mine, taken):
        await queue.declare("m/1.0")
        ticket = await put(queue, order(1))
        mine.pull(1)
        lease = await asyncio.wait_for(taken.get(), 5)
        mine.give_back(lease)
        mine.pull(1)
        again = await asyncio.wait_for(taken.get(), 5)
        assert (lease.attempt, again.attempt) == (1, 2)
        assert lease.ticket == again.ticket == ticket


async def test_a_lease_that_the_gateway_ended_cannot_be_renewed(url):
    async with gateway(url) as queue, worker(url) as (mine, taken):
        await queue.declare("m/1.0")
        ticket = await put(queue, order(1))
        mine.pull(1)
        lease = await asyncio.wait_for(taken.get(), 5)
        assert await mine.renew(lease)
        queue.end(ticket, "w", [("r1", 1)])
        async with asyncio.timeout(5):
            while await mine.renew(lease):
                await asyncio.sleep(0.05)


async def test_a_worker_that_stops_pulling_swallows_nothing(url):
    async with (
        gateway(url) as queue,
        worker(url, "leaves") as (leaves, nowhere),
        worker(url, "stays") as (stays, taken),
    ):
        await queue.declare("m/1.0")
        leaves.pull(8)
        await asyncio.sleep(0.3)
        await leaves.stop()
        stays.pull(8)
        began = time.monotonic()
        for number in range(8):
            await put(queue, order(number))
        got = {(await asyncio.wait_for(taken.get(), 5)).order.id for _ in range(8)}
        assert len(got) == 8
        assert nowhere.empty()
        assert time.monotonic() - began < names.LEASE_SECONDS, "none waited for a lease to run out"


async def test_a_message_that_is_no_order_is_dropped_and_not_tried_for_ever(url):
    async with gateway(url) as queue, worker(url) as (mine, taken):
        await queue.declare("m/1.0")
        stranger = await nats.connect(url)
        await stranger.jetstream().publish(names.orders("m/1.0"), b"\xc1 not an order")
        await stranger.close()
        await put(queue, order(2))
        mine.pull(2)
        assert (await asyncio.wait_for(taken.get(), 5)).order.id == "r2"
        async with asyncio.timeout(5):
            while (await survey(url, wait=0.05)).models[0].leased != 1:
                await asyncio.sleep(0.05)


def test_every_model_name_is_one_subject_token_and_no_two_are_the_same():
    names_ = ["m", "org/model", "org.model", "org model", "a*", "a>", "a_2e_b", "a.b", "ü"]
    tokens = [names.token(name) for name in names_]
    assert len(set(tokens)) == len(names_)
    assert all(not set(token) & set(".*> /") for token in tokens)
