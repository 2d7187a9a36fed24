"""The worker process: as many orders as there are slots, renewed while they run, handed over when it must go."""

import asyncio
import contextlib
import logging
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from llmfleet.queue.messages import VERSION, Accepted, Beat, WorkerState
from llmfleet.queue.nats.names import RENEW_SECONDS
from llmfleet.queue.nats.worker import Lease, WorkerQueue
from llmfleet.worker.adapters import Adapter, adapter
from llmfleet.worker.engine import EngineFailedError
from llmfleet.worker.run import Run

log = logging.getLogger(__name__)

BEAT_SECONDS: Final = 0.5
ENGINE_SECONDS: Final = 1.0
"""How often the engine is asked whether it is ready."""
DISTRUST_SECONDS: Final = (0.5, 10.0)
"""How long an engine that failed an order gets no new one: the first time, and at most. It may well answer its health
check all the while, as vLLM does while it shuts down; without the pause this worker would burn through the queue."""


@dataclass(frozen=True)
class WorkerOptions:
    """What a worker process is started with."""

    queue_url: str
    model: str
    engine_kind: str
    engine_url: str
    pool: str
    slots: int
    name: str
    ready_file: Path | None = None
    """Exists while the worker takes orders."""
    drain_seconds: float = 10.0
    """How long running orders may go on after SIGTERM before they are handed to other workers."""
    stall_seconds: float = 60.0
    """An order without a token for so long is handed to another worker: its engine hangs."""


class _Running:
    """An order that is being served."""

    def __init__(self, lease: Lease, run: Run) -> None:
        self.lease = lease
        self.run = run
        self.task: asyncio.Task[None]


