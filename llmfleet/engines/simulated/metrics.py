"""Counters under vLLM's names. Counting must be cheap; the text is put together when somebody asks for it."""

from bisect import bisect_left
from collections import Counter
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

_SECONDS: Final = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
    80.0,
)


class Histogram:
    """Seconds, counted in vLLM's kind of buckets."""

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float, times: int = 1) -> None:
        """Count a duration, or the same one several times."""
        self.counts[bisect_left(_SECONDS, seconds)] += times
        self.total += seconds * times

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulated buckets."""
        found: list[tuple[str, float]] = []
        below = 0
        for bound, count in zip((*map(str, _SECONDS), "+Inf"), self.counts, strict=True):
            below += count
            found.append((bound, below))
        return found


class Metrics:
    """What the engine counts."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0
        self.tokens_held = 0
        """Prompt and answer tokens of all running requests."""
        self.prompt_tokens = 0
        self.generation_tokens = 0
        self.finished: Counter[str] = Counter()
        self.first_token = Histogram()
        self.inter_token = Histogram()
        self.queued = Histogram()
        self.end_to_end = Histogram()


class _Families(Collector):
    def __init__(self, metrics: Metrics, model: str, capacity_tokens: int) -> None:
        self._metrics = metrics
        self._labels = [model, "0"]
        self._capacity = capacity_tokens

    def collect(self) -> "Iterator[Metric]":
        """Yield every family."""
        names = ["model_name", "engine"]
        metrics = self._metrics
        gauges = {
            "num_requests_running": metrics.running,
            "num_requests_waiting": metrics.waiting,
            "kv_cache_usage_perc": min(1.0, metrics.tokens_held / self._capacity),
        }
        for name, value in gauges.items():
            gauge = GaugeMetricFamily(f"vllm:{name}", name, labels=names)
            gauge.add_metric(self._labels, value)
            yield gauge
        counters = {
            "prompt_tokens": metrics.prompt_tokens,
            "generation_tokens": metrics.generation_tokens,
            "prefix_cache_queries": metrics.prompt_tokens,
            "prefix_cache_hits": 0,
            "num_preemptions": 0,
        }
        for name, value in counters.items():
            counter = CounterMetricFamily(f"vllm:{name}", name, labels=names)
            counter.add_metric(self._labels, value)
            yield counter
        success = CounterMetricFamily("vllm:request_success", "request_success", labels=[*names, "finished_reason"])
        for reason in ("stop", "length", "abort"):
            success.add_metric([*self._labels, reason], metrics.finished[reason])
        yield success
        histograms = {
            "time_to_first_token_seconds": metrics.first_token,
            "inter_token_latency_seconds": metrics.inter_token,
            "request_queue_time_seconds": metrics.queued,
            "e2e_request_latency_seconds": metrics.end_to_end,
        }
        for name, histogram in histograms.items():
            family = HistogramMetricFamily(f"vllm:{name}", name, labels=names)
            family.add_metric(self._labels, histogram.buckets(), histogram.total)
            yield family


def exposition(metrics: Metrics, model: str, capacity_tokens: int) -> bytes:
    """Return the text of /metrics."""
    registry = CollectorRegistry()
    registry.register(_Families(metrics, model, capacity_tokens))
    return generate_latest(registry)
