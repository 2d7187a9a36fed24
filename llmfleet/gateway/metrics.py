"""The gateway's own figures, in Prometheus' form."""

import functools
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters and histograms of one gateway, in a registry of their own."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        self.requests = Counter(
            "llmfleet_requests", "Requests answered, by HTTP status", ["model", "code"], registry=registry
        )
        self.prompt_tokens = Counter("llmfleet_prompt_tokens", "Tokens of prompts", ["model"], registry=registry)
        self.completion_tokens = Counter(
            "llmfleet_completion_tokens", "Tokens of answers", ["model"], registry=registry
        )
        self.first_token = Histogram(
            "llmfleet_time_to_first_token_seconds",
            "From the request's arrival to the first piece of a streamed answer",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.duration = Histogram(
            "llmfleet_request_duration_seconds",
            "From the request's arrival to the end of its answer",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.reissues = Counter(
            "llmfleet_reissued_orders", "Orders that went to another worker", ["model"], registry=registry
        )
        self.open_requests = Gauge("llmfleet_open_requests", "Requests that wait or are served", registry=registry)
        self.queue_up = Gauge("llmfleet_queue_up", "1 while the queue is connected", registry=registry)

    def answered(self, model: str, status: int, seconds: float) -> None:
        """Count an answer."""
        _child(self.duration, model).observe(seconds)
        _child(self.requests, model, status).inc()

    def used(self, model: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Count the tokens of an answer."""
        _child(self.prompt_tokens, model).inc(prompt_tokens)
        _child(self.completion_tokens, model).inc(completion_tokens)

    def render(self) -> bytes:
        """Return the text that Prometheus scrapes."""
        return generate_latest(self._registry)


@functools.cache
def _child(metric: Any, *labels: object) -> Any:
    """Return a metric's child; looking it up in the library takes its lock and builds strings each time."""
    return metric.labels(*labels)
