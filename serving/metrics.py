"""Counts of requests by route and status class, in Prometheus' format.

They are plain integers behind a custom collector with a registry of its own: prometheus-client's
ready-made counters would write through to files, because BentoML sets ``PROMETHEUS_MULTIPROC_DIR``.
"""

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

OTHER = "other"
"""One label for all unknown paths, so that labels stay bounded."""
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)


class Metrics(Collector):
    """What one guard has seen since it started."""

    content_type = CONTENT_TYPE_PLAIN_0_0_4

    def __init__(self) -> None:
        self.in_flight = 0
        self.shed = 0
        self._counts: dict[tuple[str, str], int] = {}
        self._seconds: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Count one answered request; ``route`` comes from a bounded set."""
        key = (route, f"{status // 100}xx")
        self._counts[key] = self._counts.get(key, 0) + 1
        buckets = self._seconds.setdefault(route, [0] * (len(SECONDS) + 1))
        buckets[bisect_left(SECONDS, seconds)] += 1
        self._sums[route] = self._sums.get(route, 0.0) + seconds

    def collect(self) -> Iterator[Metric]:
        """All families, for the registry."""
        requests = CounterMetricFamily(
            "perennial_requests", "Requests by route and status class.", labels=("route", "status")
        )
        for key, count in sorted(self._counts.items()):
            requests.add_metric(key, count)
        yield requests
        seconds = HistogramMetricFamily(
            "perennial_request_seconds", "Seconds from a request to its answer.", labels=("route",)
        )
        for route, counts in sorted(self._seconds.items()):
            total, buckets = 0, []
            for bound, count in zip((*map(str, SECONDS), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, total))
            seconds.add_metric((route,), buckets, self._sums[route])
        yield seconds
        yield CounterMetricFamily(
            "perennial_shed", "Requests refused because too many were at work.", self.shed
        )
        yield GaugeMetricFamily("perennial_in_flight", "Requests at work.", self.in_flight)

    def text(self, beside: Collector | None = None) -> bytes:
        """The page that Prometheus reads; ``beside`` has more to tell."""
        registry = CollectorRegistry(auto_describe=False)
        for collector in (self, beside) if beside else (self,):
            registry.register(collector)
        return generate_latest(registry)
