"""The gateway's end of the queue on NATS: orders out, frames in, leases ended."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import msgspec
from nats.errors import Error as NatsError
from nats.errors import OutboundBufferLimitError
from nats.js.errors import APIError, NotFoundError

from llmfleet.errors import QueueError, QueueFullError
from llmfleet.queue.messages import Cancel, Frame, GatewayState, Order, WorkerState, decode_frames, encode
from llmfleet.queue.nats import connection, names

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg

log = logging.getLogger(__name__)

_CONFIRM_SECONDS = 2.0
_DUPLICATE_WINDOW_SECONDS = 100.0
_FULL = {10047, 10054, 10077}
"""JetStream's error codes for a stream at one of its limits (storage, message size, messages, bytes)."""
_GONE = {10037, 10057, 10043}
"""JetStream's error codes for deleting a message that is not there any more."""
_decode_worker = msgspec.msgpack.Decoder(WorkerState).decode


class _ApiError(msgspec.Struct):
    err_code: int = 0
    description: str = ""


class _Confirmation(msgspec.Struct):
    """JetStream's answer to a published message."""

    seq: int = 0
    error: _ApiError | None = None


_decode_confirmation = msgspec.json.Decoder(_Confirmation).decode


class _Unconfirmed:
    """An order that the broker has not confirmed yet."""

    __slots__ = ("give_up", "key", "model", "payload", "sent_at", "ticket")

    def __init__(self, order: Order, payload: bytes, ticket: "asyncio.Future[int]") -> None:
        self.key = f"{order.id}-{order.epoch}"
        self.model = order.model
        self.payload = payload
        self.ticket = ticket
        self.sent_at = 0.0
        # Later than this the broker no longer knows which orders it has.
        self.give_up = min(order.deadline, time.time() + _DUPLICATE_WINDOW_SECONDS)


