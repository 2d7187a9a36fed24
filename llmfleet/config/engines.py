"""Model servers, by kind; a new kind is one class and its name in the union."""

from typing import Annotated, Literal, TypeAlias

from pydantic import Field

from llmfleet.config.part import ByKind, Number, Part, Whole


class LlamaCppArgs(Part):
    """How llama.cpp computes."""

    threads: Annotated[Whole, Field(ge=1, le=1024)] = 1
    """Threads of each replica. Default 1: more than the free cores is slower, by up to thirty times."""
    ubatch: Annotated[Whole, Field(ge=1, le=65536)] = 512
    """Tokens of a prompt computed at once. Default 512; 1 makes an answer that is continued elsewhere the same."""


class LlamaCppEngine(Part):
    """llama.cpp's server: a real model on a processor."""

    kind: Literal["llamacpp"] = "llamacpp"
    """Always "llamacpp"."""
    args: LlamaCppArgs = LlamaCppArgs()
    """How it computes. Default: one thread."""


class SimulatedArgs(Part):
    """Pace of the simulated engine."""

    ttft_ms: Annotated[Number, Field(ge=0, le=3_600_000)] = 0.0
    """Milliseconds before the first token. Default 0."""
    tokens_per_second: Annotated[Number, Field(ge=0, le=1_000_000)] = 0.0
    """Pace of each stream. Default 0: as fast as possible."""


class SimulatedEngine(Part):
    """A server that answers with made-up text, always the same for the same prompt: for tests and drills."""

    kind: Literal["simulated"] = "simulated"
    """Always "simulated"."""
    args: SimulatedArgs = SimulatedArgs()
    """Its pace. Default: as fast as possible."""


Engine: TypeAlias = Annotated[LlamaCppEngine | SimulatedEngine, ByKind(default="llamacpp")]
"""What serves a model."""
