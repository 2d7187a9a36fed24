"""llama.cpp's server.

Its chat tells no token ids, so a streamed chat is asked for in three steps: the template is applied, the text is
tokenised, and `/completion` gets the ids; with them the answer can be continued.
"""

import contextlib
from collections.abc import AsyncGenerator
from typing import Any

import msgspec

from llmfleet.queue.messages import Order
from llmfleet.worker.adapters.base import Adapter
from llmfleet.worker.adapters.openai import OpenAi, decode_events
from llmfleet.worker.chunks import Chunk
from llmfleet.worker.engine import EngineFailedError
from llmfleet.worker.plan import Plan

_decode = msgspec.json.Decoder().decode
_TEMPLATE_FIELDS = ("messages", "chat_template_kwargs", "add_generation_prompt", "reasoning_effort")


class LlamaCpp(Adapter):
    """llama.cpp's own HTTP server, as in llama-server and xllamacpp."""

    async def learn(self, model: str) -> None:
        """Read the context of one slot; the server has one model and takes any name for it."""
        properties = await self.engine.get("/props")
        self.max_model_len = int(properties.get("default_generation_settings", {}).get("n_ctx", 0))

    async def stream(self, order: Order, plan: Plan) -> AsyncGenerator[list[Chunk], None]:
        """Generate an answer, or the rest of one."""
        if not plan.resumable:
            async with contextlib.aclosing(OpenAi(self.engine).stream(order, plan)) as passed_on:
                async for chunks in passed_on:
                    yield chunks
            return
        if order.progress is None:
            prompt = done = await self._tokenise(plan)
        else:
            prompt, done = order.progress.prompt_ids, order.progress.prompt_ids + order.progress.output_ids
        most = -1 if plan.max_tokens is None else max(1, plan.max_tokens - (len(done) - len(prompt)))
        body = {
            **plan.sampling,
            "prompt": done,
            "n_predict": most,
            "stream": True,
            "return_tokens": True,
            "cache_prompt": True,
        }
        unknown: list[int] | None = prompt if order.progress is None else None
        told = 0
        async with contextlib.aclosing(self.engine.events("/completion", body)) as batches:
            async for batch in batches:
                chunks = []
                for event in decode_events(batch):
                    ids = event.get("tokens") or []
                    if event.get("tokens_predicted", 0) > told + len(ids) and event.get("content"):
                        # The server keeps quiet about the first tokens of a character that takes several. Spelling
                        # the text again gives them; for bytes that are no text it gives others that read the same.
                        ids = await self._spelled(event["content"])
                    told = max(told, event.get("tokens_predicted", 0))
                    chunks += _translated(event, plan, ids, unknown)
                    unknown = None
                yield chunks

    async def _tokenise(self, plan: Plan) -> list[int]:
        prompt = plan.body.get("prompt")
        if plan.chat:
            fields = {key: plan.body[key] for key in _TEMPLATE_FIELDS if key in plan.body}
            prompt = _decode(await self.engine.post("/apply-template", fields))["prompt"]
        if isinstance(prompt, list):
            return prompt
        asked = {"content": prompt, "add_special": True, "parse_special": True}
        ids: list[int] = _decode(await self.engine.post("/tokenize", asked))["tokens"]
        return ids

    async def _spelled(self, content: str) -> list[int]:
        asked = {"content": content, "add_special": False, "parse_special": False}
        ids: list[int] = _decode(await self.engine.post("/tokenize", asked))["tokens"]
        return ids


def _translated(event: dict[str, Any], plan: Plan, ids: list[int], prompt_ids: list[int] | None) -> list[Chunk]:
    """Return an event of `/completion` as chunks of OpenAI's form."""
    chunks = []
    if event.get("content") or ids:
        content = event.get("content", "")
        chunks.append(Chunk(_body(_choice(plan, content, None, role=prompt_ids is not None)), ids, prompt_ids))
        prompt_ids = None
    if event.get("stop"):
        reason = {"eos": "stop", "word": "stop", "limit": "length"}.get(event.get("stop_type", ""))
        if reason is None:
            raise EngineFailedError(f"the engine stopped for an unknown reason: {event.get('stop_type')!r}")
        chunks.append(Chunk(_body(_choice(plan, "", reason, role=False)), [], prompt_ids))
        prompt, completion = event.get("tokens_evaluated", 0), event.get("tokens_predicted", 0)
        usage = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        chunks.append(Chunk({"choices": [], "usage": usage}))
    return chunks


def _body(choice: dict[str, Any]) -> dict[str, Any]:
    return {"id": "", "object": "", "created": 0, "model": "", "choices": [choice]}


def _choice(plan: Plan, content: str, finish: str | None, *, role: bool) -> dict[str, Any]:
    if not plan.chat:
        return {"index": 0, "text": content, "logprobs": None, "finish_reason": finish}
    delta: dict[str, Any] = {"role": "assistant"} if role else {}
    if content or not finish:
        delta["content"] = content
    return {"index": 0, "delta": delta, "finish_reason": finish}
