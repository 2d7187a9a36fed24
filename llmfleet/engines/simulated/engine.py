"""The running requests of the simulated engine: batch limit, pace, faults.

One timer drives all of them and every token goes straight from here to its connection, with no task for each stream:
1,000 streams at 50 tokens/s leave half a core for whoever measures.
"""

import asyncio
import contextlib
import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from time import monotonic
from typing import Protocol

from llmfleet.engines.simulated.faults import Fault, Faults
from llmfleet.engines.simulated.generate import Generation
from llmfleet.engines.simulated.metrics import Metrics
from llmfleet.engines.simulated.protocol import ENGINE_DEAD, RequestError

_BURST = 256
"""Tokens that one request may produce before others get a turn."""
_TOGETHER = 0.0005
"""Seconds by which a token may come early, so that one wake-up serves many streams."""
_SLOWED_PACE = 0.01
"""Seconds for a token that an engine without a pace is taken to need, so that `slow` has something to multiply."""

Step = tuple[Generation, str, int, bool]
"""Whose step it is, the text it released, its token, whether it was the last one."""


class Sink(Protocol):
    """Where a job's tokens go."""

    streams: bool
    """Whether it wants the tokens one by one; otherwise the generations keep them until the job is done."""

    def steps(self, steps: list[Step], *, done: bool) -> None:
        """Take new tokens."""

    def failed(self, error: RequestError) -> None:
        """Take the end of a job that a fault or the engine's end has cut."""


@dataclass(frozen=True, slots=True)
class Options:
    """What a simulated engine is like."""

    model: str = "simulated"
    slots: int = 256
    """Requests that run at once, vLLM's max_num_seqs; further ones wait."""
    context: int = 8192
    """Tokens of prompt and answer together, vLLM's max_model_len."""
    ttft_ms: float = 0.0
    """Time from a request's start to its first token."""
    tokens_per_second: float = 0.0
    """Pace of every stream; 0 is as fast as possible."""
    faults: tuple[Fault, ...] = ()
    shutdown_timeout: float = 0.0
    """Seconds that running requests get on SIGTERM, vLLM's --shutdown-timeout."""


class Job:
    """One request on its way."""

    __slots__ = (
        "_arrived",
        "due",
        "generations",
        "held",
        "last_token_at",
        "live",
        "over",
        "produced",
        "sink",
        "slowed",
    )

    def __init__(self, generations: list[Generation], sink: Sink) -> None:
        self.generations = generations
        self.live = generations
        self.sink = sink
        self.held = 0
        """Tokens that it fills of the cache."""
        self.produced = 0
        self.due = 0.0
        self.last_token_at = 0.0
        self.slowed: Fault | None = None
        self.over = False
        self._arrived = monotonic()

    def age(self, now: float) -> float:
        """Return the seconds since the request came."""
        return now - self._arrived

    @property
    def prompt_tokens(self) -> int:
        """Tokens of all its prompts."""
        return sum(len(generation.prompt_ids) for generation in self.generations)


