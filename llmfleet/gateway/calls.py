"""The requests a gateway holds: which worker serves which, what reached the client, what to do when one falls silent.

A call lives from the moment its order is put into the queue until the client has everything or is gone. Its epoch
counts the times it was put there; only frames of the current epoch, in sequence, reach the client. Whatever goes wrong
on the other side (a worker killed, an engine dead, a frame lost, a lease run out) has one answer: a new epoch, whose
order carries the tokens that the client already has.
"""

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from llmfleet.errors import QueueError, QueueFullError
from llmfleet.gateway.api_errors import ApiError, wait_and_retry
from llmfleet.queue.messages import VERSION, Accepted, Beat, Delta, End, Failed, Frame, Handoff, Order, Progress

log = logging.getLogger(__name__)

SWEEP_SECONDS: Final = 0.25
KEEP_ALIVE_SECONDS: Final = 10.0
"""A stream that waits gets its headers and a comment after so long, before any proxy loses patience."""
KEEP_ALIVE: Final = b": keep-alive\n\n"
MAX_EPOCHS: Final = 6
"""A request that five workers could not finish is an error, or it would walk through the whole fleet."""
MAX_UNREAD_BYTES: Final = 1 << 20
"""What may wait for one client that reads too slowly."""
WRITE_SECONDS: Final = 30.0
"""A client that takes nothing for so long is dropped."""


class Queue(Protocol):
    """What calls need of a queue."""

    async def put(self, order: Order) -> "asyncio.Future[int]":
        """Send an order to the queue; the future becomes its ticket once the queue has it."""

    def end(self, ticket: int | None, worker: str, orders: Iterable[tuple[str, int]] = ()) -> None:
        """End a lease."""


class Call:
    """One request of one client."""

    __slots__ = (
        "attempt",
        "drop",
        "first_at",
        "heard_at",
        "last_write",
        "next_n",
        "order",
        "output_ids",
        "pending",
        "prompt_ids",
        "result",
        "resumable",
        "sent",
        "started_at",
        "ticket",
        "unread",
        "waiter",
        "watch",
        "worker",
        "writing_since",
    )

    def __init__(self, order: Order, watch: Callable[[], None], drop: Callable[[], None]) -> None:
        """Begin a call.

        Args:
            order: what was asked, in epoch 1
            watch: called once, when the request turns out to be a long one: to look out for the client's leaving
            drop: cuts the client off
        """
        now = time.monotonic()
        self.order = order
        self.watch: Callable[[], None] | None = watch
        self.drop = drop
        self.ticket: int | None = None
        self.worker = ""
        self.attempt = 0
        self.next_n = 0
        self.prompt_ids: list[int] = []
        self.output_ids: list[int] = []
        self.resumable = True
        self.sent = False
        self.pending: list[bytes] = []
        self.unread = 0
        self.waiter: asyncio.Future[None] | None = None
        self.result: End | ApiError | Failed | None = None
        self.started_at = now
        self.heard_at = now
        self.first_at: float | None = None
        self.last_write = now
        self.writing_since: float | None = None

    def push(self, data: bytes) -> None:
        """Add what the client shall get next."""
        self.pending.append(data)
        self.unread += len(data)
        self.wake()

    def finish(self, result: "End | ApiError | Failed") -> None:
        """Set the end of the call."""
        if self.result is None:
            self.result = result
            self.wake()

    def wake(self) -> None:
        """Let the client's writer look again."""
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    async def wait(self) -> None:
        """Wait until there is something to write or the call has ended."""
        if self.pending or self.result is not None:
            return
        self.waiter = asyncio.get_running_loop().create_future()
        try:
            await self.waiter
        finally:
            self.waiter = None

    def take(self) -> bytes:
        """Take all that waits for the client."""
        data = self.pending[0] if len(self.pending) == 1 else b"".join(self.pending)
        self.pending.clear()
        self.unread = 0
        return data


