"""One order on one engine: from the lease to the last frame."""

import contextlib
import time
from collections.abc import Callable
from typing import Any

import msgspec

from llmfleet.queue.messages import Delta, End, Failed, Frame, Handoff, Order
from llmfleet.worker.adapters import Adapter
from llmfleet.worker.chunks import Chunk, Release, Released, events, says_more_than_text
from llmfleet.worker.engine import EngineFailedError, RequestRefusedError
from llmfleet.worker.plan import plan


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int | None = 0


class _Whole(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_decode_whole = msgspec.json.Decoder(_Whole).decode

_CUT = frozenset({"abort", "error"})
"""Finish reasons by which an engine says, politely, that it did not finish."""


class Run:
    """Serves one order and tells what comes of it in frames."""

    def __init__(self, order: Order, attempt: int, adapter: Adapter, send: Callable[[Frame], None]) -> None:
        """Prepare.

        Args:
            order: what to serve
            attempt: how often the queue has given it out
            adapter: the engine
            send: takes the frames for the order's gateway
        """
        self._order = order
        self._attempt = attempt
        self._adapter = adapter
        self._send = send
        self._n = 0
        self.progress_at = time.monotonic()
        """When the engine last gave a sign of this order."""

    async def serve(self) -> str | None:
        """Serve the order; return the reason if the engine failed and the order was handed off."""
        order = self._order
        try:
            if order.stream:
                await _Stream(order, self._adapter, progress=self._progressed, delta=self._delta, end=self._end).serve()
            else:
                await self._serve_whole()
        except RequestRefusedError as error:
            self._send(Failed(order.id, order.epoch, self._attempt, self._n, error.status, error.body))
        except EngineFailedError as error:
            self.hand_off(str(error))
            return str(error)
        return None

    def hand_off(self, reason: str) -> None:
        """Let another worker continue."""
        self._send(Handoff(self._order.id, self._order.epoch, self._attempt, reason))

    def _progressed(self) -> None:
        self.progress_at = time.monotonic()

    async def _serve_whole(self) -> None:
        body = await self._adapter.engine.post(self._order.path, self._order.body)
        try:
            answer = _decode_whole(body)
        except msgspec.MsgspecError as error:
            raise EngineFailedError(f"the engine's answer cannot be read: {error}") from error
        finish = answer.choices[0].finish_reason if answer.choices else None
        if finish in _CUT:
            raise EngineFailedError(f"the engine ended with {finish!r}")
        usage = answer.usage or _Usage()
        self._end(body, usage.prompt_tokens, usage.completion_tokens or 0, finish or "")

    def _delta(self, data: bytes, ids: list[int] | None, prompt_ids: list[int] | None) -> None:
        self._send(Delta(self._order.id, self._order.epoch, self._attempt, self._n, data, ids, prompt_ids))
        self._n += 1

    def _end(self, data: bytes, prompt_tokens: int, completion_tokens: int, finish: str) -> None:
        order = self._order
        self._send(End(order.id, order.epoch, self._attempt, self._n, data, prompt_tokens, completion_tokens, finish))


class _Stream:
    """Serves an order whose client reads along."""

    def __init__(
        self,
        order: Order,
        adapter: Adapter,
        *,
        progress: Callable[[], None],
        delta: Callable[[bytes, list[int] | None, list[int] | None], None],
        end: Callable[[bytes, int, int, str], None],
    ) -> None:
        self._order = order
        self._adapter = adapter
        self._progress = progress
        self._delta = delta
        self._end = end
        self._plan = plan(order)
        self._release = Release(self._plan.stops)
        self._resumable = self._plan.resumable
        self._prompt_ids: list[int] | None = None
        self._prompt_told = order.progress is not None
        self._bodies: list[dict[str, Any]] = []
        self._ids: list[int] = []
        self._finished = 0
        self._finish = ""
        self._usage: dict[str, Any] = {}
        self._envelope = {
            "id": f"{'chatcmpl' if self._plan.chat else 'cmpl'}-{order.id}",
            "object": "chat.completion.chunk" if self._plan.chat else "text_completion",
            "created": order.created,
            "model": order.model,
        }

    async def serve(self) -> None:
        """Generate, tell, conclude."""
        if self._nothing_left():
            self._close_with("length")
        else:
            async with contextlib.aclosing(self._adapter.stream(self._order, self._plan)) as batches:
                async for batch in batches:
                    self._progress()
                    for chunk in batch:
                        self._take(chunk)
                        if self._release.stopped:
                            break
                    if self._release.stopped:
                        self._close_with("stop")
                        break  # leaving closes the connection, which stops the engine
                    if self._bodies and not self._finished:
                        self._tell()
        if self._finished < self._plan.answers:
            raise EngineFailedError("the engine ended the answer without a finish reason")
        self._conclude()

    def _nothing_left(self) -> bool:
        """Whether the client has all that it asked for, and only the end was lost."""
        progress, most = self._order.progress, self._plan.max_tokens
        return progress is not None and most is not None and len(progress.output_ids) >= most

    def _take(self, chunk: Chunk) -> None:
        """Take one chunk in: what may go to the client waits for `_tell` or `_conclude` then."""
        body = chunk.body
        if usage := body.get("usage"):
            self._usage = usage
        if not body.get("choices"):
            return
        body.update(self._envelope)
        if chunk.prompt_ids is not None:
            self._prompt_ids = chunk.prompt_ids
        choice = body["choices"][0]
        reason = choice.get("finish_reason")
        if reason in _CUT:
            raise EngineFailedError(f"the engine ended with {reason!r}")
        if reason:
            self._finished += 1
            self._finish = reason
        if self._resumable and (chunk.ids is None or says_more_than_text(body)):
            self._resumable = False
            self._let_go(self._release.flush())
        if not self._resumable:
            self._bodies.append(body)
            return
        self._let_go(self._release.push(chunk))
        if self._release.stopped:
            choice["finish_reason"] = None  # the chunk that says "stop" follows
        elif reason:
            self._let_go(self._release.flush())

    def _let_go(self, released: Released | None) -> None:
        if released is not None:
            self._bodies += released.bodies
            self._ids += released.ids

    def _close_with(self, reason: str) -> None:
        """Add the chunk that ends the answer, which the engine did not send."""
        choice: dict[str, Any] = {"index": 0, **({"delta": {}} if self._plan.chat else {"text": ""})}
        self._bodies.append({**self._envelope, "choices": [{**choice, "finish_reason": reason}]})
        self._finished = self._plan.answers
        self._finish = reason

    def _tell(self) -> None:
        """Send what waits."""
        prompt_ids = None
        if self._resumable and not self._prompt_told:
            prompt_ids, self._prompt_told = self._prompt_ids, True
            self._resumable = prompt_ids is not None  # without them nobody could continue
        self._delta(events(self._bodies), self._ids if self._resumable else None, prompt_ids)
        self._bodies, self._ids = [], []

    def _conclude(self) -> None:
        """Send the end, with the usage of the whole answer, whoever produced its beginning."""
        progress = self._order.progress
        prompt = self._usage.get("prompt_tokens", len(self._prompt_ids or ()))
        completion = self._usage.get("completion_tokens", self._release.count)
        if progress is not None:
            # To this engine the beginning was part of the prompt.
            prompt = len(progress.prompt_ids)
            completion = len(progress.output_ids) + self._release.count
        if self._order.include_usage:
            usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
            self._bodies.append({**self._envelope, "choices": [], "usage": {**self._usage, **usage}})
        self._end(events(self._bodies), prompt, completion, self._finish)
