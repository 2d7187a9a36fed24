"""Any engine that speaks OpenAI's API. It tells no token ids, so a cut answer cannot be continued."""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from llmfleet.errors import ConfigError
from llmfleet.queue.messages import Order
from llmfleet.worker.adapters.base import Adapter
from llmfleet.worker.chunks import Chunk
from llmfleet.worker.engine import EngineFailedError
from llmfleet.worker.plan import Plan

_decode = msgspec.json.Decoder(dict[str, Any]).decode


class OpenAi(Adapter):
    """An engine of which nothing more is known."""

    async def learn(self, model: str) -> None:
        """Find the model in the engine's list."""
        listed = (await self.engine.get("/v1/models")).get("data", [])
        for entry in listed:
            if entry.get("id") == model:
                self.max_model_len = int(entry.get("max_model_len") or 0)
                return
        found = ", ".join(str(entry.get("id")) for entry in listed) or "nothing"
        raise ConfigError(
            f"the engine at {self.engine.url} serves {found}, not {model}: "
            f"start it with --served-model-name {model}, or name its model with --model"
        )

    async def stream(self, order: Order, plan: Plan) -> AsyncGenerator[list[Chunk], None]:
        """Pass the request on, and the answer back."""
        options = {**(plan.body.get("stream_options") or {}), "include_usage": True}
        body = {**plan.body, "stream": True, "stream_options": options}
        async with contextlib.aclosing(self.engine.events(order.path, body)) as batches:
            async for batch in batches:
                yield [Chunk(chunk) for chunk in decode_events(batch)]


def decode_events(batch: list[bytes]) -> list[dict[str, Any]]:
    """Decode a batch of events.

    Raises:
        EngineFailedError: one of them tells of an error; `[DONE]` behind it does not make it good.
    """
    found = []
    for event in batch:
        if event == b"[DONE]":
            continue
        chunk = _decode(event)
        if "error" in chunk:
            inner = chunk["error"]
            raise EngineFailedError(str(inner.get("message") if isinstance(inner, dict) else inner))
        found.append(chunk)
    return found