class GatewayQueue:
    """What a gateway needs of the queue. Frames arrive by callback, straight from the connection's reader."""

    def __init__(self, name: str) -> None:
        """Prepare a gateway's end of the queue; `open` connects it.

        Args:
            name: the gateway's name, unique in the fleet: workers send their frames to it
        """
        self._name = name
        self._unconfirmed: dict[str, _Unconfirmed] = {}
        self._chores: set[asyncio.Task[None]] = set()

    async def open(
        self,
        url: str,
        *,
        on_frames: Callable[[list[Frame]], None],
        on_worker: Callable[[WorkerState], None],
        on_up: Callable[[], None],
        state: Callable[[], GatewayState],
    ) -> None:
        """Connect, waiting for the broker, and listen for frames.

        Args:
            url: nats://HOST:PORT
            on_frames: called with each batch of frames, in the order in which they were sent
            on_worker: called when a worker tells of itself, about once a second
            on_up: called when the broker is back
            state: what to answer when somebody surveys the fleet
        """
        self._on_frames = on_frames
        self._on_worker = on_worker
        self._on_up = on_up
        self._state = state
        self._client: Client = await connection.connect(url, self._name, on_up=self._came_up)
        self._js = self._client.jetstream()
        self._confirm_subject = f"{self._client.new_inbox()}."
        # No limit of ours here: the broker itself cuts a reader that is too slow, and a lost frame starts a new epoch.
        await self._client.subscribe(
            names.replies(self._name), cb=self._framed, pending_msgs_limit=0, pending_bytes_limit=0
        )
        await self._client.subscribe(f"{self._confirm_subject}*", cb=self._confirmed)
        await self._client.subscribe(names.PRESENCE, cb=self._announced)
        await self._client.subscribe(names.PING, cb=self._pinged)
        await connection.ensure_stream(self._client)
        self._confirmer = asyncio.get_running_loop().create_task(self._confirm_forever())

    async def _came_up(self) -> None:
        self._on_up()
        await connection.ensure_stream(self._client)

    async def _framed(self, message: "Msg") -> None:
        try:
            batch = decode_frames(message.data)
        except msgspec.MsgspecError as error:
            log.warning("dropped frames that cannot be read (%s): is a worker of another version here?", error)
            return
        self._on_frames(batch)

    async def _announced(self, message: "Msg") -> None:
        with contextlib.suppress(msgspec.MsgspecError):
            self._on_worker(_decode_worker(message.data))

    async def _pinged(self, message: "Msg") -> None:
        await self._client.publish(message.reply, encode({"gateway": self._state()}))

    @property
    def connected(self) -> bool:
        """Whether the broker is there."""
        return bool(self._client.is_connected)

    @property
    def max_order_bytes(self) -> int:
        """Largest order that the broker takes, bytes, with a reserve for what surrounds the body."""
        return int(self._client.max_payload) - 4096

    async def declare(self, model: str) -> None:
        """Let orders for `model` wait even while no worker is there."""
        await connection.ensure_consumer(self._client, model)

    async def models(self) -> list[str]:
        """Names of the models that orders can be put for."""
        return list(await connection.consumers(self._client))

    async def put(self, order: Order) -> "asyncio.Future[int]":
        """Send an order to the queue; the future becomes its ticket once the broker has it on disk.

        What the broker does not confirm is sent again until the order's deadline. The broker drops what it already
        has, so sending again never makes two orders of one. The future ends with QueueFullError when the queue holds as
        much as it may, and with QueueError when the broker did not take the order in time.

        Raises:
            QueueError: the order is larger than the broker takes.
        """
        unsent = _Unconfirmed(order, encode(order), asyncio.get_running_loop().create_future())
        if len(unsent.payload) > self._client.max_payload:
            raise QueueError(f"the request takes {len(unsent.payload)} bytes, more than the queue carries")
        self._unconfirmed[unsent.key] = unsent
        await self._send(unsent)
        return unsent.ticket

    async def _send(self, unsent: "_Unconfirmed") -> None:
        unsent.sent_at = time.monotonic()
        try:
            await self._client.publish(
                names.orders(unsent.model),
                unsent.payload,
                f"{self._confirm_subject}{unsent.key}",
                {"Nats-Msg-Id": unsent.key},
            )
        except (NatsError, OutboundBufferLimitError) as error:
            log.debug("could not send order %s yet: %s", unsent.key, error)

    async def _confirm_forever(self) -> None:
        """Send again what the broker has not confirmed."""
        while True:
            await asyncio.sleep(_CONFIRM_SECONDS / 4)
            now, wall = time.monotonic(), time.time()
            for key, unsent in list(self._unconfirmed.items()):
                if unsent.ticket.done():
                    del self._unconfirmed[key]
                elif wall > unsent.give_up:
                    del self._unconfirmed[key]
                    unsent.ticket.set_exception(QueueError("the queue did not take the request in time"))
                elif now - unsent.sent_at > _CONFIRM_SECONDS and self._client.is_connected:
                    await self._send(unsent)

    async def _confirmed(self, message: "Msg") -> None:
        key = message.subject[len(self._confirm_subject) :]
        if message.headers and message.headers.get("Status") == "503":
            return  # JetStream is still starting: the next try finds it
        unsent = self._unconfirmed.pop(key, None)
        if unsent is None or unsent.ticket.done():
            return
        answer = _decode_confirmation(message.data)
        if answer.error is None:
            unsent.ticket.set_result(answer.seq)
        elif answer.error.err_code in _FULL:
            unsent.ticket.set_exception(QueueFullError(answer.error.description))
        else:
            unsent.ticket.set_exception(QueueError(f"the queue refused the request: {answer.error.description}"))

    def end(self, ticket: int | None, worker: str, orders: Iterable[tuple[str, int]] = ()) -> None:
        """End a lease and tell its worker at once. Returns without waiting.

        Args:
            ticket: what `put` returned or a worker accepted; None to leave the ending to the worker
            worker: who holds it; "" when nobody does yet
            orders: id and epoch of what that worker should stop
        """
        task = asyncio.get_running_loop().create_task(self._end(ticket, worker, list(orders)))
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)

    async def _end(self, ticket: int | None, worker: str, orders: list[tuple[str, int]]) -> None:
        try:
            if worker:
                await self._client.publish(names.control(worker), encode(Cancel(orders)))
            if ticket is not None:
                await self._js.delete_msg(names.STREAM, ticket)
        except NotFoundError:
            pass
        except APIError as error:
            if error.err_code not in _GONE:
                log.warning("could not end the lease of ticket %s: %s", ticket, error)
        except (NatsError, TimeoutError) as error:
            # The worker's own check or the order's deadline ends it instead.
            log.warning("could not end the lease of ticket %s: %s", ticket, str(error) or type(error).__name__)

    async def close(self) -> None:
        """Send what is left and disconnect."""
        self._confirmer.cancel()
        if self._chores:
            await asyncio.wait(self._chores, timeout=2)
        with contextlib.suppress(NatsError, OSError):
            await self._client.close()
