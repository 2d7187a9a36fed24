"""An engine that costs next to nothing: a canned answer in vLLM's form, so that only what stands before it is measured.

`python -m benchmarks.stub PORT`. A streamed answer is paced by STUB_TOKENS_PER_SECOND (environment; default: at once).
"""

import asyncio
import json
import os
import sys
from typing import Any

import httptools
import uvloop

TOKENS = 50
_WORDS = " ".join(["token"] * TOKENS)
_CHOICE = {"index": 0, "message": {"role": "assistant", "content": _WORDS}, "logprobs": None, "finish_reason": "stop"}
_USAGE = {"prompt_tokens": 256, "completion_tokens": TOKENS, "total_tokens": 256 + TOKENS}
_HEAD = {"id": "chatcmpl-stub", "created": 1700000000, "model": "m"}
_WHOLE = json.dumps({**_HEAD, "object": "chat.completion", "choices": [_CHOICE], "usage": _USAGE}).encode()
_MODELS = json.dumps({"object": "list", "data": [{"id": "m", "object": "model", "max_model_len": 8192}]}).encode()


def _event(choices: list[dict[str, Any]], **more: object) -> bytes:
    body = json.dumps({**_HEAD, "object": "chat.completion.chunk", "choices": choices, **more}).encode()
    event = b"data: " + body + b"\n\n"
    return b"%x\r\n%b\r\n" % (len(event), event)


_FIRST = _event([{"index": 0, "delta": {"role": "assistant", "content": ""}}], prompt_token_ids=list(range(256)))
_TOKEN = _event([{"index": 0, "delta": {"content": " token"}, "finish_reason": None, "token_ids": [7]}])
_LAST = (
    _event([{"index": 0, "delta": {"content": " end"}, "finish_reason": "stop", "token_ids": [8]}])
    + _event([], usage=_USAGE)
    + b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n"
)


class Stub(asyncio.Protocol):
    """One connection."""

    pause = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self.transport: Any = transport
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        """A request begins."""
        self.body = b""
        self.url = b""

    def on_url(self, url: bytes) -> None:
        """Its path."""
        self.url += url

    def on_body(self, body: bytes) -> None:
        """Its body."""
        self.body += body

    def on_message_complete(self) -> None:
        """Answer it."""
        if b'"stream":true' in self.body or b'"stream": true' in self.body:
            self.transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + _FIRST
            )
            self._stream(TOKENS - 1)
            return
        body = _WHOLE if self.url.endswith(b"completions") else _MODELS
        self.transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )

    def _stream(self, left: int) -> None:
        if self.transport.is_closing():
            return
        if not self.pause:
            self.transport.write(_TOKEN * left + _LAST)
        elif left:
            self.transport.write(_TOKEN)
            asyncio.get_running_loop().call_later(self.pause, self._stream, left - 1)
        else:
            self.transport.write(_LAST)


async def main(port: int) -> None:
    """Serve until killed."""
    if rate := float(os.environ.get("STUB_TOKENS_PER_SECOND", "0")):
        Stub.pause = 1 / rate
    server = await asyncio.get_running_loop().create_server(Stub, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1])))