class Engine:
    """Runs jobs, at most `slots` at once."""

    def __init__(self, options: Options, die: Callable[[], None]) -> None:
        """Start without requests; `die` is what the fault of that name does."""
        self.options = options
        self._die = die
        self.faults = Faults(list(options.faults))
        self.metrics = Metrics()
        self.stopping = False
        self._waiting: deque[Job] = deque()
        self._running: set[Job] = set()
        self._hung: list[Job] = []
        self._due: list[tuple[float, int, Job]] = []
        self._order = count()
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._pace = 1 / options.tokens_per_second if options.tokens_per_second else 0.0

    def submit(self, job: Job) -> None:
        """Run a job now or when a slot is free; with no latency set its answer is there when this returns."""
        self._idle.clear()
        if len(self._running) < self.options.slots:
            self._start(job)
        else:
            self._waiting.append(job)
            self.metrics.waiting = len(self._waiting)

    def cancel(self, job: Job) -> None:
        """Forget a job that nobody waits for any more."""
        if job.over:
            return
        job.over = True
        if job in self._running:
            self._leave(job)
        else:
            self._waiting.remove(job)
            self.metrics.waiting = len(self._waiting)

    def clear_faults(self) -> None:
        """Switch all faults off; what hangs goes on."""
        self.faults.clear()
        hung, self._hung = self._hung, []
        for job in hung:
            self._schedule(job, monotonic())

    async def stop(self) -> None:
        """Take no further request, let running ones go on for `shutdown_timeout`, end those that are left."""
        self.stopping = True
        if self.options.shutdown_timeout:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._idle.wait(), self.options.shutdown_timeout)
        for job in [*self._waiting, *self._running]:
            self.cancel(job)
            job.sink.failed(RequestError(500, ENGINE_DEAD))

    def _start(self, job: Job) -> None:
        now, metrics = monotonic(), self.metrics
        self._running.add(job)
        metrics.running = len(self._running)
        metrics.queued.observe(job.age(now))
        metrics.prompt_tokens += job.prompt_tokens
        self._hold(job, job.prompt_tokens)
        job.due = now + self.options.ttft_ms / 1000
        if job.due <= now:
            self._advance(job, now)
        else:
            self._schedule(job, job.due)

    def _leave(self, job: Job) -> None:
        metrics = self.metrics
        self._running.discard(job)
        metrics.running = len(self._running)
        self._hold(job, -job.held)
        if self._waiting:
            following = self._waiting.popleft()
            metrics.waiting = len(self._waiting)
            # Not from here: an instant answer would start the next one from inside itself, as deep as the queue is.
            self._running.add(following)
            asyncio.get_running_loop().call_soon(self._start_next, following)
        elif not self._running:
            self._idle.set()

    def _start_next(self, job: Job) -> None:
        if not job.over:
            self._start(job)

    def _schedule(self, job: Job, at: float) -> None:
        heapq.heappush(self._due, (at, next(self._order), job))
        if self._due[0][2] is job:
            if self._timer:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(at - monotonic(), self._tick)

    def _tick(self) -> None:
        now = monotonic()
        while self._due and self._due[0][0] <= now + _TOGETHER:
            job = heapq.heappop(self._due)[2]
            if not job.over:
                self._advance(job, now + _TOGETHER)
        self._timer = None
        if self._due:
            self._timer = asyncio.get_running_loop().call_later(self._due[0][0] - monotonic(), self._tick)

    def _advance(self, job: Job, now: float) -> None:
        """Produce what is due of a job, and note when the rest will be."""
        if self.faults and self._struck(job):
            return
        pace = self._pace if job.slowed is None else (self._pace or _SLOWED_PACE) * job.slowed.factor
        if pace or self.faults or job.sink.streams:
            steps = self._due_steps(job, now, pace)
            produced = len(steps)
        else:
            steps, produced = [], sum([generation.finish_at_once() for generation in job.live])
        live = [generation for generation in job.live if generation.finish is None]
        job.live = live
        self._count(job, produced, now)
        if not live:
            job.over = True
            self._leave(job)
            self._count_finished(job, now)
        job.sink.steps(steps, done=not live)
        if live:
            self._schedule(job, job.due if pace else now)

    def _due_steps(self, job: Job, now: float, pace: float) -> list[Step]:
        steps: list[Step] = []
        live = job.live
        while live and len(steps) < _BURST and (not pace or job.due <= now or not steps):
            for generation in live:
                text, token = generation.step()
                steps.append((generation, text, token, generation.finish is not None))
            live = [generation for generation in live if generation.finish is None]
            job.due += pace
            if self.faults:
                break  # so that a fault strikes after exactly as many tokens as it says
        return steps

    def _struck(self, job: Job) -> bool:
        """Return whether a fault keeps this job from going on."""
        while fault := self.faults.strike(job.produced, slowed=job.slowed is not None):
            if fault.kind == "slow":
                job.slowed = fault
                continue
            if fault.kind == "error":
                self.cancel(job)
                job.sink.failed(RequestError(500, ENGINE_DEAD))
                return True
            if fault.kind == "die":
                # What was sent so far is on its way by then.
                asyncio.get_running_loop().call_later(0.01, self._die)
            self._hung.append(job)
            return True
        return False

    def _hold(self, job: Job, tokens: int) -> None:
        job.held += tokens
        self.metrics.tokens_held += tokens

    def _count(self, job: Job, tokens: int, now: float) -> None:
        metrics = self.metrics
        if job.produced:
            metrics.inter_token.observe((now - job.last_token_at) / tokens, tokens)
        else:
            metrics.first_token.observe(job.age(now))
        job.last_token_at = now
        job.produced += tokens
        metrics.generation_tokens += tokens
        self._hold(job, tokens)

    def _count_finished(self, job: Job, now: float) -> None:
        for generation in job.generations:
            self.metrics.finished[generation.finish or "abort"] += 1
        self.metrics.end_to_end.observe(job.age(now))