class Calls:
    """All calls of one gateway."""

    def __init__(self, queue: Queue, progress_timeout: float, on_reissue: Callable[[str], None]) -> None:
        """Begin without calls.

        Args:
            queue: where the orders go
            progress_timeout: seconds without a sign of an order before it goes to another worker
            on_reissue: told the model, for the metrics
        """
        self._queue = queue
        self._progress_timeout = progress_timeout
        self._on_reissue = on_reissue
        self._calls: dict[str, Call] = {}
        self._swept_at = time.monotonic()
        self._reissues: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._calls)

    async def submit(self, call: Call) -> None:
        """Put the call's order into the queue; how that went, the call tells."""
        self._calls[call.order.id] = call
        await self._put(call)

    async def _put(self, call: Call) -> None:
        order = call.order
        try:
            ticket = await self._queue.put(order)
        except QueueError as error:
            call.finish(wait_and_retry(503, str(error), "queue_unavailable", 2))
        else:
            ticket.add_done_callback(functools.partial(self._taken, call, order))

    def _taken(self, call: Call, order: Order, ticket: "asyncio.Future[int]") -> None:
        """The queue has an order, or refuses it."""
        current = self._calls.get(order.id) is call and call.order is order
        error = ticket.exception()
        if error is None:
            if not current and not isinstance(call.result, End | Failed):
                self._queue.end(ticket.result(), "", ())
            elif call.ticket is None:
                call.ticket = ticket.result()
        elif current and isinstance(error, QueueFullError):
            call.finish(wait_and_retry(429, f"the queue is full ({error}); try again later", "queue_full", 5))
        elif current:
            call.finish(wait_and_retry(503, str(error), "queue_unavailable", 2))

    def close(self, call: Call) -> None:
        """Forget a call; whoever still works on it is stopped."""
        self._calls.pop(call.order.id, None)
        if not isinstance(call.result, End | Failed) and call.ticket is not None:
            self._queue.end(call.ticket, call.worker, [(call.order.id, call.order.epoch)])

    def on_frames(self, frames: list[Frame]) -> None:
        """Take a batch of frames in the order in which their worker sent them."""
        for frame in frames:
            if type(frame) is Delta:
                call = self._calls.get(frame.id)
                if call is not None and self._in_sequence(call, frame):
                    self._delta(call, frame)
            elif type(frame) is Beat:
                self._beat(frame)
            elif type(frame) is Accepted:
                self._accepted(frame)
            elif type(frame) is Handoff:
                call = self._calls.get(frame.id)
                if call is not None and frame.epoch == call.order.epoch and frame.attempt >= call.attempt:
                    self._reissue(call, frame.reason)
            elif isinstance(frame, End | Failed):
                call = self._calls.get(frame.id)
                if call is not None and self._in_sequence(call, frame):
                    call.finish(frame)

    def _in_sequence(self, call: Call, frame: Delta | End | Failed) -> bool:
        if frame.epoch != call.order.epoch or frame.attempt < call.attempt or call.result is not None:
            return False
        if frame.attempt > call.attempt or frame.n > call.next_n:
            self._reissue(call, "frame lost")
            return False
        if frame.n < call.next_n:
            return False
        call.next_n += 1
        return True

    def _delta(self, call: Call, frame: Delta) -> None:
        if call.first_at is None:
            call.first_at = time.monotonic()
        call.sent = True
        if frame.ids is None:
            call.resumable = False
        elif call.resumable:
            if frame.prompt_ids is not None:
                call.prompt_ids = frame.prompt_ids
            call.output_ids.extend(frame.ids)
        call.push(frame.data)
        if call.unread > MAX_UNREAD_BYTES:
            log.info("dropped request %s: its client reads too slowly", call.order.id)
            call.drop()

    def _accepted(self, frame: Accepted) -> None:
        call = self._calls.get(frame.id)
        if call is None or call.order.epoch != frame.epoch or call.result is not None:
            self._queue.end(frame.ticket, frame.worker, [(frame.id, frame.epoch)])
        elif call.attempt >= frame.attempt:
            pass  # the frame came twice
        elif call.attempt:
            # The broker gave the order out again, so the first worker lost its lease. Both may send frames of this
            # epoch now; a new one shuts both up.
            self._queue.end(frame.ticket, frame.worker, [(frame.id, frame.epoch)])
            self._reissue(call, "lease lost")
        else:
            call.worker, call.attempt = frame.worker, frame.attempt
            call.ticket = frame.ticket
            call.heard_at = time.monotonic()

    def _beat(self, frame: Beat) -> None:
        now = time.monotonic()
        strays = []
        for identity, epoch in frame.held:
            call = self._calls.get(identity)
            if call is None or epoch != call.order.epoch:
                strays.append((identity, epoch))
            else:
                call.heard_at = now
        if strays:
            self._queue.end(None, frame.worker, strays)

    def _reissue(self, call: Call, reason: str) -> None:
        """Begin a new epoch: another worker continues behind what the client has."""
        if call.result is not None:
            return
        old = call.order
        if call.ticket is not None:
            self._queue.end(call.ticket, call.worker, [(old.id, old.epoch)])
        call.ticket, call.worker, call.attempt, call.next_n = None, "", 0, 0
        if call.sent and not call.resumable:
            text = f"the answer was cut ({reason}) and this kind of request cannot be continued; send it again"
            call.finish(ApiError(502, text, code="answer_cut"))
            return
        if old.epoch >= MAX_EPOCHS:
            text = f"{old.epoch} workers could not finish this request; the last one: {reason}"
            call.finish(wait_and_retry(503, text, "no_worker_finished", 5))
            return
        progress = Progress(call.prompt_ids, call.output_ids) if call.sent else None
        call.order = Order(
            VERSION,
            old.id,
            old.epoch + 1,
            old.model,
            old.path,
            old.stream,
            old.include_usage,
            old.created,
            old.deadline,
            old.reply_to,
            old.body,
            progress,
        )
        log.info("request %s goes to another worker (%s), %d tokens done", old.id, reason, len(call.output_ids))
        self._on_reissue(old.model)
        task = asyncio.get_running_loop().create_task(self._put(call))
        self._reissues.add(task)
        task.add_done_callback(self._reissues.discard)

    def came_up(self) -> None:
        """Give every worker time to be heard again after the queue was away."""
        now = time.monotonic()
        for call in self._calls.values():
            call.heard_at = now

    async def sweep_forever(self, connected: Callable[[], bool]) -> None:
        """Look for silent workers, passed deadlines, waiting clients, until cancelled."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep(time.monotonic(), time.time(), connected=connected())

    def sweep(self, now: float, wall: float, *, connected: bool) -> None:
        """Look at every call once.

        Args:
            now: monotonic seconds
            wall: Unix seconds
            connected: whether the queue is there; while it is not, silence says nothing about a worker
        """
        if now - self._swept_at > 4 * SWEEP_SECONDS or not connected:
            # We were asleep or cut off ourselves: the workers' beats may still be in our own buffers.
            for call in self._calls.values():
                call.heard_at = now
        self._swept_at = now
        for call in list(self._calls.values()):
            if call.result is None:
                if call.worker and now - call.heard_at > self._progress_timeout:
                    self._reissue(call, f"no sign from {call.worker} for {self._progress_timeout:g} s")
                elif wall > call.order.deadline:
                    text = f"no answer within {call.order.deadline - call.order.created:.0f} s"
                    call.finish(wait_and_retry(504, text, "deadline_exceeded", 5))
                elif call.order.stream and now - call.last_write > KEEP_ALIVE_SECONDS:
                    call.last_write = now
                    call.push(KEEP_ALIVE)
            if call.watch is not None and now - call.started_at > SWEEP_SECONDS:
                watch, call.watch = call.watch, None
                watch()
            if call.writing_since is not None and now - call.writing_since > WRITE_SECONDS:
                log.info("dropped request %s: its client reads nothing", call.order.id)
                call.drop()
