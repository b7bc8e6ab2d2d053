"""Metrics: what was answered, by labels that stay few."""

from serving.guard import Guard
from serving.metrics import SECONDS, Metrics
from tests.serving.asgi import ask
from tests.serving.echo import RULES, Echo


def test_metrics_stay_bounded() -> None:
    """However many paths are tried, the page grows by one label; buckets add up."""
    guard = Guard(Echo(), RULES)
    ask(guard, "GET", "/look")
    ask(guard, "GET", "/unknown")
    size = len(ask(guard, "GET", "/metrics").body.splitlines())
    for i in range(200):
        ask(guard, "GET", f"/{i}")
        ask(guard, f"M{i}", "/look")
    text = ask(guard, "GET", "/metrics").body.decode()
    assert len(text.splitlines()) <= size + 2 * (len(SECONDS) + 5)
    assert 'perennial_requests_total{route="other",status="4xx"} 201.0' in text
    assert 'perennial_request_seconds_bucket{le="+Inf",route="/look"} 201.0' in text


def test_histogram_counts_each_request_once() -> None:
    """A request on a bucket's edge is within it; the sum is the sum."""
    metrics = Metrics()
    for seconds in (0.0005, 0.001, 0.3, 99.0):
        metrics.observe("/x", 200, seconds)
    lines = metrics.text().decode().splitlines()
    buckets = [float(line.rsplit(" ", 1)[1]) for line in lines if "_bucket{" in line]
    assert (buckets[0], buckets[-2], buckets[-1]) == (2.0, 3.0, 4.0)
    assert 'perennial_request_seconds_sum{route="/x"} 99.3015' in lines
