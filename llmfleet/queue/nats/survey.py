"""A look at the whole fleet through its queue: who is there, what waits."""

import asyncio
from typing import TYPE_CHECKING

import msgspec

from llmfleet.queue.messages import GatewayState, ModelDepth, Survey, WorkerState
from llmfleet.queue.nats import connection, names

if TYPE_CHECKING:
    from nats.aio.msg import Msg


class _Answer(msgspec.Struct):
    worker: WorkerState | None = None
    gateway: GatewayState | None = None


_decode = msgspec.msgpack.Decoder(_Answer).decode


async def survey(url: str, wait: float = 0.5) -> Survey:
    """Ask everybody in the fleet for their state.

    Args:
        url: nats://HOST:PORT
        wait: seconds to collect answers

    Raises:
        QueueError: the broker is away.
    """
    client = await connection.connect(url, "llmfleet-status", patient=False)
    found = Survey(models=[], workers=[], gateways=[])

    async def answered(message: "Msg") -> None:
        answer = _decode(message.data)
        if answer.worker:
            found.workers.append(answer.worker)
        if answer.gateway:
            found.gateways.append(answer.gateway)

    try:
        inbox = client.new_inbox()
        await client.subscribe(inbox, cb=answered)
        await client.publish(names.PING, b"", inbox)
        models = await connection.consumers(client)
        await asyncio.sleep(wait)
    finally:
        await client.close()
    found.models = [
        ModelDepth(name=name, waiting=info.num_pending or 0, leased=info.num_ack_pending or 0)
        for name, info in sorted(models.items())
    ]
    found.workers.sort(key=lambda worker: (worker.pool, worker.name))
    found.gateways.sort(key=lambda gateway: gateway.name)
    return found
