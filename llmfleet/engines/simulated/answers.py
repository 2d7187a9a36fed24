"""Answers in the shapes of vLLM 0.32: whole ones and streams of events."""

import time
from typing import Any, ClassVar

import msgspec

from llmfleet.engines.simulated.engine import Step
from llmfleet.engines.simulated.generate import Generation

_json = msgspec.json.encode
DONE = b"data: [DONE]\n\n"


def error_event(body: bytes) -> bytes:
    """Return an error in mid-stream. vLLM sends [DONE] behind it: a client that trusts [DONE] takes it for success."""
    return b"data: " + body + b"\n\n" + DONE


class Answer:
    """One answer on its way; the two APIs differ in a few pieces of text."""

    prefix: ClassVar[str]
    object: ClassVar[str]
    chunk_object: ClassVar[str]

    def __init__(self, number: str, model: str, generations: list[Generation], *, copies: int, with_ids: bool) -> None:
        """Start an answer whose generations come in groups of `copies` for each prompt."""
        self._generations = generations
        self._copies = copies
        self._with_ids = with_ids
        self._begun: set[int] = set()
        """Choices whose first event is made."""
        self._head = {"id": f"{self.prefix}-{number}", "created": int(time.time()), "model": model}
        self._event_head = b"data: " + _json({**self._head, "object": self.chunk_object})[:-1] + b',"choices":['

    def events(self, steps: list[Step]) -> bytes:
        """Return the events of some tokens, one each."""
        return b"".join([self._event(*step) for step in steps])

    def closing(self, *, include_usage: bool) -> bytes:
        """Return what a complete stream ends with."""
        if not include_usage:
            return DONE
        return b'%s],"usage":%s}\n\n%s' % (self._event_head, _json(self._usage()), DONE)

    def whole(self) -> bytes:
        """Return a complete answer at once."""
        choices = [self._choice(generation) for generation in self._generations]
        return _json({**self._head, "object": self.object, "choices": choices, "usage": self._usage(), **self._extra()})

    def _usage(self) -> dict[str, int]:
        prompt = sum(len(generation.prompt_ids) for generation in self._generations[:: self._copies])
        completion = sum(len(generation.output_ids) for generation in self._generations)
        return {"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion}

    def _extra(self) -> dict[str, Any]:
        return {}

    def _choice(self, generation: Generation) -> dict[str, Any]:
        return {
            "index": generation.index,
            "logprobs": None,
            "finish_reason": generation.finish,
            "stop_reason": generation.stop_reason,
            "token_ids": generation.output_ids if self._with_ids else None,
        }

    def _event(self, generation: Generation, text: str, token: int, last: bool) -> bytes:
        raise NotImplementedError

    def _ending(self, generation: Generation, token: int, last: bool) -> bytes:
        """Return what both APIs have behind an event's text."""
        ids = b"[%d]" % token if self._with_ids else b"null"
        if not last:
            return b'"logprobs":null,"finish_reason":null,"token_ids":%s}]}\n\n' % ids
        reasons = _json(generation.finish), _json(generation.stop_reason)
        return b'"logprobs":null,"finish_reason":%s,"stop_reason":%s,"token_ids":%s}]}\n\n' % (*reasons, ids)


class ChatAnswer(Answer):
    """Answer of /v1/chat/completions."""

    prefix = "chatcmpl"
    object = "chat.completion"
    chunk_object = "chat.completion.chunk"

    def events(self, steps: list[Step]) -> bytes:
        """Return the events of some tokens; the first ones are preceded by the role and the prompt's ids."""
        events = super().events(steps)
        if not self._begun:
            self._begun.add(0)
            return self._opening() + events
        return events

    def _opening(self) -> bytes:
        ids = _json(self._generations[0].prompt_ids if self._with_ids else None)
        delta = b'"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":'
        parts = [b'{"index":%d,%s%s}\n\n' % (generation.index, delta, ids) for generation in self._generations]
        return b"".join([self._event_head + part for part in parts])

    def _event(self, generation: Generation, text: str, token: int, last: bool) -> bytes:
        ending = self._ending(generation, token, last)
        return b'%s{"index":%d,"delta":{"content":%s},%s' % (self._event_head, generation.index, _json(text), ending)

    def _choice(self, generation: Generation) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": generation.text, "refusal": None, "tool_calls": []}
        return {**super()._choice(generation), "message": message}

    def _extra(self) -> dict[str, Any]:
        return {"prompt_token_ids": self._generations[0].prompt_ids if self._with_ids else None}


class CompletionAnswer(Answer):
    """Answer of /v1/completions."""

    prefix = "cmpl"
    object = "text_completion"
    chunk_object = "text_completion"

    def _event(self, generation: Generation, text: str, token: int, last: bool) -> bytes:
        prompt = b"null"
        if self._with_ids and generation.index not in self._begun:
            self._begun.add(generation.index)
            prompt = _json(generation.prompt_ids)
        ending = self._ending(generation, token, last)
        head = b'%s{"index":%d,"text":%s,"prompt_token_ids":%s,' % (
            self._event_head,
            generation.index,
            _json(text),
            prompt,
        )
        return head + ending

    def _choice(self, generation: Generation) -> dict[str, Any]:
        ids = generation.prompt_ids if self._with_ids else None
        return {**super()._choice(generation), "text": generation.text, "prompt_token_ids": ids}