class Worker:
    """Pulls orders and serves them on one engine."""

    def __init__(self, options: WorkerOptions, engine: Adapter, queue: WorkerQueue) -> None:
        """Prepare; `run` does it all.

        Args:
            options: how it was started
            engine: the engine's adapter
            queue: the queue, not open yet
        """
        self._options = options
        self._engine = engine
        self._queue = queue
        self._running: dict[tuple[str, int], _Running] = {}
        self._ready = False
        self._draining = False
        self._distrust = 0.0
        self._distrust_until = 0.0
        self._look_now = asyncio.Event()
        self._started = time.monotonic()

    def state(self) -> WorkerState:
        """What the fleet may know of this worker."""
        return WorkerState(
            name=self._options.name,
            pool=self._options.pool,
            model=self._options.model,
            engine=self._options.engine_kind,
            slots=self._options.slots,
            used=len(self._running),
            ready=self._ready,
            draining=self._draining,
            max_model_len=self._engine.max_model_len,
            uptime_s=time.monotonic() - self._started,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Serve orders until `stop` is set, then drain.

        Raises:
            ConfigError: the engine serves another model.
        """
        stopped = asyncio.ensure_future(stop.wait())
        opened = asyncio.ensure_future(
            self._queue.open(
                self._options.queue_url,
                on_order=self._take,
                on_cancel=self._cancel,
                on_gateway_gone=self._gateway_gone,
                state=self.state,
            )
        )
        chores: list[asyncio.Task[None]] = []
        try:
            # The broker may be away for long; a signal must end the waiting, too.
            if await _first(opened, stopped) is opened:
                chores += [asyncio.ensure_future(chore()) for chore in (self._tend_engine, self._beat, self._renew)]
                await _first(*chores, stopped)  # a chore ends only by an error
                await self._drain()
                await self._queue.close()
        finally:
            self._tell_ready(ready=False)
            for task in (*chores, opened, stopped):
                task.cancel()
            self._engine.engine.close()

    def _free(self) -> int:
        return max(0, self._options.slots - len(self._running))

    def _take(self, lease: Lease) -> None:
        """Begin to serve an order."""
        order = lease.order
        key = (order.id, order.epoch)
        if order.version != VERSION:
            log.warning("gave an order of version %d back: this worker knows %d", order.version, VERSION)
            self._queue.give_back(lease, delay=1.0)
        elif key in self._running:
            self._running[key].lease = lease  # our lease had run out; this is the new one
        elif time.time() > order.deadline:
            self._queue.done(lease)
        elif not self._free() or not self._ready:
            self._queue.give_back(lease)
        else:
            name = self._options.name
            self._queue.send(order.reply_to, Accepted(order.id, order.epoch, lease.attempt, name, lease.ticket))
            run = Run(order, lease.attempt, self._engine, lambda frame: self._queue.send(order.reply_to, frame))
            running = self._running[key] = _Running(lease, run)
            running.task = asyncio.get_running_loop().create_task(self._serve(key, running))
            return
        self._queue.pull(self._free())

    async def _serve(self, key: tuple[str, int], running: _Running) -> None:
        failure = None
        try:
            failure = await running.run.serve()
        except asyncio.CancelledError:
            log.debug("stopped order %s", key[0])
        except Exception:
            log.exception("order %s failed in a way that is a bug of llmfleet's", key[0])
            running.run.hand_off("the worker failed")
        finally:
            del self._running[key]
            if failure is None:
                self._queue.done(running.lease)
                self._distrust = 0.0
            else:
                # The gateway ends the lease once it has the order under a new epoch. Ending it here could lose the
                # order: the frame that hands it off is not durable.
                log.warning("handed order %s off: %s", key[0], failure)
                await self._doubt_engine()
            self._queue.pull(self._free())

    async def _doubt_engine(self) -> None:
        """Take no orders until the engine has shown that it is there."""
        if self._ready:
            self._ready = False
            least, most = DISTRUST_SECONDS
            self._distrust = min(most, max(least, self._distrust * 2))
            self._distrust_until = time.monotonic() + self._distrust
            await self._queue.stop()
            self._look_now.set()

    def _cancel(self, orders: list[tuple[str, int]]) -> None:
        for identity, epoch in orders:
            if running := self._running.get((identity, epoch)):
                running.task.cancel()

    def _gateway_gone(self, gateway: str) -> None:
        gone = [key for key, running in self._running.items() if running.lease.order.reply_to == gateway]
        if gone:
            log.warning("gateway %s is gone; stopping its %d orders", gateway, len(gone))
            self._cancel(gone)

    async def _beat(self) -> None:
        """Tell the gateways which of their orders are held, and everybody that we are here."""
        beats = 0
        while True:
            held: dict[str, list[tuple[str, int]]] = {}
            now = time.monotonic()
            for key, running in self._running.items():
                order = running.lease.order
                if order.stream and now - running.run.progress_at > self._options.stall_seconds:
                    log.warning("order %s makes no progress; handing it off", key[0])
                    running.run.hand_off(f"no token for {self._options.stall_seconds:g} s")
                    running.task.cancel()
                else:
                    held.setdefault(order.reply_to, []).append(key)
            for gateway, keys in held.items():
                self._queue.send(gateway, Beat(self._options.name, keys))
            if beats % 2 == 0:
                self._queue.announce()
            self._queue.pull(self._free())
            beats += 1
            await asyncio.sleep(BEAT_SECONDS)

    async def _renew(self) -> None:
        """Keep the leases; stop what has none any more."""
        while True:
            await asyncio.sleep(RENEW_SECONDS)
            for key, running in list(self._running.items()):
                if key in self._running and not await self._queue.renew(running.lease):
                    running.task.cancel()

    async def _tend_engine(self) -> None:
        """Take orders while the engine is ready."""
        said = False
        while True:
            await self._look_at_engine()
            if not self._ready and not said:
                log.info("waiting for the engine at %s", self._engine.engine.url)
            said = not self._ready
            pause = self._distrust_until - time.monotonic()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause if 0 < pause < ENGINE_SECONDS else ENGINE_SECONDS):
                    await self._look_now.wait()
            self._look_now.clear()

    async def _look_at_engine(self) -> None:
        healthy = await self._engine.engine.health()
        if healthy is None or self._draining:
            return
        if healthy and not self._ready and time.monotonic() >= self._distrust_until:
            try:
                await self._engine.learn(self._options.model)
            except EngineFailedError:
                return
            self._ready = True
            await self._queue.start()
            self._queue.pull(self._free())
            self._queue.announce()
            self._tell_ready(ready=True)
            log.info("ready: %s on %s, %d slots", self._options.model, self._engine.engine.url, self._options.slots)
        elif not healthy and self._ready:
            self._ready = False
            log.warning("the engine at %s is not ready; taking no orders", self._engine.engine.url)
            await self._queue.stop()
            self._queue.announce()

    def _tell_ready(self, *, ready: bool) -> None:
        if (path := self._options.ready_file) is not None:
            if ready:
                path.touch()
            else:
                path.unlink(missing_ok=True)

    async def _drain(self) -> None:
        """Take nothing new, let end what ends soon, hand the rest off."""
        self._draining = True
        await self._queue.stop()
        self._queue.announce()
        tasks = [running.task for running in self._running.values()]
        if tasks:
            log.info("draining: %d orders have %g s to end", len(tasks), self._options.drain_seconds)
            await asyncio.wait(tasks, timeout=self._options.drain_seconds)
        for running in list(self._running.values()):
            running.run.hand_off("the worker stops")
            running.task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def work(options: WorkerOptions) -> None:
    """Run a worker until SIGTERM or SIGINT.

    Raises:
        ConfigError: no such kind of engine, or the engine serves another model.
    """
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    worker = Worker(options, adapter(options.engine_kind, options.engine_url), WorkerQueue(options.name, options.model))
    await worker.run(stop)


async def _first(*tasks: "asyncio.Task[Any]") -> "asyncio.Task[Any]":
    """Wait for the first of some tasks to end, and raise its error if it has one."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return done.pop()
