"""The worker's end of the queue on NATS: orders in by credit, leases renewed, frames out in batches."""

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
from nats.errors import Error as NatsError
from nats.js.errors import NotFoundError

from llmfleet.queue.messages import Delta, End, Failed, Frame, Order, WorkerState, decode_cancel, decode_order, encode
from llmfleet.queue.nats import connection, names

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

log = logging.getLogger(__name__)

_PULL_SECONDS = 30.0
_UNHEARD_SECONDS = 5.0
"""A gateway that reconnects after a broker's restart is unheard of for a moment; only a longer silence is its end."""


class Lease:
    """The right to serve one order, as long as it is renewed."""

    __slots__ = ("attempt", "order", "subject", "ticket")

    def __init__(self, order: Order, subject: str) -> None:
        self.order = order
        self.subject = subject
        """Where the acknowledgement goes: $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>...."""
        attempt, ticket = subject.split(".")[-5:-3]
        self.attempt = int(attempt)
        """How often the broker has given this order out."""
        self.ticket = int(ticket)


class WorkerQueue:
    """What a worker needs of the queue.

    Orders are asked for by credit: the broker hands out at most as many as were asked for, so that a worker never
    holds an order that it has no slot for, and no pull is ever cancelled half-way (an abandoned pull swallows the next
    order until its lease ends).
    """

    def __init__(self, name: str, model: str) -> None:
        """Prepare a worker's end of the queue; `open` connects it.

        Args:
            name: the worker's name, unique in the fleet
            model: whose orders to pull
        """
        self._name = name
        self._model = model
        self._asked = 0
        self._asked_at = 0.0
        self._wanted = 0
        self._inbox = ""
        self._pulls: Subscription | None = None
        self._frames: dict[str, list[Frame]] = {}
        self._messages: list[tuple[str, bytes, str]] = []
        self._wake = asyncio.Event()
        self._unheard: dict[str, tuple[float, float]] = {}

    async def open(
        self,
        url: str,
        *,
        on_order: Callable[[Lease], None],
        on_cancel: Callable[[list[tuple[str, int]]], None],
        on_gateway_gone: Callable[[str], None],
        state: Callable[[], WorkerState],
    ) -> None:
        """Connect, waiting for the broker, and listen for cancellations; nothing is pulled before `start`.

        Args:
            url: nats://HOST:PORT
            on_order: called with each lease
            on_cancel: called with ids and epochs that nobody waits for any more
            on_gateway_gone: called with the name of a gateway that nobody has heard of for some seconds
            state: what to answer when somebody surveys the fleet
        """
        self._on_order = on_order
        self._on_cancel = on_cancel
        self._on_gateway_gone = on_gateway_gone
        self._state = state
        self._client: Client = await connection.connect(url, self._name, on_up=self._came_up)
        self._js = self._client.jetstream()
        self._sender = asyncio.get_running_loop().create_task(self._send_forever())
        await self._client.subscribe(names.control(self._name), cb=self._cancelled)
        await self._client.subscribe(names.unheard(self._name), cb=self._not_heard)
        await self._client.subscribe(names.PING, cb=self._pinged)
        await self._prepare()

    async def _prepare(self) -> None:
        """Make stream and consumer if they are missing."""
        await connection.ensure_stream(self._client)
        while True:
            try:
                await connection.ensure_consumer(self._client, self._model)
                break
            except (NatsError, TimeoutError) as error:
                log.warning("the queue is not ready for orders of %s (%s); trying again", self._model, error)
                await asyncio.sleep(0.5)

    async def _came_up(self) -> None:
        self._unheard.clear()
        await self._prepare()
        self._asked = 0  # pulls die with the connection
        self.pull(self._wanted)

    async def _cancelled(self, message: "Msg") -> None:
        with contextlib.suppress(msgspec.MsgspecError):
            self._on_cancel(decode_cancel(message.data).orders)

    async def _pinged(self, message: "Msg") -> None:
        await self._client.publish(message.reply, encode({"worker": self._state()}))

    async def _not_heard(self, message: "Msg") -> None:
        """The broker says that our frames for a gateway have no listener."""
        if (message.headers or {}).get("Status") != "503":
            return
        gateway, now = message.subject.rpartition(".")[2], asyncio.get_running_loop().time()
        first, last = self._unheard.get(gateway, (now, now))
        if now - last > _UNHEARD_SECONDS / 2:
            first = now  # it was heard in between
        self._unheard[gateway] = (first, now)
        if now - first > _UNHEARD_SECONDS:
            del self._unheard[gateway]
            self._on_gateway_gone(gateway)

    def pull(self, free: int) -> None:
        """Say how many slots are free now; asks the broker for what was not asked for yet."""
        now = asyncio.get_running_loop().time()
        if self._asked and now - self._asked_at > _PULL_SECONDS + 5:
            self._asked = 0  # the broker forgot us without a word, for instance when its consumer was deleted
        self._wanted = free
        if self._pulls is None or self._asked * 2 >= free:
            return  # enough are on their way: asking in larger portions halves the messages
        more = free - self._asked
        self._asked += more
        self._asked_at = now
        request = json.dumps({"batch": more, "expires": int(_PULL_SECONDS * 1e9)}).encode()
        subject = f"$JS.API.CONSUMER.MSG.NEXT.{names.STREAM}.{names.token(self._model)}"
        self._messages.append((subject, request, self._inbox))
        self._wake.set()

    async def start(self) -> None:
        """Begin to take orders, as many as `pull` says."""
        if self._pulls is None:
            self._inbox = self._client.new_inbox()
            self._asked = 0
            self._pulls = await self._client.subscribe(self._inbox, cb=self._pulled)

    async def stop(self) -> None:
        """Take no more orders; without a subscriber the broker drops our pulls and offers the orders to others."""
        if self._pulls is not None:
            pulls, self._pulls = self._pulls, None
            await pulls.unsubscribe()
            await self._client.flush()

    async def _pulled(self, message: "Msg") -> None:
        status = (message.headers or {}).get("Status")
        if status == "100":
            return
        if status is not None:
            # 408: the pull ran out; 409: the consumer or the broker is going away. The header tells how many orders
            # of the pull will not come any more.
            left = int((message.headers or {}).get("Nats-Pending-Messages", self._asked))
            self._asked = max(0, self._asked - left)
            if status == "409" and "Deleted" in (message.headers or {}).get("Description", ""):
                await self._prepare()
            self.pull(self._wanted)
            return
        self._asked = max(0, self._asked - 1)
        try:
            order = decode_order(message.data)
        except msgspec.MsgspecError as error:
            log.warning("dropped an order that cannot be read (%s): is a gateway of another version here?", error)
            self._acknowledge(message.reply, b"+TERM")
            return
        if self._pulls is None:
            self._acknowledge(message.reply, b"-NAK")
            return
        self._on_order(Lease(order, message.reply))

    def send(self, gateway: str, frame: Frame) -> None:
        """Send a frame; frames of one tick of the event loop travel together."""
        self._frames.setdefault(gateway, []).append(frame)
        self._wake.set()

    def done(self, lease: Lease) -> None:
        """End the lease: the order leaves the queue, after the frames sent so far."""
        self._acknowledge(lease.subject, b"+ACK")

    def give_back(self, lease: Lease, delay: float = 0.0) -> None:
        """End the lease: the order goes to another worker, after `delay` seconds."""
        self._acknowledge(lease.subject, b'-NAK {"delay": %d}' % (delay * 1e9))

    def _acknowledge(self, subject: str, word: bytes) -> None:
        self._messages.append((subject, word, ""))
        self._wake.set()

    async def renew(self, lease: Lease) -> bool:
        """Renew the lease; False when it has been ended.

        JetStream renews an ended lease without complaint, so the message itself is looked for.
        """
        self._acknowledge(lease.subject, b"+WPI")
        try:
            await self._js.get_msg(names.STREAM, lease.ticket)
        except NotFoundError:
            return False
        except (NatsError, TimeoutError):
            return True  # the broker is away: go on, the gateway decides by what reaches it
        return True

    def announce(self) -> None:
        """Tell the gateways of this worker."""
        self._messages.append((names.PRESENCE, encode(self._state()), ""))
        self._wake.set()

    async def _send_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._send_waiting()

    async def _send_waiting(self) -> None:
        frames, self._frames = self._frames, {}
        messages, self._messages = self._messages, []
        for gateway, batch in frames.items():
            await self._send_batch(gateway, batch)
        for subject, payload, reply in messages:
            await self._publish(subject, payload, reply)

    async def _send_batch(self, gateway: str, batch: list[Frame]) -> None:
        payload = encode(batch)
        if len(payload) <= self._client.max_payload:
            await self._publish(names.replies(gateway), payload, names.unheard(self._name, gateway))
        elif len(batch) > 1:
            for half in (batch[: len(batch) // 2], batch[len(batch) // 2 :]):
                await self._send_batch(gateway, half)
        else:
            await self._send_batch(gateway, [_too_large(batch[0], len(payload), self._client.max_payload)])

    async def _publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        try:
            await self._client.publish(subject, payload, reply)
        except NatsError as error:
            log.warning("could not send to %s: %s", subject, error or type(error).__name__)

    async def close(self) -> None:
        """Send what is left and disconnect."""
        await self.stop()
        self._sender.cancel()
        await self._send_waiting()
        with contextlib.suppress(NatsError, OSError, TimeoutError):
            await self._client.flush(2)
            await self._client.close()


def _too_large(frame: Frame, size: int, limit: int) -> Frame:
    """Return what to send instead of an answer that the broker cannot carry."""
    if not isinstance(frame, Delta | End | Failed):
        return frame
    text = f"the answer takes {size} bytes, more than the queue carries ({limit}); ask for a stream"
    body = json.dumps({"error": {"message": text, "type": "server_error", "param": None, "code": "answer_too_large"}})
    return Failed(frame.id, frame.epoch, frame.attempt, frame.n, 502, body.encode())
