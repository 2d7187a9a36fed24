"""What gateway and worker say to each other: one work order there, reply frames back.

MessagePack arrays: a field may be added at the end, never removed or moved, so that an older worker reads a newer
gateway's order. The version is the first field of an order; a worker refuses one that it does not know.
"""

from typing import Final

import msgspec

VERSION: Final = 1


class Progress(msgspec.Struct, array_like=True):
    """What an order's client has already received; its continuation starts behind it."""

    prompt_ids: list[int]
    """Token ids of the prompt as the engine saw it, chat template included."""
    output_ids: list[int]
    """Token ids whose text has reached the client, in order."""


class Order(msgspec.Struct, array_like=True):
    """Everything a worker needs to serve one request; it keeps no state of its own about requests."""

    version: int
    id: str
    """The request's id, the same in every epoch."""
    epoch: int
    """Counts up each time the gateway sends the order again; frames of an older epoch are dropped."""
    model: str
    path: str
    """Path of the OpenAI API: "/v1/chat/completions" or "/v1/completions"."""
    stream: bool
    include_usage: bool
    """Whether the client asked for a usage chunk at the end of its stream."""
    created: int
    """Unix seconds; the same in every chunk of the answer, whichever worker produced it."""
    deadline: float
    """Unix seconds after which nobody waits for the answer any more."""
    reply_to: str
    """Name of the gateway that holds the client."""
    body: bytes
    """The client's request body, untouched."""
    progress: Progress | None = None
    """Set when the order continues a generation that was cut."""


class Accepted(msgspec.Struct, array_like=True, tag="a"):
    """A worker has a lease on the order."""

    id: str
    epoch: int
    attempt: int
    """Counts up each time the queue gives the same order out, because the lease before it ran out. Every frame carries
    it: two workers of one epoch must not be taken for one, even if the frame that announces the second is lost."""
    worker: str
    ticket: int
    """The order's place in the queue, by which the gateway can end the lease."""


class Delta(msgspec.Struct, array_like=True, tag="d"):
    """A piece of a streamed answer."""

    id: str
    epoch: int
    attempt: int
    n: int
    """Place of this frame in its epoch, from 0, counting Delta, End and Failed."""
    data: bytes
    """Server-sent events, ready to be written to the client."""
    ids: list[int] | None
    """Tokens whose text is in `data`; None when this answer cannot be continued by another worker."""
    prompt_ids: list[int] | None = None
    """Token ids of the prompt, in the first frame of an answer that can be continued."""


class End(msgspec.Struct, array_like=True, tag="e"):
    """The answer is complete."""

    id: str
    epoch: int
    attempt: int
    n: int
    data: bytes
    """The last server-sent events, without `[DONE]`; or the whole body when the client did not ask for a stream."""
    prompt_tokens: int
    completion_tokens: int
    finish: str


class Failed(msgspec.Struct, array_like=True, tag="f"):
    """The engine refused the request for good; another worker would answer the same."""

    id: str
    epoch: int
    attempt: int
    n: int
    status: int
    body: bytes
    """OpenAI's error object as JSON."""


class Handoff(msgspec.Struct, array_like=True, tag="h"):
    """The worker cannot finish the order; another one can."""

    id: str
    epoch: int
    attempt: int
    reason: str


class Beat(msgspec.Struct, array_like=True, tag="b"):
    """The orders of this gateway that a worker holds and whose engine makes progress."""

    worker: str
    held: list[tuple[str, int]]
    """Pairs of request id and epoch."""


Frame = Accepted | Delta | End | Failed | Handoff | Beat


class Cancel(msgspec.Struct, array_like=True):
    """Gateway to worker: nobody waits for these any more."""

    orders: list[tuple[str, int]]
    """Pairs of request id and epoch."""


class WorkerState(msgspec.Struct):
    """What a worker says of itself."""

    name: str
    pool: str
    model: str
    engine: str
    slots: int
    used: int
    ready: bool
    """The engine answers and the worker pulls."""
    draining: bool
    max_model_len: int
    """Longest prompt and answer together, tokens; 0 when the engine does not say."""
    uptime_s: float


class GatewayState(msgspec.Struct):
    """What a gateway says of itself."""

    name: str
    listen: str
    streams: int
    uptime_s: float


class ModelDepth(msgspec.Struct):
    """How much work waits for a model."""

    name: str
    waiting: int
    leased: int


class Survey(msgspec.Struct):
    """The fleet as its queue sees it."""

    models: list[ModelDepth]
    workers: list[WorkerState]
    gateways: list[GatewayState]


encode = msgspec.msgpack.Encoder().encode
decode_order = msgspec.msgpack.Decoder(Order).decode
decode_frames = msgspec.msgpack.Decoder(list[Frame]).decode
decode_cancel = msgspec.msgpack.Decoder(Cancel).decode
