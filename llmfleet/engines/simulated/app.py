"""The simulated engine's endpoints: vLLM's, and /_faults."""

import secrets
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from llmfleet.engines.simulated import metrics, tokens
from llmfleet.engines.simulated.answers import Answer, ChatAnswer, CompletionAnswer, error_event
from llmfleet.engines.simulated.engine import Engine, Job, Step
from llmfleet.engines.simulated.faults import Fault
from llmfleet.engines.simulated.http import Reply, Request
from llmfleet.engines.simulated.protocol import (
    ENGINE_DEAD,
    ChatRequest,
    CompletionRequest,
    DetokenizeRequest,
    RequestError,
    TokenizeRequest,
    generations,
)

T = TypeVar("T")

_decode_chat = msgspec.json.Decoder(ChatRequest).decode
_decode_completion = msgspec.json.Decoder(CompletionRequest).decode
_decode_tokenize = msgspec.json.Decoder(TokenizeRequest).decode
_decode_detokenize = msgspec.json.Decoder(DetokenizeRequest).decode
_decode_fault = msgspec.json.Decoder(Fault).decode


class App:
    """Answers requests on an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._started = int(time.time())
        self._routes: dict[tuple[str, str], Callable[[Request, Reply], None]] = {
            ("POST", "/v1/chat/completions"): self._chat,
            ("POST", "/v1/completions"): self._completion,
            ("GET", "/v1/models"): self._models,
            ("GET", "/health"): self._health,
            ("GET", "/metrics"): self._metrics,
            ("POST", "/tokenize"): self._tokenize,
            ("POST", "/detokenize"): self._detokenize,
            ("GET", "/_faults"): self._list_faults,
            ("POST", "/_faults"): self._add_fault,
            ("DELETE", "/_faults"): self._clear_faults,
        }

    def __call__(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        path = request.path.partition("?")[0]
        route = self._routes.get((request.method, path))
        if route is None:
            known = any(path == other for _, other in self._routes)
            status, detail = (405, b"Method Not Allowed") if known else (404, b"Not Found")
            reply.send(status, b'{"detail":"%s"}' % detail)
            return
        try:
            route(request, reply)
        except RequestError as error:
            reply.send(error.status, error.body())

    def _chat(self, request: Request, reply: Reply) -> None:
        self._generate(_parsed(_decode_chat, request.body), ChatAnswer, request, reply)

    def _completion(self, request: Request, reply: Reply) -> None:
        self._generate(_parsed(_decode_completion, request.body), CompletionAnswer, request, reply)

    def _generate(
        self, asked: ChatRequest | CompletionRequest, kind: type[Answer], request: Request, reply: Reply
    ) -> None:
        engine, options = self.engine, self.engine.options
        if engine.stopping:
            raise RequestError(500, ENGINE_DEAD)
        if engine.faults and engine.faults.refuses():
            raise RequestError(503, "The engine refuses requests: a fault is switched on.")
        self._check_model(asked.model)
        sequences = generations(asked, options.context)
        number = request.headers.get(b"x-request-id", b"").decode("latin-1") or secrets.token_hex(16)
        with_ids = bool(asked.return_token_ids)
        answer = kind(number, options.model, sequences, copies=asked.n or 1, with_ids=with_ids)
        sink = _Stream(reply, answer, asked.include_usage) if asked.stream else _Whole(reply, answer)
        job = Job(sequences, sink)
        reply.on_gone = lambda: engine.cancel(job)
        engine.submit(job)

    def _check_model(self, name: str | None) -> None:
        if name is not None and name != self.engine.options.model:
            raise RequestError(404, f"The model `{name}` does not exist.", "model")

    def _models(self, request: Request, reply: Reply) -> None:
        options = self.engine.options
        model = {
            "id": options.model,
            "object": "model",
            "created": self._started,
            "owned_by": "vllm",
            "root": options.model,
            "parent": None,
            "max_model_len": options.context,
        }
        reply.send(200, msgspec.json.encode({"object": "list", "data": [model]}))

    def _health(self, request: Request, reply: Reply) -> None:
        reply.send(200, b"")

    def _metrics(self, request: Request, reply: Reply) -> None:
        options = self.engine.options
        text = metrics.exposition(self.engine.metrics, options.model, options.slots * options.context)
        reply.send(200, text, b"text/plain; version=0.0.4; charset=utf-8")

    def _tokenize(self, request: Request, reply: Reply) -> None:
        asked = _parsed(_decode_tokenize, request.body)
        self._check_model(asked.model)
        ids = asked.ids()
        strings = [tokens.decode([number]) for number in ids] if asked.return_token_strs else None
        answer = {"count": len(ids), "max_model_len": self.engine.options.context, "tokens": ids, "token_strs": strings}
        reply.send(200, msgspec.json.encode(answer))

    def _detokenize(self, request: Request, reply: Reply) -> None:
        asked = _parsed(_decode_detokenize, request.body)
        self._check_model(asked.model)
        reply.send(200, msgspec.json.encode({"prompt": tokens.decode(asked.checked())}))

    def _list_faults(self, request: Request, reply: Reply) -> None:
        reply.send(200, msgspec.json.encode(self.engine.faults.active))

    def _add_fault(self, request: Request, reply: Reply) -> None:
        self.engine.faults.add(_parsed(_decode_fault, request.body))
        self._list_faults(request, reply)

    def _clear_faults(self, request: Request, reply: Reply) -> None:
        self.engine.clear_faults()
        self._list_faults(request, reply)


class _Stream:
    """Sends tokens as they come."""

    streams = True
    __slots__ = ("_answer", "_include_usage", "_reply")

    def __init__(self, reply: Reply, answer: Answer, include_usage: bool) -> None:
        self._reply = reply
        self._answer = answer
        self._include_usage = include_usage

    def steps(self, steps: list[Step], *, done: bool) -> None:
        events = self._answer.events(steps)
        if done:
            events += self._answer.closing(include_usage=self._include_usage)
        self._reply.stream(events, last=done)

    def failed(self, error: RequestError) -> None:
        if self._reply.begun:
            self._reply.stream(error_event(error.body()), last=True)
        else:
            self._reply.send(error.status, error.body())


class _Whole:
    """Sends the answer when it is complete; its generations keep the tokens."""

    streams = False
    __slots__ = ("_answer", "_reply")

    def __init__(self, reply: Reply, answer: Answer) -> None:
        self._reply = reply
        self._answer = answer

    def steps(self, steps: list[Step], *, done: bool) -> None:
        if done:
            self._reply.send(200, self._answer.whole())

    def failed(self, error: RequestError) -> None:
        self._reply.send(error.status, error.body())


def _parsed(decode: Callable[[bytes], T], body: bytes) -> T:
    try:
        return decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RequestError(400, str(error)) from error
