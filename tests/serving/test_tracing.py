"""Spans of requests: where they are asked for, of what they are, and nothing of the request."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from features.errors import ConfigError
from serving import base
from serving.guard import Guard
from serving.tracing import ENDPOINT, Spans, open_spans
from tests.serving.asgi import JSON, ask
from tests.serving.echo import RULES, Echo

pytest.importorskip("opentelemetry.sdk", reason="the extra 'tracing' is not installed")
TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_each_request_is_a_span() -> None:
    """Under the caller's trace, by route and status; unknown paths and values are not told."""
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    guard = Guard(Echo(), RULES, spans=Spans(provider))
    parent = (b"traceparent", f"00-{TRACE}-b7ad6b7169203331-01".encode())
    reply = ask(guard, "POST", "/work", b"{}", [*JSON, parent])
    ask(guard, "SECRET", "/S3CRET", b"S3CRET")
    answered, refused = exporter.get_finished_spans()
    told: Any = answered.attributes
    assert (answered.name, f"{answered.context.trace_id:032x}") == ("POST /work", TRACE)
    assert told["http.route"] == "/work"
    assert told["http.response.status_code"] == reply.status == 200
    assert told["perennial.request_id"] == reply.headers["x-request-id"]
    assert 0 <= answered.end_time - answered.start_time < 10e9
    assert (refused.name, refused.parent) == ("_OTHER other", None)
    assert "S3CRET" not in refused.to_json() + answered.to_json()
    assert "SECRET" not in refused.to_json()


def test_nobody_asks_for_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the standard variable there are none; the import test tells that nothing comes."""
    monkeypatch.delenv(ENDPOINT, raising=False)
    assert open_spans() is None


@pytest.mark.skipif(
    importlib.util.find_spec("opentelemetry.exporter") is not None,
    reason="the exporter is installed",
)
def test_what_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the start of the service, with the remedy."""
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:4318")
    with pytest.raises(ConfigError, match="extra 'tracing'"):
        open_spans()
    with pytest.raises(ConfigError, match="extra 'tracing'"):
        base.open_release(base.new_app(), tmp_path)
